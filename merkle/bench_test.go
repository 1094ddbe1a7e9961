package merkle

import (
	"flag"
	"runtime"
	"testing"
)

const million = 1_000_000

var benchIDs = flag.Int("ids", million, "how many IDs the trees of proofs hold")

func bigTree() *Tree {
	t := new(Tree)
	for n := 0; n < *benchIDs; n += million {
		ids := make([]ID, min(million, *benchIDs-n))
		for i := range ids {
			ids[i] = numbered(n + i)
		}
		t.Insert(ids...)
	}
	t.Hash()
	return t
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func BenchmarkBuildOneByOne(b *testing.B) {
	ids := numberedUpTo(million)
	before := heap()
	var t *Tree
	for b.Loop() {
		t = new(Tree)
		for _, id := range ids {
			t.Insert(id)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*million), "ns/insert")
	b.ReportMetric((heap()-before)/million, "B/ID")
	runtime.KeepAlive(ids)
	runtime.KeepAlive(t)
}

func BenchmarkBuildAtOnce(b *testing.B) {
	ids := numberedUpTo(million)
	for b.Loop() {
		new(Tree).Insert(ids...)
	}
}

func BenchmarkHashAll(b *testing.B) {
	ids := numberedUpTo(million)
	for b.Loop() {
		b.StopTimer()
		t := new(Tree)
		t.Insert(ids...)
		b.StartTimer()
		t.Hash()
	}
}

func BenchmarkInsertDelete(b *testing.B) {
	t := bigTree()
	for i := million; b.Loop(); i++ {
		t.Insert(numbered(i))
		t.Delete(numbered(i))
	}
}

func BenchmarkFreshRootAfterOneInsert(b *testing.B) {
	t := bigTree()
	for i := million; b.Loop(); i++ {
		t.Insert(numbered(i))
		t.Hash()
	}
}

func BenchmarkFreshRootAfterOneInsertAndAClone(b *testing.B) {
	t := bigTree()
	for i := million; b.Loop(); i++ {
		t.Clone()
		t.Insert(numbered(i))
		t.Hash()
	}
}

func BenchmarkOverlayOf100(b *testing.B) {
	t := bigTree()
	for i := million; b.Loop(); i += 100 {
		add := make([]ID, 100)
		for k := range add {
			add[k] = numbered(i + k)
		}
		o, err := Overlay(t, add, nil)
		if err == nil {
			_, _, err = Hash(o)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProve(b *testing.B) {
	t := bigTree()
	var size, i int
	for ; b.Loop(); i++ {
		p, err := Prove(t, numbered(i))
		if err != nil {
			b.Fatal(err)
		}
		size += len(p.Encode())
	}
	b.ReportMetric(float64(size)/float64(i), "proof-B")
}

func BenchmarkVerify(b *testing.B) {
	t := bigTree()
	root := t.Hash()
	p, _ := Prove(t, numbered(7))
	for b.Loop() {
		if present, err := p.Verify(root, numbered(7)); err != nil || !present {
			b.Fatal(present, err)
		}
	}
}
