package store

import (
	"bytes"
	"slices"

	"github.com/tidwall/btree"
)

// written is a row of a transaction: a nil value is a deletion.
type written struct{ key, value []byte }

// txn is a batch that reads its own writes: an overlay over the last
// committed state. A request that fails is undone by rollback; what earlier
// requests of the same group wrote stays.
type txn struct {
	base  reader
	tree  *btree.BTreeG[written]
	hints [256]btree.PathHint // by table: its rows are often written in order
	undo  []undone
	known map[string][]byte // of base: what prefetch found, nil for absent
	blank map[string]bool   // of base: prefixes below which prefetchBlank found nothing
}

type undone struct {
	written
	had bool
}

func newTxn(base reader) *txn {
	less := func(a, b written) bool { return bytes.Compare(a.key, b.key) < 0 }
	return &txn{base: base, tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// set keeps key and value: the caller changes neither afterwards. A nil value
// is stored as an empty one.
func (t *txn) set(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	t.put(written{key, value})
}

// delete keeps key: the caller does not change it afterwards.
func (t *txn) delete(key []byte) { t.put(written{key: key}) }

func (t *txn) put(w written) {
	old, had := t.tree.SetHint(w, &t.hints[w.key[0]])
	t.undo = append(t.undo, undone{written{w.key, old.value}, had})
}

// mark forgets how to undo what was written so far.
func (t *txn) mark() { t.undo = t.undo[:0] }

// rollback undoes everything since mark.
func (t *txn) rollback() {
	for i := len(t.undo) - 1; i >= 0; i-- {
		if u := t.undo[i]; u.had {
			t.tree.Set(u.written)
		} else {
			t.tree.Delete(u.written)
		}
	}
	t.mark()
}

// batch is every row, in order.
func (t *txn) batch() []change {
	out := make([]change, 0, t.tree.Len())
	t.tree.Scan(func(w written) bool {
		out = append(out, change(w))
		return true
	})
	return out
}

func (t *txn) get(key []byte) ([]byte, error) {
	if w, ok := t.tree.GetHint(written{key: key}, &t.hints[key[0]]); ok {
		return w.value, nil
	}
	if v, ok := t.known[string(key)]; ok {
		return v, nil
	}
	return t.base.get(key)
}

// prefetch looks keys up before get is asked for them, if base has a cheap
// way for many. It may change the order of keys.
func (t *txn) prefetch(keys [][]byte) error {
	many, ok := t.base.(gatherer)
	if !ok || len(keys) < 2 {
		return nil
	}
	slices.SortFunc(keys, bytes.Compare)
	if t.known == nil {
		t.known = make(map[string][]byte, len(keys))
	}
	return many.getMany(keys, func(i int, value []byte) { t.known[string(keys[i])] = value })
}

// prefetchBlank finds the prefixes below which base has nothing, so that last
// need not look. It may change their order.
func (t *txn) prefetchBlank(prefixes [][]byte) error {
	rows, ok := t.base.(scanner)
	if !ok || len(prefixes) < 2 {
		return nil
	}
	slices.SortFunc(prefixes, bytes.Compare)
	prefixes = slices.CompactFunc(prefixes, bytes.Equal)
	spans := make([]span, len(prefixes))
	if t.blank == nil {
		t.blank = make(map[string]bool, len(prefixes))
	}
	for i, p := range prefixes {
		spans[i] = span{lo: p, hi: successor(p)}
		t.blank[string(p)] = true
	}
	return rows.scan(spans, func(i int, _, _ []byte) error {
		delete(t.blank, string(prefixes[i]))
		return errNext
	})
}

func (t *txn) last(lo, hi []byte) (row, error) {
	var own written
	t.tree.Descend(written{key: hi}, func(w written) bool {
		inside := bytes.Compare(w.key, lo) >= 0
		if bytes.Equal(w.key, hi) || w.value == nil && inside {
			return true
		}
		if inside {
			own = w
		}
		return false
	})
	for !t.isBlank(lo) {
		below, err := t.base.last(lo, hi)
		if err != nil {
			return row{}, err
		}
		if below.key != nil {
			w, changed := t.tree.Get(written{key: below.key})
			if changed && w.value == nil {
				hi = below.key
				continue
			}
			if !changed && bytes.Compare(below.key, own.key) > 0 {
				return below, nil
			}
		}
		break
	}
	if own.value == nil {
		return row{}, nil
	}
	return row(own), nil
}

// isBlank reports whether prefetchBlank found nothing below a prefix. Rows of
// the transaction may be there.
func (t *txn) isBlank(prefix []byte) bool { return t.blank[string(prefix)] }

// rowsBelow counts the rows below a prefix that the transaction has written.
func (t *txn) rowsBelow(prefix []byte) (n int) {
	t.tree.Ascend(written{key: prefix}, func(w written) bool {
		if !bytes.HasPrefix(w.key, prefix) {
			return false
		}
		if w.value != nil {
			n++
		}
		return true
	})
	return n
}

func (t *txn) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	rows, next, err := t.base.chunk(lo, hi, max)
	if err != nil {
		return nil, nil, err
	}
	if next != nil {
		hi = next
	}
	merged := rows[:0:0]
	i := 0
	t.tree.Ascend(written{key: lo}, func(w written) bool {
		if bytes.Compare(w.key, hi) >= 0 {
			return false
		}
		for ; i < len(rows) && bytes.Compare(rows[i].key, w.key) < 0; i++ {
			merged = append(merged, rows[i])
		}
		if i < len(rows) && bytes.Equal(rows[i].key, w.key) {
			i++
		}
		if w.value != nil {
			merged = append(merged, row(w))
		}
		return true
	})
	return append(merged, rows[i:]...), next, nil
}
