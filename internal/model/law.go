package model

import (
	"slices"

	"anabranch/record"
)

// Break names a rule that is broken on purpose, to see the search find it.
type Break int

const (
	Nothing         Break = iota
	NewestWins            // rule 5: a document dies of a newer one of its author at its path
	HeldDestroyed         // P: a held record is destroyed, its own author's too
	SweepsFirst           // sessions: sweeps are applied before the data they speak of
	RevokeByTime          // rule 2: a seal leaves open what is older than it
	AnyAdminRevokes       // rule 2: a seal need not come from an ancestor
	RedundantByDots       // rule 4: grants are not compared
	AcrossGrants          // rule 5: one grant admits the record, another opens the sweep
	HeldPartsList         // rule 2: parts that do not stand add to a seal's list
	ListedDestroyed       // P: what a standing seal lists is destroyed
)

// String says what a broken rule does.
func (b Break) String() string {
	return [...]string{
		Nothing:         "nothing broken",
		NewestWins:      "newest wins",
		HeldDestroyed:   "held records destroyed by their author",
		SweepsFirst:     "sweeps applied before data, or as rumors",
		RevokeByTime:    "revocation by time",
		AnyAdminRevokes: "any admin revokes any",
		RedundantByDots: "redundancy without comparing grants",
		AcrossGrants:    "sweeps that count under another grant",
		HeldPartsList:   "parts that do not stand list, too",
		ListedDestroyed: "listed records destroyed",
	}[b]
}

// Judgement divides a set of known records. Members is V of it.
type Judgement struct {
	Members Set
	Held    Set
	Dead    Set // dead data and redundant sweeps
	Listed  Set // records that a standing seal part lists
}

// V is the set that known records denote.
func (u *Universe) V(k Set) Set { return u.Judge(k).Members }

// Destroyable is what P may drop of known records: dead and redundant ones,
// unless a standing seal part lists them.
func (u *Universe) Destroyable(k Set) Set {
	j := u.Judge(k)
	gone := j.Dead
	if u.Break != ListedDestroyed {
		gone = gone.Minus(j.Listed)
	}
	if u.Break == HeldDestroyed {
		gone = gone.Or(j.Held)
	}
	return gone
}

// Judge applies rules 1 to 6 to known records.
func (u *Universe) Judge(k Set) Judgement {
	c := u.court(k)
	var j Judgement
	for _, r := range c.known {
		switch {
		case r.Kind == record.Control && c.stands(r),
			r.Kind == record.Sweep && c.counts(r) && !c.redundant(r),
			r.Data() && c.auth(r) && !c.dead(r):
			j.Members = j.Members.With(r)
		case r.Kind == record.Sweep && c.counts(r), r.Data() && c.auth(r):
			j.Dead = j.Dead.With(r)
		default:
			j.Held = j.Held.With(r)
		}
		if c.listed(r) {
			j.Listed = j.Listed.With(r)
		}
	}
	return j
}

// court judges one set of known records.
type court struct {
	u     *Universe
	k     Set
	known []*Record

	standing  []answer     // by index: stands, remembered
	effective []*[]*Record // by index: seals, remembered
	sweeps    []counted    // C of rule 4
}

func (u *Universe) court(k Set) *court {
	c := &court{
		u: u, k: k, known: u.In(k),
		standing:  make([]answer, len(u.Records)),
		effective: make([]*[]*Record, len(u.Records)),
	}
	c.count()
	return c
}

type answer int8

const (
	unasked answer = iota
	asking
	yes
	no
)

// counted is a sweep of C with the grants it counts under; root means {root}.
type counted struct {
	*Record
	root bool
	open []*Record
}

func (c *court) isRoot(r *Record) bool { return slices.Contains(c.u.Roots, r.Author) }

// grant returns a known grant by ID, or nil.
func (c *court) grant(id record.ID) *Record {
	if g := c.u.byID[id]; g != nil && c.k.Has(g) && g.Control.Grant != nil {
		return g
	}
	return nil
}

// stands is rule 1.
func (c *court) stands(r *Record) bool {
	switch c.standing[r.index] {
	case yes, asking: // only a broken rule 2 asks in a circle
		return true
	case no:
		return false
	}
	c.standing[r.index] = asking
	ok := c.isRoot(r) && r.Control.Under == record.ID{}
	if u := c.grant(r.Control.Under); u != nil {
		g := u.Control.Grant
		ok = ok || g.Author == r.Author && g.Role == record.Admin &&
			record.Covers(u.Path, r.Path) && c.stands(u) && c.open(u, r)
	}
	c.standing[r.index] = no
	if ok {
		c.standing[r.index] = yes
	}
	return ok
}

// seals is rule 2: the standing parts of every seal that is effective on g.
func (c *court) seals(g *Record) []*Record {
	if found := c.effective[g.index]; found != nil {
		return *found
	}
	var parts []*Record
	for _, p := range c.known {
		if p.Control.Seal == nil || p.Control.Seal.Target != g.ID || !c.above(p.Control.Under, g) ||
			!c.stands(p) && c.u.Break != HeldPartsList {
			continue
		}
		complete := true
		for i := uint16(1); i <= p.Control.Seal.Parts && complete; i++ {
			complete = slices.ContainsFunc(c.known, func(q *Record) bool {
				return sameSeal(p, q) && q.Control.Seal.Part == i && c.stands(q)
			})
		}
		if complete {
			parts = append(parts, p)
		}
	}
	c.effective[g.index] = &parts
	return parts
}

