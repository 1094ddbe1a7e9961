package session

import (
	"crypto/hmac"
	"errors"

	"anabranch/reconcile"
	"anabranch/record"
)

// frame takes one frame of the peer. What it may be depends on role and
// step; everything else ends the session by name.
func (s *Session) frame(b []byte) {
	s.report.FramesIn++
	s.report.BytesIn += wireBytes(len(b))
	switch {
	case s.step == stepFail:
		return
	case len(b) == 0:
		s.fail(&FrameError{Reason: "empty"}, true)
		return
	case len(b) > s.limit:
		s.fail(&LimitError{What: "bytes in a frame", Limit: uint64(s.limit)}, true)
		return
	}
	t, body := FrameType(b[0]), b[1:]
	switch s.step {
	case stepHello:
		s.greet(t, b)
	case stepControl, stepSweeps, stepData:
		if s.initiator {
			s.answer(t, body)
		} else {
			s.request(t, body)
		}
	default:
		s.unexpected(t, s.step.String())
	}
}

func (s *Session) unexpected(t FrameType, where string) {
	s.fail(&UnexpectedError{Frame: t, Where: where}, true)
}

// greet takes the first frame.
func (s *Session) greet(t FrameType, b []byte) {
	want, label := HelloFrame, helloLabel
	first, second := s.o.Peer, s.o.Self
	if s.initiator {
		want, label = WelcomeFrame, welcomeLabel
		first, second = second, first
	}
	switch {
	case s.initiator && t == RefusedFrame && len(b) == 1:
		s.fail(ErrRefused, false)
		return
	case t != want:
		s.unexpected(t, "hello, where a "+want.String()+" was awaited")
		return
	}
	h, err := parseHello(want, b[1:])
	if err != nil {
		s.fail(err, !errors.Is(err, ErrVersion))
		return
	}
	if !s.initiator {
		s.seed = h.Nonce
	}
	expect := tag(label, s.o.Space, first, second, s.seed)
	if !hmac.Equal(expect[:], h.Tag[:]) {
		s.fail(ErrTag, true)
		return
	}
	s.limit = min(s.o.FrameBytes, h.FrameBytes)
	s.room = min(s.room, sendAhead*s.limit)
	s.theirs = h.state
	if !s.initiator {
		if s.mine, err = stateOf(s.view); err != nil {
			s.fail(err, false)
			return
		}
		if err := s.takeAsk(h); err != nil {
			s.fail(err, false)
			return
		}
		w := Hello{
			FrameBytes: s.o.FrameBytes,
			Keyed:      h.Keyed && !s.o.Plain && !s.mine.agrees(s.theirs) && s.logged == nil,
			Seek:       s.seek,
			same:       s.seek && s.mine.control == s.theirs.control && s.mine.sweeps == s.theirs.sweeps,
			ask:        &ask{cursor: s.give()},
			Nonce:      s.o.Nonce,
			Tag:        tag(welcomeLabel, s.o.Space, first, second, s.seed),
			state:      s.mine,
		}
		if w.Keyed {
			key := namesKey(s.o.Space, first, second, s.seed, s.o.Nonce)
			s.key = &key
		}
		s.send(w.append(nil, WelcomeFrame))
		s.report.Rounds++
	} else {
		s.seek = h.Seek && s.offered
		if h.Seek && !s.offered || h.same && !h.Seek {
			s.fail(&FrameError{Frame: WelcomeFrame, Reason: "plans, which were not offered"}, true)
			return
		}
		if h.same {
			s.theirs.control, s.theirs.sweeps = s.mine.control, s.mine.sweeps
		}
		if h.Seek && h.ask.cursor != nil {
			s.report.Cursor = *h.ask.cursor
		}
	}
	if s.initiator && h.Keyed {
		if s.o.Plain {
			s.fail(&FrameError{Frame: WelcomeFrame, Reason: "keyed lists, which were not offered"}, true)
			return
		}
		key := namesKey(s.o.Space, first, second, s.seed, h.Nonce)
		s.key = &key
	}
	s.settle()
}

