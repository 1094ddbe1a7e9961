package text

import (
	"slices"

	"anabranch/crdt"
)

// A burst is the local edits that were not flushed yet. Their characters are
// in the document, which knows all about them; only claims are noted, together
// with those of the open step (see undo.go): most are in both.
type burst struct {
	first  uint32  // number of its first character; 0: none
	claims []claim // of the burst from place begin on, of the open step from place step on
	begin  int
	step   int
}

func (b *burst) open(number uint32) {
	if b.first == 0 {
		b.first = number
	}
}

func (b *burst) isOpen() bool { return b.first > 0 || len(b.claims) > b.begin }

// claim notes what an edit claims, for the burst and the open step.
func (b *burst) claim(c claim) {
	if k := len(b.claims); k > max(b.begin, b.step) && b.claims[k-1].join(c) {
		return
	}
	if len(b.claims) == cap(b.claims) {
		b.claims = slices.Grow(b.claims, max(len(b.claims), 16)) // append itself grows by a quarter
	}
	b.claims = append(b.claims, c)
}

// close ends the burst.
func (b *burst) close() {
	b.first, b.begin = 0, len(b.claims)
	b.trim()
}

// closeStep ends the open step and returns what it claimed, the caller's to keep.
func (b *burst) closeStep() []claim {
	out := slices.Clone(b.claims[b.step:])
	b.step = len(b.claims)
	b.trim()
	return out
}

// trim forgets claims that are neither in the burst nor in the open step.
func (b *burst) trim() {
	if k := min(b.begin, b.step); k > 0 {
		b.claims = b.claims[:copy(b.claims, b.claims[k:])]
		b.begin, b.step = b.begin-k, b.step-k
	}
}

// joinClaim appends a claim, or joins it with the last one where one goes on
// from the other.
func joinClaim(claims []claim, c claim) []claim {
	if k := len(claims); k > 0 && claims[k-1].join(c) {
		return claims
	}
	return append(claims, c)
}

// join takes in a claim of the same causal length that touches this one.
func (c *claim) join(b claim) bool {
	switch {
	case c.clen != b.clen:
		return false
	case b.id+id(b.n) == c.id:
		c.id = b.id
	case c.id+id(c.n) != b.id:
		return false
	}
	c.n += b.n
	return true
}

// Draft encodes the edits since the last Flush without closing the burst: what
// to write down so that a crash does not lose them. limit is as for Flush.
func (d *Doc) Draft(limit int) [][]byte {
	if !d.burst.isOpen() {
		return nil
	}
	own := d.laneOf(d.own)
	var runs []run
	if d.burst.first > 0 {
		runs = d.runs(own, d.burst.first, d.lanes[own].next)
	}
	return d.deltas(own, runs, normal(slices.Clone(d.burst.claims[d.burst.begin:])), limit)
}

// Flush closes the burst of local edits and returns it as deltas of the
// document's lane, in order; none if nothing was edited. Each takes at most
// about limit bytes before it is deflated, or MaxDelta if limit is 0 or less.
func (d *Doc) Flush(limit int) [][]byte {
	out := d.Draft(limit)
	d.burst.close()
	return out
}

// Since returns deltas that bring another document to at least this one's
// state, when it has the characters in version: the characters that are not in
// it, and all that is known of deletions, which versions do not speak of.
func (d *Doc) Since(version crdt.Context) []Delta {
	d.inflateDead()
	claims := make([][]claim, len(d.lanes))
	for k := d.first; k >= 0; k = d.leaves[k].next {
		l := d.leaves[k]
		for i := range l.spans[:l.n] {
			if s := &l.spans[i]; s.clen > 1 {
				claims[s.id.lane()] = append(claims[s.id.lane()], claim{s.id, s.n, s.clen})
			}
		}
	}
	var out []Delta
	for i, l := range d.lanes {
		var runs []run
		if from := version.Next(l.name); from < l.next {
			runs = d.runs(i, from, l.next)
		}
		for _, body := range d.deltas(i, runs, normal(claims[i]), 0) {
			out = append(out, Delta{Lane: l.name, Body: body})
		}
	}
	return out
}

// Delta is an encoded delta and the lane that it is to be applied for.
type Delta struct {
	Lane uint64
	Body []byte
}

// runs are the maximal runs of a lane's numbers [from, to).
func (d *Doc) runs(lane int, from, to uint32) []run {
	var out []run
	for from < to {
		l, i, off := d.locate(makeID(lane, from))
		r := l.spans[i].run(off, to-from)
		from += r.n
		if k := len(out) - 1; k >= 0 && !r.left && r.parent == r.id-1 {
			out[k].n += r.n
		} else {
			out = append(out, r)
		}
	}
	return out
}

// What a run or a claim takes at most, about, when another lane is named.
const partBytes = 32

// deltas encodes runs and claims in as many deltas as the limit asks for.
func (d *Doc) deltas(own int, runs []run, claims []claim, limit int) [][]byte {
	if limit <= 0 || limit > MaxDelta*7/8 {
		limit = MaxDelta * 7 / 8
	}
	limit = max(limit, 2*partBytes)
	var out [][]byte
	for len(runs) > 0 || len(claims) > 0 {
		var part []run
		var text []byte
		size := 0
		for len(runs) > 0 && size+2*partBytes <= limit {
			r := &runs[0]
			fits := uint32(limit-size-partBytes) / 4
			if !d.wide {
				fits *= 4
			}
			take := *r
			take.n = min(r.n, max(fits, 1))
			text = d.read(text, take.id, take.n)
			part = append(part, take)
			size = len(part)*partBytes + len(text)
			if take.n == r.n {
				runs = runs[1:]
				continue
			}
			*r = run{id: r.id + id(take.n), parent: r.id + id(take.n) - 1, n: r.n - take.n}
			break
		}
		k := 0
		if len(runs) == 0 {
			k = min(len(claims), max(limit-size, 0)/partBytes)
			if len(part) == 0 {
				k = max(k, min(1, len(claims)))
			}
		}
		out = append(out, d.encode(own, part, claims[:k], text))
		claims = claims[k:]
	}
	return out
}
