package reconcile

import (
	"math/rand"
	"runtime"
	"testing"
)

func benchItems(n int) []Item {
	items := make([]Item, n)
	for i := range items {
		items[i] = numbered(i)
	}
	return items
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

const million = 1_000_000

func BenchmarkTreeBuildRandom(b *testing.B)  { benchBuild(b, benchItems(million)) }
func BenchmarkTreeBuildInOrder(b *testing.B) { benchBuild(b, sorted(benchItems(million))) }

func benchBuild(b *testing.B, items []Item) {
	before := heap()
	var t *Tree
	for b.Loop() {
		t = new(Tree)
		for i := range items {
			t.Insert(items[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(items)), "ns/insert")
	b.ReportMetric((heap()-before)/float64(t.Len()), "B/item")
	runtime.KeepAlive(items)
}

func BenchmarkTreeInsertDelete(b *testing.B) {
	var t Tree
	t.Insert(benchItems(million)...)
	more := benchItems(2 * million)[million:]
	for i := 0; b.Loop(); i++ {
		t.Insert(more[i%million])
		t.Delete(more[i%million])
	}
}

// One write after each of many clones: the price of a snapshot per commit.
func BenchmarkTreeInsertAfterClone(b *testing.B) {
	var t Tree
	t.Insert(benchItems(million)...)
	more := benchItems(2 * million)[million:]
	for i := 0; b.Loop(); i++ {
		t.Clone()
		t.Insert(more[i%million])
	}
}

func BenchmarkFingerprint(b *testing.B) {
	items := benchItems(million)
	var t Tree
	t.Insert(items...)
	v, _ := NewVector(items)
	for _, c := range []struct {
		name string
		ix   Index
	}{{"Vector", v}, {"Tree", &t}} {
		b.Run(c.name, func(b *testing.B) {
			rng := rand.New(rand.NewSource(1))
			for b.Loop() {
				x, y := rng.Intn(million), rng.Intn(million)
				c.ix.Fingerprint(min(x, y), max(x, y))
			}
		})
	}
}

func BenchmarkNewVector(b *testing.B) {
	items := benchItems(million)
	for b.Loop() {
		NewVector(items)
	}
}
