package text

// The spans stand in document order in the leaves of a B-tree whose nodes
// count visible characters, no others: the order of two characters is found
// by climbing to the node above both. Leaves and nodes are named by int32, so
// that the tree holds few pointers.
const (
	leafSpans = 32
	nodeKids  = 32
)

type leaf struct {
	self, parent int32
	prev, next   int32 // -1: none
	n            int
	size         measured
	visible      uint32 // exact, while nodes above may be one settle behind
	spans        [leafSpans]span
	depth        *[leafSpans]uint64 // of each span's first character; see depth.go
}

type node struct {
	self, parent int32 // parent -1: the root
	low          bool  // the kids are leaves
	n            int
	kids         [nodeKids + 1]int32 // one more while it is being cut
	count        [nodeKids + 1]uint32
	least        *[nodeKids + 1]uint64 // the least depth under each kid
}

// tree is the order of a document's spans.
type tree struct {
	leaves      []*leaf
	nodes       []*node
	leafSlab    []leaf
	nodeSlab    []node
	root        int32
	first       int32 // leaf
	leafCap     int   // leafSpans, and less in tests
	nodeCap     int
	dirty       *leaf // whose change the nodes above do not know yet
	dirtyChange int32
	splits      int // leaves cut so far: what was found before may have moved
}

func (t *tree) init() {
	t.leafCap, t.nodeCap = leafSpans, nodeKids
	t.leaves = []*leaf{nil} // no leaf is called 0: a page's 0 says that nobody was there
	l, nd := t.newLeaf(), t.newNode()
	nd.parent, nd.low, nd.n, nd.kids[0] = -1, true, 1, l.self
	l.parent, l.prev, l.next = nd.self, -1, -1
	t.root, t.first = nd.self, l.self
}

func (t *tree) newLeaf() *leaf {
	if len(t.leafSlab) == 0 {
		t.leafSlab = make([]leaf, min(1+len(t.leaves), 64))
	}
	l := &t.leafSlab[0]
	t.leafSlab = t.leafSlab[1:]
	l.self = int32(len(t.leaves))
	t.leaves = append(t.leaves, l)
	return l
}

func (t *tree) newNode() *node {
	if len(t.nodeSlab) == 0 {
		t.nodeSlab = make([]node, min(1+len(t.nodes), 16))
	}
	nd := &t.nodeSlab[0]
	t.nodeSlab = t.nodeSlab[1:]
	nd.self = int32(len(t.nodes))
	t.nodes = append(t.nodes, nd)
	return nd
}

// index is the position of a kid in its node.
func (nd *node) index(kid int32) int {
	for i, k := range nd.kids[:nd.n] {
		if k == kid {
			return i
		}
	}
	panic("text: a node does not know its kid")
}

// adjust changes the number of visible characters of a leaf. The nodes above
// learn of it when another leaf changes, or somebody descends.
func (t *tree) adjust(l *leaf, change int32) {
	l.visible += uint32(change)
	l.size.ok = false
	if t.dirty == l {
		t.dirtyChange += change
		return
	}
	t.settle()
	t.dirty, t.dirtyChange = l, change
}

func (t *tree) settle() {
	if t.dirtyChange != 0 {
		t.carry(t.dirty, t.dirtyChange)
		t.dirtyChange = 0
	}
}

// carry adds a change below to the counts of every node above a leaf.
func (t *tree) carry(l *leaf, change int32) {
	kid := l.self
	for p := l.parent; p >= 0; {
		nd := t.nodes[p]
		nd.count[nd.index(kid)] += uint32(change)
		kid, p = p, nd.parent
	}
}

// descend finds the leaf with the visible character at pos, and the number of
// visible characters before that leaf. Past the end it finds the last leaf.
func (t *tree) descend(pos uint32) (*leaf, uint32) {
	t.settle()
	nd := t.nodes[t.root]
	before := uint32(0)
	for {
		i := 0
		for ; i < nd.n-1 && pos-before >= nd.count[i]; i++ {
			before += nd.count[i]
		}
		if nd.low {
			return t.leaves[nd.kids[i]], before
		}
		nd = t.nodes[nd.kids[i]]
	}
}

// before counts the visible characters in front of a leaf.
func (t *tree) before(l *leaf) uint32 {
	t.settle()
	kid, sum := l.self, uint32(0)
	for p := l.parent; p >= 0; {
		nd := t.nodes[p]
		for i := 0; nd.kids[i] != kid; i++ {
			sum += nd.count[i]
		}
		kid, p = p, nd.parent
	}
	return sum
}

// precedes reports whether leaf a stands before leaf b.
func (t *tree) precedes(a, b *leaf) bool {
	x, y, p, q := a.self, b.self, a.parent, b.parent
	for p != q {
		x, y = p, q
		p, q = t.nodes[p].parent, t.nodes[q].parent
	}
	nd := t.nodes[p]
	return nd.index(x) < nd.index(y)
}

// following is the span after span i of a leaf, or nil at the end.
func (t *tree) following(l *leaf, i int) *span {
	if i+1 < l.n {
		return &l.spans[i+1]
	}
	if l.next < 0 {
		return nil
	}
	return &t.leaves[l.next].spans[0]
}

// remove takes span i out of a leaf; its characters have gone to a neighbour
// in the same leaf.
func (l *leaf) remove(i int) {
	copy(l.spans[i:l.n-1], l.spans[i+1:l.n])
	if l.depth != nil {
		copy(l.depth[i:l.n-1], l.depth[i+1:l.n])
	}
	l.n--
}

