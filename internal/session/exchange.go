package session

import (
	"encoding/binary"

	"anabranch/reconcile"
	"anabranch/record"
)

// exchange is how one set is brought into step, for each of control, sweeps
// and data. The initiator reconciles, sends what the responder lacks, wants
// what it lacks itself, all three at once, and ends with its state when it
// has and has sent everything; the responder answers, and ends with its own.
type exchange struct {
	set  set
	hunt *hunt // the exchange of data is planned

	// Initiator.
	ranges *reconcile.Initiator
	query  []byte                 // next message, waiting for room and backlog
	asked  bool                   // a message is unanswered
	idle   int                    // answers in a row that told nothing new
	have   map[record.ID]struct{} // everything found so far, without keyed lists
	need   map[record.ID]struct{}
	wants  []record.ID            // of need, not yet asked for
	owed   map[record.ID]struct{} // asked for, not yet here

	// Responder.
	answers  *reconcile.Responder
	question []byte // a message not yet answered
	queries  int
	served   uint64 // records wanted so far
	over     bool   // the initiator's state is here

	// With keyed lists, both.
	announced uint64 // records that the peer alone holds, found so far
	coming    int    // of these, not yet here

	// Both.
	found    uint64             // records that this side alone holds, found so far
	outgoing []record.ID        // to be sent, in order
	ready    []*record.Verified // the first of these; nil where it is gone
	stream   []byte             // coded records that are in no frame yet
	gone     []record.ID        // to be told
	pushing  bool               // send all data, uncompared
	pushed   int                // position in the index up to which that was done
	pulling  bool               // all data of the peer is on its way, uncompared
	pulled   bool               // that was so in this exchange: whatever came is wanted
	endDue   bool               // responder: an end frame follows the bulk
	said     bool               // our state is sent

	taken    map[record.ID]struct{} // sweeps that came and count
	arrived  arrived                // data that came and counts
	removed  []record.ID            // of our own, dead meanwhile
	received int                    // bytes of records
}

// begin starts the exchange of a step.
func (s *Session) begin(next step) {
	s.step = next
	s.x = exchange{owed: map[record.ID]struct{}{}, taken: map[record.ID]struct{}{}}
	x := &s.x
	var err error
	switch next {
	case stepControl:
		x.set, err = newSmall(s.view.State().Control())
	case stepSweeps:
		x.set, err = newSmall(s.view.State().Sweeps())
	default:
		x.set = whole{s.view}
		s.report.Method = Ranges
		if s.initiator && s.chooseBulk() {
			return
		}
		hunting, wrong := s.beginHunt()
		if wrong != nil {
			s.fail(wrong, false)
		}
		if hunting {
			return
		}
		if base := uint64(s.shared()); !s.initiator && s.mine.count == base && s.theirs.count > base {
			// Everything will come: the initiator counts the same.
			s.diff = difference{known: true, dueIn: int(min(s.theirs.count-base, 1<<31))}
		}
	}
	if next != stepData { // what was asked was about another view
		s.ask, s.logged, s.helloAsked = nil, nil, false
	}
	if err == nil && s.initiator {
		err = s.beginRanges()
	}
	if err != nil {
		s.fail(err, false)
	}
}

// beginRanges is the initiator's first message over the exchange's set.
func (s *Session) beginRanges() (err error) {
	x := &s.x
	x.have, x.need = map[record.ID]struct{}{}, map[record.ID]struct{}{}
	x.ranges, err = reconcile.NewInitiator(x.set.index(), s.reconcileOptions())
	if err == nil {
		x.query, err = x.ranges.Start()
	}
	return err
}

// chooseBulk leaves comparing out when one side holds no data. Control and
// sweeps are equal on both sides by now, so what a count has above theirs is
// data.
func (s *Session) chooseBulk() bool {
	switch base := uint64(s.shared()); base {
	case s.mine.count:
		s.x.pulling, s.x.pulled = true, true
		due := int(min(s.theirs.count, 1<<31) - min(base, s.theirs.count, 1<<31))
		s.report.DueIn += due
		s.diff = difference{known: true, dueIn: due}
		s.send([]byte{byte(BulkFrame)})
		s.report.Rounds++
	case s.theirs.count:
		s.x.pushing = true
		due := s.x.set.index().Len() - int(base)
		s.report.DueOut += due
		s.diff = difference{known: true, dueOut: due}
	default:
		return false
	}
	s.report.Method = Bulk
	return true
}

