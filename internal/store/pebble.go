package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFormat is named, not "newest": raising it is one-way, and a store
// that this version wrote must open in it after a library update. From
// FormatWALSyncChunks on, a damaged log is told from one that was cut.
const pebbleFormat = pebble.FormatTableFormatV6

// disk is the engine on Pebble.
type disk struct {
	db    *pebble.DB
	cache *pebble.Cache
	rest  *rest // takes the cache's memory away while nothing is done
	lock  *pebble.Lock
	held  onceCloser // the lock below lock
	latch *latch
	write *pebble.WriteOptions
	fs    vfs.FS
	dir   string
	only  error // not nil: opened for reading only, and why
}

// openDisk opens or creates a Pebble database. Errors worth matching:
// ErrLocked, ErrNewer, ErrDamaged, ErrFailed, ErrFull.
//
// Opening writes. On a disk without space for that, one that is there is
// opened for reading only: whatever would write is answered with ErrFull
// until it is opened again.
func openDisk(dir string, o Options) (*disk, error) {
	d, err := openOnce(dir, o, nil)
	if errors.Is(err, ErrFull) {
		if d, e := openOnce(dir, o, err); e == nil {
			return d, nil
		}
	}
	return d, err
}

func openOnce(dir string, o Options, full error) (*disk, error) {
	d := &disk{latch: newLatch(o.spaceRetry), write: pebble.Sync, fs: o.FS, dir: dir, only: full}
	if o.noSync {
		d.write = pebble.NoSync
	}
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: create %s: %w", dir, err)
	}
	lock, err := pebble.LockDirectory(dir, lockFS{o.FS, &d.held})
	if err != nil {
		return nil, lockError(dir, err)
	}
	d.lock = lock
	d.cache = pebble.NewCache(o.CacheBytes)
	d.rest = newRest(d.cache, o.CacheBytes)
	options := d.options(o)
	options.ReadOnly = full != nil
	type opened struct {
		db  *pebble.DB
		err error
	}
	done := make(chan opened, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- opened{err: fmt.Errorf("%w: %v", ErrDamaged, p)}
			}
		}()
		db, err := pebble.Open(dir, options)
		done <- opened{db, err}
	}()
	select {
	case got := <-done:
		if got.err == nil {
			d.db = got.db
			return d, nil
		}
		err = openError(dir, got.err)
		d.rest.close()
		d.cache.Unref()
	case <-d.latch.done:
		d.rest.close()
		err = d.latch.err // the opening goroutine is lost, as after any failed write
	case <-d.latch.full():
		d.rest.close()
		err = fmt.Errorf("open %s: %w", dir, d.latch.shortage())
		d.latch.giveUp() // the opening goroutine is lost too
	}
	d.held.Close()
	return nil, err
}

func (d *disk) options(o Options) *pebble.Options {
	options := &pebble.Options{
		FS:                          latchFS{o.FS, d.latch},
		Lock:                        d.lock,
		Cache:                       d.cache,
		FormatMajorVersion:          pebbleFormat,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       8, // not 4: a first load spends a tenth less, and reads after it take as long
		L0StopWritesThreshold:       32,
		WALBytesPerSync:             1 << 20,
		Logger:                      pebbleLog{o.Logger, d.latch},
		EventListener: &pebble.EventListener{
			// The reader gets the error; Pebble's default would end the process.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				o.Logger.Error("store is damaged", "path", info.Path, "err", info.Details)
			},
			BackgroundError: func(err error) { o.Logger.Error("store background work failed", "err", err) },
		},
	}
	// MinLZ, on arm64 Snappy: against Snappy 7 B less for a record of 200, in no more time.
	options.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range options.Levels {
		options.Levels[i].BlockSize = 16 << 10 // 285 B for a record of 200, 297 with 8 KiB
	}
	return options
}

// pebbleLog passes Pebble's complaints on. Fatalf never returns and never
// exits: it fails the store.
type pebbleLog struct {
	log   *slog.Logger
	latch *latch
}

func (l pebbleLog) Infof(string, ...any) {}
func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Warn("pebble", "message", fmt.Sprintf(format, args...))
}
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.latch.trip("pebble", fmt.Errorf(format, args...))
}

