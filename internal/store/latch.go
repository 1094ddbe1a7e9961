package store

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// latch remembers the first failed write. Pebble answers many of those by
// ending the process or by panicking inside a lock, so it never gets to see
// one: the failing call, and every write after it, blocks for ever.
type latch struct {
	once sync.Once
	done chan struct{}
	err  error // set before done is closed
}

func newLatch() *latch { return &latch{done: make(chan struct{})} }

// fail records the first failure.
//
// Waiting for space on a full disk, and writing again, belongs here.
func (l *latch) fail(op string, err error) {
	l.once.Do(func() {
		l.err = fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
		close(l.done)
	})
}

// trip records the first failure and never returns.
func (l *latch) trip(op string, err error) {
	l.fail(op, err)
	select {}
}

func (l *latch) failure() error {
	select {
	case <-l.done:
		return l.err
	default:
		return nil
	}
}

// hold blocks for ever once the latch has tripped, so that nothing is written
// after the store's lock was given up.
func (l *latch) hold() {
	if l.failure() != nil {
		select {}
	}
}

// check passes a write's outcome on, or does not return.
func (l *latch) check(op, name string, err error) {
	if err != nil {
		l.trip(op+" "+name, err)
	}
	l.hold()
}

// latchFS passes everything on to the file system below and every failed
// write to the latch. Removing is not a write here: Pebble tolerates a file
// that it cannot remove.
type latchFS struct {
	vfs.FS
	latch *latch
}

func (f latchFS) wrap(op, name string, file vfs.File, err error) (vfs.File, error) {
	f.latch.check(op, name, err)
	return latchFile{file, f.latch, name}, nil
}

func (f latchFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.latch.hold()
	file, err := f.FS.Create(name, c)
	return f.wrap("create", name, file, err)
}

func (f latchFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f.latch.hold()
	file, err := f.FS.OpenReadWrite(name, c, o...)
	return f.wrap("open", name, file, err)
}

func (f latchFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.latch.hold()
	file, err := f.FS.ReuseForWrite(oldname, newname, c)
	return f.wrap("reuse", oldname, file, err)
}

func (f latchFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return latchFile{file, f.latch, name}, nil
}

func (f latchFS) Rename(oldname, newname string) error {
	f.latch.hold()
	f.latch.check("rename", oldname, f.FS.Rename(oldname, newname))
	return nil
}

func (f latchFS) Link(oldname, newname string) error {
	f.latch.hold()
	f.latch.check("link", oldname, f.FS.Link(oldname, newname))
	return nil
}

func (f latchFS) Remove(name string) error {
	f.latch.hold()
	return f.FS.Remove(name)
}

func (f latchFS) RemoveAll(name string) error {
	f.latch.hold()
	return f.FS.RemoveAll(name)
}

func (f latchFS) MkdirAll(dir string, perm os.FileMode) error {
	f.latch.hold()
	return f.FS.MkdirAll(dir, perm)
}

// lockFS keeps the closer of the directory's lock: Pebble gives it back only
// when its database was closed, which after a failed write never happens.
type lockFS struct {
	vfs.FS
	held *onceCloser
}

type onceCloser struct {
	once   sync.Once
	closer io.Closer
	err    error
}

func (c *onceCloser) Close() error {
	c.once.Do(func() {
		if c.closer != nil {
			c.err = c.closer.Close()
		}
	})
	return c.err
}

func (f lockFS) Lock(name string) (io.Closer, error) {
	closer, err := f.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	f.held.closer = closer
	return f.held, nil
}

func (f latchFS) Unwrap() vfs.FS { return f.FS }

type latchFile struct {
	vfs.File
	latch *latch
	name  string
}

func (f latchFile) Write(p []byte) (int, error) {
	f.latch.hold()
	n, err := f.File.Write(p)
	f.latch.check("write", f.name, err)
	return n, nil
}

func (f latchFile) WriteAt(p []byte, off int64) (int, error) {
	f.latch.hold()
	n, err := f.File.WriteAt(p, off)
	f.latch.check("write", f.name, err)
	return n, nil
}

func (f latchFile) Preallocate(offset, length int64) error {
	f.latch.hold()
	f.latch.check("preallocate", f.name, f.File.Preallocate(offset, length))
	return nil
}

func (f latchFile) Sync() error {
	f.latch.hold()
	f.latch.check("sync", f.name, f.File.Sync())
	return nil
}

func (f latchFile) SyncTo(length int64) (bool, error) {
	f.latch.hold()
	full, err := f.File.SyncTo(length)
	f.latch.check("sync", f.name, err)
	return full, nil
}

func (f latchFile) SyncData() error {
	f.latch.hold()
	f.latch.check("sync", f.name, f.File.SyncData())
	return nil
}
