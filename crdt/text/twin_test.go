package text

import (
	"cmp"
	"slices"

	"anabranch/crdt"
)

// twin is a text as the Fugue paper draws it: a tree of characters, one node
// each, walked in order. It is slow and shares no code with Doc.
type twin struct {
	nodes map[crdt.Dot]*twinNode
	root  *twinNode
}

type twinNode struct {
	dot         crdt.Dot
	r           rune
	clen        uint32
	parent      *twinNode
	left, right []*twinNode // children by side, by (lane, number)
}

// twinOp is one character typed, or one causal length claimed.
type twinOp struct {
	dot    crdt.Dot
	parent crdt.Dot
	onLeft bool
	r      rune
	clen   uint32 // 1: typed
}

func newTwin() *twin {
	root := &twinNode{}
	return &twin{root: root, nodes: map[crdt.Dot]*twinNode{{}: root}}
}

func (t *twin) walk(visit func(*twinNode)) {
	type frame struct {
		n    *twinNode
		open bool
	}
	stack := []frame{{t.root, false}}
	for len(stack) > 0 {
		f := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if f.open {
			if f.n != t.root {
				visit(f.n)
			}
			continue
		}
		for _, c := range slices.Backward(f.n.right) {
			stack = append(stack, frame{c, false})
		}
		stack = append(stack, frame{f.n, true})
		for _, c := range slices.Backward(f.n.left) {
			stack = append(stack, frame{c, false})
		}
	}
}

func (t *twin) order() []*twinNode {
	var all []*twinNode
	t.walk(func(n *twinNode) { all = append(all, n) })
	return all
}

func (t *twin) visible() []*twinNode {
	return slices.DeleteFunc(t.order(), func(n *twinNode) bool { return n.clen%2 == 0 })
}

func (t *twin) String() string {
	var s []rune
	for _, n := range t.visible() {
		s = append(s, n.r)
	}
	return string(s)
}

func (t *twin) has(d crdt.Dot) bool { return t.nodes[d] != nil }

func (t *twin) apply(op twinOp) {
	if op.clen > 1 {
		n := t.nodes[op.dot]
		n.clen = max(n.clen, op.clen)
		return
	}
	if t.nodes[op.dot] != nil {
		return
	}
	p := t.nodes[op.parent]
	n := &twinNode{dot: op.dot, r: op.r, clen: 1, parent: p}
	t.nodes[op.dot] = n
	side := &p.right
	if op.onLeft {
		side = &p.left
	}
	at, _ := slices.BinarySearchFunc(*side, n, func(a, b *twinNode) int {
		return cmp.Or(cmp.Compare(a.dot.Lane, b.dot.Lane), cmp.Compare(a.dot.Number, b.dot.Number))
	})
	*side = slices.Insert(*side, at, n)
}

// insert types one rune: a right child of the visible character to its left
// if that has no right children, else a left child of whatever comes next.
func (t *twin) insert(dot crdt.Dot, pos int, r rune) twinOp {
	a := t.root
	if pos > 0 {
		a = t.visible()[pos-1]
	}
	op := twinOp{dot: dot, parent: a.dot, r: r, clen: 1}
	if len(a.right) > 0 {
		all := t.order()
		op.parent, op.onLeft = all[slices.Index(all, a)+1].dot, true
	}
	t.apply(op)
	return op
}

func (t *twin) delete(pos int) twinOp {
	n := t.visible()[pos]
	n.clen++
	return twinOp{dot: n.dot, clen: n.clen}
}
