package sim

import (
	"time"

	"anabranch/gossip"
	"anabranch/internal/engine"
)

// conn is a connection between two replicas, with a stream of frames. It is
// gone for good when it ends.
type conn struct {
	a, b   *replica
	up     [2]bool          // each side knows of it
	dead   bool             // frames on it are lost
	last   [2]time.Duration // arrival of the last frame to a and to b: streams keep their order
	queued [2]int           // bytes on the way
}

// queueBytes bounds what waits on a stream of rumors: beyond, frames are
// dropped, as a full queue does.
const queueBytes = 1 << 20

// bandwidth is what a link carries in a second.
const bandwidth = 4 << 20

func pairOf(a, b int) [2]int { return [2]int{min(a, b), max(a, b)} }

func (c *conn) other(r *replica) *replica {
	if c.a == r {
		return c.b
	}
	return c.a
}

func (c *conn) side(r *replica) int {
	if c.a == r {
		return 0
	}
	return 1
}

// conn is the connection between two, nil if there is none.
func (w *world) conn(a, b *replica) *conn {
	if a == nil || b == nil {
		return nil
	}
	return w.conns[pairOf(a.i, b.i)]
}

// open reports whether anything goes from a to b.
func (w *world) open(a, b *replica) bool {
	return w.cut[a.i][b.i] == 0 && (w.whole || w.split>>a.i&1 == w.split>>b.i&1)
}

// delay is how long a frame of so many bytes takes from a to b.
func (w *world) delay(a, b *replica, bytes int) time.Duration {
	h := w.plan.Seed ^ uint64(min(a.i, b.i))<<32 ^ uint64(max(a.i, b.i))
	h = (h ^ h>>31) * 0x9e3779b97f4a7c15
	l := w.plan.Links
	d := l.Least
	if l.Most > l.Least {
		d += time.Duration((h >> 20) % uint64(l.Most-l.Least))
	}
	if l.Jitter > 0 {
		d += time.Duration(w.rng.Int64N(int64(l.Jitter)))
	}
	return d + time.Duration(bytes)*time.Second/bandwidth
}

// dial tries to reach a replica. key is whom the engine asked for: nobody has
// it if the replica is nil.
func (w *world) dial(r, o *replica, key gossip.Peer) {
	w.traffic.dials++
	fail := func(after time.Duration) {
		r.later(w.now+after, func() {
			if w.conn(r, o) == nil {
				r.step(engine.PeerDown{Peer: key})
			}
		})
	}
	switch {
	case o == nil || !w.open(r, o) || !w.open(o, r):
		fail(w.about(2 * time.Second)) // silence
	case !o.up || o.frozen > w.now:
		fail(w.about(time.Second))
	case w.conn(r, o) != nil:
		c := w.conn(r, o)
		r.later(w.now, func() {
			if !c.dead && c.up[c.side(r)] {
				r.step(engine.PeerUp{Peer: key, RTT: 2 * w.delay(r, o, 0)})
			}
		})
	case !o.mayRead(r) || !r.mayRead(o):
		fail(2 * w.delay(r, o, 0))
	default:
		w.connect(r, o)
	}
}

// connect makes a connection that r opens.
func (w *world) connect(r, o *replica) {
	c := &conn{a: r, b: o}
	w.conns[pairOf(r.i, o.i)] = c
	rtt := 2 * w.delay(r, o, 0)
	w.say("%d connects to %d", r.i, o.i)
	arrive := func(x, y *replica, at time.Duration) {
		x.later(at, func() {
			if c.dead {
				return
			}
			c.up[c.side(x)] = true
			x.step(engine.PeerUp{Peer: gossip.Peer(y.device), RTT: rtt})
			if !c.dead {
				x.step(engine.StreamUp{Peer: gossip.Peer(y.device)})
			}
		})
	}
	arrive(o, r, w.now+rtt/2)
	arrive(r, o, w.now+rtt)
}

