package crdt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// ErrEncoding is returned by DecodeContext for bytes that AppendTo would not
// have written.
var ErrEncoding = errors.New("crdt: not the encoding of a context")

// Context is a set of dots, kept as intervals of numbers per lane: a version
// vector where nothing is missing. The zero Context is empty and ready to use.
// It may be read by many at once while nobody changes it.
type Context struct {
	lanes map[uint64][]Span // ascending, apart from each other, never empty
}

// Span is the numbers First to Last of a lane, both inside.
type Span struct{ First, Last uint32 }

// Add puts the numbers first to last of a lane into the set. It ignores an
// interval that holds no event: first 0, last < first, last > MaxNumber.
func (c *Context) Add(lane uint64, first, last uint32) {
	if first == 0 || last < first || last > MaxNumber {
		return
	}
	if c.lanes == nil {
		c.lanes = make(map[uint64][]Span)
	}
	spans := c.lanes[lane]
	// The spans that touch the new one become one with it.
	begin, _ := slices.BinarySearchFunc(spans, first, func(s Span, n uint32) int {
		if s.Last+1 < n {
			return -1
		}
		return 1
	})
	end := begin
	for ; end < len(spans) && spans[end].First <= last+1; end++ {
		first, last = min(first, spans[end].First), max(last, spans[end].Last)
	}
	c.lanes[lane] = slices.Replace(spans, begin, end, Span{first, last})
}

// Join adds every dot of another context.
func (c *Context) Join(other Context) {
	for lane, spans := range other.lanes {
		if len(spans) <= 8 {
			for _, s := range spans {
				c.Add(lane, s.First, s.Last)
			}
			continue
		}
		if c.lanes == nil {
			c.lanes = make(map[uint64][]Span)
		}
		c.lanes[lane] = union(c.lanes[lane], spans)
	}
}

// union is the spans of two lists as one list: linear, where adding one after
// the other would move what lies behind each.
func union(a, b []Span) []Span {
	out := make([]Span, 0, len(a)+len(b))
	for len(a)+len(b) > 0 {
		if len(a) == 0 || len(b) > 0 && b[0].First < a[0].First {
			a, b = b, a
		}
		if k := len(out) - 1; k >= 0 && a[0].First <= out[k].Last+1 {
			out[k].Last = max(out[k].Last, a[0].Last)
		} else {
			out = append(out, a[0])
		}
		a = a[1:]
	}
	return out
}

// Has reports whether a dot is in the set.
func (c Context) Has(d Dot) bool {
	spans := c.lanes[d.Lane]
	if len(spans) > 8 {
		i, _ := slices.BinarySearchFunc(spans, d.Number, func(s Span, n uint32) int { return cmp.Compare(s.Last, n) })
		spans = spans[i:]
	}
	for _, s := range spans {
		if d.Number <= s.Last {
			return d.Number >= s.First
		}
	}
	return false
}

// Count is how many numbers of a lane from first to last are in the set.
func (c Context) Count(lane uint64, first, last uint32) (n uint64) {
	for _, s := range c.lanes[lane] {
		if a, b := max(first, s.First), min(last, s.Last); a <= b {
			n += uint64(b-a) + 1
		}
	}
	return n
}

// Last is the highest number of a lane in the set, 0 if there is none.
func (c Context) Last(lane uint64) uint32 {
	if spans := c.lanes[lane]; len(spans) > 0 {
		return spans[len(spans)-1].Last
	}
	return 0
}

// Meets reports whether two contexts have a dot in common.
func (c Context) Meets(other Context) bool {
	if len(other.lanes) < len(c.lanes) {
		c, other = other, c
	}
	for lane, a := range c.lanes {
		b := other.lanes[lane]
		for len(a) > 0 && len(b) > 0 {
			switch {
			case a[0].Last < b[0].First:
				a = a[1:]
			case b[0].Last < a[0].First:
				b = b[1:]
			default:
				return true
			}
		}
	}
	return false
}

// Both is the dots that are in this set and in another.
func (c Context) Both(other Context) (out Context) {
	for lane, a := range c.lanes {
		for _, s := range overlap(a, other.lanes[lane]) {
			out.Add(lane, s.First, s.Last)
		}
	}
	return out
}

