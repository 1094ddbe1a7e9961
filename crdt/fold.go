package crdt

import "slices"

// A fold of an author's deltas is their JoinAll: the same lattice, the same
// dots, so that deltas, fold, or any mix of them give one value. Two things
// more keep folds small, and neither changes what all parts together say.

// Said is all parts of one other author that a fold may rely on, joined, and
// which lanes are that author's own.
type Said struct {
	State *State
	Owns  func(lane uint64) bool
}

// Fold is what an author may replace its own parts by: their join, which
// Adopts what others removed, and Forgets the removals of others' events that
// these say themselves. others must stay: a replica that loses the author's
// parts must have theirs first. The parts are not changed.
func Fold(mine []*State, others ...Said) *State {
	fold := JoinAll(mine...)
	removed, owned := Removals(others...)
	fold.Adopt(removed)
	fold.Forget(owned)
	return fold
}

// Removals is what other authors say is removed, and what of it is of their
// own events: what a fold may adopt, and what it may forget.
func Removals(others ...Said) (removed, owned Context) {
	for _, o := range others {
		gone := o.State.Removed()
		removed.Join(gone)
		for lane, spans := range gone.lanes {
			if o.Owns(lane) {
				owned.Join(Context{lanes: map[uint64][]Span{lane: spans}})
			}
		}
	}
	return removed, owned
}

// Adopt takes over removals that others made: what s still carries of the
// events in removed goes, its dots stay. Use it on a fold of one's own deltas,
// with removals that are to stand even if the record that brought them should
// go: those older than anybody would want to undo.
func (s *State) Adopt(removed Context) {
	var live Context
	for _, n := range s.roots {
		n.dots(&live)
	}
	s.Join(&State{seen: live.without(live.without(removed))})
}

// Forget leaves out of s the removals in known: events of others that their
// own author's parts do not carry any more, but have in their context. What is
// present in s stays.
func (s *State) Forget(known Context) {
	var live Context
	for _, n := range s.roots {
		n.dots(&live)
	}
	s.seen = s.seen.without(known.without(live))
}

// Removed is the events that the state knows of and does not carry.
func (s *State) Removed() Context {
	var live Context
	for _, n := range s.roots {
		n.dots(&live)
	}
	return s.seen.without(live)
}

// Split cuts the state into parts whose join it is, each encoded in at most
// about limit bytes: one value, with the keys that lead to it, is never cut.
// limit is at least 1 KiB. A state that fits is the only part.
func (s *State) Split(limit int) []*State {
	if len(s.AppendTo(nil)) <= limit {
		return []*State{s}
	}
	c := &cutter{limit: limit - 256, often: make(map[Dot]int)}
	for _, n := range s.roots {
		n.each(func(x item) { c.often[x.dot]++ })
	}
	c.first = c.fresh()
	c.open = c.first
	removed := s.Removed()
	for _, lane := range removed.Lanes() {
		for _, span := range removed.lanes[lane] {
			p := c.room(10, lane, false)
			p.seen.Add(lane, span.First, span.Last)
		}
	}
	for kind := Register; kind <= Text; kind++ {
		if n := s.roots[kind]; n != nil {
			c.node(n, nil, 0)
		}
	}
	return c.parts
}

// each calls fn for every event at and below a node.
func (n *node) each(fn func(item)) {
	for _, x := range n.items {
		fn(x)
	}
	for _, x := range n.parts {
		fn(x)
	}
	for _, c := range n.kids {
		c.each(fn)
	}
}

// cutter fills parts one after the other.
type cutter struct {
	limit       int
	often       map[Dot]int // how many places have an event: those of several must stay together
	parts       []*State
	first, open *State
	size        int
	lanes       map[uint64]bool // of the open part
}

func (c *cutter) fresh() *State {
	p := new(State)
	c.parts = append(c.parts, p)
	c.size, c.lanes = 16, make(map[uint64]bool)
	return p
}

// room is the part that takes so many bytes more about a lane.
func (c *cutter) room(bytes int, lane uint64, together bool) *State {
	if together {
		return c.first
	}
	if !c.lanes[lane] {
		bytes += 9
	}
	if c.size+bytes > c.limit {
		c.open = c.fresh()
	}
	c.size += bytes
	c.lanes[lane] = true
	return c.open
}

func (c *cutter) node(n *node, path []string, keys int) {
	take := func(x item) *node {
		p := c.room(keys+len(x.value)+24, x.dot.Lane, c.often[x.dot] > 1)
		p.seen.Add(x.dot.Lane, x.dot.Number, x.dot.Number)
		return p.place(n.kind, path)
	}
	for _, x := range n.items {
		m := take(x)
		m.items = append(m.items, x)
	}
	for _, x := range n.parts {
		m := take(x)
		m.parts = append(m.parts, x)
	}
	for lane, t := range sorted(n.totals) {
		m := c.room(keys+48, lane, false).place(n.kind, path)
		if m.totals == nil {
			m.totals = make(map[uint64]total)
		}
		m.totals[lane] = t
	}
	if n.last != nil {
		c.room(len(n.last.value)+32, n.last.lane, false).place(n.kind, nil).last = n.last
	}
	for _, at := range n.slots() {
		switch n.kind {
		case Map:
			c.node(n.kids[at], append(slices.Clone(path), at.key), keys+len(at.key)+6)
		case GrowSet:
			c.room(len(at.key)+4, 0, false).place(GrowSet, nil).kid(at)
		case Set:
			for _, x := range n.kids[at].items {
				p := c.room(keys+len(at.key)+24, x.dot.Lane, c.often[x.dot] > 1)
				p.seen.Add(x.dot.Lane, x.dot.Number, x.dot.Number)
				k := p.place(Set, path).kid(at)
				k.items = append(k.items, x)
			}
		}
	}
}

// sorted yields the totals of a counter by lane.
func sorted(m map[uint64]total) func(func(uint64, total) bool) {
	return func(yield func(uint64, total) bool) {
		lanes := make([]uint64, 0, len(m))
		for lane := range m {
			lanes = append(lanes, lane)
		}
		slices.Sort(lanes)
		for _, lane := range lanes {
			if !yield(lane, m[lane]) {
				return
			}
		}
	}
}
