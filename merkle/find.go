package merkle

import (
	"encoding/binary"
	"math/bits"
)

// Finder is what a Source may offer for many prefixes at once: the same as
// IDs for each, for less.
type Finder interface {
	// Find appends to ids the IDs below each of some prefixes, and to ends
	// how many there are up to and with each. A prefix is the first 64 bits
	// of an ID, of which depth count, 0 < depth <= 64; by these the prefixes
	// ascend, and no two are alike.
	Find(ids []ID, ends []int, prefixes []uint64, depth int) ([]ID, []int, error)
}

// Find looks up many prefixes; see Finder. Those below prefix i are
// ids[ends[i-1]:ends[i]].
func Find(src Source, prefixes []uint64, depth int) (ids []ID, ends []int, err error) {
	ids, ends = make([]ID, 0, len(prefixes)), make([]int, 0, len(prefixes))
	if f, ok := src.(Finder); ok {
		return f.Find(ids, ends, prefixes, depth)
	}
	for _, p := range prefixes {
		var prefix ID
		binary.BigEndian.PutUint64(prefix[:], p)
		below, err := src.IDs(prefix, depth)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, below...)
		ends = append(ends, len(ids))
	}
	return ids, ends, nil
}

// abreast is how many prefixes go down the tree side by side: the memory is
// asked for many nodes at a time, and none is waited for alone.
const abreast = 128

// nothing stands for nil on the way down.
var nothing node

// Find is Finder's. The error is nil.
func (t *Tree) Find(ids []ID, ends []int, prefixes []uint64, depth int) ([]ID, []int, error) {
	drop := 64 - uint(depth)
	var room [abreast]*node
	var place [abreast]int
	for len(prefixes) > 0 {
		some := prefixes[:min(abreast, len(prefixes))]
		prefixes = prefixes[len(some):]
		at := room[:len(some)]
		for i := range at {
			at[i] = t.root
			if t.root == nil {
				at[i] = &nothing
			}
		}
		for d, inner := 0, 1; inner > 0 && d < depth; d++ {
			inner = 0
			// No branch here depends on what a node holds: that has not come
			// yet, and a wrong guess would throw away what follows.
			for i, n := range at {
				kid := n.kids[some[i]>>(63-uint(d))&1]
				more := 0
				if n.count > LeafIDs {
					n = kid
					more = 1
				}
				inner += more
				if n == nil {
					n = &nothing
				}
				at[i] = n
			}
		}
		for i, n := range at {
			place[i] = guess(n.ids, some[i])
		}
		for i, n := range at {
			if n.count > LeafIDs {
				ids = n.appendIDs(ids)
			} else {
				ids = appendBelow(ids, n.ids, place[i], some[i]>>drop, drop)
			}
			ends = append(ends, len(ids))
		}
	}
	return ids, ends, nil
}

// appendBelow appends those of a leaf that begin with what is wanted. They
// are looked for around a place.
func appendBelow(dst, leaf []ID, at int, want uint64, drop uint) []ID {
	for at > 0 && binary.BigEndian.Uint64(leaf[at-1][:8])>>drop >= want {
		at--
	}
	for at < len(leaf) && binary.BigEndian.Uint64(leaf[at][:8])>>drop < want {
		at++
	}
	for at < len(leaf) && binary.BigEndian.Uint64(leaf[at][:8])>>drop == want {
		dst = append(dst, leaf[at])
		at++
	}
	return dst
}

// guess is about where an ID that begins like this stands in a leaf. IDs are
// hashes: what they have in common over, they lie evenly.
func guess(ids []ID, prefix uint64) int {
	if len(ids) < 3 {
		return 0
	}
	first, last := binary.BigEndian.Uint64(ids[0][:8]), binary.BigEndian.Uint64(ids[len(ids)-1][:8])
	if prefix <= first || last <= first {
		return 0
	}
	if prefix >= last {
		return len(ids) - 1
	}
	at, _ := bits.Mul64((prefix-first)/((last-first)>>32+1)<<32, uint64(len(ids)-1))
	return int(at)
}
