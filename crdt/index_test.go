package crdt

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// indexed is a copy with an index, whatever its size.
func indexed(s *State) *State {
	c := s.Clone()
	c.index = newIndex(c)
	return c
}

// checkIndex compares a state's index with a fresh one.
func checkIndex(t testing.TB, s *State) {
	t.Helper()
	sorted := func(x *index) map[Dot][]string {
		out := make(map[Dot][]string)
		for d := range x.one {
			for _, n := range x.places(d) {
				out[d] = append(out[d], fmt.Sprintf("%p", n))
			}
			slices.Sort(out[d])
		}
		return out
	}
	got, want := sorted(s.index), sorted(newIndex(s))
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Fatalf("the index has %v, the state %v", got, want)
	}
	for d := range s.index.more {
		if s.index.one[d] == nil {
			t.Fatalf("%v stands elsewhere, but nowhere first", d)
		}
	}
}

func TestAnIndexedStateJoinsAlike(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 10)
		a, b := w.some(), w.some()
		x := indexed(a)
		for _, o := range append([]*State{b}, w.deltas...) {
			x.narrow(o)
			a.Join(o)
			equal(t, "indexed or not", x, a)
			checkIndex(t, x)
		}
	})
}

// TestALargeSetIsChangedCheaply counts what joins visit: of a set of many
// values, one that is removed is not looked for among all.
func TestALargeSetIsChangedCheaply(t *testing.T) {
	var s, plain State
	change := func(delta *State, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		s.Join(delta)
		plain.index, plain.wide = nil, 0
		plain.Join(delta)
	}
	for lane := uint64(1); lane <= 3; lane++ {
		values := make([][]byte, 1000)
		for i := range values {
			values[i] = fmt.Appendf(nil, "%d-%d", lane, i)
		}
		change(s.Add(Writer{lane, 1}, values))
	}
	for i := range 100 {
		lane := uint64(1 + i%3)
		change(s.Discard(Writer{lane, 2}, [][]byte{fmt.Appendf(nil, "%d-%d", lane%3+1, i)}))
		if i > 2 && s.index == nil {
			t.Fatalf("no index after %d removals", i)
		}
		change(s.Add(Writer{lane, 3}, [][]byte{fmt.Appendf(nil, "again %d", i)}))
	}
	checkIndex(t, &s)
	equal(t, "indexed or not", &s, &plain)
	n := s.roots[Set]
	j := joining{mine: &s.seen, theirs: &Context{}, index: s.index}
	delta, err := s.Discard(Writer{1, 4}, [][]byte{[]byte("again 7")})
	if err != nil {
		t.Fatal(err)
	}
	s.evict(delta)
	j.roots(&s, delta)
	if len(n.kids) != 2999 || j.visited > 2 {
		t.Fatalf("%d values after a removal that visited %d places", len(n.kids), j.visited)
	}
	// What removes most of it goes over it, and the index with it.
	rest := new(State)
	rest.seen = s.seen.Clone()
	s.Join(rest)
	if s.index != nil || len(s.roots) != 0 {
		t.Fatal("all of it is removed, and something is left")
	}
}