func lockError(dir string, err error) error {
	var path *fs.PathError
	var errno syscall.Errno
	if errors.As(err, &path) || errors.As(err, &errno) && errno != syscall.EAGAIN && errno != syscall.EACCES {
		return fmt.Errorf("store: lock %s: %w", dir, err)
	}
	return fmt.Errorf("%w: %s", ErrLocked, dir)
}

func openError(dir string, err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
	case strings.Contains(err.Error(), "unknown format major version"):
		return fmt.Errorf("%w: %s: %w", ErrNewer, dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("store: open %s: %w", dir, err)
	default:
		// What is left is about the files themselves: bad checksums, tables
		// that are missing, a manifest that does not parse.
		return fmt.Errorf("%w: open %s: %w", ErrDamaged, dir, err)
	}
	return fmt.Errorf("open %s: %w", dir, err)
}

// readError names what a failed read means. Whatever Pebble cannot read, it
// does not know to be absent.
func readError(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) }

func (d *disk) commit(batch []change) error {
	durable, err := d.apply(batch)
	if err != nil {
		return err
	}
	return durable()
}

func (d *disk) apply(batch []change, gone ...span) (durable func() error, err error) {
	size := 0
	for _, c := range batch {
		size += len(c.key) + len(c.value) + rowOverhead
	}
	d.rest.touch(size)
	b := d.db.NewBatchWithSize(size)
	for _, c := range batch {
		if c.value == nil {
			err = b.Delete(c.key, nil)
		} else {
			err = b.Set(c.key, c.value, nil)
		}
		if err != nil {
			return nil, d.refuse(err)
		}
	}
	for _, rows := range gone {
		if err := b.DeleteRange(rows.lo, rows.hi, nil); err != nil {
			return nil, d.refuse(err)
		}
	}
	if d.write.Sync {
		err = d.db.ApplyNoSyncWait(b, d.write)
	} else {
		err = d.db.Apply(b, d.write)
	}
	if err != nil {
		return nil, d.refuse(err)
	}
	return func() error {
		if d.write.Sync {
			if err := b.SyncWait(); err != nil {
				return d.refuse(err)
			}
		}
		b.Close()
		return nil
	}, nil
}

// rowOverhead is what a row takes in a batch beside its key and value.
const rowOverhead = 1 + 2*5

// refuse ends the store: a batch that Pebble could not apply, or not sync.
func (d *disk) refuse(err error) error {
	d.latch.fail("commit", err)
	return d.latch.failure()
}

func (d *disk) get(key []byte) ([]byte, error)  { return d.rest.get(d.db, key) }
func (d *disk) last(lo, hi []byte) (row, error) { return d.rest.last(d.db, lo, hi) }
func (d *disk) view() view                      { return diskView{d.db.NewSnapshot(), d.latch, d.rest} }
func (d *disk) failed() <-chan struct{}         { return d.latch.done }
func (d *disk) failure() error                  { return d.latch.failure() }
func (d *disk) full() <-chan struct{}           { return d.latch.full() }
func (d *disk) giveUp()                         { d.latch.giveUp() }
func (d *disk) compact(ctx context.Context, lo, hi []byte) error {
	return d.db.Compact(ctx, lo, hi, false)
}
func (d *disk) shortage() error {
	if d.only != nil {
		return d.only
	}
	return d.latch.shortage()
}
func (d *disk) free() (uint64, bool) {
	u, err := d.fs.GetDiskUsage(d.dir)
	return u.AvailBytes, err == nil
}
func (d *disk) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	return d.rest.chunk(d.db, lo, hi, max)
}

// close flushes, so that the next opening replays nothing, and gives the
// directory back. After a failure the database is left as it is: its
// goroutines may be blocked for ever, but none of them writes any more.
func (d *disk) close() error {
	d.rest.close()
	if d.latch.failure() != nil {
		d.held.Close()
		return d.latch.err
	}
	done := make(chan error, 1)
	go func() {
		var err error
		if d.only == nil {
			err = d.db.Flush()
		}
		if e := d.db.Close(); err == nil {
			err = e
		}
		d.cache.Unref()
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-d.latch.done:
		err = d.latch.err
	case <-d.latch.full():
		d.latch.giveUp() // the log holds what is not flushed
		err = d.latch.err
	}
	d.lock.Close()
	if e := d.held.Close(); err == nil {
		err = e
	}
	return err
}

// diskView is a Pebble snapshot.
type diskView struct {
	s     *pebble.Snapshot
	latch *latch
	rest  *rest
}

