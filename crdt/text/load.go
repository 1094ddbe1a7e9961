package text

import (
	"encoding/binary"

	"anabranch/crdt"
)

// Leaves and nodes of a loaded document are not filled, or the first edits
// would cut each of them.
const loadFill = 26

// stateReader reads spans off the columns of a state.
type stateReader struct {
	tags                  []byte
	lens, ids, refs, clen reader
	lanes                 int
	met                   int // lanes met so far
	end                   []uint32
	before                *span
	stack                 []announced
}

// build reads the structure of a state into an empty document.
func (d *Doc) build(b []byte) error {
	in := reader{b: b}
	lanes := in.number()
	if in.bad || lanes > uint64(in.left())/8 {
		return unwell("%d lanes in %d bytes", lanes, in.left())
	}
	for range lanes {
		name := binary.BigEndian.Uint64(in.take(8))
		if _, ok := d.index[name]; ok || name == 0 {
			return unwell("lane %x twice", name)
		}
		d.laneOf(name)
	}
	count := in.number()
	r := stateReader{lanes: int(lanes), end: make([]uint32, lanes), before: new(span)}
	column := func() []byte { return in.take(in.number()) }
	r.tags, r.lens.b, r.ids.b, r.refs.b, r.clen.b = column(), column(), column(), column(), column()
	if !in.done() || count != uint64(len(r.tags)) {
		return unwell("columns of %d spans are cut off or too long", count)
	}

	d.lay(len(r.tags))
	sum := make([]uint32, lanes)
	dead := 0
	tags := r.tags
	for k := d.first; len(tags) > 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i, t := range tags[:l.n] {
			s := &l.spans[i]
			if err := r.next(s, t); err != nil {
				return err
			}
			in := s.id.lane()
			if s.n > crdt.MaxNumber-sum[in] {
				return unwell("lane %d has too many characters", in)
			}
			sum[in] += s.n
			dead += int(^s.clen & 1)
		}
		tags = tags[l.n:]
	}
	if len(r.stack) > 0 || r.met != r.lanes || !r.lens.done() || !r.ids.done() || !r.refs.done() || !r.clen.done() {
		return unwell("columns do not end together")
	}
	total := uint64(0)
	for i, n := range sum {
		total += uint64(n)
		d.lanes[i].next = n + 1
		if n > 0 {
			d.lanes[i].reserve(n)
		}
	}
	if total > crdt.MaxNumber {
		return unwell("%d characters", total)
	}
	d.dead.runs = make([]deadRun, 0, dead)
	return d.plant()
}

// next reads one span.
func (r *stateReader) next(s *span, t byte) error {
	n := r.lens.number()
	if n == 0 || n > crdt.MaxNumber {
		return unwell("a span of %d characters", n)
	}
	s.n = uint32(n)
	var top announced
	known := false // the left origin
	number := int64(0)
	lane := r.before.id.lane()
	last := id(0)
	if r.before.n > 0 {
		last = r.before.id + id(r.before.n) - 1
	}
	switch t & 3 {
	case idTop:
		if len(r.stack) == 0 {
			return unwell("nothing was announced")
		}
		top, known = r.stack[len(r.stack)-1], true
		lane, number = top.rp.lane(), int64(top.rp.number())
	case idNext:
		number = int64(last.number()) + 1
	case idOther:
		place := r.ids.number()
		if !r.meet(place) {
			return unwell("lane %d of %d", place, r.lanes)
		}
		lane = int(place)
		fallthrough
	case idSame:
		if lane >= r.lanes {
			return unwell("no lane")
		}
		number = unzigzag(r.ids.number()) + int64(r.end[lane])
	}
	if number <= 0 || number+int64(n) > crdt.MaxNumber+1 {
		return unwell("number %d", number)
	}
	s.id = makeID(lane, uint32(number))
	r.end[lane] = uint32(number) + s.n
	before := r.before
	stack := r.stack
	if known {
		s.ol = top.ol
		r.stack = r.stack[:len(r.stack)-1]
	}
	var err error
	switch {
	case known:
	case t>>6 == rpTop:
		if len(r.stack) == 0 {
			return unwell("nothing was announced")
		}
		s.ol = r.stack[len(r.stack)-1].ol
	case t>>4&3 == olPrevious:
		s.ol = last
	case t>>4&3 == olBefore:
		s.ol = s.id - 1
	case t>>4&3 == olFar:
		if s.ol, err = r.ref(s); err != nil {
			return err
		}
	}
	switch t >> 6 {
	case rpNext:
		s.rp = s.ol + 1
	case rpFar:
		if s.rp, err = r.ref(s); err != nil {
			return err
		}
	case rpTop:
		if len(r.stack) == 0 {
			return unwell("nothing was announced")
		}
		s.rp = r.stack[len(r.stack)-1].rp
	}
	switch t >> 2 & 3 {
	case 0, 1:
		s.clen = 1 + uint32(t>>2&3)
	case 2:
		v := r.clen.number()
		if v < 3 || v > mostClen && v != MaxClen {
			return unwell("a causal length of %d", v)
		}
		s.clen = uint32(v)
	}
	if s.clen == 0 || r.lens.bad || r.ids.bad || r.refs.bad || r.clen.bad || tag(s, before, stack) != t {
		return unwell("a span has another spelling")
	}
	if before.n > 0 && before.clen == s.clen && before.continues(s) {
		return unwell("a span continues the one before")
	}
	if k := t >> 6; k == rpNext || k == rpFar {
		r.stack = append(r.stack, announced{s.rp, s.ol})
	}
	r.before = s
	return nil
}

