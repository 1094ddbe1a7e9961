package store

import (
	"sync"
	"sync/atomic"
	"time"

	"anabranch/reconcile"
)

// warm holds the items of the blocks that were read or written last, for all
// spaces together. What it lacks is read from the rows: it only saves time.
//
// A conversation goes over the same blocks several times, so while somebody
// reads, it may hold three times as much as otherwise: a million items fit.
type warm struct {
	serial  atomic.Uint64 // the last content number that was given out
	most    int           // items, while indexes are read
	resting int           // items otherwise
	used    atomic.Bool   // read since the last look

	mu      sync.Mutex // guards what follows
	blocks  map[uint64]*warmBlock
	newest  warmBlock // a ring: newest.next is the newest, newest.prev the oldest
	items   int
	limit   int  // most or resting
	looking bool // a timer runs, as more than resting items are held
}

// warmBlock is the items of one content number. They are never changed.
type warmBlock struct {
	content    uint64
	items      []reconcile.Item
	prev, next *warmBlock
}

// warmPart and restingPart are the parts of Options.CacheBytes, in eighths,
// that warm may have beside it: while indexes are read, and otherwise.
const (
	warmPart    = 3
	restingPart = 1
)

// itemBytes is what an item takes in memory.
const itemBytes = 40

func newWarm(cacheBytes int64) *warm {
	part := int(cacheBytes / 8 / itemBytes)
	w := &warm{most: warmPart * part, resting: restingPart * part, blocks: make(map[uint64]*warmBlock)}
	w.limit = w.resting
	w.newest.prev, w.newest.next = &w.newest, &w.newest
	return w
}

// read is get, for somebody who reads an index.
func (w *warm) read(content uint64) []reconcile.Item {
	if !w.used.Load() {
		w.used.Store(true)
	}
	return w.get(content)
}

// keep is put, for somebody who reads an index.
func (w *warm) keep(content uint64, items []reconcile.Item) {
	w.mu.Lock()
	w.limit = w.most
	w.mu.Unlock()
	w.put(content, items)
}

// overdue gives back what a reader needed who has been gone for restAfter.
func (w *warm) overdue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.used.Swap(false) {
		time.AfterFunc(restAfter, w.overdue)
		return
	}
	w.looking, w.limit = false, w.resting
	w.trim()
}

// trim forgets the oldest blocks beyond the limit.
func (w *warm) trim() {
	for w.items > w.limit && w.newest.prev != &w.newest {
		w.remove(w.newest.prev)
	}
}

// number is a name for a content that no block had before.
func (w *warm) number() uint64 { return w.serial.Add(1) }

func (b *warmBlock) unlink() { b.prev.next, b.next.prev = b.next, b.prev }

func (w *warm) front(b *warmBlock) {
	b.prev, b.next = &w.newest, w.newest.next
	b.prev.next, b.next.prev = b, b
}

// get returns the items with a content number, nil when they are not at hand.
func (w *warm) get(content uint64) []reconcile.Item {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.blocks[content]
	if b == nil {
		return nil
	}
	if w.newest.next != b {
		b.unlink()
		w.front(b)
	}
	return b.items
}

// put keeps items, which nobody changes from then on.
func (w *warm) put(content uint64, items []reconcile.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blocks[content] != nil {
		return
	}
	b := &warmBlock{content: content, items: items}
	w.blocks[content] = b
	w.front(b)
	w.items += len(items)
	w.trim()
	if w.items > w.resting && !w.looking {
		w.looking = true
		time.AfterFunc(restAfter, w.overdue)
	}
}

// take is get, and forgets the items: their block is about to be another.
func (w *warm) take(content uint64) []reconcile.Item {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := w.blocks[content]
	if b == nil {
		return nil
	}
	w.remove(b)
	return b.items
}

func (w *warm) remove(b *warmBlock) {
	b.unlink()
	delete(w.blocks, b.content)
	w.items -= len(b.items)
}