func (v diskView) get(key []byte) ([]byte, error)  { return v.rest.get(v.s, key) }
func (v diskView) last(lo, hi []byte) (row, error) { return v.rest.last(v.s, lo, hi) }
func (v diskView) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	return v.rest.chunk(v.s, lo, hi, max)
}
func (v diskView) close() error {
	if v.latch.failure() != nil {
		return nil // closing takes a lock that a failed write may hold
	}
	return v.s.Close()
}

func (d *disk) scan(spans []span, fn func(i int, key, value []byte) error) error {
	return d.rest.scan(d.db, spans, fn)
}

func (v diskView) scan(spans []span, fn func(i int, key, value []byte) error) error {
	return v.rest.scan(v.s, spans, fn)
}

func pebbleScan(r pebble.Reader, spans []span, fn func(i int, key, value []byte) error) (err error) {
	if len(spans) == 0 {
		return nil
	}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: spans[0].lo, UpperBound: spans[len(spans)-1].hi})
	if err != nil {
		return readError(err)
	}
	defer func() {
		if e := it.Close(); err == nil && e != nil {
			err = readError(e)
		}
	}()
	for i, s := range spans {
		if s.down {
			for ok := it.SeekLT(s.hi); ok && bytes.Compare(it.Key(), s.lo) >= 0; ok = it.Prev() {
				v, err := it.ValueAndErr()
				if err != nil {
					return readError(err)
				}
				if err := fn(i, it.Key(), v); errors.Is(err, errNext) {
					break
				} else if err != nil {
					return err
				}
			}
			if err := it.Error(); err != nil {
				return readError(err)
			}
			continue
		}
		for ok := it.SeekGE(s.lo); ok && (i == len(spans)-1 || bytes.Compare(it.Key(), s.hi) < 0); ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return readError(err)
			}
			if err := fn(i, it.Key(), v); errors.Is(err, errNext) {
				break
			} else if err != nil {
				return err
			}
		}
		if err := it.Error(); err != nil {
			return readError(err)
		}
	}
	return nil
}

func pebbleGet(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readError(err)
	}
	out := append([]byte{}, v...)
	return out, closer.Close()
}

// getMany walks one iterator: neighbours share the blocks it has open.
func (d *disk) getMany(keys [][]byte, fn func(i int, value []byte)) error {
	if len(keys) == 0 {
		return nil
	}
	d.rest.touch(len(keys) * readCost)
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: keys[0], UpperBound: append(bytes.Clone(keys[len(keys)-1]), 0)})
	if err != nil {
		return readError(err)
	}
	defer it.Close()
	for i, key := range keys {
		if !it.SeekGE(key) {
			if err := it.Error(); err != nil {
				return readError(err)
			}
			fn(i, nil)
			continue
		}
		if !bytes.Equal(it.Key(), key) {
			fn(i, nil)
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return readError(err)
		}
		fn(i, append([]byte{}, v...))
	}
	return nil
}

func pebbleLast(r pebble.Reader, lo, hi []byte) (out row, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return row{}, readError(err)
	}
	defer it.Close()
	if it.Last() {
		v, err := it.ValueAndErr()
		if err != nil {
			return row{}, readError(err)
		}
		return row{append([]byte{}, it.Key()...), append([]byte{}, v...)}, nil
	}
	if err := it.Error(); err != nil {
		return row{}, readError(err)
	}
	return row{}, nil
}

func pebbleChunk(r pebble.Reader, lo, hi []byte, max int) (rows []row, next []byte, err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lo, UpperBound: hi})
	if err != nil {
		return nil, nil, readError(err)
	}
	defer it.Close()
	var arena []byte
	keep := func(b []byte) []byte {
		if len(b) > cap(arena)-len(arena) {
			arena = make([]byte, 0, 8<<10+len(b))
		}
		begin := len(arena)
		arena = append(arena, b...)
		return arena[begin:len(arena):len(arena)]
	}
	for ok := it.First(); ok; ok = it.Next() {
		if len(rows) == max {
			return rows, append([]byte{}, it.Key()...), nil
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, nil, readError(err)
		}
		rows = append(rows, row{keep(it.Key()), keep(v)})
	}
	if err := it.Error(); err != nil {
		return nil, nil, readError(err)
	}
	return rows, nil, nil
}

var _ vfs.FS = latchFS{}
