package store

import (
	"testing"
	"testing/synctest"
	"time"

	"anabranch/reconcile"
)

// Who reads an index has three eighths of the cache beside it, as long as it
// reads; who only writes has one.
func TestBlocksThatAreReadStayWhileTheyAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWarm(8 * 100 * itemBytes) // 100 items at rest, 300 in use
		held := func() int {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.items
		}
		write := func() { w.put(w.number(), make([]reconcile.Item, 10)) }
		for range 50 {
			write()
		}
		if n := held(); n != 100 {
			t.Errorf("%d items after writes, want 100", n)
		}
		var contents []uint64
		for range 50 {
			contents = append(contents, w.number())
			w.keep(contents[len(contents)-1], make([]reconcile.Item, 10))
		}
		if n := held(); n != 300 {
			t.Errorf("%d items after reads, want 300", n)
		}
		for range 5 {
			if w.read(contents[49]) == nil {
				t.Fatal("what was read last is gone")
			}
			time.Sleep(restAfter - time.Second)
			synctest.Wait()
			if n := held(); n != 300 {
				t.Fatalf("%d items while they are read, want 300", n)
			}
		}
		time.Sleep(3 * restAfter)
		synctest.Wait()
		if n := held(); n != 100 || w.read(contents[49]) == nil || w.read(contents[30]) != nil {
			t.Errorf("%d items at rest, want the last 100", n)
		}
		write()
		if n := held(); n != 100 {
			t.Errorf("%d items after another write, want 100", n)
		}
	})
}

// counting counts the rows that a reader was handed.
type counting struct {
	scanner
	rows int
}

func (c *counting) scan(spans []span, fn func(i int, key, value []byte) error) error {
	return c.scanner.scan(spans, func(i int, key, value []byte) error {
		c.rows++
		return fn(i, key, value)
	})
}

// Among the rows of an old snapshot lie those that came since: a question that
// is asked of it again and again, as for each record that arrives, must not go
// over them again and again.
func TestAnOldSnapshotReadsABlockOnce(t *testing.T) {
	for _, cache := range []int64{0, 1 << 20} { // what fits into memory, and what does not
		w := newWarm(cache)
		items := make([]reconcile.Item, 100)
		for i := range items {
			items[i] = reconcile.Item{Time: uint64(i), ID: reconcile.ID{byte(i)}}
		}
		engine := rowsOfItems{newMemory()}
		engine.change(items, +1)
		rows := &counting{scanner: engine}
		b := newBlocks(w, defaultBlocks)
		b.apply(items, +1)
		ix := newBlockIndex(rows, 1, b)
		w.take(ix.blocks.position(0).content) // the next group has written to it
		for i := range 100 {
			if n, err := ix.LowerBound(reconcile.Bound{Time: 1<<50 + uint64(i)}); n != 100 || err != nil {
				t.Fatal(n, err)
			}
			if n, err := ix.LowerBound(reconcile.BoundAt(items[i])); n != i || err != nil {
				t.Fatal(n, err)
			}
		}
		if rows.rows > 200 {
			t.Errorf("%d rows were read for a block of 100", rows.rows)
		}
	}
}
