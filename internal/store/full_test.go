package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

// fullFS is a disk that can be full: creating and writing then fail, and a
// write may take a part before it does.
type fullFS struct {
	vfs.FS
	full  *atomic.Bool
	usage *atomic.Uint64 // free bytes; 0: not known
}

func newFullFS(below vfs.FS) fullFS { return fullFS{below, new(atomic.Bool), new(atomic.Uint64)} }

func (f fullFS) refuse() error {
	if f.full.Load() {
		return fmt.Errorf("write: %w", syscall.ENOSPC)
	}
	return nil
}

func (f fullFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.refuse(); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, c)
	return fullFile{file, f}, err
}

func (f fullFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.FS.ReuseForWrite(from, to, c)
	return fullFile{file, f}, err
}

func (f fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	if n := f.usage.Load(); n > 0 {
		return vfs.DiskUsage{AvailBytes: n}, nil
	}
	return vfs.DiskUsage{}, vfs.ErrUnsupported
}

type fullFile struct {
	vfs.File
	fs fullFS
}

func (f fullFile) Write(p []byte) (int, error) {
	if err := f.fs.refuse(); err != nil {
		n := len(p) / 3
		if n > 0 {
			if n, err := f.File.Write(p[:n]); err != nil {
				return n, err
			}
		}
		return n, err
	}
	return f.File.Write(p)
}

// TestFullDiskWaits: a disk fills up under writers again and again. They see
// it, reads go on, and when there is space everything goes on without being
// opened again; nothing acknowledged is lost, nothing refused for certain
// appears later.
func TestFullDiskWaits(t *testing.T) {
	for _, closeFull := range []bool{false, true} {
		mem := vfs.NewMem()
		fs := newFullFS(mem)
		o := Options{FS: fs, MemTableBytes: 16 << 10, spaceRetry: time.Millisecond}
		s, err := Open("store", o)
		if err != nil {
			t.Fatal(err)
		}
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		acked, refused := make(map[string]bool), make(map[string]bool)
		write := func(path string) error {
			_, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Doc, Path: path, Payload: make([]byte, 700)})
			if err == nil {
				acked[path] = true
			}
			return err
		}
		for round := range 12 {
			for i := range 3 + 2*round {
				if err := write(fmt.Sprintf("/%d/%d", round, i)); err != nil {
					t.Fatal(err)
				}
			}
			fs.full.Store(true)
			within(t, 10*time.Second, "a writer on a full disk", func() {
				for i := range 20 {
					path := fmt.Sprintf("/%d/full/%d", round, i)
					err := write(path)
					if err == nil {
						continue // no file had to grow
					}
					if !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrFailed) {
						t.Fatal(err)
					}
					if i > 10 {
						refused[path] = true // by then the store knows, and takes none
					}
				}
			})
			if s.Full() == nil {
				t.Fatal("Full is nil")
			}
			within(t, 30*time.Second, "reading on a full disk", func() {
				v, err := sp.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				defer v.Close()
				if r, err := v.Resolve("/0/0", 2); err != nil && !errors.Is(err, ErrFull) || err == nil && r.Doc == nil {
					t.Errorf("%v", err)
				}
			})
			if closeFull && round == 11 {
				break
			}
			fs.full.Store(false)
			within(t, 10*time.Second, "writing when there is space again", func() {
				for errors.Is(write(fmt.Sprintf("/%d/after", round)), ErrFull) {
					time.Sleep(time.Millisecond)
				}
			})
			if s.Failed(); s.Err() != nil {
				t.Fatal(s.Err())
			}
		}
		within(t, 10*time.Second, "closing", func() {
			if err := s.Close(); closeFull != errors.Is(err, syscall.ENOSPC) {
				t.Errorf("close: %v", err)
			}
		})
		o.FS = mem
		if s, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
		sp, _ = s.Space(sp.id)
		verifyClean(t, sp)
		v := snapshot(t, sp)
		for path := range acked {
			if docs, err := v.Docs(path); err != nil || len(docs) == 0 {
				t.Errorf("%s was acknowledged: %v", path, err)
			}
		}
		for path := range refused {
			if docs, err := v.Docs(path); err != nil || len(docs) > 0 && !acked[path] {
				t.Errorf("%s was refused and is there: %v", path, err)
			}
		}
		v.Close()
		s.Close()
	}
}

// TestOpenOnFullDisk: what is there can be read.
func TestOpenOnFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	o := Options{FS: mem, spaceRetry: time.Millisecond}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	if _, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Doc, Path: "/a"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	fs := newFullFS(mem)
	fs.full.Store(true)
	o.FS = fs
	within(t, 10*time.Second, "opening on a full disk", func() {
		if _, err := Open("new", o); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a new store: %v", err)
		}
		if s, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
		sp, _ = s.Space(sp.id)
		if docs, err := snapshot(t, sp).Docs("/a"); err != nil || len(docs) != 1 {
			t.Fatal(docs, err)
		}
		verifyClean(t, sp)
		if _, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Doc, Path: "/a"}); !errors.Is(err, ErrFull) || s.Full() == nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	fs.full.Store(false)
	if s, err = Open("store", o); err != nil {
		t.Fatal(err)
	}
	sp, _ = s.Space(sp.id)
	if _, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Doc, Path: "/a"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestReserve: what adds is refused while the disk is nearly full; what takes
// away is not.
func TestReserve(t *testing.T) {
	fs := newFullFS(vfs.NewMem())
	s, err := Open("store", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	rs, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Entry, Path: "/a"})
	if err != nil {
		t.Fatal(err)
	}
	fs.usage.Store(63 << 20)
	time.Sleep(2 * reserveEvery)
	if _, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Entry, Path: "/a"}); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := sp.Remove(ctx, key(rootKey), 1, rs[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFact(ctx, "a", []byte("b")); err != nil {
		t.Fatal(err)
	}
	fs.usage.Store(65 << 20)
	time.Sleep(2 * reserveEvery)
	if _, err := sp.Write(ctx, key(rootKey), 1, Draft{Kind: record.Entry, Path: "/a"}); err != nil {
		t.Fatal(err)
	}
}
