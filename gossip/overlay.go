package gossip

import (
	"encoding/binary"
	"slices"
	"time"
)

// state is what a link is to the overlay.
type state uint8

const (
	dialing state = iota // a Connect was output
	idle                 // up, and no neighbour
	asking               // up, and the peer was asked to be one
	active               // a neighbour
)

// link is one peer that is connected, or about to be.
type link struct {
	peer    Peer
	class   Class
	state   state
	ours    bool // opened by a Connect
	urgent  bool // to be asked with urgency
	eager   bool // on the tree
	rtt     time.Duration
	until   time.Duration // when dialing and asking have failed, else never
	askedAt time.Duration // last, or 0
	floodAt time.Duration // no Flood is charged before

	lazy    []news // to be announced at lazyAt
	lazyAt  time.Duration
	graft   []ID          // within one step
	graftAt time.Duration // the last one sent, or 0

	ihavesOut, graftsOut                    bucket
	ihavesIn, graftsIn, rumorsIn, overlayIn bucket
}

type shunning struct {
	peer  Peer
	until time.Duration
}

// linkList is the links that are up or being opened, oldest first, and beside
// them the first bytes of their peers' keys, which are enough to look through.
type linkList struct {
	all  []*link
	tags []uint64
}

func (s *linkList) index(p Peer) int {
	tag := binary.LittleEndian.Uint64(p[:8])
	for i, t := range s.tags {
		if t == tag && s.all[i].peer == p {
			return i
		}
	}
	return -1
}

func (s *linkList) add(l *link) {
	s.all = append(s.all, l)
	s.tags = append(s.tags, binary.LittleEndian.Uint64(l.peer[:8]))
}

func (s *linkList) drop(i int) {
	s.all, s.tags = slices.Delete(s.all, i, i+1), slices.Delete(s.tags, i, i+1)
}

func (m *Machine) link(p Peer) *link {
	if i := m.links.index(p); i >= 0 {
		return m.links.all[i]
	}
	return nil
}

// expireAt says when what a link waits for has failed.
func (m *Machine) expireAt(l *link, at time.Duration) {
	m.rewind = m.rewind || l.until <= m.linksAt
	l.until, m.linksAt = at, min(m.linksAt, at)
}

func (m *Machine) count(s state) int {
	n := 0
	for _, l := range m.links.all {
		if l.state == s {
			n++
		}
	}
	return n
}

// stranger stands for the link of a peer whose link is not up here: frames
// that need none come from it. It has no rates to be charged for.
func (m *Machine) stranger(p Peer) *link {
	return &link{peer: p, state: dialing, until: never, lazyAt: never}
}

// capacity is how many neighbours there should be: all of a few, else a few
// of all. Known are those whose link is up and the passive view.
func (m *Machine) capacity() int {
	known := len(m.passive)
	for _, l := range m.links.all {
		if l.state != dialing && !slices.Contains(m.passive, l.peer) {
			known++
		}
	}
	if known <= m.o.MeshPeers {
		return m.o.MeshPeers
	}
	return m.o.ActivePeers
}

// room is how many neighbours are taken at most. It is above what is sought,
// so that who lacks one finds one: nearly all have the full number then, and
// a crash of many leaves fewer alone.
func (m *Machine) room() int {
	if c := m.capacity(); c < m.o.MeshPeers {
		return min(c+spareActive, m.o.MeshPeers)
	}
	return max(m.o.MeshPeers, m.o.ActivePeers)
}

func (m *Machine) isMember(p Peer) bool {
	if p == m.o.Self {
		return false
	}
	if m.members == nil {
		return true
	}
	_, ok := slices.BinarySearchFunc(m.members, p, compare)
	return ok
}

func (m *Machine) newMembers(peers []Peer) {
	m.members = peers
	m.passive = slices.DeleteFunc(m.passive, func(p Peer) bool { return !m.isMember(p) })
	for _, l := range slices.Clone(m.links.all) {
		if l.state >= asking && !m.isMember(l.peer) {
			m.dismiss(l)
		}
	}
	m.seekSoon(0)
}

