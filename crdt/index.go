package crdt

import (
	"cmp"
	"slices"
)

// index says at which places each event of a large state stands, so that a
// join with something small costs what is small: an event that the other has
// removed would else have to be looked for everywhere. It takes some 60 bytes
// an event, and only states that are joined with removals again and again have
// one.
type index struct {
	one  map[Dot]*node   // where an event stands
	more map[Dot][]*node // where else: few events stand at several places
}

const (
	indexEvents = 256 // smaller states have no index
	indexPart   = 8   // a join that may remove more than such a part goes over everything
)

// newIndex indexes a state. Cost: its size.
func newIndex(s *State) *index {
	x := &index{one: make(map[Dot]*node), more: make(map[Dot][]*node)}
	for _, n := range s.roots {
		x.below(n)
	}
	return x
}

func (x *index) below(n *node) {
	for _, e := range n.items {
		x.add(e.dot, n)
	}
	if n.kind == GrowSet {
		return // no event stands there, and what is in it may be another state's, too
	}
	for at, c := range n.kids {
		c.up, c.key = n, at.key
		x.below(c)
	}
}

func (x *index) add(d Dot, n *node) {
	switch at := x.one[d]; {
	case at == nil:
		x.one[d] = n
	case at != n:
		x.more[d] = append(x.more[d], n)
	}
}

// places are the nodes at which an event stands.
func (x *index) places(d Dot) []*node {
	n := x.one[d]
	if n == nil {
		return nil
	}
	return append([]*node{n}, x.more[d]...)
}

// drop notes that an event does not stand at a node any more.
func (x *index) drop(d Dot, n *node) {
	if len(x.more[d]) == 0 {
		delete(x.one, d)
		return
	}
	left := slices.DeleteFunc(x.places(d), func(m *node) bool { return m == n })
	delete(x.one, d)
	delete(x.more, d)
	for _, m := range left {
		x.add(d, m)
	}
}

// evict removes from s the events that another state has seen and does not
// carry at their place; s has an index.
func (s *State) evict(other *State) {
	for lane, theirs := range other.seen.lanes {
		for _, both := range overlap(s.seen.lanes[lane], theirs) {
			for n := both.First; n <= both.Last; n++ {
				d := Dot{lane, n}
				for _, at := range s.index.places(d) {
					if o := other.twin(at); o == nil || !o.has(d) {
						s.remove(d, at)
					}
				}
			}
		}
	}
}

// twin is a state's node at the place of a node of another one.
func (s *State) twin(n *node) *node {
	if n.up == nil {
		return s.roots[n.kind]
	}
	if up := s.twin(n.up); up != nil {
		return up.kids[slot{n.key, n.kind}]
	}
	return nil
}

// remove takes an event from its node, and the node, and those above it, when
// nothing else is there.
func (s *State) remove(d Dot, n *node) {
	if i, ok := n.find(d); ok {
		n.items = slices.Delete(n.items, i, i+1)
	}
	s.index.drop(d, n)
	for ; n.empty(); n = n.up {
		if n.up == nil {
			delete(s.roots, n.kind)
			return
		}
		delete(n.up.kids, slot{n.key, n.kind})
	}
}

// find is the place of an event among those of a node, and whether it is there.
func (n *node) find(d Dot) (int, bool) {
	return slices.BinarySearchFunc(n.items, d, func(x item, d Dot) int { return x.dot.Compare(d) })
}

func (n *node) has(d Dot) bool {
	_, ok := n.find(d)
	return ok
}

// overlap is what two lists of spans have in common.
func overlap(a, b []Span) (out []Span) {
	if len(b) < len(a) {
		a, b = b, a
	}
	for _, s := range a {
		i, _ := slices.BinarySearchFunc(b, s.First, func(t Span, n uint32) int { return cmp.Compare(t.Last, n) })
		for ; i < len(b) && b[i].First <= s.Last; i++ {
			out = append(out, Span{max(s.First, b[i].First), min(s.Last, b[i].Last)})
		}
	}
	return out
}

// common is how many dots two contexts have in common.
func (c Context) common(other Context) (n uint64) {
	if len(other.lanes) < len(c.lanes) {
		c, other = other, c
	}
	for lane, a := range c.lanes {
		for _, s := range overlap(a, other.lanes[lane]) {
			n += uint64(s.Last-s.First) + 1
		}
	}
	return n
}
