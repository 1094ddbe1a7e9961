package anabranch

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
)

// Figure is one measurement of Bench.
type Figure = store.Figure

// BenchSteps are the parts of Bench, in their order.
var BenchSteps = append(slices.Clone(store.BenchSteps), "sync")

// BenchOptions configures Bench. The zero value measures 100 000 records.
type BenchOptions struct {
	// Records is the size of the store. Default 100 000.
	Records int
	// Authors share the records. Default 20.
	Authors int
	// PutTime is how long each number of callers writes. Default 2s.
	PutTime time.Duration
	// CacheBytes is the size of the store's block cache. Default the store's.
	CacheBytes int64
	// SyncRecords is what the sync between two replicas begins with, each with
	// 200 bytes of payload. Default 100 000; negative measures no sync.
	SyncRecords int
	// SyncTimes is how often the sync is measured, each time with two new
	// replicas; the medians are told. Default 1.
	SyncTimes int
	// Only names the BenchSteps to be done. Empty is all.
	Only []string
	// Keep is a folder that is not removed: signatures and store stay in it
	// and are used by the next Bench with as many records.
	Keep string
	// Peer starts the second replica of the sync in a process of its own: it
	// runs BenchPeer over what is returned. Nil runs it in this one.
	Peer func(ctx context.Context) (io.ReadWriteCloser, error)
	// Log is told what is being done. May be nil.
	Log func(string)
}

