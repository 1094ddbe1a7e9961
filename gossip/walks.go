package gossip

// overlay takes the frames of the tree and of the overlay.
func (m *Machine) overlay(l *link, msg *message) {
	switch msg.kind {
	case ShuffledFrame:
		m.shuffled(msg.ids)
		return
	case ShuffleFrame:
		m.shuffling(l, msg)
		return
	}
	if l.state == dialing {
		return // the link is gone already: so is what was said on it
	}
	switch msg.kind {
	case JoinFrame, NeighborFrame:
		m.asked(l, msg)
	case AcceptFrame:
		switch l.state {
		case asking:
			m.activate(l)
		case idle: // too late
			m.say(l.peer, message{kind: LeaveFrame})
		}
	case DeclineFrame:
		if l.state == asking {
			m.declined(l)
		}
	case LeaveFrame:
		if l.state == active {
			m.rest(l)
			m.remember(l.peer)
			m.seekSoon(m.vary(seekFirst))
		}
	case GraftFrame:
		m.grafted(l, msg.ids)
		m.correct(l)
	case PruneFrame:
		l.eager = false
	case IHaveFrame, WalkFrame:
		if l.state != active {
			m.correct(l)
			return
		}
		if msg.kind == IHaveFrame {
			m.announced(l, msg.heard)
		} else {
			m.walk(l, msg.peer, msg.ttl)
		}
	}
}

// correct tells a peer that takes this replica for its neighbour that it is
// none: views are symmetric, or rumors get lost. While a request is under
// way its answer says more.
func (m *Machine) correct(l *link) {
	if l.state == idle {
		m.say(l.peer, message{kind: LeaveFrame})
	}
}

// asked answers a peer that would be a neighbour.
func (m *Machine) asked(l *link, msg *message) {
	join := msg.kind == JoinFrame
	room := m.count(active) < m.room()
	if !m.isMember(l.peer) || l.state != active && !join && !msg.flag && !room {
		m.say(l.peer, message{kind: DeclineFrame})
		m.remember(l.peer)
		return
	}
	m.activate(l)
	m.say(l.peer, message{kind: AcceptFrame})
	if !join {
		return
	}
	for _, o := range m.links.all {
		if o.state == active && o != l {
			m.say(o.peer, message{kind: WalkFrame, peer: l.peer, ttl: MaxTTL})
		}
	}
}

// walk takes the key of who joined one step on; where the walk ends, the two
// become neighbours.
func (m *Machine) walk(l *link, joined Peer, ttl uint8) {
	if joined == m.o.Self || !m.isMember(joined) {
		return
	}
	if ttl == walkPassive {
		m.remember(joined)
	}
	next := m.randomNeighbor(l.peer, joined)
	if ttl > 0 && next != nil {
		m.say(next.peer, message{kind: WalkFrame, peer: joined, ttl: ttl - 1})
		return
	}
	if !m.isShunned(joined) {
		m.approach(joined, false)
	}
}

// shuffle exchanges a sample of the views with somebody at a walk's end. Now
// and then it is a random member, and one becomes a neighbour for that
// reason alone: views fed by views never learn of the other half of a split.
func (m *Machine) shuffle() {
	sample := m.sample(shuffleIdle)
	for i := 0; i < shuffleLive; i++ {
		if l := m.randomNeighbor(Peer{}, Peer{}); l != nil {
			sample = add(sample, l.peer)
		}
	}
	msg := message{kind: ShuffleFrame, peer: m.o.Self, ttl: MaxTTL, ids: sample}
	if l := m.randomNeighbor(Peer{}, Peer{}); l != nil {
		m.awaiting = true
		m.say(l.peer, msg)
	}
	if m.o.Rand.IntN(4) > 0 || m.capacity() >= m.o.MeshPeers && m.count(active) >= len(m.members)-1 {
		return
	}
	if p, ok := m.randomMember(); ok {
		m.approach(p, true)
	}
}

// shuffling takes a shuffle one step on, or answers it.
func (m *Machine) shuffling(l *link, msg *message) {
	origin := msg.peer
	if origin == m.o.Self || l.state != active {
		m.correct(l)
		return
	}
	if next := m.randomNeighbor(l.peer, origin); msg.ttl > 0 && next != nil {
		m.say(next.peer, message{kind: ShuffleFrame, peer: origin, ttl: msg.ttl - 1, ids: msg.ids})
		return
	}
	if m.isMember(origin) && !m.isShunned(origin) {
		m.say(origin, message{kind: ShuffledFrame, ids: m.sample(max(1, len(msg.ids)))})
		m.remember(origin)
	}
	for _, p := range msg.ids {
		m.remember(p)
	}
}

// shuffled takes the answer to a shuffle of this replica's, once.
func (m *Machine) shuffled(peers []Peer) {
	if !m.awaiting {
		return
	}
	m.awaiting = false
	for _, p := range peers {
		m.remember(p)
	}
}

// sample draws n distinct passive peers.
func (m *Machine) sample(n int) []Peer {
	var s []Peer
	for range min(n, len(m.passive)) {
		s = add(s, m.passive[m.o.Rand.IntN(len(m.passive))])
	}
	return s
}

func add(to []Peer, p Peer) []Peer {
	for _, q := range to {
		if q == p {
			return to
		}
	}
	return append(to, p)
}
