package gossip

import (
	"bytes"
	"slices"
	"time"
)

// candidate is a rumor that waits for its verdict.
type candidate struct {
	rumor Rumor
	hops  uint8
	from  Peer // to whose account it goes
	same  []Peer
	other []version   // other content under the same ID: one at least is wrong
	told  []announcer // who has announced it
	at    time.Duration
	held  bool // the verdict was Undecided
	late  bool // its content had come by other means before
}

// waiting is a held rumor's place in the order of age.
type waiting struct {
	id ID
	at time.Duration
}

// version is one peer's content for an ID.
type version struct {
	rumor Rumor
	hops  uint8
	from  Peer
}

// frame takes one frame of a peer apart and does what it says.
func (m *Machine) frame(p Peer, b []byte) {
	if m.isShunned(p) || p == m.o.Self {
		return
	}
	msg, err := decode(b)
	if err != nil {
		m.charge(p, Malformed, ID{})
		return
	}
	l := m.link(p)
	if l == nil || l.state == dialing {
		l = m.stranger(p)
	}
	if !m.affords(l, &msg) {
		return
	}
	switch msg.kind {
	case RumorFrame, AnnounceFrame:
		if m.o.Mode == Tree {
			m.correct(l)
		}
		m.rumor(l, msg.rumor, msg.hops)
	case OfferFrame:
		m.offered(p, msg.ids, msg.flag)
	case ReplyFrame:
		m.replied(p, msg.ids, msg.known)
	default:
		if m.o.Mode == Tree {
			m.overlay(l, &msg)
		}
	}
}

// affords reports whether the frame is within the peer's rates, and charges
// it otherwise.
func (m *Machine) affords(l *link, msg *message) bool {
	ok := false
	switch msg.kind {
	case RumorFrame, AnnounceFrame:
		ok = l.rumorsIn.take(m.now, 1, rumorsPerSecond, stallSeconds)
	case IHaveFrame:
		ok = l.ihavesIn.take(m.now, 1, ihavesPerSecond, stallSeconds)
	case GraftFrame:
		ok = l.graftsIn.take(m.now, max(1, len(msg.ids)), graftsPerSecond, stallSeconds)
	default:
		ok = l.overlayIn.take(m.now, 1, overlayPerSecond, stallSeconds)
	}
	if !ok && l.floodAt <= m.now {
		l.floodAt = m.now + time.Second
		m.emit(Charge{Peer: l.peer, Reason: Flood})
	}
	return ok
}

// rumor takes a payload or an announcement.
func (m *Machine) rumor(l *link, r Rumor, hops uint8) {
	m.stats.Copies++
	m.unlazy(l, r.ID)
	at, late := m.lately[r.ID]
	if late = late && m.now < at+latelyTime; !late && m.seen.has(r.ID) {
		m.duplicate(l, r)
		return
	}
	if c := m.open[r.ID]; c != nil {
		m.another(c, l, r, hops)
		return
	}
	if m.account(l.peer).open >= maxOpen {
		m.stats.Dropped++
		return
	}
	c := &candidate{rumor: r, hops: hops, from: l.peer, at: m.now, late: late}
	if w := m.wants[r.ID]; w != nil {
		c.told = w.told
		m.arrived(r.ID, w, l)
	}
	delete(m.fetching, r.ID)
	if m.open == nil {
		m.open = make(map[ID]*candidate)
	}
	m.open[r.ID] = c
	m.tally(c.from, func(a *account) { a.open++ })
	if l.state == active {
		l.eager = true
		m.shorten(l, c)
	}
	m.emit(Deliver{Rumor: r, From: l.peer})
}

// another takes one more copy of what waits for its verdict.
func (m *Machine) another(c *candidate, l *link, r Rumor, hops uint8) {
	m.stats.Duplicates++
	m.prune(l)
	if l.peer == c.from || slices.Contains(c.same, l.peer) {
		return
	}
	switch {
	case same(r, c.rumor):
		c.same = append(c.same, l.peer)
	case !slices.ContainsFunc(c.other, func(v version) bool { return v.from == l.peer }) && len(c.other) < 2*m.o.MeshPeers:
		c.other = append(c.other, version{r, hops, l.peer})
	}
}

func same(a, b Rumor) bool { return a.Size == b.Size && bytes.Equal(a.Payload, b.Payload) }

// duplicate takes a copy of what is known.
func (m *Machine) duplicate(l *link, r Rumor) {
	m.stats.Duplicates++
	if have := m.cache.find(r.ID); have != nil && !same(have.rumor, r) {
		m.charge(l.peer, Conflict, r.ID)
		return
	}
	m.prune(l)
}

// close takes a candidate off the books. What becomes of its ID is the
// caller's.
func (m *Machine) close(c *candidate) {
	delete(m.open, c.rumor.ID)
	n := c.rumor.bytes()
	m.tally(c.from, func(a *account) {
		if c.held {
			a.held--
			a.heldBytes -= n
		} else {
			a.open--
		}
	})
}

