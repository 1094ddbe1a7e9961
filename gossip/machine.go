package gossip

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"
)

// never is the time of what is not due.
const never = time.Duration(math.MaxInt64)

// Machine is one replica's part in the gossip of one space. It has one caller.
type Machine struct {
	o       Options
	now     time.Duration
	out     []Output
	started bool
	stats   Stats

	seen     memory
	lately   map[ID]time.Duration // came by other means then, and not as a rumor yet
	cache    cache
	open     map[ID]*candidate // delivered or held, not judged for good
	held     fifo[waiting]     // undecided ones, by age; some are judged meanwhile
	accounts []accountOf

	members []Peer
	links   linkList
	passive []Peer
	shunned []shunning

	wants    map[ID]*want
	wantsDue timers
	patience patience

	hot      []*hot // mongered here, oldest first
	hotByID  map[ID]*hot
	fetching map[ID]time.Duration // asked for in a reply, until then

	seekAt, shuffleAt, houseAt, roundAt time.Duration
	linksAt                             time.Duration // the first lazyAt or until
	rewind                              bool          // linksAt is to be computed anew
	nextAt                              time.Duration // the first of all
	seekFails                           int
	awaiting                            bool // the answer to a shuffle
}

// Stats counts what a machine did since New.
type Stats struct {
	Published, Accepted, Rejected uint64 // rumors
	Copies                        uint64 // payloads and announcements received
	Duplicates                    uint64 // of them, of rumors that were here already
	Offered                       uint64 // IDs announced or offered
	Grafts, Prunes                uint64 // sent
	FramesOut, BytesOut           uint64 // Sends, without what links add
	Dropped                       uint64 // rumors at a bound of this machine
}

// New returns a machine without links. Every mistake in the options is
// reported at once.
func New(o Options) (*Machine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m := &Machine{o: o}
	m.seen.size = o.SeenIDs
	m.seen.salt = binary.LittleEndian.Uint64(o.Self[:8])
	m.cache.most, m.cache.age, m.linksAt = o.CacheBytes, o.CacheAge, never
	return m, nil
}

// Step consumes one input and returns what the caller must do, in order. The
// slice is reused by the next Step. now is the time since some fixed moment,
// on a clock that is not set: a step back is taken as no step.
func (m *Machine) Step(now time.Duration, in Input) []Output {
	m.now = max(m.now, now)
	clear(m.out)
	m.out = m.out[:0]
	if !m.started {
		m.start()
	}
	switch in := in.(type) {
	case Frame:
		m.frame(in.Peer, in.Bytes)
	case *Frame:
		m.frame(in.Peer, in.Bytes)
	case Judged:
		m.judged(in.ID, in.Verdict)
	case Publish:
		m.publish(in.Rumor)
	case Learned:
		m.learned(in.ID)
	case PeerUp:
		m.peerUp(in)
	case PeerDown:
		m.peerDown(in.Peer)
	case Members:
		m.newMembers(in.Peers)
	}
	if m.nextAt = m.next(); m.nextAt <= m.now {
		m.due()
		m.nextAt = m.next()
	}
	return m.out
}

func (m *Machine) start() {
	m.started = true
	m.houseAt = m.now + m.vary(min(housekeeping, m.o.CacheAge))
	m.seekAt, m.shuffleAt, m.roundAt = never, never, never
	if m.o.Mode == Tree {
		m.seekAt = m.now
		m.shuffleAt = m.now + m.vary(m.o.Shuffle)
	} else {
		m.nextRound()
	}
}

// vary is between half and one and a half of d.
func (m *Machine) vary(d time.Duration) time.Duration {
	return d/2 + time.Duration(m.o.Rand.Int64N(int64(d)+1))
}

// due does everything whose time has come.
func (m *Machine) due() {
	if m.now >= m.roundAt {
		m.round()
		m.nextRound()
	}
	m.dueWants()
	if m.linksAt <= m.now {
		for _, l := range m.links.all {
			if l.lazyAt <= m.now {
				m.announce(l)
			}
		}
		m.dueLinks()
	}
	if m.now >= m.seekAt {
		m.seek()
	}
	if m.now >= m.shuffleAt {
		m.shuffle()
		m.shuffleAt = m.now + m.vary(m.o.Shuffle)
	}
	if m.now >= m.houseAt {
		m.keepHouse()
		m.houseAt = m.now + m.vary(min(housekeeping, m.o.CacheAge))
	}
}

// Next is when the machine wants its next Tick, if no other input comes
// before. It is the largest Duration before the first Step.
func (m *Machine) Next() time.Duration {
	if !m.started {
		return never
	}
	return m.nextAt
}

func (m *Machine) next() time.Duration {
	m.wantsDue.trim(m.wants)
	if m.rewind {
		m.rewind, m.linksAt = false, never
		for _, l := range m.links.all {
			m.linksAt = min(m.linksAt, l.lazyAt, l.until)
		}
	}
	return min(m.seekAt, m.shuffleAt, m.houseAt, m.roundAt, m.linksAt, m.wantsDue.next())
}

// keepHouse drops what is too old to keep.
func (m *Machine) keepHouse() {
	m.cache.expire(m.now - m.o.CacheAge)
	for m.held.len() > 0 && m.held.first().at < m.now-holdTime {
		w := m.held.pop()
		if c := m.open[w.id]; c != nil && c.held && c.at == w.at {
			m.stats.Dropped++
			m.close(c)
		}
	}
	m.hot = slices.DeleteFunc(m.hot, func(h *hot) bool {
		if m.cache.find(h.id) != nil {
			return false
		}
		delete(m.hotByID, h.id)
		return true
	})
	maps.DeleteFunc(m.lately, func(_ ID, at time.Duration) bool { return at+latelyTime <= m.now })
	for len(m.shunned) > 0 && m.shunned[0].until <= m.now {
		m.shunned = m.shunned[1:]
	}
	m.trim()
}

// Stats returns the counts so far.
func (m *Machine) Stats() Stats { return m.stats }

// Neighbors returns the active view, ascending.
func (m *Machine) Neighbors() []Peer { return m.activePeers(false) }

// EagerPeers returns the neighbours that get rumors at once: this replica's
// links in the tree, ascending.
func (m *Machine) EagerPeers() []Peer { return m.activePeers(true) }

func (m *Machine) activePeers(eager bool) []Peer {
	var peers []Peer
	for _, l := range m.links.all {
		if l.state == active && (l.eager || !eager) {
			peers = append(peers, l.peer)
		}
	}
	slices.SortFunc(peers, compare)
	return peers
}

// Passive returns the passive view, ascending.
func (m *Machine) Passive() []Peer {
	return slices.SortedFunc(slices.Values(m.passive), compare)
}

func compare(a, b Peer) int { return slices.Compare(a[:], b[:]) }

func (m *Machine) emit(o Output) { m.out = append(m.out, o) }

func (m *Machine) send(p Peer, frame []byte) {
	m.stats.FramesOut++
	m.stats.BytesOut += uint64(len(frame))
	m.emit(Send{p, frame})
}

func (m *Machine) say(p Peer, msg message) {
	m.send(p, msg.appendTo(make([]byte, 0, msg.most())))
}
