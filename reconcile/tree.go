package reconcile

import (
	"iter"
	"sort"
	"sync/atomic"
)

// Tree is a live Index: a B-tree whose inner nodes know the count and the
// sum of every subtree, so that a fingerprint of any range reads O(log n)
// nodes. It takes about 50 bytes per item. The zero Tree is empty and ready.
//
// One goroutine at a time may write (Insert, Delete). Clone gives a
// snapshot that later writes to either tree never change; trees that nobody
// writes may be read and cloned by any number of goroutines, while others
// write trees that share nodes with them.
type Tree struct {
	root *node
	n    int
	edit atomic.Pointer[edit] // nil: nodes are shared, the next write takes a new one
	max  nodeSize             // zero: default
}

// edit marks the nodes that one tree may change in place. A node made under
// another edit may belong to a clone and is copied first.
type edit struct{ _ byte }

type nodeSize struct{ items, kids int }

var defaultSize = nodeSize{items: 128, kids: 64}

// node is a leaf (kids == nil) or an inner node. All leaves are equally deep.
type node struct {
	edit  *edit
	items []Item
	kids  []kid
}

// kid is a subtree as its parent sees it.
type kid struct {
	node  *node
	first Item // not above any item in the subtree; above all left of it
	count int
	sum   Sum
}

// Clone returns a snapshot of the tree in O(1). Both may be written from
// then on; each copies what it changes.
func (t *Tree) Clone() *Tree {
	t.edit.Store(nil)
	return &Tree{root: t.root, n: t.n, max: t.max}
}

// Len is the number of items.
func (t *Tree) Len() int { return t.n }

// Has says whether x is in the tree.
func (t *Tree) Has(x Item) bool {
	if t.root == nil {
		return false
	}
	n := t.root
	for n.kids != nil {
		n = n.kids[n.route(x)].node
	}
	i := lowerBound(n.items, x)
	return i < len(n.items) && n.items[i] == x
}

// route is the kid whose subtree x belongs in.
func (n *node) route(x Item) int {
	return sort.Search(len(n.kids)-1, func(i int) bool {
		y := &n.kids[i+1].first
		if y.Time != x.Time {
			return y.Time > x.Time
		}
		return compareIDs(&y.ID, &x.ID) > 0
	})
}

// At is the item at position i. It panics if there is none.
func (t *Tree) At(i int) (Item, error) {
	n := t.root
	for n.kids != nil {
		k := 0
		for i >= n.kids[k].count {
			i -= n.kids[k].count
			k++
		}
		n = n.kids[k].node
	}
	return n.items[i], nil
}

// LowerBound is the first position not below b.
func (t *Tree) LowerBound(b Bound) (int, error) {
	if t.root == nil {
		return 0, nil
	}
	x, at, n := b.Item(), 0, t.root
	for n.kids != nil {
		i := n.route(x)
		for k := range n.kids[:i] {
			at += n.kids[k].count
		}
		n = n.kids[i].node
	}
	return at + lowerBound(n.items, x), nil
}

// Fingerprint digests the items at [begin, end).
func (t *Tree) Fingerprint(begin, end int) (Fingerprint, error) {
	sum, err := t.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

// Sum adds up the IDs of the items at [begin, end).
func (t *Tree) Sum(begin, end int) (Sum, error) {
	sum := t.sumTo(end)
	sum.SubSum(t.sumTo(begin))
	return sum, nil
}

// sumTo is the sum of the first i items.
func (t *Tree) sumTo(i int) (sum Sum) {
	if i == 0 {
		return sum
	}
	n := t.root
	for n.kids != nil {
		k := 0
		for i > n.kids[k].count {
			i -= n.kids[k].count
			sum.AddSum(n.kids[k].sum)
			k++
		}
		if i == n.kids[k].count {
			sum.AddSum(n.kids[k].sum)
			return sum
		}
		n = n.kids[k].node
	}
	sum.addItems(n.items[:i])
	return sum
}

// Items yields the items at [begin, end) in order. The tree must not be
// written meanwhile; range over a clone for that.
func (t *Tree) Items(begin, end int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if begin < end {
			t.root.walk(begin, end, yield)
		}
	}
}

func (n *node) walk(begin, end int, yield func(Item, error) bool) bool {
	if n.kids == nil {
		for _, x := range n.items[max(begin, 0):min(end, len(n.items))] {
			if !yield(x, nil) {
				return false
			}
		}
		return true
	}
	for i := range n.kids {
		if end <= 0 {
			break
		}
		k := &n.kids[i]
		if begin < k.count && !k.node.walk(begin, end, yield) {
			return false
		}
		begin, end = begin-k.count, end-k.count
	}
	return true
}
