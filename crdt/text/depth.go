package text

// An attacker may put any number of siblings at one place, or chains of them,
// and make a scan quadratic. Depths answer the same question in O(log² n).
//
// depth(x) = (left depth of x's left origin + 1, right depth of x's right
// parent + 1 or 0), compared as a pair. In document order everything that
// stands between two siblings is deeper than they are, so the least depths of
// leaves and nodes bound the region that r's siblings lie in and find them in
// it. Further characters of a span are one deeper each and never siblings of
// one that starts a span, save the one right after r's left origin.
//
// Depths cost time and memory; a document has none until it was scanned too much.

// packDepth orders pairs as numbers. Both depths are below 2^32, since a
// document has fewer characters than that.
func packDepth(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

// childDepth is what every left-origin child of a character of depth dep has
// at least.
func childDepth(dep uint64) uint64 { return (dep>>32 + 1) << 32 }

// depthOf is the depth of a known character; of the start of the document 0.
func (d *Doc) depthOf(x id) uint64 {
	if x == 0 {
		return 0
	}
	l, i, off := d.locate(x)
	if off == 0 {
		return l.depth[i]
	}
	return packDepth(uint32(l.depth[i]>>32)+off, 0)
}

// depthBelow is the depth of a character with these origins.
func (d *Doc) depthBelow(ol, rp id) uint64 {
	dep := childDepth(d.depthOf(ol))
	if rp != 0 {
		dep |= uint64(uint32(d.depthOf(rp))) + 1
	}
	return dep
}

// buildDepths computes every depth: left ones forwards, since left origins
// stand before, right ones backwards, since right parents stand behind.
func (d *Doc) buildDepths() {
	if d.deep {
		return
	}
	d.deep = true
	last := d.first
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		l.depth = new([leafSpans]uint64)
		for i := range l.spans[:l.n] {
			l.depth[i] = childDepth(d.depthOf(l.spans[i].ol))
		}
		last = k
	}
	for k := last; k >= 0; k = d.leaves[k].prev {
		l := d.leaves[k]
		for i := l.n - 1; i >= 0; i-- {
			if rp := l.spans[i].rp; rp != 0 {
				l.depth[i] |= uint64(uint32(d.depthOf(rp))) + 1
			}
		}
	}
	// Levels below have higher numbers or lower ones, as they grew: climb.
	for _, nd := range d.nodes {
		nd.least = new([nodeKids + 1]uint64)
	}
	d.measureNode(d.nodes[d.root])
}

// measureNode fills in the least depths under a node. It recurs once a level.
func (d *Doc) measureNode(nd *node) {
	for j, kid := range nd.kids[:nd.n] {
		if nd.low {
			nd.least[j] = d.leaves[kid].leastDepth()
		} else {
			d.measureNode(d.nodes[kid])
			nd.least[j] = d.nodes[kid].leastDepth()
		}
	}
}

func (l *leaf) leastDepth() uint64 {
	least := ^uint64(0)
	for _, dep := range l.depth[:l.n] {
		least = min(least, dep)
	}
	return least
}

func (nd *node) leastDepth() uint64 {
	least := ^uint64(0)
	for _, dep := range nd.least[:nd.n] {
		least = min(least, dep)
	}
	return least
}

// deepen tells the nodes above that the depths in a leaf changed.
func (d *Doc) deepen(l *leaf) {
	kid, least := l.self, l.leastDepth()
	for p := l.parent; p >= 0; {
		nd := d.nodes[p]
		j := nd.index(kid)
		if nd.least[j] == least {
			return
		}
		nd.least[j] = least
		kid, p, least = p, nd.parent, nd.leastDepth()
	}
}

// placeByDepth is place once depths are known. at is the spot after r.ol, and
// the character there is a child of r.ol and not r's right parent.
func (d *Doc) placeByDepth(at spot, r *span) spot {
	target := d.depthBelow(r.ol, r.rp)
	l, i := at.l, at.i                                       // the first span to look at
	inside := l.n > 0 && at.off > 0 && at.off < l.spans[i].n // r.ol has a successor in its span
	if at.off > 0 {
		i++
	}
	switch {
	case r.rp != 0:
		// The region begins after the last character before r.rp that is less
		// deep than r; it is r.ol or one of its children.
		pl, pi, poff := d.locate(r.rp)
		if poff > 0 {
			return spot{pl, pi, poff} // r.rp continues a span: nothing stands between
		}
		l, i = d.lastBelow(pl, pi, target)
		if l == nil {
			l, i = d.leaves[d.first], -1
		}
		i++
	case inside:
		next := l.spans[at.i].id + id(at.off)
		if d.less(r.id, next) {
			return at
		}
	}
	if sl, si := d.lastSibling(l, i, target, r.id); sl != nil {
		l, i = sl, si+1
	} else if r.rp == 0 && !inside {
		return at // before the first sibling and its left children
	}
	// r goes behind all that hangs below the span before l, i.
	nl, ni := d.nextBelow(l, i, childDepth(target))
	if nl == nil {
		return d.end()
	}
	return spot{nl, ni, 0}
}

