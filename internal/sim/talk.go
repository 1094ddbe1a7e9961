package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/internal/engine"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// talk is one session between two replicas: a stream each way that keeps its
// order and loses nothing, until it is reset.
type talk struct {
	w     *world
	a, b  *side // initiator, responder
	alive time.Duration
	reset bool
}

// side is one end of a talk: the shell around a session.
type side struct {
	t       *talk
	r       *replica
	number  engine.Session
	s       *session.Session
	inbox   [][]byte
	snaps   []*store.Snapshot
	began   time.Duration
	last    time.Duration // arrival of the last frame to this side
	said    time.Duration // last Progress
	over    bool
	deaf    bool // something on the way to it was lost
	waits   bool // the responder has asked its engine
	drains  bool
	queued  int
	version uint64 // of the view it began with
}

// talkIdle is how long a session may be silent.
const talkIdle = 20 * time.Second

func (t *talk) other(s *side) *side {
	if s == t.a {
		return t.b
	}
	return t.a
}

func (s *side) peer() *replica { return s.t.other(s).r }

// initiate begins a session with a peer.
func (r *replica) initiate(o *replica, sync engine.Sync) {
	w := r.w
	c := w.conn(r, o)
	if c == nil || !c.up[c.side(r)] {
		r.later(w.now, func() { r.step(engine.Ended{Session: sync.Session, Outcome: engine.Unreachable}) })
		return
	}
	w.traffic.sessions++
	t := &talk{w: w, alive: w.now}
	t.a = &side{t: t, r: r, number: sync.Session, began: w.now}
	t.b = &side{t: t, r: o, began: w.now}
	r.talks = append(r.talks, t.a)
	view, err := t.a.view()
	if err != nil {
		t.a.end(engine.Failed, false)
		return
	}
	var nonce [session.NonceSize]byte
	binary.BigEndian.PutUint64(nonce[:], uint64(w.now)<<8|uint64(r.i))
	t.a.s, err = session.Initiate(session.Options{
		Space: w.space, Self: r.device, Peer: o.device, View: view, Nonce: nonce, FrameBytes: w.plan.Frame, Plain: w.plan.Plain,
	})
	if err != nil {
		panic(err)
	}
	w.say("%d syncs with %d: %v", r.i, o.i, sync.Why)
	t.watch()
	t.a.step(session.Start{})
}

// watch resets a talk in which nothing moves.
func (t *talk) watch() {
	t.w.at(t.alive+talkIdle, func() {
		switch {
		case t.a.over && t.b.over || t.reset:
		case t.w.now >= t.alive+talkIdle:
			t.w.sometimes("a session that fell silent")
			t.cut()
		default:
			t.watch()
		}
	})
}

// cut resets the stream: both sides see it.
func (t *talk) cut() {
	if t.reset {
		return
	}
	t.reset = true
	for _, s := range []*side{t.a, t.b} {
		s.closeAfter(0)
	}
}

// closeAfter tells a side, after a while, that its stream is gone.
func (s *side) closeAfter(d time.Duration) {
	s.t.reset = true
	s.r.later(s.t.w.now+d, func() {
		if s.over {
			return
		}
		if s.s == nil { // it waits for its engine, or has heard nothing yet
			s.end(engine.Failed, false)
			return
		}
		s.step(session.Closed{Err: errReset})
	})
}

var errReset = errors.New("sim: the stream was reset")

// vanish ends a side whose replica lost its power.
func (s *side) vanish() {
	s.over = true
	s.release()
	o := s.t.other(s)
	o.closeAfter(2 * time.Second)
}

func (s *side) release() {
	for _, v := range s.snaps {
		v.Close()
	}
	s.snaps = nil
	s.inbox = nil
}

