package session

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"anabranch/reconcile"
	"anabranch/record"
)

// Forecast is what a session between two views would do, made without moving
// a record. It is the responder's choice, as it would be made in a session.
type Forecast struct {
	Method   Method
	Differ   int        // records of one side alone, by estimate
	Bytes    uint64     // of frames beside records, hello included; by estimate
	Options  []Expected // the methods that were weighed; none if there was no choice
	Control  bool       // control records differ: they come first, and change what is estimated
	Sweeps   bool       // sweeps differ
	Here     uint64     // records under Root
	There    uint64     // records under PeerRoot
	Root     [32]byte   // of the view that was looked from
	PeerRoot [32]byte
}

// Expected is what one method would cost.
type Expected struct {
	Method Method
	Bytes  uint64
}

// Equal reports whether both hold the same set.
func (f *Forecast) Equal() bool { return f.Root == f.PeerRoot && f.Here == f.There }

// methods in the order of their numbers in a forecast frame.
var methods = append([]Method{Equal, Ranges, Bulk}, optional...)

// A Look is the side that asks what a session would do, and what both differ
// in. Nothing is verified, committed or sent but comparisons: a frame out, a
// frame back. It belongs to one goroutine. See docs/session.md.
type Look struct {
	s      *Session
	hello  int // bytes of the first exchange
	ranges *reconcile.Initiator
	ours   map[record.ID]struct{}
	theirs map[record.ID]struct{}
	idle   int
}

// NewLook makes the first frame of a look.
func NewLook(o Options) (*Look, []byte, error) {
	s, err := newSession(o, true)
	if err != nil {
		return nil, nil, err
	}
	if s.mine, err = stateOf(s.view); err != nil {
		return nil, nil, err
	}
	s.seed = o.Nonce
	h := Hello{
		FrameBytes: s.o.FrameBytes,
		Nonce:      o.Nonce,
		Tag:        tag(helloLabel, o.Space, o.Self, o.Peer, o.Nonce),
		state:      s.mine,
	}
	sk, err := sketchOf(s.view)
	if err != nil {
		return nil, nil, err
	}
	if sk != nil {
		short, err := s.firstAsk()
		if err == nil {
			h.ask, err = askAbout(s.view, sk)
		}
		if err != nil {
			return nil, nil, err
		}
		h.Seek = true
		h.ask.cursor, h.ask.without = short.cursor, s.without()
	}
	frame := h.append(nil, HelloFrame)
	return &Look{s: s, hello: len(frame)}, frame, nil
}

// Forecast takes the answer to the first frame.
func (l *Look) Forecast(frame []byte) (Forecast, error) {
	s := l.s
	if len(frame) == 1 && FrameType(frame[0]) == RefusedFrame {
		return Forecast{}, ErrRefused
	}
	if len(frame) == 0 || FrameType(frame[0]) != ForecastFrame {
		return Forecast{}, &FrameError{Frame: ForecastFrame, Reason: "another frame in its place"}
	}
	r := reader{frame: ForecastFrame, b: frame[1:]}
	limit := int(r.uvarint(MaxFrameBytes))
	if r.err == nil && limit < MinFrameBytes {
		r.fail("frames of %d bytes, at least %d", limit, MinFrameBytes)
	}
	var its [16]byte
	r.copy(its[:])
	s.theirs = r.state()
	f := Forecast{Method: r.method(), Differ: int(r.uvarint(1 << 31)), Bytes: r.uvarint(1 << 62)}
	n := r.uvarint(uint64(len(methods)))
	for range n {
		f.Options = append(f.Options, Expected{r.method(), r.uvarint(1 << 62)})
	}
	if err := r.end(); err != nil {
		return Forecast{}, err
	}
	if want := tag(lookLabel, s.o.Space, s.o.Self, s.o.Peer, s.seed); !hmac.Equal(want[:], its[:]) {
		return Forecast{}, ErrTag
	}
	s.limit = min(s.limit, limit)
	f.Control = s.mine.control != s.theirs.control
	f.Sweeps = s.mine.sweeps != s.theirs.sweeps
	f.Root, f.Here, f.PeerRoot, f.There = s.mine.root, s.mine.count, s.theirs.root, s.theirs.count
	if f.Equal() != (f.Method == Equal) {
		return Forecast{}, &FrameError{Frame: ForecastFrame, Reason: "equal, and roots that differ"}
	}
	f.Bytes += uint64(l.hello)
	return f, nil
}

// Compare begins to compare all that both hold, control records and sweeps
// included, by whole IDs. It is asked after Forecast, once.
func (l *Look) Compare() ([]byte, error) {
	l.ours, l.theirs = map[record.ID]struct{}{}, map[record.ID]struct{}{}
	var err error
	if l.ranges, err = reconcile.NewInitiator(l.s.view.Index(), l.s.reconcileOptions()); err != nil {
		return nil, err
	}
	query, err := l.ranges.Start()
	return comparison(query), err
}

// Step takes an answer. It returns the next frame, nil when all is known.
func (l *Look) Step(frame []byte) ([]byte, error) {
	if len(frame) == 0 || FrameType(frame[0]) != ReconcileFrame {
		return nil, &FrameError{Frame: ReconcileFrame, Reason: "another frame in its place"}
	}
	if len(frame) > l.s.limit {
		return nil, &LimitError{What: "bytes in a frame", Limit: uint64(l.s.limit)}
	}
	next, have, need, err := l.ranges.Step(frame[1:])
	if err != nil {
		return nil, err
	}
	known := len(l.ours) + len(l.theirs)
	for _, id := range have {
		l.ours[id] = struct{}{}
	}
	for _, id := range need {
		l.theirs[id] = struct{}{}
	}
	if l.idle++; len(l.ours)+len(l.theirs) > known {
		l.idle = 0
	}
	switch {
	case uint64(len(l.theirs)) > l.s.theirs.count:
		return nil, &LimitError{What: "records of the peer, by its own count", Limit: l.s.theirs.count}
	case l.idle > maxIdleRounds:
		return nil, ErrNoProgress
	case next == nil:
		return nil, nil
	}
	return comparison(next), nil
}