// answer takes a frame of the responder during an exchange.
func (s *Session) answer(t FrameType, body []byte) {
	x := &s.x
	owing := s.owing()
	switch {
	case t == StateFrame && x.said:
		s.heard(body)
	case t == ReconcileFrame && x.asked:
		s.compare(body)
	case t == DataFrame && owing:
		if !s.hunting() || !x.hunt.unasked() {
			s.report.Fetched = s.report.Rounds
		}
		s.data(body)
	case t == GoneFrame && owing && s.step == stepData:
		s.died(body)
	case s.hunting():
		s.huntFrame(t, body)
	case t == EndFrame && x.pulling && len(body) == 0 && !s.dec.pending():
		x.pulling = false
	default:
		s.unexpected(t, s.where())
	}
}

// request takes a frame of the initiator during an exchange.
func (s *Session) request(t FrameType, body []byte) {
	x := &s.x
	switch {
	case x.over:
		s.unexpected(t, s.where())
	case s.hunting() && t == ReconcileFrame && !x.hunt.set && s.ask == nil:
		x.hunt = nil // the initiator has no sketch any more
		s.asked(body)
	case s.hunting() && t != DataFrame && t != GoneFrame || s.hunting() && x.hunt.peerEnded:
		s.huntFrame(t, body)
	case t == StateFrame:
		s.heard(body)
	case t == ReconcileFrame && x.question == nil:
		s.asked(body)
	case t == WantFrame && s.key == nil:
		s.wanted(body)
	case t == DataFrame:
		s.data(body)
	case t == GoneFrame && s.step == stepData:
		s.died(body)
	case t == BulkFrame && s.step == stepData && len(body) == 0 && x.queries == 0 && x.served == 0 && !x.endDue:
		x.pushing, x.endDue = true, true
		s.report.Method = Bulk
		due := x.set.index().Len() - s.shared()
		s.report.DueOut += due
		s.diff = difference{known: true, dueOut: due}
		s.report.Rounds++
	default:
		s.unexpected(t, s.where())
	}
}

// where names the step and what it waits for, for an error.
func (s *Session) where() string {
	x := &s.x
	switch {
	case x.over:
		return s.step.String() + ", after the peer's state"
	case x.said:
		return s.step.String() + ", where a state was awaited"
	case x.question != nil:
		return s.step.String() + ", with a message unanswered"
	case s.initiator && x.asked:
		return s.step.String() + ", where an answer was awaited"
	case s.dec.pending():
		return s.step.String() + ", in the middle of a record"
	}
	return s.step.String()
}

// heard takes the state with which the peer ends its half.
func (s *Session) heard(body []byte) {
	x := &s.x
	busy := len(x.outgoing)+len(x.stream)+len(x.gone) > 0 || x.question != nil || x.pushing || x.endDue
	if s.dec.pending() || (!s.initiator && busy) {
		s.unexpected(StateFrame, s.where())
		return
	}
	r := reader{frame: StateFrame, b: body}
	theirs := r.state()
	if err := r.end(); err != nil {
		s.fail(err, true)
		return
	}
	s.theirs = theirs
	if s.initiator {
		s.settle()
		return
	}
	x.over = true
	s.report.Rounds++
}

// compare takes the responder's answer to a message.
func (s *Session) compare(body []byte) {
	x := &s.x
	x.asked = false
	s.report.Fetched = s.report.Rounds
	next, have, need, err := x.ranges.Step(body)
	if err != nil {
		s.fail(err, s.charged(err))
		return
	}
	news := s.found(have, x.ranges.Coming())
	for _, id := range need {
		if _, known := x.need[id]; !known {
			x.need[id] = struct{}{}
			x.wants = append(x.wants, id)
			s.report.DueIn++
			news = true
		}
	}
	x.idle++
	if news {
		x.idle = 0
	}
	x.query = next
	if s.step == stepData {
		s.diff.dueIn, s.diff.dueOut, s.diff.known = len(x.need)+int(x.announced), int(x.found), next == nil
	}
	switch {
	case uint64(len(x.need)) > s.theirs.count:
		s.fail(&LimitError{What: "records of the peer, by its own count", Limit: s.theirs.count}, true)
	case x.idle > maxIdleRounds:
		s.fail(ErrNoProgress, true)
	}
}

