package engine

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

// world is a few engines, links that take time, and sets of IDs in the place
// of stores. Its sessions exchange two sets whole, after a round trip.
type world struct {
	t     *testing.T
	rand  *rand.Rand
	now   time.Duration
	space record.SpaceID
	nodes []*node
	queue events
	count int
	cut   func(a, b int) bool // no connection between them
	delay time.Duration       // of a frame; varied by half

	frames   int // sent between engines
	sessions int
	moved    int // records that sessions moved
	twice    int // of them, those that the receiver had by then
	trace    func(string)
}

type node struct {
	w       *world
	index   int
	key     Peer
	engine  *Engine
	has     map[ID][]byte
	version uint64
	judge   func(id ID, b []byte) gossip.Verdict // nil accepts
	links   map[int]bool
	charged []Charge
	syncs   []Sync
	off     bool
	waiting map[Session]func(bool)
	theirs  Session
	plain   bool // speaks sessions only
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].order < q[j].order
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func keyOf(i int) Peer { return sha256.Sum256(fmt.Appendf(nil, "replica %d", i)) }

func newWorld(t *testing.T, n int, seed uint64, change func(*Options)) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), space: record.SpaceID{7}, delay: 10 * time.Millisecond}
	var members []Peer
	for i := range n {
		members = append(members, keyOf(i))
	}
	slices.SortFunc(members, compare)
	for i := range n {
		o := Options{Self: keyOf(i), Rand: rand.New(rand.NewPCG(seed, uint64(i)+10))}
		if change != nil {
			change(&o)
		}
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		w.nodes = append(w.nodes, &node{
			w: w, index: i, key: o.Self, engine: e, has: map[ID][]byte{},
			links: map[int]bool{}, waiting: map[Session]func(bool){}, theirs: Theirs,
		})
	}
	for _, n := range w.nodes {
		n.step(Joined{Space: w.space, Members: members})
	}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, event{w.now + d, w.count, do})
}

func (w *world) latency() time.Duration {
	return w.delay/2 + time.Duration(w.rand.Int64N(int64(w.delay)+1))
}

func (w *world) run(d time.Duration) {
	end := w.now + d
	for {
		next, who := never, -1
		for i, n := range w.nodes {
			if at := n.engine.Next(); !n.off && at < next {
				next, who = at, i
			}
		}
		if len(w.queue) > 0 && w.queue[0].at <= next {
			if w.queue[0].at > end {
				break
			}
			ev := heap.Pop(&w.queue).(event)
			w.now = max(w.now, ev.at)
			ev.do()
			continue
		}
		if next > end {
			break
		}
		w.now = max(w.now, next)
		w.nodes[who].step(Tick{})
	}
	w.now = end
}

func (w *world) find(p Peer) *node {
	for _, n := range w.nodes {
		if n.key == p {
			return n
		}
	}
	w.t.Fatalf("no such peer")
	return nil
}

// write adds a record of the node's own.
func (n *node) write(size int) ID {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(n.w.rand.Uint32())
	}
	id := ID(sha256.Sum256(b))
	n.add(id, b, true)
	return id
}

func (n *node) add(id ID, b []byte, own bool) {
	n.has[id] = b
	n.version++
	n.step(Committed{Space: n.w.space, Version: n.version, Fresh: []Fresh{{ID: id, Bytes: b, Own: own}}})
}

func (n *node) step(in Input) {
	if n.off {
		return
	}
	for _, out := range slices.Clone(n.engine.Step(n.w.now, in)) {
		if n.w.trace != nil {
			n.w.trace(fmt.Sprintf("%v %d %T %v", n.w.now, n.index, out, out))
		}
		n.perform(out)
	}
}

func (n *node) perform(out Output) {
	w := n.w
	switch out := out.(type) {
	case Dial:
		m := w.find(out.Peer)
		w.after(2*w.latency(), func() {
			if m.off || w.cut != nil && w.cut(n.index, m.index) {
				n.step(PeerDown(out))
				return
			}
			w.connect(n.index, m.index)
		})
	case Hangup:
		w.disconnect(n.index, w.find(out.Peer).index)
	case Send:
		w.frames++
		m := w.find(out.Peer)
		w.after(w.latency(), func() {
			if n.links[m.index] {
				m.step(Frame{n.key, out.Frame})
			}
		})
	case Judge:
		w.after(time.Millisecond, func() { n.answer(out) })
	case Sync:
		w.sessions++
		n.syncs = append(n.syncs, out)
		m := w.find(out.Peer)
		w.after(w.latency(), func() {
			if !n.links[m.index] {
				n.step(Ended{Session: out.Session, Outcome: Unreachable})
				return
			}
			m.theirs++
			theirs := m.theirs
			m.waiting[theirs] = func(serve bool) {
				if !serve {
					n.step(Ended{Session: out.Session, Outcome: Failed})
					return
				}
				w.after(w.latency(), func() { w.exchange(n, m, out.Session, theirs) })
			}
			m.step(Asked{Session: theirs, Space: w.space, Peer: n.key, Equal: same(n.has, m.has)})
		})
	case Serve:
		n.waiting[out.Session](true)
		delete(n.waiting, out.Session)
	case Refuse:
		n.waiting[out.Session](false)
		delete(n.waiting, out.Session)
	case Charge:
		n.charged = append(n.charged, out)
	case JudgeNote:
		n.step(NoteJudged{Space: out.Space, From: out.From, Bytes: out.Bytes, Good: out.Bytes[len(out.Bytes)-1] == 0})
	}
}

