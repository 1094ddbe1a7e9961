package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"anabranch/record"
)

// TestConcurrentWriters: many callers, readers beside them, and at the end
// every acknowledged record once, without a gap in any lane.
func TestConcurrentWriters(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		const callers, writes = 16, 25
		for n := range callers {
			grant(t, sp, n, record.Writer, "/")
		}
		var reading atomic.Bool
		reading.Store(true)
		var readers, writers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for reading.Load() {
					changed := sp.Changed()
					v, err := sp.Snapshot()
					if err != nil {
						t.Error(err)
						return
					}
					n := uint64(0)
					for _, err := range v.List(Query{Order: Oldest, Everything: true}) {
						if err != nil {
							t.Error(err)
						}
						n++
					}
					if _, err := v.Root(); err != nil || n != v.Count() {
						t.Errorf("listed %d of %d, %v", n, v.Count(), err)
					}
					v.Close()
					select {
					case <-changed:
					case <-time.After(time.Millisecond):
					}
				}
			})
		}
		for n := range callers {
			writers.Go(func() {
				for i := range writes {
					d := Draft{Kind: record.Doc, Path: fmt.Sprintf("/%d", i%5)}
					if i%3 == 0 {
						d = Draft{Kind: record.Entry, Path: "/log"}
					}
					if _, err := sp.Write(ctx, key(n), uint64(i+1), d); err != nil {
						t.Error(err)
						return
					}
					if i%10 == 9 {
						if _, err := sp.Sweep(ctx, key(n), uint64(i)); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		writers.Wait()
		reading.Store(false)
		readers.Wait()
		members, held, trash := stored(t, sp)
		numbers := make(map[record.Key]map[uint32]bool)
		for _, rs := range []map[record.ID]*record.Verified{members, trash} {
			for _, r := range rs {
				if !r.Data() {
					continue
				}
				if numbers[r.Author] == nil {
					numbers[r.Author] = make(map[uint32]bool)
				}
				if numbers[r.Author][r.Seq] {
					t.Errorf("author %v has two records of number %d", r.Author, r.Seq)
				}
				numbers[r.Author][r.Seq] = true
			}
		}
		for n := range callers {
			if got := len(numbers[pub(n)]); got != writes || !numbers[pub(n)][writes] {
				t.Errorf("author %d has %d numbers", n, got)
			}
		}
		if len(held) != 0 {
			t.Errorf("%d held", len(held))
		}
		verifyClean(t, sp)
	})
}

// TestCloseUnderLoad: every caller gets an answer, and no goroutine is left.
func TestCloseUnderLoad(t *testing.T) {
	before := goleak.IgnoreCurrent()
	fs := vfs.NewMem()
	s, err := Open("store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	grant(t, sp, 1, record.Writer, "/")
	var acked atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				_, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/e"})
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				acked.Add(1)
				if v, err := sp.Snapshot(); err == nil { // left open
					for _, err := range v.List(Query{}) {
						if err != nil && !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						break
					}
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
	if s, err = Open("store", Options{FS: fs}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp = createSpace(t, s)
	if n := snapshot(t, sp).Count() - 1; n < uint64(acked.Load()) {
		t.Fatalf("%d records, %d were acknowledged", n, acked.Load())
	}
}

// BenchmarkWrite is acknowledged writes on a real disk, one record each.
func BenchmarkWrite(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{LeaseDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			sp := createSpace(b, s)
			grant(b, sp, 1, record.Writer, "/")
			author := key(1)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			cpu := processTime()
			var group sync.WaitGroup
			for c := range callers {
				group.Go(func() {
					for i := 0; left.Add(-1) >= 0; i++ {
						if _, err := sp.Write(ctx, author, 1, Draft{Kind: record.Doc, Path: fmt.Sprintf("/%d/%d", c, i), Payload: make([]byte, 60)}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
			b.ReportMetric(float64((processTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/put")
		})
	}
}

// BenchmarkOverwrite is one path written again and again, swept every 256
// writes: the worst there is for the path order.
func BenchmarkOverwrite(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(b, s)
	grant(b, sp, 1, record.Writer, "/")
	author := key(1)
	for b.Loop() {
		if _, err := sp.Write(ctx, author, 1, Draft{Kind: record.Doc, Path: "/counter", Payload: make([]byte, 60)}); err != nil {
			b.Fatal(err)
		}
		if sp.PendingKills() >= 256 {
			if _, err := sp.Sweep(ctx, author, 1); err != nil {
				b.Fatal(err)
			}
		}
	}
	start := time.Now()
	for range 100 {
		v, err := sp.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.Resolve("/counter", 1); err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/100, "µs/read")
}

// BenchmarkCommit is received batches of 1000 records of 20 authors.
func BenchmarkCommit(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(b, s)
	for n := range 20 {
		grant(b, sp, n, record.Writer, "/")
	}
	var records int
	var cpu time.Duration
	seq := uint32(0)
	for b.Loop() {
		b.StopTimer()
		batch := make([]*record.Verified, 0, 1000)
		for len(batch) < 1000 {
			seq++
			for n := range 20 {
				batch = append(batch, sign(b, sp, n, record.Record{Kind: record.Doc, Time: uint64(seq) * 1000, Lane: 1, Seq: seq, Path: fmt.Sprintf("/n/%d/%d", n, seq), Payload: make([]byte, 50)}))
			}
		}
		b.StartTimer()
		cpu -= processTime()
		if _, err := sp.Commit(ctx, batch); err != nil {
			b.Fatal(err)
		}
		cpu += processTime()
		records += len(batch)
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(records), "µs/record")
	b.ReportMetric(float64(cpu.Microseconds())/float64(records), "cpu-µs/record")
}

// BenchmarkOpenAndVerify is a store of 50 000 records.
func BenchmarkOpenAndVerify(b *testing.B) {
	const records = 50_000
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	sp := createSpace(b, s)
	grant(b, sp, 1, record.Writer, "/")
	for i := 0; i < records; i += 1000 {
		drafts := make([]Draft, 1000)
		for j := range drafts {
			drafts[j] = Draft{Kind: record.Doc, Path: fmt.Sprintf("/n/%d", i+j), Payload: make([]byte, 50)}
		}
		if _, err := sp.Write(ctx, key(1), uint64(i), drafts...); err != nil {
			b.Fatal(err)
		}
	}
	s.Close()
	var open, verify time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		if s, err = Open(dir, Options{}); err != nil {
			b.Fatal(err)
		}
		open += time.Since(start)
		sp, _ = s.Space(sp.id)
		start = time.Now()
		if report, err := sp.Verify(ctx, nil); err != nil || len(report.Findings) > 0 {
			b.Fatal(report, err)
		}
		verify += time.Since(start)
		s.Close()
		n++
	}
	b.ReportMetric(float64(open.Milliseconds())/float64(n), "ms/open")
	b.ReportMetric(float64(verify.Milliseconds())/float64(n), "ms/verify")
}
