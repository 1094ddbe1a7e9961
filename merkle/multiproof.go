package merkle

import (
	"fmt"
	"slices"
)

// MultiProof shows, for each of many IDs at once, that it is in a set or is
// not, to whoever has the set's digest. It is the trie with every subtree cut
// off that none of the IDs leads into, in preorder:
//
//	node:  00                        no IDs below
//	       01 ‖ n 1 ‖ n × ID 32      a leaf, 1 <= n <= 16, IDs ascending
//	       02 ‖ left ‖ right         an inner node
//	       03 ‖ digest 32            a subtree that was cut off, not empty
//
// For a digest and a set of IDs there is one such proof, short of a collision
// in SHA-256. What the proofs of the IDs share is in it once: about 32 bytes
// for each level that only one ID needs. It says nothing about the count.
type MultiProof []byte

// Kinds of node in a MultiProof.
const (
	multiEmpty = iota
	multiLeaf
	multiInner
	multiCut
)

// ProveMany makes the proof for ids, in any order, present or absent. With no
// ids it is the digest alone. It costs what as many Proofs cost, at most.
func ProveMany(src Source, ids []ID) (MultiProof, error) {
	sorted := slices.SortedFunc(slices.Values(ids), compareIDs)
	return appendMulti(nil, src, ID{}, 0, slices.Compact(sorted))
}

// appendMulti appends the node of a prefix. ids are those asked for below it.
func appendMulti(b []byte, src Source, prefix ID, depth int, ids []ID) ([]byte, error) {
	count, hash, err := src.Subtree(prefix, depth)
	switch {
	case err != nil:
		return nil, err
	case count == 0:
		return append(b, multiEmpty), nil
	case len(ids) == 0:
		return append(append(b, multiCut), hash[:]...), nil
	case count <= LeafIDs:
		below, err := src.IDs(prefix, depth)
		if err != nil {
			return nil, err
		}
		b = append(b, multiLeaf, byte(len(below)))
		for i := range below {
			b = append(b, below[i][:]...)
		}
		return b, nil
	case depth == maxDepth:
		return nil, fmt.Errorf("merkle: source counts %d IDs at depth %d", count, depth)
	}
	left, right := below(prefix, depth)
	at := cut(ids, depth)
	if b, err = appendMulti(append(b, multiInner), src, left, depth+1, ids[:at]); err != nil {
		return nil, err
	}
	return appendMulti(b, src, right, depth+1, ids[at:])
}

// Verify checks the proof for ids, which may come in any order and more than
// once, against the digest of a set, and says of each, in the same order,
// whether it is in the set. An error means that the proof shows nothing of
// any of them: it matches ErrProofMismatch, or ErrProofEncoding if no set at
// all has such a proof for these IDs. Nothing is allocated on the word of
// the proof.
func (p MultiProof) Verify(trie Digest, ids []ID) (present []bool, err error) {
	sorted := slices.SortedFunc(slices.Values(ids), compareIDs)
	v := multiVerifier{rest: p}
	root, err := v.node(ID{}, 0, slices.Compact(sorted))
	if err != nil {
		return nil, err
	}
	if len(v.rest) > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrProofEncoding, len(v.rest))
	}
	if root.hash != trie {
		return nil, fmt.Errorf("%w: it leads to %x, not %x", ErrProofMismatch, root.hash, trie)
	}
	present = make([]bool, len(ids))
	for i := range ids {
		_, present[i] = slices.BinarySearchFunc(v.found, ids[i], compareIDs)
	}
	return present, nil
}

// multiVerifier reads a MultiProof from its front.
type multiVerifier struct {
	rest  []byte
	found []ID // of all leaves so far, which is ascending
}

// multiNode is what a node comes to. least is how many IDs it holds, or a
// lower bound if something in it was cut off.
type multiNode struct {
	hash  Digest
	least int
	cut   bool
}

func (v *multiVerifier) node(prefix ID, depth int, ids []ID) (multiNode, error) {
	if len(v.rest) == 0 {
		return multiNode{}, fmt.Errorf("%w: ends at depth %d", ErrProofEncoding, depth)
	}
	kind := v.rest[0]
	v.rest = v.rest[1:]
	switch {
	case kind == multiEmpty:
		return multiNode{}, nil
	case kind == multiCut && len(ids) > 0:
		return multiNode{}, fmt.Errorf("%w: the path of %x is cut off", ErrProofEncoding, ids[0])
	case kind == multiCut:
		return v.cut()
	case len(ids) == 0:
		return multiNode{}, fmt.Errorf("%w: shows a subtree that nobody asked for", ErrProofEncoding)
	case kind == multiLeaf:
		return v.leaf(prefix, depth)
	case kind == multiInner && depth < maxDepth:
		return v.inner(prefix, depth, ids)
	}
	return multiNode{}, fmt.Errorf("%w: node %d at depth %d", ErrProofEncoding, kind, depth)
}

func (v *multiVerifier) cut() (multiNode, error) {
	if len(v.rest) < len(Digest{}) {
		return multiNode{}, fmt.Errorf("%w: a digest in %d bytes", ErrProofEncoding, len(v.rest))
	}
	n := multiNode{hash: Digest(v.rest), least: 1, cut: true}
	v.rest = v.rest[len(n.hash):]
	if n.hash == (Digest{}) {
		return n, fmt.Errorf("%w: an empty subtree is written as one", ErrProofEncoding)
	}
	return n, nil
}

func (v *multiVerifier) leaf(prefix ID, depth int) (multiNode, error) {
	ids, rest, err := takeList(v.rest, LeafIDs)
	if err != nil {
		return multiNode{}, fmt.Errorf("%w: leaf: %w", ErrProofEncoding, err)
	}
	if len(ids) == 0 {
		return multiNode{}, fmt.Errorf("%w: a leaf with no IDs", ErrProofEncoding)
	}
	for i := range ids {
		if !matches(&ids[i], &prefix, depth) {
			return multiNode{}, fmt.Errorf("%w: %x is not on the path of its leaf", ErrProofEncoding, ids[i])
		}
		if i > 0 && compareIDs(ids[i-1], ids[i]) >= 0 {
			return multiNode{}, fmt.Errorf("%w: IDs not ascending", ErrProofEncoding)
		}
	}
	v.rest, v.found = rest, append(v.found, ids...)
	return multiNode{hash: leafHash(ids), least: len(ids)}, nil
}

func (v *multiVerifier) inner(prefix ID, depth int, ids []ID) (multiNode, error) {
	left, right := below(prefix, depth)
	at := cut(ids, depth)
	l, err := v.node(left, depth+1, ids[:at])
	if err != nil {
		return l, err
	}
	r, err := v.node(right, depth+1, ids[at:])
	if err != nil {
		return r, err
	}
	n := multiNode{hash: innerHash(&l.hash, &r.hash), least: l.least + r.least, cut: l.cut || r.cut}
	if !n.cut && n.least <= LeafIDs {
		return n, fmt.Errorf("%w: an inner node over %d IDs, which are one leaf", ErrProofEncoding, n.least)
	}
	n.least = max(n.least, LeafIDs+1)
	return n, nil
}
