package store

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// The cache is there while there is work and gone after; a little reading
// does not bring it back.
func TestAStoreAtRestKeepsNoBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := pebble.NewCache(64 << 20)
		defer cache.Unref()
		r := newRest(cache, 64<<20)
		for range 10 { // work goes on
			r.touch(wakeBytes)
			time.Sleep(restAfter)
			synctest.Wait()
			if r.asleep() {
				t.Fatal("at rest while a megabyte is read each time it looks")
			}
		}
		time.Sleep(restAfter)
		synctest.Wait()
		if !r.asleep() {
			t.Fatal("not at rest without work")
		}
		for range wakeBytes/readCost - 1 {
			r.touch(readCost)
		}
		if !r.asleep() {
			t.Error("awake too soon")
		}
		r.touch(readCost)
		if r.asleep() {
			t.Error("at rest with work")
		}
		time.Sleep(2 * restAfter)
		synctest.Wait()
		if !r.asleep() {
			t.Error("not at rest again")
		}
		r.close()
		r.close()
	})
}
