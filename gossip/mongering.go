package gossip

import (
	"slices"
	"time"
)

// hot is a rumor that this replica mongers.
type hot struct {
	id      ID
	useless int  // contacts that proved useless; where others ask, rounds in a row
	needed  bool // by somebody, this round
	idle    bool // somebody had it already, this round
}

// heat starts mongering a rumor.
func (m *Machine) heat(id ID) {
	if m.hotByID[id] != nil {
		return // forgotten as seen, and still hot
	}
	if m.hotByID == nil {
		m.hotByID = make(map[ID]*hot)
	}
	if len(m.hot) >= maxHot {
		m.stats.Dropped++
		m.cool(m.hot[0])
	}
	h := &hot{id: id}
	m.hot = append(m.hot, h)
	m.hotByID[id] = h
}

// cool stops it.
func (m *Machine) cool(h *hot) {
	delete(m.hotByID, h.id)
	m.hot = slices.DeleteFunc(m.hot, func(g *hot) bool { return g == h })
}

func (m *Machine) nextRound() {
	m.roundAt = m.now - m.now%m.o.Round + m.o.Round
}

// round contacts one partner.
func (m *Machine) round() {
	if m.o.Mode != Push {
		m.weigh()
	}
	if m.o.Mode == Push && len(m.hot) == 0 {
		return
	}
	p, ok := m.partner()
	if !ok {
		return
	}
	msg := message{kind: OfferFrame, flag: m.o.Mode != Push}
	if m.o.Mode != Pull {
		msg.ids = m.offer(nil)
	}
	m.say(p, msg)
}

// weigh ends a round of Pull and PushPull, in which there may be many
// contacts: a rumor that was met and that nobody needed is one round nearer to
// its end, and one that somebody needed starts afresh (Demers et al., note to
// table 3). In Push, with one contact a round, useless ones just add up.
func (m *Machine) weigh() {
	for _, h := range slices.Clone(m.hot) {
		switch {
		case h.needed:
			h.useless = 0
		case h.idle:
			m.useless(h)
		}
		h.needed, h.idle = false, false
	}
}

// useless counts a contact that did not need the rumor.
func (m *Machine) useless(h *hot) {
	h.useless++
	if m.o.Counter > 0 && h.useless >= m.o.Counter {
		m.cool(h)
	}
}

// partner draws a member, or where no list is known somebody connected.
func (m *Machine) partner() (Peer, bool) {
	n := len(m.members)
	for range 8 {
		if n == 0 {
			break
		}
		if p := m.members[m.o.Rand.IntN(n)]; p != m.o.Self && !m.isShunned(p) {
			return p, true
		}
	}
	var up []Peer
	for _, l := range m.links.all {
		if n == 0 && l.state != dialing && !m.isShunned(l.peer) {
			up = append(up, l.peer)
		}
	}
	if len(up) == 0 {
		return Peer{}, false
	}
	return up[m.o.Rand.IntN(len(up))], true
}

// offer is the latest hot rumors that are not among those offered.
func (m *Machine) offer(not []ID) []ID {
	ids := make([]ID, 0, min(len(m.hot), MaxIDs))
	for i := len(m.hot) - 1; i >= 0 && len(ids) < MaxIDs; i-- {
		if !slices.Contains(not, m.hot[i].id) {
			ids = append(ids, m.hot[i].id)
		}
	}
	m.stats.Offered += uint64(len(ids))
	return ids
}

// offered takes a partner's hot rumors, and answers with what is wanted of
// them and, if asked, with its own.
func (m *Machine) offered(p Peer, ids []ID, ask bool) {
	if m.o.Mode == Tree {
		return
	}
	reply := message{kind: ReplyFrame}
	for _, id := range ids {
		switch {
		case m.seen.has(id):
			reply.known = append(reply.known, id)
			// Both have it hot: the partner need not be offered it.
			if h := m.hotByID[id]; h != nil && ask && m.o.Mode == PushPull {
				m.stats.Offered++
				h.idle = true
			}
		case m.open[id] == nil && m.fetching[id] <= m.now:
			if m.fetching == nil {
				m.fetching = make(map[ID]time.Duration)
			}
			if len(m.fetching) >= maxHot {
				clear(m.fetching)
			}
			m.fetching[id] = m.now + fetchWait
			reply.ids = append(reply.ids, id)
		}
	}
	if len(reply.ids)+len(reply.known) > 0 {
		m.say(p, reply)
	}
	if !ask {
		return
	}
	if own := m.offer(ids); len(own) > 0 {
		m.say(p, message{kind: OfferFrame, ids: own})
	}
}

// replied takes a partner's answer to an offer. It is believed: a member that
// lies about what it knows makes rumors cool sooner, which anti-entropy makes
// good.
func (m *Machine) replied(p Peer, wanted, known []ID) {
	if m.o.Mode == Tree {
		return
	}
	for _, id := range wanted {
		have := m.cache.find(id)
		if have == nil {
			continue
		}
		if h := m.hotByID[id]; h != nil {
			h.needed = true
		}
		m.send(p, rumorFrame(have.rumor, min(have.hops, 254)+1))
	}
	for _, id := range known {
		switch h := m.hotByID[id]; {
		case h == nil:
		case m.o.Mode != Push:
			h.idle = true
		default:
			m.useless(h)
		}
	}
}
