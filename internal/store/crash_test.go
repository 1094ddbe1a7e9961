package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

// acknowledged is what a workload was promised.
type acknowledged struct {
	mu     sync.Mutex
	writes [][]record.ID // each durable whole
	asked  [][]record.ID // handed over; whole or not at all
}

func idsOf(rs []*record.Verified) []record.ID {
	ids := make([]record.ID, len(rs))
	for i, r := range rs {
		ids[i] = r.ID
	}
	return ids
}

// pound writes entries and docs, commits batches that arrive, and sweeps,
// until an error or until stop says so.
func (a *acknowledged) pound(sp *Space, rng *rand.Rand, batches [][]*record.Verified, stop func() bool) error {
	const me = 6
	for now := uint64(1); !stop(); now++ {
		switch n := rng.IntN(10); {
		case n < 3 && len(batches) > 0:
			batch := batches[0]
			batches = batches[1:]
			a.mu.Lock()
			a.asked = append(a.asked, idsOf(batch))
			a.mu.Unlock()
			if _, err := sp.Commit(ctx, batch); err != nil {
				return err
			}
			a.mu.Lock()
			a.writes = append(a.writes, idsOf(batch))
			a.mu.Unlock()
		case n < 9:
			payload := make([]byte, rng.IntN(400))
			drafts := []Draft{{Kind: record.Entry, Path: "/log", Payload: payload}, {Kind: record.Doc, Path: worldPaths[rng.IntN(4)], Payload: payload}}
			rs, err := sp.Write(ctx, key(me), now, drafts...)
			if err != nil {
				return err
			}
			a.mu.Lock()
			a.writes = append(a.writes, idsOf(rs))
			a.mu.Unlock()
		default:
			if _, err := sp.Sweep(ctx, key(me), now); err != nil {
				return err
			}
		}
	}
	return nil
}

// check looks for what was promised in a reopened space. A record counts as
// there if it is in any table, or dead: then its author's sweep is durable,
// and the trash holds it.
func (a *acknowledged) check(t testing.TB, sp *Space) (lost int) {
	t.Helper()
	members, held, trash := stored(t, sp)
	there := func(id record.ID) bool { return members[id] != nil || held[id] != nil || trash[id] != nil }
	for _, write := range a.writes {
		for _, id := range write {
			if !there(id) {
				lost++
			}
		}
	}
	for _, batch := range a.asked {
		n := 0
		for _, id := range batch {
			if there(id) {
				n++
			}
		}
		if n != 0 && n != len(batch) {
			t.Errorf("%d of %d records of one batch are there", n, len(batch))
		}
	}
	return lost
}

// inBatches cuts a pool whose records are all kept, whatever their verdict:
// without sweeps, none is redundant.
func inBatches(pool []*record.Verified, rng *rand.Rand) (out [][]*record.Verified) {
	var kept []*record.Verified
	for _, r := range pool {
		if r.Kind != record.Sweep {
			kept = append(kept, r)
		}
	}
	for len(kept) > 0 {
		n := min(len(kept), 1+rng.IntN(9))
		out = append(out, kept[:n])
		kept = kept[n:]
	}
	return out
}

// powerCut runs a random workload with flushes and compactions all the time,
// cuts the power at a random moment, and opens what the disk then holds.
func powerCut(t *testing.T, seed uint64, percent int, noSync bool) (lost int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(percent)))
	fs := vfs.NewCrashableMem()
	o := tiny(Options{FS: fs, MemTableBytes: 16 << 10, CacheBytes: 1 << 20, noSync: noSync})
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	var a acknowledged
	sp := createSpace(t, s)
	a.writes = append(a.writes, idsOf([]*record.Verified{grant(t, sp, 6, record.Writer, "/")}))
	batches := inBatches(world(t, sp, rng, seed%3 == 0), rng)
	var enough atomic.Bool
	workload := make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(seed, 77))
		n, most := 0, 20+rng.IntN(60)
		workload <- a.pound(sp, rng, batches, func() bool { n++; return n > most || enough.Load() })
	}()
	time.Sleep(time.Duration(1+rng.IntN(6)) * time.Millisecond)
	// Read what was acknowledged before the power goes.
	a.mu.Lock()
	promised := acknowledged{writes: a.writes[:len(a.writes):len(a.writes)]}
	a.mu.Unlock()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	enough.Store(true)
	if err := <-workload; err != nil {
		t.Fatal(err)
	}
	promised.asked = a.asked
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = clone
	reopened, err := Open("store", o)
	if err != nil {
		if noSync {
			return 1
		}
		t.Fatalf("seed %d, %d %%: %v", seed, percent, err)
	}
	defer reopened.Close()
	again, ok := reopened.Space(sp.id)
	if !ok {
		if !noSync {
			t.Fatalf("seed %d, %d %%: the space is gone", seed, percent)
		}
		return 1
	}
	lost = promised.check(t, again)
	if noSync {
		return lost
	}
	verifyClean(t, again)
	members, _, _ := stored(t, again)
	v := snapshot(t, again)
	checkSet(t, v, members)
	v.Close()
	if _, err := again.Write(ctx, key(6), 1, Draft{Kind: record.Entry, Path: "/after"}); err != nil {
		t.Fatal(err)
	}
	return lost
}

