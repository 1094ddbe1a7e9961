package session

import (
	"errors"
	"fmt"
	"time"

	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
)

// Options says who speaks with whom, about what, from where.
type Options struct {
	Space record.SpaceID
	Self  record.Key // this device
	Peer  record.Key // the other one
	View  View       // what is held here now

	// FrameBytes bounds one frame, both ways: type and body, without the
	// length prefix. Both sides obey the smaller of theirs. Default 128 KiB,
	// least 4 KiB, most 1 MiB.
	FrameBytes int
	// Nonce is random: the initiator's makes its tag one of a kind, and both
	// go into the key of keyed lists.
	Nonce [NonceSize]byte
	// Without names optional methods that this side does not take part in.
	Without []Method
	// Met is what is remembered of the last session with the peer, if
	// anything. An initiator's hello is short while nothing has changed.
	Met *Met
	// Log lets a responder give cursors, and take them, if the view is Logged.
	Log *Log
	// Plain leaves keyed lists out: ranges are compared in Negentropy V1
	// with whole IDs, also with a peer that offers more.
	Plain bool
}

func (o *Options) validate() error {
	var errs []error
	if o.View == nil {
		errs = append(errs, errors.New("session: no view"))
	}
	if o.FrameBytes == 0 {
		o.FrameBytes = DefaultFrameBytes
	}
	if o.FrameBytes < MinFrameBytes || o.FrameBytes > MaxFrameBytes {
		errs = append(errs, fmt.Errorf("session: FrameBytes %d is outside %d..%d", o.FrameBytes, MinFrameBytes, MaxFrameBytes))
	}
	return errors.Join(errs...)
}

// step is where a session stands.
type step uint8

const (
	stepStart   step = iota // before Start
	stepHello               // waiting for the peer's hello or welcome
	stepControl             // control records, to a fixpoint
	stepSweeps              // sweeps, as filters
	stepData                // everything, with the sweeps as filter
	stepApply               // the last commit is under way
	stepFail                // what arrived is being saved, then Fail
	stepOver
)

func (s step) String() string {
	return [...]string{"start", "hello", "control", "sweeps", "data", "apply", "fail", "over"}[s]
}

// Session is one side of one conversation. It belongs to one goroutine.
type Session struct {
	o         Options
	initiator bool
	limit     int             // bytes of a frame, the smaller of both sides'
	seed      [NonceSize]byte // the initiator's nonce
	key       *reconcile.Key  // of keyed lists, if both sides use them

	offered     bool           // initiator: plans were offered
	seek        bool           // both sides plan
	sk          *sketch.Sketch // of view, in a planned exchange
	helloAsked  bool           // initiator: our ask was in the hello
	told        *windowsPart   // initiator: the windows that we told
	ask         *ask           // responder: not answered yet
	logged      []record.ID    // responder: what came after the ask's cursor
	peerWithout byte           // optional methods that the peer does not take
	again       bool           // a plan has failed by chance, and another is made
	ranged      bool           // ranges are all that is left

	step    step
	view    View // the snapshot spoken of; from stepData on, filtered
	mine    state
	theirs  state
	sweeps  []*record.Verified // received, to be applied last
	swept   bool               // sweeps were exchanged
	x       exchange           // of the current step
	in      intake
	enc     encoder
	dec     decoder
	failure *Fail

	room    int // bytes that may be output before Drained
	out     []Output
	report  Report
	diff    difference
	started time.Time
	now     time.Time
}

// Initiate makes the side that speaks first and drives.
func Initiate(o Options) (*Session, error) { return newSession(o, true) }

// Accept makes the side that answers. The shell has read the first frame,
// found by ParseHello and Tag that it is about this space, and checked that
// the device may read it; that frame is the input after Start.
func Accept(o Options) (*Session, error) { return newSession(o, false) }

func newSession(o Options, initiator bool) (*Session, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Session{o: o, initiator: initiator, limit: o.FrameBytes, view: o.View, room: sendAhead * o.FrameBytes}, nil
}

// Step takes one input and returns what the shell must do, in order. It
// never blocks, and now is not to go backwards between calls. After Done or
// Fail it returns nothing.
func (s *Session) Step(now time.Time, in Input) []Output {
	s.out = nil
	if s.step == stepOver {
		return nil
	}
	s.now = now
	switch in := in.(type) {
	case Start:
		s.start()
	case Frame:
		s.frame(in.Bytes)
	case Verified:
		s.verified(in)
	case Committed:
		s.committed(in)
	case Drained:
		s.room = sendAhead * s.limit
	case Closed:
		s.closed(in.Err)
	}
	s.advance()
	return s.out
}

// Accepts reports whether the next frame should be read from the link now.
// While what was received waits to be verified and committed it is false,
// so that the link pushes back on the peer. A frame given all the same is
// taken.
func (s *Session) Accepts() bool { return s.in.bytes < intakeBytes }

// Report is what was done so far.
func (s *Session) Report() Report {
	r := s.report
	if !s.started.IsZero() {
		r.Duration = s.now.Sub(s.started)
	}
	r.Root, r.Count = s.mine.root, s.mine.count
	r.Version = s.view.Version()
	s.diff.report(&r, s.step == stepFail)
	return r
}

