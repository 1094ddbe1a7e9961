package model

import (
	"slices"

	"anabranch/record"
)

// write makes a document, entry or delta by an author at home on r.
func (w *World) write(r *Replica) {
	if len(r.keys) == 0 {
		return
	}
	author := pick(w.rng, r.keys)
	path := pick(w.rng, []string{"/a", "/a/b", "/a/b", "/b"}[w.rng.IntN(3):])
	x := record.Record{
		Kind: pick(w.rng, []record.Kind{record.Doc, record.Doc, record.Doc, record.Doc, record.Entry, record.Delta}),
		Time: w.now, Path: path, Payload: []byte{byte(w.rng.IntN(256)), byte(w.rng.IntN(256))},
	}
	for _, o := range w.In(w.members(r)) { // max(clock, 1 + newest live time at that path)
		if o.Data() && o.Path == path {
			x.Time = max(x.Time, o.Time+1)
		}
	}
	if w.Vandals && w.rng.IntN(6) == 0 {
		x.Time = 1 + w.rng.Uint64N(2*w.now)
	}
	x.Deleted = w.Deletes && x.Kind == record.Doc && w.rng.IntN(6) == 0
	p := w.pen(r, author)
	x.Lane, x.Seq = p.lane, p.next
	p.next++
	made := w.Make(author, x)
	if w.judge(r.Known.With(made)).Held.Has(made) && w.rng.IntN(3) > 0 {
		return // an honest replica says so instead of writing it
	}
	w.learn(r, made)
}

// pen is the author's lane at r, a fresh one when in doubt: when r knows a
// number above its highest, two records on one dot, a bit that it did not
// sweep, or a sweep over the next number.
func (w *World) pen(r *Replica, author record.Key) *pen {
	p := r.pens[author]
	doubt := p == nil || w.rng.IntN(12) == 0 // or the lease is gone
	seen := make(map[uint32]bool)
	for _, x := range w.In(r.Known) {
		if doubt || x.Author != author || x.Lane != p.lane {
			continue
		}
		if x.Data() {
			doubt = x.Seq >= p.next || seen[x.Seq]
			seen[x.Seq] = true
		} else if x.Kind == record.Sweep {
			for n := uint32(1); n < 64; n++ {
				doubt = doubt || x.dots.has(n) && (n >= p.next || !p.swept[n])
			}
		}
	}
	if doubt {
		w.lane++
		p = &pen{lane: w.lane, next: 1, swept: make(map[uint32]bool)}
		r.pens[author] = p
	}
	return p
}

// sweepSome removes what an author at home on r made superfluous, lane by
// lane, starting from the union of the sweeps that r knows of the same lane
// and area.
func (w *World) sweepSome(r *Replica) {
	if len(r.keys) == 0 {
		return
	}
	author := pick(w.rng, r.keys)
	victims := w.superfluous(r, author)
	area := "/"
	if x := w.rng.IntN(3); x == 0 {
		area = pick(w.rng, areaPaths)
	} else if x == 1 && len(victims) > 0 {
		area = pick(w.rng, victims).Path
	}
	if w.Vandals && w.rng.IntN(3) == 0 {
		lane := uint64(1)
		if p := r.pens[author]; p != nil {
			lane = p.lane
		}
		w.learn(r, w.sweep(author, lane, w.rng.Uint32N(2), w.someBits(w.rng), area, w.now))
		return
	}
	type block struct {
		lane   uint64
		number uint32
	}
	bits := make(map[block]byte)
	var blocks []block // in order of appearance
	for _, x := range victims {
		if !record.Covers(area, x.Path) {
			continue
		}
		b := block{x.Lane, (x.Seq - 1) / w.Width}
		if bits[b] == 0 {
			blocks = append(blocks, b)
		}
		bits[b] |= 1 << ((x.Seq - 1) % w.Width)
	}
	for _, b := range blocks {
		whole := false
		for _, s := range w.In(r.Known) {
			if s.Kind == record.Sweep && s.Author == author && s.Lane == b.lane && s.Path == area {
				whole = whole || len(s.Payload) == 0 && s.Seq >= b.number
				if s.Seq == b.number && len(s.Payload) > 0 {
					bits[b] |= s.Payload[0]
				}
			}
		}
		payload := []byte{bits[b]}
		if whole || b.number == 0 && bits[b] == 1<<w.Width-1 {
			payload = nil
		}
		made := w.sweep(author, b.lane, b.number, payload, area, w.now)
		w.learn(r, made)
		if p := r.pens[author]; p != nil && p.lane == b.lane {
			for n := uint32(1); n < 64; n++ {
				p.swept[n] = p.swept[n] || made.dots.has(n)
			}
		}
	}
}

