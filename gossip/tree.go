package gossip

import (
	"cmp"
	"slices"
	"time"
)

// want is a rumor that was announced and has not come.
type want struct {
	told  []announcer
	next  int // the announcer to graft from
	by    Peer
	asked Peer // the last one grafted from
	at    time.Duration
	since time.Duration
}

// patience estimates how long the tree is behind the announcements, as TCP
// does a round trip: mean and deviation of the times that payloads came after
// they were announced. Where much spreads at once the tree is slower than its
// shortcuts, and grafts would only cost copies.
type patience struct{ mean, dev time.Duration }

func (p *patience) sample(late time.Duration) {
	off := late - p.mean
	p.mean += off / 8
	p.dev += (max(off, -off) - p.dev) / 4
}

// graftAfter is how long to wait for what was just announced.
func (m *Machine) graftAfter(l *link) time.Duration {
	p := m.patience
	return max(m.o.GraftAfter, 2*l.rtt, min(p.mean+4*p.dev, mostPatience*m.o.GraftAfter))
}

// arrived takes a want off the books whose rumor came on the link.
func (m *Machine) arrived(id ID, w *want, l *link) {
	if w.next == 0 || l.peer != w.asked {
		m.patience.sample(m.now - w.since) // a graft's answer says nothing of the tree
	}
	m.unwant(id, w)
}

type announcer struct {
	peer Peer
	hops uint8
}

// lazily notes an ID to be announced on a lazy link.
func (m *Machine) lazily(l *link, n news) {
	if len(l.lazy) >= maxLazy {
		l.lazy = slices.Delete(l.lazy, 0, MaxIDs)
	}
	l.lazy = append(l.lazy, n)
	if l.lazyAt == never {
		m.announceAt(l, max(m.now+m.o.LazyDelay, l.ihavesOut.free(ihavesPerSecond, 1)))
	}
}

// announceAt says when what waits on a link is announced.
func (m *Machine) announceAt(l *link, at time.Duration) {
	m.rewind = m.rewind || l.lazyAt <= m.linksAt
	l.lazyAt, m.linksAt = at, min(m.linksAt, at)
}

// unlazy takes back an announcement that the peer no longer needs.
func (m *Machine) unlazy(l *link, id ID) {
	if i := slices.IndexFunc(l.lazy, func(n news) bool { return n.id == id }); i >= 0 {
		l.lazy = slices.Delete(l.lazy, i, i+1)
		if len(l.lazy) == 0 {
			m.announceAt(l, never)
		}
	}
}

// announce sends one ihave of the IDs that wait.
func (m *Machine) announce(l *link) {
	m.announceAt(l, never)
	if len(l.lazy) == 0 {
		return
	}
	if !l.ihavesOut.take(m.now, 1, ihavesPerSecond, 1) {
		m.announceAt(l, max(m.now+1, l.ihavesOut.free(ihavesPerSecond, 1)))
		return
	}
	n := min(len(l.lazy), MaxIDs)
	m.stats.Offered += uint64(n)
	m.say(l.peer, message{kind: IHaveFrame, news: l.lazy[:n]})
	l.lazy = slices.Delete(l.lazy, 0, n)
	if len(l.lazy) > 0 {
		m.announceAt(l, max(m.now+m.o.LazyDelay, l.ihavesOut.free(ihavesPerSecond, 1)))
	}
}

// announced takes an ihave.
func (m *Machine) announced(l *link, all heard) {
	for i := range all.len() {
		n := all.at(i)
		m.unlazy(l, n.id)
		a := announcer{l.peer, n.hops}
		if m.seen.has(n.id) {
			continue
		}
		if c := m.open[n.id]; c != nil {
			if len(c.told) < maxAnnouncer && !c.has(l.peer) {
				c.told = append(c.told, a)
			}
			continue
		}
		m.want(n.id, a, m.now+m.graftAfter(l))
	}
}

// want awaits a rumor until the time, when it is grafted from the announcer.
func (m *Machine) want(id ID, a announcer, at time.Duration) {
	if w := m.wants[id]; w != nil {
		known := slices.ContainsFunc(w.told, func(b announcer) bool { return b.peer == a.peer })
		if !known && len(w.told) < maxAnnouncer {
			w.told = append(w.told, a)
		}
		return
	}
	if m.account(a.peer).wants >= maxWants {
		m.stats.Dropped++
		return
	}
	if m.wants == nil {
		m.wants = make(map[ID]*want)
	}
	m.wants[id] = &want{told: []announcer{a}, by: a.peer, at: at, since: m.now}
	m.tally(a.peer, func(t *account) { t.wants++ })
	m.wantsDue.push(timer{at, id})
}

