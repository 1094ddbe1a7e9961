package anabranch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"anabranch/internal/store"
	"anabranch/record"
)

// ledger remembers what a folder and a space had in common when they last
// met in an import or an export: for each file, its document and the content
// both had. Three states tell what two cannot: which side has changed since,
// and whether something is gone or never was there.
//
// It is a local fact of the store, one for each space, folder and prefix, and
// can be lost without harm: then nobody knows what is gone.
//
//	version 1 | count x (file name hash 8 | path hash 8 | content hash 16)
//
// ascending by file name hash. Hashes are cut from SHA-256. A path hash of
// zeros is that of a file whose document has another file now.
type ledger struct {
	key    string
	found  bool // there was one
	byFile map[[8]byte]ledgerEntry
	byPath map[[8]byte]ledgerEntry
	bases  []store.FactOp // versions of texts; see textfiles.go
}

type ledgerEntry struct {
	file, path [8]byte
	content    [16]byte
}

// moved stands for the document of a file that has another file now.
var moved [8]byte

const (
	ledgerVersion = 1
	ledgerEntries = 32 // bytes each
)

func shortHash(s string) [8]byte {
	h := sha256.Sum256([]byte(s))
	return [8]byte(h[:8])
}

func contentHash(b []byte) [16]byte {
	h := sha256.Sum256(b)
	return [16]byte(h[:16])
}

func ledgerKey(id record.SpaceID, dir, below string) string {
	h := sha256.Sum256([]byte(below + "\x00" + dir))
	return "files/" + id.String() + "/" + hex.EncodeToString(h[:16])
}

// ledger reads the ledger of a folder; an empty one if there is none, or one
// of another version.
func (s *Space) ledger(dir, below string) (*ledger, error) {
	l := &ledger{key: ledgerKey(s.ID(), dir, below), byFile: map[[8]byte]ledgerEntry{}, byPath: map[[8]byte]ledgerEntry{}}
	b, ok, err := s.replica.store.Fact(l.key)
	if err != nil {
		return nil, fmt.Errorf("anabranch: ledger of %s: %w", dir, named(err))
	}
	if !ok || len(b)%ledgerEntries != 1 || b[0] != ledgerVersion {
		return l, nil
	}
	l.found = true
	for b = b[1:]; len(b) > 0; b = b[ledgerEntries:] {
		l.put(ledgerEntry{[8]byte(b), [8]byte(b[8:]), [16]byte(b[16:])})
	}
	return l, nil
}

// save writes the ledger, also when what it tells of was interrupted.
func (l *ledger) save(ctx context.Context, s *Space) error {
	b := []byte{ledgerVersion}
	files := slices.SortedFunc(maps.Keys(l.byFile), func(x, y [8]byte) int { return bytes.Compare(x[:], y[:]) })
	for _, f := range files {
		e := l.byFile[f]
		b = append(append(append(b, e.file[:]...), e.path[:]...), e.content[:]...)
	}
	old, ok, err := s.replica.store.Fact(l.key)
	if err == nil && (!ok || !bytes.Equal(old, b)) {
		err = s.replica.store.SetFact(context.WithoutCancel(ctx), l.key, b)
	}
	if err == nil && len(l.bases) > 0 {
		err = s.replica.store.SetFacts(context.WithoutCancel(ctx), l.bases...)
	}
	if err != nil {
		return fmt.Errorf("anabranch: ledger: %w", named(err))
	}
	return nil
}

func (l *ledger) put(e ledgerEntry) {
	l.drop(l.byFile[e.file])
	if other, ok := l.byPath[e.path]; ok && e.path != moved {
		other.path = moved
		l.byFile[other.file] = other
	}
	l.byFile[e.file] = e
	if e.path != moved {
		l.byPath[e.path] = e
	}
}

func (l *ledger) drop(e ledgerEntry) {
	delete(l.byFile, e.file)
	if l.byPath[e.path].file == e.file {
		delete(l.byPath, e.path)
	}
}

// agree notes that a file and a document have the same content now.
func (l *ledger) agree(file, path string, content []byte) {
	l.put(ledgerEntry{shortHash(file), shortHash(path), contentHash(content)})
}

func (l *ledger) file(name string) (ledgerEntry, bool) {
	e, ok := l.byFile[shortHash(name)]
	return e, ok
}

func (l *ledger) document(path string) (ledgerEntry, bool) {
	e, ok := l.byPath[shortHash(path)]
	return e, ok
}

// has reports whether the content is the one both had.
func (e ledgerEntry) has(content []byte) bool { return e.content == contentHash(content) }
