package gossip_test

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"anabranch/gossip"
)

var (
	big  = flag.Bool("big", false, "also run the worlds of 10 000 machines, and of 100 000 in push-pull")
	huge = flag.Int("huge", 3, "worlds of 100 000 with -big")
)

// spreading is what a world of Mode Tree showed.
type spreading struct {
	n, updates     int
	reached        float64 // deliveries, of those due
	copies, ihaves float64 // per delivery
	bytes, frames  float64 // per update and replica
	p50, p99, last time.Duration
	degree         float64
	grafts         uint64
	events         int
	trace          uint64
	delays         []time.Duration // ascending
}

// pool adds another world of the same kind. The trace stays the first one's.
func (s *spreading) pool(o spreading, worlds float64) {
	mean := func(a *float64, b float64) { *a += (b - *a) / worlds }
	mean(&s.reached, o.reached)
	mean(&s.copies, o.copies)
	mean(&s.ihaves, o.ihaves)
	mean(&s.bytes, o.bytes)
	mean(&s.frames, o.frames)
	mean(&s.degree, o.degree)
	s.updates += o.updates
	s.grafts += o.grafts
	s.events += o.events
	s.delays = append(s.delays, o.delays...)
	s.rank()
}

func (s *spreading) rank() {
	d := s.delays
	slices.Sort(d)
	s.p50, s.p99, s.last = d[len(d)/2], d[len(d)*99/100], d[len(d)-1]
}

func (s spreading) String() string {
	return fmt.Sprintf("%6d replicas, %d updates: reached %.4f %%, %.3f copies, %.2f ids, %.0f bytes in %.2f frames, p50 %d p99 %d max %d ms, degree %.2f, %d grafts, %d events, trace %016x",
		s.n, s.updates, 100*s.reached, s.copies, s.ihaves, s.bytes, s.frames, s.p50.Milliseconds(), s.p99.Milliseconds(), s.last.Milliseconds(), s.degree, s.grafts, s.events, s.trace)
}

// settled is a world of Mode Tree whose overlay had time to form.
func settled(t testing.TB, n int, seed uint64, o gossip.Options) *world {
	w := newWorld(t, n, seed, o)
	w.join(max(time.Millisecond, 200*time.Millisecond/time.Duration(n)))
	w.run(time.Duration(n)*time.Millisecond+45*time.Second, nil)
	return w
}

// spread publishes updates from random replicas at a rate a second, after
// some that shape the tree, and measures.
func spread(w *world, warm, updates int, rate float64, size int) spreading {
	gap := time.Duration(float64(time.Second) / rate)
	for k := range warm {
		w.at(w.now+time.Duration(k)*gap, func() {
			w.step(int32(w.rng.IntN(len(w.nodes))), gossip.Publish{Rumor: w.rumor(size)})
		})
	}
	w.run(w.now+time.Duration(warm)*gap+3*time.Second, nil)

	before := w.total()
	began := make(map[gossip.ID]time.Duration, updates)
	var delays []time.Duration
	w.got = func(_ int32, id gossip.ID, v gossip.Verdict, now time.Duration) {
		if at, ok := began[id]; ok && v == gossip.Accepted {
			delays = append(delays, now-at)
		}
	}
	for k := range updates {
		w.at(w.now+time.Duration(k)*gap, func() {
			r := w.rumor(size)
			began[r.ID] = w.now
			w.step(int32(w.rng.IntN(len(w.nodes))), gossip.Publish{Rumor: r})
		})
	}
	w.run(w.now+time.Duration(updates)*gap+5*time.Second, nil)
	after := w.total()
	n := len(w.nodes)
	s := spreading{
		n: n, updates: updates, events: w.events, trace: w.trace,
		reached: float64(len(delays)) / float64(updates*(n-1)),
		copies:  float64(after.Copies-before.Copies) / float64(len(delays)),
		ihaves:  float64(after.Offered-before.Offered) / float64(len(delays)),
		bytes:   float64(after.BytesOut-before.BytesOut+2*(after.FramesOut-before.FramesOut)) / float64(updates*n),
		frames:  float64(after.FramesOut-before.FramesOut) / float64(updates*n),
		grafts:  after.Grafts - before.Grafts,
		delays:  delays,
	}
	s.rank()
	for i := range w.nodes {
		s.degree += float64(len(w.nodes[i].m.Neighbors())) / float64(n)
	}
	return s
}

// TestTreeMeetsItsNumbers: copies, bytes and delays in the steady state, 256
// byte payloads, 2 updates a second from anywhere, links of 10 to 50 ms.
func TestTreeMeetsItsNumbers(t *testing.T) {
	for _, c := range []struct {
		n, seeds, more int // more seeds with -big
		copies         float64
		p99            time.Duration
	}{
		{10, 10, 30, 1.15, 150 * time.Millisecond},
		{100, 3, 30, 1.15, 500 * time.Millisecond},
		{1000, 1, 5, 1.2, 650 * time.Millisecond},
		{10_000, 0, 1, 1.25, 800 * time.Millisecond},
	} {
		t.Run(strconv.Itoa(c.n), func(t *testing.T) {
			seeds, updates, o := c.seeds, 25, gossip.Options{}
			if *big {
				seeds, updates = c.more, 50
			}
			if c.n > 1000 {
				o.CacheAge = 3 * time.Second // who grafts does so within two
			}
			if seeds == 0 {
				t.Skip("ten thousand machines take minutes: run with -big")
			}
			var s spreading
			began := time.Now()
			for seed := range seeds {
				one := spread(settled(t, c.n, uint64(seed+1), o), updates, updates, 2, 256)
				if seed == 0 {
					s = one
				} else {
					s.pool(one, float64(seed+1))
				}
			}
			t.Logf("%2d worlds: %v, %.1f s", seeds, s, time.Since(began).Seconds())
			if s.reached != 1 || s.copies > c.copies || s.bytes > 800 || s.p99 > c.p99 {
				t.Errorf("%d replicas: want all reached, copies <= %v, bytes <= 800, p99 <= %v", c.n, c.copies, c.p99)
			}
		})
	}
}
