package gossip_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"anabranch/gossip"
)

// world is many machines in one loop of virtual time: no goroutine, no
// clock, one seed. It is the least that shows what gossip costs; faults,
// stores and sessions are the simulator's.
type world struct {
	t     testing.TB
	rng   *rand.Rand
	nodes []node
	index map[gossip.Peer]int32
	keys  []gossip.Peer // by machine
	order []gossip.Peer // all members, ascending
	heap  []event
	seq   uint64
	now   time.Duration

	links  map[[2]int32]bool
	judge  func(i int32, d gossip.Deliver) gossip.Verdict                          // default: Accepted
	carry  func(from, to int32, frame []byte) []byte                               // default: as it is; nil: lost
	near   func(from, to int32) time.Duration                                      // default: 10–50 ms, by pair
	refuse func(from, to int32) bool                                               // a Connect fails
	onSend func(from, to int32, frame []byte)                                      // sees what is sent
	got    func(i int32, id gossip.ID, verdict gossip.Verdict, now time.Duration)  // sees verdicts
	log    func(i int32, in gossip.Input, outs []gossip.Output, now time.Duration) // sees everything

	events  int
	rumors  int
	trace   uint64
	charges map[[2]int32][]gossip.Reason
	missed  int
}

type node struct {
	m      *gossip.Machine
	tickAt time.Duration
	links  []int32
	dead   bool
}

type kind uint8

const (
	frameEvent kind = iota
	tickEvent
	upEvent
	downEvent
	callEvent
)

type event struct {
	at       time.Duration
	seq      uint64
	to, from int32
	kind     kind
	frame    []byte
	call     func()
}

// newWorld makes n machines that know each other's keys and have no links.
func newWorld(t testing.TB, n int, seed uint64, o gossip.Options) *world {
	rng := rand.New(rand.NewPCG(seed, 0x6e0de5))
	return newNamedWorld(t, n, seed, o, func(int) (p gossip.Peer) {
		for j := 0; j < 32; j += 8 {
			binary.BigEndian.PutUint64(p[j:], rng.Uint64())
		}
		return p
	})
}

// newNamedWorld is newWorld with keys that are given.
func newNamedWorld(t testing.TB, n int, seed uint64, o gossip.Options, name func(i int) gossip.Peer) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0x90551b)), nodes: make([]node, n),
		index: make(map[gossip.Peer]int32, n), links: map[[2]int32]bool{},
		trace: 14695981039346656037, charges: map[[2]int32][]gossip.Reason{},
	}
	for i := range w.nodes {
		p := name(i)
		w.index[p] = int32(i)
		w.keys = append(w.keys, p)
	}
	w.order = slices.Clone(w.keys)
	slices.SortFunc(w.order, func(a, b gossip.Peer) int { return slices.Compare(a[:], b[:]) })
	for i := range w.nodes {
		o.Self, o.Rand = w.keys[i], rand.New(rand.NewPCG(seed, uint64(i)))
		m, err := gossip.New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = node{m: m, tickAt: never}
	}
	w.near = func(a, b int32) time.Duration {
		h := uint64(min(a, b))<<32 | uint64(max(a, b))
		h = (h ^ seed) * 0x9e3779b97f4a7c15
		return 10*time.Millisecond + time.Duration(h>>32%40_000)*time.Microsecond
	}
	return w
}

const never = time.Duration(1<<63 - 1)

