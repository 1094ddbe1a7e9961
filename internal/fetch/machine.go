package fetch

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"anabranch/blob"
)

// Peer is a device's key.
type Peer [32]byte

// Options configures New. The zero value is ready to use.
type Options struct {
	// PieceGroups is how many groups one request is for. Default 8.
	PieceGroups uint64
	// WindowMost bounds the requests that are out with one peer. Default 64.
	WindowMost int
	// Patience is how long a peer that owes something may send nothing.
	// After a quarter of it others are asked for the same. Default 8 s.
	Patience time.Duration
	// Active is how many contents are asked about at a time. Default 64.
	Active int
}

func (o Options) filled() Options {
	o.PieceGroups = cmp.Or(o.PieceGroups, 8)
	o.WindowMost = cmp.Or(o.WindowMost, 64)
	o.Patience = cmp.Or(o.Patience, 8*time.Second)
	o.Active = cmp.Or(o.Active, 64)
	return o
}

// Limits of the machine.
const (
	MaxAsk      = 64               // names in one question
	MaxPiece    = 64               // groups that one request may be for
	askAgain    = time.Second      // before a peer that lacked something is asked again; doubles
	askMost     = 30 * time.Second // …up to this
	crowdAgain  = 2 * time.Second  // between questions to the crowd about one name; doubles
	crowdMost   = time.Minute
	restLeast   = 5 * time.Second // a peer that stalled is left alone so long; doubles
	restMost    = 5 * time.Minute
	patientFor  = 5 * time.Second // a name that nobody has makes room for others after this
	windowLeast = 2
)

// Input is something that happened.
type Input interface{ input() }

type (
	// Want begins to fetch a content. Have is what of it is here, the
	// machine's from then on. Urgent ones come before others.
	Want struct {
		Name   blob.Name
		Have   *blob.Set
		Urgent bool
	}
	// Unwant ends it.
	Unwant struct{ Name blob.Name }
	// Urge says that a reader waits for a span, Eased that it does no more.
	Urge struct {
		Name blob.Name
		Span blob.Span
	}
	Eased struct{ Name blob.Name }
	// Joined and Left: a peer can be asked, or no more. What it owes is asked
	// of others.
	Joined struct{ Peer Peer }
	Left   struct{ Peer Peer }
	// Offered is a peer's answer: what it has, nil for nothing. Routed says
	// that it would have to get it itself.
	Offered struct {
		Peer   Peer
		Name   blob.Name
		Set    *blob.Set
		Whole  bool
		Routed bool
	}
	// Arrived: groups of a request were checked and written.
	Arrived struct {
		Peer    Peer
		Request uint32
		Span    blob.Span
	}
	// Ended: nothing more comes for a request. Its groups that have not
	// arrived are asked for again.
	Ended struct {
		Peer    Peer
		Request uint32
		How     Outcome
	}
	// Tick: time passed.
	Tick struct{}
)

func (Want) input()    {}
func (Unwant) input()  {}
func (Urge) input()    {}
func (Eased) input()   {}
func (Joined) input()  {}
func (Left) input()    {}
func (Offered) input() {}
func (Arrived) input() {}
func (Ended) input()   {}
func (Tick) input()    {}

// Outcome is how a request ended.
type Outcome uint8

const (
	Served Outcome = iota // all of it came
	Absent                // the peer has it no more
	Busy                  // the peer has no room for it now
	False                 // the peer sent what is not of the content
	Unkept                // it could not be written here
)

// Output is something to do.
type Output interface{ output() }

type (
	// Ask asks a peer what it has of some contents.
	Ask struct {
		Peer  Peer
		Names []blob.Name
	}
	// Get asks a peer for a span.
	Get struct {
		Peer    Peer
		Request uint32
		Name    blob.Name
		Span    blob.Span
	}
	// Cut ends the stream with a peer that sends nothing. Left follows.
	Cut struct{ Peer Peer }
	// Blame names a peer that sent what is false.
	Blame struct {
		Peer Peer
		Name blob.Name
	}
	// Crowd asks members beyond the connected ones.
	Crowd struct{ Name blob.Name }
	// Done: all of a content is here.
	Done struct{ Name blob.Name }
)

func (Ask) output()   {}
func (Get) output()   {}
func (Cut) output()   {}
func (Blame) output() {}
func (Crowd) output() {}
func (Done) output()  {}

// Machine is the state of all fetches in one space. One goroutine owns it.
type Machine struct {
	o       Options
	now     time.Time
	peers   map[Peer]*source
	order   []Peer // of peers, ascending: no map order reaches an output
	wants   map[blob.Name]*want
	queue   []*want // in the order in which they are served
	request uint32
	out     []Output
}

