package text

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"anabranch/crdt"
)

// Status says what became of a delta.
type Status uint8

const (
	// Applied: the document holds it now, and did not before.
	Applied Status = 1 + iota
	// Known: the document held all of it already.
	Known
	// Parked: it speaks of characters that the document does not have. What
	// does not was joined; the rest is kept, and joined when they arrive.
	Parked
)

func (s Status) String() string {
	switch s {
	case Applied:
		return "applied"
	case Known:
		return "known"
	case Parked:
		return "parked"
	}
	return "unknown"
}

// Result is the outcome of Apply.
type Result struct {
	Status   Status
	Released int       // parked deltas that wait no more
	Refused  []Refusal // parked deltas that turned out to be wrong, and are gone
}

// Refusal is a parked delta the rest of which could not be joined when its turn
// came: Err is a *ForkError.
type Refusal struct {
	Lane  uint64
	Delta []byte
	Err   error
}

// Apply joins a delta that the given lane wrote. Deltas may come in any order
// and any number of times; documents that got the same ones are equal. What
// speaks of characters that are not here yet waits for them, while the rest of
// its delta does not.
//
// A delta that cannot be is refused and leaves no trace: a *FormatError when
// it is no encoding, a *ForkError when it holds another character for a dot
// that is taken (see Build). ErrParkFull is no verdict on the delta, and leaves
// no trace either. Apply keeps no reference to its argument.
//
// A seed is taken under its own lane, whoever carries it: see Seeds.
func (d *Doc) Apply(lane uint64, delta []byte) (Result, error) {
	if IsSeed(delta) {
		var err error
		if lane, delta, err = fromSeed(delta); err != nil {
			return Result{}, err
		}
	}
	status, grown, err := d.apply(lane, delta)
	res := Result{Status: status}
	if grown >= 0 && d.park.count > 0 {
		d.release(grown, &res)
	}
	return res, err
}

// apply returns the lane that has more characters than before, or -1.
func (d *Doc) apply(name uint64, body []byte) (status Status, grown int, err error) {
	if name == 0 {
		return 0, -1, malformed("no lane")
	}
	if name == d.lastName && d.joinTyped(body) {
		return Applied, d.lastLane, nil
	}
	in := &d.in
	if err := in.decode(d, name, body); err != nil {
		return 0, -1, err
	}
	next := uint32(1)
	if in.own < unknownLane {
		next = d.lanes[in.own].next
	}
	skip := uint32(0)
	if len(in.runs) > 0 && in.first < next {
		skip = min(next-in.first, in.total)
		if err := d.compare(in.runs, skip, in.text()); err != nil {
			return 0, -1, err
		}
	}
	runs, claims := d.possible(next)
	if runs < len(in.runs) || claims < len(in.claims) {
		if err := d.parkRest(name, body, runs, claims); err != nil {
			return 0, -1, err
		}
		status = Parked
	}

	// Nothing can fail from here on.
	grown = -1
	changed := false
	if total := in.first + in.total; runs > 0 && (runs == len(in.runs) || in.runs[runs].id.number()-in.first > skip) && total > next {
		d.learn(name)
		d.join(in.runs[:runs], skip, in.text())
		grown, changed = in.own, true
	}
	for _, c := range in.claims[:claims] {
		if d.raise(c, name, false) {
			changed = true
		}
	}
	switch {
	case status == Parked:
	case changed:
		status = Applied
	default:
		status = Known
	}
	return status, grown, nil
}

// joinTyped joins a delta of the lane that the last one came from, if it is one
// run of ASCII that goes on from the lane's last character: what typing on makes,
// and so nearly all there is. It reports false, and did nothing, for all others.
func (d *Doc) joinTyped(body []byte) bool {
	if len(body) < 6 || body[0] != deltaVersion|hasRuns || d.watch != nil {
		return false
	}
	to := d.lanes[d.lastLane]
	first, k := crdt.Uvarint(body[1:])
	rest := body[1+k:]
	// One run, shorter than 64, a right child of the character before.
	if k == 0 || first != uint64(to.next) || first == 1 || first > crdt.MaxNumber-64 || len(rest) < 4 || rest[0] != 1 || rest[1]&0x81 != 0 || rest[2] != 2 {
		return false
	}
	text := rest[3:]
	if len(text) != int(rest[1]>>1) {
		return false
	}
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	x := makeID(d.lastLane, uint32(first))
	n := uint32(len(text))
	l, i, _ := d.locate(x - 1)
	to.grow(to.next + n - 1)
	if !d.extend(l, i, x, n) {
		return false
	}
	write(to, to.next, text, true)
	to.next += n
	d.cur.l = nil
	return true
}

// possible counts the runs and claims of the decoded delta that can be joined
// now: those before the first that speaks of a character which is not here.
// No claim is possible before every run is.
func (d *Doc) possible(next uint32) (runs, claims int) {
	in := &d.in
	if len(in.runs) > 0 && in.first > next {
		return 0, 0
	}
	runs = len(in.runs)
	if len(in.names) > 0 {
		for i := range in.runs {
			if x := in.runs[i].parent; x.lane() != in.own && !d.knows(x) {
				return i, 0
			}
		}
	}
	if runs > 0 {
		next = max(next, in.first+in.total)
	}
	for i, c := range in.claims {
		last := c.id + id(c.n) - 1
		if last.lane() == in.own && last.number() >= next || last.lane() != in.own && !d.knows(last) {
			return runs, i
		}
	}
	return runs, len(in.claims)
}

