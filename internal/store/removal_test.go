package store

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
	"anabranch/space"
)

// TestRemovalInSlices: what a sweep kills, a seal holds and a new grant brings
// back is the same in slices of three as at once, nothing in between is seen,
// and the counts are those of the whole.
func TestRemovalInSlices(t *testing.T) {
	const n = 50
	for _, slice := range []int{3, 10_000} {
		s, sp := memoryStore(t, Options{slice: slice})
		g := grant(t, sp, 1, record.Writer, "/")
		var ids []record.ID
		for i := range n {
			rs, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: fmt.Sprintf("/%d", i%3)})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rs[0].ID)
		}
		seen := make(chan map[uint64]bool)
		stop := make(chan struct{})
		go func() {
			counts := make(map[uint64]bool)
			for {
				if v, err := sp.Snapshot(); err == nil {
					counts[v.Count()] = true
					v.Close()
				}
				select {
				case <-stop:
					seen <- counts
					return
				default:
				}
			}
		}()
		if err := sp.Remove(ctx, key(1), 2, ids[:n-5]...); err != nil {
			t.Fatal(err)
		}
		verifyClean(t, sp)
		if v := snapshot(t, sp); v.Count() != 1+5+1 || v.HeldStats().Trash != n-5 {
			t.Fatalf("%d members, %+v", v.Count(), v.HeldStats())
		}
		if _, err := sp.Issue(ctx, key(rootKey), 3, "/", sealBody(record.ID{}, g.ID)); err != nil {
			t.Fatal(err)
		}
		verifyClean(t, sp)
		// With the sweep, everything of the author is held now, the dead too.
		if v := snapshot(t, sp); v.Count() != 2 || v.HeldStats().Held != n+1 || v.HeldStats().Trash != 0 {
			t.Fatalf("%d members, %+v", v.Count(), v.HeldStats())
		}
		if _, err := sp.Issue(ctx, key(rootKey), 4, "/", grantBody(record.ID{}, 1, record.Writer, 9)); err != nil {
			t.Fatal(err)
		}
		verifyClean(t, sp)
		if v := snapshot(t, sp); v.Count() != 3+5+1 || v.HeldStats().Trash != n-5 {
			t.Fatalf("%d members, %+v", v.Count(), v.HeldStats())
		}
		close(stop)
		for count := range <-seen {
			if count != 1+n && count != 7 && count != 2 && count != 9 {
				t.Errorf("slices of %d: a reader saw %d members", slice, count)
			}
		}
		if b, err := s.engine.get(tableKey(tableQueue, sp.number, 0)); b != nil || err != nil {
			t.Errorf("the queue is left: %x %v", b, err)
		}
	}
}

// TestPowerCutsInRemovals: whatever slice the power cut leaves, the removal is
// whole after opening, or not begun.
func TestPowerCutsInRemovals(t *testing.T) {
	const n = 120
	begun := 0
	for seed := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, 5))
		fs := vfs.NewCrashableMem()
		o := Options{FS: fs, MemTableBytes: 16 << 10, CacheBytes: 1 << 20, slice: 4}
		s, err := Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		drafts := make([]Draft, n)
		for i := range drafts {
			drafts[i] = Draft{Kind: record.Entry, Path: "/e", Payload: make([]byte, 100)}
		}
		rs, err := sp.Write(ctx, key(1), 1, drafts...)
		if err != nil {
			t.Fatal(err)
		}
		removed := make(chan error, 1)
		go func() { removed <- sp.Remove(ctx, key(1), 2, idsOf(rs)...) }()
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Microsecond)
		clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		if err := <-removed; err != nil {
			t.Fatal(err)
		}
		s.Close()
		o.FS = clone
		s, err = Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		sp, _ = s.Space(sp.id)
		verifyClean(t, sp)
		v := snapshot(t, sp)
		switch v.Count() {
		case 1 + n:
		case 1 + 1:
			begun++
		default:
			t.Fatalf("seed %d: %d members", seed, v.Count())
		}
		v.Close()
		s.Close()
	}
	t.Logf("%d of 25 had begun", begun)
}

// TestQueueLayout: what is left to do is read as it was written.
func TestQueueLayout(t *testing.T) {
	s, sp := memoryStore(t, Options{})
	queue := []removal{
		{sel: space.Selector{Author: pub(1), Area: "/a"}, authority: true},
		{sel: space.Selector{Author: pub(2), Lane: 7, Numbers: []space.Span{{First: 1, Last: 3}, {First: 9, Last: 9}}, Area: "/"}},
	}
	err := s.do(ctx, 0, func(c *commit) error {
		w := c.work(sp)
		w.queue, w.requeued = queue, true
		w.saveQueue()
		b, err := c.tx.get(tableKey(tableQueue, sp.number, 0))
		if err != nil {
			t.Error(err)
		}
		for i := range b {
			plantQueue := newTxn(c.tx.base)
			plantQueue.set(tableKey(tableQueue, sp.number, 0), b[:i])
			again := newSpace(s, sp.number, sp.genesis)
			again.loadQueue(plantQueue) // no panic
		}
		again := newSpace(s, sp.number, sp.genesis)
		if err := again.loadQueue(c.tx); err != nil || fmt.Sprint(again.state.queue) != fmt.Sprint(queue) {
			t.Errorf("%v, %v", again.state.queue, err)
		}
		return nil // the removal goes on and finds nothing
	})
	if err != nil {
		t.Fatal(err)
	}
	verifyClean(t, sp)
}

func TestTrashBudget(t *testing.T) {
	_, sp := memoryStore(t, Options{TrashBytes: 2000})
	grant(t, sp, 1, record.Writer, "/")
	for range 5 {
		var ids []record.ID
		for range 20 {
			rs, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/e", Payload: make([]byte, 100)})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rs[0].ID)
		}
		if err := sp.Remove(ctx, key(1), 2, ids...); err != nil {
			t.Fatal(err)
		}
		if st := snapshot(t, sp).HeldStats(); st.TrashBytes > 2000 || st.Trash == 0 {
			t.Fatalf("%+v", st)
		}
		verifyClean(t, sp)
	}
}
