package engine

import (
	"math/rand/v2"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

// Engine is what one replica decides. It has one caller.
type Engine struct {
	o      Options
	rand   *rand.Rand
	now    time.Duration
	out    []Output
	online bool

	spaces []*space // by ID
	peers  roster
	order  []*peer // the same, oldest first: no map order reaches an output

	sessions map[Session]*session
	begun    Session // the last number given
	theirs   int     // sessions of others, running or waiting

	told    []told       // for gossip machines, once the one at hand is done
	rumors  gossip.Frame // the one among them, if the input is a frame
	dueAt   time.Duration
	changed bool // dueAt is to be computed anew
	stats   Stats
}

// told is an input that waits for a gossip machine.
type told struct {
	space *space
	in    gossip.Input
}

// Stats counts what an engine did since New.
type Stats struct {
	Begun, Served, Waited uint64 // sessions: begun here, answered, and of those the ones that had to wait
	Dials                 uint64
	Charges, Bans         uint64
	Dropped               uint64 // rumors, notes and frames at a bound of this engine
}

// New returns an engine without spaces and connections. Every mistake in the
// options is reported at once.
func New(o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Engine{
		o: o, rand: o.Rand, online: true, dueAt: never,
		sessions: make(map[Session]*session),
	}, nil
}

// Step consumes one input and returns what the shell must do, in order. The
// slice is reused by the next Step. now is the time since some fixed moment,
// on a clock that is not set: a step back is taken as no step.
func (e *Engine) Step(now time.Duration, in Input) []Output {
	e.now = max(e.now, now)
	clear(e.out)
	e.out = e.out[:0]
	switch in := in.(type) {
	case Joined:
		e.joined(in)
	case Left:
		e.left(in.Space)
	case Online:
		e.setOnline(in.On)
	case PeerUp:
		e.peerUp(in)
	case PeerDown:
		e.peerDown(in.Peer)
	case Found:
		e.found(in.Peer)
	case StreamUp:
		e.streamUp(in.Peer)
	case StreamDown:
		if p := e.peers.find(in.Peer); p != nil {
			e.streamDown(p)
		}
	case Frame:
		e.frame(in.Peer, in.Bytes)
	case *Frame:
		e.frame(in.Peer, in.Bytes)
	case Committed:
		e.committed(in)
	case Judged:
		e.judged(in)
	case Asked:
		e.asked(in)
	case Began:
		e.began(in)
	case Progress:
		e.progress(in.Session)
	case Ended:
		e.ended(in)
	case Note:
		e.note(in)
	case NoteJudged:
		e.noteJudged(in)
	case Caught:
		e.charge(in.Peer, in.Space, in.Reason, ID{})
	}
	e.settle()
	return e.out
}

// settle does everything whose time has come.
func (e *Engine) settle() {
	e.flush()
	for _, s := range e.spaces {
		if s.machine.Next() <= e.now {
			e.tell(s, gossip.Tick{})
		}
	}
	e.flush()
	if e.changed || e.now >= e.dueAt {
		e.changed = false
		e.due()
		e.flush()
		e.dueAt = e.next()
	}
}

// Next is when the engine wants its next Tick, if no other input comes
// before. It is the largest Duration if it wants none.
func (e *Engine) Next() time.Duration {
	at := e.dueAt
	for _, s := range e.spaces {
		at = min(at, s.machine.Next())
	}
	return at
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats { return e.stats }

// Gossip returns the counts of a space's gossip, its neighbours, and those of
// them that get rumors at once.
func (e *Engine) Gossip(id record.SpaceID) (stats gossip.Stats, neighbors, eager []Peer) {
	s := e.space(id)
	if s == nil {
		return gossip.Stats{}, nil, nil
	}
	return s.machine.Stats(), s.machine.Neighbors(), s.machine.EagerPeers()
}

func (e *Engine) emit(o Output) { e.out = append(e.out, o) }

// vary is between half and one and a half of d.
func (e *Engine) vary(d time.Duration) time.Duration {
	return d/2 + time.Duration(e.rand.Int64N(int64(d)+1))
}

// tell gives a gossip machine an input, after what it has been told before.
func (e *Engine) tell(s *space, in gossip.Input) {
	e.told = append(e.told, told{s, in})
}

// flush steps the machines until none has been told anything more.
func (e *Engine) flush() {
	for i := 0; i < len(e.told); i++ {
		t := e.told[i]
		if t.space.gone {
			continue
		}
		var last []byte // the frame before, and as it was wrapped for a channel
		var wrapped []byte
		var channel uint8
		for _, out := range t.space.machine.Step(e.now, t.in) {
			switch out := out.(type) {
			case gossip.Send:
				number, ok := e.channelTo(out.Peer, t.space)
				if !ok {
					continue
				}
				if wrapped == nil || channel != number || &last[0] != &out.Frame[0] || len(last) != len(out.Frame) {
					last, channel = out.Frame, number
					wrapped = frame{kind: frameRumors, channel: channel, body: out.Frame}.encode()
				}
				e.emit(Send{out.Peer, wrapped})
			case gossip.Deliver:
				e.deliver(t.space, out)
			case gossip.Connect:
				e.connect(t.space, out.Peer)
			case gossip.Charge:
				e.charge(out.Peer, t.space.id, reasonOf(out.Reason), out.ID)
			case gossip.Missed:
				e.missed(t.space, out.Peer)
			}
		}
	}
	clear(e.told)
	e.told = e.told[:0]
}

func reasonOf(r gossip.Reason) Reason {
	switch r {
	case gossip.Invalid:
		return Invalid
	case gossip.Conflict:
		return Conflict
	case gossip.Flood:
		return Flood
	}
	return Malformed
}

// space is one space of this replica.
type space struct {
	id      record.SpaceID
	members []Peer // ascending
	machine *gossip.Machine
	gone    bool
	mute    bool // Self is no member: peers are answered, nothing is begun

	movedAt   time.Duration
	antiAt    time.Duration // of a space with many members
	published bucket
	judging   []judging // by no order; few at a time
	held      []judging // undecided, oldest first
	heldBytes int
	announced []announced // too large for a rumor, oldest first
	running   []*session  // begun here, of peers, and waiting, oldest first
	notes     []*noted    // oldest first
	noteBytes int
}

func (e *Engine) space(id record.SpaceID) *space {
	i, ok := slices.BinarySearchFunc(e.spaces, id, func(s *space, id record.SpaceID) int {
		return slices.Compare(s.id[:], id[:])
	})
	if !ok {
		return nil
	}
	return e.spaces[i]
}

// has reports whether the peer is a member.
func (s *space) has(p Peer) bool {
	_, ok := slices.BinarySearchFunc(s.members, p, compare)
	return ok
}

// small reports whether all members are kept connected.
func (s *space) small() bool { return len(s.members) <= meshMembers && !s.mute }

func compare(a, b Peer) int { return slices.Compare(a[:], b[:]) }

func (e *Engine) joined(in Joined) {
	s := e.space(in.Space)
	if s == nil {
		o := e.o.Gossip
		o.Rand = e.rand
		m, err := gossip.New(o)
		if err != nil {
			panic("engine: " + err.Error()) // New has tried them
		}
		s = &space{id: in.Space, machine: m, antiAt: never}
		if e.o.SyncInterval > 0 {
			s.antiAt = e.now + e.vary(e.o.SyncInterval)
		}
		i, _ := slices.BinarySearchFunc(e.spaces, s.id, func(s *space, id record.SpaceID) int {
			return slices.Compare(s.id[:], id[:])
		})
		e.spaces = slices.Insert(e.spaces, i, s)
	}
	s.members = in.Members
	s.mute = !s.has(e.o.Self)
	e.tell(s, gossip.Members{Peers: in.Members})
	e.dropNotes(s)
	e.review()
}

func (e *Engine) left(id record.SpaceID) {
	s := e.space(id)
	if s == nil {
		return
	}
	s.gone = true
	s.members = nil
	e.spaces = slices.DeleteFunc(e.spaces, func(t *space) bool { return t == s })
	e.review()
	for _, r := range slices.Clone(s.running) {
		if r.waiting {
			e.emit(Refuse{r.number})
		}
		e.drop(r)
	}
}

func (e *Engine) setOnline(on bool) {
	if e.online == on {
		return
	}
	e.online = on
	e.changed = true
	if on {
		e.found(Peer{})
	}
}

// bucket bounds a rate: it is the time at which everything spent so far is
// paid for.
type bucket time.Duration

// take spends n at a rate per second, unless that is more than seconds ahead.
func (b *bucket) take(now time.Duration, n, rate int, seconds time.Duration) bool {
	paid := max(time.Duration(*b), now) + time.Duration(n)*time.Second/time.Duration(rate)
	if paid > now+seconds*time.Second {
		return false
	}
	*b = bucket(paid)
	return true
}
