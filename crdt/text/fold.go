package text

import (
	"cmp"
	"errors"
	"slices"

	"anabranch/crdt"
)

// A fold is one delta of a lane that says what many of its deltas said: the
// same characters under the same dots, the greatest causal length of each
// claim. Others' claims about its characters stay in theirs.
//
// What has been dead for long, a fold may drop: it gives the character the
// causal length MaxClen, which only its own lane can, and says U+0000 where its
// text was. The dot, parent and side stay for ever, so whatever points there
// still finds its place. A document forgets what such a character said as soon
// as it learns of it: documents that hold the same are equal, whatever they
// have met.

// ErrGap says that deltas do not follow one after the other in their lane, so
// that no single delta can say what they say.
var ErrGap = errors.New("text: the characters of these deltas are not consecutive")

// Fold returns a delta of the lane that says what deltas of it say, all of
// which the document holds. drop, which may be nil, is what Dead has returned
// some time ago: those of its characters that were not restored since are
// dropped; dropped counts them. The delta has at most MaxDelta bytes inflated.
//
// The error is ErrGap, a *FormatError, or ErrMissing for what is not here.
func (d *Doc) Fold(lane uint64, deltas [][]byte, drop []byte) (body []byte, dropped int, err error) {
	own, ok := d.index[lane]
	if !ok {
		return nil, 0, ErrMissing
	}
	d.inflateDead()
	var in decoder
	var claims []claim
	var said []crdt.Span
	for _, b := range deltas {
		if err := in.decode(d, lane, b); err != nil {
			return nil, 0, err
		}
		if in.total > 0 {
			said = append(said, crdt.Span{First: in.first, Last: in.first + in.total - 1})
		}
		for _, c := range in.claims {
			if !d.knows(c.id + id(c.n) - 1) {
				return nil, 0, ErrMissing
			}
		}
		claims = append(claims, in.claims...)
	}
	var numbers crdt.Context
	for _, s := range said {
		numbers.Add(1, s.First, s.Last)
	}
	spans := numbers.Spans(1)
	if len(spans) > 1 {
		return nil, 0, ErrGap
	}
	var runs []run
	var blanks []claim
	if len(spans) == 1 {
		s := spans[0]
		if s.Last >= d.lanes[own].next {
			return nil, 0, ErrMissing
		}
		runs = d.runs(int(own), s.First, s.Last+1)
		if drop != nil {
			if err := in.decode(d, lane, drop); err != nil {
				return nil, 0, err
			}
			blanks = d.droppable(in.claims, s)
		}
		blanks = append(blanks, d.among(int(own), s, MaxClen)...)
		for _, c := range blanks {
			dropped += int(c.n)
		}
	}
	claims = normal(append(claims, blanks...))
	if len(runs)+len(claims) == 0 {
		return nil, 0, nil
	}
	var text []byte
	for _, r := range runs {
		text = d.read(text, r.id, r.n)
	}
	if len(blanks) > 0 {
		text = blanked(text, runs[0].id, normal(blanks))
	}
	body = d.encode(int(own), runs, claims, text)
	if err := in.decode(d, lane, body); err != nil {
		return nil, 0, err // beyond a limit
	}
	return body, dropped, nil
}

// ErrMissing says that a fold was asked of what the document does not hold.
var ErrMissing = errors.New("text: not all of these deltas are in the document")

// droppable are those characters of claims, within a span of their lane, that
// still have the causal length that the claims give.
func (d *Doc) droppable(claims []claim, within crdt.Span) (out []claim) {
	for _, c := range claims {
		first, last := c.id.number(), c.id.number()+c.n-1
		first, last = max(first, within.First), min(last, within.Last)
		for first <= last && d.knows(makeID(c.id.lane(), last)) {
			x := makeID(c.id.lane(), first)
			l, i, off := d.locate(x)
			s := &l.spans[i]
			n := min(last-first+1, s.n-off)
			if s.clen == c.clen && s.clen&1 == 0 {
				out = append(out, claim{x, n, MaxClen})
			}
			first += n
		}
	}
	return out
}

