package text

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"anabranch/crdt"
)

// A saved state is a cache that one replica keeps for itself: the spans in
// document order, as long as they can be, and what the characters say. It is a
// function of what the document holds and not of how that arrived, up to the
// compressed bytes. Numbers are those of crdt.AppendUvarint.
//
//	1 byte   0x21
//	4 bytes  CRC-32C of all that follows, big-endian
//	structure, text of visible characters, text of the others, each as
//	         length, length deflated, one DEFLATE stream; or length, 0, the bytes as they are;
//	         texts are UTF-8 in document order
//	parked   count, then per delta, ascending by lane and bytes: lane (8 bytes, big-endian), length, bytes
//
//	structure
//	lanes    count, then names, 8 bytes big-endian each, in the order in which the spans meet them
//	spans    count, then five columns, each led by its length in bytes:
//	tags     one byte a span: id | causal length<<2 | left origin<<4 | right parent<<6
//	lengths  characters
//	ids      id 2: zigzag of the number less the end of the lane's last span so far
//	         id 3: the lane's place, and the same
//	refs     left origin 3, right parent 2: (n-m)<<1 for number m < n of the span's lane, else lane<<1|1 and number
//	clens    causal length 2: the causal length, >= 3
//
//	id            0 goes on where the span before ended, 1 what was announced last,
//	              2 in the lane of the span before, 3 in another
//	causal length 0 one, 1 two, 2 more
//	left origin   0 the end of the span before (none: the start), 1 the start, 2 the character numbered before, 3 far
//	right parent  0 none, 1 the character numbered after the left origin, 2 far, 3 what was announced last
//
// A right parent stands further on, starts a span, and has the left origin of
// its left children, so the first of them announces it: right parents 1 and 2
// put it and the left origin on a stack, from which it takes its id when its
// turn comes. For id 1 and right parent 3 the left origin is known, and the
// tag's is 0. Of several tags that fit, the one is written that comes first
// here, but id 1 before id 0 and right parent 3 before 1.
const (
	stateVersion = 0x21
	idNext       = 0
	idTop        = 1
	idSame       = 2
	idOther      = 3
	olPrevious   = 0
	olStart      = 1
	olBefore     = 2
	olFar        = 3
	rpNone       = 0
	rpNext       = 1
	rpFar        = 2
	rpTop        = 3
)

// announced is a right parent that is still to come.
type announced struct{ rp, ol id }

// columns is a state before it is deflated.
type columns struct {
	structure, live, dead []byte
}

// Save encodes the document, what is parked included. Edits must have been
// flushed: the error is ErrOpenBurst, since a document that is loaded does not
// know which of its characters were never sent.
func (d *Doc) Save() ([]byte, error) {
	if d.burst.isOpen() {
		return nil, ErrOpenBurst
	}
	c := d.columns()
	b := []byte{stateVersion, 0, 0, 0, 0}
	for _, part := range [][]byte{c.structure, c.live, c.dead} {
		b = crdt.AppendUvarint(b, uint64(len(part)))
		if len(part) < deflateFrom {
			b = append(append(b, 0), part...)
			continue
		}
		packed := deflate(part)
		b = crdt.AppendUvarint(b, uint64(len(packed)))
		b = append(b, packed...)
	}
	waiting := d.park.sorted()
	b = crdt.AppendUvarint(b, uint64(len(waiting)))
	for _, p := range waiting {
		b = binary.BigEndian.AppendUint64(b, p.lane)
		b = crdt.AppendUvarint(b, uint64(len(p.body)))
		b = append(b, p.body...)
	}
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
	return b, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stateWriter writes the columns of spans that come in document order.
type stateWriter struct {
	d                           *Doc
	names                       []byte
	place                       []int // by lane index, -1: not met
	end                         []uint32
	lanes, count                int
	tags, lens, ids, refs, clen []byte
	before                      span // n 0: none
	stack                       []announced
}

func (d *Doc) columns() columns {
	d.inflateDead()
	w := stateWriter{d: d, place: make([]int, len(d.lanes)), end: make([]uint32, len(d.lanes))}
	for i := range w.place {
		w.place[i] = -1
	}
	var c columns
	var open span
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			s := l.spans[i]
			if s.clen&1 == 1 {
				c.live = d.read(c.live, s.id, s.n)
			} else {
				c.dead = d.read(c.dead, s.id, s.n)
			}
			if open.n > 0 && open.clen == s.clen && open.continues(&s) {
				open.n += s.n
				continue
			}
			w.write(open)
			open = s
		}
	}
	w.write(open)
	c.structure = append(crdt.AppendUvarint(nil, uint64(w.lanes)), w.names...)
	c.structure = crdt.AppendUvarint(c.structure, uint64(w.count))
	for _, column := range [][]byte{w.tags, w.lens, w.ids, w.refs, w.clen} {
		c.structure = crdt.AppendUvarint(c.structure, uint64(len(column)))
		c.structure = append(c.structure, column...)
	}
	return c
}

