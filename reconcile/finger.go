package reconcile

import "sort"

// finger is a place in a tree, from which a place near by is reached without
// going back to the root.
type finger struct {
	root *node
	n    int
	sums bool // whether sums are kept

	path []step // inner nodes, from the root
	leaf *node
	at   int // position of the leaf's first item
	sum  Sum // of all items left of the leaf
}

// step is an inner node on the way, and which of its kids the way takes.
type step struct {
	node *node
	kid  int
	at   int // position of the kid's first item
	sum  Sum // of all items left of the kid
}

func (f *finger) reset(root *node, n int) {
	clear(f.path[:cap(f.path)]) // do not keep a tree alive
	f.root, f.n, f.path, f.leaf, f.at, f.sum = root, n, f.path[:0], nil, 0, Sum{}
}

// moveTo goes to the leaf of the item at position i, or to the last leaf if
// i is the number of items, which is not 0.
func (f *finger) moveTo(i int) {
	if f.leaf != nil && i >= f.at && i < f.at+len(f.leaf.items) {
		return
	}
	// Up to a node that has the item, then down.
	for len(f.path) > 0 {
		begin, end := 0, f.n
		if len(f.path) > 1 {
			p := &f.path[len(f.path)-2]
			begin, end = p.at, p.at+p.node.kids[p.kid].count
		}
		if i >= begin && i < end || len(f.path) == 1 {
			break
		}
		f.path = f.path[:len(f.path)-1]
	}
	if len(f.path) == 0 {
		if f.root.kids == nil {
			f.leaf, f.at, f.sum = f.root, 0, Sum{}
			return
		}
		f.path = append(f.path, step{node: f.root})
	}
	for {
		s := &f.path[len(f.path)-1]
		if i < s.at {
			s.kid, s.at, s.sum = 0, 0, Sum{}
			if len(f.path) > 1 {
				p := &f.path[len(f.path)-2]
				s.at, s.sum = p.at, p.sum
			}
		}
		for s.kid < len(s.node.kids)-1 && i >= s.at+s.node.kids[s.kid].count {
			f.skip(s)
		}
		if f.down(s) {
			return
		}
	}
}

// skip goes to the next kid of s.
func (f *finger) skip(s *step) {
	k := &s.node.kids[s.kid]
	s.at += k.count
	if f.sums {
		s.sum.AddSum(k.sum)
	}
	s.kid++
}

// down goes to the kid of s and says whether it is a leaf.
func (f *finger) down(s *step) bool {
	n := s.node.kids[s.kid].node
	if n.kids == nil {
		f.leaf, f.at, f.sum = n, s.at, s.sum
		return true
	}
	f.path = append(f.path, step{node: n, at: s.at, sum: s.sum})
	return false
}

// seek is the position of the first item not below b, which must not lie in
// a leaf left of this one.
func (f *finger) seek(b *Bound) int {
	if f.leaf == nil {
		f.moveTo(0)
	}
	if last := &f.leaf.items[len(f.leaf.items)-1]; last.below(b) {
		up := -1
		for p := len(f.path) - 1; p >= 0; p-- {
			if s := &f.path[p]; s.kid+1 < len(s.node.kids) {
				if s.node.kids[s.kid+1].first.above(b) {
					break
				}
				up = p
			}
		}
		if up >= 0 {
			f.path = f.path[:up+1]
			for {
				s := &f.path[up]
				// The last kid that does not begin above b.
				kids := s.node.kids[s.kid+1:]
				for range sort.Search(len(kids), func(i int) bool { return kids[i].first.above(b) }) {
					f.skip(s)
				}
				if f.down(s) {
					break
				}
				up++
			}
		}
	}
	return f.at + gallop(f.leaf.items, 0, b)
}

// treeCursor has two fingers: one that looks for bounds, one that sums up
// the range below the bound found.
type treeCursor struct {
	hash         *hasher
	search, read finger

	pos  int // where the last fingerprint ended
	sum  Sum // up to there
	sums [batch]Sum
}

func (c *treeCursor) reset(t *Tree) {
	c.search.reset(t.root, t.n)
	c.read.reset(t.root, t.n)
	c.read.sums = true
	c.pos, c.sum = 0, Sum{}
}

func (c *treeCursor) len() int { return c.read.n }

func (c *treeCursor) rewind() { c.search.reset(c.read.root, c.read.n) }

func (c *treeCursor) seek(from int, ranges []ahead) error {
	for i := range ranges {
		a := &ranges[i]
		a.begin, a.end = from, c.search.n
		if b := &a.g.upper; b.Time != Infinity && c.search.n > 0 {
			a.end = c.search.seek(b)
		}
		from = a.end
	}
	return nil
}

// smallRange is the size up to which a range is summed up item by item.
const smallRange = 64

func (c *treeCursor) fingerprints(spans []span, out []Fingerprint) error {
	sums := c.sums[:len(spans)]
	for i, s := range spans {
		sums[i] = c.sumOf(s.begin, s.end)
	}
	c.hash.fingerprints(sums, spans, out)
	return nil
}

func (c *treeCursor) sumOf(begin, end int) (sum Sum) {
	if end-begin <= smallRange {
		for at := begin; at < end; {
			f := &c.read
			f.moveTo(at)
			items := f.leaf.items[at-f.at:]
			items = items[:min(len(items), end-at)]
			sum.addItems(items)
			at += len(items)
		}
		if begin == c.pos {
			c.pos = end
			c.sum.AddSum(sum)
		}
		return sum
	}
	before := c.sum
	if begin != c.pos {
		before = c.sumTo(begin)
	}
	c.pos, c.sum = end, c.sumTo(end)
	sum = c.sum
	sum.SubSum(before)
	return sum
}

// sumTo is the sum of the first i items, taken from the nearer end of a leaf.
func (c *treeCursor) sumTo(i int) Sum {
	f := &c.read
	f.moveTo(i)
	sum, items, n := f.sum, f.leaf.items, i-f.at
	if n <= len(items)/2 || len(f.path) == 0 {
		sum.addItems(items[:n])
		return sum
	}
	s := &f.path[len(f.path)-1]
	sum.AddSum(s.node.kids[s.kid].sum)
	var over Sum
	over.addItems(items[n:])
	sum.SubSum(over)
	return sum
}

func (c *treeCursor) item(i int) *Item {
	c.read.moveTo(i)
	return &c.read.leaf.items[i-c.read.at]
}

func (c *treeCursor) between(i int) (Bound, error) {
	p := c.item(i - 1)
	return boundBetween(p, c.item(i)), nil
}

func (c *treeCursor) at(i int) (Item, error) { return *c.item(i), nil }

func (c *treeCursor) ids(dst []byte, begin, end int) ([]byte, error) {
	for begin < end {
		c.read.moveTo(begin)
		items := c.read.leaf.items[begin-c.read.at:]
		items = items[:min(len(items), end-begin)]
		for i := range items {
			dst = append(dst, items[i].ID[:]...)
		}
		begin += len(items)
	}
	return dst, nil
}
