package store

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A store that has nothing to do keeps no blocks in memory: an idle replica
// shares its machine with other programs. The cache is full size while rows
// are read and written, and shrinks to nothing restAfter later. Small reads
// at rest go to the system's own cache of files.
const (
	restAfter = 5 * time.Second // without wakeBytes read or written
	wakeBytes = 1 << 20         // in all, since it came to rest
	readCost  = 4 << 10         // what a lookup counts for: it reads a block
)

// rest gives a cache its size while there is work and takes it away after.
// At rest no timer runs.
type rest struct {
	cache *pebble.Cache
	bytes int

	used atomic.Int64 // bytes of rows read and written since the last look

	mu      sync.Mutex // guards what follows
	release func()     // not nil: at rest
	look    *time.Timer
	closed  bool
}

// newRest begins awake, since opening a store reads it.
func newRest(cache *pebble.Cache, bytes int64) *rest {
	r := &rest{cache: cache, bytes: int(min(bytes, math.MaxInt))}
	r.look = time.AfterFunc(restAfter, r.overdue)
	return r
}

// touch notes that n bytes of rows were read or written.
func (r *rest) touch(n int) {
	if used := r.used.Add(int64(n)); used >= wakeBytes && used-int64(n) < wakeBytes {
		r.wake()
	}
}

func (r *rest) get(from pebble.Reader, key []byte) ([]byte, error) {
	r.touch(readCost)
	return pebbleGet(from, key)
}

func (r *rest) last(from pebble.Reader, lo, hi []byte) (row, error) {
	r.touch(readCost)
	return pebbleLast(from, lo, hi)
}

func (r *rest) chunk(from pebble.Reader, lo, hi []byte, max int) (rows []row, next []byte, err error) {
	rows, next, err = pebbleChunk(from, lo, hi, max)
	n := readCost
	for _, x := range rows {
		n += len(x.key) + len(x.value)
	}
	r.touch(n)
	return rows, next, err
}

func (r *rest) scan(from pebble.Reader, spans []span, fn func(i int, key, value []byte) error) error {
	n := len(spans) * readCost
	err := pebbleScan(from, spans, func(i int, key, value []byte) error {
		n += len(key) + len(value)
		return fn(i, key, value)
	})
	r.touch(n)
	return err
}

func (r *rest) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.release == nil || r.closed {
		return
	}
	r.release()
	r.release = nil
	r.look.Reset(restAfter)
}

// overdue looks at what was done since it looked last.
func (r *rest) overdue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.release != nil {
		return
	}
	if r.used.Swap(0) >= wakeBytes {
		r.look.Reset(restAfter)
		return
	}
	r.release = r.cache.Reserve(r.bytes)
}

// asleep reports whether the cache is taken away.
func (r *rest) asleep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.release != nil
}

// close ends the timer; the cache may be given back after it.
func (r *rest) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.look.Stop()
	if r.release != nil {
		r.release()
		r.release = nil
	}
}
