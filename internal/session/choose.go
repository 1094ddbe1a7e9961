package session

import (
	"slices"

	"anabranch/record"
)

// How a plan is chosen: what the initiator tells, what the responder makes of
// it, and what the initiator makes of that.

// choose notes the plan. A second look keeps the name of the first, which
// found nearly all, unless it comes to ranges.
func (s *Session) choose(k planKind) {
	if !s.again || k == planRanges {
		s.report.Method = k.method()
	}
	s.ranged = s.ranged || s.again && k == planRanges
}

// tell sends an ask in a frame of its own.
func (s *Session) tell(a *ask) {
	a.without = s.without()
	s.told = a.windows
	s.x.hunt.told = true
	s.send(a.append([]byte{byte(AskFrame)}))
	s.report.Rounds++
}

// without is the optional methods that this side does not take.
func (s *Session) without() (bits byte) {
	for i, m := range optional {
		if slices.Contains(s.o.Without, m) {
			bits |= 1 << i
		}
	}
	return bits
}

// bulkDue reports whether one side has no data at all.
func (s *Session) bulkDue() bool {
	base := uint64(s.shared())
	return base == s.mine.count || base == s.theirs.count
}

// unasked reports whether records came with the plan itself.
func (h *hunt) unasked() bool { return h.plan.kind == planPrefix || h.plan.kind == planLog }

// allowed reports whether both sides take a method.
func (s *Session) allowed(m Method) bool {
	if s.again && m != MethodPrefix && m != MethodSketch {
		return m == Ranges
	}
	i := slices.Index(optional, m)
	return i < 0 || (s.without()|s.peerWithout)>>i&1 == 0
}

// makePlan is the responder's.
func (s *Session) makePlan() error {
	a := s.ask
	s.ask = nil
	h := s.x.hunt
	p := planner{view: s.view, sk: s.sk, ours: s.mine.count, theirs: s.theirs.count, ask: a, allow: s.allowed}
	var chosen plan
	var err error
	switch {
	case s.logged != nil && !s.again:
		chosen = plan{kind: planLog, last: true}
		p.why = "cursor: the peer knows everything up to it"
	case a.estimator == nil && a.cursor != nil:
		s.send((&plan{kind: planAsk}).append([]byte{byte(PlanFrame)}))
		return nil
	default:
		chosen, err = p.decide()
	}
	if err != nil {
		return err
	}
	h.plan = chosen
	if chosen.kind == planPrefix {
		if err := s.planned(p.decoder); err != nil {
			return err
		}
		chosen.a = uint64(h.wanted)
		chosen.last = h.wanted == 0
	}
	h.plan, h.set = chosen, true
	s.report.Why = join(s.report.Why, p.why)
	s.report.Estimate = p.differ
	s.choose(chosen.kind)
	s.report.Rounds++
	s.send(chosen.append([]byte{byte(PlanFrame)}))
	switch chosen.kind {
	case planRanges:
		s.x.hunt = nil
	case planLog:
		s.x.outgoing = s.logged
		s.due(0, len(s.logged))
	case planSketch, planThin:
		h.to = chosen.a
	case planUpThin:
		for _, c := range a.cells {
			h.thin = append(h.thin, c.Thin())
		}
		h.waitsFor = int(chosen.a)
	case planList:
		return s.makeList(a)
	}
	return nil
}

// entered is what came after the cursor in an ask, if that is ours.
func (s *Session) entered(a *ask) ([]record.ID, error) {
	log, ok := s.view.(Logged)
	if a == nil || a.cursor == nil || s.o.Log == nil || !ok || !s.allowed(MethodCursor) {
		return nil, nil
	}
	version, ok := s.o.Log.version(s.o.Peer, *a.cursor)
	if !ok || version >= s.view.Version() {
		return nil, nil
	}
	ids, ok, err := log.EnteredIDs(version, maxLogged)
	if err != nil || !ok {
		return nil, err
	}
	return ids, nil
}

// takePlan is the initiator's.
func (s *Session) takePlan(body []byte) {
	r := reader{frame: PlanFrame, b: body}
	p := r.plan()
	if err := r.end(); err != nil {
		s.fail(err, true)
		return
	}
	h := s.x.hunt
	s.report.Fetched = s.report.Rounds
	if p.kind == planAsk {
		a, err := askAbout(s.view, s.sk)
		switch {
		case err != nil:
			s.fail(err, false)
		case h.told:
			s.fail(&FrameError{Frame: PlanFrame, Reason: "everything was told"}, true)
		default:
			s.tell(a)
		}
		return
	}
	h.plan, h.set = p, true
	s.choose(p.kind)
	if !s.allowed(p.kind.method()) {
		s.fail(&FrameError{Frame: PlanFrame, Reason: string(p.kind.method()) + ", which was not offered"}, true)
		return
	}
	var err error
	switch p.kind {
	case planRanges:
		s.x.hunt = nil
		err = s.beginRanges()
	case planSketch, planThin:
		h.waitsFor = int(p.a)
		if h.waitsFor > s.sk.Len() {
			s.fail(&FrameError{Frame: PlanFrame, Reason: "more cells than there are"}, true)
		}
	case planUpThin:
		h.from, h.to = min(firstCells, p.a), p.a
		if p.a > uint64(s.sk.Len()) {
			s.fail(&FrameError{Frame: PlanFrame, Reason: "more cells than there are"}, true)
		}
		h.asked = true
	case planList:
		err = s.beginList()
	default:
		h.asked = true
	}
	if err != nil {
		s.fail(err, false)
		return
	}
	if s.x.hunt != nil {
		s.x.pulling, s.x.pulled = true, true
	}
}

// firstAsk is the ask in our hello: all of it, unless nothing has changed here
// since the last session with the peer, or nil if no plans are offered.
func (s *Session) firstAsk() (*ask, error) {
	sk, err := sketchOf(s.view)
	if err != nil || sk == nil {
		return nil, err
	}
	s.offered = true
	if m := s.o.Met; m != nil && m.Root == s.mine.root {
		a := &ask{}
		if m.Cursor != (Cursor{}) && s.without()&1 == 0 {
			a.cursor = &m.Cursor
		}
		return a, nil
	}
	a, err := askAbout(s.view, sk)
	if err != nil {
		return nil, err
	}
	a.without = s.without()
	s.told = a.windows
	return a, nil
}

func (a *ask) empty() bool { return a.estimator == nil && a.cursor == nil }

// takeAsk is the responder's look at a hello: whether it plans, and what of
// its log is wanted.
func (s *Session) takeAsk(h Hello) error {
	if !h.Seek {
		return nil
	}
	sk, err := sketchOf(s.view)
	if err != nil || sk == nil {
		return err
	}
	s.seek = true
	s.peerWithout = h.ask.without
	if h.ask.empty() || s.mine.agrees(s.theirs) {
		return nil
	}
	s.ask = h.ask
	if s.mine.control == s.theirs.control && s.mine.sweeps == s.theirs.sweeps && !s.bulkDue() {
		s.logged, err = s.entered(s.ask)
	}
	return err
}

// give is a cursor for the peer, if there is a log.
func (s *Session) give() *Cursor {
	if _, ok := s.view.(Logged); !ok || s.o.Log == nil || s.without()&1 != 0 {
		return nil
	}
	if c := s.o.Log.cursor(s.o.Peer, s.view.Version()); c != (Cursor{}) {
		return &c
	}
	return nil
}