// shared counts the control records and sweeps that both sides hold.
func (s *Session) shared() int {
	st := s.view.State()
	return len(st.Control()) + len(st.Sweeps())
}

// reconcileOptions leaves room for the frame's type. Reconcile stays well
// below its bound of at least 4096 bytes; reconcileFrame checks that. The
// balanced split takes the rounds of the reference and a third of its bytes;
// its boundaries depend on the session's nonce, so that nobody can choose
// items that lie badly for them.
func (s *Session) reconcileOptions() reconcile.Options {
	return reconcile.Options{
		FrameBytes: max(MinFrameBytes, s.limit-1),
		Split:      reconcile.Balanced,
		Seed:       binary.BigEndian.Uint64(s.seed[:]),
		Dialect:    s.key,
	}
}

// produce does one piece of the exchange's work, if there is any that can be
// done now, and reports whether it did. The order is: what the peer waits
// for first, records last.
func (s *Session) produce() bool {
	if s.room <= 0 {
		return false
	}
	x := &s.x
	switch {
	case x.hunt != nil:
		return s.produceHunt()
	case x.query != nil && !x.asked && s.backlog() < backlogIDs:
		x.asked = true
		s.report.Queries++
		s.report.Rounds++
		s.reconcileFrame(x.query)
		x.query = nil
	case x.question != nil && len(x.outgoing) < backlogIDs:
		s.respond()
	case len(x.gone) > 0:
		n := min(len(x.gone), (s.limit-1)/32)
		s.send(idsFrame(GoneFrame, x.gone[:n]))
		x.gone = x.gone[n:]
	case len(x.wants) > 0 && len(x.owed) < MaxOutstanding:
		n := min(len(x.wants), (s.limit-1)/32, MaxOutstanding-len(x.owed))
		for _, id := range x.wants[:n] {
			x.owed[id] = struct{}{}
		}
		s.send(idsFrame(WantFrame, x.wants[:n]))
		x.wants = x.wants[n:]
	case len(x.stream) > 0 || len(x.outgoing) > 0 || x.pushing:
		s.dataFrame()
	case x.endDue:
		x.endDue = false
		s.send([]byte{byte(EndFrame)})
	case !x.said && s.settled():
		s.conclude()
	default:
		return false
	}
	return true
}

// respond answers the initiator's message, with one Responder for the whole
// exchange: keyed lists refer to each other.
func (s *Session) respond() {
	x := &s.x
	var err error
	if x.answers == nil {
		x.answers, err = reconcile.NewResponder(x.set.index(), s.reconcileOptions())
	}
	var answer []byte
	if err == nil {
		answer, err = x.answers.Respond(x.question)
	}
	x.question = nil
	if err != nil {
		s.fail(err, s.charged(err))
		return
	}
	s.reconcileFrame(answer)
	s.found(x.answers.Have(), x.answers.Coming())
}

// backlog counts the records found and not yet moved.
func (s *Session) backlog() int {
	return len(s.x.wants) + len(s.x.owed) + s.x.coming + len(s.x.outgoing)
}

// owing reports whether the initiator is still to be sent records.
func (s *Session) owing() bool { return len(s.x.owed) > 0 || s.x.coming > 0 || s.x.pulling }

// expected takes one record off what is owed, and reports whether it was.
// With keyed lists only their number is known.
func (s *Session) expected(id record.ID) bool {
	x := &s.x
	if _, owed := x.owed[id]; owed {
		delete(x.owed, id)
		return true
	}
	if x.coming == 0 {
		return false
	}
	x.coming--
	return true
}

