package session

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
)

// A list is the codes of what the responder holds from a bound on, ascending:
// numbers below n·2^spare for n items, Golomb-Rice coded, in list frames of
// which each is a list of its own. The initiator answers with names frames:
// the positions in the whole list of what it wants, below n.

func (s *Session) listSeed() uint64 { return binary.BigEndian.Uint64(s.seed[:]) }

// above is the position from which on an index is listed.
func (s *Session) above(w *windowsPart, window uint64) (int, error) {
	if window == everything {
		return 0, nil
	}
	return s.view.Index().LowerBound(w.bound(int(window)))
}

func universeOf(p plan) uint64 { return max(p.a, 1) << p.c }

// makeList is the responder's part.
func (s *Session) makeList(a *ask) error {
	h := s.x.hunt
	at, err := s.above(a.windows, h.plan.b)
	if err != nil {
		return err
	}
	h.universe = universeOf(h.plan)
	if h.mine, err = codes(s.view.Index(), at, s.listSeed(), h.universe); err != nil {
		return err
	}
	numbers := make([]uint64, len(h.mine))
	for i, c := range h.mine {
		numbers[i] = c.code
	}
	h.frames = nameFrames(ListFrame, numbers, h.universe, s.limit)
	return nil
}

// beginList is the initiator's.
func (s *Session) beginList() error {
	h := s.x.hunt
	w := s.told
	if h.plan.b != everything && (w == nil || h.plan.b >= uint64(len(w.marks)/windowMark)) {
		s.fail(&FrameError{Frame: PlanFrame, Reason: "a window that was not offered"}, true)
		return nil
	}
	if h.plan.a > s.theirs.count {
		s.fail(&FrameError{Frame: PlanFrame, Reason: "a list of more than there is"}, true)
		return nil
	}
	at, err := s.above(w, h.plan.b)
	if err != nil {
		return err
	}
	h.universe = universeOf(h.plan)
	if h.mine, err = codes(s.view.Index(), at, s.listSeed(), h.universe); err != nil {
		return err
	}
	if h.plan.a == 0 {
		s.compareList()
	}
	return nil
}

func (s *Session) takeList(body []byte) {
	h := s.x.hunt
	part, err := sketch.ParseNames(body, h.universe, int(h.plan.a)-len(h.list))
	if err != nil || len(part) == 0 || len(h.list) > 0 && part[0] < h.list[len(h.list)-1] {
		s.fail(&FrameError{Frame: ListFrame, Reason: "no part of an ascending list"}, true)
		return
	}
	h.list = append(h.list, part...)
	if len(h.list) == int(h.plan.a) {
		s.compareList()
	}
}

// compareList pairs the codes of both sides. Where one side has more of a
// code than the other, all of its items with that code are moved.
func (s *Session) compareList() {
	h := s.x.hunt
	var wants []uint64
	for i, j := 0, 0; i < len(h.mine) || j < len(h.list); {
		var code uint64
		if j == len(h.list) || i < len(h.mine) && h.mine[i].code <= h.list[j] {
			code = h.mine[i].code
		} else {
			code = h.list[j]
		}
		a, b := i, j
		for i < len(h.mine) && h.mine[i].code == code {
			i++
		}
		for j < len(h.list) && h.list[j] == code {
			j++
		}
		if i-a > j-b {
			for ; a < i; a++ {
				s.x.outgoing = append(s.x.outgoing, record.ID(h.mine[a].id))
			}
		}
		if i-a < j-b {
			for ; b < j; b++ {
				wants = append(wants, uint64(b))
			}
		}
	}
	h.frames = append(h.frames, nameFrames(NamesFrame, wants, max(h.plan.a, 1), s.limit)...)
	h.asked = true
	s.report.Fetched = s.report.Rounds
	s.due(len(wants), len(s.x.outgoing))
}

// positions takes what the initiator wants of the list.
func (s *Session) positions(body []byte) {
	h := s.x.hunt
	names, err := sketch.ParseNames(body, max(h.plan.a, 1), len(h.mine)-h.names)
	if err != nil {
		s.fail(&FrameError{Frame: NamesFrame, Reason: err.Error()}, true)
		return
	}
	h.names += len(names)
	for _, n := range names {
		s.x.outgoing = append(s.x.outgoing, record.ID(h.mine[n].id))
	}
	s.due(0, len(names))
}

// listCode hashes an ID to a number below n·2^spare, in another way for every
// session.
func listCode(seed uint64, id [32]byte, universe uint64) uint64 {
	h := seed
	for i := 0; i < 32; i += 8 {
		h = (h ^ binary.LittleEndian.Uint64(id[i:])) * 0x9fb21c651e98df25
		h ^= h>>28 ^ h>>47
	}
	hi, _ := bits.Mul64(h*0x9e3779b97f4a7c15, universe)
	return hi
}

// coded is an item with its code in a list.
type coded struct {
	code uint64
	id   [32]byte
}

// codes are the items of an index from a position on, by code.
func codes(ix reconcile.Index, from int, seed, universe uint64) ([]coded, error) {
	out := make([]coded, 0, ix.Len()-from)
	for x, err := range ix.Items(from, ix.Len()) {
		if err != nil {
			return nil, err
		}
		out = append(out, coded{listCode(seed, x.ID, universe), x.ID})
	}
	sortCoded(out)
	return out, nil
}

func sortCoded(cs []coded) {
	slices.SortFunc(cs, func(a, b coded) int { return cmp.Compare(a.code, b.code) })
}
