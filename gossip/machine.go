package gossip

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Mode is how rumors spread. All replicas of a space use one.
type Mode uint8

// The modes. In the last three each replica contacts one member a round.
const (
	Tree     Mode = iota // Plumtree over HyParView
	Push                 // who has hot rumors offers them
	Pull                 // everyone asks for hot rumors
	PushPull             // everyone offers its own and asks
)

// String names the mode.
func (m Mode) String() string {
	names := [...]string{"tree", "push", "pull", "push-pull"}
	if int(m) >= len(names) {
		return "unknown"
	}
	return names[m]
}

// Options configures New. Self and Rand are required; the zero value of
// everything else means the default, which is the project's.
type Options struct {
	Self Peer
	// Rand is the machine's own from now on. With the same seed and the
	// same inputs at the same times a machine gives the same outputs.
	Rand *rand.Rand
	Mode Mode

	// MeshPeers is how many known peers are all taken as neighbours.
	// Default 8.
	MeshPeers int
	// ActivePeers is how many neighbours there are above that, and
	// PassivePeers how many others are remembered. Default 6 and 36.
	ActivePeers, PassivePeers int
	// Shuffle is the mean time between exchanges of passive peers. Default
	// 60s; the actual times vary by half of it.
	Shuffle time.Duration

	// LazyDelay is how long IDs wait for others to be announced with.
	// Default 5ms.
	LazyDelay time.Duration
	// GraftAfter is how long an announced rumor is awaited on the tree, or
	// two round trips if that is more, and GraftNext how long the next
	// announcer waits for the one before it, or one round trip. Default
	// 200ms and 100ms.
	GraftAfter, GraftNext time.Duration
	// Shorter is how many hops an announcer must be nearer than the parent
	// to take its place in the tree. Default 7.
	Shorter int

	// CacheBytes and CacheAge bound the rumors kept for others. Default
	// 16 MiB and 60s.
	CacheBytes int
	CacheAge   time.Duration
	// SeenIDs is how many IDs one of two generations remembers. Default
	// 32 768: 3 MB for both.
	SeenIDs int

	// Round is the time between contacts in the modes Push, Pull and
	// PushPull, at multiples of it. Default 1s.
	Round time.Duration
	// Counter is after how many useless contacts a replica no longer mongers
	// a rumor; in Pull and PushPull, after how many useless rounds in a row.
	// 0 means that it mongers until the rumor leaves the cache.
	Counter int
}

func (o *Options) validate() error {
	var errs []error
	positive := func(name string, v, def int) int {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %d", name, v))
		}
		if v == 0 {
			return def
		}
		return v
	}
	lasting := func(name string, v, def time.Duration) time.Duration {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", name, v))
		}
		if v == 0 {
			return def
		}
		return v
	}
	if o.Rand == nil {
		errs = append(errs, errors.New("no Rand"))
	}
	if o.Mode > PushPull {
		errs = append(errs, fmt.Errorf("the mode is unknown: %d", o.Mode))
	}
	o.MeshPeers = positive("MeshPeers", o.MeshPeers, 8)
	o.ActivePeers = positive("ActivePeers", o.ActivePeers, 6)
	o.PassivePeers = positive("PassivePeers", o.PassivePeers, 36)
	o.Shuffle = lasting("Shuffle", o.Shuffle, time.Minute)
	o.LazyDelay = lasting("LazyDelay", o.LazyDelay, 5*time.Millisecond)
	o.GraftAfter = lasting("GraftAfter", o.GraftAfter, 200*time.Millisecond)
	o.GraftNext = lasting("GraftNext", o.GraftNext, 100*time.Millisecond)
	o.Shorter = positive("Shorter", o.Shorter, 7)
	o.CacheBytes = positive("CacheBytes", o.CacheBytes, 16<<20)
	o.CacheAge = lasting("CacheAge", o.CacheAge, time.Minute)
	o.SeenIDs = positive("SeenIDs", o.SeenIDs, 32<<10)
	o.Round = lasting("Round", o.Round, time.Second)
	o.Counter = positive("Counter", o.Counter, 0)
	if len(errs) > 0 {
		return fmt.Errorf("gossip: options: %w", errors.Join(errs...))
	}
	return nil
}

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
	cache    cache
	open     map[ID]*candidate // delivered or held, not judged for good
	held     fifo[waiting]     // undecided ones, by age; some are judged meanwhile
	accounts map[Peer]account

	members []Peer
	links   []*link // up or being opened, oldest first
	passive []Peer
	shunned []shunning

	wants    map[ID]*want
	wantsDue timers
	patience patience

	hot      []*hot // mongered here, oldest first
	hotByID  map[ID]*hot
	fetching map[ID]time.Duration // asked for in a reply, until then

	seekAt, shuffleAt, houseAt, roundAt time.Duration
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
	m.cache.most = o.CacheBytes
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
	m.due()
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
	for _, l := range m.links {
		if l.lazyAt <= m.now {
			m.announce(l)
		}
	}
	m.dueLinks()
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
	at := min(m.seekAt, m.shuffleAt, m.houseAt, m.roundAt, m.wantsDue.next())
	for _, l := range m.links {
		at = min(at, l.lazyAt, l.until)
	}
	return at
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
		if m.cache.byID[h.id] != nil {
			return false
		}
		delete(m.hotByID, h.id)
		return true
	})
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
	for _, l := range m.links {
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
	n := 1 + 2 + 32*(1+len(msg.ids)+len(msg.known)) + 33*len(msg.news)
	m.send(p, msg.appendTo(make([]byte, 0, n)))
}
