package reconcile

import (
	"encoding/binary"
	"slices"
)

const frameReserve = 200 // bytes left free for the range that closes a cut message

// emptyFingerprint is that of no items. No split sends it; a closed message
// may.
var emptyFingerprint = Sum{}.Fingerprint(0)

// engine builds messages. It keeps its memory from one to the next.
type engine struct {
	plan       plan
	seed       uint64
	frameBytes int
	initiator  bool

	cursors cursors
	cur     cursor
	n       int // items
	jitter  jitter

	r    reader
	w    writer
	sent int // position of the last bound in w

	key     *Key  // not nil: this is the dialect
	missing []int // positions in a list
	coming  int   // items that the peer alone holds, by this message

	own        []byte // IDs of ours, to compare with a list
	differ     differ
	have, need []ID

	settled int   // position up to which nothing is open after this message
	lowest  Bound // the same as a bound
}

func newEngine(o Options, initiator bool) engine {
	s := engine{
		plan: plans[o.Split].fit(o.FrameBytes), seed: o.Seed,
		frameBytes: o.FrameBytes, initiator: initiator,
		cursors: cursors{hash: newHasher()},
	}
	if o.Dialect != nil {
		s.setKey(*o.Dialect)
		s.plan.lean, s.plan.exact = false, true
		s.plan.list *= 2 // a name is half as long as a fingerprint
	}
	return s
}

func (s *engine) setKey(k Key) {
	s.key = &k
	s.w.version, s.r.short = dialectVersion, true
}

// version is the first byte of messages.
func (s *engine) version() byte {
	if s.key != nil {
		return dialectVersion
	}
	return version
}

// over begins to speak about ix. With freeze, what is written to a Tree
// later is not seen.
func (s *engine) over(ix Index, freeze bool) {
	s.cur = s.cursors.over(ix, freeze)
	s.n = s.cur.len()
}

// shake starts the jitter, from the seed and what is in the index.
func (s *engine) shake() error {
	if !s.plan.jitter {
		return nil
	}
	fp, err := s.cur.fingerprint(0, s.n)
	s.jitter.begin(s.seed, fp)
	return err
}

// begin starts a message.
func (s *engine) begin() {
	s.w.begin()
	s.cur.rewind()
	s.sent = 0
	s.have, s.need, s.coming = s.have[:0], s.need[:0], 0
}

// open writes the opening message.
func (s *engine) open() error {
	s.begin()
	if err := s.shake(); err != nil {
		return err
	}
	return s.split(0, s.n, &Bound{Time: Infinity}, true)
}

// full says whether a message of n bytes leaves no room to be closed.
func (s *engine) full(n int) bool {
	return s.frameBytes != 0 && n > s.frameBytes-frameReserve
}

// answer builds the answer to the message in s.r. All of it is parsed before
// anything is done: a message is valid or not, whatever the limits.
func (s *engine) answer() error {
	s.begin()
	if err := s.r.check(); err != nil {
		return err
	}
	if err := s.shake(); err != nil {
		return err
	}
	var (
		begin int   // position of the current range's lower bound
		lower Bound // that bound
		skip  bool  // ranges up to lower have been settled and not been sent
		open  bool  // something has been sent
	)
	for {
		ok, err := s.r.next()
		if err != nil || !ok {
			if !open {
				s.settled, s.lowest = s.n, Bound{Time: Infinity}
			}
			return err
		}
		g := &s.r.g
		end := s.n
		if g.upper.Time != Infinity {
			if end, err = s.cur.seek(begin, &g.upper); err != nil {
				return err
			}
		}
		if !open { // for the case that this range will be the first one sent
			s.settled, s.lowest = begin, lower
		}
		mark, markSent, markTime, markSkip := len(s.w.buf), s.sent, s.w.time, skip
		dropped, lone := false, false
		switch g.mode {
		case modeSkip:
			skip = true
		case modeFingerprint:
			own, err := s.cur.fingerprint(begin, end)
			if err != nil {
				return err
			}
			if own == g.fingerprint {
				skip = true
				break
			}
			s.flush(&skip, begin, &lower)
			if err := s.split(begin, end, &g.upper, false); err != nil {
				return err
			}
			if dropped = s.full(len(s.w.buf)); dropped { // all or nothing
				s.w.buf, s.sent, s.w.time = s.w.buf[:mark], markSent, markTime
				lone = g.fingerprint == emptyFingerprint
				if s.plan.exact { // say what the closing fingerprint is about
					skip = markSkip
					s.flush(&skip, begin, &lower)
					lone = true
				}
			}
		case modeWants:
			if err := s.takeWants(begin, end); err != nil {
				return err
			}
			skip = true
		case modeList:
			if s.key != nil {
				haves, coming := len(s.have), s.coming
				settled, err := s.answerList(begin, end, &g.upper, func() { s.flush(&skip, begin, &lower) })
				if err != nil {
					return err
				}
				if settled {
					skip = true
				} else if s.full(len(s.w.buf)) {
					// All or nothing; what no frame could hold is cut up.
					s.w.buf, s.sent, s.w.time, skip = s.w.buf[:mark], markSent, markTime, markSkip
					s.have, s.coming = s.have[:haves], coming
					s.flush(&skip, begin, &lower)
					if len(s.w.buf) > s.frameBytes/2 {
						dropped, lone = true, true
					} else if end, err = s.list(begin, end, &g.upper, s.room(len(s.w.buf))); err != nil {
						return err
					}
				}
				break
			}
			if s.initiator {
				if err := s.compare(begin, end); err != nil {
					return err
				}
				skip = true
				break
			}
			if s.plan.lean {
				done, err := s.extras(begin, end, &skip, &lower)
				if err != nil {
					return err
				}
				if done {
					break
				}
			}
			s.flush(&skip, begin, &lower)
			if end, err = s.list(begin, end, &g.upper, s.room(mark)); err != nil {
				return err
			}
		}
		open = open || len(s.w.buf) > mark || dropped
		if dropped || s.full(len(s.w.buf)) {
			return s.close(end, lone, !dropped && g.upper.Time == Infinity && end == s.n)
		}
		begin, lower = end, g.upper
	}
}

