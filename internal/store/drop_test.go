package store

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

// rowsLeft counts what is stored under the number of a space.
func rowsLeft(t testing.TB, s *Store, number uint32) (n int) {
	t.Helper()
	err := each(s.engine, []byte{0}, []byte{0xFF}, func(x row) error {
		if !slices.Contains(shared, x.key[0]) && beU32(x.key[1:]) == number {
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// full has everything in a space that a space can hold: members, sweeps,
// trash, held records, kills that wait.
func full(t testing.TB, s *Store, n byte) *Space {
	t.Helper()
	sp, err := s.Create(ctx, genesis(t, n))
	if err != nil {
		t.Fatal(err)
	}
	grant(t, sp, 6, record.Writer, "/")
	for i := range 6 {
		if _, err := sp.Write(ctx, key(6), uint64(i+1), Draft{Kind: record.Doc, Path: "/a", Payload: []byte{byte(i)}}); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			if _, err := sp.Sweep(ctx, key(6), 5); err != nil {
				t.Fatal(err)
			}
		}
	}
	stranger := sign(t, sp, 9, record.Record{Kind: record.Doc, Time: 1, Lane: 1, Seq: 1, Path: "/held"})
	if _, err := sp.Commit(ctx, []*record.Verified{stranger}); err != nil {
		t.Fatal(err)
	}
	if v := snapshot(t, sp); v.HeldStats().Held != 1 || v.HeldStats().Trash == 0 || sp.PendingKills() == 0 {
		t.Fatalf("%+v, %d kills", v.HeldStats(), sp.PendingKills())
	}
	return sp
}

func TestDrop(t *testing.T) {
	for _, backend := range []string{"memory", "disk"} {
		t.Run(backend, func(t *testing.T) {
			o := Options{FS: vfs.NewMem()}
			open := func() *Store {
				t.Helper()
				s, err := OpenMemory(o)
				if backend == "disk" {
					s, err = Open("store", o)
				}
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			defer func() { s.Close() }()
			gone, kept := full(t, s, 1), full(t, s, 2)
			if err := s.SetFact(ctx, "of it", []byte("x")); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, gone)
			lane := membersOf(t, before)
			generation, err := gone.Generation()
			if err != nil {
				t.Fatal(err)
			}
			changed := gone.Changed()
			if err := s.Drop(ctx, gone.id, FactOp{Key: "of it"}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-changed:
			default:
				t.Error("nobody who watches the space is told")
			}
			if len(membersOf(t, before)) != len(lane) {
				t.Error("a snapshot of before has lost records")
			}
			before.Close()
			if n := rowsLeft(t, s, gone.number); n != 0 {
				t.Errorf("%d rows are left", n)
			}
			if _, ok, err := s.Fact("of it"); ok || err != nil {
				t.Errorf("the fact is left: %v", err)
			}
			if _, err := gone.Snapshot(); !errors.Is(err, ErrDropped) {
				t.Errorf("snapshot: %v", err)
			}
			if _, err := gone.Write(ctx, key(6), 9, Draft{Kind: record.Entry, Path: "/x"}); !errors.Is(err, ErrDropped) {
				t.Errorf("write: %v", err)
			}
			if _, err := gone.Sweep(ctx, key(6), 9); !errors.Is(err, ErrDropped) {
				t.Errorf("sweep: %v", err)
			}
			if n := rowsLeft(t, s, gone.number); n != 0 {
				t.Errorf("%d rows came back", n)
			}
			if err := s.Drop(ctx, gone.id); !errors.Is(err, ErrNotFound) {
				t.Errorf("dropped twice: %v", err)
			}
			verifyClean(t, kept)

			again, err := s.Create(ctx, gone.genesis.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if again == gone || snapshot(t, again).Count() != 0 {
				t.Error("created again, it does not begin empty")
			}
			if g, err := again.Generation(); err != nil || g == generation {
				t.Errorf("generation %d again, %v", g, err)
			}
			grant(t, again, 6, record.Writer, "/")
			rs, err := again.Write(ctx, key(6), 9, Draft{Kind: record.Entry, Path: "/x"})
			if err != nil {
				t.Fatal(err)
			}
			for _, old := range lane {
				if old.Data() && old.Lane == rs[0].Lane {
					t.Error("the lane goes on")
				}
			}
			verifyClean(t, again)
			if backend == "memory" {
				return
			}
			if err := s.Drop(ctx, again.id); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open()
			if got := s.Spaces(); len(got) != 1 || got[0].id != kept.id {
				t.Fatalf("reopened with %d spaces", len(got))
			}
			verifyClean(t, s.Spaces()[0])
		})
	}
}

// TestDropWhileOthersWrite: writers in the same groups end with ErrDropped,
// and none of what they wrote is left.
func TestDropWhileOthersWrite(t *testing.T) {
	s, err := Open("store", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for round := range 10 {
		sp := full(t, s, 1)
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for i := uint64(1); ; i++ {
					_, err := sp.Write(ctx, key(6), i, Draft{Kind: record.Doc, Path: "/w"})
					if errors.Is(err, ErrDropped) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		time.Sleep(time.Millisecond)
		if err := s.Drop(ctx, sp.id); err != nil {
			t.Fatal(err)
		}
		writers.Wait()
		if n := rowsLeft(t, s, sp.number); n != 0 {
			t.Fatalf("round %d: %d rows are left", round, n)
		}
	}
}

func TestPowerCutsOfDrops(t *testing.T) {
	rounds := uint64(12)
	if testing.Short() {
		rounds = 4
	}
	happened := 0
	for seed := range rounds {
		for _, percent := range []int{0, 50, 100} {
			if dropCut(t, seed, percent) {
				happened++
			}
			if t.Failed() {
				t.Fatalf("seed %d, %d %%", seed, percent)
			}
		}
	}
	t.Logf("%d of %d cuts found the space gone", happened, 3*rounds)
}

// dropCut drops a space while another is written to, cuts the power at a
// random moment, and opens what the disk then holds: the space is there whole
// or gone, and gone if that was acknowledged. Every fourth cut waits for that.
func dropCut(t *testing.T, seed uint64, percent int) (dropped bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(percent)))
	fs := vfs.NewCrashableMem()
	o := Options{FS: fs, MemTableBytes: 16 << 10, CacheBytes: 1 << 20}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp, other := full(t, s, 1), full(t, s, 2)
	var a, b acknowledged
	n := 0
	if err := a.pound(sp, rng, inBatches(world(t, sp, rng, false), rng), func() bool { n++; return n > 30 }); err != nil {
		t.Fatal(err)
	}
	var acked sync.Mutex
	done := false
	dropping, writing := make(chan error, 1), make(chan error, 1)
	wait := time.Duration(rng.IntN(2000)) * time.Microsecond
	go func() {
		time.Sleep(wait)
		err := s.Drop(ctx, sp.id)
		acked.Lock()
		done = err == nil
		acked.Unlock()
		dropping <- err
	}()
	go func() {
		rng := rand.New(rand.NewPCG(seed, 78))
		n := 0
		writing <- b.pound(other, rng, nil, func() bool { n++; return n > 25 })
	}()
	if seed%4 == 0 {
		if err := <-dropping; err != nil {
			t.Fatal(err)
		}
		dropping <- nil
	} else {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
	}
	acked.Lock()
	promised := done
	acked.Unlock()
	b.mu.Lock()
	stays := acknowledged{writes: b.writes[:len(b.writes):len(b.writes)]}
	b.mu.Unlock()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	if err := errors.Join(<-dropping, <-writing); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = clone
	reopened, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	again, there := reopened.Space(sp.id)
	if there && promised {
		t.Error("the drop was acknowledged, and the space is there")
	}
	if there {
		if lost := a.check(t, again); lost > 0 {
			t.Errorf("%d records of a space that is there are lost", lost)
		}
		verifyClean(t, again)
	} else if n := rowsLeft(t, reopened, sp.number); n > 0 {
		t.Errorf("the space is gone, and %d of its rows are left", n)
	}
	left, ok := reopened.Space(other.id)
	if !ok {
		t.Fatal("the other space is gone")
	}
	if lost := stays.check(t, left); lost > 0 {
		t.Errorf("%d records of the other space are lost", lost)
	}
	verifyClean(t, left)
	// What was not dropped can be, and what was comes anew.
	if there {
		if err := reopened.Drop(ctx, sp.id); err != nil {
			t.Fatal(err)
		}
	}
	fresh := full(t, reopened, 1)
	verifyClean(t, fresh)
	return !there
}
