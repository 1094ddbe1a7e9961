package text

import (
	"encoding/binary"
	"slices"

	"anabranch/crdt"
)

// SetLane makes local edits go to another lane from here on, under the rules
// of New; 0 makes the document read-only. The error is ErrOpenBurst: edits of
// the old lane must be flushed first.
func (d *Doc) SetLane(lane uint64) error {
	if d.burst.isOpen() {
		return ErrOpenBurst
	}
	d.EndStep()
	d.own, d.mine = lane, -1
	if i, ok := d.index[lane]; ok && lane != 0 {
		d.mine = int(i)
	}
	d.cur.l = nil
	return nil
}

// Dirty reports whether local edits wait to be flushed.
func (d *Doc) Dirty() bool { return d.burst.isOpen() }

// Sent closes the burst without encoding it, when what Draft gave was carried
// away already.
func (d *Doc) Sent() { d.burst.close() }

// Revert takes back the open step, or else nothing, as Undo does, and forgets
// it: there is no way to do it again.
func (d *Doc) Revert() {
	if d.steps.first == 0 {
		return
	}
	if d.Undo() {
		d.steps.redo = d.steps.redo[:len(d.steps.redo)-1]
	}
}

// Waits reports whether a delta of a lane is parked: numbers of that lane may
// be in use that the document does not know of.
func (d *Doc) Waits(lane uint64) bool {
	for key := range d.park.known {
		if key.lane == lane {
			return true
		}
	}
	return false
}

// stepsVersion leads what Steps encodes:
//
//	0x30, lanes: count, names (8 bytes, big-endian)
//	undo, redo: count, per step: count, per claim: place of the lane, number, characters, causal length
const stepsVersion = 0x30

// Steps encodes the newest steps that can be undone and redone, at most so
// many of each: for a document that is loaded later, on the same replica. It
// ends the open step.
func (d *Doc) Steps(most int) []byte {
	d.EndStep()
	place := map[int]int{}
	var names []byte
	var body []byte
	for _, stack := range [][]step{d.steps.undo, d.steps.redo} {
		stack = stack[max(0, len(stack)-most):]
		body = crdt.AppendUvarint(body, uint64(len(stack)))
		for _, s := range stack {
			body = crdt.AppendUvarint(body, uint64(len(s)))
			for _, c := range s {
				i, ok := place[c.id.lane()]
				if !ok {
					i = len(place)
					place[c.id.lane()] = i
					names = binary.BigEndian.AppendUint64(names, d.lanes[c.id.lane()].name)
				}
				for _, v := range []uint64{uint64(i), uint64(c.id.number()), uint64(c.n), uint64(c.clen)} {
					body = crdt.AppendUvarint(body, v)
				}
			}
		}
	}
	b := crdt.AppendUvarint([]byte{stepsVersion}, uint64(len(place)))
	return append(append(b, names...), body...)
}