type want struct {
	name    blob.Name
	have    *blob.Set
	claimed *blob.Set // have, and what is asked for
	urgent  bool
	urge    blob.Span // empty: no reader waits
	since   time.Time // active from
	proven  bool      // the last group is here: the size is true
	crowdAt time.Time // not before
	crowds  int
	done    bool
	liars   map[Peer]bool
}

// source is a peer that can be asked.
type source struct {
	peer    Peer
	offers  map[blob.Name]*offer
	out     []*piece // in the order in which they were asked for
	window  int
	base    time.Duration // the least that a piece took
	good    int           // pieces since the window was looked at
	rest    time.Time     // nothing is asked before
	stalls  int
	heard   time.Time // the last sign of life while it owes something
	cut     bool
	barred  time.Time // of a liar
	present bool
}

type offer struct {
	asked, answered bool
	again           time.Time
	tries           int
	set             *blob.Set
	whole, routed   bool
}

func (f *offer) has(span blob.Span) bool { return f.whole || f.set != nil && f.set.HasAll(span) }

type piece struct {
	request  uint32
	want     *want
	span     blob.Span
	at       time.Time
	released bool // others may be asked for what is missing of it
}

// New is a machine that wants nothing and knows nobody.
func New(o Options) *Machine {
	return &Machine{o: o.filled(), peers: map[Peer]*source{}, wants: map[blob.Name]*want{}}
}

// Step consumes one input and returns what the shell must do, in order. now
// never goes backwards between calls. Cost: O(peers) and what is decided.
func (m *Machine) Step(now time.Time, in Input) []Output {
	m.now, m.out = now, nil
	switch in := in.(type) {
	case Want:
		m.want(in)
	case Unwant:
		if w := m.wants[in.Name]; w != nil {
			m.drop(w)
		}
	case Urge:
		if w := m.wants[in.Name]; w != nil && in.Span.Within(in.Name) {
			w.urge = in.Span
			m.first(w)
		}
	case Eased:
		if w := m.wants[in.Name]; w != nil {
			w.urge = blob.Span{}
		}
	case Joined:
		m.join(in.Peer)
	case Left:
		m.leave(in.Peer)
	case Offered:
		m.offered(in)
	case Arrived:
		m.arrived(in)
	case Ended:
		m.ended(in)
	case Tick:
		m.tick()
	}
	m.fill()
	return m.out
}

// Next is when a Tick is due; the zero time if none is.
func (m *Machine) Next() time.Time {
	if len(m.wants) == 0 {
		return time.Time{}
	}
	return m.now.Add(m.o.Patience / 8)
}

func (m *Machine) do(o Output) { m.out = append(m.out, o) }

func (m *Machine) want(in Want) {
	if w := m.wants[in.Name]; w != nil {
		if in.Urgent && !w.urgent {
			w.urgent = true
			m.first(w)
		}
		return
	}
	have := in.Have
	if have == nil {
		have = blob.NewSet(in.Name)
	}
	w := &want{name: in.Name, have: have, claimed: have.Clone(), urgent: in.Urgent, liars: map[Peer]bool{}}
	w.proven = have.Has(in.Name.Groups() - 1)
	m.wants[in.Name] = w
	m.queue = append(m.queue, w)
	if in.Urgent {
		m.first(w)
	}
	if have.Full() {
		m.finish(w)
	}
}

// first puts a want before all others.
func (m *Machine) first(w *want) {
	i := slices.Index(m.queue, w)
	if i > 0 {
		m.queue = slices.Insert(slices.Delete(m.queue, i, i+1), 0, w)
	}
}

func (m *Machine) drop(w *want) {
	delete(m.wants, w.name)
	if i := slices.Index(m.queue, w); i >= 0 {
		m.queue = slices.Delete(m.queue, i, i+1)
	}
	for _, s := range m.peers {
		delete(s.offers, w.name)
	}
	w.done = true
}

func (m *Machine) finish(w *want) {
	m.drop(w)
	m.do(Done{w.name})
}

func (m *Machine) join(p Peer) {
	s := m.peers[p]
	if s == nil {
		s = &source{peer: p}
		m.peers[p] = s
		i, _ := slices.BinarySearchFunc(m.order, p, comparePeers)
		m.order = slices.Insert(m.order, i, p)
	}
	s.present, s.cut, s.window, s.base, s.good = true, false, windowLeast, 0, 0
	s.offers = map[blob.Name]*offer{}
}

func comparePeers(a, b Peer) int { return bytes.Compare(a[:], b[:]) }

