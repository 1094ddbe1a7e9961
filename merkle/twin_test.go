package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand"
	"slices"

	"pgregory.net/rapid"
)

// twin is the definition of the trie, word for word: ids are distinct.
func twin(ids []ID, depth int) Digest {
	if len(ids) == 0 {
		return Digest{}
	}
	if len(ids) <= 16 {
		b := []byte{0}
		for _, id := range slices.SortedFunc(slices.Values(ids), compareIDs) {
			b = append(b, id[:]...)
		}
		return sha256.Sum256(b)
	}
	var half [2][]ID
	for _, id := range ids {
		b := id[depth/8] >> (7 - depth%8) & 1
		half[b] = append(half[b], id)
	}
	l, r := twin(half[0], depth+1), twin(half[1], depth+1)
	return sha256.Sum256(slices.Concat([]byte{1}, l[:], r[:]))
}

// set is a plain set of IDs with the operations of a Tree.
type set map[ID]bool

func (s set) ids() []ID {
	ids := make([]ID, 0, len(s))
	for id := range s {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

func (s set) under(prefix ID, depth int) []ID {
	var ids []ID
next:
	for _, id := range s.ids() {
		for d := range depth {
			if (id[d/8]^prefix[d/8])>>(7-d%8)&1 != 0 {
				continue next
			}
		}
		ids = append(ids, id)
	}
	return ids
}

// numbered is the i-th ID of a fixed sequence.
func numbered(i int) ID {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	return sha256.Sum256(b[:])
}

func numberedUpTo(n int) []ID {
	ids := make([]ID, n)
	for i := range ids {
		ids[i] = numbered(i)
	}
	return ids
}

// anID draws an ID: uniform, or ground by an adversary so that it shares a
// long prefix with many others, or small so that it comes twice.
func anID() *rapid.Generator[ID] {
	return rapid.Custom(func(t *rapid.T) (id ID) {
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0:
			id = numbered(rapid.IntRange(0, 99).Draw(t, "i"))
		case 1: // shares 0..256 bits with the 0xa5 pattern
			id = numbered(rapid.IntRange(0, 99).Draw(t, "i"))
			shared := rapid.IntRange(0, 256).Draw(t, "shared")
			for d := range shared {
				if bit(&id, d) != int(0xa5>>(7-d%8))&1 {
					id = flipped(id, d)
				}
			}
		case 2: // shares the first 232 bits
			copy(id[:], slices.Repeat([]byte{0xa5}, 29))
			binary.BigEndian.PutUint16(id[30:], rapid.Uint16().Draw(t, "tail"))
		case 3: // shares the last bytes, differs in one early
			id[rapid.IntRange(0, 3).Draw(t, "byte")] = rapid.Byte().Draw(t, "value")
		}
		return id
	})
}

// someIDs draws a set, often with more IDs than a case shows: a seeded
// block of uniform ones, a crowd in one deep place, and single ones.
func someIDs(t *rapid.T, name string) []ID {
	ids := rapid.SliceOfN(anID(), 0, 40).Draw(t, name)
	rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, name+" seed")))
	for range rapid.IntRange(0, 200).Draw(t, name+" uniform") {
		var id ID
		rng.Read(id[:])
		ids = append(ids, id)
	}
	for range rapid.IntRange(0, 40).Draw(t, name+" deep") {
		id := ID{0: 0x77, 27: 1}
		rng.Read(id[28:])
		ids = append(ids, id)
	}
	return ids
}