func sameSeal(p, q *Record) bool {
	a, b := p.Control.Seal, q.Control.Seal
	return b != nil && p.Author == q.Author && p.Control.Under == q.Control.Under &&
		a.Target == b.Target && a.SealID == b.SealID && a.Parts == b.Parts
}

// above reports whether an issuer's grant is a proper ancestor of g. Zero is
// everyone's.
func (c *court) above(under record.ID, g *Record) bool {
	if under == (record.ID{}) || c.u.Break == AnyAdminRevokes {
		return true
	}
	for up := c.grant(g.Control.Under); up != nil; up = c.grant(up.Control.Under) {
		if up.ID == under {
			return true
		}
	}
	return false
}

// open is rule 2: no effective seal on g, or one that lists the record.
func (c *court) open(g, r *Record) bool {
	parts := c.seals(g)
	if len(parts) == 0 {
		return true
	}
	return slices.ContainsFunc(parts, func(p *Record) bool {
		if c.u.Break == RevokeByTime {
			return r.Time <= p.Time
		}
		return slices.Contains(p.Control.Seal.List, r.ID.Prefix())
	})
}

// listed reports whether a standing seal part lists the record.
func (c *court) listed(r *Record) bool {
	return slices.ContainsFunc(c.known, func(p *Record) bool {
		return p.Control.Seal != nil && slices.Contains(p.Control.Seal.List, r.ID.Prefix()) && c.stands(p)
	})
}

// writing returns the standing grants that let the record's author write and
// are open for the record. Areas are not compared.
func (c *court) writing(r *Record) []*Record {
	var out []*Record
	for _, g := range c.known {
		b := g.Control.Grant
		if b != nil && b.Author == r.Author && b.Role >= record.Writer && c.stands(g) && c.open(g, r) {
			out = append(out, g)
		}
	}
	return out
}

// admitting is rule 3: the grants that authorise a data record.
func (c *court) admitting(r *Record) []*Record {
	return slices.DeleteFunc(c.writing(r), func(g *Record) bool { return !record.Covers(g.Path, r.Path) })
}

func (c *court) auth(r *Record) bool { return c.isRoot(r) || len(c.admitting(r)) > 0 }

// count gathers C of rule 4.
func (c *court) count() {
	for _, r := range c.known {
		if r.Kind != record.Sweep {
			continue
		}
		if s := (counted{Record: r, root: c.isRoot(r), open: c.writing(r)}); s.root || len(s.open) > 0 {
			c.sweeps = append(c.sweeps, s)
		}
	}
}

func (c *court) counts(r *Record) bool {
	return slices.ContainsFunc(c.sweeps, func(s counted) bool { return s.Record == r })
}

// redundant is rule 4. Reach is everything here: worlds hold full replicas.
func (c *court) redundant(r *Record) bool {
	i := slices.IndexFunc(c.sweeps, func(s counted) bool { return s.Record == r })
	mine := c.sweeps[i]
	return slices.ContainsFunc(c.sweeps, func(other counted) bool {
		if other.Record == r || other.Author != r.Author || other.Lane != r.Lane || other.Path != r.Path {
			return false
		}
		if !other.dots.contains(mine.dots) || !c.opener(other, mine) {
			return false
		}
		strictly := !mine.dots.contains(other.dots) || !c.opener(mine, other)
		return strictly || other.ID.Compare(r.ID) < 0
	})
}

// opener reports open(a) ⊇ open(b).
func (c *court) opener(a, b counted) bool {
	if a.root || c.u.Break == RedundantByDots {
		return true
	}
	return !slices.ContainsFunc(b.open, func(g *Record) bool { return !slices.Contains(a.open, g) })
}

// dead is rule 5, for data that is authorised.
func (c *court) dead(r *Record) bool {
	if c.u.Break == NewestWins && r.Kind == record.Doc {
		return slices.ContainsFunc(c.known, func(o *Record) bool {
			return o.Kind == record.Doc && o.Author == r.Author && o.Path == r.Path && older(r, o) && c.auth(o) && !c.swept(o)
		}) || c.swept(r)
	}
	return c.swept(r)
}

func (c *court) swept(r *Record) bool {
	admitting := c.admitting(r)
	return slices.ContainsFunc(c.sweeps, func(s counted) bool {
		if s.Author != r.Author || s.Lane != r.Lane || !record.Covers(s.Path, r.Path) || !s.dots.has(r.Seq) {
			return false
		}
		return s.root || c.u.Break == AcrossGrants || slices.ContainsFunc(s.open, func(g *Record) bool {
			return slices.Contains(admitting, g)
		})
	})
}

// older orders records by (time, ID).
func older(a, b *Record) bool {
	if a.Time != b.Time {
		return a.Time < b.Time
	}
	return a.ID.Compare(b.ID) < 0
}
