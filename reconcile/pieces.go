package reconcile

import (
	"encoding/binary"
	"slices"
)

// split replaces a fingerprint of [begin, end) that did not match.
func (s *engine) split(begin, end int, upper *Bound, opening bool) error {
	n := end - begin
	parts := s.plan.cut(n, s.initiator, opening)
	if parts == 0 {
		_, err := s.list(begin, end, upper, n)
		return err
	}
	spans := s.spans[:parts]
	each, more := n/parts, n%parts
	edge := begin // of the regular cut; a jittered one lies near it
	for i := range spans {
		spans[i].begin = begin
		edge += each
		if i < more {
			edge++
		}
		begin = edge
		if s.plan.jitter && edge < end {
			spread := each / jitterPart
			begin += s.jitter.below(2*spread+1) - spread
		}
		spans[i].end = begin
	}
	for at := 0; at < parts; at += batch {
		to := min(at+batch, parts)
		if err := s.cur.fingerprints(spans[at:to], s.digests[at:to]); err != nil {
			return err
		}
	}
	for i := range spans {
		next := spans[i].end
		if next < end {
			b, err := s.cur.between(next)
			if err != nil {
				return err
			}
			s.w.fingerprint(&b, &s.digests[i])
		} else {
			s.w.fingerprint(upper, &s.digests[i])
		}
		s.sent = next
	}
	return nil
}

// room is the number of IDs that a list may hold when the message had n
// bytes before its range: IDs are added as long as what is there leaves
// room to close, the range's own header not counted.
func (s *engine) room(n int) int {
	if s.frameBytes == 0 {
		return s.n
	}
	left := s.frameBytes - frameReserve - n
	if left < 0 {
		return 0
	}
	if s.key != nil {
		return left/shortBytes + 1
	}
	return left/idBytes + 1
}

// list sends the first most IDs of [begin, end), and returns the position
// after them. If it cuts, the range ends at the first item not sent.
func (s *engine) list(begin, end int, upper *Bound, most int) (int, error) {
	if end-begin > most {
		end = begin + most
		x, err := s.cur.at(end)
		if err != nil {
			return 0, err
		}
		upper = &Bound{x.Time, x.ID, idBytes}
	}
	s.w.header(upper, modeList)
	s.w.buf = appendVarint(s.w.buf, uint64(end-begin))
	var err error
	if s.key != nil {
		if s.own, err = s.cur.ids(reserve(s.own[:0], (end-begin)*idBytes, s.names()*idBytes), begin, end); err != nil {
			return 0, err
		}
		for at := 0; at < len(s.own); at += idBytes {
			s.w.buf = binary.LittleEndian.AppendUint64(s.w.buf, s.key.short(s.own[at:at+idBytes]))
		}
		s.sent = end
		return end, nil
	}
	s.w.buf, err = s.cur.ids(slices.Grow(s.w.buf, (end-begin)*idBytes), begin, end)
	s.sent = end
	return end, err
}

// extras answers a list with less than all of a range, if it can: with a
// skip if both sides hold the same, and if only this one holds more, with
// skips around lists of that. What the initiator alone holds has no known
// place, so then it cannot, and nothing has been written.
func (s *engine) extras() (done bool, err error) {
	begin, end, theirs := s.turn.begin, s.turn.end, s.g.ids
	n, count := end-begin, len(theirs)/idBytes
	if count > n || n > count+count/2 || n > chunkItems { // impossible, or hardly worth it
		return false, nil
	}
	if s.own, err = s.cur.ids(reserve(s.own[:0], n*idBytes, chunkItems*idBytes), begin, end); err != nil {
		return false, err
	}
	more := n - count // if theirs is a part of ours, in order
	at, last := 0, begin
	alone := func(i int) bool {
		return at == len(theirs) || [idBytes]byte(s.own[(i-begin)*idBytes:]) != [idBytes]byte(theirs[at:])
	}
	for i := begin; i < end && more > 0; {
		if !alone(i) {
			at += idBytes
			i++
			continue
		}
		to := i + 1
		for to < end && alone(to) {
			to++
		}
		if more -= to - i; more < 0 {
			break
		}
		if err := s.extra(i, to, last); err != nil {
			return false, err
		}
		last, i = to, to
	}
	if more < 0 || s.full(len(s.w.buf)) || string(s.own[len(s.own)-(len(theirs)-at):]) != string(theirs[at:]) {
		s.undo()
		return false, nil
	}
	if last < end || begin == end {
		s.turn.skip = true
	}
	return true, nil
}

// extra sends the items [i, to) of the range in hand, and a skip before them
// if there is something since last.
func (s *engine) extra(i, to, last int) error {
	if i > last {
		b, err := s.cur.between(i)
		if err != nil {
			return err
		}
		s.w.header(&b, modeSkip)
		s.turn.skip = false
	} else {
		s.flush()
	}
	upper := s.g.upper
	if to < s.turn.end {
		var err error
		if upper, err = s.cur.between(to); err != nil {
			return err
		}
	}
	_, err := s.list(i, to, &upper, to-i)
	return err
}

// close ends a full message with one fingerprint up to infinity. On the
// wire its range begins at the last bound sent, but, as all implementations
// do, it digests only the items from end on: where a range was dropped the
// peer sees a mismatch, which brings the dropped range back.
//
// It sees none if it has nothing in the dropped range and what is here from
// end on (often nothing): then the dropped items would never be mentioned
// again. In this case, and outside Reference always, the fingerprint
// is of the range that it claims. Outside Reference nothing is said where
// nothing is left, and no fingerprint is of no items.
func (s *engine) close() error {
	t := &s.turn
	begin := t.end
	if t.exact {
		begin = s.sent
	}
	over := !t.dropped && s.g.upper.Time == Infinity && t.end == s.n
	rest := Bound{Time: Infinity}
	if s.plan.exact && begin == s.n {
		if !over {
			s.w.header(&rest, modeList)
			s.w.buf = append(s.w.buf, 0)
		}
		return nil
	}
	fp, err := s.fingerprint(begin, s.n)
	if err != nil {
		return err
	}
	s.w.fingerprint(&rest, &fp)
	return nil
}