// found takes what a reconciliation message has shown: what only this side
// has, which is sent, and, with keyed lists, how many records the peer will
// send without being asked. It reports whether there was any news.
func (s *Session) found(have []reconcile.ID, coming int) (news bool) {
	x := &s.x
	for _, id := range have {
		if s.key == nil { // frames of whole IDs may say things twice
			if _, known := x.have[id]; known {
				continue
			}
			x.have[id] = struct{}{}
		}
		x.outgoing = append(x.outgoing, id)
		x.found++
		s.report.DueOut++
		news = true
	}
	s.report.DueIn += coming
	x.coming += coming
	x.announced += uint64(coming)
	ours, theirs := uint64(x.set.index().Len()), s.theirs.count
	if s.key != nil { // where frames are limited, some of it is told again, and sent again
		ours, theirs = 2*ours, 2*theirs
	}
	switch {
	case x.announced > theirs:
		s.fail(&LimitError{What: "records of the peer, by its own count", Limit: theirs}, true)
	case x.found > ours:
		s.fail(&LimitError{What: "records that the peer lacks, which is all there are", Limit: ours}, true)
	}
	return news || coming > 0
}

// asked takes a message of the initiator. It is answered when there is room.
func (s *Session) asked(body []byte) {
	x := &s.x
	x.queries++
	s.report.Queries++
	s.report.Rounds++
	if limit := s.mostQueries(); uint64(x.queries) > limit {
		s.fail(&LimitError{What: "rounds of reconciliation", Limit: limit}, true)
		return
	}
	x.question = append(make([]byte, 0, len(body)), body...)
}

// mostQueries bounds the messages of an initiator. An honest one settles at
// least one item in sixteen a round, at the smallest frames and the worst of
// interleavings.
func (s *Session) mostQueries() uint64 {
	return 256 + (min(s.mine.count, 1<<40)+min(s.theirs.count, 1<<40))/16
}

// wanted takes the IDs that the initiator asks for.
func (s *Session) wanted(body []byte) {
	x := &s.x
	ids, err := idsBody(WantFrame, body)
	if err != nil {
		s.fail(err, true)
		return
	}
	if s.step != stepData {
		for _, id := range ids {
			if _, err := x.set.get(id); err != nil {
				s.fail(&FrameError{Frame: WantFrame, Reason: "an ID that was not offered: " + id.String()}, true)
				return
			}
		}
	}
	x.served += uint64(len(ids))
	s.report.DueOut += len(ids)
	x.outgoing = append(x.outgoing, ids...)
	switch n := uint64(x.set.index().Len()); {
	case x.served > n:
		s.fail(&LimitError{What: "wanted records, which is all there are", Limit: n}, true)
	case len(x.outgoing) > MaxOutstanding:
		s.fail(&LimitError{What: "wanted records at a time", Limit: MaxOutstanding}, true)
	}
}

// died takes the IDs that the peer was to send and no longer has.
func (s *Session) died(body []byte) {
	ids, err := idsBody(GoneFrame, body)
	if err != nil {
		s.fail(err, true)
		return
	}
	for _, id := range ids {
		if owed := s.expected(id); s.initiator && !owed && !s.x.pulling {
			s.fail(&FrameError{Frame: GoneFrame, Reason: "an ID that was not wanted: " + record.ID(id).String()}, true)
			return
		}
	}
	s.report.Gone += len(ids)
	s.diff.dueIn -= len(ids)
	if uint64(s.report.Gone) > s.theirs.count {
		s.fail(&LimitError{What: "records of the peer, by its own count", Limit: s.theirs.count}, true)
	}
}
