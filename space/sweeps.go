package space

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"anabranch/record"
)

// sweep is a known sweep as the present authority sees it. Immutable.
type sweep struct {
	*record.Verified
	root      bool        // a root key's: it counts whatever happens to grants
	open      []record.ID // the author's grants it counts under, ascending
	redundant bool        // another sweep of the area does all it does
}

// counts reports whether the sweep is in C (rule 4).
func (s *sweep) counts() bool { return s.root || len(s.open) > 0 }

// member reports whether the sweep is in the set.
func (s *sweep) member() bool { return s.counts() && !s.redundant }

// superseded is the sweep with its redundancy settled.
func (s *sweep) superseded() *sweep {
	return &sweep{Verified: s.Verified, root: s.root, open: s.open, redundant: true}
}

// atLeastOpen reports whether s counts wherever other does. Reach belongs
// here: a sweep known within a part of the space only would also need a reach
// that contains the other's. On a full replica every reach is everything.
func (s *sweep) atLeastOpen(other *sweep) bool {
	return s.root || containsAll(s.open, other.open)
}

// beats reports whether s makes another sweep of the same author, lane and
// area redundant. It is a strict partial order among sweeps that count.
func (s *sweep) beats(other *sweep) bool {
	if !s.counts() || !s.atLeastOpen(other) || !s.Dots().Contains(other.Dots()) {
		return false
	}
	return !other.Dots().Contains(s.Dots()) || !other.atLeastOpen(s) || s.ID.Compare(other.ID) < 0
}

// kills reports whether the sweep, which has the record's dot and covers its
// path, makes it dead: one and the same grant admits the record and is open
// for the sweep (rule 5).
func (s *sweep) kills(admitting []*grant) bool {
	if s.root {
		return true
	}
	for _, g := range admitting {
		if _, ok := slices.BinarySearchFunc(s.open, g.ID, record.ID.Compare); ok {
			return true
		}
	}
	return false
}

// containsAll reports whether every element of b, ascending, is in a, ascending.
func containsAll(a, b []record.ID) bool {
	for _, id := range b {
		for len(a) > 0 && a[0].Compare(id) < 0 {
			a = a[1:]
		}
		if len(a) == 0 || a[0] != id {
			return false
		}
	}
	return true
}

// laneKey names a lane.
type laneKey struct {
	author record.Key
	lane   uint64
}

func compareLanes(a, b laneKey) int {
	if c := a.author.Compare(b.author); c != 0 {
		return c
	}
	return cmp.Compare(a.lane, b.lane)
}

// areas holds a lane's known sweeps, whatever their verdict, by area.
type areas = tree[string, *area]

func noAreas() areas { return areas{compare: strings.Compare} }

// area holds the known sweeps of one lane that share an area. Immutable.
type area struct {
	blocks tree[uint32, []*sweep] // those with a bitmap, by block; each list by ID
	whole  []*sweep               // those of all blocks up to theirs, by ID
}

func noArea() *area { return &area{blocks: tree[uint32, []*sweep]{compare: cmp.Compare[uint32]}} }

// near returns the sweeps that can have numbers of a block: its own and the
// whole ones. A sweep is compared with those of its block only, as no bitmap
// reaches into another one.
func (a *area) near(block uint32) [2][]*sweep {
	own, _ := a.blocks.get(block)
	return [2][]*sweep{own, a.whole}
}

// has reports whether some sweep that passes ok has a number.
func (a *area) has(seq uint32, ok func(*sweep) bool) bool {
	for _, list := range a.near(record.BlockOf(seq)) {
		for _, s := range list {
			if s.Dots().Has(seq) && ok(s) {
				return true
			}
		}
	}
	return false
}

// beaten reports whether a known sweep makes s redundant. Whole sweeps beat
// in any block below theirs; a full bitmap of block 0 equals the whole sweep
// of block 0.
func (a *area) beaten(s *sweep) bool {
	for _, list := range a.near(s.Seq) {
		for _, other := range list {
			if other.ID != s.ID && other.beats(s) {
				return true
			}
		}
	}
	return false
}

