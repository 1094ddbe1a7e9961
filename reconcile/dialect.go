package reconcile

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// The dialect is V1 with three differences, for two peers that have agreed
// on it and on a Key beforehand:
//
//	version  0x6f
//	list     count varint, then 8 bytes for each ID, in the order of
//	         (time, ID): SipHash-2-4 of the ID under the key, little-endian
//	mode 3   the answer to a list, which settles its range on both sides:
//	         runs varint, then for each a gap and a length, both varints:
//	         positions in the list of what the answerer lacks; then a
//	         varint, the number of items that it alone holds there
//
// A list is answered by whichever side gets it, and never by a list. Each
// side learns what it alone holds, and how many items the other does: it
// sends its own, and waits for as many.
const (
	dialectVersion = 0x6f
	modeWants      = 3
	shortBytes     = 8
)

// wants are the runs of a range of mode 3.
type wants struct {
	runs  []byte // pairs of varints, checked
	count int    // pairs
	alone uint64
}

// wants reads the payload of mode 3.
func (r *reader) wants() error {
	at := r.at
	n, err := r.varint("number of runs")
	if err != nil {
		return err
	}
	if left := len(r.msg) - r.at; n > uint64(left/2) {
		return r.fail(at, ErrCount, "%d runs in %d bytes", n, left)
	}
	begin, end := r.at, uint64(0)
	for i := range n {
		at = r.at
		gap, err := r.varint("gap")
		if err != nil {
			return err
		}
		length, err := r.varint("run")
		if err != nil {
			return err
		}
		// Runs are as long as can be, so that there is one way to write them.
		if length == 0 || i > 0 && gap == 0 || gap > 1<<40 || length > 1<<40 || end > 1<<40 {
			return r.fail(at, ErrRun, "gap %d, length %d", gap, length)
		}
		end += gap + length
	}
	r.g.wants = wants{runs: r.msg[begin:r.at], count: int(n)}
	r.g.wants.alone, err = r.varint("number of items")
	return err
}

// keyed is an ID in a list, by its short name and its position.
type keyed struct {
	key uint64
	at  int
}

// answerShortList answers a list in the dialect: whole, or, where that is
// more than a frame holds, with the beginning of a list of its own.
func (s *engine) answerShortList() error {
	t := &s.turn
	if !s.tooMany(t.end - t.begin) {
		if err := s.point(t.begin, t.end); err != nil || !s.full(len(s.w.buf)) {
			return err
		}
		s.undo()
	}
	s.flush()
	if len(s.w.buf) > s.frameBytes/2 { // the next frame has more room
		t.dropped, t.exact = true, true
		return nil
	}
	var err error
	t.end, err = s.list(t.begin, t.end, &s.g.upper, s.room(len(s.w.buf)))
	return err
}

// tooMany says whether n items more could bring what a message settles here
// above the number of names in a frame: a peer that claims to hold nothing,
// in five bytes, must not make this side note all that it holds. A list of
// these items, cut to a frame, asks about them instead.
func (s *engine) tooMany(n int) bool {
	return s.frameBytes != 0 && len(s.have)+n > s.names()
}

// names is the most that a message of this side can hold of names: with a
// frame limit, what fits into a frame, and one.
func (s *engine) names() int {
	if s.frameBytes == 0 {
		return s.n
	}
	return s.frameBytes/shortBytes + 1
}

// point notes what only this side has in [begin, end), and points at what of
// the peer's list it lacks.
func (s *engine) point(begin, end int) (err error) {
	if s.own, err = s.cur.ids(reserve(s.own[:0], (end-begin)*idBytes, s.names()*idBytes), begin, end); err != nil {
		return err
	}
	s.have = reserve(s.have, end-begin, s.names())
	mine := reserve(s.mine[:0], end-begin, s.names())
	for at := 0; at < len(s.own); at += idBytes {
		mine = append(mine, keyed{s.key.short(s.own[at : at+idBytes]), at})
	}
	slices.SortFunc(mine, func(x, y keyed) int { return cmp.Compare(x.key, y.key) })
	s.mine = mine
	// The positions of what is missing take the place of those before it.
	haves, list := len(s.have), s.g.ids
	order := s.r.order(list)
	missing := order[:0]
	i := 0
	for _, at := range order {
		key := binary.LittleEndian.Uint64(list[at:])
		for i < len(mine) && mine[i].key < key {
			s.have = append(s.have, ID(s.own[mine[i].at:]))
			i++
		}
		if i < len(mine) && mine[i].key == key {
			i++
		} else {
			missing = append(missing, at/shortBytes)
		}
	}
	for ; i < len(mine); i++ {
		s.have = append(s.have, ID(s.own[mine[i].at:]))
	}
	s.coming += len(missing)
	alone := len(s.have) - haves
	if alone+len(missing) == 0 {
		s.turn.skip = true
		return nil
	}
	s.flush()
	slices.Sort(missing)
	s.w.header(&s.g.upper, modeWants)
	runs := 0
	for k := range missing {
		if k == 0 || missing[k] != missing[k-1]+1 {
			runs++
		}
	}
	s.w.buf = appendVarint(s.w.buf, uint64(runs))
	after := uint64(0)
	for k := 0; k < len(missing); {
		n := 1
		for k+n < len(missing) && missing[k+n] == missing[k]+uint64(n) {
			n++
		}
		s.w.buf = appendVarint(s.w.buf, missing[k]-after)
		s.w.buf = appendVarint(s.w.buf, uint64(n))
		after, k = missing[k]+uint64(n), k+n
	}
	s.w.buf = appendVarint(s.w.buf, uint64(alone))
	s.sent = end
	return nil
}

// takeRest learns from the ranges that a full frame leaves aside, which begin
// at position at: the peer has noted what it alone holds where it answered a
// list, and counts on the rest. They are compared once more, since the range
// that closes a frame covers them, and both sides then note the same again.
func (s *engine) takeRest(ranges []ahead, at int) (err error) {
	for {
		for i := range ranges {
			if a := &ranges[i]; a.g.mode == modeWants {
				if err := s.takeWants(a); err != nil {
					return err
				}
			}
			at = ranges[i].end
		}
		s.turn.begin = at
		n, err := s.locate()
		if err != nil || n == 0 {
			return err
		}
		ranges = s.ahead[:n]
	}
}

// takeWants settles a range of which the peer has got a list: it lacks what
// it points at.
func (s *engine) takeWants(a *ahead) (err error) {
	begin, end := a.begin, a.end
	// The lists of one message have been in one frame.
	if s.pointed += end - begin; s.frameBytes != 0 && s.pointed > s.names() {
		return s.r.fail(a.at, ErrRun, "for lists of %d, more than a frame holds", s.pointed)
	}
	r := reader{msg: a.g.wants.runs}
	at := begin
	for range a.g.wants.count {
		gap, _ := r.varint("gap")
		length, _ := r.varint("run")
		if gap+length > uint64(end-at) {
			return s.r.fail(a.at, ErrRun, "up to %d in a list of %d", uint64(at-begin)+gap+length, end-begin)
		}
		at += int(gap)
		for to := at + int(length); at < to; {
			n := min(to-at, chunkItems)
			if s.own, err = s.cur.ids(reserve(s.own[:0], n*idBytes, chunkItems*idBytes), at, at+n); err != nil {
				return err
			}
			s.have = appendIDs(reserve(s.have, n, s.names()), s.own)
			at += n
		}
	}
	s.coming += int(min(a.g.wants.alone, 1<<31-1))
	return nil
}
