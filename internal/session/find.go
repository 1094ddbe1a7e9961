package session

import (
	"encoding/binary"
	"slices"

	"anabranch/sketch"
)

// How the difference is found once there is a plan with a sketch, and how what
// was found is moved.

const maxMore = 4 // times that cells may be asked for

// due notes how many records are to come and to go.
func (s *Session) due(in, out int) {
	s.report.DueIn += in
	s.report.DueOut += out
	s.diff.dueIn += in
	s.diff.dueOut += out
	s.diff.known = true
}

// planned sends what only we have, and asks for what only they have: the
// decoder knows the difference, or as much of it as can be known.
func (s *Session) planned(d *sketch.Decoder) error {
	ours, theirs := d.Found()
	sure := d.Sure()
	wants := make([]sketch.Symbol, 0, len(theirs))
	out := slices.Grow(s.x.outgoing, len(ours))
	err := resolveAll(s.view, ours, sketch.SymbolBits, func(i int, ids [][32]byte) {
		if len(ids) == 0 {
			wants = append(wants, ours[i])
		}
		out = appendIDs(out, ids)
	})
	switch {
	case err != nil:
	case sure:
		wants = append(wants, theirs...)
	default: // somebody has made items alike: whose is it?
		err = resolveAll(s.view, theirs, sketch.SymbolBits, func(i int, ids [][32]byte) {
			if len(ids) == 0 {
				wants = append(wants, theirs[i])
			}
			out = appendIDs(out, ids)
		})
	}
	if err != nil {
		return err
	}
	s.x.outgoing = out
	slices.Sort(wants)
	width := nameBits(s.theirs.count)
	h := s.x.hunt
	names := wantNames(wants, width)
	h.wanted = len(names)
	h.frames = append(h.frames, nameFrames(NamesFrame, names, 1<<width, s.limit)...)
	h.asked = true
	s.report.Fetched = s.report.Rounds
	s.due(len(wants), len(s.x.outgoing))
	return nil
}

// named takes names that the peer wants.
func (s *Session) named(body []byte) {
	h := s.x.hunt
	if !s.initiator && h.plan.kind == planList {
		s.positions(body)
		return
	}
	if s.initiator && h.plan.kind != planPrefix {
		s.unexpected(NamesFrame, s.where())
		return
	}
	width := nameBits(s.mine.count)
	names, err := sketch.ParseNames(body, 1<<width, int(min(s.mine.count, 1<<31)))
	if err != nil {
		s.fail(&FrameError{Frame: NamesFrame, Reason: err.Error()}, true)
		return
	}
	if h.names += len(names); uint64(h.names) > s.mine.count {
		s.fail(&LimitError{What: "names, which is more than there are records", Limit: s.mine.count}, true)
		return
	}
	before := len(s.x.outgoing)
	out := slices.Grow(s.x.outgoing, len(names))
	err = resolveAll(s.view, slices.Compact(names), width, func(_ int, ids [][32]byte) { out = appendIDs(out, ids) })
	if err != nil {
		s.fail(err, false)
		return
	}
	s.x.outgoing = out
	s.due(0, len(out)-before)
}

// takeCells takes cells that were asked for, full or thin.
func (s *Session) takeCells(body []byte) {
	h := s.x.hunt
	var err error
	thin := h.plan.kind == planThin || h.plan.kind == planUpThin
	n := 0
	if thin {
		var cells []sketch.ThinCell
		cells, err = sketch.ParseThin(body)
		n = len(cells)
		h.thin = append(h.thin, cells...)
	} else {
		var cells []sketch.Cell
		cells, err = sketch.ParseCells(body)
		n = len(cells)
		h.cells = append(h.cells, cells...)
	}
	have := s.cellsHere()
	if err != nil || n == 0 || have > h.waitsFor {
		s.fail(&FrameError{Frame: CellsFrame, Reason: "cells that were not asked for"}, true)
		return
	}
	if have < h.waitsFor {
		return
	}
	if thin {
		err = s.decodeThin()
	} else {
		err = s.decode()
	}
	if err != nil {
		s.fail(err, false)
	}
}

// cellsHere counts the cells of the peer that have come.
func (s *Session) cellsHere() int {
	h := s.x.hunt
	n := len(h.cells) + len(h.thin)
	if h.decoder != nil {
		n += h.decoder.Len()
	}
	if h.thinDec != nil {
		n += h.thinDec.Len()
	}
	return n
}

