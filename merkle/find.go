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
	var depths, place [abreast]uint8
	var there [abreast]uint64
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
		clear(depths[:])
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
				depths[i%abreast] += uint8(more)
				if n == nil {
					n = &nothing
				}
				at[i] = n
			}
		}
		for i, n := range at {
			place[i%abreast] = guess(len(n.ids), some[i]<<(depths[i%abreast]&63))
		}
		for i, n := range at { // what is asked for here comes while the next is asked for
			if k := int(place[i%abreast]); k < len(n.ids) {
				there[i%abreast] = binary.BigEndian.Uint64(n.ids[k][:8])
			}
		}
		for i, n := range at {
			switch {
			case n.count > LeafIDs:
				ids = n.appendIDs(ids)
			case len(n.ids) > 0:
				ids = appendBelow(ids, n.ids, int(place[i%abreast]), there[i%abreast], some[i]>>drop, drop)
			}
			ends = append(ends, len(ids))
		}
	}
	return ids, ends, nil
}

// appendBelow appends those of a leaf that begin with what is wanted. They
// are looked for around a place, at which there is an ID that begins so.
func appendBelow(dst, leaf []ID, at int, there, want uint64, drop uint) []ID {
	if there>>drop < want {
		at++
	}
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

// guess is about where in a leaf of n IDs the one stands that goes on like
// this. IDs are hashes: below what they have in common, they lie evenly.
func guess(n int, rest uint64) uint8 {
	at, _ := bits.Mul64(rest, uint64(n))
	return uint8(at)
}