// meet notes that a lane is spoken of: those not met yet come in order.
func (r *stateReader) meet(place uint64) bool {
	if place == uint64(r.met) && r.met < r.lanes {
		r.met++
	}
	return place < uint64(r.met)
}

func (r *stateReader) ref(s *span) (id, error) {
	v := r.refs.number()
	if v&1 == 0 {
		if v == 0 || v>>1 >= uint64(s.id.number()) {
			return 0, unwell("a reference %d before number %d", v>>1, s.id.number())
		}
		return s.id - id(v>>1), nil
	}
	n := r.refs.number()
	x := makeID(int(v>>1&(1<<30-1)), uint32(n))
	if n == 0 || n > crdt.MaxNumber || !r.meet(v>>1) || x.lane() == s.id.lane() && x < s.id {
		return 0, unwell("a reference to number %d of lane %d", n, v>>1)
	}
	return x, nil
}

// lay makes leaves for so many spans, in a row.
func (d *Doc) lay(spans int) {
	if spans == 0 {
		return
	}
	d.leafSlab = make([]leaf, (spans+loadFill-1)/loadFill-1)
	l := d.leaves[d.first]
	for l.n = min(spans, loadFill); spans > loadFill; {
		spans -= loadFill
		m := d.newLeaf()
		l.next, m.prev, m.next = m.self, l.self, -1
		m.n = min(spans, loadFill)
		l = m
	}
}

// plant builds the tree over the leaves, bottom up. Numbers of a lane are 1 to
// its sum: it finds out when one is there twice, and so when one is missing.
func (d *Doc) plant() error {
	if d.leaves[d.first].n == 0 {
		return nil
	}
	known := func(x id) bool { return x == 0 || x.number() > 0 && x.number() < d.lanes[x.lane()].next }
	low := make([]int32, 0, len(d.leaves))
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for j := range l.spans[:l.n] {
			s := &l.spans[j]
			in := d.lanes[s.id.lane()]
			if number := s.id.number(); number == 0 || number+s.n > in.next || !known(s.ol) || !known(s.rp) {
				return unwell("span %d of leaf %d speaks of a character that is not there", j, k)
			}
			if !in.claimNumbers(s.id.number(), s.n, k) {
				return unwell("a number is there twice")
			}
			v := s.visible()
			l.visible += v
			if v == 0 {
				d.dead.runs = append(d.dead.runs, deadRun{s.id, s.n})
				d.dead.count += uint64(s.n)
			}
		}
		d.length += l.visible
		low = append(low, k)
	}
	d.wide = d.wide || d.dead.packed.size != d.dead.count
	d.nodes, d.nodeSlab = d.nodes[:0], nil
	for isLow := true; ; isLow = false {
		var up []int32
		for i := 0; i < len(low); {
			nd := d.newNode()
			nd.parent, nd.low = -1, isLow
			nd.n = copy(nd.kids[:loadFill], low[i:])
			i += nd.n
			for j, kid := range nd.kids[:nd.n] {
				if isLow {
					nd.count[j] = d.leaves[kid].visible
				} else {
					nd.count[j] = d.nodes[kid].sum()
				}
				d.setParent(nd, kid)
			}
			up = append(up, nd.self)
		}
		if low = up; len(low) == 1 {
			d.root = low[0]
			return nil
		}
	}
}

// reserve is grow for a lane that has nothing yet, in few pieces.
func (l *lane) reserve(last uint32) {
	if last < pageLen {
		l.grow(last)
		return
	}
	l.pages = makePages(int(last>>pageBits) + 1)
}

// claimNumbers is put for numbers that must not have a leaf yet.
func (l *lane) claimNumbers(number, n uint32, leaf int32) bool {
	taken := int32(0)
	for n > 0 {
		at := number & pageMask
		k := min(n, pageLen-at)
		where := l.pages[number>>pageBits].leaf[at : at+k]
		for i := range where {
			taken |= where[i]
			where[i] = leaf
		}
		number += k
		n -= k
	}
	return taken == 0
}

// fill writes what visible characters say.
func (d *Doc) fill(text []byte) error {
	runes, ascii, ok := checkBytes(text)
	if !ok || runes != int(d.length) {
		return unwell("text of %d characters where %d are visible", runes, d.length)
	}
	d.wide = d.wide || !ascii
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			if s := &l.spans[i]; s.clen&1 == 1 {
				text = d.fillSpan(text, s.id, s.n, ascii)
			}
		}
	}
	return nil
}

func (d *Doc) fillSpan(text []byte, x id, n uint32, ascii bool) []byte {
	said := text[:min(int(n), len(text))]
	if !ascii {
		said, ascii = cutText(text, n)
	}
	write(d.lanes[x.lane()], x.number(), said, ascii)
	return text[len(said):]
}

// deadText is what deleted characters said when the document was loaded. It
// stays deflated until somebody asks: most sessions never do.
type deadText struct {
	packed packed
	count  uint64 // characters
	runs   []deadRun
}

type deadRun struct {
	id id
	n  uint32
}

// inflateDead writes what deleted characters said into the pages. Bytes that
// turn out to be none leave the replacement character: the checksum was right,
// so Save never wrote them.
func (d *Doc) inflateDead() {
	if len(d.dead.runs) == 0 {
		return
	}
	dead := d.dead
	d.dead = deadText{}
	var z inflater
	text, err := dead.packed.inflate(&z)
	runes, ascii, ok := checkBytes(text)
	if err != nil || !ok || uint64(runes) != dead.count {
		text, ascii = nil, false
		for range dead.count {
			text = append(text, "\uFFFD"...)
		}
	}
	d.wide = d.wide || !ascii
	for _, r := range dead.runs {
		text = d.fillSpan(text, r.id, r.n, ascii)
	}
}
