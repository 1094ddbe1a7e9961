package session

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/sketch"
)

// Records are wanted by the first bits of their symbols, as many as make it
// unlikely (one in 512) that another record of the peer has the same.
const nameSpare = 9

// nameBits is the width of names among n records.
func nameBits(n uint64) int { return min(sketch.SymbolBits, bits.Len64(n)+nameSpare) }

// wantNames are the names of symbols, ascending.
func wantNames(symbols []sketch.Symbol, width int) []uint64 {
	names := make([]uint64, len(symbols))
	for i, y := range symbols {
		names[i] = uint64(y) >> (sketch.SymbolBits - width)
	}
	return slices.Compact(names)
}

// nameFrames codes a list into frames of at most limit bytes.
func nameFrames(t FrameType, names []uint64, universe uint64, limit int) (frames [][]byte) {
	for len(names) > 0 {
		n := min(len(names), 4*limit)
		for {
			f := sketch.AppendNames([]byte{byte(t)}, names[:n], universe)
			if len(f) <= limit {
				frames = append(frames, f)
				break
			}
			n = n * limit / len(f) * 15 / 16
		}
		names = names[n:]
	}
	return frames
}

// resolve is the members of a view whose IDs begin with these bits.
func resolve(v View, prefix uint64, width int) ([]record.ID, error) {
	var p [32]byte
	binary.BigEndian.PutUint64(p[:], prefix<<(64-width))
	ids, err := v.Trie().IDs(p, width)
	if err != nil || len(ids) > maxNamesakes {
		return nil, err
	}
	return appendIDs(nil, ids), nil
}

// resolveAll looks up many beginnings of IDs, which ascend and differ, and
// gives the members that each of them means.
func resolveAll[P ~uint64](v View, prefixes []P, width int, each func(i int, ids [][32]byte)) error {
	high := make([]uint64, len(prefixes))
	for i, p := range prefixes {
		high[i] = uint64(p) << (64 - width)
	}
	ids, ends, err := merkle.Find(v.Trie(), high, width)
	if err != nil {
		return err
	}
	begin := 0
	for i, end := range ends {
		found := ids[begin:end]
		if begin = end; len(found) > maxNamesakes {
			found = nil
		}
		each(i, found)
	}
	return nil
}

func appendIDs(dst []record.ID, ids [][32]byte) []record.ID {
	for _, id := range ids {
		dst = append(dst, id)
	}
	return dst
}

// maxNamesakes is how many members may share a name that is answered. More
// are nobody's chance; other methods find them.
const maxNamesakes = 16