// tag is how a span is spelt when before stands in front of it.
func tag(s, before *span, stack []announced) byte {
	var top announced
	if len(stack) > 0 {
		top = stack[len(stack)-1]
	}
	last := id(0)
	if before.n > 0 {
		last = before.id + id(before.n) - 1
	}
	t := byte(0)
	known := false // the left origin
	switch {
	case top.rp == s.id:
		t, known = idTop, true
	case before.n > 0 && s.id == last+1:
		t = idNext
	case before.n > 0 && s.id.lane() == before.id.lane():
		t = idSame
	default:
		t = idOther
	}
	under := top // once s itself is taken off the stack
	if known {
		under = announced{}
		if len(stack) > 1 {
			under = stack[len(stack)-2]
		}
	}
	t |= byte(min(s.clen-1, 2)) << 2
	switch {
	case s.rp == 0:
	case s.ol != 0 && s.rp == s.ol+1 && s.rp != under.rp:
		t |= rpNext << 6
	case s.rp == under.rp:
		t |= rpTop << 6
		known = true
	default:
		t |= rpFar << 6
	}
	switch {
	case known || s.ol == last:
	case s.ol == 0:
		t |= olStart << 4
	case s.ol == s.id-1:
		t |= olBefore << 4
	default:
		t |= olFar << 4
	}
	return t
}

func (w *stateWriter) write(s span) {
	if s.n == 0 {
		return
	}
	lane := s.id.lane()
	met := w.lanePlace(lane)
	t := tag(&s, &w.before, w.stack)
	w.count++
	w.tags = append(w.tags, t)
	w.lens = crdt.AppendUvarint(w.lens, uint64(s.n))
	kind := t & 3
	if kind == idOther {
		w.ids = crdt.AppendUvarint(w.ids, uint64(met))
	}
	if kind >= idSame {
		w.ids = crdt.AppendUvarint(w.ids, zigzag(int64(s.id.number())-int64(w.end[lane])))
	}
	if kind == idTop {
		w.stack = w.stack[:len(w.stack)-1]
	}
	w.end[lane] = s.id.number() + s.n
	if t>>4&3 == olFar {
		w.ref(&s, s.ol)
	}
	switch t >> 6 {
	case rpFar:
		w.ref(&s, s.rp)
		fallthrough
	case rpNext:
		w.stack = append(w.stack, announced{s.rp, s.ol})
	}
	if s.clen > 2 {
		w.clen = crdt.AppendUvarint(w.clen, uint64(s.clen))
	}
	w.before = s
}

// lanePlace is a lane's place in the table, a new one when it is met first.
func (w *stateWriter) lanePlace(lane int) int {
	if w.place[lane] < 0 {
		w.place[lane] = w.lanes
		w.lanes++
		w.names = binary.BigEndian.AppendUint64(w.names, w.d.lanes[lane].name)
	}
	return w.place[lane]
}