func (m *Machine) unwant(id ID, w *want) {
	delete(m.wants, id)
	m.tally(w.by, func(t *account) { t.wants-- })
}

// dueWants grafts what did not come on the tree, from one announcer after
// the other.
func (m *Machine) dueWants() {
	var grafts []*link // those with IDs to graft in this step
	for {
		t, ok := m.wantsDue.pop(m.now, m.wants)
		if !ok {
			break
		}
		w := m.wants[t.id]
		l := m.nextAnnouncer(w)
		switch {
		case l == nil && w.next < len(w.told):
			w.at = m.now + graftPause
		case l != nil:
			w.asked = l.peer
			w.next++
			w.at = m.now + max(m.o.GraftNext, l.rtt)
			if w.next == len(w.told) {
				w.at = m.now + max(lastGraftWait, 2*l.rtt)
			}
			if len(l.graft) == 0 {
				grafts = append(grafts, l)
			}
			l.graft = append(l.graft, t.id)
			if len(l.graft) == MaxGrafts {
				m.graft(l)
			}
		default:
			p := w.asked
			if p == (Peer{}) {
				p = w.by
			}
			m.unwant(t.id, w)
			m.emit(Missed{t.id, p})
			continue
		}
		m.wantsDue.push(timer{w.at, t.id})
	}
	for _, l := range grafts {
		if len(l.graft) > 0 {
			m.graft(l)
		}
	}
}

// nextAnnouncer is who the rumor is grafted from now. Nil means that nobody
// is left, or that the one to ask has been asked too much lately.
//
// Who was grafted from lately goes first. Many rumors missed at once were
// first announced on many links, and if all of them became eager, the copies
// would prune too many of them again.
func (m *Machine) nextAnnouncer(w *want) *link {
	rest := w.told[w.next:]
	for i, a := range rest {
		if l := m.link(a.peer); l != nil && l.state == active && l.graftAt > 0 && l.graftAt+graftMemory >= m.now {
			rest[0], rest[i] = rest[i], rest[0]
			break
		}
	}
	for ; w.next < len(w.told); w.next++ {
		l := m.link(w.told[w.next].peer)
		if l == nil || l.state != active {
			continue
		}
		if !l.graftsOut.take(m.now, 1, graftsPerSecond, 1) {
			return nil
		}
		return l
	}
	return nil
}

func (m *Machine) graft(l *link) {
	l.eager, l.graftAt = true, m.now
	m.stats.Grafts++
	m.say(l.peer, message{kind: GraftFrame, ids: l.graft})
	l.graft = nil
}

// grafted makes the link one of the tree, and sends what the peer missed.
func (m *Machine) grafted(l *link, ids []ID) {
	if l.state == active {
		l.eager = true
	}
	for _, id := range ids {
		have := m.cache.find(id)
		if have == nil {
			continue // a session will bring it
		}
		m.unlazy(l, id)
		hops := have.hops
		if hops < 255 {
			hops++
		}
		m.send(l.peer, rumorFrame(have.rumor, hops))
	}
}

// prune takes a link off the tree on which a copy too many came.
func (m *Machine) prune(l *link) {
	if l.state != active || m.o.Mode != Tree {
		return
	}
	l.eager = false
	m.stats.Prunes++
	m.say(l.peer, message{kind: PruneFrame})
}

// shorten moves the tree to an announcer that is nearer than the parent.
func (m *Machine) shorten(parent *link, c *candidate) {
	if len(c.told) == 0 {
		return
	}
	a := slices.MinFunc(c.told, func(a, b announcer) int { return cmp.Compare(a.hops, b.hops) })
	l := m.link(a.peer)
	if int(c.hops)-int(a.hops) < m.o.Shorter || l == nil || l.state != active || l == parent {
		return
	}
	if !l.graftsOut.take(m.now, 1, graftsPerSecond, 1) {
		return
	}
	m.graft(l)
	m.prune(parent)
}