// without is the dots of the set that are not in another.
func (c Context) without(other Context) Context {
	var out Context
	for lane, a := range c.lanes {
		b := other.lanes[lane]
		for _, s := range a {
			at := s.First
			for len(b) > 0 && b[0].Last < at {
				b = b[1:]
			}
			for _, t := range b {
				if t.First > s.Last {
					break
				}
				out.Add(lane, at, t.First-1)
				at = t.Last + 1
			}
			out.Add(lane, at, s.Last)
		}
	}
	return out
}

// Next is the lowest number >= 1 of a lane that is not in the set: where what
// is known without a gap ends.
func (c Context) Next(lane uint64) uint32 {
	if spans := c.lanes[lane]; len(spans) > 0 && spans[0].First == 1 {
		return spans[0].Last + 1
	}
	return 1
}

// Covers reports whether every dot of another context is in this one.
func (c Context) Covers(other Context) bool {
	for lane, spans := range other.lanes {
		mine := c.lanes[lane]
		for _, s := range spans {
			for len(mine) > 0 && mine[0].Last < s.First {
				mine = mine[1:]
			}
			if len(mine) == 0 || s.First < mine[0].First || s.Last > mine[0].Last {
				return false
			}
		}
	}
	return true
}

// Equal reports whether two contexts hold the same dots.
func (c Context) Equal(other Context) bool {
	return maps.EqualFunc(c.lanes, other.lanes, slices.Equal[[]Span])
}

// Lanes lists the lanes with a dot in the set, ascending.
func (c Context) Lanes() []uint64 { return slices.Sorted(maps.Keys(c.lanes)) }

// Spans lists a lane's intervals, ascending. The slice is the caller's.
func (c Context) Spans(lane uint64) []Span { return slices.Clone(c.lanes[lane]) }

// Clone is a copy that shares nothing with c.
func (c Context) Clone() Context {
	if c.lanes == nil {
		return Context{}
	}
	lanes := make(map[uint64][]Span, len(c.lanes))
	for lane, spans := range c.lanes {
		lanes[lane] = slices.Clone(spans)
	}
	return Context{lanes: lanes}
}

// AppendTo appends the one encoding of the context, numbers as by
// AppendUvarint:
//
//	lanes
//	per lane, ascending: name (8 bytes, big-endian), spans,
//	  per span, ascending: first - (last of the span before + 2; 1 for the first span), last - first
func (c Context) AppendTo(b []byte) []byte {
	b = AppendUvarint(b, uint64(len(c.lanes)))
	for _, lane := range c.Lanes() {
		b = binary.BigEndian.AppendUint64(b, lane)
		spans := c.lanes[lane]
		b = AppendUvarint(b, uint64(len(spans)))
		b = appendSpans(b, spans)
	}
	return b
}

func appendSpans(b []byte, spans []Span) []byte {
	least := uint32(1)
	for _, s := range spans {
		b = AppendUvarint(b, uint64(s.First-least))
		b = AppendUvarint(b, uint64(s.Last-s.First))
		least = s.Last + 2
	}
	return b
}

// DecodeContext reads what AppendTo wrote and nothing else; the error is
// ErrEncoding. It allocates no more than the input's due.
func DecodeContext(b []byte) (Context, error) {
	ok := true
	number := func() uint64 {
		v, n := Uvarint(b)
		ok = ok && n > 0 && v <= MaxNumber
		b = b[n:]
		return v
	}
	lanes := number()
	if !ok || lanes > uint64(len(b))/11 {
		return Context{}, ErrEncoding
	}
	var c Context
	var before uint64
	for i := range lanes {
		if len(b) < 8 {
			return Context{}, ErrEncoding
		}
		name := binary.BigEndian.Uint64(b)
		b = b[8:]
		spans := number()
		if !ok || spans == 0 || spans > uint64(len(b))/2 || i > 0 && name <= before {
			return Context{}, ErrEncoding
		}
		before = name
		list := make([]Span, 0, spans)
		least := uint64(1)
		for range spans {
			first := least + number()
			last := first + number()
			if !ok || last > MaxNumber {
				return Context{}, ErrEncoding
			}
			list = append(list, Span{uint32(first), uint32(last)})
			least = last + 2
		}
		if c.lanes == nil {
			c.lanes = make(map[uint64][]Span)
		}
		c.lanes[name] = list
	}
	if len(b) > 0 {
		return Context{}, ErrEncoding
	}
	return c, nil
}
