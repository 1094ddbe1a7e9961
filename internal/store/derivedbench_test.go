package store

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"

	"anabranch/reconcile"
)

var derivedItems = flag.Int("derived-items", 100_000, "items that BenchmarkDerivedValues begins with")

// BenchmarkDerivedValues is what all derived values together (blocks of the
// time order, cuts of the trie, sketch and estimator) take for each record of
// a bulk of 4096. The rows that are read again where a block divides are in a
// tree in memory; writing them is left out.
func BenchmarkDerivedValues(b *testing.B) {
	const bulk = 4096
	o, err := Options{CacheBytes: 64 << 20}.validate()
	if err != nil {
		b.Fatal(err)
	}
	s := &Store{options: o, warm: newWarm(o.CacheBytes)}
	rows := rowsOfItems{newMemory()}
	st := new(state)
	st.blank(s)
	r := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []reconcile.Item {
		out := make([]reconcile.Item, n)
		for i := range out {
			out[i].Time = 1 + r.Uint64N(1<<40)
			for j := 0; j < 32; j += 8 {
				binary.LittleEndian.PutUint64(out[i].ID[j:], r.Uint64())
			}
		}
		return out
	}
	add := func(items []reconcile.Item) {
		next := *st
		next.fork()
		next.apply(items, +1)
		if err := next.tidy(rows, 1); err != nil {
			b.Fatal(err)
		}
		st = &next
	}
	for n := 0; n < *derivedItems; n += bulk {
		items := draw(bulk)
		rows.change(items, +1)
		add(items)
	}
	n := 0
	for b.Loop() {
		b.StopTimer()
		items := draw(bulk)
		rows.change(items, +1)
		b.StartTimer()
		add(items)
		n += bulk
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/insert")
}