func (s *Session) reconcileFrame(msg []byte) {
	if len(msg)+1 > s.limit {
		s.fail(&LimitError{What: "bytes in a frame of our own", Limit: uint64(s.limit)}, false)
		return
	}
	s.send(append([]byte{byte(ReconcileFrame)}, msg...))
}

// dataFrame sends as many records as one frame takes.
func (s *Session) dataFrame() {
	x := &s.x
	body := s.limit - 1
	for len(x.stream) < body {
		if len(x.outgoing) == 0 && !s.refill() {
			break
		}
		if len(x.ready) == 0 {
			var err error
			if x.ready, err = x.set.many(x.outgoing); err != nil {
				s.fail(err, false)
				return
			}
		}
		id, r := x.outgoing[0], x.ready[0]
		x.outgoing, x.ready = x.outgoing[1:], x.ready[1:]
		switch {
		case r == nil && s.logging():
			continue
		case r == nil:
			x.gone = append(x.gone, id)
			x.removed = append(x.removed, id)
			s.report.GoneOut++
			s.diff.dueOut--
			continue
		case (s.report.Method == Bulk || s.hunting()) && !r.Data():
			continue
		}
		x.stream = s.enc.append(x.stream, &r.Record)
		s.report.RecordsOut++
		if s.step == stepData {
			s.diff.out++
		}
		s.report.RecordBytesOut += int64(len(r.Bytes))
	}
	n := min(len(x.stream), body)
	if n == 0 {
		return
	}
	s.report.DataBytesOut += int64(n)
	s.send(append(append(make([]byte, 0, 1+n), byte(DataFrame)), x.stream[:n]...))
	x.stream = append(x.stream[:0], x.stream[n:]...)
}

// refill takes the next IDs of a bulk from the index.
func (s *Session) refill() bool {
	x := &s.x
	if !x.pushing {
		return false
	}
	ix := x.set.index()
	end := min(x.pushed+bulkChunk, ix.Len())
	x.outgoing, x.ready = nil, nil
	if w, ok := x.set.(whole); ok {
		if m, ok := w.view.(Many); ok {
			var err error
			if x.ready, err = m.MembersAt(x.pushed, end); err != nil {
				s.fail(err, false)
				return false
			}
			for _, r := range x.ready {
				x.outgoing = append(x.outgoing, r.ID)
			}
			x.pushed = end
			x.pushing = end < ix.Len()
			return len(x.outgoing) > 0
		}
	}
	for item, err := range ix.Items(x.pushed, end) {
		if err != nil {
			s.fail(err, false)
			return false
		}
		x.outgoing = append(x.outgoing, record.ID(item.ID))
	}
	x.pushed = end
	if end == ix.Len() {
		x.pushing = false
	}
	return len(x.outgoing) > 0
}

// settled reports whether this side has and has sent everything, down to the
// last commit, so that its state may be computed.
func (s *Session) settled() bool {
	x := &s.x
	if !s.in.idle() {
		return false
	}
	if s.initiator {
		return x.query == nil && !x.asked && !s.owing()
	}
	return x.over
}

// conclude computes what this side holds after the exchange and says so. The
// responder, which heard the initiator's before, goes on at once.
func (s *Session) conclude() {
	var err error
	before := s.mine
	switch s.step {
	case stepControl:
		s.mine, err = stateOf(s.view)
	case stepSweeps:
		if s.view, err = s.view.Filter(s.sweeps); err == nil {
			s.mine, err = stateOf(s.view)
		}
	default:
		if !s.initiator && s.x.queries == 0 && !s.ranged {
			s.report.Method = Bulk // nothing was compared: everything was sent
		}
		s.mine, err = overlaid(s.o.Space, before, s.view, s.x.arrived.ids(), s.x.removed)
	}
	if err != nil {
		s.mine = before
		s.fail(err, false)
		return
	}
	s.x.said = true
	s.send(s.mine.append([]byte{byte(StateFrame)}))
	if s.initiator {
		s.report.Rounds++
		return
	}
	s.settle()
}

// logging reports whether what is sent comes out of the log, where control
// records and the dead are too.
func (s *Session) logging() bool { return s.x.hunt != nil && s.x.hunt.plan.kind == planLog }
