package store

import (
	"bytes"
	"slices"

	"anabranch/merkle"
	"anabranch/reconcile"
)

// derived is a value that follows from the set of members and is kept beside
// the rows: it is brought up to date in memory with every commit, written at
// checkpoints only, and made exact again after a power cut by what the log of
// arrivals and departures holds since then. docs/store.md says how to add one.
//
// A value belongs to one state and is never changed once that is published.
type derived interface {
	// apply adds ascending items that are not in the value, with sign +1, or
	// takes out such as are, with -1. It reads no row.
	apply(items []reconcile.Item, sign int)
	// encode is the value's bytes, the same for the same value. It runs beside
	// commits.
	encode() []byte
	// decode is the reverse, of bytes whose checksum holds. An error means that
	// the value is made anew from the rows.
	decode(b []byte) error
}

// values are the derived values of a state, in the order of their kinds in a
// checkpoint. A kind is a byte that never means anything else.
func (st *state) values() []derivedKind {
	return []derivedKind{
		{'B', st.blocks},
		{'T', cutsByID{st.cuts}},
		{'S', st.sketch},
	}
}

type derivedKind struct {
	kind byte
	derived
}

// blank makes the values of a state those of no members.
func (st *state) blank(s *Store) {
	st.blocks = newBlocks(s.warm, s.options.blocks)
	st.cuts = newCuts(s.options.cut)
	st.sketch = &sketched{}
}

// fork makes the values of a state writable, leaving those it was copied from
// as they are.
func (st *state) fork() {
	st.blocks = st.blocks.fork()
	st.cuts = st.cuts.fork()
	st.sketch = st.sketch.fork()
}

// apply adds items, distinct and in any order, to every value, or takes them
// out.
func (st *state) apply(items []reconcile.Item, sign int) {
	if !slices.IsSortedFunc(items, reconcile.Item.Compare) {
		items = slices.Clone(items)
		slices.SortFunc(items, reconcile.Item.Compare)
	}
	for _, v := range st.values() {
		v.apply(items, sign)
	}
}

// tidy does what apply has put off. rows are those of this very state.
func (st *state) tidy(rows scanner, space uint32) error {
	return st.blocks.settle(func(p *spot) ([]reconcile.Item, error) { return readBlock(rows, space, p, p.count, nil) })
}

// cutsByID is a cuts as a derived value.
type cutsByID struct{ *cuts }

func (c cutsByID) apply(items []reconcile.Item, sign int) {
	ids := make([]merkle.ID, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	slices.SortFunc(ids, func(a, b merkle.ID) int { return bytes.Compare(a[:], b[:]) })
	c.cuts.apply(ids, sign)
}
