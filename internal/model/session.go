package model

import (
	"crypto/sha256"
	"slices"

	"anabranch/record"
)

// pull is one session in one direction: control to a fixpoint, sweeps as
// filters, transfer, sweeps applied. It is cut at random, and things happen
// meanwhile, unless depth is 9. It reports whether it completed.
func (w *World) pull(to, from *Replica, depth int) bool {
	calm := depth == 9
	if !w.agree(to, from, calm) {
		return false
	}
	// One snapshot, taken after the fixpoint.
	members := w.members(from)
	sweeps := w.Where(members, func(r *Record) bool { return r.Kind == record.Sweep })
	data := w.Where(members, func(r *Record) bool { return r.Data() })
	dead := w.judge(to.Known.Or(members)).Dead
	wanted := w.In(data.Minus(to.Known).Minus(dead))
	w.rng.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })

	if w.Break == SweepsFirst {
		to.Known = to.Known.Or(sweeps)
	}
	complete := true
	for _, r := range wanted {
		if !calm && w.rng.IntN(10) == 0 {
			return false // cut: what arrived is committed, the sweeps are not
		}
		if !calm && w.rng.IntN(8) == 0 {
			w.step(depth + 1)
		}
		if !from.Known.Has(r) {
			complete = false // it died meanwhile: to be run again
			continue
		}
		w.learn(to, r)
		w.look(to)
	}
	if !calm && w.rng.IntN(10) == 0 {
		return false
	}
	if complete {
		to.Known = to.Known.Or(sweeps)
		w.look(to)
	}
	return complete
}

// agree exchanges standing control both ways until nothing is new.
func (w *World) agree(a, b *Replica, calm bool) bool {
	control := func(r *Replica) Set {
		return w.Where(w.members(r), func(x *Record) bool { return x.Kind == record.Control })
	}
	for {
		fromA, fromB := control(a), control(b)
		newA, newB := fromB.Minus(a.Known), fromA.Minus(b.Known)
		if newA == (Set{}) && newB == (Set{}) {
			return true
		}
		for _, r := range w.In(newA) {
			if !calm && w.rng.IntN(12) == 0 {
				return false
			}
			w.learn(a, r)
		}
		for _, r := range w.In(newB) {
			if !calm && w.rng.IntN(12) == 0 {
				return false
			}
			w.learn(b, r)
		}
	}
}

// heal lets every pair complete calm sessions until nothing changes, and
// checks what must hold then.
func (w *World) heal() string {
	quiet := false
	for round := 0; !quiet; round++ {
		if round == 12 {
			return "no rest after 12 rounds of complete sessions"
		}
		quiet = true
		for i, a := range w.Replicas {
			for _, b := range w.Replicas[:i] {
				if w.rng.IntN(2) == 0 {
					a, b = b, a
				}
				before := [2]Set{w.members(a), w.members(b)}
				if !w.pull(a, b, 9) || !w.pull(b, a, 9) {
					return "a calm session was not completed"
				}
				after := [2]Set{w.members(a), w.members(b)}
				if same := w.root(before[0]) == w.root(before[1]); same != (before[0] == before[1]) {
					return "equal roots of unequal sets, or the reverse"
				}
				if w.root(after[0]) != w.root(after[1]) {
					return "a complete session left two replicas unequal"
				}
				if before != after {
					quiet = false
				}
				if w.rng.IntN(3) == 0 {
					w.prune(a)
				}
			}
		}
	}
	return w.settled()
}

// settled checks replicas that have exchanged everything.
func (w *World) settled() string {
	first := w.members(w.Replicas[0])
	for _, r := range w.Replicas[1:] {
		if w.members(r) != first {
			return "replicas ended unequal"
		}
	}
	whole := w.Judge(w.written)
	isControl := func(r *Record) bool { return r.Kind == record.Control }
	if w.Where(first, isControl) != w.Where(whole.Members, isControl) {
		return "a control record that stands was lost"
	}
	if !w.Seals && first != whole.Members {
		return "the set is not V of everything that was written"
	}
	var removed Set // by any sweep of its author that covers it, counted or not
	for _, s := range w.In(w.written) {
		for _, r := range w.In(w.written) {
			if w.covers(s, r) {
				removed = removed.With(r)
			}
		}
	}
	// A sweep that something else makes redundant is not lost.
	authorised := w.Where(whole.Members.Or(whole.Dead), func(r *Record) bool { return r.Data() })
	if lost := authorised.Minus(removed).Minus(first); lost != (Set{}) {
		return "a record was lost that its author did not remove"
	}
	if what := w.sealedOff(w.written, first); what != "" {
		return what
	}
	if w.Vandals {
		return "" // a vandal lists what is already destroyed
	}
	return w.saved(first)
}

// saved checks that what a seal lists is safe from sweeps made after it: a
// record whose every grant is sealed, by seals older than each sweep that
// covers the record, is a member.
func (w *World) saved(members Set) string {
	c := w.court(w.written)
	for _, r := range c.known {
		if !r.Data() || c.isRoot(r) || members.Has(r) {
			continue
		}
		grants := c.admitting(r)
		safe := len(grants) > 0
		for _, g := range grants {
			parts := c.seals(g)
			safe = safe && len(parts) > 0
			for _, s := range c.known {
				if w.covers(s, r) {
					safe = safe && !slices.ContainsFunc(parts, func(p *Record) bool { return p.index > s.index })
				}
			}
		}
		if safe {
			return "a record that a seal lists was removed by a later sweep"
		}
	}
	return ""
}

// covers reports whether a record is a sweep by r's author that has r's dot.
func (w *World) covers(s, r *Record) bool {
	return s.Kind == record.Sweep && r.Data() && r.Author == s.Author && r.Lane == s.Lane &&
		s.dots.has(r.Seq) && record.Covers(s.Path, r.Path)
}

// residues counts how a settled world differs from V of everything written.
func (w *World) residues(n *Residues) {
	set, whole := w.members(w.Replicas[0]), w.V(w.written)
	data := func(r *Record) bool { return r.Data() }
	if w.Where(whole.Minus(set), data) != (Set{}) {
		n.Lost++
	}
	if w.Where(set.Minus(whole), data) != (Set{}) {
		n.Returned++
	}
}

// sealedOff checks that nothing came in by a grant after it was sealed: every
// record in the set has a grant that no seal is effective on, or one with a
// seal made after the record. Records were made in the universe's order.
func (w *World) sealedOff(known, members Set) string {
	c := w.court(known)
	for _, r := range w.In(members) {
		ok := !r.Data() || c.isRoot(r)
		for _, g := range w.In(members) {
			b := g.Control.Grant
			if b == nil || b.Author != r.Author || b.Role < record.Writer || !record.Covers(g.Path, r.Path) {
				continue
			}
			parts := c.seals(g)
			ok = ok || len(parts) == 0 || slices.ContainsFunc(parts, func(p *Record) bool { return p.index > r.index })
		}
		if !ok {
			return "a record came in by a grant after it was sealed"
		}
	}
	return ""
}

// root stands for the root of a set: equal for equal sets only.
func (w *World) root(members Set) [32]byte {
	var ids []record.ID
	for _, r := range w.In(members) {
		ids = append(ids, r.ID)
	}
	slices.SortFunc(ids, record.ID.Compare)
	h := sha256.New()
	for _, id := range ids {
		h.Write(id[:])
	}
	return [32]byte(h.Sum(nil))
}
