package merkle

import "slices"

// Overlay is the trie of base without remove and with add: what a set will
// be when a transfer has been committed. Removing an absent ID or adding a
// present one changes nothing; an ID in both is added.
//
// It reads the O(k log n) nodes of base on the paths to the k IDs, and
// copies no other; digests are computed when asked for. The result keeps
// base and reads it later, so base must stay as it is. It is safe for
// concurrent use if base is.
func Overlay(base Source, add, remove []ID) (Source, error) {
	add = ascending(add)
	o := &overlay{base: base, edit: new(edit)}
	var err error
	o.root, err = o.apply(ID{}, 0, add, difference(ascending(remove), add))
	return o, err
}

// overlay is a partial trie: nodes that differ from base, and stubs for the
// largest subtrees that do not.
type overlay struct {
	base Source
	root *node
	edit *edit
}

// stub is an untouched subtree of base with more than LeafIDs IDs. Its
// digest is known and its kids are nil, which no inner node's are.
func (o *overlay) stub(count int, hash Digest) *node {
	n := &node{edit: o.edit, count: count, hash: hash}
	n.state.Store(hashKnown)
	return n
}

func (n *node) isStub() bool {
	return n.count > LeafIDs && n.kids[0] == nil && n.kids[1] == nil
}

// apply builds the subtree at a depth. add and remove are ascending,
// disjoint, and have its prefix.
func (o *overlay) apply(prefix ID, depth int, add, remove []ID) (*node, error) {
	count, hash, err := o.base.Subtree(prefix, depth)
	if err != nil {
		return nil, err
	}
	if count <= 2*LeafIDs {
		var ids []ID
		if count > 0 {
			if ids, err = o.base.IDs(prefix, depth); err != nil {
				return nil, err
			}
		}
		return build(o.edit, union(difference(ids, remove), add), depth), nil
	}
	if len(add) == 0 && len(remove) == 0 {
		return o.stub(count, hash), nil
	}
	atAdd, atRemove := cut(add, depth), cut(remove, depth)
	left, right := below(prefix, depth)
	l, err := o.apply(left, depth+1, add[:atAdd], remove[:atRemove])
	if err != nil {
		return nil, err
	}
	r, err := o.apply(right, depth+1, add[atAdd:], remove[atRemove:])
	if err != nil {
		return nil, err
	}
	n := &node{edit: o.edit, count: l.size() + r.size(), kids: [2]*node{l, r}}
	switch {
	case n.count == 0:
		return nil, nil
	case n.count <= LeafIDs: // shrunk; neither kid is a stub, being as small
		n.ids = r.appendIDs(l.appendIDs(nil))
		n.kids = [2]*node{}
	}
	return n, nil
}

// below is the prefixes of the two halves of a subtree.
func below(prefix ID, depth int) (left, right ID) {
	if bit(&prefix, depth) == 1 {
		return flipped(prefix, depth), prefix
	}
	return prefix, flipped(prefix, depth)
}

func (o *overlay) Subtree(prefix ID, depth int) (count int, hash Digest, err error) {
	n, at := o.descend(&prefix, depth)
	if n == nil || at == depth {
		return n.size(), n.digest(), nil
	}
	if n.isStub() {
		return o.base.Subtree(prefix, depth)
	}
	ids := matching(n.ids, &prefix, depth)
	return len(ids), leafHash(ids), nil
}

func (o *overlay) IDs(prefix ID, depth int) ([]ID, error) {
	n, at := o.descend(&prefix, depth)
	switch {
	case n == nil:
		return nil, nil
	case n.isStub():
		return o.base.IDs(prefix, depth)
	case at < depth:
		return slices.Clone(matching(n.ids, &prefix, depth)), nil
	}
	return o.appendIDs(nil, n, prefix, at)
}

// descend follows id down to a depth, a leaf, a stub or nothing.
func (o *overlay) descend(id *ID, depth int) (*node, int) {
	n, at := o.root, 0
	for ; n != nil && at < depth && n.count > LeafIDs && !n.isStub(); at++ {
		n = n.kids[bit(id, at)]
	}
	return n, at
}

func (o *overlay) appendIDs(ids []ID, n *node, prefix ID, depth int) ([]ID, error) {
	if n == nil {
		return ids, nil
	}
	if n.isStub() {
		more, err := o.base.IDs(prefix, depth)
		return append(ids, more...), err
	}
	if n.count <= LeafIDs {
		return append(ids, n.ids...), nil
	}
	left, right := below(prefix, depth)
	ids, err := o.appendIDs(ids, n.kids[0], left, depth+1)
	if err != nil {
		return nil, err
	}
	return o.appendIDs(ids, n.kids[1], right, depth+1)
}
