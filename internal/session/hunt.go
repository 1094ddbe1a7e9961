package session

import (
	"encoding/binary"

	"anabranch/sketch"
)

// hunt is the exchange of data when a planner has chosen how the difference is
// found. It differs from the other exchanges in its end: the responder says
// first what it holds, so that nobody waits twice.
//
//	initiator                                responder
//	ask (in hello, or a frame)          ->
//	                                    <-   plan, cells or list, records, end?
//	names, cells, records, end          ->
//	                                    <-   records, total or end
//	agreed or total                     ->
//
// end from the responder says that it holds what it held before. After a
// total of the initiator the roots differ, and ranges go on from there.
type hunt struct {
	plan plan
	set  bool // the plan is known
	told bool // initiator: the whole ask was sent

	// What is sent when there is room, in this order.
	frames    [][]byte
	from, to  uint64 // cells to send
	tail      bool   // tail cells to send, before these
	asked     bool   // initiator: the difference is known, names are sent
	ended     bool   // our end, or total, is sent
	peerEnded bool   // theirs has come
	waitsFor  int    // cells that are to come
	more      int    // times more cells were asked for
	tailAsked bool
	cells     []sketch.Cell
	thin      []sketch.ThinCell
	decoder   *sketch.Decoder
	thinDec   *sketch.ThinDecoder
	list      []uint64
	universe  uint64
	mine      []coded // of a list
	names     int     // names that came
	wanted    int     // names that are sent
}

// hunting reports whether the exchange of data is planned.
func (s *Session) hunting() bool { return s.x.hunt != nil }

// beginHunt starts a planned exchange of data, if both sides offer it and
// there is something to compare. The initiator's ask is in its hello when
// that was the last thing it said.
func (s *Session) beginHunt() (bool, error) {
	if !s.seek || s.bulkDue() || s.ranged {
		return false, nil
	}
	sk, err := sketchOf(s.view)
	if err != nil || s.initiator && sk == nil {
		return false, err
	}
	s.x.hunt = &hunt{}
	s.sk = sk
	switch {
	case s.initiator && s.helloAsked:
		s.helloAsked = false
		s.x.hunt.told = s.told != nil
	case s.initiator:
		a, err := askAbout(s.view, sk)
		if err != nil {
			return true, err
		}
		s.tell(a)
	case s.ask != nil:
		return true, s.makePlan()
	}
	return true, nil
}

// produceHunt sends one piece of what is due, and reports whether it did.
func (s *Session) produceHunt() bool {
	h, x := s.x.hunt, &s.x
	switch {
	case h.tail:
		h.tail = false
		s.send(s.sk.AppendTail([]byte{byte(TailFrame)}))
	case h.from < h.to:
		size := uint64(sketch.CellBytes)
		if h.plan.kind != planSketch {
			size = sketch.ThinBytes
		}
		end := min(h.to, h.from+uint64(s.limit-1)/size)
		f := []byte{byte(CellsFrame)}
		if h.plan.kind == planSketch {
			f = s.sk.AppendCells(f, int(h.from), int(end))
		} else {
			f = s.sk.AppendThin(f, int(h.from), int(end))
		}
		h.from = end
		s.send(f)
	case len(h.frames) > 0:
		s.send(h.frames[0])
		h.frames = h.frames[1:]
	case len(x.gone) > 0:
		n := min(len(x.gone), (s.limit-1)/32)
		s.send(idsFrame(GoneFrame, x.gone[:n]))
		x.gone = x.gone[n:]
	case len(x.stream) > 0 || len(x.outgoing) > 0:
		s.dataFrame()
	case !h.ended && s.huntOver():
		s.endHunt()
	case s.initiator && h.ended && h.peerEnded && s.in.idle() && !x.said:
		s.judge()
	default:
		return false
	}
	return true
}

// huntOver reports whether this side has sent all that it will.
func (s *Session) huntOver() bool {
	h := s.x.hunt
	if s.initiator {
		return h.asked && h.from >= h.to && (h.plan.kind != planPrefix || h.names >= int(h.plan.a))
	}
	wanted := h.peerEnded || h.plan.last && h.plan.kind != planUpThin
	return h.set && wanted && s.in.idle() && (h.plan.kind != planUpThin || h.asked)
}

