package store

import (
	"sync"
	"sync/atomic"

	"anabranch/reconcile"
)

// warm holds the items of the blocks that were read or written last, for all
// spaces together. What it lacks is read from the rows: it only saves time.
type warm struct {
	serial atomic.Uint64 // the last content number that was given out
	most   int           // items

	mu     sync.Mutex // guards what follows
	blocks map[uint64]*warmBlock
	newest warmBlock // a ring: newest.next is the newest, newest.prev the oldest
	items  int
}

// warmBlock is the items of one content number. They are never changed.
type warmBlock struct {
	content    uint64
	items      []reconcile.Item
	prev, next *warmBlock
}

// warmPart is the part of Options.CacheBytes that warm may have beside it.
const warmPart = 8

// itemBytes is what an item takes in memory.
const itemBytes = 40

func newWarm(bytes int64) *warm {
	w := &warm{most: int(bytes / itemBytes), blocks: make(map[uint64]*warmBlock)}
	w.newest.prev, w.newest.next = &w.newest, &w.newest
	return w
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
	for w.items > w.most && w.newest.prev != &w.newest {
		w.remove(w.newest.prev)
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
