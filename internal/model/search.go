package model

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"anabranch/record"
)

// A Search looks for worlds of one kind that violate the law.
type Search struct {
	Name  string
	Cheap bool // a world takes far less time than the others, so more are searched
	// One runs the world of a seed under a broken rule, or Nothing, and
	// returns what it violated, or "". It counts into residues what the law
	// does not promise and this world did not have.
	One func(seed uint64, broken Break, residues *Residues) string
}

// Residues counts the worlds that ended, on equal replicas, with another set
// than V of everything that was ever written, because of a seal that speaks
// of what some replicas had destroyed.
type Residues struct {
	Lost     int // a record is missing, though its author's sweep no longer counts
	Returned int // a record is back, though its author's sweep counts again
}

// Searches are the kinds of worlds that are searched.
func Searches() []Search {
	return []Search{
		{"join, nothing sealed", true, join(false)},
		{"join, seals, both know all control", true, join(true)},
		{"sessions, honest, overwriting only", false, live(Options{})},
		{"sessions, honest, deletes", false, live(Options{Deletes: true})},
		{"sessions, vandals and forks", false, live(Options{Deletes: true, Vandals: true, Forks: true})},
		{"sessions, seals", false, live(Options{Deletes: true, Seals: true})},
		{"sessions, seals, vandals and forks", false, live(Options{Deletes: true, Seals: true, Vandals: true, Forks: true})},
	}
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0xA17A)) }

// live runs replicas that write and exchange.
func live(o Options) func(uint64, Break, *Residues) string {
	return func(seed uint64, broken Break, residues *Residues) string {
		rng := seeded(seed)
		o := o
		o.Replicas, o.Authors, o.Steps = 2+rng.IntN(3), 3+rng.IntN(2), 15+rng.IntN(60)
		w := NewWorld(rng, o, broken)
		what := w.Run()
		if what == "" {
			w.residues(residues)
		}
		return what
	}
}

// join scatters records over two replicas, which prune as they go, and
// compares what they denote together with what everything denotes. With
// seals, both know all control records from the beginning.
func join(seals bool) func(uint64, Break, *Residues) string {
	return func(seed uint64, broken Break, _ *Residues) string {
		rng := seeded(seed)
		u := NewUniverse([]record.Key{Key(0)}, 3)
		u.Break = broken
		u.Scatter(rng, 3, 8+rng.IntN(20), seals)
		var seen, kept [2]Set // what came by, and what is left of it
		for _, r := range u.Records {
			if seals && r.Kind == record.Control {
				kept[0], kept[1] = kept[0].With(r), kept[1].With(r)
			}
		}
		seen = kept
		for _, i := range rng.Perm(len(u.Records)) {
			for side := range 2 {
				if rng.IntN(5) < 3 {
					seen[side] = seen[side].With(u.Records[i])
					kept[side] = kept[side].With(u.Records[i])
				}
				if rng.IntN(8) == 0 {
					kept[side] = kept[side].Minus(u.some(rng, u.Destroyable(kept[side])))
				}
			}
		}
		for side := range 2 {
			kept[side] = kept[side].Minus(u.some(rng, u.Destroyable(kept[side])))
			if u.V(kept[side]) != u.V(seen[side]) {
				return "V(P(A)) is not V(A)"
			}
		}
		if u.V(kept[0].Or(kept[1])) != u.V(seen[0].Or(seen[1])) {
			return "V(P(A) ∪ P(B)) is not V(A ∪ B)"
		}
		// Who agrees on control gets by with what is offered.
		if seals && u.V(u.V(kept[0]).Or(u.V(kept[1]))) != u.V(seen[0].Or(seen[1])) {
			return "V(V(A) ∪ V(B)) is not V(A ∪ B)"
		}
		return ""
	}
}

// some picks a part of a set.
func (u *Universe) some(rng *rand.Rand, s Set) Set {
	return u.Where(s, func(*Record) bool { return rng.IntN(4) > 0 })
}

// Describe prints the records of a universe, for a world that failed.
func (u *Universe) Describe() string {
	var b strings.Builder
	for _, r := range u.Records {
		fmt.Fprintf(&b, "%3d %.8v %v by %d at %s time %d", r.index, r.ID, r.Kind, r.Author[0]-1, r.Path, r.Time)
		switch {
		case r.Control.Grant != nil:
			fmt.Fprintf(&b, ": %v for %d under %.8v", r.Control.Grant.Role, r.Control.Grant.Author[0]-1, r.Control.Under)
		case r.Control.Seal != nil:
			s := r.Control.Seal
			fmt.Fprintf(&b, ": seals %.8v under %.8v, part %d of %d, lists %d", s.Target, r.Control.Under, s.Part, s.Parts, len(s.List))
		case r.Kind == record.Sweep:
			fmt.Fprintf(&b, ": lane %d block %d bits %x", r.Lane, r.Seq, r.Payload)
		default:
			fmt.Fprintf(&b, ": lane %d number %d", r.Lane, r.Seq)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
