package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/merkle"
	"anabranch/record"
)

// filled is a store on disk with an author who may write and n docs.
func filled(t *testing.T, dir string, o Options, n int) (*Store, *Space) {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	sp := createSpace(t, s)
	grant(t, sp, 1, record.Writer, "/")
	var drafts []Draft
	for i := range n {
		drafts = append(drafts, Draft{Kind: record.Doc, Path: "/n/" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)), Payload: make([]byte, 1000)})
	}
	if _, err := sp.Write(ctx, key(1), 1000, drafts...); err != nil {
		t.Fatal(err)
	}
	return s, sp
}

func TestABackupIsTheStoreAtOneMomentAndOpensAFreshLane(t *testing.T) {
	home, lease := t.TempDir(), t.TempDir()
	s, sp := filled(t, filepath.Join(home, "store"), Options{LeaseDir: lease}, 3000)
	if err := s.SetFact(ctx, "name", []byte("value")); err != nil {
		t.Fatal(err)
	}
	want := setRoot(t, sp)
	// Writers go on while the copy is made.
	stop := make(chan struct{})
	written := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				written <- nil
				return
			default:
			}
			if _, err := sp.Write(ctx, key(1), 2000, Draft{Kind: record.Entry, Path: "/later", Payload: []byte{byte(i)}}); err != nil {
				written <- err
				return
			}
		}
	}()
	dir := filepath.Join(home, "copy")
	if err := s.Backup(ctx, dir, nil); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, Options{LeaseDir: lease})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.id == s.id {
		t.Error("the copy has the name of its origin: a lease could prove it")
	}
	cp, ok := c.Space(sp.ID())
	if !ok {
		t.Fatal("the space is not in the copy")
	}
	report, err := cp.Verify(ctx, nil)
	if err != nil || len(report.Findings) > 0 {
		t.Fatal(err, report)
	}
	if v, ok, err := c.Fact("name"); string(v) != "value" || !ok || err != nil {
		t.Error("the fact is not in the copy", err)
	}
	before, err := sp.Generation()
	if err != nil {
		t.Fatal(err)
	}
	if after, err := cp.Generation(); err != nil || after == before {
		t.Error("the copy has its origin's generation", err)
	}
	// Everything up to the moment is there, and a prefix of what came later.
	if report.Count < 3001 {
		t.Errorf("%d members in the copy", report.Count)
	}
	if report.Count == 3001 && report.Root != want {
		t.Error("the root differs")
	}
	old, err := sp.Write(ctx, key(1), 5000, Draft{Kind: record.Entry, Path: "/mine"})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := cp.Write(ctx, key(1), 5000, Draft{Kind: record.Entry, Path: "/mine"})
	if err != nil {
		t.Fatal(err)
	}
	if old[0].Lane == fresh[0].Lane || fresh[0].Seq != 1 {
		t.Errorf("the copy wrote number %d of lane %x, its origin is in lane %x", fresh[0].Seq, fresh[0].Lane, old[0].Lane)
	}
}

func TestABackupGoesIntoAnEmptyDirectoryOnly(t *testing.T) {
	s, _ := filled(t, filepath.Join(t.TempDir(), "store"), Options{}, 1)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, dir, nil); err == nil {
		t.Error("a backup went into a directory that was not empty")
	}
	cut, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Backup(cut, filepath.Join(dir, "new"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a backup that was cut ended with %v", err)
	}
}

// fullBelow is a file system on which nothing can be created below a
// directory once a few files are there.
type fullBelow struct {
	vfs.FS
	dir  string
	left *atomic.Int64
}

func (f fullBelow) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(name, f.dir) && f.left.Add(-1) < 0 {
		return nil, syscall.ENOSPC
	}
	return f.FS.Create(name, c)
}

func TestABackupToAFullDiskDoesTheStoreNoHarm(t *testing.T) {
	for files := range int64(12) {
		home := t.TempDir()
		dir := filepath.Join(home, "full")
		var left atomic.Int64
		left.Store(files)
		s, sp := filled(t, filepath.Join(home, "store"), Options{FS: fullBelow{vfs.Default, dir, &left}}, 100)
		err := s.Backup(ctx, dir, nil)
		if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrFailed) {
			t.Errorf("with room for %d files: %v", files, err)
		}
		if _, err := sp.Write(ctx, key(1), 9000, Draft{Kind: record.Entry, Path: "/x"}); err != nil || s.Err() != nil {
			t.Errorf("with room for %d files: the store itself: %v, %v", files, err, s.Err())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func setRoot(t *testing.T, sp *Space) merkle.Digest {
	t.Helper()
	v, err := sp.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	root, err := v.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}