func TestPowerCutsLoseNothing(t *testing.T) {
	rounds := uint64(*powerCuts+4) / 5
	if testing.Short() {
		rounds = 4
	}
	for _, percent := range []int{0, 10, 50, 90, 100} {
		for seed := range rounds {
			if lost := powerCut(t, seed, percent, false); lost > 0 {
				t.Fatalf("seed %d, %d %% of unsynced data kept: %d acknowledged records lost", seed, percent, lost)
			}
			if t.Failed() {
				t.Fatalf("seed %d, %d %%", seed, percent)
			}
		}
	}
}

// TestPowerCutsLoseWithoutSync is the control: the test above can fail. A cut
// right after a write buffer was flushed loses nothing even so, which on an
// idle machine is every second one; forty cuts that lose fewer than five
// times would mean that the cut cuts nothing.
func TestPowerCutsLoseWithoutSync(t *testing.T) {
	const enough = 5
	losing := 0
	for seed := range uint64(40) {
		if powerCut(t, seed, 0, true) > 0 {
			losing++
		}
		if losing == enough {
			return
		}
	}
	t.Fatalf("only %d of 40 cuts lost anything without fsync", losing)
}

// TestFailedWrites lets the i-th write-side operation of the disk fail.
func TestFailedWrites(t *testing.T) {
	const me = 6
	positions := 60
	if testing.Short() {
		positions = 15
	}
	failures, readable := 0, 0
	for i := range positions {
		mem := vfs.NewMem()
		broken := errors.New("input/output error")
		o := Options{FS: failAt(mem, int64(i+1), broken), MemTableBytes: 16 << 10}
		var a acknowledged
		var id record.SpaceID
		within(t, 20*time.Second, fmt.Sprintf("a store whose write %d fails", i), func() {
			s, err := Open("store", o)
			if err != nil {
				failures++
				return
			}
			defer s.Close()
			sp, err := s.Create(ctx, genesis(t, 1))
			if err != nil {
				if !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
					t.Errorf("write %d: create: %v", i, err)
				}
				failures++
				return
			}
			id = sp.id
			if _, err = sp.Issue(ctx, key(rootKey), 1, "/", grantBody(record.ID{}, me, record.Writer, 0)); err == nil {
				rng := rand.New(rand.NewPCG(uint64(i), 3))
				n := 0
				err = a.pound(sp, rng, nil, func() bool { n++; return n > 120 })
			}
			if err == nil {
				err = s.Close()
				if err == nil || errors.Is(err, ErrFailed) {
					return
				}
			}
			failures++
			if !errors.Is(err, ErrFailed) || !errors.Is(err, broken) {
				t.Errorf("write %d: %v", i, err)
			}
			select {
			case <-s.Failed():
			default:
				t.Errorf("write %d: Failed is not closed", i)
			}
			if s.Err() == nil || s.SetFact(ctx, "x", []byte("y")) == nil {
				t.Errorf("write %d: the store goes on", i)
			}
			v, err := sp.Snapshot()
			if err != nil {
				t.Errorf("write %d: snapshot: %v", i, err)
				return
			}
			defer v.Close()
			n := 0
			for _, err := range v.List(Query{Order: Oldest}) {
				if err != nil {
					return // reads go on where possible
				}
				n++
			}
			readable++
		})
		if id == (record.SpaceID{}) {
			continue
		}
		s, err := Open("store", Options{FS: mem})
		if err != nil {
			t.Fatalf("write %d: reopen: %v", i, err)
		}
		sp, ok := s.Space(id)
		if !ok {
			t.Fatalf("write %d: the space is gone", i)
		}
		if lost := a.check(t, sp); lost > 0 {
			t.Fatalf("write %d: %d acknowledged records lost", i, lost)
		}
		verifyClean(t, sp)
		s.Close()
	}
	t.Logf("%d of %d positions failed the store, %d of those could be read", failures, positions, readable)
	if failures < positions/2 {
		t.Errorf("only %d of %d injected errors were noticed", failures, positions)
	}
}
