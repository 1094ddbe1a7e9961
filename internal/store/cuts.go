package store

import (
	"sort"
	"sync"
	"sync/atomic"

	"anabranch/merkle"
)

// cuts is the upper part of the Merkle trie. A cut is a subtree of at most
// some sixty IDs, or one that was not looked at since it grew: of it the
// count is known, and the digest once somebody asked for it; below it there
// are only the rows. About 3 bytes for each member, and what is never asked
// for, such as the root during a first load, is never computed.
//
// It is a value of its own for every group of commits and shares what did not
// change with the one before. Only the committer writes, and only a fork that
// nobody else knows yet. Readers add to any of them what follows from its
// rows: digests, and the halves of cuts that are too large.
type cuts struct {
	root *cutPair // its first half is the whole trie
	edit *edit    // of the pairs that may be changed in place
	most int      // IDs of a cut that was looked at; at least 2*merkle.LeafIDs

	settling sync.Mutex // readers of this value compute one after the other: what one has done the next need not do
}

// defaultCut is most by default: a larger one saves memory and costs time.
const defaultCut = 64

// cutPair is the two halves of a node.
type cutPair struct {
	edit *edit
	half [2]cut
}

// cut is a node of the trie: a cut, or one that has halves.
type cut struct {
	halves atomic.Pointer[cutPair]
	count  int32
	state  atomic.Uint32
	digest merkle.Digest // valid in state digestKnown
}

// States of cut.digest. Whoever computes one stores it if he is the first.
const (
	digestUnknown = iota
	digestBeingStored
	digestKnown
)

func newCuts(most int) *cuts {
	t := &cuts{root: new(cutPair), edit: new(edit), most: most}
	t.root.edit = t.edit
	return t
}

// fork is a cuts to be written, which leaves t as it is.
func (t *cuts) fork() *cuts { return &cuts{root: t.root, edit: new(edit), most: t.most} }

func (t *cuts) count() int { return int(t.root.half[0].count) }

// own is p, or a copy of it that may be changed.
func (p *cutPair) own(e *edit) *cutPair {
	if p.edit == e {
		return p
	}
	c := &cutPair{edit: e}
	for i := range p.half {
		from, to := &p.half[i], &c.half[i]
		to.count = from.count
		to.halves.Store(from.halves.Load())
		if from.state.Load() == digestKnown {
			to.digest = from.digest
			to.state.Store(digestKnown)
		}
	}
	return c
}

// apply adds ascending, distinct IDs that are not in t, with sign +1, or takes
// out such as are, with -1. It reads nothing and hashes nothing.
func (t *cuts) apply(ids []merkle.ID, sign int) {
	if len(ids) == 0 {
		return
	}
	t.root = t.root.own(t.edit)
	t.root.half[0].apply(t, ids, 0, sign)
}

func (c *cut) apply(t *cuts, ids []merkle.ID, depth, sign int) {
	c.count += int32(sign * len(ids))
	c.state.Store(digestUnknown)
	p := c.halves.Load()
	switch {
	case p == nil:
		return
	case sign < 0 && int(c.count) <= t.most/2:
		c.halves.Store(nil)
		return
	}
	p = p.own(t.edit)
	c.halves.Store(p)
	at := sort.Search(len(ids), func(i int) bool { return bitAt(&ids[i], depth) })
	if at > 0 {
		p.half[0].apply(t, ids[:at], depth+1, sign)
	}
	if at < len(ids) {
		p.half[1].apply(t, ids[at:], depth+1, sign)
	}
}

func bitAt(id *merkle.ID, depth int) bool { return id[depth/8]>>(7-depth%8)&1 == 1 }

// know stores the digest of c, unless somebody else has, or is about to.
func (c *cut) know(d merkle.Digest) {
	if c.state.CompareAndSwap(digestUnknown, digestBeingStored) {
		c.digest = d
		c.state.Store(digestKnown)
	}
}

// stale counts the IDs below cuts whose digest is not known.
func (c *cut) stale() int {
	if c.state.Load() == digestKnown {
		return 0
	}
	if p := c.halves.Load(); p != nil {
		return p.half[0].stale() + p.half[1].stale()
	}
	return int(c.count)
}

// prefixSpan is the rows of the ID order whose first depth bits are those of
// prefix. The bits after them are zero.
func prefixSpan(space uint32, prefix merkle.ID, depth int) span {
	s := span{lo: idKey(tableID, space, prefix)}
	for i := depth - 1; i >= 0; i-- { // add one at the last bit
		prefix[i/8] ^= 0x80 >> (i % 8)
		if bitAt(&prefix, i) {
			s.hi = idKey(tableID, space, prefix)
			return s
		}
	}
	s.hi = successor(tableKey(tableID, space, 0))
	return s
}

// masked is a prefix whose bits after depth are zero.
func masked(id merkle.ID, depth int) merkle.ID {
	for i := range id {
		if left := depth - 8*i; left < 8 {
			id[i] &= 0xFF << (8 - max(0, left))
		}
	}
	return id
}
