package text

import (
	"strings"
	"unicode/utf8"

	"anabranch/crdt"
)

// Doc is one replica's copy of a text. It has one caller at a time, readers
// included. Positions and lengths count runes unless a name says otherwise.
type Doc struct {
	tree
	lanes  []*lane
	index  map[uint64]int32 // lane names to places in lanes
	own    uint64           // the lane that local edits are written in, or 0
	mine   int              // its index in lanes, -1 until it has characters
	length uint32           // visible characters
	wide   bool             // some character, visible or not, is outside ASCII

	cur   cursor
	hint  int // which span of its leaf was located last: likely the next one, too
	watch func(Patch)

	deep       bool // every span has a depth; see depth.go
	scanBudget int  // spans to be scanned before that; see place.go
	work       int  // spans and nodes read while placing: tests bound it

	lastName uint64 // the lane that the last delta came from, and
	lastLane int    // its index, or -1

	burst burst
	steps steps
	park  park
	dead  deadText // what is still to be read; see load.go
	in    decoder
}

// cursor remembers where the last local edit was, so that typing on finds its
// place at once.
type cursor struct {
	l      *leaf // nil: nowhere
	start  uint32
	i      int
	before uint32 // visible characters in the leaf in front of span i
	splits int
}

// New makes an empty document whose local edits are written in the given lane.
// With lane 0 it takes deltas only. Nobody else may ever write in that lane,
// and a lane that is taken up again must first be given all it wrote before:
// its next character would otherwise have a number that is in use.
func New(lane uint64) *Doc {
	d := &Doc{own: lane, mine: -1, lastLane: -1, index: make(map[uint64]int32), scanBudget: scanSpans}
	d.tree.init()
	return d
}

// Lane is the lane that local edits are written in, or 0.
func (d *Doc) Lane() uint64 { return d.own }

// Version is the characters that the document has taken in, deleted ones
// included. It says nothing of deletions: see Since.
func (d *Doc) Version() crdt.Context {
	var c crdt.Context
	for _, l := range d.lanes {
		c.Add(l.name, 1, l.next-1)
	}
	return c
}

// String is the visible text, as UTF-8. It costs a copy of it.
func (d *Doc) String() string {
	var b strings.Builder
	b.Grow(int(d.length))
	buf := make([]byte, 0, 4*pageLen)
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			if s := &l.spans[i]; s.clen&1 == 1 {
				buf = d.read(buf[:0], s.id, s.n)
				b.Write(buf)
			}
		}
	}
	return b.String()
}

// Slice is the visible text of the runes [begin, end).
func (d *Doc) Slice(begin, end int) (string, error) {
	if begin < 0 || end < begin || end > int(d.length) {
		return "", &RangeError{Begin: begin, End: end, Length: int(d.length)}
	}
	var b []byte
	l, before := d.descend(uint32(begin))
	for begin < end {
		for i := 0; i < l.n && begin < end; i++ {
			s := &l.spans[i]
			v := s.visible()
			if skip := uint32(begin) - before; skip < v {
				k := min(v-skip, uint32(end-begin))
				b = d.read(b, s.id+id(skip), k)
				begin += int(k)
			}
			before += v
		}
		if l.next >= 0 {
			l = d.leaves[l.next]
		}
	}
	return string(b), nil
}

// read appends what n characters of one lane from x on say.
func (d *Doc) read(b []byte, x id, n uint32) []byte {
	return d.lanes[x.lane()].read(b, x.number(), n)
}

// laneOf is the index of a lane that is being written, made if it is new.
func (d *Doc) laneOf(name uint64) int {
	if i, ok := d.index[name]; ok {
		return int(i)
	}
	i := len(d.lanes)
	d.lanes = append(d.lanes, &lane{name: name, next: 1})
	d.index[name] = int32(i)
	if name == d.own {
		d.mine = i
	}
	return i
}

// extend lets a span have n characters more, if they can only stand at its end:
// they go on in its lane from its last character, after which nobody typed.
func (d *Doc) extend(l *leaf, i int, x id, n uint32) bool {
	s := &l.spans[i]
	if s.clen != 1 || s.id+id(s.n) != x {
		return false
	}
	if y := d.following(l, i); y != nil && y.ol == x-1 {
		return false
	}
	s.n += n
	d.lanes[x.lane()].put(x.number(), n, l.self)
	d.length += n
	d.adjust(l, int32(n))
	return true
}

