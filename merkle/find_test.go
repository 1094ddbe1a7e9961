package merkle

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFindIsIDsForEach: many prefixes at once, of what is there, nearly there
// and not there, by every width, as one by one; in small and large trees, and
// in a Source that has no Find.
func TestFindIsIDsForEach(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 16, 17, 300, 20_000} {
		var tree Tree
		ids := numberedUpTo(n)
		tree.Insert(ids...)
		for _, depth := range []int{1, 7, 13, 20, 48, 63, 64} {
			if n>>depth > 2*LeafIDs {
				continue
			}
			var prefixes []uint64
			for range 300 {
				p := r.Uint64()
				if n > 0 && r.IntN(3) > 0 {
					p = binary.BigEndian.Uint64(ids[r.IntN(n)][:])
				}
				if r.IntN(4) == 0 {
					p ^= 1 << r.IntN(64)
				}
				prefixes = append(prefixes, p)
			}
			slices.Sort(prefixes)
			prefixes = slices.CompactFunc(prefixes, func(a, b uint64) bool { return a>>(64-depth) == b>>(64-depth) })
			for _, src := range []Source{&tree, &counted{Source: &tree}} {
				found, ends, err := Find(src, prefixes, depth)
				if err != nil || len(ends) != len(prefixes) {
					t.Fatal(len(ends), err)
				}
				begin := 0
				for i, p := range prefixes {
					var prefix ID
					binary.BigEndian.PutUint64(prefix[:], p)
					want, _ := tree.IDs(prefix, depth)
					if got := found[begin:ends[i]]; !slices.Equal(got, want) {
						t.Fatalf("%d IDs, prefix %x of %d bits: %d found, %d are there", n, p, depth, len(got), len(want))
					}
					begin = ends[i]
				}
			}
		}
	}
}

func BenchmarkFind(b *testing.B) {
	var tree Tree
	ids := numberedUpTo(1_000_000)
	tree.Insert(ids...)
	r := rand.New(rand.NewPCG(1, 2))
	const n = 500
	sets := make([][]uint64, 64)
	for i := range sets {
		for range n {
			sets[i] = append(sets[i], binary.BigEndian.Uint64(ids[r.IntN(len(ids))][:])>>16<<16)
		}
		slices.Sort(sets[i])
	}
	k := 0
	for b.Loop() {
		Find(&tree, sets[k%len(sets)], 48)
		k++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/prefix")
}
