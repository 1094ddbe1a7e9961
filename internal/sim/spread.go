package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/internal/engine"
	"anabranch/record"
)

// crowd is a world of very many replicas: real engines and gossip, and in the
// place of a store a bit for each update, whose bytes are shared by all. Its
// sessions are modelled: equal sets cost a round trip, others two more, and
// then each side has what the other had. Links take a fixed time by pair.
type crowd struct {
	o        Options
	rng      *rand.Rand
	q        queue[happening]
	now      time.Duration
	trace    trace
	events   int
	space    record.SpaceID
	members  []gossip.Peer // ascending
	index    map[gossip.Peer]int32
	nodes    []node
	updates  []update
	byID     map[gossip.ID]int32
	split    bool // halves cannot reach each other
	result   Result
	reached  func(i int32, k int32) // sees every delivery; may be nil
	measure  bool                   // what is sent now is counted
	frame    engine.Frame           // the one that arrives now
	fresh    [1]engine.Fresh        // the one that enters now
	frames   uint64
	bytes    uint64
	copies   uint64
	payloads uint64 // measured or not
	ids      uint64
	blamed   map[[2]int32]bool // honest, and whom it charges
}

type node struct {
	key     gossip.Peer
	e       *engine.Engine
	tickAt  time.Duration
	born    time.Duration
	life    int32
	down    bool
	liar    bool
	had     []uint64 // a bit for each update
	count   int
	sum     uint64
	version uint64
	theirs  uint32
	links   []tie // open connections
	talks   []modelled
}

type tie struct {
	tag uint64 // the first bytes of its key, by which it is found
	to  int32
	up  bool
}

// modelled is a session: who began it, under which numbers.
type modelled struct {
	peer   int32
	ours   engine.Session
	theirs engine.Session // the peer's number
}

type update struct {
	id   gossip.ID
	body []byte
	at   time.Duration
	by   int32
	have int

	frames [][]byte // by hops, as they travel
}

type happening struct {
	to, from int32
	life     int32
	kind     uint8
	n        uint64
	frame    []byte
	call     func()
}

const (
	onFrame uint8 = iota
	onTick
	onUp
	onDown
	onAsk
	onAnswer
	onData
	onRefused
	onCall
)

// newCrowd makes replicas that know each other's keys and nothing else.
func newCrowd(o Options) *crowd {
	w := &crowd{
		o: o, rng: rand.New(rand.NewPCG(o.Seed, 0xc20d)), trace: freshTrace, space: record.SpaceID{1},
		index: make(map[gossip.Peer]int32, o.Replicas), nodes: make([]node, o.Replicas), byID: make(map[gossip.ID]int32),
		blamed: make(map[[2]int32]bool),
	}
	names := rand.New(rand.NewPCG(o.Seed, 0x6e0de5))
	keys := make([]gossip.Peer, o.Replicas)
	for i := range keys {
		fill(names, keys[i][:])
		w.index[keys[i]] = int32(i)
	}
	w.members = slices.Clone(keys)
	slices.SortFunc(w.members, func(a, b gossip.Peer) int { return slices.Compare(a[:], b[:]) })
	words := (o.Writes + warmup + 63) / 64
	bits := make([]uint64, words*o.Replicas)
	for i := range w.nodes {
		n := &w.nodes[i]
		n.tickAt, n.had = forever, bits[i*words:(i+1)*words:(i+1)*words]
		n.key = keys[i]
		w.create(int32(i))
	}
	return w
}

func fill(rng *rand.Rand, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.BigEndian.PutUint64(b, rng.Uint64())
	}
}

func (w *crowd) key(i int32) gossip.Peer { return w.nodes[i].key }

func (w *crowd) create(i int32) {
	n := &w.nodes[i]
	e, err := engine.New(engine.Options{
		Self: n.key, Rand: rand.New(rand.NewPCG(w.o.Seed^uint64(n.life)<<40, uint64(i))), SyncInterval: w.o.Interval,
		Gossip: gossip.Options{CacheAge: 5 * time.Second},
	})
	if err != nil {
		panic(err)
	}
	n.e, n.born = e, w.now
}

func (w *crowd) at(at time.Duration, f func()) {
	w.q.push(at, happening{kind: onCall, call: f})
}

// run lets everything happen up to a time, or until done says so.
func (w *crowd) run(until time.Duration, done func() bool) {
	for w.q.next() <= until && (done == nil || !done()) {
		at, h := w.q.pop()
		w.now = at
		if h.kind == onCall {
			h.call()
			continue
		}
		n := &w.nodes[h.to]
		if n.down || h.life != n.life || h.kind == onTick && n.tickAt != at {
			continue
		}
		w.events++
		w.trace.mix(uint64(at))
		w.trace.mix(uint64(h.to)<<32 | uint64(uint32(h.from)))
		w.trace.mix(uint64(h.kind)<<32 | uint64(len(h.frame)))
		w.happen(n, &h)
	}
	if done == nil || !done() {
		w.now = until
	}
}

