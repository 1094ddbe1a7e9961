package merkle

import (
	"slices"
	"sort"
	"sync/atomic"
)

// Tree is a set of IDs in memory, and the Source of its trie. The zero Tree
// is empty and ready.
//
// One goroutine at a time may write (Insert, Delete). Clone gives a
// snapshot that later writes to either tree never change; trees that nobody
// writes may be read, hashed and cloned by any number of goroutines, while
// others write trees that share nodes with them. Digests are computed when
// asked for and kept in the nodes.
type Tree struct {
	root *node
	edit atomic.Pointer[edit] // nil: nodes are shared, the next write takes a new one
}

// edit marks the nodes that one tree may change in place. A node made under
// another edit may belong to a clone and is copied first.
type edit struct{ _ byte }

// node is a subtree with at least one ID; the empty one is nil. It is a
// leaf iff count <= LeafIDs, whatever its owner is doing.
type node struct {
	count int      // first, with what follows: what a way down reads is in one line of memory
	kids  [2]*node // of an inner node
	ids   []ID     // of a leaf, ascending
	edit  *edit
	state atomic.Uint32
	hash  Digest // valid in state hashKnown
}

// States of node.hash. A reader that finds nothing computes the hash, and
// stores it if it is the first to come; nobody waits.
const (
	hashUnknown = iota
	hashBeingStored
	hashKnown
)

// Clone returns a snapshot of the tree in O(1). Both may be written from
// then on; each copies what it changes.
func (t *Tree) Clone() *Tree {
	t.edit.Store(nil)
	return &Tree{root: t.root}
}

// Count is the number of IDs.
func (t *Tree) Count() int { return t.root.size() }

// Hash is the digest of the whole set. After a write it costs the hashes of
// the nodes on the changed paths.
func (t *Tree) Hash() Digest { return t.root.digest() }

// Has says whether id is in the set.
func (t *Tree) Has(id ID) bool {
	n, _ := t.root.descend(&id, idBits)
	if n == nil {
		return false
	}
	_, found := slices.BinarySearchFunc(n.ids, id, compareIDs)
	return found
}

// Subtree counts and digests the IDs below a prefix; see Source. The error
// is nil.
func (t *Tree) Subtree(prefix ID, depth int) (count int, hash Digest, err error) {
	n, at := t.root.descend(&prefix, depth)
	if n != nil && at < depth { // a leaf above: take what matches
		ids := matching(n.ids, &prefix, depth)
		return len(ids), leafHash(ids), nil
	}
	return n.size(), n.digest(), nil
}

// IDs returns the IDs below a prefix, ascending; see Source. The error is
// nil. Here the subtree may be of any size.
func (t *Tree) IDs(prefix ID, depth int) ([]ID, error) {
	n, at := t.root.descend(&prefix, depth)
	if n == nil {
		return nil, nil
	}
	if at < depth {
		return slices.Clone(matching(n.ids, &prefix, depth)), nil
	}
	return n.appendIDs(make([]ID, 0, n.count)), nil
}

// descend follows id down to a depth or to a leaf, whichever comes first.
func (n *node) descend(id *ID, depth int) (*node, int) {
	at := 0
	for ; n != nil && at < depth && n.count > LeafIDs; at++ {
		n = n.kids[bit(id, at)]
	}
	return n, at
}

func (n *node) size() int {
	if n == nil {
		return 0
	}
	return n.count
}

func (n *node) digest() Digest {
	if n == nil {
		return Digest{}
	}
	if n.state.Load() == hashKnown {
		return n.hash
	}
	var h Digest
	if n.count <= LeafIDs {
		h = leafHash(n.ids)
	} else {
		l, r := n.kids[0].digest(), n.kids[1].digest()
		h = innerHash(&l, &r)
	}
	if n.state.CompareAndSwap(hashUnknown, hashBeingStored) {
		n.hash = h
		n.state.Store(hashKnown)
	}
	return h
}

func (n *node) appendIDs(ids []ID) []ID {
	if n == nil {
		return ids
	}
	if n.count <= LeafIDs {
		return append(ids, n.ids...)
	}
	return n.kids[1].appendIDs(n.kids[0].appendIDs(ids))
}

// matching is the part of ascending ids that lies below a prefix.
func matching(ids []ID, prefix *ID, depth int) []ID {
	for len(ids) > 0 && !matches(&ids[0], prefix, depth) {
		ids = ids[1:]
	}
	for len(ids) > 0 && !matches(&ids[len(ids)-1], prefix, depth) {
		ids = ids[:len(ids)-1]
	}
	return ids
}

// cut is the position in ascending ids, equal in their first depth bits, of
// the first whose bit there is 1.
func cut(ids []ID, depth int) int {
	if len(ids) == 1 {
		return 1 - bit(&ids[0], depth)
	}
	return sort.Search(len(ids), func(i int) bool { return bit(&ids[i], depth) == 1 })
}
