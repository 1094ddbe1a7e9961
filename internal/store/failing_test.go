package store

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"anabranch/record"
)

// How long the hard tests go on: docs/store.md has the commands.
var (
	powerCuts = flag.Int("cuts", 200, "simulated power cuts of TestPowerCutsLoseNothing")
	positions = flag.Int("positions", 40, "failing writes of TestFailedWritesInProcesses")

	childDir      = flag.String("child.dir", "", "set in processes of TestFailedWritesInProcesses")
	childPosition = flag.Int64("child.position", 0, "the write that fails there")
)

// failAt makes the n-th write-side operation of a file system fail, once.
func failAt(fs vfs.FS, n int64, err error) vfs.FS {
	var count atomic.Int64
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == n {
			return err
		}
		return nil
	}))
}

const childDeadline = 60 * time.Second

// TestFailedWritesInProcesses lets the i-th write-side operation on a real
// disk fail, each i in a process of its own: it must end by itself and in
// order, and what it acknowledged must be there when the store is opened
// again.
func TestFailedWritesInProcesses(t *testing.T) {
	if testing.Short() || *childDir != "" {
		t.Skip("starts a process for each position; not in a short run, nor in one of them")
	}
	base := t.TempDir()
	var next, failed atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(*positions); i = next.Add(1) {
				dir := filepath.Join(base, strconv.FormatInt(i, 10))
				ctx, cancel := context.WithTimeout(ctx, childDeadline)
				cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFailedWriteChild$",
					"-child.dir="+dir, "-child.position="+strconv.FormatInt(i, 10))
				out, err := cmd.CombinedOutput()
				cancel()
				if err != nil {
					t.Errorf("write %d: the process ended with %v:\n%s", i, err, out)
					continue
				}
				if checkChild(t, i, dir) {
					failed.Add(1)
				}
				os.RemoveAll(dir)
			}
		})
	}
	workers.Wait()
	t.Logf("%d of %d positions failed the store", failed.Load(), *positions)
	if failed.Load() < int64(*positions)/4 {
		t.Error("too few of the injected errors were noticed")
	}
}

// checkChild opens what a process left. It reports whether its store had
// failed.
func checkChild(t *testing.T, i int64, dir string) bool {
	acked, err := os.ReadFile(filepath.Join(dir, "acked"))
	if err != nil {
		t.Errorf("write %d: %v", i, err)
		return false
	}
	_, err = os.Stat(filepath.Join(dir, "failed"))
	s, openErr := Open(filepath.Join(dir, "store"), Options{})
	if openErr != nil {
		t.Errorf("write %d: %v", i, openErr)
		return err == nil
	}
	defer s.Close()
	var a acknowledged
	for len(acked) > 0 {
		a.writes = append(a.writes, []record.ID{record.ID(acked)})
		acked = acked[32:]
	}
	for _, sp := range s.Spaces() {
		if lost := a.check(t, sp); lost > 0 {
			t.Errorf("write %d: %d acknowledged records lost", i, lost)
		}
		if report, err := sp.Verify(ctx, nil); err != nil || len(report.Findings) > 0 {
			t.Errorf("write %d: %+v %v", i, report, err)
		}
	}
	if len(a.writes) > 0 && len(s.Spaces()) == 0 {
		t.Errorf("write %d: the space is gone", i)
	}
	return err == nil
}

// TestFailedWriteChild is one process of TestFailedWritesInProcesses.
func TestFailedWriteChild(t *testing.T) {
	if *childDir == "" {
		t.Skip("runs in the processes that TestFailedWritesInProcesses starts")
	}
	if err := os.MkdirAll(*childDir, 0o700); err != nil {
		t.Fatal(err)
	}
	const broken = syscall.EIO
	var a acknowledged
	err := func() error {
		fs := failAt(vfs.Default, *childPosition, broken)
		s, err := Open(filepath.Join(*childDir, "store"), Options{FS: fs, MemTableBytes: 16 << 10})
		if err != nil {
			return err
		}
		defer s.Close()
		sp, err := s.Create(ctx, genesis(t, 1))
		if err != nil {
			return err
		}
		if _, err := sp.Issue(ctx, key(rootKey), 1, "/", grantBody(record.ID{}, 6, record.Writer, 0)); err != nil {
			return err
		}
		n := 0
		err = a.pound(sp, rand.New(rand.NewPCG(uint64(*childPosition), 3)), nil, func() bool { n++; return n > 120 })
		if err != nil {
			return err
		}
		return s.Close()
	}()
	var acked []byte
	for _, ids := range a.writes {
		for _, id := range ids {
			acked = append(acked, id[:]...)
		}
	}
	if err != nil {
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
		if err := os.WriteFile(filepath.Join(*childDir, "failed"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(*childDir, "acked"), acked, 0o600); err != nil {
		t.Fatal(err)
	}
}