// hangup ends a connection: both sides see it, the other one no earlier than
// after a time.
func (w *world) hangup(c *conn, after time.Duration) {
	if c.dead {
		return
	}
	c.dead = true
	delete(w.conns, pairOf(c.a.i, c.b.i))
	for _, x := range []*replica{c.a, c.b} {
		o := c.other(x)
		x.later(w.now+after, func() { w.down(c, x, o) })
		for _, s := range x.talks {
			if s.peer() == o {
				s.closeAfter(after)
			}
		}
	}
}

// down tells a side that its connection is gone, unless another stands.
func (w *world) down(c *conn, x, o *replica) {
	if c.up[c.side(x)] && w.conn(x, o) == nil || !c.up[c.side(x)] {
		c.up[c.side(x)] = false
		x.step(engine.PeerDown{Peer: gossip.Peer(o.device)})
	}
}

// lose ends the connections of a replica whose power went: its peers see it
// when nothing is heard for a while.
func (w *world) lose(r *replica) {
	for _, o := range w.replicas {
		if c := w.conn(r, o); c != nil {
			w.hangup(c, 2*time.Second+time.Duration(w.rng.Int64N(int64(2*time.Second))))
		}
	}
}

// silence looks whether a connection is still of use, some seconds after its
// link was cut: pings are not answered.
func (w *world) silence(a, b *replica) {
	c := w.conn(a, b)
	if c == nil {
		return
	}
	w.after(w.about(5*time.Second), func() {
		if !c.dead && (!w.open(a, b) || !w.open(b, a)) {
			w.traffic.cuts++
			w.sometimes("a connection that fell silent")
			w.hangup(c, 0)
		}
	})
}

// send puts a frame of the stream of rumors on the link.
func (w *world) send(r, o *replica, frame []byte) {
	c := w.conn(r, o)
	if c == nil || !c.up[c.side(r)] {
		return
	}
	if r.evil != nil {
		r.evil.send(c, o, frame)
		return
	}
	w.check.passing(r, frame)
	w.carry(c, r, o, frame)
}

// carry takes a frame to the other side, or loses it.
func (w *world) carry(c *conn, r, o *replica, frame []byte) {
	w.traffic.frames++
	w.traffic.bytes += int64(len(frame))
	if rumorIn(frame) != nil {
		w.traffic.copies++
	} else if len(frame) > 3 && frame[0] == 3 && gossip.FrameType(frame[2]) == gossip.IHaveFrame {
		w.traffic.ids += int64(len(frame)-3) / 33
	}
	to := c.side(o)
	if c.queued[to] > queueBytes {
		w.sometimes("a frame dropped by a full queue")
		w.traffic.lost++
		return
	}
	if !w.open(r, o) || w.chance(w.plan.Links.Loss) {
		w.traffic.lost++
		return
	}
	at := max(w.now+w.delay(r, o, len(frame)), c.last[to])
	if w.chance(w.plan.Links.Overtake) {
		w.sometimes("a frame that arrived out of order")
		w.deliver(c, r, o, frame, at+w.about(300*time.Millisecond))
	} else {
		c.last[to] = at
		w.deliver(c, r, o, frame, at)
	}
	if w.chance(w.plan.Links.Twice) {
		w.sometimes("a frame that arrived twice")
		w.deliver(c, r, o, frame, at+w.about(100*time.Millisecond))
	}
}

func (w *world) deliver(c *conn, r, o *replica, frame []byte, at time.Duration) {
	to := c.side(o)
	c.queued[to] += len(frame)
	from := gossip.Peer(r.device)
	w.at(at, func() { c.queued[to] -= len(frame) })
	o.later(at, func() {
		if c.dead || !c.up[to] {
			return
		}
		w.trace.mix(uint64(w.now))
		w.trace.mix(uint64(r.i)<<32 | uint64(o.i))
		w.trace.bytes(frame)
		o.step(engine.Frame{Peer: from, Bytes: frame})
	})
}
