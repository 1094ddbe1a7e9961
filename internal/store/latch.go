package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// latch remembers the first failed write. Pebble answers many of those by
// ending the process or by panicking inside a lock, so it never gets to see
// one: the failing call, and every write after it, blocks for ever.
//
// A full disk is no failure. The call waits inside the latch and is made
// again until there is space; full says so meanwhile.
type latch struct {
	once sync.Once
	done chan struct{}
	err  error // set before done is closed

	retry time.Duration // between two attempts on a full disk; negative: it is a failure

	mu      sync.Mutex    // guards what follows
	waiting int           // calls that wait for space
	short   error         // why, nil while none waits
	isFull  chan struct{} // closed while calls wait; a new one afterwards
}

func newLatch(retry time.Duration) *latch {
	return &latch{done: make(chan struct{}), retry: retry, isFull: make(chan struct{})}
}

// full is closed as long as a write waits for space, or the next time that
// one has to.
func (l *latch) full() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isFull
}

// shortage is what full means, nil while no write waits.
func (l *latch) shortage() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.short
}

// noSpace reports whether an error only says that the disk is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// write makes a call until it does not fail for want of space, and passes its
// outcome on, or does not return.
func (l *latch) write(op, name string, call func() error) {
	l.hold()
	err := call()
	if noSpace(err) && l.retry > 0 {
		l.starve(fmt.Errorf("%w: %s %s: %w", ErrFull, op, name, err))
		for noSpace(err) {
			select {
			case <-l.done:
			case <-time.After(l.retry):
			}
			l.hold()
			err = call()
		}
		l.feed()
	}
	l.check(op, name, err)
}

func (l *latch) starve(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting++; l.waiting == 1 {
		l.short = err
		close(l.isFull)
	}
}

func (l *latch) feed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		l.short, l.isFull = nil, make(chan struct{})
	}
}

// fail records the first failure.
func (l *latch) fail(op string, err error) {
	l.once.Do(func() {
		l.err = fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
		close(l.done)
	})
}

// giveUp makes a full disk a failure: nobody waits for space any more.
func (l *latch) giveUp() {
	if err := l.shortage(); err != nil {
		l.fail("waiting for space", err)
	}
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

func (f latchFS) open(op, name string, call func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	f.latch.write(op, name, func() (err error) {
		file, err = call()
		return err
	})
	return latchFile{file, f.latch, name}, nil
}

func (f latchFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

func (f latchFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return f.open("open", name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, o...) })
}

func (f latchFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("reuse", oldname, func() (vfs.File, error) { return f.FS.ReuseForWrite(oldname, newname, c) })
}

func (f latchFS) OpenDir(name string) (vfs.File, error) {
	file, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return latchFile{file, f.latch, name}, nil
}

func (f latchFS) Rename(oldname, newname string) error {
	f.latch.write("rename", oldname, func() error { return f.FS.Rename(oldname, newname) })
	return nil
}

func (f latchFS) Link(oldname, newname string) error {
	f.latch.write("link", oldname, func() error { return f.FS.Link(oldname, newname) })
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
	done := 0 // a full disk may take a part
	f.latch.write("write", f.name, func() error {
		n, err := f.File.Write(p[done:])
		done += n
		return err
	})
	return done, nil
}

func (f latchFile) WriteAt(p []byte, off int64) (int, error) {
	var n int
	f.latch.write("write", f.name, func() (err error) {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, nil
}

func (f latchFile) Preallocate(offset, length int64) error {
	f.latch.write("preallocate", f.name, func() error { return f.File.Preallocate(offset, length) })
	return nil
}

// A sync that failed is never tried again, not even for want of space: what
// it was to write may be marked as written.
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
