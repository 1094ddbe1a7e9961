package merkle

import "encoding/binary"

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

// Find is Finder's. The error is nil.
func (t *Tree) Find(ids []ID, ends []int, prefixes []uint64, depth int) ([]ID, []int, error) {
	drop := 64 - uint(depth)
	var room [abreast]*node
	for len(prefixes) > 0 {
		some := prefixes[:min(abreast, len(prefixes))]
		prefixes = prefixes[len(some):]
		at := room[:len(some)]
		for i := range at {
			at[i] = t.root
		}
		for d, moved := 0, true; moved && d < depth; d++ {
			moved = false
			for i, n := range at {
				if n != nil && n.count > LeafIDs {
					at[i] = n.kids[some[i]>>(63-uint(d))&1]
					moved = true
				}
			}
		}
		for i, n := range at {
			switch {
			case n == nil:
			case n.count > LeafIDs:
				ids = n.appendIDs(ids)
			default:
				want := some[i] >> drop
				below := 0 // counted without a branch, so that the next leaf is on its way
				for j := range n.ids {
					if binary.BigEndian.Uint64(n.ids[j][:8])>>drop < want {
						below++
					}
				}
				for _, id := range n.ids[below:] {
					if binary.BigEndian.Uint64(id[:8])>>drop != want {
						break
					}
					ids = append(ids, id)
				}
			}
			ends = append(ends, len(ids))
		}
	}
	return ids, ends, nil
}