// send carries a frame to the other side. A loss below is a delay: streams
// send again.
func (s *side) send(frame []byte) {
	t, w := s.t, s.t.w
	o := t.other(s)
	w.traffic.sessionBytes += int64(len(frame)) + 2
	if s.r.evil != nil {
		if frame = s.r.evil.talk(frame); frame == nil {
			return
		}
	}
	s.queued += len(frame)
	if w.chance(w.plan.Links.Reset) && !t.reset {
		w.sometimes("a session that was cut")
		w.after(w.delay(s.r, o.r, 0), t.cut)
	}
	d := w.delay(s.r, o.r, len(frame))
	for w.chance(w.plan.Links.Loss) && d < 4*time.Second {
		d += 200*time.Millisecond + d
	}
	at := max(w.now+d, o.last)
	o.last = at
	o.r.later(at, func() {
		if t.reset && !s.over {
			o.deaf = true // what follows what the reset took does not come either
		}
		if o.over || o.deaf {
			return
		}
		if !w.open(s.r, o.r) {
			o.deaf = true // a stream has no holes: nothing more comes on this one
			return
		}
		t.alive = w.now
		w.trace.mix(uint64(w.now))
		w.trace.mix(uint64(s.r.i)<<40 | uint64(o.r.i)<<8 | 0x80)
		w.trace.bytes(frame)
		o.receive(frame)
	})
}

// receive takes a frame from the link.
func (s *side) receive(frame []byte) {
	w := s.t.w
	if w.now >= s.said+time.Second || s.said == 0 {
		s.said = w.now
		if s.number != 0 {
			s.r.step(engine.Progress{Session: s.number})
		}
	}
	if s.over {
		return
	}
	s.inbox = append(s.inbox, frame)
	if s.s == nil {
		if !s.waits {
			s.asked(frame)
		}
		return
	}
	s.feed()
}

// asked looks at a hello and asks the engine whether to answer.
func (s *side) asked(frame []byte) {
	t, r := s.t, s.r
	s.waits = true
	hello, err := session.ParseHello(frame)
	from := t.a.r
	if err != nil || session.Tag(t.w.space, from.device, r.device, hello.Nonce) != hello.Tag || !r.mayRead(from) {
		t.w.sometimes("a session that was refused")
		s.refuse()
		return
	}
	s.number = r.number()
	r.talks = append(r.talks, s)
	root := r.root()
	r.step(engine.Asked{Session: s.number, Space: t.w.space, Peer: gossip.Peer(from.device), Equal: hello.Root() == root})
}

// serve goes on with a session that the engine lets in.
func (s *side) serve() {
	t, w := s.t, s.t.w
	if s.over || s.s != nil || t.reset {
		return
	}
	if s.began = w.now; len(s.inbox) == 0 {
		s.end(engine.Failed, false)
		return
	}
	view, err := s.view()
	if err != nil {
		s.refuse()
		return
	}
	if s.s, err = session.Accept(session.Options{
		Space: w.space, Self: s.r.device, Peer: t.a.r.device, View: view, FrameBytes: w.plan.Frame, Plain: w.plan.Plain,
	}); err != nil {
		panic(err)
	}
	s.r.later(w.now, func() {
		s.step(session.Start{})
		s.feed()
	})
}

// refuse says no, the same to everybody.
func (s *side) refuse() {
	if s.over || s.s != nil {
		return
	}
	s.send(session.Refusal())
	s.over = true
	s.leave()
}

// feed gives the session what has arrived, as far as it accepts.
func (s *side) feed() {
	for len(s.inbox) > 0 && !s.over && s.s.Accepts() {
		frame := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.step(session.Frame{Bytes: frame})
	}
}

func (s *side) step(in session.Input) {
	if s.over || s.s == nil {
		return
	}
	w := s.t.w
	for _, out := range s.s.Step(epoch.Add(w.now), in) {
		switch out := out.(type) {
		case session.Send:
			s.send(out.Frame)
		case session.Verify:
			s.r.later(w.now+time.Duration(len(out.Batch))*50*time.Microsecond, func() {
				records, errs := w.verify(out.Batch)
				s.step(session.Verified{Records: records, Errs: errs})
				s.feed()
			})
		case session.Commit:
			s.commit(out)
		case session.Done:
			s.done(out)
		case session.Fail:
			s.failed(out)
		}
	}
	if s.queued > 0 && !s.drains && !s.over {
		s.drains = true
		s.r.later(w.now+time.Duration(s.queued)*time.Second/bandwidth, func() {
			s.drains, s.queued = false, 0
			s.step(session.Drained{})
			s.feed()
		})
	}
}