// each yields the area's sweeps in a fixed order.
func (a *area) each(yield func(*sweep)) {
	for _, list := range a.blocks.all() {
		for _, s := range list {
			yield(s)
		}
	}
	for _, s := range a.whole {
		yield(s)
	}
}

// mapped returns the area with each sweep replaced by another view of it.
func (a *area) mapped(f func(*sweep) *sweep) *area {
	list := func(old []*sweep) []*sweep {
		out := make([]*sweep, len(old))
		for i, s := range old {
			out[i] = f(s)
		}
		return out
	}
	return &area{blocks: a.blocks.mapped(list), whole: list(a.whole)}
}

// with returns the area with s added or put in the place of the sweep with its ID.
func (a *area) with(s *sweep) *area {
	return a.edit(s, func(list []*sweep, i int, found bool) []*sweep {
		if found {
			list[i] = s
			return list
		}
		return slices.Insert(list, i, s)
	})
}

// without returns the area with the sweep removed.
func (a *area) without(s *sweep) *area {
	return a.edit(s, func(list []*sweep, i int, found bool) []*sweep {
		if found {
			return slices.Delete(list, i, i+1)
		}
		return list
	})
}

func (a *area) edit(s *sweep, change func(list []*sweep, i int, found bool) []*sweep) *area {
	list := a.whole
	if !s.Dots().Whole() {
		list, _ = a.blocks.get(s.Seq)
	}
	i, found := slices.BinarySearchFunc(list, s, func(x, y *sweep) int { return x.ID.Compare(y.ID) })
	list = change(slices.Clone(list), i, found)
	switch {
	case s.Dots().Whole():
		return &area{blocks: a.blocks, whole: list}
	case len(list) == 0:
		return &area{blocks: a.blocks.delete(s.Seq), whole: a.whole}
	}
	return &area{blocks: a.blocks.set(s.Seq, list), whole: a.whole}
}

// rivals are the sweeps that s may make redundant, or that may be needed
// again once s is gone.
func (a *area) rivals(s *sweep) []*sweep {
	var out []*sweep
	if !s.Dots().Whole() {
		for _, list := range a.near(s.Seq) {
			out = append(out, list...)
		}
		return out
	}
	for block, list := range a.blocks.all() {
		if block > s.Seq {
			break
		}
		out = append(out, list...)
	}
	return append(out, a.whole...)
}

// uncovered is the numbers of s that no other sweep of the area already has
// wherever s counts, as ascending spans: the numbers at which records may
// have died with s, or may come back without it. For a whole sweep only other
// whole sweeps are taken off, so that the answer stays short.
func (a *area) uncovered(s *sweep) []Span {
	block, bits := s.Seq, s.Payload
	first := uint64(0) // the first block not covered by another whole sweep
	for _, w := range a.whole {
		if w.ID != s.ID && w.counts() && w.atLeastOpen(s) {
			first = max(first, uint64(w.Seq)+1)
		}
	}
	if uint64(block) < first {
		return nil
	}
	if s.Dots().Whole() {
		return []Span{{First: uint32(first*record.BlockNumbers + 1), Last: lastNumber(block, record.BlockNumbers-1)}}
	}
	left := bytes.Clone(bits)
	own, _ := a.blocks.get(block)
	for _, other := range own {
		if other.ID == s.ID || !other.counts() || !other.atLeastOpen(s) {
			continue
		}
		for i := range min(len(left), len(other.Payload)) {
			left[i] &^= other.Payload[i]
		}
	}
	return spans(block, left)
}

// lastNumber is the number at an index of a block. The very last index of the
// very last block would be 2^32, which no record can have.
func lastNumber(block uint32, index int) uint32 {
	return uint32(min(uint64(block)*record.BlockNumbers+uint64(index)+1, 1<<32-1))
}

// spans turns a block's bitmap into spans of numbers.
func spans(block uint32, bits []byte) []Span {
	var out []Span
	begin := -1
	for i := 0; i <= 8*len(bits); i++ {
		set := i < 8*len(bits) && bits[i/8]&(1<<(i%8)) != 0
		switch {
		case set && begin < 0:
			begin = i
		case !set && begin >= 0:
			out = append(out, Span{First: lastNumber(block, begin), Last: lastNumber(block, i-1)})
			begin = -1
		}
	}
	return out
}