// superfluous are the author's members at r that the path's present document
// has overwritten, and, where things are deleted, an entry to be removed.
func (w *World) superfluous(r *Replica, author record.Key) []*Record {
	live := w.In(w.members(r))
	var out []*Record
	for _, x := range live {
		if x.Author != author || !x.Data() {
			continue
		}
		if x.Kind != record.Doc {
			if w.Deletes && w.rng.IntN(4) == 0 {
				out = append(out, x)
			}
			continue
		}
		read, newest := x, x // the path's document, and the author's own newest
		for _, o := range live {
			if o.Kind == record.Doc && o.Path == x.Path {
				if older(read, o) {
					read = o
				}
				if o.Author == author && older(newest, o) {
					newest = o
				}
			}
		}
		switch {
		case x == read && !(x.Deleted && !w.shared(r, author, x.Path)):
		case x == newest && read.Author != author: // or a vandal's overwrite, once sealed, would leave nothing
		default:
			out = append(out, x)
		}
	}
	return out
}

// shared reports whether others may write at a path, or have.
func (w *World) shared(r *Replica, author record.Key, path string) bool {
	return slices.ContainsFunc(w.In(r.Known), func(x *Record) bool {
		if x.Kind == record.Doc && x.Path == path && x.Author != author {
			return true
		}
		g := x.Control.Grant
		return g != nil && g.Author != author && record.Covers(x.Path, path) && w.members(r).Has(x)
	})
}

// admit issues a grant, by a root key or an admin at home on r.
func (w *World) admit(r *Replica) {
	issuer, ok := w.issuer(r, func(*Record) bool { return true })
	if !ok {
		return
	}
	area := pick(w.rng, areaPaths)
	if issuer != nil && !record.Covers(issuer.Path, area) && !w.Vandals {
		area = issuer.Path
	}
	w.learn(r, w.grant(w.rng, issuer, 1+w.rng.IntN(w.Authors-1), pick(w.rng, []record.Role{1, 2, 2, 3, 3}), area))
}

// withdraw seals a grant that r knows, listing what r sees of the member, or
// some of it; a vandal lists what is dead as well. A part may be missing, for now or for ever.
func (w *World) withdraw(r *Replica) {
	var targets []*Record
	for _, g := range w.In(w.members(r)) {
		if g.Control.Grant != nil {
			targets = append(targets, g)
		}
	}
	if len(targets) == 0 {
		return
	}
	target := pick(w.rng, targets)
	above := func(u *Record) bool {
		return w.Vandals && w.rng.IntN(4) == 0 || w.court(r.Known).above(u.ID, target)
	}
	issuer, ok := w.issuer(r, above)
	if !ok {
		return
	}
	grantee := target.Control.Grant.Author
	some := w.rng.IntN(3) == 0
	listable := w.members(r)
	if w.Vandals && w.rng.IntN(2) == 0 {
		listable = r.Known // what is dead, too
	}
	path := "/"
	if issuer != nil {
		path = issuer.Path
	}
	from := len(w.Records)
	w.seal(w.rng, issuer, target, path, w.now, w.Vandals, func(x *Record) bool {
		return x.Author == grantee && listable.Has(x) && (!some || w.rng.IntN(2) == 0)
	})
	for _, part := range w.Records[from:] {
		if w.rng.IntN(6) > 0 { // or lost on the way to the disk
			w.learn(r, part)
		}
	}
}

// issuer picks a grant to act under that an author at home on r holds as an
// admin and that passes, or the root key, which is nil; false if there is none.
func (w *World) issuer(r *Replica, ok func(*Record) bool) (*Record, bool) {
	var from []*Record
	if slices.Contains(r.keys, Key(0)) && w.rng.IntN(3) == 0 {
		from = append(from, nil)
	}
	for _, g := range w.In(r.Known) {
		b := g.Control.Grant
		if b != nil && b.Role == record.Admin && slices.Contains(r.keys, b.Author) && ok(g) {
			from = append(from, g)
		}
	}
	if len(from) == 0 {
		return nil, false
	}
	return pick(w.rng, from), true
}