// Bench measures the store and a sync on this machine, in a temporary folder
// below dir that is gone when it returns; dir "" is the system's. Figures are
// told as they come. The sync is over real encrypted links on loopback.
func Bench(ctx context.Context, dir string, o BenchOptions, each func(Figure)) error {
	for _, step := range o.Only {
		if !slices.Contains(BenchSteps, step) {
			return fmt.Errorf("anabranch: bench: there is no step %q", step)
		}
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.SyncRecords == 0 {
		o.SyncRecords = 100_000
	}
	if o.Keep != "" {
		if err := os.MkdirAll(o.Keep, 0o700); err != nil {
			return err
		}
		dir = o.Keep
	} else {
		var err error
		if dir, err = os.MkdirTemp(dir, "anabranch-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	steps := slices.DeleteFunc(slices.Clone(o.Only), func(s string) bool { return s == "sync" })
	if len(o.Only) == 0 || len(steps) > 0 {
		err := store.Bench(ctx, store.BenchOptions{
			Dir: dir, Records: o.Records, Authors: o.Authors, PutTime: o.PutTime, Cache: o.CacheBytes, Only: steps, Log: o.Log,
		}, each)
		if err != nil {
			return err
		}
	}
	if o.SyncRecords < 0 || len(o.Only) > 0 && !slices.Contains(o.Only, "sync") {
		return nil
	}
	var names []string
	found := make(map[string][]Figure)
	for range max(1, o.SyncTimes) {
		err := benchSync(ctx, dir, o, func(f Figure) {
			if found[f.Name] == nil {
				names = append(names, f.Name)
			}
			found[f.Name] = append(found[f.Name], f)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range names {
		fs := found[name]
		slices.SortFunc(fs, func(a, b Figure) int { return int(a.Value*1e6) - int(b.Value*1e6) })
		each(fs[len(fs)/2])
	}
	return nil
}

// benchReplica is one side of the sync.
func benchReplica(ctx context.Context, dir string) (*Replica, error) {
	return Open(ctx, dir, Options{
		Listen: []string{"127.0.0.1:0"}, LeaseDir: dir + ".lease", Manual: true,
	})
}

// benchCommand is what the first replica asks of the second: to join a space,
// or to sync with a device.
type benchCommand struct {
	Dir    string
	Ticket string
	Device record.Key
}

// benchAnswer says how that went.
type benchAnswer struct {
	Error   string
	Seconds float64
	Report  Report
	Root    Root
	Peak    float64 // MB of memory at most, 0 if unknown
}

// BenchPeer is the second replica of Bench, for a process of its own: it
// answers what comes on link until that ends.
func BenchPeer(ctx context.Context, link io.ReadWriter) error {
	in, out := json.NewDecoder(bufio.NewReader(link)), json.NewEncoder(link)
	var r *Replica
	var s *Space
	defer func() {
		if r != nil {
			r.Close()
		}
	}()
	for {
		var c benchCommand
		if err := in.Decode(&c); err == io.EOF || errors.Is(err, io.ErrClosedPipe) {
			return nil
		} else if err != nil {
			return err
		}
		var a benchAnswer
		err := func() (err error) {
			if c.Dir != "" {
				ticket, err := ParseTicket(c.Ticket)
				if err != nil {
					return err
				}
				if r, err = benchReplica(ctx, c.Dir); err != nil {
					return err
				}
				s, err = r.Join(ctx, ticket, "bench")
				return err
			}
			r.SetOnline(false) // a new connection
			r.SetOnline(true)
			start := time.Now()
			if a.Report, err = s.Sync(ctx, c.Device); err != nil {
				return err
			}
			a.Seconds = time.Since(start).Seconds()
			a.Peak = peakMemory()
			a.Root, _, err = s.Root(ctx)
			return err
		}()
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

// peakMemory is the most memory this process ever had, in MB, where the
// system tells.
func peakMemory() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kB float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kB); err == nil {
			return kB * 1024 / 1e6
		}
	}
	return 0
}

// peerInside runs BenchPeer in this process.
func peerInside(ctx context.Context) (io.ReadWriteCloser, error) {
	type pipe struct {
		io.Reader
		io.Writer
		io.Closer
	}
	commands, to := io.Pipe()
	from, answers := io.Pipe()
	go func() {
		err := BenchPeer(ctx, pipe{Reader: commands, Writer: answers})
		answers.CloseWithError(err)
		commands.CloseWithError(err)
	}()
	return pipe{from, to, to}, nil
}

// benchSync is the workload that other systems were measured with: keys
// spread over the key space, values that do not compress. W1: all of it,
// written in batches, to an empty replica; W2: 100 scattered overwrites; W3:
// nothing. W0 is W1 between two other replicas, and every record was written
// by itself.
func benchSync(ctx context.Context, dir string, o BenchOptions, each func(Figure)) error {
	for _, batch := range []int{1, 1000} {
		if err := benchPair(ctx, dir, o, batch, each); err != nil {
			return err
		}
	}
	return nil
}

// benchPair syncs a replica, in which so many records are written at a time,
// with an empty one.
func benchPair(ctx context.Context, dir string, o BenchOptions, batch int, each func(Figure)) error {
	dir, err := os.MkdirTemp(dir, "sync-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	a, err := benchReplica(ctx, filepath.Join(dir, "a"))
	if err != nil {
		return err
	}
	defer a.Close()
	from, _, err := a.CreateSpace(ctx, "bench")
	if err != nil {
		return err
	}
	ticket, err := from.Invite(ctx, InviteOptions{})
	if err != nil {
		return err
	}
	start := o.Peer
	if start == nil {
		start = peerInside
	}
	peer, err := start(ctx)
	if err != nil {
		return err
	}
	defer peer.Close()
	in, out := json.NewDecoder(peer), json.NewEncoder(peer)
	ask := func(c benchCommand) (a benchAnswer, err error) {
		if err := out.Encode(c); err != nil {
			return a, err
		}
		if err := in.Decode(&a); err != nil {
			return a, err
		}
		if a.Error != "" {
			return a, fmt.Errorf("bench: the peer: %s", a.Error)
		}
		return a, nil
	}
	if _, err := ask(benchCommand{Dir: filepath.Join(dir, "b"), Ticket: ticket.String()}); err != nil {
		return err
	}

	name := fmt.Sprintf("W1, %d records to an empty replica", o.SyncRecords)
	if batch == 1 {
		name = fmt.Sprintf("W0, %d records, written one by one, to an empty replica", o.SyncRecords)
	}
	o.Log(fmt.Sprintf("writing %d records of 200 B, %d at a time", o.SyncRecords, batch))
	began := time.Now()
	if err := writeEach(ctx, from, o.SyncRecords, batch); err != nil {
		return err
	}
	if batch == 1 {
		each(Figure{Name: "W0, one by one by 64 callers", Value: float64(o.SyncRecords) / time.Since(began).Seconds(), Unit: "puts/s"})
	}

	run := func(name string) error {
		o.Log(name)
		got, err := ask(benchCommand{Device: a.Device()})
		if err != nil {
			return fmt.Errorf("bench: %s: %w", name, err)
		}
		if there, _, err := from.Root(ctx); err != nil || got.Root != there {
			return fmt.Errorf("bench: %s: roots %v and %v: %w", name, got.Root, there, err)
		}
		each(Figure{Name: name, Value: got.Seconds, Unit: "s"})
		each(Figure{Name: name + ", frames", Value: float64(got.Report.BytesIn+got.Report.BytesOut) / 1000, Unit: "kB"})
		each(Figure{Name: name + ", rounds", Value: float64(got.Report.Rounds), Unit: ""})
		if got.Peak > 0 && o.Peer != nil {
			each(Figure{Name: name + ", memory of the receiver at most", Value: got.Peak, Unit: "MB"})
		}
		return nil
	}
	if err := run(name); err != nil || batch == 1 {
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

// writeEach puts n records, so many at a time, by 64 callers; each batch is
// acknowledged after its fsync.
func writeEach(ctx context.Context, s *Space, n, batch int) error {
	const callers = 64
	var group sync.WaitGroup
	var next atomic.Int64
	failures := make([]error, callers)
	for c := range callers {
		group.Go(func() {
			for {
				end := int(next.Add(int64(batch)))
				var writes []Write
				for i := end - batch; i < min(end, n); i++ {
					writes = append(writes, Write{Path: benchPath(i), Payload: benchValue(i, 1)})
				}
				if len(writes) == 0 {
					return
				}
				if _, err := s.Batch(ctx, writes...); err != nil {
					failures[c] = err
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}