func (w *stateWriter) ref(s *span, x id) {
	if x.lane() == s.id.lane() && x < s.id {
		w.refs = crdt.AppendUvarint(w.refs, uint64(s.id-x)<<1)
		return
	}
	w.refs = crdt.AppendUvarint(w.refs, uint64(w.lanePlace(x.lane()))<<1|1)
	w.refs = crdt.AppendUvarint(w.refs, uint64(x.number()))
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// unwell is what Load says of bytes that Save did not write.
func unwell(format string, args ...any) error {
	return &FormatError{What: "state", Reason: fmt.Sprintf(format, args...)}
}

// reader reads numbers off a byte string; bad once it could not.
type reader struct {
	b   []byte
	at  int // in b
	bad bool
}

func (r *reader) number() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		r.at++
		return uint64(r.b[r.at-1])
	}
	return r.longNumber()
}

func (r *reader) longNumber() uint64 {
	v, n := crdt.Uvarint(r.b[r.at:])
	if n == 0 {
		r.bad = true
		n = r.left()
	}
	r.at += n
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(r.left()) {
		r.bad = true
		n = 0
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at]
}

// left is how many bytes are still to be read.
func (r *reader) left() int { return len(r.b) - r.at }

func (r *reader) done() bool { return !r.bad && r.left() == 0 }

// packed is one part of a state as it was saved.
type packed struct {
	size uint64
	b    []byte
	raw  bool // b is the part itself
}

func (r *reader) part() (p packed) {
	p.size = r.number()
	n := r.number()
	if p.raw = n == 0; p.raw {
		n = p.size
	}
	p.b = r.take(n)
	r.bad = r.bad || p.raw && p.size >= deflateFrom || p.size > uint64(len(p.b))*deflateRatio
	return p
}

// inflate returns the part, of exactly the size it claims.
func (p packed) inflate(z *inflater) ([]byte, error) {
	if p.raw {
		return p.b, nil
	}
	out := make([]byte, p.size)
	if !z.inflate(out, p.b) {
		return nil, unwell("no DEFLATE stream of %d bytes", p.size)
	}
	return out, nil
}

// Load makes the document that Save encoded; its edits go to the given lane,
// as for New. It places nothing anew and leaves the text of deleted characters
// deflated until something asks for it. The error is a *FormatError. Load
// trusts the order of what it reads: states are for the replica that saved
// them, never taken from a peer.
func Load(lane uint64, b []byte) (*Doc, error) {
	if len(b) < 5 || b[0] != stateVersion {
		return nil, unwell("no state of version %#x", stateVersion)
	}
	if crc32.Checksum(b[5:], castagnoli) != binary.BigEndian.Uint32(b[1:]) {
		return nil, unwell("the checksum does not match")
	}
	in := reader{b: b[5:]}
	structure, live, dead := in.part(), in.part(), in.part()
	if in.bad {
		return nil, unwell("cut off")
	}
	var z inflater
	d := New(lane)
	d.dead.packed = dead
	d.dead.packed.b = bytes.Clone(dead.b)
	spans, err := structure.inflate(&z)
	if err == nil {
		err = d.build(spans)
	}
	if err != nil {
		return nil, err
	}
	text, err := live.inflate(&z)
	if err == nil {
		err = d.fill(text)
	}
	if err != nil {
		return nil, err
	}
	for range in.number() {
		name := in.take(8)
		body := in.take(in.number())
		if in.bad {
			return nil, unwell("cut off")
		}
		if res, err := d.Apply(binary.BigEndian.Uint64(name), body); err != nil || res.Status != Parked {
			return nil, unwell("a parked delta is not one: %v", err)
		}
	}
	if !in.done() {
		return nil, unwell("too long or cut off")
	}
	return d, nil
}