func (n *node) answer(j Judge) {
	if j.Bytes == nil {
		v := gossip.Lost
		if n.has[j.ID] != nil {
			v = gossip.Accepted
		}
		n.step(Judged{j.Space, j.ID, v})
		return
	}
	v := gossip.Accepted
	if ID(sha256.Sum256(j.Bytes)) != j.ID {
		v = gossip.Rejected
	} else if n.judge != nil {
		v = n.judge(j.ID, j.Bytes)
	}
	if v == gossip.Accepted && n.has[j.ID] != nil {
		v = gossip.Known
	}
	if v == gossip.Accepted {
		n.has[j.ID] = j.Bytes
		n.version++
		defer n.step(Committed{Space: j.Space, Version: n.version, Fresh: []Fresh{{ID: j.ID}}})
	}
	n.step(Judged{j.Space, j.ID, v})
}

func same(a, b map[ID][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for id := range a {
		if b[id] == nil {
			return false
		}
	}
	return true
}

// exchange is a session: what each lacks of what the other has now takes a
// millisecond a record.
func (w *world) exchange(a, b *node, ours, theirs Session) {
	a.step(Progress{ours})
	b.step(Progress{theirs})
	var toA, toB []ID
	for id := range a.has {
		if b.has[id] == nil {
			toB = append(toB, id)
		}
	}
	for id := range b.has {
		if a.has[id] == nil {
			toA = append(toA, id)
		}
	}
	w.after(time.Duration(len(toA)+len(toB))*time.Millisecond, func() {
		if a.off || b.off || !a.links[b.index] {
			a.step(Ended{Session: ours, Outcome: Failed})
			b.step(Ended{Session: theirs, Outcome: Failed})
			return
		}
		w.take(a, b, toA)
		w.take(b, a, toB)
		equal := same(a.has, b.has)
		a.step(Ended{Session: ours, Outcome: Agreed, Current: equal, Version: a.version})
		b.step(Ended{Session: theirs, Outcome: Agreed, Current: equal, Version: b.version})
	})
}

func (w *world) take(n, from *node, ids []ID) {
	slices.SortFunc(ids, compare)
	var fresh []Fresh
	for _, id := range ids {
		w.moved++
		if n.has[id] != nil {
			w.twice++
			continue
		}
		n.has[id] = from.has[id]
		n.version++
		fresh = append(fresh, Fresh{ID: id})
	}
	if len(fresh) > 0 {
		n.step(Committed{Space: w.space, Version: n.version, Fresh: fresh[:min(len(fresh), MaxFresh)], Many: len(fresh) > MaxFresh})
	}
}

func (w *world) connect(i, j int) {
	a, b := w.nodes[i], w.nodes[j]
	if a.links[j] {
		return
	}
	a.links[j], b.links[i] = true, true
	a.step(PeerUp{Peer: b.key, RTT: 2 * w.delay})
	b.step(PeerUp{Peer: a.key, RTT: 2 * w.delay})
	if !a.plain && !b.plain {
		a.step(StreamUp{b.key})
		b.step(StreamUp{a.key})
	}
}

func (w *world) disconnect(i, j int) {
	a, b := w.nodes[i], w.nodes[j]
	if !a.links[j] {
		return
	}
	delete(a.links, j)
	delete(b.links, i)
	a.step(PeerDown{b.key})
	b.step(PeerDown{a.key})
}

func (w *world) allEqual() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return !same(n.has, w.nodes[0].has) })
}

func (w *world) linkCount() int {
	n := 0
	for _, x := range w.nodes {
		n += len(x.links)
	}
	return n / 2
}

func (w *world) connectedPairs() []string {
	var out []string
	for i, n := range w.nodes {
		for j := range n.links {
			if j > i {
				out = append(out, fmt.Sprint(i, "-", j))
			}
		}
	}
	slices.SortFunc(out, cmp.Compare[string])
	return out
}