// Found is what was found so far: the IDs of what only this side holds, and
// of what only the other does, ascending.
func (l *Look) Found() (ours, theirs []record.ID) {
	order := func(a, b record.ID) int { return bytes.Compare(a[:], b[:]) }
	return slices.SortedFunc(maps.Keys(l.ours), order), slices.SortedFunc(maps.Keys(l.theirs), order)
}

// A Shown is the side that answers a look.
type Shown struct {
	s       *Session
	answers *reconcile.Responder
	queries int
}

// Show answers the first frame of a look, of which the shell has found by
// ParseHello and Tag that it is about this space.
func Show(o Options, first []byte) (*Shown, []byte, error) {
	h, err := ParseHello(first)
	if err != nil {
		return nil, nil, err
	}
	s, err := newSession(o, false)
	if err != nil {
		return nil, nil, err
	}
	if s.mine, err = stateOf(s.view); err != nil {
		return nil, nil, err
	}
	s.seed, s.theirs = h.Nonce, h.state
	s.limit = min(s.o.FrameBytes, h.FrameBytes)
	if err := s.takeAsk(h); err != nil {
		return nil, nil, err
	}
	f, err := s.forecast(h)
	if err != nil {
		return nil, nil, err
	}
	its := tag(lookLabel, o.Space, o.Peer, o.Self, s.seed)
	frame := binary.AppendUvarint([]byte{byte(ForecastFrame)}, uint64(s.o.FrameBytes))
	frame = s.mine.append(append(frame, its[:]...))
	frame = binary.AppendUvarint(append(frame, f.Method.number()), uint64(f.Differ))
	frame = binary.AppendUvarint(frame, f.Bytes)
	frame = binary.AppendUvarint(frame, uint64(len(f.Options)))
	for _, e := range f.Options {
		frame = binary.AppendUvarint(append(frame, e.Method.number()), e.Bytes)
	}
	return &Shown{s: s}, frame, nil
}

// Answer answers a comparison.
func (w *Shown) Answer(frame []byte) ([]byte, error) {
	switch {
	case len(frame) == 0 || FrameType(frame[0]) != ReconcileFrame:
		return nil, &FrameError{Frame: ReconcileFrame, Reason: "another frame in its place"}
	case len(frame) > w.s.limit:
		return nil, &LimitError{What: "bytes in a frame", Limit: uint64(w.s.limit)}
	}
	if w.queries++; uint64(w.queries) > w.s.mostQueries() {
		return nil, &LimitError{What: "rounds of reconciliation", Limit: w.s.mostQueries()}
	}
	if w.answers == nil {
		var err error
		if w.answers, err = reconcile.NewResponder(w.s.view.Index(), w.s.reconcileOptions()); err != nil {
			return nil, err
		}
	}
	answer, err := w.answers.Respond(frame[1:])
	return comparison(answer), err
}

func comparison(message []byte) []byte {
	return append([]byte{byte(ReconcileFrame)}, message...)
}

// forecast chooses as makePlan does.
func (s *Session) forecast(h Hello) (Forecast, error) {
	same := s.mine.control == s.theirs.control && s.mine.sweeps == s.theirs.sweeps
	apart := gap(s.mine.count, s.theirs.count)
	f := Forecast{Method: Ranges, Differ: max(1, apart)}
	switch {
	case s.mine.agrees(s.theirs):
		return Forecast{Method: Equal}, nil
	case same && s.bulkDue():
		f.Method = Bulk
		return f, nil
	case s.logged != nil:
		f.Method, f.Differ = MethodCursor, len(s.logged)
		return f, nil
	case !s.seek:
		f.Bytes = uint64(rangesBytes(f.Differ, s.mine.count, s.theirs.count))
		return f, nil
	}
	sk, err := sketchOf(s.view)
	if err != nil {
		return f, err
	}
	if h.ask.estimator == nil {
		return f, &FrameError{Frame: HelloFrame, Reason: "nothing is told"}
	}
	p := planner{view: s.view, sk: sk, ours: s.mine.count, theirs: s.theirs.count, ask: h.ask, allow: s.allowed}
	chosen, err := p.decide()
	if err != nil {
		return f, err
	}
	f.Method, f.Differ = chosen.kind.method(), p.differ
	if chosen.kind == planPrefix {
		ours, theirs := p.decoder.Found()
		f.Differ = len(ours) + len(theirs)
		f.Bytes = uint64(float64(len(theirs)) * nameBytes(s.theirs.count, len(theirs)))
	}
	for _, c := range p.tried {
		if c.kind == chosen.kind {
			f.Bytes = uint64(c.bytes)
		}
		f.Options = append(f.Options, Expected{c.kind.method(), uint64(c.bytes)})
	}
	return f, nil
}

func (m Method) number() byte {
	i := slices.Index(methods, m)
	if i < 0 {
		panic(fmt.Sprintf("session: method %q", m))
	}
	return byte(i)
}

func (r *reader) method() Method {
	n := r.byte()
	if r.err == nil && int(n) >= len(methods) {
		r.fail("method %d", n)
	}
	if r.err != nil {
		return ""
	}
	return methods[n]
}
