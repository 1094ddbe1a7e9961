package space_test

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"anabranch/internal/model"
	"anabranch/record"
	"anabranch/space"
)

var (
	worlds = flag.Int("worlds", 800, "random worlds in which State is compared with the model")
	seed   = flag.Uint64("seed", 1, "the first seed")
)

// After every single Insert and Forget, in any order, State says of every
// record what the model says, and Change names all that is different.
func TestStateIsTheLaw(t *testing.T) {
	for k := range *worlds {
		s := *seed + uint64(k)
		if !t.Run("", func(t *testing.T) { compareWorld(t, rand.New(rand.NewPCG(s, 0x5ACE))) }) {
			t.Fatalf("again: go test ./space -run StateIsTheLaw -worlds 1 -seed %d", s)
		}
	}
}

// observed is what a State says of a whole universe.
type observed struct {
	verdicts       []space.Verdict
	control, swept []record.ID
}

func compareWorld(t *testing.T, rng *rand.Rand) {
	roots := []record.Key{model.Key(0), model.Key(50)}
	u := model.NewUniverse(roots, record.BlockNumbers)
	u.Scatter(rng, 3+rng.IntN(2), 10+rng.IntN(25), rng.IntN(5) > 0)
	state := space.NewState(roots)
	var known model.Set // control and sweeps that state knows

	observe := func() observed {
		o := observed{control: ids(state.Control()), swept: ids(state.Sweeps())}
		for _, r := range u.Records {
			o.verdicts = append(o.verdicts, state.Judge(r.Verified))
		}
		return o
	}
	before := observe()
	for step := range 2 * len(u.Records) {
		old := state.Clone()
		var change space.Change
		var what []*model.Record // inserted or forgotten
		forget := rng.IntN(6) == 0
		if forget {
			for _, r := range u.Records {
				if known.Has(r) && rng.IntN(8) == 0 {
					what = append(what, r)
				}
			}
			var gone []record.ID
			for _, r := range what {
				gone = append(gone, r.ID)
				known = known.Minus(model.Set{}.With(r))
			}
			change = state.Forget(gone...)
		} else {
			var in []*record.Verified
			for range 1 + rng.IntN(1+step%3) {
				r := u.Records[rng.IntN(len(u.Records))]
				what = append(what, r)
				in = append(in, r.Verified)
				if !r.Data() {
					known = known.With(r)
				}
			}
			change = state.Insert(in...)
		}
		after := observe()
		compareVerdicts(t, u, known, state, after)
		compareChange(t, u, change, before, after)
		if len(what) == 1 {
			checkTight(t, what[0], change)
		}
		if rng.IntN(4) == 0 { // a clone knows nothing of what came after
			if now := old.Control(); !slices.Equal(ids(now), before.control) {
				t.Fatalf("a clone changed with its original")
			}
		}
		before = after
		if t.Failed() {
			t.Logf("step %d, forget %v\n%s", step, forget, u.Describe())
			return
		}
	}
}

// compareVerdicts judges each record as if it were known as well.
func compareVerdicts(t *testing.T, u *model.Universe, known model.Set, state *space.State, got observed) {
	law := u.Judge(known)
	for i, r := range u.Records {
		j := law
		if !known.Has(r) {
			j = u.Judge(known.With(r))
		}
		want := space.Held
		if j.Members.Has(r) {
			want = space.Member
		} else if j.Dead.Has(r) {
			want = space.Dead
		}
		if got.verdicts[i] != want {
			t.Errorf("record %d: %v, the law says %v", i, got.verdicts[i], want)
		}
		if (r.Data() || known.Has(r)) && state.Listed(r.ID) != j.Listed.Has(r) {
			t.Errorf("record %d: listed %v", i, state.Listed(r.ID))
		}
		if !r.Data() && state.Has(r.ID) != known.Has(r) {
			t.Errorf("record %d: known %v", i, state.Has(r.ID))
		}
	}
	var control, sweeps []*record.Verified
	for _, r := range u.In(law.Members) {
		if r.Kind == record.Control {
			control = append(control, r.Verified)
		} else {
			sweeps = append(sweeps, r.Verified)
		}
	}
	if !slices.Equal(got.control, ordered(control)) || !slices.Equal(got.swept, ordered(sweeps)) {
		t.Errorf("Control or Sweeps are not those of V in (time, ID) order")
	}
}

// compareChange checks that a change names everything that is different.
func compareChange(t *testing.T, u *model.Universe, change space.Change, before, after observed) {
	want := func(from, to observed) (out []record.ID) {
		for _, lists := range [][2][]record.ID{{from.control, to.control}, {from.swept, to.swept}} {
			for _, id := range lists[1] {
				if !slices.Contains(lists[0], id) {
					out = append(out, id)
				}
			}
		}
		return out
	}
	if !slices.Equal(ids(change.Entered), want(before, after)) || !slices.Equal(ids(change.Left), want(after, before)) {
		t.Errorf("Entered %v, Left %v do not tell the sets apart", ids(change.Entered), ids(change.Left))
	}
	for i, r := range u.Records {
		if r.Data() && before.verdicts[i] != after.verdicts[i] &&
			!slices.ContainsFunc(change.Selectors, func(s space.Selector) bool { return s.Covers(&r.Record) }) {
			t.Errorf("record %d went from %v to %v, which no selector of %+v covers", i, before.verdicts[i], after.verdicts[i], change.Selectors)
		}
	}
}

// checkTight checks that one record's selectors stay with those it can touch.
func checkTight(t *testing.T, r *model.Record, change space.Change) {
	for _, s := range change.Selectors {
		if r.Kind == record.Control {
			if s.Lane != 0 || s.Numbers != nil {
				t.Errorf("a control record selects %+v", s)
			}
			continue
		}
		if s.Author != r.Author || s.Lane != r.Lane || s.Area != r.Path || len(s.Numbers) == 0 {
			t.Errorf("a sweep of lane %d at %s selects %+v", r.Lane, r.Path, s)
		}
		for _, n := range s.Numbers {
			if n.First > n.Last || !r.Dots().Has(n.First) || !r.Dots().Has(n.Last) {
				t.Errorf("a sweep selects the numbers %v, which it does not have", n)
			}
		}
	}
}

func ids(rs []*record.Verified) []record.ID {
	var out []record.ID
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return out
}

func ordered(rs []*record.Verified) []record.ID {
	slices.SortFunc(rs, func(a, b *record.Verified) int {
		if a.Time != b.Time {
			return int(int64(a.Time) - int64(b.Time))
		}
		return a.ID.Compare(b.ID)
	})
	return ids(rs)
}
