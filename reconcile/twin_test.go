package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math/big"
	"math/rand"
	"slices"

	"pgregory.net/rapid"
)

// slowFingerprint is the definition: a sum of little-endian numbers.
func slowFingerprint(items []Item) Fingerprint {
	sum := new(big.Int)
	for _, x := range items {
		b := x.ID
		slices.Reverse(b[:])
		sum.Add(sum, new(big.Int).SetBytes(b[:]))
	}
	sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 256))
	var le [32]byte
	sum.FillBytes(le[:])
	slices.Reverse(le[:])
	digits := []byte{byte(len(items) & 0x7f)}
	for n := len(items) >> 7; n > 0; n >>= 7 {
		digits = append(digits, 0x80|byte(n&0x7f))
	}
	slices.Reverse(digits)
	h := sha256.Sum256(append(le[:], digits...))
	return Fingerprint(h[:16])
}

// difference is the definition of have and need.
func difference(mine, theirs []Item) (have, need map[ID]bool) {
	have, need = map[ID]bool{}, map[ID]bool{}
	for _, x := range mine {
		have[x.ID] = true
	}
	for _, x := range theirs {
		if have[x.ID] {
			delete(have, x.ID)
		} else {
			need[x.ID] = true
		}
	}
	return have, need
}

// plain is an Index without any cleverness: a sorted slice.
type plain []Item

func (p plain) Len() int                                  { return len(p) }
func (p plain) At(i int) (Item, error)                    { return p[i], nil }
func (p plain) Fingerprint(b, e int) (Fingerprint, error) { return slowFingerprint(p[b:e]), nil }
func (p plain) LowerBound(b Bound) (int, error) {
	for i, x := range p {
		if x.Compare(b.Item()) >= 0 {
			return i, nil
		}
	}
	return len(p), nil
}
func (p plain) Items(b, e int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, x := range p[b:e] {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// numbered is item i of the workload that all published figures use.
func numbered(i int) Item {
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	b[8] = 1
	h := sha256.Sum256(b[:])
	return Item{
		Time: 1_600_000_000 + binary.BigEndian.Uint64(h[:])%100_000_000,
		ID:   sha256.Sum256(b[:8]),
	}
}

// anItem draws an item: with few times or few ID prefixes, so that sets
// meet; or from all over.
func anItem() *rapid.Generator[Item] {
	return rapid.Custom(func(t *rapid.T) (x Item) {
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0:
			x = Item{rapid.Uint64Range(0, 3).Draw(t, "time"), numbered(rapid.IntRange(0, 50).Draw(t, "i")).ID}
		case 1: // differs from others in the last bytes
			x.Time = 7
			x.ID[rapid.IntRange(29, 31).Draw(t, "byte")] = rapid.Byte().Draw(t, "value")
		case 2: // all bits of a limb set, for carries
			x.Time = rapid.Uint64Range(0, 3).Draw(t, "time")
			for i := range x.ID[:rapid.IntRange(1, 32).Draw(t, "ones")] {
				x.ID[i] = 0xff
			}
			x.ID[31] = rapid.Byte().Draw(t, "last")
		case 3:
			x.Time = rapid.Uint64Max(Infinity-1).Draw(t, "time")
			copy(x.ID[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
		}
		return x
	})
}

// someItems draws distinct items with distinct IDs.
func someItems(t *rapid.T, name string, most int) []Item {
	items := rapid.SliceOfN(anItem(), 0, 20).Draw(t, name)
	rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, name+" seed")))
	spread := rapid.SampledFrom([]int64{1, 3, 1000, 1 << 40}).Draw(t, name+" spread")
	for range rng.Intn(most + 1) {
		x := Item{Time: 5 + uint64(rng.Int63n(spread))}
		rng.Read(x.ID[:])
		items = append(items, x)
	}
	seen := map[ID]bool{}
	return slices.DeleteFunc(items, func(x Item) bool {
		was := seen[x.ID]
		seen[x.ID] = true
		return was
	})
}

func sorted(items []Item) []Item {
	items = slices.Clone(items)
	slices.SortFunc(items, Item.Compare)
	return items
}
