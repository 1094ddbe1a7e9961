package crdt

import (
	"maps"
	"slices"
	"strings"
)

// Join adds what another state says: the least state that says both. It is
// commutative, associative and idempotent, for any states, well meant or not.
// The other is not changed, and shares nothing that changes with s afterwards.
//
// Cost: the other's size, and that of its context. If it has removed events
// that s knows of, which may stand anywhere, a small s is gone over, and one of
// many events at first; the third time it is indexed, which costs its size once
// more, and from then on an event costs a look-up. Many parts are joined faster
// by JoinAll.
func (s *State) Join(other *State) {
	if s == other {
		return
	}
	common := s.seen.common(other.seen)
	if common > 0 && s.index == nil && s.wide >= 2 {
		s.index = newIndex(s)
	}
	if s.index != nil && common > uint64(len(s.index.one)/indexPart) {
		s.index, s.wide = nil, 0
	}
	if common == 0 || s.index != nil {
		s.narrow(other)
		return
	}
	j := joining{mine: &s.seen, theirs: &other.seen, meet: true}
	j.roots(s, other)
	if j.visited >= indexEvents && common <= uint64(j.visited/indexPart) {
		s.wide++
	}
}

// narrow is a join in which nothing that the other state has seen stands in s,
// or s has an index to find it by.
func (s *State) narrow(other *State) {
	if s.index != nil {
		s.evict(other)
	}
	j := joining{mine: &s.seen, theirs: &other.seen, index: s.index}
	j.roots(s, other)
}

// roots joins all places and the contexts.
func (j *joining) roots(s, other *State) {
	if s.roots == nil && len(other.roots) > 0 {
		s.roots = make(map[Kind]*node, len(other.roots))
	}
	for kind, o := range other.roots {
		n := s.roots[kind]
		if n == nil {
			n = &node{kind: kind}
			s.roots[kind] = n
		}
		j.node(n, o)
	}
	if j.meet {
		for kind, n := range s.roots {
			if other.roots[kind] == nil {
				j.node(n, &node{kind: kind})
			}
		}
	}
	for kind, n := range s.roots {
		if n.empty() {
			delete(s.roots, kind)
		}
	}
	s.seen.Join(other.seen)
}

// JoinAll is the join of many states, two and two: O(n log n), where one
// after the other could be quadratic. The parts are not changed.
func JoinAll(parts ...*State) *State {
	switch len(parts) {
	case 0:
		return new(State)
	case 1:
		return parts[0].Clone()
	}
	half := len(parts) / 2
	s := JoinAll(parts[:half]...)
	s.Join(JoinAll(parts[half:]...))
	return s
}

// joining is one join; the contexts are those before it.
type joining struct {
	mine, theirs *Context
	meet         bool   // what theirs has seen and does not carry may be here
	index        *index // of what is joined into; nil: none
	visited      int    // nodes
}

// node joins o into n; o's kind is n's.
func (j *joining) node(n, o *node) {
	j.visited++
	n.items = j.items(n, n.items, o.items)
	switch n.kind {
	case Register:
		if o.last != nil && (n.last == nil || n.last.before(o.last)) {
			n.last = o.last
		}
	case Counter:
		if n.totals == nil && len(o.totals) > 0 {
			n.totals = make(map[uint64]total, len(o.totals))
		}
		for lane, t := range o.totals {
			m := n.totals[lane]
			n.totals[lane] = total{max(m.up, t.up), max(m.down, t.down), max(m.floorUp, t.floorUp), max(m.floorDown, t.floorDown)}
		}
	case Text:
		n.parts = unite(n.parts, o.parts)
	case GrowSet:
		if n.kids == nil && len(o.kids) > 0 {
			n.kids = make(map[slot]*node, len(o.kids))
		}
		maps.Copy(n.kids, o.kids)
	case Set, Map:
		j.kids(n, o)
	}
}

func (j *joining) kids(n, o *node) {
	if j.meet {
		for at, c := range n.kids {
			if o.kids[at] == nil {
				if j.node(c, &node{kind: at.kind}); c.empty() {
					delete(n.kids, at)
				}
			}
		}
	}
	for at, theirs := range o.kids {
		c := n.kids[at]
		if c == nil {
			c = &node{kind: at.kind, up: n, key: at.key}
		}
		if j.node(c, theirs); c.empty() {
			delete(n.kids, at)
			continue
		}
		if n.kids == nil {
			n.kids = make(map[slot]*node, len(o.kids))
		}
		n.kids[at] = c
	}
}

// items joins the events of one place, n: those that both have, and those of
// one that the other has not seen.
func (j *joining) items(n *node, a, b []item) []item {
	if len(b) == 0 {
		if !j.meet {
			return a
		}
		return slices.DeleteFunc(a, func(x item) bool { return j.theirs.Has(x.dot) })
	}
	if !j.meet && len(b) <= fewItems {
		for _, y := range b {
			at, ok := len(a), len(a) > 0 && a[len(a)-1].dot.Compare(y.dot) >= 0
			if ok {
				at, ok = slices.BinarySearchFunc(a, y, func(x, y item) int { return x.dot.Compare(y.dot) })
			}
			switch {
			case ok:
				a[at] = a[at].greater(y)
			case !j.mine.Has(y.dot):
				a = slices.Insert(a, at, y)
				j.came(n, y)
			}
		}
		return a
	}
	out := make([]item, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].dot.Compare(b[0].dot) < 0:
			if !j.meet || !j.theirs.Has(a[0].dot) {
				out = append(out, a[0])
			}
			a = a[1:]
		case len(a) == 0 || b[0].dot.Compare(a[0].dot) < 0:
			if !j.mine.Has(b[0].dot) {
				out = append(out, b[0])
				j.came(n, b[0])
			}
			b = b[1:]
		default:
			out = append(out, a[0].greater(b[0]))
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// fewItems are joined into a long list each by itself.
const fewItems = 8

// came notes that an event stands at n now.
func (j *joining) came(n *node, x item) {
	if j.index != nil {
		j.index.add(x.dot, n)
	}
}

// unite is the union of two lists of parts.
func unite(a, b []item) []item {
	if len(b) == 0 {
		return a
	}
	out := make([]item, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].dot.Compare(b[0].dot) < 0:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].dot.Compare(a[0].dot) < 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, a[0].greater(b[0]))
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// greater decides between two contents of one dot, which only a lane that
// equivocates can have: never by what came first.
func (x item) greater(y item) item {
	if x.time < y.time || x.time == y.time && strings.Compare(x.value, y.value) < 0 {
		return y
	}
	return x
}

// before orders what was written to a register.
func (w *written) before(o *written) bool {
	if w.time != o.time {
		return w.time < o.time
	}
	if w.lane != o.lane {
		return w.lane < o.lane
	}
	return w.value < o.value
}
