package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrState is wrapped by what DecodeState says of bytes that AppendTo would
// not have written.
var ErrState = errors.New("crdt: not the encoding of a state")

// IsState reports whether bytes claim to be a state, as opposed to a delta of
// a text or something else.
func IsState(b []byte) bool { return len(b) > 0 && b[0] == stateVersion }

// DecodeState reads what AppendTo wrote and nothing else. It allocates no more
// than a constant times the length of the input, whatever that says.
func DecodeState(b []byte) (*State, error) {
	if !IsState(b) {
		return nil, fmt.Errorf("%w: it does not begin with %#x", ErrState, stateVersion)
	}
	d := &decoder{b: b[1:], s: new(State)}
	d.lanes()
	d.context()
	var before Kind
	roots := d.count(2)
	if roots > 0 {
		d.s.roots = make(map[Kind]*node, roots)
	}
	for range roots {
		kind := d.kind()
		if d.err == nil && (kind <= before || kind == Cell) {
			d.fail("a %v where the document begins", kind)
		}
		if d.err != nil {
			break
		}
		before = kind
		d.s.roots[kind] = d.node(kind, 0, 0)
	}
	for i, lane := range d.names {
		if !d.used[i] && len(d.s.seen.lanes[lane]) == 0 {
			d.fail("lane %x is never mentioned", lane)
		}
	}
	if len(d.b) > 0 {
		d.fail("%d bytes too many", len(d.b))
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.s, nil
}

type decoder struct {
	b     []byte
	err   error // the first
	s     *State
	names []uint64
	used  []bool // by nodes
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrState, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

func (d *decoder) number(limit uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := Uvarint(d.b)
	if n == 0 || v > limit {
		d.fail("a number is cut off or too large")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow, each of at least so many bytes.
func (d *decoder) count(bytes int) int {
	return int(d.number(uint64(len(d.b) / bytes)))
}

func (d *decoder) string(limit int) string {
	n := int(d.number(uint64(min(limit, len(d.b)))))
	if n > len(d.b) {
		d.fail("a byte string is cut off")
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) kind() Kind {
	if len(d.b) == 0 {
		d.fail("cut off")
		return 0
	}
	k := Kind(d.b[0])
	d.b = d.b[1:]
	if k == 0 || k > Text {
		d.fail("%v is not known", k)
	}
	return k
}

func (d *decoder) lanes() {
	n := d.count(9) // each has at least its count of spans
	d.names, d.used = make([]uint64, n), make([]bool, n)
	for i := range d.names {
		if len(d.b) < 8 {
			d.fail("cut off")
			return
		}
		d.names[i] = binary.BigEndian.Uint64(d.b)
		d.b = d.b[8:]
		if d.names[i] == 0 || i > 0 && d.names[i] <= d.names[i-1] {
			d.fail("lanes are out of order")
		}
	}
}

func (d *decoder) context() {
	for _, lane := range d.names {
		n := d.count(2)
		if n == 0 {
			continue
		}
		spans := make([]Span, 0, n)
		least := uint64(1)
		for range n {
			first := least + d.number(MaxNumber)
			last := first + d.number(MaxNumber)
			if last > MaxNumber {
				d.fail("number %d in a context", last)
			}
			spans = append(spans, Span{uint32(first), uint32(last)})
			least = last + 2
		}
		if d.err != nil {
			return
		}
		if d.s.seen.lanes == nil {
			d.s.seen.lanes = make(map[uint64][]Span)
		}
		d.s.seen.lanes[lane] = spans
	}
}

func (d *decoder) lane() uint64 {
	if len(d.names) == 0 {
		d.fail("a lane without a table")
		return 0
	}
	i := d.number(uint64(len(d.names) - 1))
	d.used[i] = true
	return d.names[i]
}

// events reads events; least is the fewest that may be there.
func (d *decoder) events(least int, timed, valued bool) []item {
	bytes := 2
	if timed {
		bytes++
	}
	if valued {
		bytes++
	}
	n := d.count(bytes)
	if n < least {
		d.fail("a place is empty")
	}
	if n == 0 || d.err != nil {
		return nil
	}
	items := make([]item, 0, n)
	for range n {
		var x item
		x.dot.Lane = d.lane()
		x.dot.Number = uint32(d.number(MaxNumber))
		if timed {
			x.time = d.time()
		}
		if valued {
			x.value = d.string(MaxValue)
		}
		if d.err != nil {
			return nil
		}
		if k := len(items); k > 0 && items[k-1].dot.Compare(x.dot) >= 0 {
			d.fail("events are out of order")
		}
		if !d.s.seen.Has(x.dot) {
			d.fail("event %v is not in the context", x.dot)
		}
		items = append(items, x)
	}
	return items
}

func (d *decoder) time() uint64 {
	t := d.number(MaxTime)
	if t == 0 {
		d.fail("no time")
	}
	return t
}

// node reads the node of a kind that lies below so many keys and bytes of keys.
func (d *decoder) node(kind Kind, depth, path int) *node {
	n := &node{kind: kind}
	switch kind {
	case Register:
		n.last = &written{time: d.time(), lane: d.lane(), value: d.string(MaxValue)}
	case MultiValue:
		n.items = d.events(1, false, true)
	case Flag, OffFlag:
		n.items = d.events(1, false, false)
	case Log, Cell:
		n.items = d.events(1, true, true)
	case Counter:
		n.items = d.events(0, false, false)
		d.totals(n)
	case Text:
		n.items = d.events(0, false, false)
		if n.parts = d.events(0, false, true); len(n.items)+len(n.parts) == 0 {
			d.fail("a text without parts")
		}
		for _, x := range n.parts {
			if len(x.value) == 0 {
				d.fail("an empty part")
			}
		}
	case GrowSet, Set, Map:
		d.kids(n, depth, path)
	}
	return n
}

func (d *decoder) totals(n *node) {
	lanes := d.count(5)
	if lanes == 0 && len(n.items) == 0 {
		d.fail("an empty counter")
	}
	if lanes > 0 {
		n.totals = make(map[uint64]total, lanes)
	}
	var before uint64
	for range lanes {
		lane := d.lane()
		t := total{d.number(MaxTotal), d.number(MaxTotal), d.number(MaxTotal), d.number(MaxTotal)}
		if d.err == nil && (lane <= before || t == total{}) {
			d.fail("lanes of a counter are empty or out of order")
		}
		if d.err != nil {
			return
		}
		before = lane
		n.totals[lane] = t
	}
}

func (d *decoder) kids(n *node, depth, path int) {
	bytes, limit := 1, MaxValue // of one kid, of its key
	switch n.kind {
	case Set:
		bytes = 4
	case Map:
		bytes, limit = 4, MaxKey
		if depth++; depth > MaxDepth {
			d.fail("deeper than %d", MaxDepth)
		}
	}
	count := d.count(bytes)
	if count == 0 || d.err != nil {
		d.fail("an empty %v", n.kind)
		return
	}
	n.kids = make(map[slot]*node, count)
	var before slot
	for i := range count {
		at := slot{key: d.string(limit)}
		switch n.kind {
		case Set:
			at.kind = Flag
		case Map:
			at.kind = d.kind()
			if at.key == "" || !utf8.ValidString(at.key) || path+len(at.key) > MaxPath || !at.kind.nests() {
				d.fail("no key of a map leads to a %v", at.kind)
			}
		}
		if d.err == nil && i > 0 && before.compare(at) >= 0 {
			d.fail("a %v is out of order", n.kind)
		}
		if d.err != nil {
			return
		}
		before = at
		if n.kind == GrowSet {
			n.kids[at] = &node{}
			continue
		}
		n.kids[at] = d.node(at.kind, depth, path+len(at.key))
	}
}
