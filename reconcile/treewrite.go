package reconcile

import "slices"

// leafStep is the number of items by which a leaf's memory grows.
const leafStep = 16

// Insert adds items, in any order, and returns how many were not there.
// Known ones are ignored. If one lies at Infinity nothing is added and the
// error is ErrTimeInfinity. A sorted batch costs much less per item than
// as many single calls.
func (t *Tree) Insert(items ...Item) (added int, err error) {
	for i := range items {
		if items[i].Time == Infinity {
			return 0, ErrTimeInfinity
		}
	}
	before := t.n
	if len(items) > 1 && !slices.IsSortedFunc(items, Item.Compare) {
		items = slices.Clone(items)
		slices.SortFunc(items, Item.Compare)
	}
	e := t.begin()
	for i := range items {
		t.insert(e, &items[i])
	}
	return t.n - before, nil
}

// Delete takes items out and returns how many were there.
func (t *Tree) Delete(items ...Item) (deleted int) {
	before := t.n
	e := t.begin()
	for i := range items {
		t.delete(e, &items[i])
	}
	return before - t.n
}

// begin starts a write.
func (t *Tree) begin() *edit {
	e := t.edit.Load()
	if e == nil {
		e = new(edit)
		t.edit.Store(e)
	}
	if t.max == (nodeSize{}) {
		t.max = defaultSize
	}
	return e
}

func (t *Tree) insert(e *edit, x *Item) {
	if t.root == nil {
		t.root = &node{edit: e}
	}
	root, right, added := t.root.insert(e, t.max, x, true)
	if !added {
		return
	}
	t.n++
	t.root = root
	if right != nil {
		t.root = &node{edit: e, kids: []kid{root.asKid(), right.asKid()}}
	}
}

// insert adds x below n. It returns n or the copy that replaces it, and the
// node that n was split to make room for, if it was; last says that nothing
// lies to the right of n.
func (n *node) insert(e *edit, max nodeSize, x *Item, last bool) (own, right *node, added bool) {
	if n.kids == nil {
		return n.insertItem(e, max, x, last)
	}
	i := n.route(*x)
	below, split, added := n.kids[i].node.insert(e, max, x, last && i == len(n.kids)-1)
	if !added {
		return n, nil, false
	}
	n = n.owned(e)
	if k := &n.kids[i]; split == nil {
		k.node = below
		k.count++
		k.sum.Add(&x.ID)
		if x.Compare(k.first) < 0 { // leftmost
			k.first = *x
		}
		return n, nil, true
	}
	n.kids[i] = below.asKid()
	if len(n.kids) < max.kids {
		n.kids = slices.Insert(n.kids, i+1, split.asKid())
		return n, nil, true
	}
	at := len(n.kids) / 2
	if last && i == len(n.kids)-1 {
		at = len(n.kids) - 1 // items come in order: leave full nodes behind
	}
	right = &node{edit: e, kids: append(make([]kid, 0, max.kids), n.kids[at:]...)}
	clear(n.kids[at:])
	n.kids = n.kids[:at]
	if i < at {
		n.kids = slices.Insert(n.kids, i+1, split.asKid())
	} else {
		right.kids = slices.Insert(right.kids, i+1-at, split.asKid())
	}
	return n, right, true
}

func (n *node) insertItem(e *edit, max nodeSize, x *Item, last bool) (own, right *node, added bool) {
	i := lowerBound(n.items, *x)
	if i < len(n.items) && n.items[i] == *x {
		return n, nil, false
	}
	n = n.owned(e)
	if len(n.items) < max.items {
		n.put(i, x)
		return n, nil, true
	}
	right = &node{edit: e}
	if last && i == len(n.items) {
		right.put(0, x)
		return n, right, true
	}
	at := len(n.items) / 2
	right.items = append(make([]Item, 0, len(n.items)-at+leafStep), n.items[at:]...)
	n.items = append(make([]Item, 0, at+leafStep), n.items[:at]...)
	if i <= at {
		n.put(i, x)
	} else {
		right.put(i-at, x)
	}
	return n, right, true
}

// put places x at position i of an owned leaf.
func (n *node) put(i int, x *Item) {
	if len(n.items) == cap(n.items) {
		n.items = append(make([]Item, 0, len(n.items)+leafStep), n.items...)
	}
	n.items = append(n.items, Item{})
	copy(n.items[i+1:], n.items[i:])
	n.items[i] = *x
}

func (t *Tree) delete(e *edit, x *Item) {
	if t.root == nil {
		return
	}
	root, deleted := t.root.delete(e, t.max, x)
	if !deleted {
		return
	}
	t.n--
	for len(root.kids) == 1 {
		root = root.kids[0].node
	}
	if t.n == 0 {
		root = nil
	}
	t.root = root
}

// delete takes x out below n, and returns n or the copy that replaces it.
func (n *node) delete(e *edit, max nodeSize, x *Item) (own *node, deleted bool) {
	if n.kids == nil {
		i := lowerBound(n.items, *x)
		if i == len(n.items) || n.items[i] != *x {
			return n, false
		}
		n = n.owned(e)
		n.items = slices.Delete(n.items, i, i+1)
		if cap(n.items)-len(n.items) > 3*leafStep {
			n.items = append(make([]Item, 0, len(n.items)+leafStep), n.items...)
		}
		return n, true
	}
	i := n.route(*x)
	below, deleted := n.kids[i].node.delete(e, max, x)
	if !deleted {
		return n, false
	}
	n = n.owned(e)
	k := &n.kids[i]
	k.node = below
	k.count--
	k.sum.Sub(&x.ID)
	if below.size() > below.limit(max)/4 {
		return n, true
	}
	// Small: join it to a neighbour with room, left or right. Where there
	// is none it stays, and goes when it is empty.
	switch {
	case below.size() == 0:
		n.kids = slices.Delete(n.kids, i, i+1)
	case i > 0 && n.join(e, max, i-1):
	case i+1 < len(n.kids):
		n.join(e, max, i)
	}
	return n, true
}

// join moves all of kid i+1 into kid i if three quarters of a node hold
// both.
func (n *node) join(e *edit, max nodeSize, i int) bool {
	l, r := &n.kids[i], &n.kids[i+1]
	if l.node.size()+r.node.size() > l.node.limit(max)*3/4 {
		return false
	}
	l.node = l.node.owned(e)
	l.node.items = append(l.node.items, r.node.items...)
	l.node.kids = append(l.node.kids, r.node.kids...)
	l.count += r.count
	l.sum.AddSum(r.sum)
	n.kids = slices.Delete(n.kids, i+1, i+2)
	return true
}

func (n *node) size() int { return len(n.items) + len(n.kids) }

func (n *node) limit(max nodeSize) int {
	if n.kids == nil {
		return max.items
	}
	return max.kids
}

// owned returns n, or a copy that e may change.
func (n *node) owned(e *edit) *node {
	if n.edit == e {
		return n
	}
	c := &node{edit: e}
	if n.kids != nil {
		c.kids = append(make([]kid, 0, len(n.kids)+4), n.kids...)
	} else {
		c.items = append(make([]Item, 0, len(n.items)+leafStep), n.items...)
	}
	return c
}

// asKid counts and sums up a subtree that is not empty.
func (n *node) asKid() kid {
	k := kid{node: n}
	if n.kids == nil {
		k.first, k.count = n.items[0], len(n.items)
		for i := range n.items {
			k.sum.Add(&n.items[i].ID)
		}
		return k
	}
	k.first = n.kids[0].first
	for i := range n.kids {
		k.count += n.kids[i].count
		k.sum.AddSum(n.kids[i].sum)
	}
	return k
}
