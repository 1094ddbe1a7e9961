package store

import (
	"math/rand/v2"
	"testing"

	"anabranch/reconcile"
	"anabranch/record"
)

// Positions and sums are the same from either end of a block, in memory and on
// disk, also in a snapshot between whose rows others have come since.
func TestBlocksReadFromTheirEnds(t *testing.T) {
	for name, open := range map[string]func() (*Store, error){
		"memory": func() (*Store, error) { return OpenMemory(Options{CacheBytes: 1}) },
		"disk":   func() (*Store, error) { return Open(t.TempDir(), Options{CacheBytes: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sp := createSpace(t, s)
			grant(t, sp, 1, record.Writer, "/")
			rng := rand.New(rand.NewPCG(1, 2))
			number := uint32(0)
			add := func(n int) {
				var rs []*record.Verified
				for range n {
					number++
					rs = append(rs, sign(t, sp, 1, record.Record{Kind: record.Entry, Time: 1 + rng.Uint64N(1_000_000), Lane: 3, Seq: number, Path: "/x"}))
				}
				commitOne(t, sp, rs...)
			}
			add(1500)
			v := snapshot(t, sp)
			defer v.Close()
			add(700)
			x := v.Index().(*blockIndex)
			var items []reconcile.Item
			for item, err := range x.Items(0, x.Len()) {
				if err != nil {
					t.Fatal(err)
				}
				items = append(items, item)
			}
			if len(items) != x.Len() || len(items) < 1500 {
				t.Fatalf("%d items of %d", len(items), x.Len())
			}
			sums := make([]reconcile.Sum, len(items)+1)
			for i := range items {
				sums[i+1] = sums[i]
				sums[i+1].Add(&items[i].ID)
			}
			ends := 0
			for range 4000 {
				i := rng.IntN(len(items))
				item, err := x.At(i)
				if err != nil || item != items[i] {
					t.Fatalf("item %d: %v, expected %v: %v", i, item, items[i], err)
				}
				p := x.blocks.position(i)
				if x.endRead(&p) {
					ends++
				}
				if rng.IntN(3) == 0 { // often the same block again
					i = min(len(items), max(0, i+rng.IntN(9)-4))
				} else {
					i = rng.IntN(len(items) + 1)
				}
				sum, err := x.SumTo(i)
				if err != nil || sum != sums[i] {
					t.Fatalf("sum of %d: %v, expected %v: %v", i, sum, sums[i], err)
				}
			}
			if ends < 1000 {
				t.Errorf("%d of 4000 items were read from the end of their block", ends)
			}
		})
	}
}
