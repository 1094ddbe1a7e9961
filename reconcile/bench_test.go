//go:build unix

package reconcile

import (
	"fmt"
	"math/rand"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// cpu times a benchmark by what the process spent, collector included: wall
// time says little on a machine that others use.
func cpu(b *testing.B) (report func(per int)) {
	begin := spent()
	return func(per int) {
		b.ReportMetric(float64(spent()-begin)/float64(b.N*per), "cpu-ns/op")
	}
}

func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

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
	defer cpu(b)(len(items))
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
	defer cpu(b)(1)
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
	defer cpu(b)(1)
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
			defer cpu(b)(1)
			for b.Loop() {
				x, y := rng.Intn(million), rng.Intn(million)
				c.ix.Fingerprint(min(x, y), max(x, y))
			}
		})
	}
}

func BenchmarkNewVector(b *testing.B) {
	items := benchItems(million)
	defer cpu(b)(1)
	for b.Loop() {
		NewVector(items)
	}
}

// talkAgain runs one conversation between two engines in use.
func talkAgain(in *Initiator, out *Responder, mine, theirs Index) (rounds, wire, have, need int, err error) {
	in.Reset(mine, 1)
	out.Reset(theirs, 2)
	msg, err := in.Start()
	for msg != nil && err == nil {
		rounds++
		wire += len(msg)
		var answer []byte
		if answer, err = out.Respond(msg); err != nil {
			break
		}
		wire += len(answer)
		var h, n []ID
		msg, h, n, err = in.Step(answer)
		have, need = have+len(h), need+len(n)
	}
	return rounds, wire, have, need, err
}

// BenchmarkReconcile is the CPU of both sides together.
func BenchmarkReconcile(b *testing.B) {
	type work struct {
		d      int
		recent bool
		frame  int
	}
	for _, n := range []int{10_000, 1_000_000} {
		for _, c := range []work{{0, false, 0}, {100, false, 0}, {100, true, 0}, {10_000, false, 0}, {10_000, false, 65_536}, {10_000, true, 0}} {
			pattern := "scattered"
			if c.recent {
				pattern = "recent"
			}
			var mine, theirs []Item
			for _, backend := range []string{"sealed", "live"} {
				for split := range plans {
					b.Run(fmt.Sprintf("n=%d/d=%d/%s/frame=%d/%s/%v", n, c.d, pattern, c.frame, backend, Split(split)), func(b *testing.B) {
						if mine == nil {
							mine, theirs = workload(n, c.d, c.recent)
						}
						var x, y Index
						x, _ = NewVector(mine)
						y, _ = NewVector(theirs)
						if backend == "live" {
							p, q := new(Tree), new(Tree)
							for i := range mine {
								p.Insert(mine[i])
							}
							for i := range theirs {
								q.Insert(theirs[i])
							}
							x, y = p, q
						}
						o := Options{FrameBytes: c.frame, Split: Split(split)}
						in, _ := NewInitiator(x, o)
						out, _ := NewResponder(y, o)
						var rounds, wire int
						talkAgain(in, out, x, y)
						runtime.GC()
						b.ReportAllocs()
						b.ResetTimer()
						defer cpu(b)(1)
						for b.Loop() {
							var err error
							if rounds, wire, _, _, err = talkAgain(in, out, x, y); err != nil {
								b.Fatal(err)
							}
						}
						b.ReportMetric(float64(rounds), "rounds")
						b.ReportMetric(float64(wire), "wire-B")
					})
				}
			}
		}
	}
}
