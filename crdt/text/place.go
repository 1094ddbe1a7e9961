package text

// The order is Fugue's (arXiv:2305.00583). A character without right parent
// is a right child of its left origin; one with a right parent is a left child
// of that. Siblings stand by the names of their lanes, then by number, and the
// document is the walk of left children, the node, right children.
//
// A right parent has the left origin of its left children, so the same walk is
// a pre-order walk of the tree of left origins, and that is what placing uses.

// Spans are scanned one by one as long as that stays rare: so many for nothing,
// and so many more for each run that is placed. A document that needs more has
// an attacker, and gets depths. The largest of the real traces scans 1 745 spans
// for its 30 000 runs.
const (
	scanSpans    = 1024
	scanPerPlace = 8
)

// spot is a gap between characters: after off characters of span i.
type spot struct {
	l   *leaf
	i   int
	off uint32
}

// locate finds the span of a known character and its offset there.
func (d *Doc) locate(x id) (*leaf, int, uint32) {
	n := x.number()
	l := d.leaves[d.lanes[x.lane()].pages[n>>pageBits].leaf[n&pageMask]]
	if d.hint < l.n {
		if s := &l.spans[d.hint]; uint64(x-s.id) < uint64(s.n) {
			return l, d.hint, uint32(x - s.id)
		}
	}
	for i := range l.spans[:l.n] {
		if s := &l.spans[i]; uint64(x-s.id) < uint64(s.n) {
			d.hint = i
			return l, i, uint32(x - s.id)
		}
	}
	panic("text: a character is not in the leaf its page names")
}

// origins returns the left origin and the right parent of a known character.
func (d *Doc) origins(x id) (ol, rp id) {
	l, i, off := d.locate(x)
	if off > 0 {
		return x - 1, 0
	}
	return l.spans[i].ol, l.spans[i].rp
}

// less is the order of siblings.
func (d *Doc) less(a, b id) bool {
	if a.lane() == b.lane() {
		return a < b
	}
	return d.lanes[a.lane()].name < d.lanes[b.lane()].name
}

// precedes reports whether character a stands before b; the start of the
// document stands before all.
func (d *Doc) precedes(a, b id) bool {
	if a == 0 || b == 0 {
		return a == 0 && b != 0
	}
	la, ia, offa := d.locate(a)
	lb, ib, offb := d.locate(b)
	if la != lb {
		return d.tree.precedes(la, lb)
	}
	return ia < ib || ia == ib && offa < offb
}

// after is the spot right after a character, tombstones included.
func (d *Doc) after(x id) spot {
	if x == 0 {
		return spot{l: d.leaves[d.first]}
	}
	l, i, off := d.locate(x)
	return spot{l, i, off + 1}
}

// upcoming is the first character after a spot with its left origin, 0 at the
// end.
func (d *Doc) upcoming(at spot) (y, ol id) {
	var s *span
	switch {
	case at.i < at.l.n && at.off < at.l.spans[at.i].n:
		s = &at.l.spans[at.i]
		if at.off > 0 {
			y = s.id + id(at.off)
			return y, y - 1
		}
	default:
		if s = d.following(at.l, at.i); s == nil {
			return 0, 0
		}
	}
	return s.id, s.ol
}

// place finds the spot of a span that is not in the document, whose origins
// are. It reads O(1) spans when nobody else typed there, and O(log n) nodes
// times 32 at worst.
func (d *Doc) place(r *span) spot {
	at := d.after(r.ol)
	y, ol := d.upcoming(at)
	switch {
	case r.rp != 0 && y == r.rp:
		return at
	case y == 0 || ol != r.ol:
		return at // r.ol has no children yet, and so r has no right parent
	case d.deep:
		return d.placeByDepth(at, r)
	}

	// Siblings and what hangs below them, span by span. best is where r goes
	// as far as is known; while passing left children of a later sibling,
	// which may still turn out to stand after r, it waits.
	best, passing := at, false
	l, i, off := at.l, at.i, at.off
	if l.n > 0 && off == l.spans[i].n {
		i, off = i+1, 0
	}
	for d.scanBudget += scanPerPlace; ; d.scanBudget-- {
		if i >= l.n {
			if l.next < 0 {
				return best
			}
			l, i, off = d.leaves[l.next], 0, 0
		}
		d.work++
		s := &l.spans[i]
		y, ol, rp := s.id, s.ol, s.rp
		if off > 0 {
			y, ol, rp = s.id+id(off), s.id+id(off)-1, 0
		}
		switch {
		case y == r.rp:
			return best
		case ol == r.ol && rp == r.rp:
			if d.less(r.id, y) {
				return best
			}
			passing = false
		case ol == r.ol:
			// A child of another sibling: it stands before r's right parent
			// if its own parent does.
			passing = rp != 0 && (r.rp == 0 || d.precedes(rp, r.rp))
		case !d.precedes(r.ol, ol):
			return best // no descendant of r.ol any more
		}
		if !passing {
			best = spot{l, i, s.n}
		}
		i, off = i+1, 0
		if d.scanBudget <= 0 {
			d.buildDepths()
			return d.placeByDepth(at, r)
		}
	}
}