// endHunt says that all was sent; the responder says what it holds now.
func (s *Session) endHunt() {
	h, x := s.x.hunt, &s.x
	h.ended = true
	if s.initiator {
		if !h.plan.last || h.plan.kind == planUpThin {
			s.send([]byte{byte(EndFrame)})
			s.report.Rounds++
		}
		return
	}
	if x.arrived.len()+len(x.removed) == 0 {
		s.send([]byte{byte(EndFrame)})
		return
	}
	if s.total() {
		s.send(s.mine.appendTotal([]byte{byte(TotalFrame)}))
	}
}

// total computes what this side holds now.
func (s *Session) total() bool {
	mine, err := overlaid(s.o.Space, s.mine, s.view, s.x.arrived.ids(), s.x.removed)
	if err != nil {
		s.fail(err, false)
		return false
	}
	s.mine = mine
	return true
}

// appendTotal encodes root and count: control and sweeps are as they were.
func (a state) appendTotal(dst []byte) []byte {
	return binary.AppendUvarint(append(dst, a.root[:]...), a.count)
}

func (s *Session) takeTotal(body []byte) {
	r := reader{frame: TotalFrame, b: body}
	r.copy(s.theirs.root[:])
	s.theirs.count = r.uvarint(1<<63 - 1)
	if err := r.end(); err != nil {
		s.fail(err, true)
		return
	}
	if s.initiator {
		s.peerDone()
		return
	}
	s.goOn()
}

// peerDone is the peer's end or total.
func (s *Session) peerDone() {
	h := s.x.hunt
	h.peerEnded = true
	if s.initiator {
		s.x.pulling = false
	}
}

// judge is the initiator's last word.
func (s *Session) judge() {
	x := &s.x
	if x.arrived.len()+len(x.removed) > 0 && !s.total() {
		return
	}
	x.said = true
	if s.mine.agrees(s.theirs) {
		s.send([]byte{byte(AgreedFrame)})
		s.apply()
		return
	}
	s.send(s.mine.appendTotal([]byte{byte(TotalFrame)}))
	s.goOn()
}

// huntFrame takes a frame of a planned exchange that is neither data nor gone.
func (s *Session) huntFrame(t FrameType, body []byte) {
	h := s.x.hunt
	down := h.plan.kind == planSketch || h.plan.kind == planThin
	switch {
	case s.initiator && t == PlanFrame && !h.set:
		s.takePlan(body)
	case !s.initiator && t == AskFrame && !h.set && s.ask == nil:
		r := reader{frame: t, b: body}
		s.ask = r.ask()
		err := r.end()
		if err == nil && s.ask.estimator == nil {
			err = &FrameError{Frame: t, Reason: "nothing is told"}
		}
		if err != nil {
			s.fail(err, true)
			return
		}
		s.peerWithout = s.ask.without
		if err := s.makePlan(); err != nil {
			s.fail(err, false)
		}
	case !h.set:
		s.unexpected(t, s.where())
	case t == CellsFrame && (s.initiator && down || !s.initiator && h.plan.kind == planUpThin) && !h.asked:
		s.takeCells(body)
	case t == TailFrame && (s.initiator && down || !s.initiator && h.plan.kind == planUpThin):
		s.takeTail(body)
	case t == MoreFrame && (!s.initiator && down || s.initiator && h.plan.kind == planUpThin):
		s.takeMore(body)
	case t == ListFrame && s.initiator && h.plan.kind == planList && !h.asked:
		s.takeList(body)
	case t == NamesFrame && !h.peerEnded && (s.initiator || !h.plan.last):
		s.named(body)
	case t == EndFrame && len(body) == 0 && !h.peerEnded && !s.dec.pending() && (s.initiator || !h.plan.last || h.plan.kind == planUpThin):
		s.peerDone()
	case t == TotalFrame && s.initiator && !h.peerEnded && !s.dec.pending():
		s.takeTotal(body)
	case t == TotalFrame && !s.initiator && h.ended:
		s.takeTotal(body)
	case t == AgreedFrame && !s.initiator && h.ended && len(body) == 0:
		s.theirs.root, s.theirs.count = s.mine.root, s.mine.count
		s.apply()
	default:
		s.unexpected(t, s.where())
	}
}
