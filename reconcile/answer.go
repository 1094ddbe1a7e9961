package reconcile

import (
	"fmt"
	"slices"
)

const (
	buckets   = 16          // fingerprints that replace a mismatching one
	listItems = 2 * buckets // a range with fewer items is sent as a list

	frameReserve = 200 // left free for the range that closes a cut message
)

// emptyFingerprint is that of no items. No split sends it; a closed message
// may.
var emptyFingerprint = Sum{}.Fingerprint(0)

// side builds the answer to one message.
type side struct {
	ix         Index
	frameBytes int
	initiator  bool

	w    writer
	sent int // position of the last bound in w

	have, need []ID
}

// full says whether a message of n bytes leaves no room to be closed.
func (s *side) full(n int) bool {
	return s.frameBytes != 0 && n > s.frameBytes-frameReserve
}

// answer reads r to its end, even when the frame is full before that: a
// message is valid or not, whatever the limits.
func (s *side) answer(r *reader) error {
	s.w = newWriter(64)
	var (
		begin int   // position of the current range's lower bound
		lower Bound // that bound
		skip  bool  // ranges up to lower have been settled and not been sent
		shut  bool  // the frame is full
		lone  bool  // and the range dropped for it is empty at the peer's
	)
	for {
		g, ok, err := r.next()
		if err != nil || !ok {
			return err
		}
		if shut {
			continue
		}
		end := s.ix.Len()
		if g.upper.Time != Infinity {
			if end, err = s.ix.LowerBound(g.upper); err != nil {
				return err
			}
		}
		if end < begin || end > s.ix.Len() {
			return fmt.Errorf("reconcile: index answers bound at time %d with position %d, after %d of %d", g.upper.Time, end, begin, s.ix.Len())
		}
		mark, markSent := len(s.w.buf), s.sent
		flush := func() {
			if skip {
				s.w.header(lower, modeSkip)
				s.sent, skip = begin, false
			}
		}
		switch {
		case g.mode == modeSkip:
			skip = true
		case g.mode == modeFingerprint:
			own, err := s.ix.Fingerprint(begin, end)
			if err != nil {
				return err
			}
			if own == g.fingerprint {
				skip = true
				break
			}
			flush()
			if err := s.split(begin, end, g.upper); err != nil {
				return err
			}
			if s.full(len(s.w.buf)) { // all or nothing
				s.w.buf, s.sent = s.w.buf[:mark], markSent
				shut, lone = true, g.fingerprint == emptyFingerprint
			}
		case s.initiator:
			if err := s.compare(begin, end, g.ids); err != nil {
				return err
			}
			skip = true
		default:
			flush()
			if end, err = s.list(begin, end, g.upper, s.room(mark)); err != nil {
				return err
			}
		}
		if shut || s.full(len(s.w.buf)) {
			shut = true
			if err := s.close(end, lone); err != nil {
				return err
			}
		}
		begin, lower = end, g.upper
	}
}

// split replaces a fingerprint of [begin, end) that did not match.
func (s *side) split(begin, end int, upper Bound) error {
	n := end - begin
	if n < listItems {
		_, err := s.list(begin, end, upper, n)
		return err
	}
	for i := range buckets {
		next := begin + n/buckets
		if i < n%buckets {
			next++
		}
		fp, err := s.ix.Fingerprint(begin, next)
		if err != nil {
			return err
		}
		b := upper
		if next < end {
			p, err := s.ix.At(next - 1)
			if err != nil {
				return err
			}
			q, err := s.ix.At(next)
			if err != nil {
				return err
			}
			b = boundBetween(p, q)
		}
		s.w.header(b, modeFingerprint)
		s.w.buf = append(s.w.buf, fp[:]...)
		s.sent, begin = next, next
	}
	return nil
}

// room is the number of IDs that a list may hold when the message had n
// bytes before its range: IDs are added as long as what is there leaves
// room to close, the range's own header not counted.
func (s *side) room(n int) int {
	if s.frameBytes == 0 {
		return s.ix.Len()
	}
	left := s.frameBytes - frameReserve - n
	if left < 0 {
		return 0
	}
	return left/len(ID{}) + 1
}

// list sends the first most IDs of [begin, end), and returns the position
// after them. If it cuts, the range ends at the first item not sent.
func (s *side) list(begin, end int, upper Bound, most int) (int, error) {
	if end-begin > most {
		end = begin + most
		x, err := s.ix.At(end)
		if err != nil {
			return 0, err
		}
		upper = BoundAt(x)
	}
	n := end - begin
	s.w.header(upper, modeList)
	s.w.buf = appendVarint(s.w.buf, uint64(n))
	s.w.buf = slices.Grow(s.w.buf, n*len(ID{}))
	for x, err := range s.ix.Items(begin, end) {
		if err != nil {
			return 0, err
		}
		s.w.buf = append(s.w.buf, x.ID[:]...)
		n--
	}
	if n != 0 {
		return 0, fmt.Errorf("reconcile: index has %d items fewer than it said in [%d, %d)", n, begin, end)
	}
	s.sent = end
	return end, nil
}

// compare settles a range of which the responder sent all IDs, sorted.
func (s *side) compare(begin, end int, theirs []ID) error {
	both := make([]bool, len(theirs))
	for x, err := range s.ix.Items(begin, end) {
		if err != nil {
			return err
		}
		at, found := slices.BinarySearchFunc(theirs, x.ID, func(a, b ID) int { return compareIDs(&a, &b) })
		if found {
			both[at] = true
		} else {
			s.have = append(s.have, x.ID)
		}
	}
	for i, id := range theirs {
		if !both[i] {
			s.need = append(s.need, id)
		}
	}
	return nil
}

// close ends a full message with one fingerprint up to infinity. On the
// wire its range begins at the last bound sent, but, as all implementations
// do, it digests only the items from end on: where a range was dropped the
// peer sees a mismatch, which brings the dropped range back.
//
// It sees none if it has nothing in the dropped range and what is here from
// end on (often nothing): then the dropped items would never be mentioned
// again. In this case, lone, the fingerprint is of the range that it claims.
func (s *side) close(end int, lone bool) error {
	begin := end
	if lone {
		begin = s.sent
	}
	fp, err := s.ix.Fingerprint(begin, s.ix.Len())
	if err != nil {
		return err
	}
	s.w.header(Bound{Time: Infinity}, modeFingerprint)
	s.w.buf = append(s.w.buf, fp[:]...)
	return nil
}
