package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"anabranch/record"
)

// A lease proves that a store is the newest copy it ever was: it lies in a
// runtime directory, which backups and clones do not carry, and names the
// boot, the device and inode of the store's directory, and for every lane
// that is written here the highest number. It is written before the commit it
// covers. One that is missing, torn or disagrees proves nothing, and fresh
// lanes are opened.
//
//	"anabranch lease 1" | boot 32 | device 8 | inode 8 | store 16 | count 4
//	| count x (space 32 | author 32 | lane 8 | highest 4) | SHA-256 of all that
type lease struct {
	store *Store
	file  *os.File
	place place
}

// place is where a store lies: on which boot, device and inode.
type place struct {
	boot          [32]byte
	device, inode uint64
}

const leaseMagic = "anabranch lease 1"

const leaseEntry = 32 + 32 + 8 + 4

// openLease reads the lease of a store and hands the lanes that it proves to
// their spaces. nil means that there can be none.
func openLease(s *Store) *lease {
	if s.options.LeaseDir == "" || s.dir == "" {
		return nil
	}
	p, ok := whereIs(s.dir)
	if !ok {
		s.log.Warn("no lease: the store's place has no identity here; fresh lanes are opened")
		return nil
	}
	l := &lease{store: s, place: p}
	name := sha256.Sum256(l.head())
	file, err := os.OpenFile(filepath.Join(s.options.LeaseDir, hex.EncodeToString(name[:8])+".lease"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.log.Warn("no lease; fresh lanes are opened", "err", err)
		return nil
	}
	l.file = file
	if b, err := os.ReadFile(file.Name()); err == nil {
		l.adopt(b)
	}
	return l
}

// head is what a lease must begin with to be this store's.
func (l *lease) head() []byte {
	b := append([]byte(leaseMagic), l.place.boot[:]...)
	b = u64(u64(b, l.place.device), l.place.inode)
	return append(b, l.store.id[:]...)
}

// adopt takes the lanes whose highest number is that of the store.
func (l *lease) adopt(b []byte) {
	head := l.head()
	if len(b) < len(head)+4+32 || !bytes.HasPrefix(b, head) {
		return
	}
	count := int(binary.BigEndian.Uint32(b[len(head):]))
	size := len(head) + 4 + count*leaseEntry
	if count > len(b)/leaseEntry || len(b) < size+32 {
		return
	}
	if sum := sha256.Sum256(b[:size]); !bytes.Equal(sum[:], b[size:size+32]) {
		return
	}
	s := l.store
	for e := b[len(head)+4 : size]; len(e) > 0; e = e[leaseEntry:] {
		sp, ok := s.spaces[record.SpaceID(e[:32])]
		author := record.Key(e[32:64])
		a, known := s.authors.number(author)
		if !ok || !known {
			continue
		}
		own := ownLane{binary.BigEndian.Uint64(e[64:]), binary.BigEndian.Uint32(e[72:])}
		key := laneKey(sp.number, a, own.lane)
		row, err := s.engine.get(key)
		if err != nil || row == nil {
			continue
		}
		if have, err := decodeLane(key, row); err == nil && have.high == own.high {
			sp.lanes[author] = own
		}
	}
}

// write brings the lease up to a commit that is about to be made. One that
// cannot be written is taken away; the old one would disagree anyway.
func (l *lease) write(c *commit) {
	if l == nil || !c.lanes || l.file == nil {
		return
	}
	b := l.head()
	at := len(b)
	b = u32(b, 0)
	count := uint32(0)
	spaces := slices.SortedFunc(maps.Values(l.store.built), func(x, y *Space) int { return cmp.Compare(x.number, y.number) })
	for _, sp := range spaces {
		for _, k := range sortedKeys(sp.lanes) {
			own := sp.lanes[k]
			b = append(append(b, sp.id[:]...), k[:]...)
			b = u32(u64(b, own.lane), own.high)
			count++
		}
	}
	binary.BigEndian.PutUint32(b[at:], count)
	sum := sha256.Sum256(b)
	if _, err := l.file.WriteAt(append(b, sum[:]...), 0); err != nil {
		l.store.log.Warn("lease lost; the next start opens fresh lanes", "err", err)
		os.Remove(l.file.Name())
		l.close()
	}
}

func (l *lease) close() {
	if l == nil || l.file == nil {
		return
	}
	l.file.Close()
	l.file = nil
}
