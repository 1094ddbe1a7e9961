package engine

import (
	"encoding/binary"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

// link is how a peer is connected.
type link uint8

const (
	down link = iota
	dialing
	up
)

// peer is what the engine knows of another replica.
type peer struct {
	key    Peer
	link   link
	class  gossip.Class
	stream bool
	wanted bool // all members of some space are connected, and this is one
	once   bool // a connection is wanted for what is going on
	rtt    time.Duration

	askers  []*space      // whose gossip waits for a connection
	dialAt  time.Duration // not before; of a dial under way, when it has failed
	backoff time.Duration
	since   time.Duration // of the connection

	bonds  []*bond  // one for each space that both are in, while connected
	opened []*space // by our channel number; nil where closed
	heard  []heard  // what the peer opened

	running int32 // sessions with it, whoever began them, those that wait included
	inside  int32 // of them, its own
	charged int32
	first   time.Duration // the first of those charges
	banned  time.Duration // until then
	frames  bucket

	one  bond // room for the first of bonds, and for the slice of it: most peers have one
	room [1]*bond
}

// roster finds peers by key: ascending by the first eight bytes, beside which
// there is little that a search has to touch.
type roster []struct {
	tag uint64
	p   *peer
}

// find returns nil for who is not there.
func (r roster) find(key Peer) *peer {
	for i := r.place(key); i < len(r) && r[i].tag == tagged(key); i++ {
		if r[i].p.key == key {
			return r[i].p
		}
	}
	return nil
}

func tagged(key Peer) uint64 { return binary.BigEndian.Uint64(key[:8]) }

// place is that of the first who is not before the key.
func (r roster) place(key Peer) int {
	tag := tagged(key)
	lo, hi := 0, len(r)
	for lo < hi {
		if mid := (lo + hi) / 2; r[mid].tag < tag {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (r *roster) add(p *peer) {
	*r = slices.Insert(*r, r.place(p.key), struct {
		tag uint64
		p   *peer
	}{tagged(p.key), p})
}

func (r *roster) drop(p *peer) {
	for i := r.place(p.key); i < len(*r); i++ {
		if (*r)[i].p == p {
			*r = slices.Delete(*r, i, i+1)
			return
		}
	}
}

// heard is a space that the peer speaks of.
type heard struct {
	number uint8
	nonce  [nonceSize]byte
	tag    [tagSize]byte
	space  *space // nil while it is not known which
}

// bond is a connected peer's part in one space.
type bond struct {
	space   *space
	told    bool  // both have opened the space, and gossip knows of it
	channel uint8 // ours, if told
	stirred bool  // the space has moved here since both agreed
	why     Why
	fails   int32

	openAt    time.Duration // when we opened it last
	dueAt     time.Duration // of the next session, never if there is no reason
	wantedAt  time.Duration // when that was found
	notBefore time.Duration
	antiAt    time.Duration
	stirredAt time.Duration
	version   uint64 // of the space here, at which both held the same
}

func (e *Engine) peer(key Peer) *peer {
	p := e.peers.find(key)
	if p == nil {
		p = &peer{key: key}
		e.peers.add(p)
		e.order = append(e.order, p)
	}
	return p
}

// forget drops a peer of whom nothing is to be remembered.
func (e *Engine) forget(p *peer) {
	if p.link != down || p.wanted || p.once || p.running > 0 || p.banned > e.now ||
		len(p.askers) > 0 || p.charged > 0 && p.first+banFor > e.now || e.peers.find(p.key) != p {
		return
	}
	if p.backoff > 0 && p.dialAt > e.now && len(e.order) <= maxForgotten {
		return
	}
	e.peers.drop(p)
	if i := slices.Index(e.order, p); i >= 0 {
		e.order = slices.Delete(e.order, i, i+1)
	}
}

func (p *peer) bond(s *space) *bond {
	for _, b := range p.bonds {
		if b.space == s {
			return b
		}
	}
	return nil
}

// yields reports whether this replica lets the peer dial and begin first.
func (e *Engine) yields(p *peer) bool { return compare(e.o.Self, p.key) > 0 }

// review goes over the peers after a list of members has changed.
func (e *Engine) review() {
	e.changed = true
	for _, s := range e.spaces {
		if !s.small() || e.o.Manual {
			continue
		}
		for _, m := range s.members {
			if m != e.o.Self && e.peers.find(m) == nil {
				e.peer(m).dialAt = e.now
			}
		}
	}
	for _, p := range slices.Clone(e.order) {
		member, wanted := false, false
		for _, s := range e.spaces {
			if s.has(p.key) {
				member = true
				wanted = wanted || s.small()
			}
		}
		p.wanted = wanted && p.key != e.o.Self
		was := len(p.bonds) > 0
		e.rebond(p)
		if was && !member && p.link == up {
			e.emit(Hangup{p.key})
		}
		if !member {
			p.once = false
		}
		e.forget(p)
	}
}

// rebond makes a connected peer's bonds those of the spaces that both are in.
func (e *Engine) rebond(p *peer) {
	if p.link != up {
		return
	}
	for _, b := range slices.Clone(p.bonds) {
		if b.space.gone || b.space.mute && b.told || !b.space.has(p.key) {
			e.unbond(p, b)
		}
	}
	for _, s := range e.spaces {
		if s.has(p.key) && p.bond(s) == nil {
			b := new(bond)
			if len(p.bonds) == 0 {
				b, p.bonds = &p.one, p.room[:0]
			}
			*b = bond{space: s, dueAt: e.now, why: Connected, antiAt: never}
			if e.yields(p) {
				b.dueAt += greet
			}
			p.bonds = append(p.bonds, b)
			e.open(p, s)
			for i := range p.heard {
				e.match(p, &p.heard[i])
			}
		}
	}
}

func (e *Engine) unbond(p *peer, b *bond) {
	e.silence(p, b)
	p.bonds = slices.DeleteFunc(p.bonds, func(c *bond) bool { return c == b })
	for i, s := range p.opened {
		if s == b.space {
			p.opened[i] = nil
			if p.stream {
				e.emit(Send{p.key, frame{kind: frameClose, channel: uint8(i)}.encode()})
			}
		}
	}
	for i := range p.heard {
		if p.heard[i].space == b.space {
			p.heard[i].space = nil
		}
	}
}

func (e *Engine) peerUp(in PeerUp) {
	if in.Peer == e.o.Self {
		return
	}
	p := e.peer(in.Peer)
	p.class, p.rtt = in.Class, in.RTT
	if p.link == up {
		for _, b := range p.bonds {
			if b.told {
				e.tell(b.space, gossip.PeerUp{Peer: p.key, Class: p.class, RTT: p.rtt})
			}
		}
		return
	}
	e.changed = true
	p.link, p.since, p.backoff = up, e.now, 0
	if p.banned > e.now {
		e.emit(Hangup{p.key})
		return
	}
	e.rebond(p)
}

func (e *Engine) peerDown(key Peer) {
	p := e.peers.find(key)
	if p == nil || p.link == down {
		return
	}
	e.changed = true
	was := p.link
	e.streamDown(p)
	p.link, p.bonds = down, nil
	for _, s := range p.askers {
		e.tell(s, gossip.PeerDown{Peer: key})
	}
	p.askers, p.once = nil, false
	if was == dialing {
		p.backoff = min(max(2*p.backoff, redialMin), redialMost)
		p.dialAt = e.now + e.vary(p.backoff)
	} else {
		p.backoff, p.dialAt = 0, e.now+again
		if e.yields(p) {
			p.dialAt += yield
		}
	}
	e.forget(p)
}

func (e *Engine) found(key Peer) {
	e.changed = true
	for _, p := range e.order {
		if key != (Peer{}) && p.key != key {
			continue
		}
		for _, b := range p.bonds {
			b.fails, b.notBefore = 0, min(b.notBefore, e.now+again)
		}
		if p.link != down {
			continue
		}
		p.backoff, p.dialAt = 0, e.now
		if e.yields(p) {
			p.dialAt += yield
		}
	}
}

// connect answers a gossip machine that wants a link.
func (e *Engine) connect(s *space, key Peer) {
	p := e.peers.find(key)
	switch {
	case e.o.Manual || !e.online || s.mute || p != nil && (p.banned > e.now || p.link == up || p.link == down && p.dialAt > e.now):
		e.tell(s, gossip.PeerDown{Peer: key})
		return
	case p == nil:
		p = e.peer(key)
	}
	p.askers = append(p.askers, s)
	p.once = true
	e.changed = true
}

// dueLinks dials, gives up dials, and hangs up what is of no use.
func (e *Engine) dueLinks() {
	for i := 0; i < len(e.order); {
		p := e.order[i]
		switch {
		case p.link == dialing && p.dialAt <= e.now:
			e.peerDown(p.key)
		case p.link == down && (p.wanted || p.once) && p.dialAt <= e.now && p.banned <= e.now && e.online && !e.o.Manual:
			p.link, p.dialAt = dialing, e.now+dialWait
			e.stats.Dials++
			e.emit(Dial{p.key})
		case p.link == down:
			e.forget(p)
		}
		if i < len(e.order) && e.order[i] == p { // it was not forgotten
			i++
		}
	}
	for _, p := range e.order {
		e.reopen(p)
	}
	e.tidy()
}

// tidy hangs up connections above the bound that nobody here uses, the oldest
// first.
func (e *Engine) tidy() {
	n := 0
	for _, p := range e.order {
		if p.link == up {
			n++
		}
	}
	for _, p := range e.order {
		if n <= maxLinks {
			return
		}
		if p.link != up || p.wanted || p.running > 0 || p.since+spread > e.now {
			continue
		}
		used := false
		for _, b := range p.bonds {
			used = used || slices.Contains(b.space.machine.Neighbors(), p.key)
		}
		if !used {
			n--
			e.emit(Hangup{p.key})
		}
	}
}

// charge names a peer, and at the third time within ten minutes leaves it
// alone for as long.
func (e *Engine) charge(key Peer, id record.SpaceID, why Reason, of ID) {
	e.stats.Charges++
	out := Charge{Peer: key, Space: id, Reason: why, ID: of}
	p := e.peer(key)
	if why != Flood {
		if p.charged == 0 || p.first+banFor <= e.now {
			p.charged, p.first = 0, e.now
		}
		if p.charged++; p.charged >= charges {
			p.charged, p.banned = 0, e.now+banFor
			out.Ban = banFor
			e.stats.Bans++
		}
	}
	e.emit(out)
	e.changed = true
	if out.Ban > 0 && p.link == up {
		for _, b := range p.bonds {
			e.silence(p, b)
		}
		e.emit(Hangup{key})
	}
}