// leave keeps what a peer did wrong, for when it comes back.
func (m *Machine) leave(p Peer) {
	s := m.peers[p]
	if s == nil {
		return
	}
	for _, x := range s.out {
		m.release(x)
	}
	s.out, s.offers, s.present, s.cut = nil, nil, false, false
	if !m.now.Before(s.rest) && !m.now.Before(s.barred) && s.stalls == 0 {
		delete(m.peers, p)
		if i, found := slices.BinarySearchFunc(m.order, p, comparePeers); found {
			m.order = slices.Delete(m.order, i, i+1)
		}
	}
}

// release lets others be asked for what is missing of a piece.
func (m *Machine) release(x *piece) {
	if x.released || x.want.done {
		return
	}
	x.released = true
	for i := x.span.Begin; i < x.span.End; i++ {
		if !x.want.have.Has(i) {
			x.want.claimed.Remove(blob.Span{Begin: i, End: i + 1})
		}
	}
}

func (m *Machine) offered(in Offered) {
	s, w := m.peers[in.Peer], m.wants[in.Name]
	if s == nil || !s.present || w == nil {
		return
	}
	f := s.offer(in.Name)
	f.answered, f.set, f.whole, f.routed = true, in.Set, in.Whole, in.Routed
	if in.Whole || in.Set != nil && in.Set.Len() > 0 {
		if f.tries = 0; !in.Whole {
			f.again = m.now.Add(askAgain) // it may have more soon
		}
		return
	}
	f.set = nil
	f.again = m.now.Add(min(askMost, askAgain<<min(f.tries, 6)))
	f.tries++
}

func (s *source) offer(name blob.Name) *offer {
	f := s.offers[name]
	if f == nil {
		f = &offer{}
		s.offers[name] = f
	}
	return f
}

func (s *source) find(request uint32) int {
	return slices.IndexFunc(s.out, func(x *piece) bool { return x.request == request })
}

func (m *Machine) arrived(in Arrived) {
	s := m.peers[in.Peer]
	if s == nil {
		return
	}
	i := s.find(in.Request)
	if i < 0 {
		return
	}
	s.heard = m.now
	w := s.out[i].want
	if w.done {
		return
	}
	w.have.Add(in.Span)
	w.claimed.Add(in.Span)
	w.crowds = 0
	if w.have.Has(w.name.Groups() - 1) {
		w.proven = true
	}
	if w.have.Full() {
		m.finish(w)
	}
}

func (m *Machine) ended(in Ended) {
	s := m.peers[in.Peer]
	if s == nil {
		return
	}
	i := s.find(in.Request)
	if i < 0 {
		return
	}
	x := s.out[i]
	s.out = slices.Delete(s.out, i, i+1)
	s.heard = m.now
	m.release(x)
	w := x.want
	switch in.How {
	case Served:
		s.stalls = 0
		s.adapt(m.now.Sub(x.at), m.o.WindowMost)
	case Absent:
		if f := s.offers[w.name]; f != nil {
			f.set, f.whole = nil, false
			f.again = m.now.Add(min(askMost, askAgain<<min(f.tries, 6)))
			f.tries++
		}
	case Busy:
		s.rest = m.now.Add(askAgain)
	case False:
		if !w.liars[s.peer] {
			w.liars[s.peer] = true
			m.do(Blame{s.peer, w.name})
		}
		s.barred = m.now.Add(restLeast)
	case Unkept:
		if !w.done {
			m.drop(w)
		}
	}
}

// adapt keeps about one piece more on its way than the way holds: took is
// what a piece took, base the least that one ever did.
func (s *source) adapt(took time.Duration, most int) {
	if s.base == 0 || took < s.base {
		s.base = max(took, 1)
	}
	if s.good++; s.good < s.window {
		return
	}
	s.good = 0
	waiting := float64(s.window) * (1 - float64(s.base)/float64(max(took, 1)))
	switch {
	case waiting < 1.2 && s.window < most:
		s.window++
		if waiting < 0.5 && s.window > 4 {
			s.window = min(most, s.window+s.window/2) // far from full
		}
	case waiting > 2.5 && s.window > windowLeast:
		s.window--
	}
}

func (m *Machine) tick() {
	for _, p := range m.order {
		s := m.peers[p]
		if !s.present || len(s.out) == 0 || s.cut {
			continue
		}
		switch silent := m.now.Sub(s.heard); {
		case silent >= m.o.Patience:
			s.cut = true
			s.rest = m.now.Add(min(restMost, restLeast<<min(s.stalls, 6)))
			s.stalls++
			for _, x := range s.out {
				m.release(x)
			}
			m.do(Cut{p})
		case silent >= m.o.Patience/4:
			for _, x := range s.out {
				m.release(x)
			}
		}
	}
}
