package text

import "anabranch/crdt"

// Holds reports whether the document has all that a delta of a lane says: its
// characters as it has them, and causal lengths at least as great. What is no
// delta is not held.
func (d *Doc) Holds(lane uint64, delta []byte) bool {
	if IsSeed(delta) {
		var err error
		if lane, delta, err = fromSeed(delta); err != nil {
			return false
		}
	}
	in := &d.in
	if lane == 0 || in.decode(d, lane, delta) != nil {
		return false
	}
	if len(in.runs) > 0 {
		if in.own >= unknownLane || in.first+in.total > d.lanes[in.own].next || d.compare(in.runs, in.total, in.text()) != nil {
			return false
		}
	}
	for _, c := range in.claims {
		if !d.knows(c.id + id(c.n) - 1) {
			return false
		}
		for c.n > 0 {
			l, i, off := d.locate(c.id)
			if l.spans[i].clen < c.clen {
				return false
			}
			n := min(c.n, l.spans[i].n-off)
			c.id, c.n = c.id+id(n), c.n-n
		}
	}
	return true
}

// All returns deltas that make another document hold what this one does, and
// wait for what waits here.
func (d *Doc) All() []Delta {
	out := d.Since(crdt.Context{})
	for _, k := range d.park.sorted() {
		out = append(out, Delta{Lane: k.lane, Body: []byte(k.body)})
	}
	return out
}
