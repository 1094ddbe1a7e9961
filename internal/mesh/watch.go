package mesh

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// watchEach is how often the interfaces' addresses are looked at. One look
// costs about a tenth of a millisecond.
const watchEach = 5 * time.Second

// sleptFor is how far the wall clock must run ahead of the other, which stands
// while a machine sleeps, to count as sleep.
const sleptFor = 15 * time.Second

// Watch tells when the ways to the network have changed: when the set of this
// machine's usable addresses is another one, and when the machine has slept,
// after which routers and peers have often forgotten us. It polls every 5 s.
type Watch struct {
	changed func()
	addrs   func() []netip.Addr
	now     func() (running, wall time.Time)
	done    chan struct{}
	running sync.WaitGroup
}

// WatchNetwork calls changed after every change, one call at a time, from a
// goroutine of its own. Container bridges and link-local addresses do not
// count.
func WatchNetwork(changed func()) *Watch {
	w := &Watch{changed: changed, addrs: interfaceAddrs, now: func() (time.Time, time.Time) {
		t := time.Now()
		return t, t.Round(0) // without the monotonic reading
	}}
	return w.start()
}

func (w *Watch) start() *Watch {
	w.done = make(chan struct{})
	w.running.Go(w.watch)
	return w
}

// Close ends it and returns when no call is under way. It must not be called
// twice, nor from the function given.
func (w *Watch) Close() {
	close(w.done)
	w.running.Wait()
}

func (w *Watch) watch() {
	tick := time.NewTicker(watchEach)
	defer tick.Stop()
	before := sorted(w.addrs())
	running, wall := w.now()
	for {
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
		addrs := sorted(w.addrs())
		runs, walls := w.now()
		slept := walls.Sub(wall)-runs.Sub(running) > sleptFor
		if slept || !slices.Equal(addrs, before) {
			w.changed()
		}
		before, running, wall = addrs, runs, walls
	}
}

func sorted(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