// open makes k free places before span i of a leaf that has them.
func (l *leaf) open(i, k int) {
	copy(l.spans[i+k:], l.spans[i:l.n])
	if l.depth != nil {
		copy(l.depth[i+k:], l.depth[i:l.n])
	}
	l.n += k
}

// room makes sure that a leaf takes k more spans, cutting it if it must, and
// returns where the span at i is then.
func (d *Doc) room(l *leaf, i, k int) (*leaf, int) {
	if l.n+k <= d.leafCap {
		return l, i
	}
	cut := l.n / 2
	m, left := d.split(l, cut)
	switch {
	case left && i < cut:
		return m, i
	case left:
		return l, i - cut
	case i < cut:
		return l, i
	}
	return m, i - cut
}

// split moves the spans before or after cut to a new leaf, whichever have
// fewer characters: each character's page must learn where it went, and a
// pasted book that is being cut by an edit should stay. left tells that those
// before cut moved.
func (d *Doc) split(l *leaf, cut int) (m *leaf, left bool) {
	d.settle()
	d.splits++
	var chars [2]uint64
	for i := range l.spans[:l.n] {
		half := 0
		if i >= cut {
			half = 1
		}
		chars[half] += uint64(l.spans[i].n)
	}
	left = chars[0] < chars[1]
	m = d.newLeaf()
	if l.depth != nil {
		m.depth = new([leafSpans]uint64)
	}
	if left {
		m.n = copy(m.spans[:], l.spans[:cut])
		copy(l.spans[:], l.spans[cut:l.n])
		if l.depth != nil {
			copy(m.depth[:], l.depth[:cut])
			copy(l.depth[:], l.depth[cut:l.n])
		}
		m.prev, m.next = l.prev, l.self
		if l.prev >= 0 {
			d.leaves[l.prev].next = m.self
		} else {
			d.first = m.self
		}
		l.prev = m.self
	} else {
		m.n = copy(m.spans[:], l.spans[cut:l.n])
		if l.depth != nil {
			copy(m.depth[:], l.depth[cut:l.n])
		}
		m.prev, m.next = l.self, l.next
		if l.next >= 0 {
			d.leaves[l.next].prev = m.self
		}
		l.next = m.self
	}
	l.n -= m.n
	for i := range m.spans[:m.n] {
		s := &m.spans[i]
		d.lanes[s.id.lane()].put(s.id.number(), s.n, m.self)
		m.visible += s.visible()
	}
	l.visible -= m.visible
	l.size.ok = false

	nd := d.nodes[l.parent]
	j := nd.index(l.self)
	nd.count[j] = l.visible
	at := j + 1
	if left {
		at = j
	}
	m.parent = nd.self
	if c := &d.cur; c.l == l && c.splits == d.splits-1 {
		if left {
			c.start += m.visible
		}
		c.i, c.before, c.splits = 0, 0, d.splits
	}
	var least uint64
	if l.depth != nil {
		nd.least[j] = l.leastDepth()
		least = m.leastDepth()
	}
	d.adopt(nd, at, m.self, m.visible, least)
	return m, left
}

// adopt puts a kid at position at of a node, and cuts nodes that are too full.
func (t *tree) adopt(nd *node, at int, kid int32, count uint32, least uint64) {
	copy(nd.kids[at+1:], nd.kids[at:nd.n])
	copy(nd.count[at+1:], nd.count[at:nd.n])
	nd.kids[at], nd.count[at] = kid, count
	if nd.least != nil {
		copy(nd.least[at+1:], nd.least[at:nd.n])
		nd.least[at] = least
	}
	nd.n++
	t.setParent(nd, kid)
	if nd.n > t.nodeCap {
		t.cut(nd)
	}
}

func (t *tree) setParent(nd *node, kid int32) {
	if nd.low {
		t.leaves[kid].parent = nd.self
	} else {
		t.nodes[kid].parent = nd.self
	}
}

// cut moves the right half of a node's kids to a new node beside it.
func (t *tree) cut(nd *node) {
	right := t.newNode()
	right.low = nd.low
	half := nd.n / 2
	right.n = copy(right.kids[:], nd.kids[half:nd.n])
	copy(right.count[:], nd.count[half:nd.n])
	if nd.least != nil {
		right.least = new([nodeKids + 1]uint64)
		copy(right.least[:], nd.least[half:nd.n])
	}
	nd.n = half
	for _, kid := range right.kids[:right.n] {
		t.setParent(right, kid)
	}
	if nd.parent < 0 {
		root := t.newNode()
		root.parent, root.n = -1, 1
		root.kids[0], root.count[0] = nd.self, nd.sum()+right.sum()
		if nd.least != nil {
			root.least = new([nodeKids + 1]uint64)
			root.least[0] = min(nd.leastDepth(), right.leastDepth())
		}
		nd.parent, t.root = root.self, root.self
	}
	up := t.nodes[nd.parent]
	right.parent = up.self
	j := up.index(nd.self)
	up.count[j] = nd.sum()
	var least uint64
	if nd.least != nil {
		up.least[j], least = nd.leastDepth(), right.leastDepth()
	}
	t.adopt(up, j+1, right.self, right.sum(), least)
}

func (nd *node) sum() uint32 {
	sum := uint32(0)
	for _, c := range nd.count[:nd.n] {
		sum += c
	}
	return sum
}
