package store

import (
	"sort"

	"anabranch/reconcile"
)

// blocks is what is kept in memory of the order by (time, ID): its rows cut
// into blocks, with the lower end, the count and the sum of the IDs of each,
// in a B-tree that adds them up. About 0.6 bytes for each member.
//
// It is a value of its own for every group of commits and shares what did not
// change with the one before, so a snapshot is a pointer. Only the committer
// writes, and only a fork that nobody else knows yet.
type blocks struct {
	root *blockNode // nil: no members
	edit *edit      // of the nodes that may be changed in place
	warm *warm
	size blockSize
}

// edit marks what was made for one group of commits.
type edit struct{ _ byte }

// blockSize says how items are cut. Tests make them tiny.
type blockSize struct {
	most int // items: a block with more is divided
	kids int // of a node
}

var defaultBlocks = blockSize{most: 160, kids: 64}

// few is the count below which a block joins a neighbour, if both have no
// more than joined.
func (z blockSize) few() int    { return max(2, z.most/8) }
func (z blockSize) joined() int { return z.most / 2 }

// blockNode has blocks below it, or nodes.
type blockNode struct {
	edit *edit
	kids []blockKid
}

// blockKid is a block, or a node, as its parent sees it.
type blockKid struct {
	first   reconcile.Item // not above any item in it, above all left of it; of the first kid of a node it says nothing
	sum     reconcile.Sum
	node    *blockNode // nil for a block
	content uint64     // of a block: names these very items
	count   int32
	untidy  bool // has a block that is to be divided or to join another
}

func newBlocks(w *warm, size blockSize) *blocks {
	return &blocks{edit: new(edit), warm: w, size: size}
}

// fork is a blocks to be written, which leaves b as it is.
func (b *blocks) fork() *blocks {
	f := *b
	f.edit = new(edit)
	return &f
}

// count is the number of items.
func (b *blocks) count() int {
	if b.root == nil {
		return 0
	}
	return b.root.count()
}

func (n *blockNode) count() (c int) {
	for i := range n.kids {
		c += int(n.kids[i].count)
	}
	return c
}

func (n *blockNode) sum() (s reconcile.Sum) {
	for i := range n.kids {
		s.AddSum(n.kids[i].sum)
	}
	return s
}

// spot is a block and what lies left of it.
type spot struct {
	at      int           // items left of it
	before  reconcile.Sum // of those
	count   int
	sum     reconcile.Sum
	content uint64
	lo, hi  reconcile.Item // it has the items in [lo, hi)
	open    bool           // it is the last: there is no hi
}

// down goes to a kid of n; p says where n lies.
func (p *spot) down(n *blockNode, i int) {
	for k := range n.kids[:i] {
		p.at += int(n.kids[k].count)
		p.before.AddSum(n.kids[k].sum)
	}
	k := &n.kids[i]
	if i > 0 {
		p.lo = k.first
	}
	if i+1 < len(n.kids) {
		p.hi, p.open = n.kids[i+1].first, false
	}
	p.count, p.sum, p.content = int(k.count), k.sum, k.content
}

// position finds the block of the item at a position, or the last block if i
// is the number of items. There must be a block.
func (b *blocks) position(i int) spot {
	p := spot{open: true}
	for n := b.root; n != nil; {
		k, left := 0, i-p.at
		for ; k < len(n.kids)-1 && left >= int(n.kids[k].count); k++ {
			left -= int(n.kids[k].count)
		}
		p.down(n, k)
		n = n.kids[k].node
	}
	return p
}

// search finds the block in which an item lies or would lie.
func (b *blocks) search(x reconcile.Item) spot {
	p := spot{open: true}
	for n := b.root; n != nil; {
		k := n.route(x)
		p.down(n, k)
		n = n.kids[k].node
	}
	return p
}

// route is the kid in which x lies or would lie.
func (n *blockNode) route(x reconcile.Item) int {
	return sort.Search(len(n.kids)-1, func(i int) bool { return n.kids[i+1].first.Compare(x) > 0 })
}

// lowerBound is the first of ascending items that is not below x.
func lowerBound(items []reconcile.Item, x reconcile.Item) int {
	return sort.Search(len(items), func(i int) bool { return items[i].Compare(x) >= 0 })
}

// each calls fn for every block, in order.
func (b *blocks) each(fn func(spot) error) error {
	if b.root == nil {
		return nil
	}
	for p := b.position(0); ; p = b.search(p.hi) {
		if err := fn(p); err != nil || p.open {
			return err
		}
	}
}
