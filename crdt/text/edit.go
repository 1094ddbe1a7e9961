package text

import "anabranch/crdt"

// Insert types a text so that its first rune has position pos. It is the
// document's own edit: Draft and Flush make a delta of it.
//
// The error is a *RangeError when there is no such position, ErrNotUTF8, or
// ErrReadOnly for a document without a lane; nothing is changed then.
func (d *Doc) Insert(pos int, s string) error {
	if len(s) == 1 && s[0] < 0x80 && d.typeOn(pos, s[0]) {
		return nil
	}
	n, ascii, ok := checkText(s)
	switch {
	case d.own == 0:
		return ErrReadOnly
	case !ok:
		return ErrNotUTF8
	case pos < 0 || pos > int(d.length):
		return &RangeError{Begin: pos, End: pos, Length: int(d.length)}
	case n == 0:
		return nil
	}
	if d.mine < 0 {
		d.laneOf(d.own)
	}
	in := d.lanes[d.mine]
	if n > int(crdt.MaxNumber-in.next) {
		return ErrFull
	}
	d.burst.open(in.next)
	d.steps.edit(in.next)
	x := makeID(d.mine, in.next)
	in.grow(in.next + uint32(n) - 1)
	write(in, in.next, s, ascii)
	in.next += uint32(n)
	if !ascii {
		d.wide = true
	}

	at := spot{l: d.leaves[d.first]}
	run := span{id: x, n: uint32(n), clen: 1}
	extended := false
	if pos > 0 {
		l, i, off := d.seek(uint32(pos - 1))
		at = spot{l, i, off + 1}
		run.ol = l.spans[i].id + id(off)
		extended = run.ol == x-1 && d.extend(l, i, x, run.n)
	}
	if !extended {
		if y, ol := d.upcoming(at); y != 0 && ol == run.ol {
			run.rp = y
		}
		l, i := d.insert(at, run)
		if pos == 0 {
			d.cur.l = nil
		} else {
			d.follow(l, i, run.n)
		}
	}
	if d.watch != nil {
		d.watch(Patch{Pos: pos, Text: s, Lane: d.own, Local: true})
	}
	return nil
}

// typeOn is Insert for one more ASCII character right behind the one that was
// typed last, where most are. It reports false, and did nothing, for all others.
func (d *Doc) typeOn(pos int, char byte) bool {
	c := &d.cur
	if c.l == nil || c.splits != d.splits || d.mine < 0 || d.burst.first == 0 || d.steps.first == 0 || d.watch != nil {
		return false
	}
	in, l := d.lanes[d.mine], c.l
	number := in.next
	x := makeID(d.mine, number)
	s := &l.spans[c.i]
	if s.id+id(s.n) != x || s.clen != 1 || pos != int(c.start+c.before+s.n) || int(number>>pageBits) >= len(in.pages) || number >= crdt.MaxNumber-1 {
		return false
	}
	p, at := &in.pages[number>>pageBits], int(number&pageMask)
	if at >= len(p.ascii) || at >= len(p.leaf) {
		return false
	}
	if y := d.following(l, c.i); y != nil && y.ol == x-1 {
		return false
	}
	p.ascii[at], p.leaf[at] = char, l.self
	in.next++
	s.n++
	d.length++
	d.adjust(l, 1)
	return true
}

// Delete removes n runes from position pos on. The error is a *RangeError or
// ErrReadOnly; nothing is changed then.
func (d *Doc) Delete(pos, n int) error {
	switch {
	case d.own == 0:
		return ErrReadOnly
	case pos < 0 || n < 0 || n > int(d.length) || pos > int(d.length)-n:
		return &RangeError{Begin: pos, End: pos + n, Length: int(d.length)}
	case n == 0:
		return nil
	}
	next := uint32(1)
	if d.mine >= 0 {
		next = d.lanes[d.mine].next
	}
	d.steps.edit(next)
	for left := uint32(n); left > 0; {
		l, i, off := d.seek(uint32(pos))
		s := &l.spans[i]
		k := min(left, s.n-off)
		to := s.clen + 1
		gone := claim{s.id + id(off), k, to}
		d.burst.claim(gone)
		splits := d.splits
		l, i = d.mark(l, i, off, k, to)
		if splits == d.splits {
			d.cur.i, d.cur.before = i, d.cur.before+off
		} else {
			d.follow(l, i, -k)
		}
		left -= k
	}
	if d.watch != nil {
		d.watch(Patch{Pos: pos, Delete: n, Lane: d.own, Local: true})
	}
	return nil
}

// seek finds the visible character at pos and moves the cursor to its span.
func (d *Doc) seek(pos uint32) (*leaf, int, uint32) {
	c := &d.cur
	if c.l == nil || c.splits != d.splits || pos < c.start || pos-c.start >= c.l.visible {
		d.moveTo(pos)
	}
	l, rel, i, before := c.l, pos-c.start, c.i, c.before
	for rel < before {
		i--
		before -= l.spans[i].visible()
	}
	for {
		v := l.spans[i].visible()
		if rel < before+v {
			break
		}
		before += v
		i++
	}
	c.i, c.before = i, before
	return l, i, rel - before
}

// moveTo puts the cursor at the beginning of the leaf with the visible character
// at pos: often the one beside where it is.
func (d *Doc) moveTo(pos uint32) {
	c := &d.cur
	if c.l != nil && c.splits == d.splits {
		if pos >= c.start {
			start := c.start + c.l.visible
			if next := c.l.next; next >= 0 && pos-start < d.leaves[next].visible {
				*c = cursor{l: d.leaves[next], start: start, splits: d.splits}
				return
			}
		} else if prev := c.l.prev; prev >= 0 && c.start-pos <= d.leaves[prev].visible {
			l := d.leaves[prev]
			*c = cursor{l: l, start: c.start - l.visible, splits: d.splits}
			return
		}
	}
	l, start := d.descend(pos)
	*c = cursor{l: l, start: start, splits: d.splits}
}

// follow moves the cursor to span i of a leaf, where an edit ended that began at
// the cursor: change is how many visible characters that leaf has more since.
// The leaf is the cursor's own, or the one that was cut off it.
func (d *Doc) follow(l *leaf, i int, change uint32) {
	c := &d.cur
	switch {
	case c.l == nil || c.splits != d.splits:
		c.l = nil
		return
	case l == c.l:
	case l.next == c.l.self:
		*c = cursor{l: l, start: c.start + change - l.visible, splits: c.splits}
	case l.prev == c.l.self:
		*c = cursor{l: l, start: c.start + c.l.visible, splits: c.splits}
	default:
		c.l = nil
		return
	}
	if c.i > i {
		c.i, c.before = 0, 0
	}
	for ; c.i < i; c.i++ {
		c.before += l.spans[c.i].visible()
	}
}