// knows reports whether a character, or the start of the document, is here.
func (d *Doc) knows(x id) bool {
	return x == 0 || x.lane() < unknownLane && x.number() < d.lanes[x.lane()].next
}

// learn gives the own lane of the decoded delta an index in the document.
func (d *Doc) learn(name uint64) {
	in := &d.in
	if in.own < unknownLane {
		return
	}
	was := in.own
	in.own = d.laneOf(name)
	d.lastName, d.lastLane = name, in.own
	rename := func(x *id) {
		if x.lane() == was {
			*x = makeID(in.own, x.number())
		}
	}
	for i := range in.runs {
		rename(&in.runs[i].id)
		rename(&in.runs[i].parent)
	}
	for i := range in.claims {
		rename(&in.claims[i].id)
	}
}

// compare checks that the first n characters of runs, which the document has,
// are the same there.
func (d *Doc) compare(runs []run, n uint32, text []byte) error {
	d.inflateDead()
	buf := make([]byte, 0, 4*pageLen)
	for _, r := range runs {
		for n > 0 && r.n > 0 {
			l, i, off := d.locate(r.id)
			dropped, same := d.in.drops(r.id, min(r.n, n, pageLen))
			have := l.spans[i].run(off, same)
			buf = d.read(buf[:0], r.id, have.n)
			if dropped || l.spans[i].clen == MaxClen { // one of the two does not know what it said
				buf = append(buf[:0], text[:prefix(text, have.n)]...)
			}
			if have.parent != r.parent || have.left != r.left || !bytes.HasPrefix(text, buf) {
				return &ForkError{Dot: crdt.Dot{Lane: d.lanes[r.id.lane()].name, Number: r.id.number()}}
			}
			text = text[len(buf):]
			n -= have.n
			r = r.rest(have.n)
		}
	}
	return nil
}

// rest is a run without its first n characters.
func (r run) rest(n uint32) run {
	return run{id: r.id + id(n), parent: r.id + id(n) - 1, n: r.n - n}
}

// join places the characters of runs, but for the first skip. Their lane and
// their parents are known.
func (d *Doc) join(runs []run, skip uint32, text []byte) {
	to := d.lanes[runs[0].id.lane()]
	last := runs[len(runs)-1]
	to.grow(last.id.number() + last.n - 1)
	d.cur.l = nil
	for _, r := range runs {
		if skip >= r.n {
			skip -= r.n
			text = text[prefix(text, r.n):]
			continue
		}
		if skip > 0 {
			text = text[prefix(text, skip):]
			r = r.rest(skip)
			skip = 0
		}
		said, ascii := cutText(text, r.n)
		text = text[len(said):]
		if !ascii {
			d.wide = true
		}
		write(to, r.id.number(), said, ascii)
		l, i := d.joinRun(r)
		to.next += r.n
		d.hint = i
		if d.watch != nil {
			d.notice(l, i, r.id, Patch{Text: string(said), Lane: to.name})
		}
	}
}

// joinRun places one run, the text of which is written.
func (d *Doc) joinRun(r run) (*leaf, int) {
	s := span{id: r.id, ol: r.parent, n: r.n, clen: 1}
	if r.left {
		s.rp = r.parent
		s.ol, _ = d.origins(r.parent)
	} else if r.parent != 0 && r.parent == r.id-1 {
		if l, i, _ := d.locate(r.parent); d.extend(l, i, r.id, r.n) {
			return l, i
		}
	}
	return d.insert(d.place(&s), s)
}

// cutText is the first n runes of a text, and whether they are all ASCII.
func cutText(text []byte, n uint32) (said []byte, ascii bool) {
	for _, c := range text[:n] {
		if c >= 0x80 {
			return text[:prefix(text, n)], false
		}
	}
	return text[:n], true
}

// raise gives the characters of a claim at least its causal length, and
// reports whether any had less.
func (d *Doc) raise(c claim, by uint64, local bool) (raised bool) {
	for c.n > 0 {
		l, i, off := d.locate(c.id)
		s := &l.spans[i]
		k := min(c.n, s.n-off)
		if s.clen < c.clen {
			raised = true
			d.cur.l = nil
			change := int(c.clen&1) - int(s.clen&1)
			if change > 0 {
				d.inflateDead()
			}
			if c.clen == MaxClen {
				d.inflateDead()
			}
			l, i = d.mark(l, i, off, k, c.clen)
			if d.watch != nil && change != 0 {
				p := Patch{Lane: by, Local: local}
				if change > 0 {
					p.Text = string(d.read(nil, c.id, k))
				} else {
					p.Delete = int(k)
				}
				d.notice(l, i, c.id, p)
			}
			if c.clen == MaxClen {
				d.blank(c.id, k)
			}
		}
		c.id += id(k)
		c.n -= k
	}
	return raised
}

// prefix is the bytes of the first n runes of a text.
func prefix(text []byte, n uint32) int {
	at := 0
	for ; n > 0; n-- {
		if text[at] < 0x80 {
			at++
			continue
		}
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

// checkBytes is checkText of bytes.
func checkBytes(b []byte) (runes int, ascii, ok bool) {
	rest := b
	for ; len(rest) >= 8; rest = rest[8:] {
		if binary.LittleEndian.Uint64(rest)&0x8080808080808080 != 0 {
			return utf8.RuneCount(b), false, utf8.Valid(b)
		}
	}
	for _, c := range rest {
		if c >= 0x80 {
			return utf8.RuneCount(b), false, utf8.Valid(b)
		}
	}
	return len(b), true, true
}