func (w *world) push(e event) {
	e.seq = w.seq
	w.seq++
	w.heap = append(w.heap, e)
	h := w.heap
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 4
		if !before(&h[i], &h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func before(a, b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func (w *world) pop() event {
	h := w.heap
	e, n := h[0], len(h)-1
	h[0] = h[n]
	h[n] = event{}
	h = h[:n]
	w.heap = h
	for i := 0; ; {
		least := i
		for down := 4*i + 1; down <= 4*i+4 && down < n; down++ {
			if before(&h[down], &h[least]) {
				least = down
			}
		}
		if least == i {
			return e
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// at calls f at a time.
func (w *world) at(at time.Duration, f func()) { w.push(event{at: at, kind: callEvent, call: f}) }

// run handles everything up to the time, or until done says so.
func (w *world) run(until time.Duration, done func() bool) {
	for len(w.heap) > 0 && w.heap[0].at <= until && (done == nil || !done()) {
		e := w.pop()
		w.now = e.at
		if e.kind == callEvent {
			e.call()
			continue
		}
		n := &w.nodes[e.to]
		if n.dead || e.kind == tickEvent && n.tickAt != e.at {
			continue
		}
		w.events++
		w.mark(&e)
		switch e.kind {
		case frameEvent:
			w.step(e.to, gossip.Frame{Peer: w.keys[e.from], Bytes: e.frame})
		case tickEvent:
			n.tickAt = never
			w.step(e.to, gossip.Tick{})
		case upEvent:
			w.step(e.to, gossip.PeerUp{Peer: w.keys[e.from], RTT: 2 * w.near(e.from, e.to)})
		case downEvent:
			w.step(e.to, gossip.PeerDown{Peer: w.keys[e.from]})
		}
	}
	if done == nil || !done() {
		w.now = until
	}
}

// mark adds an event to the trace hash (FNV-1a).
func (w *world) mark(e *event) {
	mix := func(v uint64) {
		w.trace = (w.trace ^ v) * 1099511628211
	}
	mix(uint64(e.at))
	mix(uint64(e.to)<<32 | uint64(uint32(e.from)))
	mix(uint64(e.kind)<<32 | uint64(len(e.frame)))
	for _, b := range e.frame[:min(len(e.frame), 48)] {
		mix(uint64(b))
	}
}

// step gives a machine one input and does what it says.
func (w *world) step(i int32, in gossip.Input) {
	n := &w.nodes[i]
	outs := n.m.Step(w.now, in)
	if w.log != nil {
		w.log(i, in, outs, w.now)
	}
	var delivers []gossip.Deliver
	for _, out := range outs {
		switch out := out.(type) {
		case gossip.Send:
			w.send(i, w.index[out.Peer], out.Frame)
		case gossip.Deliver:
			delivers = append(delivers, out)
		case gossip.Connect:
			w.connect(i, w.index[out.Peer])
		case gossip.Close:
			w.disconnect(i, w.index[out.Peer])
		case gossip.Charge:
			pair := [2]int32{i, w.index[out.Peer]}
			w.charges[pair] = append(w.charges[pair], out.Reason)
		case gossip.Missed:
			w.missed++
		}
	}
	if at := max(w.now, n.m.Next()); at != n.tickAt && at != never {
		n.tickAt = at
		w.push(event{at: at, to: i, kind: tickEvent})
	}
	for _, d := range delivers {
		v := gossip.Accepted
		if w.judge != nil {
			v = w.judge(i, d)
		}
		if w.got != nil {
			w.got(i, d.Rumor.ID, v, w.now)
		}
		w.step(i, gossip.Judged{ID: d.Rumor.ID, Verdict: v})
	}
}

func (w *world) send(from, to int32, frame []byte) {
	if w.onSend != nil {
		w.onSend(from, to, frame)
	}
	if w.carry != nil {
		if frame = w.carry(from, to, frame); frame == nil {
			return
		}
	}
	w.push(event{at: w.now + w.near(from, to), to: to, from: from, kind: frameEvent, frame: frame})
}

func pairOf(a, b int32) [2]int32 { return [2]int32{min(a, b), max(a, b)} }

func (w *world) connect(from, to int32) {
	if w.nodes[to].dead || w.refuse != nil && w.refuse(from, to) {
		w.push(event{at: w.now + time.Second, to: from, from: to, kind: downEvent})
		return
	}
	rtt := 2 * w.near(from, to)
	if !w.links[pairOf(from, to)] {
		w.links[pairOf(from, to)] = true
		w.nodes[from].links = append(w.nodes[from].links, to)
		w.nodes[to].links = append(w.nodes[to].links, from)
		w.push(event{at: w.now + rtt/2, to: to, from: from, kind: upEvent})
	}
	w.push(event{at: w.now + rtt, to: from, from: to, kind: upEvent})
}

// disconnect takes a link down: what was sent on it before still arrives.
func (w *world) disconnect(from, to int32) {
	if !w.links[pairOf(from, to)] {
		return
	}
	w.unlink(from, to)
	w.push(event{at: w.now, to: from, from: to, kind: downEvent})
	w.push(event{at: w.now + w.near(from, to), to: to, from: from, kind: downEvent})
}

func (w *world) unlink(a, b int32) {
	delete(w.links, pairOf(a, b))
	for _, x := range [2][2]int32{{a, b}, {b, a}} {
		n := &w.nodes[x[0]]
		n.links = slices.DeleteFunc(n.links, func(o int32) bool { return o == x[1] })
	}
}

// crash stops a machine for good. Its peers see it two to four seconds later.
func (w *world) crash(i int32) {
	n := &w.nodes[i]
	n.dead = true
	for _, o := range slices.Clone(n.links) {
		w.unlink(i, o)
		w.push(event{at: w.now + 2*time.Second + time.Duration(w.rng.Int64N(int64(2*time.Second))), to: o, from: i, kind: downEvent})
	}
}

// join gives every machine the member list, one after the other.
func (w *world) join(every time.Duration) {
	for i := range w.nodes {
		w.at(w.now+time.Duration(i)*every, func() { w.step(int32(i), gossip.Members{Peers: w.order}) })
	}
}

// rumor is the k-th of a world, with a payload of that size.
func rumor(k, size int) gossip.Rumor {
	r := gossip.Rumor{Payload: make([]byte, size)}
	rng := rand.New(rand.NewPCG(uint64(k), 7))
	for j := 0; j < 32; j += 8 {
		binary.BigEndian.PutUint64(r.ID[j:], rng.Uint64())
	}
	copy(r.Payload, r.ID[:])
	return r
}

// rumor is the next of the world.
func (w *world) rumor(size int) gossip.Rumor {
	w.rumors++
	return rumor(1000+w.rumors, size)
}

// total sums what all machines did.
func (w *world) total() gossip.Stats {
	var s gossip.Stats
	for i := range w.nodes {
		t := w.nodes[i].m.Stats()
		s.Published += t.Published
		s.Accepted += t.Accepted
		s.Rejected += t.Rejected
		s.Copies += t.Copies
		s.Duplicates += t.Duplicates
		s.Offered += t.Offered
		s.Grafts += t.Grafts
		s.Prunes += t.Prunes
		s.FramesOut += t.FramesOut
		s.BytesOut += t.BytesOut
		s.Dropped += t.Dropped
	}
	return s
}
