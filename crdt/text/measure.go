package text

import "unicode/utf8"

// Len is the length of the visible text in runes.
func (d *Doc) Len() int { return int(d.length) }

// Size measures a text in three units.
type Size struct {
	Runes int
	Bytes int // of UTF-8
	UTF16 int // code units
}

// Size measures the visible text. As long as all of it is ASCII, this and the
// conversions below cost nothing; else they read one number per 32 spans,
// and again the characters of those spans that changed since.
func (d *Doc) Size() Size {
	if !d.wide {
		return Size{int(d.length), int(d.length), int(d.length)}
	}
	s, _ := d.sizeUntil(func(Size) bool { return false })
	return s
}

// AtRune is where the rune at pos begins, or the end of the text. Size, AtByte
// and AtUTF16 are given for all offsets from 0 to the text's own; the error is
// a *RangeError beyond them.
func (d *Doc) AtRune(pos int) (Size, error) {
	if pos < 0 || pos > int(d.length) {
		return Size{}, &RangeError{Begin: pos, End: pos, Length: int(d.length)}
	}
	if !d.wide {
		return Size{pos, pos, pos}, nil
	}
	s, _ := d.sizeUntil(func(s Size) bool { return s.Runes > pos })
	return s, nil
}

// AtByte is where the rune that holds the byte at an offset of the UTF-8 text
// begins.
func (d *Doc) AtByte(offset int) (Size, error) {
	return d.at(offset, func(s Size) int { return s.Bytes })
}

// AtUTF16 is where the rune that holds the code unit at an offset of the UTF-16
// text begins.
func (d *Doc) AtUTF16(offset int) (Size, error) {
	return d.at(offset, func(s Size) int { return s.UTF16 })
}

func (d *Doc) at(offset int, unit func(Size) int) (Size, error) {
	if !d.wide {
		return d.AtRune(offset)
	}
	if offset >= 0 {
		s, stopped := d.sizeUntil(func(s Size) bool { return unit(s) > offset })
		if stopped || unit(s) == offset {
			return s, nil
		}
	}
	return Size{}, &RangeError{Begin: offset, End: offset, Length: unit(d.Size())}
}

// measured is the size of a leaf's visible text.
type measured struct {
	ok           bool
	bytes, utf16 uint32
}

func (s *Size) add(r rune) {
	s.Runes++
	s.Bytes += utf8.RuneLen(r)
	s.UTF16++
	if r >= 0x10000 {
		s.UTF16++
	}
}

// sizeUntil measures the text up to the first rune with which past holds of
// what was measured, exclusively; stopped is false when there is none.
func (d *Doc) sizeUntil(past func(Size) bool) (s Size, stopped bool) {
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		if !l.size.ok {
			var all Size
			d.runes(l, func(r rune) bool { all.add(r); return true })
			l.size = measured{true, uint32(all.Bytes), uint32(all.UTF16)}
		}
		next := Size{s.Runes + int(l.visible), s.Bytes + int(l.size.bytes), s.UTF16 + int(l.size.utf16)}
		if !past(next) {
			s = next
			continue
		}
		d.runes(l, func(r rune) bool {
			next := s
			next.add(r)
			if past(next) {
				return false
			}
			s = next
			return true
		})
		return s, true
	}
	return s, false
}

// runes visits the visible characters of a leaf in order until visit says no.
func (d *Doc) runes(l *leaf, visit func(rune) bool) {
	for i := range l.spans[:l.n] {
		s := &l.spans[i]
		if s.clen&1 == 0 {
			continue
		}
		in := d.lanes[s.id.lane()]
		for n := s.id.number(); n < s.id.number()+s.n; n++ {
			p := &in.pages[n>>pageBits]
			r := rune(0)
			if p.wide != nil {
				r = p.wide[n&pageMask]
			} else {
				r = rune(p.ascii[n&pageMask])
			}
			if !visit(r) {
				return
			}
		}
	}
}