// among are the characters of a lane's span that have a causal length.
func (d *Doc) among(lane int, within crdt.Span, clen uint32) (out []claim) {
	for first := within.First; first <= within.Last; {
		l, i, off := d.locate(makeID(lane, first))
		s := &l.spans[i]
		n := min(within.Last-first+1, s.n-off)
		if s.clen == clen {
			out = append(out, claim{makeID(lane, first), n, clen})
		}
		first += n
	}
	return out
}

// Dead is a delta of the lane that claims what its own deleted characters are,
// for a later Fold to drop; nil if there are none.
func (d *Doc) Dead(lane uint64) []byte {
	own, ok := d.index[lane]
	if !ok {
		return nil
	}
	var claims []claim
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			if s := &l.spans[i]; s.id.lane() == int(own) && s.clen&1 == 0 && s.clen < MaxClen {
				claims = append(claims, claim{s.id, s.n, s.clen})
			}
		}
	}
	if len(claims) == 0 {
		return nil
	}
	return d.encode(int(own), nil, normal(claims), nil)
}

// Dropped counts the characters whose text is gone.
func (d *Doc) Dropped() (n int) {
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			if s := &l.spans[i]; s.clen == MaxClen {
				n += int(s.n)
			}
		}
	}
	return n
}

// blanked is a text, whose first character is first and whose characters are
// consecutive, with U+0000 for those in blanks, which are ascending.
func blanked(text []byte, first id, blanks []claim) []byte {
	out := make([]byte, 0, len(text))
	at := first
	for _, c := range blanks {
		k := prefix(text, uint32(c.id-at))
		out = append(out, text[:k]...)
		text = text[k:]
		text = text[prefix(text, c.n):]
		out = append(out, make([]byte, c.n)...)
		at = c.id + id(c.n)
	}
	return append(out, text...)
}

// blank forgets what characters say.
func (d *Doc) blank(x id, n uint32) {
	write(d.lanes[x.lane()], x.number(), make([]byte, n), true)
}

// drops reports whether the decoded delta drops a character, and of how many
// from it on, at most n, the same holds.
func (in *decoder) drops(x id, n uint32) (bool, uint32) {
	if len(in.blanks) == 0 {
		return false, n
	}
	i, found := slices.BinarySearchFunc(in.blanks, x, func(c claim, x id) int { return cmp.Compare(c.id, x) })
	if !found {
		i--
	}
	if i >= 0 && x < in.blanks[i].id+id(in.blanks[i].n) {
		return true, min(n, uint32(in.blanks[i].id+id(in.blanks[i].n)-x))
	}
	if i+1 < len(in.blanks) && in.blanks[i+1].id < x+id(n) {
		n = uint32(in.blanks[i+1].id - x)
	}
	return false, n
}

// Folded is what a record of a fold carries: for each lane of its author, what
// stands for the lane's deltas, and of which records they were.
//
//	first byte 0x30
//	dropped    0, or: no version that lacks what was written up to this time, in
//	           microseconds since 1970, can be read by means of this fold
//	parts      count >= 1, and per part, ascending by lane:
//	             lane (8 bytes, big-endian: the record's, not its name), spans: count >= 1,
//	             and per span, ascending: first - (last before + 1), last - first, records among them >= 1;
//	             length of the delta, which may be 0, and the delta
//
// Numbers are as in a delta. The lane's name follows from it and the author, so
// nobody can speak for another's lane.
type Folded struct {
	Dropped uint64
	Parts   []FoldedPart
}

// FoldedPart is what a fold says of one lane.
type FoldedPart struct {
	Lane  uint64
	Spans []FoldedSpan
	Body  []byte
}

