package merkle

import "slices"

// idStep is the number of IDs by which a leaf's memory grows.
const idStep = 4

// Insert adds IDs, in any order, and returns how many were not there. A
// batch costs less per ID than as many single calls.
func (t *Tree) Insert(ids ...ID) (added int) {
	before := t.Count()
	t.root = t.root.insert(t.begin(), ascending(ids), 0)
	return t.Count() - before
}

// Delete takes IDs out and returns how many were there.
func (t *Tree) Delete(ids ...ID) (deleted int) {
	before := t.Count()
	t.root = t.root.delete(t.begin(), ascending(ids), 0)
	return before - t.Count()
}

// begin starts a write.
func (t *Tree) begin() *edit {
	e := t.edit.Load()
	if e == nil {
		e = new(edit)
		t.edit.Store(e)
	}
	return e
}

// ascending returns ids sorted and distinct, leaving the caller's alone.
func ascending(ids []ID) []ID {
	for i := 1; i < len(ids); i++ {
		if compareIDs(ids[i-1], ids[i]) >= 0 {
			ids = slices.Clone(ids)
			slices.SortFunc(ids, compareIDs)
			return slices.Compact(ids)
		}
	}
	return ids
}

// insert adds ascending ids below n, which lies at a depth. It returns n,
// or the node that replaces it.
func (n *node) insert(e *edit, ids []ID, depth int) *node {
	if len(ids) == 0 {
		return n
	}
	if n == nil {
		return build(e, ids, depth)
	}
	if n.count <= LeafIDs {
		if len(ids) == 1 && n.count < LeafIDs {
			return n.insertOne(e, ids[0])
		}
		all := union(n.ids, ids)
		if len(all) == n.count {
			return n
		}
		return build(e, all, depth)
	}
	kids, added, at := n.kids, 0, cut(ids, depth)
	for b, part := range [2][]ID{ids[:at], ids[at:]} {
		if len(part) > 0 { // leave the other side alone: it is not in the cache
			added -= kids[b].size()
			kids[b] = kids[b].insert(e, part, depth+1)
			added += kids[b].size()
		}
	}
	return n.withKids(e, kids, n.count+added)
}

// insertOne adds an ID to a leaf that has room.
func (n *node) insertOne(e *edit, id ID) *node {
	i, found := slices.BinarySearchFunc(n.ids, id, compareIDs)
	if found {
		return n
	}
	ids := n.ids
	if n.edit != e || len(ids) == cap(ids) {
		ids = append(make([]ID, 0, len(ids)/idStep*idStep+idStep), ids...)
	}
	return n.withIDs(e, slices.Insert(ids, i, id))
}

// delete takes ascending ids out below n. It returns n, or the node that
// replaces it: a leaf where at most LeafIDs are left.
func (n *node) delete(e *edit, ids []ID, depth int) *node {
	if n == nil || len(ids) == 0 {
		return n
	}
	if n.count <= LeafIDs {
		rest := difference(n.ids, ids)
		if len(rest) == n.count {
			return n
		}
		if len(rest) == 0 {
			return nil
		}
		return n.withIDs(e, rest)
	}
	kids, count, at := n.kids, n.count, cut(ids, depth)
	for b, part := range [2][]ID{ids[:at], ids[at:]} {
		if len(part) > 0 {
			count -= kids[b].size()
			kids[b] = kids[b].delete(e, part, depth+1)
			count += kids[b].size()
		}
	}
	switch {
	case count == 0:
		return nil
	case count <= LeafIDs:
		rest := kids[1].appendIDs(kids[0].appendIDs(make([]ID, 0, count)))
		return &node{edit: e, count: count, ids: rest}
	}
	return n.withKids(e, kids, count)
}

// build makes the canonical subtree of ascending ids.
func build(e *edit, ids []ID, depth int) *node {
	if len(ids) == 0 {
		return nil
	}
	n := &node{edit: e, count: len(ids)}
	if len(ids) <= LeafIDs {
		n.ids = append(make([]ID, 0, (len(ids)+idStep-1)/idStep*idStep), ids...)
		return n
	}
	at := cut(ids, depth)
	n.kids = [2]*node{build(e, ids[:at], depth+1), build(e, ids[at:], depth+1)}
	return n
}

// withKids returns n with other subtrees, changed in place if e owns it.
func (n *node) withKids(e *edit, kids [2]*node, count int) *node {
	if count == n.count {
		return n // one call only adds or only takes out, so nothing changed
	}
	if n.edit != e {
		n = &node{edit: e}
	}
	n.count, n.kids = count, kids
	n.state.Store(hashUnknown)
	return n
}

// withIDs returns n as a leaf of other IDs, changed in place if e owns it.
func (n *node) withIDs(e *edit, ids []ID) *node {
	if n.edit != e {
		n = &node{edit: e}
	}
	n.count, n.ids = len(ids), ids
	n.state.Store(hashUnknown)
	return n
}

// union merges two ascending slices into a new one.
func union(x, y []ID) []ID {
	z := make([]ID, 0, len(x)+len(y))
	for len(x) > 0 && len(y) > 0 {
		switch c := compareIDs(x[0], y[0]); {
		case c < 0:
			z, x = append(z, x[0]), x[1:]
		case c > 0:
			z, y = append(z, y[0]), y[1:]
		default:
			z, x, y = append(z, x[0]), x[1:], y[1:]
		}
	}
	return append(append(z, x...), y...)
}

// difference is x without y, both ascending, as a new slice.
func difference(x, y []ID) []ID {
	z := make([]ID, 0, len(x))
	for _, id := range x {
		for len(y) > 0 && compareIDs(y[0], id) < 0 {
			y = y[1:]
		}
		if len(y) == 0 || y[0] != id {
			z = append(z, id)
		}
	}
	return z
}
