package reconcile

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

	ahead [batch]ahead // ranges of the message in r: those that come next
	g     *wireRange   // the range in hand, one of them

	key     *Key    // not nil: this is the dialect
	mine    []keyed // own IDs, to compare with a list
	pointed int     // items of the lists that this message answers
	coming  int     // items that the peer alone holds, by this message

	spans   [maxParts]span        // ranges to be digested together
	digests [maxParts]Fingerprint // of these

	own        []byte // IDs of ours, to compare with a list
	have, need []ID

	turn   turn
	lowest Bound // nothing below it is open after this message
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
	fp, err := s.fingerprint(0, s.n)
	s.jitter.begin(s.seed, fp)
	return err
}

// begin starts a message.
func (s *engine) begin() {
	s.w.begin()
	s.cur.rewind()
	s.sent = 0
	s.have, s.need, s.coming, s.pointed = s.have[:0], s.need[:0], 0, 0
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

// spare gives a message that has become long all the memory of a frame, in
// one step. Any one split fits beyond the limit, before it is taken back.
func (s *engine) spare() {
	const long, split = 4 << 10, maxParts * maxRange
	if s.frameBytes != 0 && len(s.w.buf) > long {
		s.w.buf = reserve(s.w.buf, split, s.frameBytes+split)
	}
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
	s.turn = turn{}
	open := false // something has been sent
	for k, n := 0, 0; ; k++ {
		var err error
		if k == n {
			if n, err = s.look(); err != nil {
				return err
			}
			k = 0
		}
		if n == 0 {
			if !open {
				s.lowest = Bound{Time: Infinity}
			}
			return nil
		}
		t, a := &s.turn, &s.ahead[k]
		g := &a.g
		s.g, t.end = g, a.end
		if !open { // for the case that this range will be the first one sent
			s.lowest = t.lower
		}
		s.mark()
		s.spare()
		switch {
		case g.mode == modeSkip:
			t.skip = true
		case g.mode == modeFingerprint:
			err = s.answerFingerprint(&a.own)
		case g.mode == modeWants:
			t.skip = true
			err = s.takeWants(a)
		case s.key != nil:
			err = s.answerShortList()
		case s.initiator:
			t.skip = true
			err = s.compare(t.begin, t.end)
		default:
			err = s.answerList()
		}
		if err != nil {
			return err
		}
		open = open || len(s.w.buf) > t.saved.bytes || t.dropped
		if t.dropped || s.full(len(s.w.buf)) {
			if err := s.close(); err != nil || s.key == nil {
				return err
			}
			return s.takeRest(s.ahead[k+1:n], a.end)
		}
		t.begin, t.lower = t.end, g.upper
	}
}

// turn is how far answering a message has got.
type turn struct {
	begin, end int   // of the range in hand, or of what of it is answered
	lower      Bound // its lower bound
	skip       bool  // ranges up to lower have been settled and not been sent
	dropped    bool  // the answer to it did not fit
	exact      bool  // the closing fingerprint digests what it claims
	saved      saved // before it
}

// saved is what undo goes back to.
type saved struct {
	bytes, sent  int
	time         uint64
	skip         bool
	have, coming int
}

func (s *engine) mark() {
	s.turn.saved = saved{len(s.w.buf), s.sent, s.w.time, s.turn.skip, len(s.have), s.coming}
}

// undo takes back what has been written and noted for the range in hand.
func (s *engine) undo() {
	was := &s.turn.saved
	s.w.buf, s.sent, s.w.time, s.turn.skip = s.w.buf[:was.bytes], was.sent, was.time, was.skip
	s.have, s.coming = s.have[:was.have], was.coming
}

// flush sends the skip that is pending.
func (s *engine) flush() {
	if t := &s.turn; t.skip {
		s.w.header(&t.lower, modeSkip)
		s.sent, t.skip = t.begin, false
	}
}

// answerFingerprint answers a fingerprint with a skip or a split. A split is
// sent whole or not at all.
func (s *engine) answerFingerprint(own *Fingerprint) error {
	t, g := &s.turn, s.g
	if *own == g.fingerprint {
		t.skip = true
		return nil
	}
	s.flush()
	if err := s.split(t.begin, t.end, &g.upper, false); err != nil {
		return err
	}
	if !s.full(len(s.w.buf)) {
		return nil
	}
	s.undo()
	t.dropped, t.exact = true, g.fingerprint == emptyFingerprint
	if s.plan.exact { // say what the closing fingerprint is about
		s.flush()
		t.exact = true
	} else {
		t.skip = false
	}
	return nil
}

// answerList answers a list at the responder.
func (s *engine) answerList() error {
	if s.plan.lean {
		if done, err := s.extras(); done || err != nil {
			return err
		}
	}
	t := &s.turn
	s.flush()
	var err error
	t.end, err = s.list(t.begin, t.end, &s.g.upper, s.room(t.saved.bytes))
	return err
}