// SetSteps takes up what Steps encoded. What it says of characters that are not
// here is left out. The error is a *FormatError; nothing is changed then.
func (d *Doc) SetSteps(b []byte) error {
	wrong := &FormatError{What: "steps", Reason: "not what Steps wrote"}
	if len(b) == 0 || b[0] != stepsVersion {
		return wrong
	}
	b = b[1:]
	ok := true
	next := func(most uint64) uint64 {
		v, n := crdt.Uvarint(b)
		if n == 0 || v > most {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	names := make([]uint64, next(uint64(len(b)/8)))
	if len(b) < 8*len(names) {
		return wrong
	}
	for i := range names {
		names[i], b = binary.BigEndian.Uint64(b), b[8:]
	}
	var stacks [2][]step
	for k := range stacks {
		for range next(MaxSteps) {
			var s step
			for range next(uint64(len(b))) {
				lane, number, n, clen := next(uint64(len(names))), next(crdt.MaxNumber), next(crdt.MaxNumber), next(MaxClen)
				if !ok || int(lane) == len(names) || number == 0 || n == 0 || clen == 0 {
					return wrong
				}
				i, here := d.index[names[lane]]
				if here && number+n <= uint64(d.lanes[i].next) {
					s = append(s, claim{makeID(int(i), uint32(number)), uint32(n), uint32(clen)})
				}
			}
			if !ok {
				return wrong
			}
			stacks[k] = append(stacks[k], s)
		}
	}
	if !ok || len(b) > 0 {
		return wrong
	}
	d.steps = steps{undo: stacks[0], redo: stacks[1]}
	return nil
}

// CanUndo and CanRedo count the steps that Undo and Redo would take back.
func (d *Doc) CanUndo() int {
	n := len(d.steps.undo)
	if d.steps.first != 0 {
		n++
	}
	return n
}

// CanRedo counts the steps that Redo would take back.
func (d *Doc) CanRedo() int {
	if d.steps.first != 0 {
		return 0
	}
	return len(d.steps.redo)
}

// Replay makes on this document the edits that patches make of base, an older
// state of it, as its own: what they delete is deleted if it still stands, and
// what they insert comes behind the character that it was inserted behind. So
// what others wrote since stays. The patches are one after the other, in order
// of position, and not overlapping, as Edits and Diff give them.
//
// The errors are those of Insert and Delete, a *RangeError for a patch that
// base has no room for, and a *ForkError if this document lacks a character of
// base; nothing is changed then.
func (d *Doc) Replay(base *Doc, patches []Patch) error {
	if d.own == 0 {
		return ErrReadOnly
	}
	type edit struct {
		at   crdt.Dot // insert behind it; zero: at the start
		text string
		gone []claim // in base
	}
	edits := make([]edit, 0, len(patches))
	shift := 0 // runes inserted by the patches before, less those deleted
	last := 0
	for _, p := range patches {
		begin := p.Pos - shift
		if begin < last || p.Delete < 0 || begin > base.Len()-p.Delete {
			return &RangeError{Begin: begin, End: begin + p.Delete, Length: base.Len()}
		}
		n, _, ok := checkText(p.Text)
		if !ok {
			return ErrNotUTF8
		}
		last = begin + p.Delete
		shift += n - p.Delete
		a, err := base.Anchor(begin, After)
		if err != nil {
			return err
		}
		e := edit{at: a.Dot, text: p.Text, gone: base.visibleSpans(begin, begin+p.Delete)}
		if !a.Dot.IsZero() && !d.Has(a.Dot) {
			return &ForkError{Dot: a.Dot}
		}
		for _, c := range e.gone {
			if dot := base.dot(c.id + id(c.n) - 1); !d.Has(dot) {
				return &ForkError{Dot: dot}
			}
		}
		edits = append(edits, e)
	}
	for _, e := range slices.Backward(edits) {
		pos, _ := d.Resolve(Anchor{Dot: e.at, Side: After})
		for _, c := range e.gone {
			dot := base.dot(c.id)
			for left := c.n; left > 0; {
				shown, n := d.shown(dot, left)
				if shown {
					at, _ := d.Resolve(Anchor{Dot: dot, Side: Before})
					if err := d.Delete(at, int(n)); err != nil {
						return err
					}
				}
				dot.Number += n
				left -= n
			}
		}
		if e.text != "" {
			if err := d.Insert(pos, e.text); err != nil {
				return err
			}
		}
	}
	return nil
}

// Retype makes on this document, as its own edits, what deltas of a lane say
// that it does not hold: for typing that its lane cannot carry any more. old is
// a document that holds them, and may hold characters besides that this one
// lacks: what was typed there comes behind the last character before it that
// both have. The errors are those of Insert and Delete.
func (d *Doc) Retype(old *Doc, lane uint64, deltas [][]byte) error {
	if d.own == 0 {
		return ErrReadOnly
	}
	typed := map[crdt.Dot]uint32{} // first character: how many
	in := &old.in
	for _, b := range deltas {
		if IsSeed(b) || in.decode(old, lane, b) != nil {
			continue
		}
		if len(in.runs) > 0 {
			typed[crdt.Dot{Lane: lane, Number: in.first}] = in.total
		}
		for _, c := range in.claims {
			if c.clen&1 == 1 || !old.knows(c.id+id(c.n)-1) {
				continue
			}
			dot := old.dot(c.id)
			for left := c.n; left > 0 && d.Has(dot); {
				shown, n := d.shown(dot, left)
				if shown {
					at, _ := d.Resolve(Anchor{Dot: dot, Side: Before})
					if err := d.Delete(at, int(n)); err != nil {
						return err
					}
				}
				dot.Number += n
				left -= n
			}
		}
	}
	begin, end := uint32(crdt.MaxNumber), uint32(0)
	for dot, n := range typed {
		begin, end = min(begin, dot.Number), max(end, dot.Number+n)
	}
	behind := Anchor{} // a character that both have, or the start
	more := 0          // runes typed behind it
	for k := old.first; k >= 0; k = old.leaves[k].next {
		l := old.leaves[k]
		for i := range l.spans[:l.n] {
			s := &l.spans[i]
			dot := old.dot(s.id)
			lo, hi := dot.Number, dot.Number+s.n
			if dot.Lane != lane || hi <= begin || lo >= end {
				if last := (crdt.Dot{Lane: dot.Lane, Number: hi - 1}); d.Has(last) {
					behind, more = Anchor{Dot: last}, 0
				}
				continue
			}
			// A span may begin before what was typed, never end behind it.
			if lo < begin {
				if last := (crdt.Dot{Lane: lane, Number: begin - 1}); d.Has(last) {
					behind, more = Anchor{Dot: last}, 0
				}
				lo = begin
			}
			if s.clen&1 == 0 {
				continue
			}
			at, ok := d.Resolve(behind)
			if !ok {
				continue
			}
			if err := d.Insert(at+more, string(old.read(nil, old.find(crdt.Dot{Lane: lane, Number: lo}), hi-lo))); err != nil {
				return err
			}
			more += int(hi - lo)
		}
	}
	return nil
}

// visibleSpans are the characters at the positions [begin, end), as pieces of
// spans in order.
func (d *Doc) visibleSpans(begin, end int) []claim {
	var out []claim
	if begin == end {
		return nil
	}
	l, before := d.descend(uint32(begin))
	for begin < end {
		for i := 0; i < l.n && begin < end; i++ {
			s := &l.spans[i]
			v := s.visible()
			if skip := uint32(begin) - before; skip < v {
				k := min(v-skip, uint32(end-begin))
				out = append(out, claim{s.id + id(skip), k, s.clen})
				begin += int(k)
			}
			before += v
		}
		if l.next >= 0 {
			l = d.leaves[l.next]
		}
	}
	return out
}
