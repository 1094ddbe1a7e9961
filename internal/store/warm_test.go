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