func (m *Machine) judged(id ID, v Verdict) {
	c := m.open[id]
	if c == nil {
		return
	}
	switch v {
	case Accepted, Known:
		m.close(c)
		m.settle(c, v)
	case Rejected:
		m.close(c)
		m.stats.Rejected++
		m.charge(c.from, Invalid, id)
		for _, p := range c.same {
			m.charge(p, Invalid, id)
		}
		m.retry(c)
	case Lost:
		m.close(c)
		if c.late {
			m.know(id)
			return
		}
		m.retry(c)
	case Undecided:
		m.hold(c)
	}
}

// settle takes what is good. What a session brought before its rumor came is
// passed on too: this replica may be the way to others.
func (m *Machine) settle(c *candidate, v Verdict) {
	if !m.seen.has(c.rumor.ID) {
		m.seen.add(c.rumor.ID)
	}
	delete(m.lately, c.rumor.ID)
	m.cache.put(m.now, c.rumor, c.hops)
	switch {
	case v == Accepted:
		m.stats.Accepted++
		m.spread(c)
	case c.late:
		m.stats.Duplicates++
		m.spread(c)
	}
	for _, v := range c.other {
		m.charge(v.from, Conflict, c.rumor.ID)
	}
}

// retry goes on to other content for the ID, or to who else has announced it.
// The ID itself is nobody's fault: it may have been put on a false content.
func (m *Machine) retry(c *candidate) {
	for i, v := range c.other {
		if m.isShunned(v.from) || m.account(v.from).open >= maxOpen {
			continue
		}
		next := &candidate{rumor: v.rumor, hops: v.hops, from: v.from, other: c.other[i+1:], told: c.told, at: m.now, late: c.late}
		m.open[v.rumor.ID] = next
		m.tally(next.from, func(a *account) { a.open++ })
		m.emit(Deliver{Rumor: next.rumor, From: next.from})
		return
	}
	for _, a := range c.told {
		if !m.isShunned(a.peer) && a.peer != c.from {
			m.want(c.rumor.ID, a, m.now)
		}
	}
}

// hold keeps what cannot be judged yet, within its sender's bounds.
func (m *Machine) hold(c *candidate) {
	if c.held {
		return
	}
	a, n := m.account(c.from), c.rumor.bytes()
	if a.held >= maxHeld || a.heldBytes+n > maxHeldBytes {
		m.stats.Dropped++
		m.close(c)
		return
	}
	c.held, c.at = true, m.now
	m.held.push(waiting{c.rumor.ID, m.now})
	m.tally(c.from, func(a *account) {
		a.open--
		a.held++
		a.heldBytes += n
	})
}

func (m *Machine) publish(r Rumor) {
	if m.seen.has(r.ID) {
		return
	}
	if len(r.Payload) > MaxPayload {
		r.Size, r.Payload = uint64(len(r.Payload)), nil
	}
	m.stats.Published++
	c := m.open[r.ID]
	m.know(r.ID)
	own := &candidate{rumor: r}
	if c != nil {
		own.same, own.told = append(c.same, c.from), c.told
	}
	m.cache.put(m.now, r, 0)
	m.spread(own)
}

// learned takes what came by other means. Its rumor may still be on its way
// on the tree, and others behind this replica may wait for it.
func (m *Machine) learned(id ID) {
	c := m.open[id]
	if c == nil && m.seen.has(id) {
		return
	}
	if c != nil && !c.held {
		c.late = true // its verdict comes
		return
	}
	m.know(id)
	if m.o.Mode == Tree && len(m.lately) < maxLately {
		if m.lately == nil {
			m.lately = make(map[ID]time.Duration)
		}
		m.lately[id] = m.now
	}
}

// know forgets that an ID was waited for: it is here.
func (m *Machine) know(id ID) {
	if c := m.open[id]; c != nil {
		m.close(c)
	}
	if w := m.wants[id]; w != nil {
		m.unwant(id, w)
	}
	delete(m.fetching, id)
	if !m.seen.has(id) {
		m.seen.add(id)
	}
}

// spread passes an accepted rumor on, except to those who have it.
func (m *Machine) spread(c *candidate) {
	if m.o.Mode != Tree {
		m.heat(c.rumor.ID)
		return
	}
	var frame []byte
	hops := c.hops
	if hops < 255 {
		hops++
	}
	for _, l := range m.links.all {
		switch {
		case l.state != active || c.has(l.peer):
		case l.eager:
			if frame == nil {
				frame = rumorFrame(c.rumor, hops)
			}
			m.send(l.peer, frame)
		default:
			m.lazily(l, news{c.rumor.ID, hops})
		}
	}
}

// has reports whether the peer is known to have the rumor.
func (c *candidate) has(p Peer) bool {
	return p == c.from || slices.Contains(c.same, p) ||
		slices.ContainsFunc(c.told, func(a announcer) bool { return a.peer == p })
}

func rumorFrame(r Rumor, hops uint8) []byte {
	msg := message{kind: RumorFrame, rumor: r, hops: hops}
	if r.Size > 0 {
		msg.kind = AnnounceFrame
	}
	return msg.appendTo(make([]byte, 0, 1+1+32+max(8, len(r.Payload))))
}
