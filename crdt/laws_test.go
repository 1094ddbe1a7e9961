package crdt

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var cases = flag.Int("cases", 1000, "random cases for each type, of the laws and of the twins")

// world is a few replicas that change one document, and every delta they made.
type world struct {
	rng      *rand.Rand
	kinds    []Kind // what is changed; with Map among them, nested too
	replicas []*State
	deltas   []*State
	model    *model
}

func newWorld(seed uint64, kinds ...Kind) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 11)), kinds: kinds, model: newModel()}
	for range 3 {
		w.replicas = append(w.replicas, new(State))
		w.model.replicas = append(w.model.replicas, map[int]bool{})
	}
	return w
}

func (w *world) key() string { return string(rune('a' + w.rng.IntN(3))) }

func (w *world) value() []byte { return fmt.Appendf(nil, "v%d", w.rng.IntN(4)) }

// change makes a random change at a replica and returns its delta.
func (w *world) change(t testing.TB, r int) *State {
	t.Helper()
	s := w.replicas[r]
	by := Writer{Lane: uint64(r + 1), Time: uint64(1 + w.rng.IntN(5))}
	kind := w.kinds[w.rng.IntN(len(w.kinds))]
	var path []string
	if slices.Contains(w.kinds, Map) && kind != Register && kind != GrowSet {
		for range 1 + w.rng.IntN(3) {
			path = append(path, w.key())
		}
	}
	var delta *State
	var err error
	v := w.value()
	on := w.rng.IntN(2) == 0
	switch kind {
	case Register:
		delta, err = s.Write(by, v)
	case MultiValue:
		delta, err = s.Assign(by, v, path...)
	case Flag, OffFlag:
		delta, err = s.Switch(by, kind, on, path...)
	case Counter:
		if w.rng.IntN(4) == 0 {
			delta, err = s.Reset(by, path...)
		} else {
			delta, err = s.Increment(by, int64(w.rng.IntN(9)-4), path...)
		}
	case GrowSet:
		delta, err = s.Grow(by, v, w.value())
	case Set:
		if on {
			delta, err = s.Add(by, [][]byte{v, w.value()}, path...)
		} else {
			delta, err = s.Discard(by, [][]byte{v, w.value()}, path...)
		}
	case Log:
		delta, err = s.Append(by, v, path...)
	case Cell:
		delta, err = s.Put(by, v, path...)
	case Text:
		delta, err = s.Type(by, fmt.Appendf(nil, "text %d", w.rng.IntN(1000)), path...)
	case Map:
		delta, err = s.Delete(by, func(_ uint64, parts []Part) ([]byte, error) {
			return fmt.Appendf(nil, "wipe %d", len(parts)), nil
		}, path...)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.model.note(r, s, delta)
	w.deltas = append(w.deltas, delta)
	s.Join(delta)
	return delta
}

// deliver joins a delta that somebody made at a replica.
func (w *world) deliver() {
	r, i := w.rng.IntN(len(w.replicas)), w.rng.IntN(len(w.deltas))
	w.replicas[r].Join(w.deltas[i])
	w.model.replicas[r][i] = true
}

func (w *world) run(t testing.TB, steps int) {
	for range steps {
		if len(w.deltas) == 0 || w.rng.IntN(3) > 0 {
			w.change(t, w.rng.IntN(len(w.replicas)))
		} else {
			w.deliver()
		}
	}
}

// some is the join of a random part of the deltas: what a replica may hold,
// gaps and all.
func (w *world) some() *State {
	s := new(State)
	for _, d := range w.deltas {
		if w.rng.IntN(2) == 0 {
			s.Join(d)
		}
	}
	return s
}

func joined(a, b *State) *State {
	c := a.Clone()
	c.Join(b)
	return c
}

func enc(s *State) []byte { return s.AppendTo(nil) }

func equal(t testing.TB, what string, a, b *State) {
	t.Helper()
	if x, y := enc(a), enc(b); !bytes.Equal(x, y) {
		t.Fatalf("%s:\n%x\n%x", what, x, y)
	}
}

var types = []struct {
	name  string
	kinds []Kind
}{
	{"register", []Kind{Register}},
	{"multi-value", []Kind{MultiValue}},
	{"flag", []Kind{Flag}},
	{"off-flag", []Kind{OffFlag}},
	{"counter", []Kind{Counter}},
	{"grow-set", []Kind{GrowSet}},
	{"set", []Kind{Set}},
	{"log", []Kind{Log}},
	{"text", []Kind{Text}},
	{"map of cells", []Kind{Map, Cell, Cell, Cell}},
	{"map of all", []Kind{Map, MultiValue, Flag, OffFlag, Counter, Set, Log, Cell, Text}},
	{"several at one path", []Kind{Register, MultiValue, Counter, GrowSet, Set, Log}},
}

func forEach(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, c := range types {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(*cases) {
				w := newWorld(seed, c.kinds...)
				fn(t, w)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func TestLawsOfJoin(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 12)
		a, b, c := w.some(), w.some(), w.some()
		before := enc(b)
		equal(t, "a and b, b and a", joined(a, b), joined(b, a))
		equal(t, "(a and b) and c, a and (b and c)", joined(joined(a, b), c), joined(a, joined(b, c)))
		equal(t, "a and a, a", joined(a, a.Clone()), a)
		equal(t, "a and b and b, a and b", joined(joined(a, b), b), joined(a, b))
		if !bytes.Equal(enc(b), before) {
			t.Fatal("a join changed what was joined")
		}
	})
}

func TestADeltaMakesTheChangeEverywhere(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 10)
		r := w.rng.IntN(len(w.replicas))
		before := w.replicas[r].Clone()
		delta := w.change(t, r)
		back, err := DecodeState(enc(delta))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "the state with the delta, and what the mutator made", joined(before, back), w.replicas[r])
	})
}