func (m *Machine) isShunned(p Peer) bool {
	return slices.ContainsFunc(m.shunned, func(s shunning) bool { return s.peer == p && s.until > m.now })
}

// charge names a peer, and has no more to do with it.
func (m *Machine) charge(p Peer, why Reason, id ID) {
	if m.isShunned(p) {
		return
	}
	m.emit(Charge{p, why, id})
	if len(m.shunned) == maxShunned {
		m.shunned = m.shunned[1:]
	}
	m.shunned = append(m.shunned, shunning{p, m.now + shunTime})
	m.forget(p)
	if l := m.link(p); l != nil {
		m.rest(l)
		m.emit(Close{p})
	}
	m.seekSoon(0)
}

func (m *Machine) peerUp(in PeerUp) {
	if in.Peer == m.o.Self {
		return
	}
	l := m.link(in.Peer)
	if l == nil {
		l = &link{peer: in.Peer, state: dialing, until: never, lazyAt: never}
		m.links.add(l)
	}
	l.class, l.rtt = in.Class, in.RTT
	if l.state != dialing {
		return
	}
	l.state = idle
	m.expireAt(l, never)
	switch {
	case m.o.Mode != Tree:
	case l.ours:
		m.ask(l)
	default:
		m.seekSoon(0)
	}
}

func (m *Machine) peerDown(p Peer) {
	i := m.links.index(p)
	if i < 0 {
		return
	}
	l := m.links.all[i]
	m.links.drop(i)
	m.rewind = true
	switch l.state {
	case dialing:
		m.forget(p)
		m.seekFailed()
	case asking:
		m.seekFailed()
	case active:
		m.forget(p)
		m.seekFails = 0
		m.seekSoon(0)
	}
}

// dueLinks gives up what was not answered.
func (m *Machine) dueLinks() {
	for i := 0; i < len(m.links.all); i++ {
		l := m.links.all[i]
		if l.until > m.now {
			continue
		}
		if l.state == dialing {
			m.peerDown(l.peer)
			i--
		} else {
			m.declined(l)
		}
	}
}

// seekSoon looks for a neighbour after the delay, if one is needed.
func (m *Machine) seekSoon(delay time.Duration) {
	if m.o.Mode == Tree {
		m.seekAt = min(m.seekAt, m.now+delay)
	}
}

func (m *Machine) seekFailed() {
	delay := min(seekFirst<<min(m.seekFails, 10), seekLast)
	m.seekFails++
	m.seekSoon(m.vary(delay))
}

// seek starts towards neighbours that are lacking, half of them at a time.
func (m *Machine) seek() {
	m.seekAt = never
	have, trying := m.count(active), m.count(asking)+m.count(dialing)
	for lack := m.capacity() - have - trying; lack > 0 && trying < max(1, (lack+trying)/2); lack-- {
		p, ok := m.prospect()
		if !ok {
			if trying == 0 {
				m.seekFailed()
			}
			return
		}
		m.approach(p, false)
		trying++
	}
}

// prospect draws who may become a neighbour: of those connected, else of the
// passive view, else of the members.
func (m *Machine) prospect() (Peer, bool) {
	var ready []Peer
	for _, l := range m.links.all {
		if l.state == idle && (l.askedAt == 0 || l.askedAt+seekLast <= m.now) && m.isMember(l.peer) && !m.isShunned(l.peer) {
			ready = append(ready, l.peer)
		}
	}
	if len(ready) == 0 {
		for _, p := range m.passive {
			if m.link(p) == nil {
				ready = append(ready, p)
			}
		}
	}
	if len(ready) > 0 {
		return ready[m.o.Rand.IntN(len(ready))], true
	}
	return m.randomMember()
}