// insert puts a visible span at a spot. Its lane has room for it, its text is
// written. It returns the span that the characters are in then.
func (d *Doc) insert(at spot, r span) (*leaf, int) {
	l, i := at.l, at.i
	in := d.lanes[r.id.lane()]
	d.length += r.n
	if i < l.n && at.off == l.spans[i].n {
		if s := &l.spans[i]; s.clen == 1 && s.continues(&r) {
			s.n += r.n
			in.put(r.id.number(), r.n, l.self)
			d.adjust(l, int32(r.n))
			return l, i
		}
		i, at.off = i+1, 0
	}
	var dep uint64
	if d.deep {
		dep = d.depthBelow(r.ol, r.rp)
	}
	if at.off == 0 {
		if i == l.n && i > 0 { // room speaks of spans that are there
			l, i = d.room(l, i-1, 1)
			i++
		} else {
			l, i = d.room(l, i, 1)
		}
		l.open(i, 1)
	} else {
		l, i = d.room(l, i, 2)
		l.open(i+1, 2)
		s, rest := &l.spans[i], &l.spans[i+2]
		s.cutTo(at.off, rest)
		if d.deep {
			l.depth[i+2] = packDepth(uint32(l.depth[i]>>32)+at.off, 0)
		}
		i++
	}
	l.spans[i] = r
	in.put(r.id.number(), r.n, l.self)
	d.adjust(l, int32(r.n))
	if d.deep {
		l.depth[i] = dep
		d.deepen(l)
	}
	return l, i
}

// cutTo shortens a span to n characters and writes the others to rest.
func (s *span) cutTo(n uint32, rest *span) {
	*rest = span{id: s.id + id(n), ol: s.id + id(n) - 1, n: s.n - n, clen: s.clen}
	s.n = n
}

// mark gives k characters, from offset off of span i on, the causal length to,
// and returns the span that they are in then: the same one or a neighbour,
// joined with what fits.
func (d *Doc) mark(l *leaf, i int, off, k, to uint32) (*leaf, int) {
	pieces := 0 // to cut off, beyond the one that is marked
	s := &l.spans[i]
	switch {
	case off == 0 && k == s.n:
	case off == 0 && i > 0 && l.spans[i-1].clen == to && l.spans[i-1].continues(s):
	case off+k == s.n && i+1 < l.n && l.spans[i+1].clen == to && s.continues(&l.spans[i+1]):
	case off > 0 && off+k < s.n:
		pieces = 2
	default:
		pieces = 1
	}
	if pieces > 0 {
		l, i = d.room(l, i, pieces)
		s = &l.spans[i]
	}
	if change := int32(to&1) - int32(s.clen&1); change != 0 {
		change *= int32(k)
		d.length += uint32(change)
		d.adjust(l, change)
	}
	if off == 0 && k == s.n {
		s.clen = to
		merged := false
		if i+1 < l.n && l.spans[i+1].clen == to && s.continues(&l.spans[i+1]) {
			s.n += l.spans[i+1].n
			l.remove(i + 1)
			merged = true
		}
		if i > 0 && l.spans[i-1].clen == to && l.spans[i-1].continues(s) {
			l.spans[i-1].n += s.n
			l.remove(i)
			i--
			merged = true
		}
		if merged && d.deep {
			d.deepen(l)
		}
		return l, i
	}
	if pieces == 0 && off == 0 {
		l.spans[i-1].n += k
		*s = span{id: s.id + id(k), ol: s.id + id(k) - 1, n: s.n - k, clen: s.clen}
		if d.deep {
			l.depth[i] = packDepth(uint32(l.depth[i]>>32)+k, 0)
			d.deepen(l)
		}
		return l, i - 1
	}
	if pieces == 0 {
		next := &l.spans[i+1]
		s.n -= k
		*next = span{id: next.id - id(k), ol: next.id - id(k) - 1, n: next.n + k, clen: to}
		if d.deep {
			l.depth[i+1] = packDepth(uint32(l.depth[i]>>32)+off, 0)
			d.deepen(l)
		}
		return l, i + 1
	}
	l.open(i+1, pieces)
	cut := func(i int, n uint32) {
		l.spans[i].cutTo(n, &l.spans[i+1])
		if d.deep {
			l.depth[i+1] = packDepth(uint32(l.depth[i]>>32)+n, 0)
		}
	}
	if off > 0 {
		cut(i, off)
		i++
	}
	if pieces == 2 || off == 0 {
		cut(i, k)
	}
	l.spans[i].clen = to
	if d.deep {
		d.deepen(l)
	}
	return l, i
}

// checkText counts the runes of a text and tells whether it is all ASCII; ok is
// false when it is not UTF-8.
func checkText(s string) (runes int, ascii, ok bool) {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if t := s[i : i+8]; (t[0]|t[1]|t[2]|t[3]|t[4]|t[5]|t[6]|t[7])&0x80 != 0 {
			return utf8.RuneCountInString(s), false, utf8.ValidString(s)
		}
	}
	for ; i < len(s); i++ {
		if s[i] >= 0x80 {
			return utf8.RuneCountInString(s), false, utf8.ValidString(s)
		}
	}
	return len(s), true, true
}
