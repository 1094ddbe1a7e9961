package text

import (
	"encoding/binary"

	"anabranch/crdt"
)

// Side says which of its neighbours a place in the text belongs to.
type Side uint8

const (
	// After keeps to the character on the left, and so in front of what is
	// typed there.
	After Side = iota
	// Before keeps to the character on the right, and so behind what is typed
	// there.
	Before
)

// Anchor is a place between characters that survives edits: a caret, the end
// of a mark. It belongs to one character, or with the zero Dot to the start of
// the text (After) or its end (Before).
type Anchor struct {
	Dot  crdt.Dot
	Side Side
}

// Anchor is the place in front of the rune at pos, from 0 to the length.
func (d *Doc) Anchor(pos int, side Side) (Anchor, error) {
	switch {
	case pos < 0 || pos > int(d.length):
		return Anchor{}, &RangeError{Begin: pos, End: pos, Length: int(d.length)}
	case side == After && pos == 0, side == Before && pos == int(d.length):
		return Anchor{Side: side}, nil
	case side == After:
		pos--
	}
	l, rest := d.descend(uint32(pos))
	rest = uint32(pos) - rest
	for i := range l.spans[:l.n] {
		s := &l.spans[i]
		if v := s.visible(); rest >= v {
			rest -= v
			continue
		}
		return Anchor{Dot: d.dot(s.id + id(rest)), Side: side}, nil
	}
	panic("text: a leaf has fewer characters than it counts")
}

// Resolve is the position that an anchor has now. A deleted character leaves
// its place, where its neighbours are. ok is false for one that is not here.
func (d *Doc) Resolve(a Anchor) (pos int, ok bool) {
	switch {
	case a.Dot.IsZero() && a.Side == After:
		return 0, true
	case a.Dot.IsZero():
		return int(d.length), true
	case !d.Has(a.Dot):
		return 0, false
	}
	l, i, off := d.locate(d.find(a.Dot))
	pos = int(d.before(l))
	for k := range l.spans[:i] {
		pos += int(l.spans[k].visible())
	}
	if l.spans[i].clen&1 == 1 {
		pos += int(off)
		if a.Side == After {
			pos++
		}
	}
	return pos, true
}

func (d *Doc) dot(x id) crdt.Dot {
	return crdt.Dot{Lane: d.lanes[x.lane()].name, Number: x.number()}
}

// AppendTo appends the one encoding of an anchor: its side, 0 after or 1
// before; then, unless it belongs to the start or the end, lane (8 bytes,
// big-endian) and number.
func (a Anchor) AppendTo(b []byte) []byte {
	b = append(b, byte(a.Side))
	if a.Dot.IsZero() {
		return b
	}
	return crdt.AppendUvarint(binary.BigEndian.AppendUint64(b, a.Dot.Lane), uint64(a.Dot.Number))
}

// DecodeAnchor reads what AppendTo wrote and nothing else; the error is a
// *FormatError.
func DecodeAnchor(b []byte) (Anchor, error) {
	wrong := &FormatError{What: "anchor", Reason: "no side, lane and number"}
	if len(b) == 0 || b[0] > byte(Before) {
		return Anchor{}, wrong
	}
	a := Anchor{Side: Side(b[0])}
	if len(b) == 1 {
		return a, nil
	}
	if len(b) < 10 {
		return Anchor{}, wrong
	}
	v, n := crdt.Uvarint(b[9:])
	a.Dot = crdt.Dot{Lane: binary.BigEndian.Uint64(b[1:]), Number: uint32(v)}
	if n != len(b)-9 || v == 0 || v > crdt.MaxNumber || a.Dot.Lane == 0 {
		return Anchor{}, wrong
	}
	return a, nil
}
