package store

import (
	"context"
	"errors"
	"sync"

	"github.com/tidwall/btree"
)

// pair is a row of the memory engine. Keys are strings, so that nobody can
// change one that is in a tree.
type pair struct {
	key   string
	value []byte
}

func pairLess(a, b pair) bool { return a.key < b.key }

func newPairs() *btree.BTreeG[pair] {
	return btree.NewBTreeGOptions(pairLess, btree.Options{NoLocks: true})
}

// memoryView is one immutable tree.
type memoryView struct{ tree *btree.BTreeG[pair] }

func (v memoryView) get(key []byte) ([]byte, error) {
	p, ok := v.tree.Get(pair{key: string(key)})
	if !ok {
		return nil, nil
	}
	return append([]byte{}, p.value...), nil
}

func (v memoryView) last(lo, hi []byte) (row, error) {
	var found row
	high, low := string(hi), string(lo)
	v.tree.Descend(pair{key: high}, func(p pair) bool {
		if p.key == high {
			return true
		}
		if p.key >= low {
			found = row{[]byte(p.key), append([]byte{}, p.value...)}
		}
		return false
	})
	return found, nil
}

func (v memoryView) chunk(lo, hi []byte, max int) (rows []row, next []byte, err error) {
	high := string(hi)
	v.tree.Ascend(pair{key: string(lo)}, func(p pair) bool {
		if p.key >= high {
			return false
		}
		if len(rows) == max {
			next = []byte(p.key)
			return false
		}
		rows = append(rows, row{[]byte(p.key), append([]byte{}, p.value...)})
		return true
	})
	return rows, next, nil
}

func (v memoryView) scan(spans []span, fn func(i int, key, value []byte) error) (err error) {
	for i, s := range spans {
		low, high := string(s.lo), string(s.hi)
		if s.down {
			v.tree.Descend(pair{key: high}, func(p pair) bool {
				if p.key >= low && p.key < high {
					err = fn(i, []byte(p.key), p.value)
				}
				return err == nil && p.key >= low
			})
			if err != nil && !errors.Is(err, errNext) {
				return err
			}
			err = nil
			continue
		}
		v.tree.Ascend(pair{key: string(s.lo)}, func(p pair) bool {
			if p.key < high {
				err = fn(i, []byte(p.key), p.value)
			}
			return err == nil && p.key < high
		})
		if err != nil && !errors.Is(err, errNext) {
			return err
		}
		err = nil
	}
	return nil
}

func (memoryView) close() error { return nil }

// memory is the engine without a disk. A view costs O(1): trees are copied
// when written.
type memory struct {
	mu   sync.Mutex // guards tree: Copy marks both sides as shared
	tree *btree.BTreeG[pair]
	fail chan struct{} // never closed
	disk *Disk         // what outlives the store; nil: nothing does
}

func newMemory() *memory { return &memory{tree: newPairs(), fail: make(chan struct{})} }

func (m *memory) current() memoryView {
	m.mu.Lock()
	defer m.mu.Unlock()
	return memoryView{m.tree}
}

func (m *memory) get(key []byte) ([]byte, error)  { return m.current().get(key) }
func (m *memory) last(lo, hi []byte) (row, error) { return m.current().last(lo, hi) }
func (m *memory) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	return m.current().chunk(lo, hi, max)
}

func (m *memory) scan(spans []span, fn func(i int, key, value []byte) error) error {
	return m.current().scan(spans, fn)
}

func (m *memory) apply(batch []change, gone ...span) (durable func() error, err error) {
	m.advance(batch, gone)
	tree := m.tree
	return func() error {
		if m.disk != nil {
			m.disk.sync(m, tree)
		}
		return nil
	}, nil
}

func (m *memory) commit(batch []change) error {
	durable, err := m.apply(batch)
	if err != nil {
		return err
	}
	return durable()
}

// advance builds the next tree beside the current one: views share the current
// one and never see a half-applied batch.
func (m *memory) advance(batch []change, gone []span) {
	m.mu.Lock()
	next := m.tree.Copy()
	m.mu.Unlock()
	for _, c := range batch {
		if c.value == nil {
			next.Delete(pair{key: string(c.key)})
		} else {
			next.Set(pair{string(c.key), c.value})
		}
	}
	for _, rows := range gone {
		var keys []pair
		next.Ascend(pair{key: string(rows.lo)}, func(p pair) bool {
			keys = append(keys, p)
			return p.key < string(rows.hi)
		})
		for _, p := range keys {
			if p.key < string(rows.hi) {
				next.Delete(p)
			}
		}
	}
	m.mu.Lock()
	m.tree = next
	m.mu.Unlock()
}

func (m *memory) view() view              { return m.current() }
func (m *memory) failed() <-chan struct{} { return m.fail }
func (m *memory) failure() error          { return nil }
func (m *memory) full() <-chan struct{}   { return m.fail }
func (m *memory) shortage() error         { return nil }
func (m *memory) giveUp()                 {}
func (m *memory) compact(context.Context, []byte, []byte) error {
	return nil
}

func (m *memory) free() (uint64, bool) {
	if m.disk == nil {
		return 0, false
	}
	return m.disk.free(), true
}

func (m *memory) close() error {
	if m.disk != nil {
		m.disk.leave(m)
	}
	return nil
}
