package sim

import (
	"encoding/binary"
	"slices"
	"time"

	"anabranch/gossip"
)

// near is how long a frame takes between two.
func (w *crowd) near(a, b int32) time.Duration {
	h := uint64(min(a, b))<<32 | uint64(max(a, b))
	h = (h ^ w.o.Seed) * 0x9e3779b97f4a7c15
	span := uint64(w.o.LatencyMost - w.o.LatencyLeast)
	if span == 0 {
		return w.o.LatencyLeast
	}
	return w.o.LatencyLeast + time.Duration((h>>32)*1000%span)
}

// apart reports whether a split lies between two.
func (w *crowd) apart(a, b int32) bool {
	half := int32(len(w.nodes) / 2)
	return w.split && (a < half) != (b < half)
}

func (n *node) tie(to int32) *tie {
	for i := range n.links {
		if n.links[i].to == to {
			return &n.links[i]
		}
	}
	return nil
}

// tieTo is the tie to whom a key belongs.
func (n *node) tieTo(key *gossip.Peer) *tie {
	tag := tagged(key)
	for i := range n.links {
		if n.links[i].tag == tag {
			return &n.links[i]
		}
	}
	return nil
}

func tagged(key *gossip.Peer) uint64 { return binary.LittleEndian.Uint64(key[:8]) }

// send puts a frame on a link that is up.
func (w *crowd) send(from, to int32, frame []byte) {
	n := &w.nodes[from]
	body := rumorIn(frame)
	if body != nil {
		w.payloads++
	}
	if w.measure {
		w.frames++
		w.bytes += uint64(len(frame)) + 2
		if body != nil {
			w.copies++
		} else if frame[0] == 3 && frame[2] == byte(gossip.IHaveFrame) {
			w.ids += uint64(len(frame)-3) / 33
		}
	}
	if body != nil {
		switch {
		case n.liar:
			frame = slices.Clone(frame)
			frame[len(frame)-1] ^= 1
		case body[len(body)-1] != 0:
			w.result.Forwarded++ // forged content, from somebody honest
		}
	}
	if body != nil && !n.liar {
		frame = w.shared(frame)
	}
	if w.apart(from, to) || w.o.Loss > 0 && w.rng.Float64() < w.o.Loss {
		return
	}
	w.push(w.near(from, to), happening{to: to, from: from, kind: onFrame, frame: frame})
}

// shared is the one copy of a frame that many send alike: what replicas keep
// of it, they keep together.
func (w *crowd) shared(frame []byte) []byte {
	k, ok := w.byID[gossip.ID(frame[4:36])]
	if !ok {
		return frame
	}
	u := &w.updates[k]
	hops, channel := int(frame[3]), frame[1]
	if channel > 0 {
		return frame
	}
	for len(u.frames) <= hops {
		u.frames = append(u.frames, nil)
	}
	if one := u.frames[hops]; one != nil && string(one) == string(frame) {
		return one
	}
	u.frames[hops] = frame
	return frame
}

func (w *crowd) dial(from, to int32) {
	o := &w.nodes[to]
	if from == to || o.down || w.apart(from, to) {
		w.push(time.Second, happening{to: from, from: to, kind: onDown})
		return
	}
	rtt := 2 * w.near(from, to)
	if t := w.nodes[from].tie(to); t == nil {
		w.nodes[from].links = append(w.nodes[from].links, tie{to: to, tag: tagged(&o.key)})
		o.links = append(o.links, tie{to: from, tag: tagged(&w.nodes[from].key)})
		w.push(rtt/2, happening{to: to, from: from, kind: onUp})
		w.push(rtt, happening{to: from, from: to, kind: onUp})
	}
}

// hangup ends a connection.
func (w *crowd) hangup(from, to int32) {
	if w.untie(from, to) {
		w.push(0, happening{to: from, from: to, kind: onDown})
		w.push(w.near(from, to), happening{to: to, from: from, kind: onDown})
	}
}

func (w *crowd) untie(a, b int32) bool {
	found := false
	for _, x := range [2][2]int32{{a, b}, {b, a}} {
		n := &w.nodes[x[0]]
		n.links = slices.DeleteFunc(n.links, func(t tie) bool {
			found = found || t.to == x[1]
			return t.to == x[1]
		})
	}
	return found
}

// sever ends every connection across the split: the ends see it some seconds
// later.
func (w *crowd) sever() {
	for i := range w.nodes {
		for _, t := range slices.Clone(w.nodes[i].links) {
			if !w.apart(int32(i), t.to) {
				continue
			}
			w.untie(int32(i), t.to)
			d := 2*time.Second + time.Duration(w.rng.Int64N(int64(2*time.Second)))
			w.push(d, happening{to: int32(i), from: t.to, kind: onDown})
			w.push(d, happening{to: t.to, from: int32(i), kind: onDown})
		}
	}
}

// crash stops a replica; its peers see it two to four seconds later.
func (w *crowd) crash(i int32) {
	n := &w.nodes[i]
	n.down = true
	n.life++
	n.talks = nil
	for _, t := range slices.Clone(n.links) {
		w.untie(i, t.to)
		w.push(2*time.Second+time.Duration(w.rng.Int64N(int64(2*time.Second))), happening{to: t.to, from: i, kind: onDown})
	}
}

// restart brings a replica back with what it had.
func (w *crowd) restart(i int32) {
	n := &w.nodes[i]
	if !n.down {
		return
	}
	n.down, n.tickAt = false, forever
	w.create(i)
	w.enter(i)
}
