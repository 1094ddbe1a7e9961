package session

import (
	"encoding/binary"
	"math/bits"
	"slices"

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
	out := make([]record.ID, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out, nil
}

// maxNamesakes is how many members may share a name that is answered. More
// are nobody's chance; other methods find them.
const maxNamesakes = 16