// FoldedSpan is numbers of records in a lane, and how many of them were of
// this text: the others say other things.
type FoldedSpan struct{ First, Last, Records uint32 }

const foldVersion = 0x30

// IsFold reports whether a payload looks like a fold.
func IsFold(b []byte) bool { return len(b) > 0 && b[0] == foldVersion }

// AppendTo appends the fold's one encoding. Parts and spans are in order.
func (f *Folded) AppendTo(b []byte) []byte {
	b = crdt.AppendUvarint(append(b, foldVersion), f.Dropped)
	b = crdt.AppendUvarint(b, uint64(len(f.Parts)))
	for _, p := range f.Parts {
		for shift := 56; shift >= 0; shift -= 8 {
			b = append(b, byte(p.Lane>>shift))
		}
		b = crdt.AppendUvarint(b, uint64(len(p.Spans)))
		least := uint32(1)
		for _, s := range p.Spans {
			b = crdt.AppendUvarint(b, uint64(s.First-least))
			b = crdt.AppendUvarint(b, uint64(s.Last-s.First))
			b = crdt.AppendUvarint(b, uint64(s.Records))
			least = s.Last + 1
		}
		b = append(crdt.AppendUvarint(b, uint64(len(p.Body))), p.Body...)
	}
	return b
}

// ParseFold reads what AppendTo wrote and nothing else: a *FormatError for
// other bytes. Bodies are parts of b, and not looked at.
func ParseFold(b []byte) (*Folded, error) {
	wrong := func(reason string) (*Folded, error) {
		return nil, &FormatError{What: "fold", Reason: reason}
	}
	if !IsFold(b) || len(b) > MaxDelta {
		return wrong("no fold")
	}
	in := decoder{b: b, at: 1}
	f := &Folded{Dropped: in.number()}
	count := in.number()
	if in.bad || f.Dropped > crdt.MaxTime || count == 0 || count > uint64(in.left()/13) {
		return wrong("cut off")
	}
	before := uint64(0)
	for range count {
		if in.left() < 8 {
			return wrong("cut off")
		}
		var p FoldedPart
		for range 8 {
			p.Lane = p.Lane<<8 | uint64(in.b[in.at])
			in.at++
		}
		spans := in.number()
		if in.bad || p.Lane <= before || spans == 0 || spans > uint64(in.left()/3) {
			return wrong("a lane out of order, or without spans")
		}
		before = p.Lane
		least := uint64(1)
		for range spans {
			first := in.number() + least
			more, records := in.number(), in.number()
			if in.bad || first > 1<<32-1 || more > 1<<32-1 || first+more > 1<<32-1 || records == 0 || records > more+1 {
				return wrong("a span out of range")
			}
			p.Spans = append(p.Spans, FoldedSpan{uint32(first), uint32(first + more), uint32(records)})
			least = first + more + 1
		}
		n := in.number()
		if in.bad || n > uint64(in.left()) {
			return wrong("a delta is cut off")
		}
		p.Body = in.b[in.at : in.at+int(n)]
		in.at += int(n)
		f.Parts = append(f.Parts, p)
	}
	if in.left() > 0 {
		return wrong("more than its parts")
	}
	return f, nil
}

// JoinSpans puts spans of one lane in order, and makes one of those between
// which no record of the text lies that is not among them: live are the numbers
// of the others, ascending.
func JoinSpans(spans []FoldedSpan, live []uint32) []FoldedSpan {
	slices.SortFunc(spans, func(a, b FoldedSpan) int { return cmp.Compare(a.First, b.First) })
	var out []FoldedSpan
	for _, s := range spans {
		if k := len(out) - 1; k >= 0 {
			at, _ := slices.BinarySearch(live, out[k].Last+1)
			if at == len(live) || live[at] > s.First {
				out[k].Last = max(out[k].Last, s.Last)
				out[k].Records += s.Records
				continue
			}
		}
		out = append(out, s)
	}
	return out
}
