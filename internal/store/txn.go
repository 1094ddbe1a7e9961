package store

import (
	"github.com/tidwall/btree"
)

// written is a row of a transaction: a nil value is a deletion.
type written struct {
	key   string
	value []byte
}

// txn is a batch that reads its own writes: an overlay over the last
// committed state. A request that fails is undone by rollback; what earlier
// requests of the same group wrote stays.
type txn struct {
	base reader
	tree *btree.BTreeG[written]
	undo []undone
}

type undone struct {
	key   string
	value []byte
	had   bool
}

func newTxn(base reader) *txn {
	less := func(a, b written) bool { return a.key < b.key }
	return &txn{base: base, tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// set keeps value: the caller does not change it afterwards. A nil value is
// stored as an empty one.
func (t *txn) set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	t.put(written{string(key), value})
}

func (t *txn) delete(key []byte) { t.put(written{key: string(key)}) }

func (t *txn) put(w written) {
	old, had := t.tree.Set(w)
	t.undo = append(t.undo, undone{w.key, old.value, had})
}

// mark forgets how to undo what was written so far.
func (t *txn) mark() { t.undo = t.undo[:0] }

// rollback undoes everything since mark.
func (t *txn) rollback() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		if u := t.undo[i]; u.had {
			t.tree.Set(written{u.key, u.value})
		} else {
			t.tree.Delete(written{key: u.key})
		}
	}
	t.mark()
}

func (t *txn) batch() []change {
	out := make([]change, 0, t.tree.Len())
	t.tree.Scan(func(w written) bool {
		out = append(out, change{[]byte(w.key), w.value})
		return true
	})
	return out
}

func (t *txn) get(key []byte) ([]byte, error) {
	if w, ok := t.tree.Get(written{key: string(key)}); ok {
		return w.value, nil
	}
	return t.base.get(key)
}

func (t *txn) last(lo, hi []byte) (row, error) {
	low, high := string(lo), string(hi)
	var own written
	t.tree.Descend(written{key: high}, func(w written) bool {
		if w.key == high || w.value == nil && w.key >= low {
			return true
		}
		if w.key >= low {
			own = w
		}
		return false
	})
	for {
		below, err := t.base.last(lo, hi)
		if err != nil {
			return row{}, err
		}
		if below.key != nil {
			w, changed := t.tree.Get(written{key: string(below.key)})
			if changed && w.value == nil {
				hi = below.key
				continue
			}
			if !changed && string(below.key) > own.key {
				return below, nil
			}
		}
		if own.value == nil {
			return row{}, nil
		}
		return row{[]byte(own.key), own.value}, nil
	}
}

func (t *txn) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	rows, next, err := t.base.chunk(lo, hi, max)
	if err != nil {
		return nil, nil, err
	}
	high := string(hi)
	if next != nil {
		high = string(next)
	}
	merged := rows[:0:0]
	i := 0
	t.tree.Ascend(written{key: string(lo)}, func(w written) bool {
		if w.key >= high {
			return false
		}
		for ; i < len(rows) && string(rows[i].key) < w.key; i++ {
			merged = append(merged, rows[i])
		}
		if i < len(rows) && string(rows[i].key) == w.key {
			i++
		}
		if w.value != nil {
			merged = append(merged, row{[]byte(w.key), w.value})
		}
		return true
	})
	return append(merged, rows[i:]...), next, nil
}