// flush sends the skip that is pending up to lower, which is at position
// begin.
func (s *engine) flush(skip *bool, begin int, lower *Bound) {
	if *skip {
		s.w.header(lower, modeSkip)
		s.sent, *skip = begin, false
	}
}

// split replaces a fingerprint of [begin, end) that did not match.
func (s *engine) split(begin, end int, upper *Bound, opening bool) error {
	n := end - begin
	parts := s.plan.cut(n, s.initiator, opening)
	if parts == 0 {
		_, err := s.list(begin, end, upper, n)
		return err
	}
	each, more := n/parts, n%parts
	edge := begin // of the regular cut; a jittered one lies near it
	for i := range parts {
		edge += each
		if i < more {
			edge++
		}
		next := edge
		if s.plan.jitter && next < end {
			spread := each / jitterPart
			next += s.jitter.below(2*spread+1) - spread
		}
		fp, err := s.cur.fingerprint(begin, next)
		if err != nil {
			return err
		}
		if next < end {
			b, err := s.cur.between(next)
			if err != nil {
				return err
			}
			s.w.header(&b, modeFingerprint)
		} else {
			s.w.header(upper, modeFingerprint)
		}
		s.w.buf = append(s.w.buf, fp[:]...)
		s.sent, begin = next, next
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
		if s.own, err = s.cur.ids(slices.Grow(s.own[:0], (end-begin)*idBytes), begin, end); err != nil {
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

// compare settles a range of which the responder sent all IDs.
func (s *engine) compare(begin, end int) (err error) {
	if s.own, err = s.cur.ids(slices.Grow(s.own[:0], (end-begin)*idBytes), begin, end); err == nil {
		s.have, s.need = s.differ.compare(s.own, s.r.g.ids, s.have, s.need)
	}
	return err
}

// extras answers a list with less than all of [begin, end), if it can: with
// a skip if both sides hold the same, and if only this one holds more, with
// skips around lists of that. What the initiator alone holds has no known
// place, so then it cannot.
func (s *engine) extras(begin, end int, skip *bool, lower *Bound) (done bool, err error) {
	theirs := s.r.g.ids
	n, count := end-begin, len(s.r.g.ids)/idBytes
	if count > n || n > count+count/2 { // impossible, or hardly worth it
		return false, nil
	}
	if s.own, err = s.cur.ids(slices.Grow(s.own[:0], n*idBytes), begin, end); err != nil {
		return false, err
	}
	more := n - count // if theirs is a part of ours, in order
	mark := len(s.w.buf)
	at, last, skipped, sent := 0, begin, *skip, s.sent
	time := s.w.time
	undo := func() (bool, error) {
		s.w.buf, s.w.time, s.sent, *skip = s.w.buf[:mark], time, sent, skipped
		return false, nil
	}
	for i := begin; i < end && more > 0; {
		if at < len(theirs) && [idBytes]byte(s.own[(i-begin)*idBytes:]) == [idBytes]byte(theirs[at:]) {
			at += idBytes
			i++
			continue
		}
		// A run of extras: [i, to).
		to := i + 1
		for to < end && (at == len(theirs) || [idBytes]byte(s.own[(to-begin)*idBytes:]) != [idBytes]byte(theirs[at:])) {
			to++
		}
		more -= to - i
		if more < 0 {
			return undo()
		}
		if i > last {
			b, err := s.cur.between(i)
			if err != nil {
				return false, err
			}
			s.w.header(&b, modeSkip)
			*skip = false
		} else {
			s.flush(skip, begin, lower)
		}
		if to < end {
			b, err := s.cur.between(to)
			if err != nil {
				return false, err
			}
			if _, err := s.list(i, to, &b, to-i); err != nil {
				return false, err
			}
		} else if _, err := s.list(i, to, &s.r.g.upper, to-i); err != nil {
			return false, err
		}
		if s.full(len(s.w.buf)) {
			return undo()
		}
		last, i = to, to
	}
	if string(s.own[len(s.own)-(len(theirs)-at):]) != string(theirs[at:]) {
		return undo()
	}
	if last < end || begin == end {
		*skip = true
	}
	return true, nil
}

// close ends a full message with one fingerprint up to infinity. On the
// wire its range begins at the last bound sent, but, as all implementations
// do, it digests only the items from end on: where a range was dropped the
// peer sees a mismatch, which brings the dropped range back.
//
// It sees none if it has nothing in the dropped range and what is here from
// end on (often nothing): then the dropped items would never be mentioned
// again. In this case, lone, and outside Reference always, the fingerprint
// is of the range that it claims. Outside Reference nothing is said where
// nothing is left, and no fingerprint is of no items.
func (s *engine) close(end int, lone, over bool) error {
	begin := end
	if lone {
		begin = s.sent
	}
	rest := Bound{Time: Infinity}
	if s.plan.exact && begin == s.n {
		if !over {
			s.w.header(&rest, modeList)
			s.w.buf = append(s.w.buf, 0)
		}
		return nil
	}
	fp, err := s.cur.fingerprint(begin, s.n)
	if err != nil {
		return err
	}
	s.w.header(&rest, modeFingerprint)
	s.w.buf = append(s.w.buf, fp[:]...)
	return nil
}
