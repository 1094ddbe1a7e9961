package blob

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// ErrSet says that bytes are no encoding of a set of groups.
var ErrSet = errors.New("blob: malformed set of groups")

// Set is a set of groups of one blob: a bit for each, so 8 bytes for a MiB of
// content. Make it with NewSet.
type Set struct {
	words  []uint64
	groups uint64
	count  uint64
}

// NewSet is an empty set of the groups of a blob.
func NewSet(name Name) *Set {
	n := name.Groups()
	return &Set{words: make([]uint64, (n+63)/64), groups: n}
}

// Len is how many groups are in the set, Groups how many there can be.
func (s *Set) Len() uint64    { return s.count }
func (s *Set) Groups() uint64 { return s.groups }

// Full reports whether every group is in the set.
func (s *Set) Full() bool { return s.count == s.groups }

// Has reports whether a group is in the set; false for one that does not
// exist.
func (s *Set) Has(i uint64) bool { return i < s.groups && s.words[i/64]>>(i%64)&1 != 0 }

// HasAll reports whether all of a span is.
func (s *Set) HasAll(span Span) bool {
	at, ok := s.NextMissing(span.Begin)
	return !ok || at >= span.End
}

// Add puts a span into the set and returns how many groups are new. What lies
// beyond the blob is left out.
func (s *Set) Add(span Span) (fresh uint64) {
	s.each(span, func(w, mask uint64) {
		fresh += uint64(bits.OnesCount64(mask &^ s.words[w]))
		s.words[w] |= mask
	})
	s.count += fresh
	return fresh
}

// Remove takes a span out of the set.
func (s *Set) Remove(span Span) {
	s.each(span, func(w, mask uint64) {
		s.count -= uint64(bits.OnesCount64(mask & s.words[w]))
		s.words[w] &^= mask
	})
}

func (s *Set) each(span Span, fn func(word, mask uint64)) {
	for i := span.Begin; i < min(span.End, s.groups); {
		n := min(64-i%64, min(span.End, s.groups)-i)
		mask := ^uint64(0)
		if n < 64 {
			mask = (1<<n - 1) << (i % 64)
		}
		fn(i/64, mask)
		i += n
	}
}

// NextMissing is the first group from i on that is not in the set.
func (s *Set) NextMissing(i uint64) (uint64, bool) { return s.next(i, ^uint64(0)) }

// NextPresent is the first group from i on that is in the set.
func (s *Set) NextPresent(i uint64) (uint64, bool) { return s.next(i, 0) }

func (s *Set) next(i, flip uint64) (uint64, bool) {
	for i < s.groups {
		if w := (s.words[i/64] ^ flip) >> (i % 64); w != 0 {
			i += uint64(bits.TrailingZeros64(w))
			return i, i < s.groups
		}
		i = i/64*64 + 64
	}
	return 0, false
}

// Clone is a copy.
func (s *Set) Clone() *Set {
	c := *s
	c.words = append([]uint64(nil), s.words...)
	return &c
}

// Append writes the set as runs: the count of runs as a varint, then for each
// how many groups are missing before it and how many it has, both from one
// but for the first gap. Of a set with more than most runs, only the first so
// many are written: to a peer it is what one has at least.
func (s *Set) Append(b []byte, most int) []byte {
	var runs []uint64
	at := uint64(0)
	for len(runs) < 2*most {
		begin, ok := s.NextPresent(at)
		if !ok {
			break
		}
		end, ok := s.NextMissing(begin)
		if !ok {
			end = s.groups
		}
		runs = append(runs, begin-at, end-begin)
		at = end
	}
	b = binary.AppendUvarint(b, uint64(len(runs)/2))
	for _, r := range runs {
		b = binary.AppendUvarint(b, r)
	}
	return b
}

// DecodeSet reads what Append wrote, at most so many runs, and returns what
// comes after it. It allocates a bit for each group of the blob.
func DecodeSet(name Name, b []byte, most int) (*Set, []byte, error) {
	take := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 || n > 1 && b[n-1] == 0 { // the shortest form only
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	runs, ok := take()
	if !ok || runs > uint64(most) || runs > uint64(len(b))/2 {
		return nil, nil, fmt.Errorf("%w: count of runs", ErrSet)
	}
	s := NewSet(name)
	at := uint64(0)
	for i := range runs {
		gap, ok1 := take()
		n, ok2 := take()
		if !ok1 || !ok2 || n == 0 || gap == 0 && i > 0 || gap > s.groups-at || n > s.groups-at-gap {
			return nil, nil, fmt.Errorf("%w: run %d", ErrSet, i)
		}
		s.Add(Span{at + gap, at + gap + n})
		at += gap + n
	}
	return s, b, nil
}