// end is the spot at the end of the document.
func (d *Doc) end() spot {
	nd := d.nodes[d.root]
	for !nd.low {
		nd = d.nodes[nd.kids[nd.n-1]]
	}
	l := d.leaves[nd.kids[nd.n-1]]
	return spot{l: l, i: l.n}
}

// nextBelow finds the first span from span i of a leaf on that starts less
// deep than bound.
func (d *Doc) nextBelow(l *leaf, i int, bound uint64) (*leaf, int) {
	for ; i < l.n; i++ {
		d.work++
		if l.depth[i] < bound {
			return l, i
		}
	}
	kid := l.self
	for p := l.parent; p >= 0; {
		nd := d.nodes[p]
		for j := nd.index(kid) + 1; j < nd.n; j++ {
			d.work++
			if nd.least[j] < bound {
				return d.firstBelow(nd, j, bound)
			}
		}
		kid, p = p, nd.parent
	}
	return nil, 0
}

// firstBelow finds the first span under kid j of a node that starts less deep
// than bound. There is one.
func (d *Doc) firstBelow(nd *node, j int, bound uint64) (*leaf, int) {
	for !nd.low {
		nd = d.nodes[nd.kids[j]]
		for j = 0; nd.least[j] >= bound; j++ {
			d.work++
		}
	}
	l, i := d.leaves[nd.kids[j]], 0
	for ; l.depth[i] >= bound; i++ {
		d.work++
	}
	return l, i
}

// lastBelow finds the last span before span i of a leaf that starts less deep
// than bound.
func (d *Doc) lastBelow(l *leaf, i int, bound uint64) (*leaf, int) {
	for i--; i >= 0; i-- {
		d.work++
		if l.depth[i] < bound {
			return l, i
		}
	}
	kid := l.self
	for p := l.parent; p >= 0; {
		nd := d.nodes[p]
		for j := nd.index(kid) - 1; j >= 0; j-- {
			d.work++
			if nd.least[j] >= bound {
				continue
			}
			for !nd.low {
				nd = d.nodes[nd.kids[j]]
				for j = nd.n - 1; nd.least[j] >= bound; j-- {
					d.work++
				}
			}
			l := d.leaves[nd.kids[j]]
			for i = l.n - 1; l.depth[i] >= bound; i-- {
				d.work++
			}
			return l, i
		}
		kid, p = p, nd.parent
	}
	return nil, 0
}

// lastSibling finds the last span, from span i of a leaf on, that starts at
// exactly the depth target and has an id before x. It looks no further than
// the first span that is less deep: up to there such spans are x's siblings
// and stand in the order of their ids.
func (d *Doc) lastSibling(l *leaf, i int, target uint64, x id) (sl *leaf, si int) {
	search := siblings{d: d, target: target, x: x}
	if search.inLeaf(l, i) {
		return search.l, search.i
	}
	kid := l.self
	for p := l.parent; p >= 0; {
		nd := d.nodes[p]
		if search.inNode(nd, nd.index(kid)+1) {
			break
		}
		kid, p = p, nd.parent
	}
	return search.l, search.i
}

// siblings is a search for the last sibling before x.
type siblings struct {
	d      *Doc
	target uint64
	x      id
	l      *leaf // the last one found
	i      int
}

// inLeaf looks through a leaf from span i on, and reports whether the end of
// the region or a sibling after x was met.
func (s *siblings) inLeaf(l *leaf, i int) bool {
	for ; i < l.n; i++ {
		s.d.work++
		switch dep := l.depth[i]; {
		case dep < s.target:
			return true
		case dep == s.target && s.d.less(s.x, l.spans[i].id):
			return true
		case dep == s.target:
			s.l, s.i = l, i
		}
	}
	return false
}

// inNode does the same for the kids of a node from j on. Of those wholly
// inside the region, each with siblings, it finds by halving the last whose
// first sibling is before x. It recurs once a level, twice at most.
func (s *siblings) inNode(nd *node, j int) bool {
	var with [nodeKids]int // kids with siblings
	n, end := 0, nd.n
	for k := j; k < nd.n; k++ {
		s.d.work++
		if nd.least[k] < s.target {
			end = k
			break
		}
		if nd.least[k] == s.target {
			with[n] = k
			n++
		}
	}
	lo, hi := 0, n // the first of with that starts after x
	for lo < hi {
		mid := (lo + hi) / 2
		l, i := s.d.firstBelow(nd, with[mid], s.target+1)
		if s.d.less(s.x, l.spans[i].id) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if lo > 0 && s.inKid(nd, with[lo-1]) || lo < n {
		return true
	}
	if end < nd.n {
		s.inKid(nd, end)
		return true
	}
	return false
}

func (s *siblings) inKid(nd *node, k int) bool {
	if nd.low {
		return s.inLeaf(s.d.leaves[nd.kids[k]], 0)
	}
	return s.inNode(s.d.nodes[nd.kids[k]], 0)
}
