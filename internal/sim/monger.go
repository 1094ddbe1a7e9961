package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"anabranch/gossip"
)

// mongers is a world of gossip machines in a mode of rumor mongering: no
// connections, no faults; each round everybody contacts one member.
type mongers struct {
	o      Options
	rng    *rand.Rand
	q      queue[happening]
	now    time.Duration
	trace  trace
	events int
	keys   []gossip.Peer
	index  map[gossip.Peer]int32
	ms     []*gossip.Machine
	ticks  []time.Duration
	have   int // replicas with the present record
	copies uint64
	bytes  uint64
}

// monger simulates mongering, one record after the other.
func monger(ctx context.Context, o Options, mode gossip.Mode) (Result, error) {
	n := o.Replicas
	w := &mongers{
		o: o, rng: rand.New(rand.NewPCG(o.Seed, 0x3096e4)), trace: freshTrace,
		keys: make([]gossip.Peer, n), index: make(map[gossip.Peer]int32, n), ms: make([]*gossip.Machine, n), ticks: make([]time.Duration, n),
	}
	for i := range w.keys {
		fill(w.rng, w.keys[i][:])
		w.index[w.keys[i]] = int32(i)
	}
	members := slices.Clone(w.keys)
	slices.SortFunc(members, func(a, b gossip.Peer) int { return slices.Compare(a[:], b[:]) })
	for i := range w.ms {
		m, err := gossip.New(gossip.Options{Self: w.keys[i], Rand: rand.New(rand.NewPCG(o.Seed, uint64(i))), Mode: mode})
		if err != nil {
			return Result{}, err
		}
		w.ms[i], w.ticks[i] = m, forever
		w.step(int32(i), gossip.Members{Peers: members})
	}
	r := Result{Delays: make([]int, mostDelay+1)}
	sum := 0
	for k := range o.Writes {
		var rumor gossip.Rumor
		fill(w.rng, rumor.ID[:])
		rumor.Payload = make([]byte, o.Payload)
		copy(rumor.Payload, rumor.ID[:])
		w.have = 1
		began := w.now / time.Second
		w.step(int32(w.rng.IntN(n)), gossip.Publish{Rumor: rumor})
		for w.have < n && w.q.next() < forever && ctx.Err() == nil && w.now < time.Duration(began+200)*time.Second {
			w.run(w.now+100*time.Millisecond, false)
			r.Curve = append(r.Curve, [2]int64{w.now.Milliseconds(), int64(w.have)})
			o.Progress(Progress{Phase: "round", Now: w.now, Written: k + 1, Events: w.events,
				Reached: (float64(k) + float64(w.have)/float64(n)) / float64(o.Writes), Equal: float64(w.have) / float64(n)})
		}
		rounds := int(w.now/time.Second - began)
		r.Rounds, sum = max(r.Rounds, rounds), sum+rounds
		r.Reached += float64(w.have) / float64(n) / float64(o.Writes)
		if w.have < n {
			break
		}
		w.run((w.now/time.Second+1)*time.Second, true) // the next is written at the beginning of a round
	}
	r.Converged, r.Records = w.have == n, o.Writes
	r.MeanRounds = float64(sum) / float64(o.Writes)
	deliveries := float64(o.Writes * (n - 1))
	r.Copies, r.Bytes = float64(w.copies)/deliveries, float64(w.bytes)/float64(o.Writes*n)
	r.finish(o, w.now, w.events, w.trace)
	return r, ctx.Err()
}

// run lets everything happen up to a time, or until everybody has the record.
func (w *mongers) run(until time.Duration, all bool) {
	for w.q.next() <= until && (all || w.have < len(w.ms)) {
		at, h := w.q.pop()
		w.now = at
		if h.kind == onTick {
			if w.ticks[h.to] != at {
				continue
			}
			w.ticks[h.to] = forever
		}
		w.events++
		w.trace.mix(uint64(at))
		w.trace.mix(uint64(h.to)<<32 | uint64(uint32(h.from)))
		if h.kind == onTick {
			w.step(h.to, gossip.Tick{})
		} else {
			w.trace.bytes(h.frame[:min(len(h.frame), 40)])
			w.step(h.to, gossip.Frame{Peer: w.keys[h.from], Bytes: h.frame})
		}
	}
	if all || w.have < len(w.ms) {
		w.now = until
	}
}

func (w *mongers) step(i int32, in gossip.Input) {
	m := w.ms[i]
	var got []gossip.ID
	for _, out := range m.Step(w.now, in) {
		switch out := out.(type) {
		case gossip.Send:
			w.bytes += uint64(len(out.Frame)) + 2
			if gossip.FrameType(out.Frame[0]) == gossip.RumorFrame {
				w.copies++
			}
			to := w.index[out.Peer]
			w.q.push(w.now+w.near(i, to), happening{to: to, from: i, kind: onFrame, frame: out.Frame})
		case gossip.Deliver:
			got = append(got, out.Rumor.ID)
		}
	}
	for _, id := range got {
		w.have++
		w.step(i, gossip.Judged{ID: id, Verdict: gossip.Accepted})
	}
	if next := m.Next(); next < forever {
		if at := max(w.now, next); at != w.ticks[i] {
			w.ticks[i] = at
			w.q.push(at, happening{to: i, from: i, kind: onTick})
		}
	}
}

func (w *mongers) near(a, b int32) time.Duration {
	h := uint64(min(a, b))<<32 | uint64(max(a, b))
	h = (h ^ w.o.Seed) * 0x9e3779b97f4a7c15
	span := uint64(w.o.LatencyMost - w.o.LatencyLeast)
	return w.o.LatencyLeast + time.Duration((h>>32)*1000%max(1, span))
}
