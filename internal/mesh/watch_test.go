package mesh

import (
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchTellsOfChangesAndOfSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var addrs []netip.Addr
		var slept time.Duration
		changes := 0
		set := func(fn func()) {
			mu.Lock()
			fn()
			mu.Unlock()
			time.Sleep(2 * watchEach)
		}
		w := (&Watch{
			changed: func() { mu.Lock(); defer mu.Unlock(); changes++ },
			addrs:   func() []netip.Addr { mu.Lock(); defer mu.Unlock(); return slices.Clone(addrs) },
			now: func() (time.Time, time.Time) {
				mu.Lock()
				defer mu.Unlock()
				return time.Now(), time.Now().Add(slept)
			},
		}).start()
		home, vpn := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("10.8.0.2")
		for _, c := range []struct {
			what string
			do   func()
			want int
		}{
			{"nothing", func() {}, 0},
			{"an address comes", func() { addrs = []netip.Addr{home} }, 1},
			{"another comes", func() { addrs = []netip.Addr{vpn, home} }, 2},
			{"the order changes", func() { addrs = []netip.Addr{home, vpn} }, 2},
			{"one goes", func() { addrs = []netip.Addr{home} }, 3},
			{"the machine sleeps", func() { slept = time.Hour }, 4},
			{"the clock is put right by a second", func() { slept += time.Second }, 4},
		} {
			set(c.do)
			if mu.Lock(); changes != c.want {
				t.Errorf("%s: %d changes told, want %d", c.what, changes, c.want)
			}
			mu.Unlock()
		}
		w.Close()
	})
}

func TestWatchNetworkEnds(t *testing.T) {
	defer leakCheck(t)()
	WatchNetwork(func() { t.Error("nothing has changed") }).Close()
}

func BenchmarkLookAtAddresses(b *testing.B) {
	for b.Loop() {
		interfaceAddrs()
	}
}
