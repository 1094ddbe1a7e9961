package anabranch

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"anabranch/internal/store"
)

// Figure is one measurement of Bench.
type Figure = store.Figure

// BenchOptions configures Bench. The zero value measures 100 000 records.
type BenchOptions struct {
	// Records is the size of the store. Default 100 000.
	Records int
	// Authors share the records. Default 20.
	Authors int
	// PutTime is how long each number of callers writes. Default 2s.
	PutTime time.Duration
	// SyncRecords is what the sync between two replicas begins with, each with
	// 200 bytes of payload. Default 100 000; negative measures no sync.
	SyncRecords int
	// Log is told what is being done. May be nil.
	Log func(string)
}

// Bench measures the store and a sync on this machine, in a temporary folder
// below dir that is gone when it returns; dir "" is the system's. Figures are
// told as they come.
//
// Both replicas of the sync run in this process, over real encrypted links
// on loopback.
func Bench(ctx context.Context, dir string, o BenchOptions, each func(Figure)) error {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.SyncRecords == 0 {
		o.SyncRecords = 100_000
	}
	dir, err := os.MkdirTemp(dir, "anabranch-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = store.Bench(ctx, store.BenchOptions{Dir: dir, Records: o.Records, Authors: o.Authors, PutTime: o.PutTime, Log: o.Log}, each)
	if err != nil || o.SyncRecords < 0 {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "records")); err != nil {
		return err
	}
	return benchSync(ctx, dir, o, each)
}

// benchSync is the workload that other systems were measured with: keys
// spread over the key space, values that do not compress. W0: written one by
// one; W1: all of it to an empty replica; W2: 100 scattered overwrites; W3:
// nothing.
func benchSync(ctx context.Context, dir string, o BenchOptions, each func(Figure)) error {
	open := func(name string) (*Replica, error) {
		return Open(ctx, filepath.Join(dir, name), Options{
			Listen: []string{"127.0.0.1:0"}, LeaseDir: filepath.Join(dir, "lease"), Manual: true,
		})
	}
	a, err := open("a")
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := open("b")
	if err != nil {
		return err
	}
	defer b.Close()
	from, _, err := a.CreateSpace(ctx, "bench")
	if err != nil {
		return err
	}
	ticket, err := from.Invite(ctx, InviteOptions{})
	if err != nil {
		return err
	}
	to, err := b.Join(ctx, ticket, "bench")
	if err != nil {
		return err
	}

	o.Log(fmt.Sprintf("W0: %d records of 200 B, written one by one", o.SyncRecords))
	start := time.Now()
	if err := writeEach(ctx, from, o.SyncRecords, 1); err != nil {
		return err
	}
	each(Figure{Name: "W0, one by one by 64 callers", Value: float64(o.SyncRecords) / time.Since(start).Seconds(), Unit: "puts/s"})

	run := func(name string) error {
		o.Log(name)
		b.SetOnline(false) // a new connection
		b.SetOnline(true)
		start := time.Now()
		report, err := to.Sync(ctx, a.Device())
		if err != nil {
			return fmt.Errorf("bench: %s: %w", name, err)
		}
		took := time.Since(start)
		here, _, err := to.Root(ctx)
		if err != nil {
			return err
		}
		if there, _, err := from.Root(ctx); err != nil || here != there {
			return fmt.Errorf("bench: %s: roots %v and %v: %w", name, here, there, err)
		}
		each(Figure{Name: name, Value: took.Seconds(), Unit: "s"})
		each(Figure{Name: name + ", frames", Value: float64(report.BytesIn+report.BytesOut) / 1000, Unit: "kB"})
		each(Figure{Name: name + ", rounds", Value: float64(report.Rounds), Unit: ""})
		return nil
	}
	if err := run(fmt.Sprintf("W1, %d records to an empty replica", o.SyncRecords)); err != nil {
		return err
	}
	every := max(1, o.SyncRecords/100)
	for i := 0; i < o.SyncRecords; i += every {
		if _, err := from.Put(ctx, benchPath(i), benchValue(i, 2)); err != nil {
			return err
		}
	}
	if err := run("W2, 100 scattered overwrites"); err != nil {
		return err
	}
	return run("W3, nothing differs")
}

func benchPath(i int) string { return fmt.Sprintf("/r/%08x", uint32(i)*2654435761) }

func benchValue(i int, version byte) []byte {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i))
	seed[8] = version
	value := make([]byte, 200)
	rand.NewChaCha8(seed).Read(value)
	return value
}

// writeEach puts n records, each acknowledged after its fsync.
func writeEach(ctx context.Context, s *Space, n int, version byte) error {
	const callers = 64
	var group sync.WaitGroup
	failures := make([]error, callers)
	for c := range callers {
		group.Go(func() {
			for i := c; i < n; i += callers {
				if _, err := s.Put(ctx, benchPath(i), benchValue(i, version)); err != nil {
					failures[c] = err
					return
				}
			}
		})
	}
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