// difference is what is known of how the data of both sides differ.
type difference struct {
	known         bool
	dueIn, dueOut int // records that one side has and the other lacked
	in, out       int // of those, the ones that came and were sent
}

func (d *difference) report(r *Report, failed bool) {
	if r.Compared = d.known; !d.known {
		return
	}
	r.Missing, r.Surplus = max(0, d.dueIn-d.in), max(0, d.dueOut)
	if !failed {
		r.Surplus = max(0, d.dueOut-d.out)
	}
}

func (s *Session) start() {
	if s.step != stepStart {
		return
	}
	s.started = s.now
	s.step = stepHello
	if !s.initiator {
		return
	}
	mine, err := stateOf(s.view)
	if err != nil {
		s.fail(err, false)
		return
	}
	s.mine = mine
	s.seed = s.o.Nonce
	h := Hello{
		FrameBytes: s.o.FrameBytes,
		Keyed:      !s.o.Plain,
		Nonce:      s.o.Nonce,
		Tag:        tag(helloLabel, s.o.Space, s.o.Self, s.o.Peer, s.o.Nonce),
		state:      mine,
	}
	if h.ask, err = s.firstAsk(); err != nil {
		s.fail(err, false)
		return
	}
	h.Seek = h.ask != nil
	s.helloAsked = h.Seek && !h.ask.empty()
	s.send(h.append(nil, HelloFrame))
	s.report.Rounds++
}

// advance does whatever can be done now: it hands work to the shell, fills
// the link as far as there is room, and ends what is finished.
func (s *Session) advance() {
	for {
		s.pump()
		switch s.step {
		case stepControl, stepSweeps, stepData:
			if s.produce() {
				continue
			}
		}
		break
	}
	if s.step == stepFail && s.in.idle() {
		s.failure.Report = s.Report()
		s.out = append(s.out, *s.failure)
		s.step = stepOver
	}
}

func (s *Session) send(frame []byte) {
	s.room -= len(frame)
	s.report.FramesOut++
	s.report.BytesOut += wireBytes(len(frame))
	s.out = append(s.out, Send{Frame: frame})
}

// wireBytes is a frame's cost on the link, its length as a varint included.
func wireBytes(n int) int64 {
	size := n + 1
	for m := n; m >= 0x80; m >>= 7 {
		size++
	}
	return int64(size)
}

// fail ends the conversation with the first reason given. What arrived
// before is still verified and committed.
func (s *Session) fail(err error, charge bool) {
	if s.step == stepFail || s.step == stepOver {
		return
	}
	if s.step == stepSweeps {
		s.in.drop() // they are applied whole or not at all
	}
	s.in.kind = stepKind(s.step)
	s.step = stepFail
	s.failure = &Fail{Err: err, Charge: charge}
	s.x = exchange{}
}

func (s *Session) closed(cause error) {
	if s.step == stepApply {
		return // the conversation is over; only our own disk is awaited
	}
	err := ErrCut
	if cause != nil {
		err = fmt.Errorf("%w: %w", ErrCut, cause)
	}
	s.fail(err, false)
}

// stateOf is what a view looks like to the peer.
func stateOf(v View) (a state, err error) {
	if a.root, err = v.Root(); err != nil {
		return a, err
	}
	a.count = v.Count()
	st := v.State()
	a.control = digest(st.Control())
	a.sweeps = digest(st.Sweeps())
	return a, nil
}

// settle decides what comes next, alike on both sides: each knows what both
// hold now. It is called with the state frames of both at hand.
func (s *Session) settle() {
	switch {
	case s.mine.agrees(s.theirs):
		s.apply()
	case s.step == stepData:
		s.diff.known = false // what was found did not make them equal
		s.fail(&RootsDifferError{
			Ours: s.mine.root, Theirs: s.theirs.root,
			OurCount: s.mine.count, TheirCount: s.theirs.count,
			RecordsIn: s.report.RecordsIn, RecordsOut: s.report.RecordsOut,
		}, false)
	case s.mine.control != s.theirs.control:
		if s.swept {
			s.fail(&UnsettledError{Set: "control records", Rounds: s.report.ControlRounds}, true)
			return
		}
		if s.report.ControlRounds == maxControlRounds {
			s.fail(&UnsettledError{Set: "control records", Rounds: maxControlRounds}, false)
			return
		}
		s.report.ControlRounds++
		s.begin(stepControl)
	case s.mine.sweeps != s.theirs.sweeps:
		if s.swept {
			s.fail(&UnsettledError{Set: "sweeps", Rounds: 1}, false)
			return
		}
		s.swept = true
		s.begin(stepSweeps)
	default:
		s.begin(stepData)
	}
}

// apply is the good end: roots are equal. The sweeps received take effect
// unless something wanted has died at the peer meanwhile.
func (s *Session) apply() {
	if s.report.Method == "" {
		s.report.Method = Equal
	}
	s.diff = difference{known: s.report.Gone == 0}
	if s.report.Gone > 0 {
		s.finish()
		return
	}
	s.step = stepApply
	if len(s.sweeps) == 0 {
		s.report.Completed = true
		s.finish()
		return
	}
	s.in.committing = true
	s.out = append(s.out, Commit{Records: s.sweeps, Completes: true})
}

func (s *Session) finish() {
	s.step = stepOver
	s.out = append(s.out, Done{Report: s.Report()})
}