// randomMember draws somebody who is not connected.
func (m *Machine) randomMember() (Peer, bool) {
	for range 8 {
		if len(m.members) == 0 {
			break
		}
		p := m.members[m.o.Rand.IntN(len(m.members))]
		if p != m.o.Self && m.link(p) == nil && !m.isShunned(p) {
			return p, true
		}
	}
	return Peer{}, false
}

// approach connects to a peer, or asks it at once where it is connected.
func (m *Machine) approach(p Peer, urgent bool) {
	l := m.link(p)
	if l == nil {
		l = &link{peer: p, ours: true, urgent: urgent, until: never, lazyAt: never}
		m.links.add(l)
		m.expireAt(l, m.now+connectWait)
		m.emit(Connect{p})
		return
	}
	l.urgent = l.urgent || urgent
	if l.state == idle {
		m.ask(l)
	}
}

// ask requests that both be neighbours. Who has none joins: it is accepted,
// and made known.
func (m *Machine) ask(l *link) {
	l.state, l.askedAt = asking, m.now
	m.expireAt(l, m.now+askWait)
	alone := m.count(active) == 0
	if alone && m.count(asking) == 1 && m.seekFails == 0 {
		m.say(l.peer, message{kind: JoinFrame})
		return
	}
	m.say(l.peer, message{kind: NeighborFrame, flag: alone || l.urgent})
}

// activate makes a neighbour, in the place of another where all are taken.
func (m *Machine) activate(l *link) {
	if l.state == active {
		return
	}
	if m.count(active) >= m.room() {
		m.evict()
	}
	l.state, l.urgent = active, false
	m.expireAt(l, never)
	l.eager = l.class != Relay
	m.forget(l.peer)
	m.seekFails = 0
	m.seekSoon(0)
	// What is spreading just now may have passed the new neighbour by.
	q := &m.cache.queue
	for i := len(q.items) - 1; i >= q.head && q.items[i].at >= m.now-housekeeping && len(l.lazy) < MaxIDs; i-- {
		m.lazily(l, news{q.items[i].rumor.ID, min(q.items[i].hops, 254) + 1})
	}
}

// evict lets a random neighbour go.
func (m *Machine) evict() {
	if l := m.randomNeighbor(Peer{}, Peer{}); l != nil {
		m.dismiss(l)
		m.remember(l.peer)
	}
}

func (m *Machine) dismiss(l *link) {
	m.say(l.peer, message{kind: LeaveFrame})
	m.rest(l)
	m.emit(Close{l.peer})
}

// rest makes a link nothing to the overlay.
func (m *Machine) rest(l *link) {
	if l.state == dialing {
		return
	}
	l.state, l.eager, l.lazy = idle, false, nil
	m.expireAt(l, never)
	m.announceAt(l, never)
}

// trim lets one neighbour go where more peers than a mesh takes are known by
// now.
func (m *Machine) trim() {
	if m.count(active) > m.room() {
		m.evict()
	}
}

func (m *Machine) declined(l *link) {
	m.rest(l)
	if l.ours {
		m.emit(Close{l.peer})
	}
	m.seekFailed()
}

// randomNeighbor draws a neighbour that is neither of two.
func (m *Machine) randomNeighbor(not, nor Peer) *link {
	var from []*link
	for _, l := range m.links.all {
		if l.state == active && l.peer != not && l.peer != nor {
			from = append(from, l)
		}
	}
	if len(from) == 0 {
		return nil
	}
	return from[m.o.Rand.IntN(len(from))]
}

// remember puts a peer into the passive view, in the place of a random other
// where it is full.
func (m *Machine) remember(p Peer) {
	l := m.link(p)
	if !m.isMember(p) || m.isShunned(p) || slices.Contains(m.passive, p) || l != nil && l.state == active {
		return
	}
	if len(m.passive) < m.o.PassivePeers {
		m.passive = append(m.passive, p)
		return
	}
	m.passive[m.o.Rand.IntN(len(m.passive))] = p
}

func (m *Machine) forget(p Peer) {
	if i := slices.Index(m.passive, p); i >= 0 {
		m.passive = slices.Delete(m.passive, i, i+1)
	}
}