func (w *crowd) happen(n *node, h *happening) {
	switch h.kind {
	case onTick:
		n.tickAt = forever
		w.step(h.to, engine.Tick{})
	case onFrame:
		w.trace.bytes(h.frame[:min(len(h.frame), 40)])
		if t := n.tie(h.from); t != nil && t.up {
			w.frame = engine.Frame{Peer: w.key(h.from), Bytes: h.frame}
			w.step(h.to, &w.frame)
		}
	case onUp:
		if t := n.tie(h.from); t != nil {
			t.up = true
			w.step(h.to, engine.PeerUp{Peer: w.key(h.from), RTT: 2 * w.near(h.to, h.from)})
			w.step(h.to, engine.StreamUp{Peer: w.key(h.from)})
		}
	case onDown:
		if n.tie(h.from) == nil {
			w.end(h.to, h.from)
			w.step(h.to, engine.PeerDown{Peer: w.key(h.from)})
		}
	default:
		w.session(n, h)
	}
}

// step gives an engine an input and does what it says.
func (w *crowd) step(i int32, in engine.Input) {
	n := &w.nodes[i]
	outs := n.e.Step(w.now-n.born, in)
	var few [2]engine.Judge
	judge := few[:0]
	for k := 0; k < len(outs); k++ {
		switch out := outs[k].(type) {
		case engine.Send:
			if t := n.tieTo(&out.Peer); t != nil && t.up {
				w.send(i, t.to, out.Frame)
			}
		case engine.Judge:
			judge = append(judge, out)
		case engine.Dial:
			w.dial(i, w.index[out.Peer])
		case engine.Hangup:
			w.hangup(i, w.index[out.Peer])
		case engine.Sync:
			w.sync(i, w.index[out.Peer], out.Session)
		case engine.Serve:
			w.serve(i, out.Session, true)
		case engine.Refuse:
			w.serve(i, out.Session, false)
		case engine.Charge:
			o := w.index[out.Peer]
			if !n.liar {
				w.blamed[[2]int32{i, o}] = true
			}
		}
	}
	for _, j := range judge {
		w.judge(i, j)
	}
	if next := n.e.Next(); next < forever-n.born {
		if at := max(w.now, next+n.born); at != n.tickAt {
			n.tickAt = at
			w.q.push(at, happening{to: i, from: i, life: n.life, kind: onTick})
		}
	}
}

func (w *crowd) push(d time.Duration, h happening) {
	h.life = w.nodes[h.to].life
	w.q.push(w.now+d, h)
}

// enter tells an engine of the space.
func (w *crowd) enter(i int32) {
	w.step(i, engine.Joined{Space: w.space, Members: w.members})
}

// judge answers a rumor.
func (w *crowd) judge(i int32, j engine.Judge) {
	n := &w.nodes[i]
	k, known := w.byID[j.ID]
	v := gossip.Accepted
	switch {
	case !known:
		v = gossip.Rejected
	case j.Bytes == nil && !n.has(k):
		v = gossip.Lost
	case j.Bytes != nil && string(j.Bytes) != string(w.updates[k].body):
		v = gossip.Rejected
	case n.has(k):
		v = gossip.Known
	}
	if v == gossip.Accepted {
		w.take(i, k)
	}
	w.step(i, engine.Judged{Space: w.space, ID: j.ID, Verdict: v})
	if v == gossip.Accepted {
		w.fresh[0] = engine.Fresh{ID: j.ID}
		w.step(i, engine.Committed{Space: w.space, Version: n.version, Fresh: w.fresh[:]})
	}
}

func (n *node) has(k int32) bool { return n.had[k/64]&(1<<(k%64)) != 0 }

// take makes an update the replica's.
func (w *crowd) take(i, k int32) {
	n, u := &w.nodes[i], &w.updates[k]
	n.had[k/64] |= 1 << (k % 64)
	n.count++
	n.version++
	n.sum += binary.BigEndian.Uint64(u.id[:])
	u.have++
	if w.reached != nil {
		w.reached(i, k)
	}
}

// publish writes an update at a replica.
func (w *crowd) publish(i int32, size int) {
	k := int32(len(w.updates))
	u := update{body: make([]byte, size), at: w.now, by: i}
	fill(w.rng, u.id[:])
	copy(u.body, u.id[:])
	w.byID[u.id] = k
	w.updates = append(w.updates, u)
	w.take(i, k)
	w.step(i, engine.Committed{Space: w.space, Version: w.nodes[i].version, Fresh: []engine.Fresh{{ID: u.id, Bytes: u.body, Own: true}}})
}
