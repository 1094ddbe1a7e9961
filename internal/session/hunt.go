package session

import (
	"cmp"
	"encoding/binary"
	"slices"

	"anabranch/reconcile"
	"anabranch/record"
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

const maxMore = 4 // times that cells may be asked for

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
	var wants []sketch.Symbol
	for _, y := range ours {
		ids, err := resolve(s.view, uint64(y), sketch.SymbolBits)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			wants = append(wants, y)
		}
		s.x.outgoing = append(s.x.outgoing, ids...)
	}
	for _, y := range theirs {
		if !sure { // somebody has made items alike: whose is it?
			ids, err := resolve(s.view, uint64(y), sketch.SymbolBits)
			if err != nil {
				return err
			}
			if len(ids) > 0 {
				s.x.outgoing = append(s.x.outgoing, ids...)
				continue
			}
		}
		wants = append(wants, y)
	}
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
	for _, n := range names {
		ids, err := resolve(s.view, n, width)
		if err != nil {
			s.fail(err, false)
			return
		}
		s.x.outgoing = append(s.x.outgoing, ids...)
		s.due(0, len(ids))
	}
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
	if err != nil || !h.tailAsked || h.decoder == nil || h.asked {
		s.fail(&FrameError{Frame: TailFrame, Reason: "a tail that was not asked for"}, true)
		return
	}
	h.decoder.Tail(s.sk.MinusTail(tail))
	if h.waitsFor > h.decoder.Len() {
		return // cells come too
	}
	if err := s.decode(); err != nil {
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
		spare = n / 8
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
	if to := min(at+at/8+8, s.sk.Len()); !done && h.more < maxMore/2 && to > at && len(found) < gap(s.mine.count, s.theirs.count) {
		h.more++
		h.waitsFor = to
		s.askMore(uint64(to), false)
		return nil
	}
	for _, y := range found {
		ids, err := resolve(s.view, uint64(y), sketch.SymbolBits)
		if err != nil {
			return err
		}
		s.x.outgoing = append(s.x.outgoing, ids...)
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

// goOn continues with ranges where a planned exchange has not made the roots
// equal: over what both hold now.
func (s *Session) goOn() {
	if s.mine.agrees(s.theirs) {
		s.fail(&UnexpectedError{Frame: TotalFrame, Where: "data, with equal roots"}, true)
		return
	}
	old := s.x
	chance := old.hunt.plan.kind
	again := !s.again && (chance == planList || chance == planThin || chance == planUpThin || chance == planLog)
	s.diff = difference{}
	s.x = exchange{owed: map[record.ID]struct{}{}, taken: old.taken, arrived: old.arrived, removed: old.removed}
	rest, err := reconcile.NewVector(old.arrived.items())
	if err == nil {
		s.x.set = joined{whole{s.view}, reconcile.NewDisjoint(s.view.Index(), rest)}
		if again { // what was left out by chance is little: one look more
			err = s.huntAgain(old)
		} else {
			s.report.Why = join(s.report.Why, "roots still differed: ranges")
			s.report.Method = Ranges
			s.ranged = true
			if s.initiator {
				err = s.beginRanges()
			}
		}
	}
	if err != nil {
		s.fail(err, false)
	}
}

// huntAgain plans once more, with sketches of what both hold by now.
func (s *Session) huntAgain(old exchange) error {
	s.again = true
	s.report.Why = join(s.report.Why, "roots still differed")
	s.sk = s.sk.Clone(s.sk.Len())
	for _, id := range old.arrived.ids() {
		s.sk.Add(sketch.Of(id))
	}
	for _, id := range old.removed {
		s.sk.Remove(sketch.Of(id))
	}
	s.x.hunt = &hunt{}
	if s.initiator {
		a, err := askAbout(s.view, s.sk)
		if err != nil {
			return err
		}
		a.windows = nil
		s.tell(a)
	}
	return nil
}

// joined is a view with what has come since.
type joined struct {
	whole
	all reconcile.Index
}

func (j joined) index() reconcile.Index { return j.all }

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

func sortCoded(cs []coded) {
	slices.SortFunc(cs, func(a, b coded) int { return cmp.Compare(a.code, b.code) })
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
	case t == TailFrame && s.initiator && h.plan.kind == planSketch:
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