func (s *Session) takeTail(body []byte) {
	h := s.x.hunt
	tail, err := sketch.ParseTail(body)
	if err != nil || !h.tailAsked || h.decoder == nil && h.thinDec == nil || h.asked {
		s.fail(&FrameError{Frame: TailFrame, Reason: "a tail that was not asked for"}, true)
		return
	}
	if h.thinDec != nil {
		h.thinDec.Tail(s.sk.MinusTail(tail))
		err = s.decodeThin()
	} else {
		h.decoder.Tail(s.sk.MinusTail(tail))
		if h.waitsFor > h.decoder.Len() {
			return // cells come too
		}
		err = s.decode()
	}
	if err != nil {
		s.fail(err, false)
	}
}

// decode goes on with the cells that have come: to the end, or to asking for
// more, or to making do with what was found.
func (s *Session) decode() error {
	h := s.x.hunt
	if h.decoder == nil {
		h.decoder = sketch.NewDecoder(s.sk.Minus(h.cells, 0))
	} else if len(h.cells) > 0 {
		h.decoder.Extend(s.sk.Minus(h.cells, h.decoder.Len()))
	}
	h.cells = nil
	if h.decoder.Decode() {
		return s.planned(h.decoder)
	}
	at := h.decoder.Len()
	left := h.decoder.Left()
	ours, theirs := h.decoder.Found()
	n := len(ours) + len(theirs) + left
	spare := n / 20
	if n < 3000 { // the fewer, the worse they are known
		spare = n / 6
	}
	to := sketch.CellsFor(n + spare + 4)
	tail := !h.tailAsked && (left <= sketch.TailCells || n < 5000)
	switch {
	case tail && left <= leastTail:
		to = at
	case to <= at:
		to = at + at/8 + 8
	}
	// Cells that are noise look like ever more items: there is a limit.
	if to = min(to, s.sk.Len(), int(2*h.plan.a)+minCells/8); to < at {
		to = at
	}
	if h.more >= maxMore || to == at && !tail {
		s.report.Why = join(s.report.Why, "cells were not enough")
		return s.planned(h.decoder)
	}
	h.more++
	h.waitsFor = to
	h.tailAsked = h.tailAsked || tail
	s.askMore(uint64(to), tail)
	return nil
}

func (s *Session) askMore(to uint64, tail bool) {
	f := binary.AppendUvarint([]byte{byte(MoreFrame)}, to)
	if tail {
		f = append(f, 1)
	} else {
		f = append(f, 0)
	}
	s.send(f)
	s.report.Rounds++
}

// decodeThin is decode for who holds the larger set.
func (s *Session) decodeThin() error {
	h := s.x.hunt
	if h.thinDec == nil {
		h.thinDec = sketch.NewThinDecoder(s.sk.MinusThin(h.thin, 0), func(prefix uint32) ([]sketch.Symbol, error) {
			ids, err := resolve(s.view, uint64(prefix), 30)
			out := make([]sketch.Symbol, len(ids))
			for i, id := range ids {
				out[i] = sketch.Of(id)
			}
			return out, err
		})
	} else {
		h.thinDec.Extend(s.sk.MinusThin(h.thin, h.thinDec.Len()))
	}
	h.thin = nil
	done, err := h.thinDec.Decode()
	if err != nil {
		return err
	}
	found := h.thinDec.Found()
	at := h.thinDec.Len()
	left := gap(s.mine.count, s.theirs.count) - len(found)
	if !done && !h.tailAsked && h.more < maxMore/2 && left > 0 && left <= leastTail {
		h.more++
		h.tailAsked = true
		s.askMore(uint64(at), true)
		return nil
	}
	if to := min(at+at/8+8, s.sk.Len()); !done && h.more < maxMore/2 && to > at && left > 0 {
		h.more++
		h.waitsFor = to
		s.askMore(uint64(to), false)
		return nil
	}
	err = resolveAll(s.view, found, sketch.SymbolBits, func(_ int, ids [][32]byte) { s.x.outgoing = appendIDs(s.x.outgoing, ids) })
	if err != nil {
		return err
	}
	h.asked = true
	s.report.Fetched = s.report.Rounds
	s.due(0, len(s.x.outgoing))
	return nil
}

// takeMore is a request for more cells, from whoever decodes.
func (s *Session) takeMore(body []byte) {
	h := s.x.hunt
	r := reader{frame: MoreFrame, b: body}
	to, tail := r.uvarint(sketch.MaxCells), r.byte()
	if err := r.end(); err != nil {
		s.fail(err, true)
		return
	}
	h.more++
	if to < h.to || to > uint64(s.sk.Len()) || tail > 1 || h.more > maxMore || h.from < h.to || to == h.to && tail == 0 {
		s.fail(&FrameError{Frame: MoreFrame, Reason: "cells that there are not"}, true)
		return
	}
	h.from, h.to, h.tail = h.to, to, tail == 1
	s.report.Rounds++
}