func TestFoldsSayWhatTheirDeltasSay(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 16)
		all := JoinAll(w.deltas...)
		var mixed []*State
		for r := range w.replicas {
			var own []*State
			for i, d := range w.deltas {
				if w.model.ops[i].by == r {
					own = append(own, d)
				}
			}
			fold := JoinAll(own...)
			mixed = append(mixed, fold)
			for _, d := range own { // some of them beside the fold, as before a sweep
				if w.rng.IntN(3) == 0 {
					mixed = append(mixed, d)
				}
			}
			parts := fold.Split(300)
			w.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			equal(t, "a fold and its parts", JoinAll(parts...), fold)
		}
		w.rng.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		equal(t, "folds, and deltas", JoinAll(mixed...), all)
	})
}

func TestRemovalsAreAdoptedAndForgotten(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 24)
		all := JoinAll(w.deltas...)
		folds := make([]*State, len(w.replicas))
		for i := range folds {
			folds[i] = new(State)
		}
		for i, d := range w.deltas {
			folds[w.model.ops[i].by].Join(d)
		}
		for range 4 {
			f := folds[w.rng.IntN(len(folds))]
			size := len(enc(f))
			f.Adopt(all.Removed())
			var known Context
			for _, o := range folds {
				if o != f {
					known.Join(o.Removed())
				}
			}
			for _, lane := range known.Lanes() { // each forgets what the lane's own author has removed
				owner := folds[lane-1]
				if owner == f {
					continue
				}
				var theirs Context
				for _, s := range owner.Removed().Spans(lane) {
					theirs.Add(lane, s.First, s.Last)
				}
				f.Forget(theirs)
			}
			equal(t, "all, after folding", JoinAll(folds...), all)
			if now := len(enc(f)); now > size+40 {
				t.Fatalf("folding grew %d bytes to %d", size, now)
			}
		}
	})
}

func TestStatesHaveOneEncoding(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 10)
		for _, s := range []*State{w.some(), w.replicas[0]} {
			b := enc(s)
			back, err := DecodeState(b)
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			equal(t, "decoded, and encoded", back, s)
			for range 4 { // one wrong byte: refused, or another state
				bad := bytes.Clone(b)
				bad[w.rng.IntN(len(bad))] ^= byte(1 + w.rng.IntN(255))
				if s, err := DecodeState(bad); err == nil && !bytes.Equal(enc(s), bad) {
					t.Fatalf("%x decodes, and encodes as %x", bad, enc(s))
				} else if err != nil && !errors.Is(err, ErrState) {
					t.Fatal(err)
				}
			}
		}
	})
}

func FuzzStateHasOneEncoding(f *testing.F) {
	for i, c := range types {
		w := newWorld(uint64(i), c.kinds...)
		w.run(f, 12)
		f.Add(enc(w.replicas[0]))
		f.Add(enc(w.deltas[0]))
	}
	mine := newWorld(3, types[10].kinds...)
	mine.run(f, 12)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			return
		}
		if !bytes.Equal(enc(s), b) {
			t.Fatalf("%x decodes, and encodes as %x", b, enc(s))
		}
		a := mine.replicas[0]
		equal(t, "a hostile state in either order", joined(a, s), joined(s, a))
		equal(t, "a hostile state twice", joined(joined(a, s), s), joined(a, s))
		for _, kind := range s.Kinds() {
			s.Read(kind)
		}
		equal(t, "a hostile state and its parts", JoinAll(s.Split(1024)...), s)
	})
}