// commit makes what arrived durable.
func (s *side) commit(out session.Commit) {
	r := s.r
	r.put(func() error { return r.commit(out.Records) }, func(err error) {
		in := session.Committed{Err: err}
		if err == nil {
			s.t.w.traffic.records += int64(len(out.Records))
			r.tell(nil)
			if slices.ContainsFunc(out.Records, func(v *record.Verified) bool { return v.Kind == record.Control }) {
				in.View, in.Err = s.view()
			}
		} else {
			s.t.w.sometimes("a session on a disk that refuses")
		}
		s.step(in)
		s.feed()
	})
}

// view is a snapshot that the session may read until its end.
func (s *side) view() (session.View, error) {
	snap, err := s.r.rows.Snapshot()
	if err != nil {
		return nil, err
	}
	s.snaps = append(s.snaps, snap)
	s.version = snap.Version()
	var v session.View = &view{Snapshot: snap, s: s}
	if s.r.evil != nil {
		v = s.r.evil.view(v)
	}
	return v, nil
}

func (s *side) done(out session.Done) {
	w := s.t.w
	if out.Report.RecordsIn+out.Report.RecordsOut > 0 {
		w.traffic.moving++
	}
	w.check.session(s, out.Report, nil)
	w.say("%d and %d agree: %s, %d in, %d out", s.r.i, s.peer().i, out.Report.Method, out.Report.RecordsIn, out.Report.RecordsOut)
	outcome := engine.Agreed
	if !out.Report.Completed {
		w.sometimes("a session in which something died meanwhile")
		outcome = engine.Moved
	}
	ended := engine.Ended{Session: s.number, Outcome: outcome, Current: out.Report.Root == s.r.root(), Version: s.r.version}
	s.over = true
	s.leave()
	s.r.step(ended)
}

func (s *side) failed(out session.Fail) {
	w := s.t.w
	w.check.session(s, out.Report, out.Err)
	w.say("session of %d with %d fails: %v", s.r.i, s.peer().i, out.Err)
	outcome := engine.Failed
	var differ *session.RootsDifferError
	if errors.As(out.Err, &differ) {
		outcome = engine.Moved
		w.sometimes("roots that differ after a session")
	}
	s.end(outcome, out.Charge)
	w.after(w.delay(s.r, s.peer(), 0), s.t.cut)
}

// end is a bad end.
func (s *side) end(outcome engine.Outcome, charge bool) {
	s.over = true
	s.leave()
	if s.number != 0 {
		number := s.number
		s.r.later(s.t.w.now, func() {
			s.r.step(engine.Ended{Session: number, Outcome: outcome, Charge: charge})
		})
	}
}

func (s *side) leave() {
	s.release()
	s.r.talks = slices.DeleteFunc(s.r.talks, func(o *side) bool { return o == s })
}

// root is what the replica holds now.
func (r *replica) root() [32]byte {
	v, err := r.rows.Snapshot()
	if err != nil {
		return [32]byte{}
	}
	defer v.Close()
	root, err := v.Root()
	if err != nil {
		r.w.violate("C9", "replica %d: root: %v", r.i, err)
	}
	return root
}

// view is a store's snapshot as a session sees it.
type view struct {
	*store.Snapshot
	s *side
}

func (v *view) Root() ([32]byte, error) { return v.Snapshot.Root() }

func (v *view) Get(id record.ID) (*record.Verified, error) {
	r, err := v.Snapshot.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %v", session.ErrGone, id)
	}
	return r, err
}

func (v *view) Filter(sweeps []*record.Verified) (session.View, error) {
	snap, err := v.Snapshot.Filter(sweeps)
	if err != nil {
		return nil, err
	}
	v.s.snaps = append(v.s.snaps, snap)
	return &view{Snapshot: snap, s: v.s}, nil
}
