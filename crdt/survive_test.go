package crdt

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Each row of what must survive: how somebody who was away, or knows a part,
// could bring back what was removed, or lose what was not.
func TestWhatMustSurvive(t *testing.T) {
	do := must(t)
	add := func(s *State, lane uint64, v string) *State {
		d := do(s.Add(Writer{lane, 1}, vs(v)))
		s.Join(d)
		return d
	}
	discard := func(s *State, lane uint64, v string) *State {
		d := do(s.Discard(Writer{lane, 1}, vs(v)))
		s.Join(d)
		return d
	}
	check := func(name, want string, parts ...*State) {
		t.Helper()
		for _, s := range []*State{JoinAll(parts...), JoinAll(append([]*State{parts[len(parts)-1]}, parts...)...)} {
			if got := shown(s, Set); got != want {
				t.Errorf("%s: shows %q, want %q", name, got, want)
			}
		}
	}
	{
		var s State
		first := add(&s, 1, "x")
		gone := discard(&s, 2, "x")
		again := add(&s, 1, "x")
		check("removed, then added again", "x", again, gone, first)
		check("the removal before the add", "", gone, first)
	}
	{
		var whole State
		one, two, three := add(&whole, 1, "x"), add(&whole, 1, "y"), add(&whole, 1, "x")
		part := JoinAll(one, three) // the second never came
		gone := discard(part, 2, "x")
		check("a remover with a gap names only what it has", "y", gone, one, two, three)
	}
	{
		var s State
		a := add(&s, 1, "x")
		b := add(&s, 2, "y") // another lane of the same author
		here, there := s.Clone(), s.Clone()
		x, y := discard(here, 1, "x"), discard(there, 2, "y")
		check("two replicas of one author remove apart", "", a, b, x, y)
	}
	{
		var s State
		a, b := add(&s, 1, "x"), add(&s, 2, "y")
		old := s.Clone()
		fold := JoinAll(a) // author 1 folds; author 2's removal names the event in it
		gone := discard(&s, 2, "x")
		check("a fold beside a removal of what is in it", "y", fold, b, gone)
		check("an old replica's whole state", "y", fold, b, gone, old)
	}
	{
		var s State
		inc := do(s.Increment(Writer{1, 1}, 5))
		s.Join(inc)
		late := do(s.Increment(Writer{1, 2}, 3)) // by the one who is away
		reset := do(s.Reset(Writer{2, 1}))
		for _, parts := range [][]*State{{inc, late, reset}, {reset, late}, {late, inc, reset, inc}} {
			if got := shown(JoinAll(parts...), Counter); got != "3" {
				t.Errorf("counted after a reset: %s, want 3", got)
			}
		}
	}
	{
		var s State
		a := add(&s, 1, "x")
		vandal := discard(&s, 3, "x")
		check("with the vandal's record", "", a, vandal)
		check("without it, when it is sealed", "x", a)
	}
}

// Three authors add to and remove from one set for a long time, and fold. What
// they keep is bounded by what is in the set, not by what ever was.
func TestASetOfManyAddsAndRemovesStaysSmall(t *testing.T) {
	const rounds, batch, live = 200, 100, 2000
	rng := rand.New(rand.NewPCG(1, 1))
	s := new(State)
	folds := [3]*State{new(State), new(State), new(State)}
	var values []string
	plain := 0
	for i := range rounds {
		a := rng.IntN(3)
		w := Writer{uint64(a + 1), uint64(i + 1)}
		var in [][]byte
		for j := range batch {
			v := fmt.Sprintf("task %06d, somewhat longer", i*batch+j)
			values = append(values, v)
			in = append(in, []byte(v))
		}
		var out [][]byte
		for len(values) > live {
			k := rng.IntN(len(values))
			out = append(out, []byte(values[k]))
			values[k] = values[len(values)-1]
			values = values[:len(values)-1]
		}
		for _, change := range []func() (*State, error){
			func() (*State, error) { return s.Add(w, in) },
			func() (*State, error) { return s.Discard(w, out) },
		} {
			d := must(t)(change())
			plain += len(enc(d))
			s.Join(d)
			folds[a].Join(d)
		}
		if i%16 == 15 || i == rounds-1 {
			for j, f := range folds {
				f.Adopt(s.Removed())
				for k, o := range folds {
					if j != k {
						var said Context
						for _, span := range o.Removed().Spans(uint64(k + 1)) {
							said.Add(uint64(k+1), span.First, span.Last)
						}
						f.Forget(said)
					}
				}
			}
		}
	}
	for j, f := range folds { // once more: all have adopted now
		for k, o := range folds {
			if j != k {
				var said Context
				for _, span := range o.Removed().Spans(uint64(k + 1)) {
					said.Add(uint64(k+1), span.First, span.Last)
				}
				f.Forget(said)
			}
		}
	}
	equal(t, "folds, and all", JoinAll(folds[:]...), s)
	bare := 0
	for _, v := range values {
		bare += len(v) + 1
	}
	kept := len(enc(folds[0])) + len(enc(folds[1])) + len(enc(folds[2]))
	t.Logf("%d values of %d bytes: folds of %d bytes, all deltas %d", len(values), bare, kept, plain)
	if kept > 3*bare {
		t.Errorf("%d bytes of folds for values of %d bytes", kept, bare)
	}
}
