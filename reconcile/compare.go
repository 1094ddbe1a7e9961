package reconcile

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Whoever gets a list compares it with what it holds in that range, in memory
// that has nothing to do with how much it holds there: a peer that lists
// nothing must not make this side gather all of its IDs.

const (
	briefList  = 64  // IDs of a list that is compared without any memory
	chunkItems = 256 // own items that are looked at together
)

// compare settles a range of which the responder sent all IDs.
func (s *engine) compare(begin, end int) (err error) {
	theirs := s.g.ids
	s.need = reserve(s.need, len(theirs)/idBytes, s.r.listed)
	if max(end-begin, len(theirs)/idBytes) > briefList {
		return s.compareLong(begin, end)
	}
	if s.own, err = s.cur.ids(reserve(s.own[:0], (end-begin)*idBytes, chunkItems*idBytes), begin, end); err == nil {
		s.have = reserve(s.have, end-begin, s.n)
		s.have, s.need = compareBrief(s.own, theirs, s.have, s.need)
	}
	return err
}

// compareBrief appends to have what is only in mine and to need what is only
// in theirs, where no ID comes twice. Both are at most briefList IDs. They are
// as a rule in the order of (time, ID) and differ little, so that an ID is
// looked for first where the one before was found.
func compareBrief(mine, theirs []byte, have, need []ID) ([]ID, []ID) {
	same := 0
	for same < min(len(mine), len(theirs)) && [idBytes]byte(mine[same:]) == [idBytes]byte(theirs[same:]) {
		same += idBytes
	}
	mine, theirs = mine[same:], theirs[same:]
	var met uint64 // IDs of theirs that are in mine
	at := 0        // behind the last of them
	for ; len(mine) > 0; mine = mine[idBytes:] {
		j := findID(theirs, at, mine)
		if j < 0 {
			have = append(have, ID(mine))
			continue
		}
		met |= 1 << (j / idBytes)
		at = j + idBytes
	}
	rest := ^met & (1<<(len(theirs)/idBytes) - 1)
	for ; rest != 0; rest &= rest - 1 {
		need = append(need, ID(theirs[bits.TrailingZeros64(rest)*idBytes:]))
	}
	return have, need
}

// findID is where id lies in ids, looked for from an offset on and around, or
// -1.
func findID(ids []byte, from int, id []byte) int {
	key := binary.LittleEndian.Uint64(id)
	for j := from; j < len(ids); j += idBytes {
		if binary.LittleEndian.Uint64(ids[j:]) == key && [idBytes]byte(ids[j:]) == [idBytes]byte(id) {
			return j
		}
	}
	for j := 0; j < from; j += idBytes {
		if binary.LittleEndian.Uint64(ids[j:]) == key && [idBytes]byte(ids[j:]) == [idBytes]byte(id) {
			return j
		}
	}
	return -1
}

// compareLong is compare for ranges of any size. What the list holds is sorted
// in the memory that reading it took; what this side holds passes by.
func (s *engine) compareLong(begin, end int) (err error) {
	const met = 1 << 63 // beside an offset: this side holds that ID too
	theirs := s.g.ids
	var order []uint64
	same := true // so far
	for i := begin; i < end; i += chunkItems {
		to := min(end, i+chunkItems)
		if s.own, err = s.cur.ids(reserve(s.own[:0], chunkItems*idBytes, chunkItems*idBytes), i, to); err != nil {
			return err
		}
		for own := s.own; len(own) > 0; own = own[idBytes:] {
			if same && len(theirs) > 0 && [idBytes]byte(own) == [idBytes]byte(theirs) {
				theirs = theirs[idBytes:]
				continue
			}
			if same {
				order, same = s.r.order(theirs), false
			}
			k, found := slices.BinarySearchFunc(order, ID(own), func(at uint64, id ID) int {
				return compareIDs((*ID)(theirs[at&^met:]), &id)
			})
			if found {
				order[k] |= met
				continue
			}
			s.have = append(reserve(s.have, 1, s.n), ID(own))
		}
	}
	if same {
		s.need = appendIDs(s.need, theirs)
		return nil
	}
	for _, at := range order {
		if at&met == 0 {
			s.need = append(s.need, ID(theirs[at:]))
		}
	}
	return nil
}

func appendIDs(dst []ID, ids []byte) []ID {
	for i := 0; i < len(ids); i += idBytes {
		dst = append(dst, ID(ids[i:]))
	}
	return dst
}

// reserve returns dst with room for more elements, where no more than most
// can come to be in it. It grows in steps of four, and the last one is large
// enough for all: everything that it ever allocates together is at most a
// third more than most.
func reserve[T any](dst []T, more, most int) []T {
	need := len(dst) + more
	if need <= cap(dst) {
		return dst
	}
	n := max(need, 4*cap(dst))
	if n > most/4 {
		n = max(need, most)
	}
	return append(make([]T, 0, n), dst...)
}
