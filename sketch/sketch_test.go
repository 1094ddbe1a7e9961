package sketch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func random(r *rand.Rand) Symbol { return Symbol(r.Uint64() >> 16) }

// difference is the sketch of n symbols, about half of them subtracted.
func difference(r *rand.Rand, n, cells int) (s *Sketch, ours, theirs []Symbol) {
	s = New(cells)
	seen := map[Symbol]bool{}
	for len(seen) < n {
		y := random(r)
		switch {
		case seen[y]:
		case r.IntN(2) == 0:
			s.Add(y)
			ours = append(ours, y)
		default:
			s.Remove(y)
			theirs = append(theirs, y)
		}
		seen[y] = true
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	return s, ours, theirs
}

func same(t interface{ Fatalf(string, ...any) }, d *Decoder, ours, theirs []Symbol) {
	o, th := d.Found()
	if !slices.Equal(o, ours) || !slices.Equal(th, theirs) {
		t.Fatalf("found %d and %d, want %d and %d", len(o), len(th), len(ours), len(theirs))
	}
}

// TestWhatDecodesIsExact draws differences of all sizes and feeds the cells
// in pieces: once the decoder says that nothing is left, it has found the
// difference and nothing else.
func TestWhatDecodesIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n := rapid.OneOf(rapid.IntRange(0, 12), rapid.IntRange(0, 3000)).Draw(t, "difference")
		s, ours, theirs := difference(r, n, 3*n+200)
		at := rapid.IntRange(0, n+1).Draw(t, "cells at first")
		d := NewDecoder(slices.Clone(s.cells[:at]))
		tail := rapid.Bool().Draw(t, "tail")
		for !d.Decode() {
			if at == len(s.cells) {
				t.Fatalf("%d cells do not decode %d", at, n)
			}
			to := min(len(s.cells), at+rapid.IntRange(1, n+1).Draw(t, "more"))
			d.Extend(slices.Clone(s.cells[at:to]))
			at = to
			if tail {
				d.Tail(s.tail)
				tail = false
			}
		}
		if !d.Sure() || d.Left() != 0 {
			t.Fatalf("decoded, sure %v, %d left", d.Sure(), d.Left())
		}
		if at > 0 || n == 0 {
			same(t, d, ours, theirs)
		}
	})
}

// TestSketchesAreLinear compares subtracting with sketching the difference,
// and un-applying with never having applied.
func TestSketchesAreLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		cells := rapid.IntRange(0, 300).Draw(t, "cells")
		a, b, diff := New(cells), New(cells), New(cells)
		for range rapid.IntRange(0, 50).Draw(t, "items") {
			y := random(r)
			in := r.IntN(3)
			if in != 1 {
				a.Add(y)
			}
			if in != 0 {
				b.Add(y)
			}
			if in == 0 {
				diff.Add(y)
			}
			if in == 1 {
				diff.Remove(y)
			}
		}
		before := a.Clone(cells)
		later := random(r)
		a.Add(later)
		a.Remove(later)
		if !slices.Equal(a.cells, before.cells) || a.tail != before.tail || a.buckets != before.buckets {
			t.Fatal("what was added and removed is still there")
		}
		if got := a.Minus(b.cells, 0); !slices.Equal(got, diff.cells) {
			t.Fatal("Minus is not the sketch of the difference")
		}
		if a.MinusTail(b.tail) != diff.tail {
			t.Fatal("MinusTail is not the tail of the difference")
		}
		thin := a.MinusThin(thinOf(b), 0)
		if !slices.Equal(thin, thinOf(diff)) {
			t.Fatal("MinusThin is not the thin sketch of the difference")
		}
		a.Subtract(b)
		if !slices.Equal(a.cells, diff.cells) || a.tail != diff.tail || a.buckets != diff.buckets {
			t.Fatal("Subtract is not the sketch of the difference")
		}
		back, err := ParseCells(a.AppendCells(nil, 0, cells))
		if err != nil || !slices.Equal(back, a.cells) {
			t.Fatalf("cells do not survive the wire: %v", err)
		}
	})
}

func thinOf(s *Sketch) []ThinCell {
	cells, err := ParseThin(s.AppendThin(nil, 0, s.Len()))
	if err != nil {
		panic(err)
	}
	return cells
}

// TestManyAtOnceIsEachOfThem adds and removes many items at once and one by
// one.
func TestManyAtOnceIsEachOfThem(t *testing.T) {
	r := rand.New(rand.NewPCG(16, 16))
	for range 300 {
		cells := r.IntN(3000)
		one, all := New(cells), New(cells)
		ys := make([]Symbol, r.IntN(500))
		for i := range ys {
			ys[i] = random(r)
			one.Add(ys[i])
		}
		all.AddAll(ys)
		if !one.Equal(all) {
			t.Fatalf("%d symbols in %d cells: AddAll is not Add of each", len(ys), cells)
		}
		for _, y := range ys[:len(ys)/2] {
			one.Remove(y)
		}
		all.RemoveAll(ys[:len(ys)/2])
		if !one.Equal(all) {
			t.Fatalf("%d symbols in %d cells: RemoveAll is not Remove of each", len(ys), cells)
		}
	}
}

// TestTheWalkIsTheTwins compares cells and tail with a walk in big numbers.
func TestTheWalkIsTheTwins(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for i := range 1500 {
		y := random(r)
		n := 1 << (i % 25)
		w := begin(y)
		if got, want := w.until(n, nil), twinWalk(y, n); !slices.Equal(got, want) {
			t.Fatalf("symbol %012x: cells %v, want %v", y, got, want)
		}
	}
}

// TestAWalkGoesOnWhereItStood cuts walks anywhere.
func TestAWalkGoesOnWhereItStood(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 5000 {
		y, n := random(r), 1+r.IntN(1<<17)
		whole, parts := begin(y), begin(y)
		want := whole.until(n, nil)
		got := parts.until(n, parts.until(r.IntN(n+1), nil))
		if !slices.Equal(got, want) {
			t.Fatalf("symbol %012x: cells %v, want %v", y, got, want)
		}
	}
}

// TestDensitiesAreAsSaid counts in how many cells items lie.
func TestDensitiesAreAsSaid(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const items = 200_000
	counts := make([]int, 1000)
	for range items {
		w := begin(random(r))
		for _, i := range w.until(len(counts), nil) {
			counts[i]++
		}
	}
	for _, i := range []int{0, 1, 2, 5, 10, 30, 100, 300, 999} {
		want := share(float64(i)) * items
		if got := float64(counts[i]); got < 0.9*want || got > 1.1*want {
			t.Errorf("cell %d: %.0f items, expected %.0f", i, got, want)
		}
	}
}

// TestEqualSymbolsStopNobodyElse puts pairs that share a symbol into the
// difference, on one side or on both: everything else is found.
func TestEqualSymbolsStopNobodyElse(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, pairs := range []int{1, 20, 500} {
		s, ours, theirs := difference(r, 1000, 1400)
		for i := range pairs {
			y := random(r)
			s.Add(y)
			if i%2 == 0 {
				s.Add(y) // and not Remove: two in one set
			} else {
				s.Remove(y)
			}
		}
		d := NewDecoder(slices.Clone(s.cells))
		if !d.Decode() {
			t.Fatalf("%d pairs stop the decoder", pairs)
		}
		if d.Sure() {
			t.Errorf("%d pairs, and it is sure", pairs)
		}
		o, th := d.Found()
		all, want := slices.Concat(o, th), slices.Concat(ours, theirs)
		slices.Sort(all)
		slices.Sort(want)
		if !slices.Equal(all, want) {
			t.Errorf("%d pairs: found %d, want %d", pairs, len(all), len(want))
		}
	}
}

// TestPatternPairsCostThemselvesOnly looks for pairs of symbols that share
// all of the first cells, as somebody would who wants to stop decoders, and
// puts them beside honest items: those are found.
func TestPatternPairsCostThemselvesOnly(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	const m = 160
	pattern := map[string]Symbol{}
	var pairs []Symbol
	for len(pairs) < 40 {
		y := random(r)
		w := begin(y)
		var key []byte
		for _, i := range w.until(m, nil) {
			key = append(key, byte(i))
		}
		if z, ok := pattern[string(key)]; ok {
			pairs = append(pairs, y, z)
			delete(pattern, string(key))
		} else {
			pattern[string(key)] = y
		}
	}
	honest, found := 0, 0
	for range 200 {
		s, ours, theirs := difference(r, 60, m)
		for _, y := range pairs[:20] {
			s.Add(y)
		}
		d := NewDecoder(slices.Clone(s.cells))
		if d.Decode() {
			t.Fatal("pairs that share all cells were told apart")
		}
		o, th := d.Found()
		honest += len(ours) + len(theirs)
		for _, y := range slices.Concat(ours, theirs) {
			if slices.Contains(o, y) || slices.Contains(th, y) {
				found++
			}
		}
	}
	if found*100 < honest*95 {
		t.Errorf("%d of %d honest items found beside the pairs", found, honest)
	}
}

// TestBogusCellsEndWithinTheBound decodes noise.
func TestBogusCellsEndWithinTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 300 {
		cells := make([]Cell, 1+r.IntN(300))
		for i := range cells {
			y := random(r)
			switch r.IntN(3) {
			case 0:
				cells[i] = Cell(r.Uint64())
			case 1: // pure, and a lie
				cells[i] = Cell(wordOf(y, seedOf(y))) | one
			}
		}
		d := NewDecoder(slices.Clone(cells))
		d.Decode()
		if n := len(d.walks); n > 2*len(cells)+TailCells {
			t.Fatalf("%d items out of %d cells", n, len(cells))
		}
	}
}

// TestTheTailEndsMostOfTheRest counts differences that stop, and how many go
// on with the tail.
func TestTheTailEndsMostOfTheRest(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	stopped, ended := 0, 0
	for range 300 {
		s, _, _ := difference(r, 300, 480)
		d := NewDecoder(slices.Clone(s.cells))
		if d.Decode() {
			continue
		}
		stopped++
		d.Tail(s.tail)
		if d.Decode() {
			ended++
		}
	}
	if stopped == 0 || ended*10 < stopped*8 {
		t.Errorf("of %d that stopped %d were ended by the tail", stopped, ended)
	}
}

// TestThinCellsFindWhatOnlyWeHave takes a subset's thin cells from its
// superset's, alone and with foreign items in the subset.
func TestThinCellsFindWhatOnlyWeHave(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	for _, foreign := range []int{0, 3} {
		held := map[uint32][]Symbol{}
		const more = 2000
		full, part := New(more*6/5), New(more*6/5)
		var want []Symbol
		for i := range 50_000 {
			y := random(r)
			held[y.ThinPrefix()] = append(held[y.ThinPrefix()], y)
			full.Add(y)
			if i < more {
				want = append(want, y)
			} else {
				part.Add(y)
			}
		}
		for range foreign {
			part.Add(random(r))
		}
		d := NewThinDecoder(full.MinusThin(thinOf(part), 0), func(p uint32) ([]Symbol, error) { return held[p], nil })
		done, err := d.Decode()
		if err != nil || done != (foreign == 0) {
			t.Fatalf("%d foreign: done %v, %v", foreign, done, err)
		}
		slices.Sort(want)
		got := d.Found()
		if foreign == 0 && !slices.Equal(got, want) || len(got)*100 < 97*len(want) {
			t.Errorf("%d foreign: found %d of %d", foreign, len(got), len(want))
		}
		for _, y := range got {
			if _, ok := slices.BinarySearch(want, y); !ok && foreign == 0 {
				t.Errorf("found %012x, which both have", y)
			}
		}
	}
	broken := errors.New("disk")
	d := NewThinDecoder([]ThinCell{thinOne, thinOne, thinOne}, func(uint32) ([]Symbol, error) { return nil, broken })
	if _, err := d.Decode(); !errors.Is(err, broken) {
		t.Errorf("a failing lookup gives %v", err)
	}
}

// TestTheTailKeepsStep gives the tail to decoders that stopped for want of
// cells, and then the cells: what is taken out of these is out of the tail.
func TestTheTailKeepsStep(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 17))
	for _, n := range []int{40, 300, 2000} {
		for range 20 {
			s, ours, theirs := difference(r, n, 3*n)
			d := NewDecoder(slices.Clone(s.cells[:n]))
			if d.Decode() {
				t.Fatalf("%d items out of as many cells", n)
			}
			d.Tail(s.tail)
			d.Decode()
			d.Extend(slices.Clone(s.cells[n:]))
			if !d.Decode() {
				t.Fatalf("%d items, thrice as many cells and the tail do not decode", n)
			}
			same(t, d, ours, theirs)
			if [TailCells]Cell(d.tail) != [TailCells]Cell{} {
				t.Fatal("all is out, but not out of the tail")
			}
		}
	}
}

// TestTheTailEndsThinCellsToo takes subsets from their supersets with thin
// cells that may be too few by chance: what few items are left then share all
// cells, and the tail tells them apart.
func TestTheTailEndsThinCellsToo(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 15))
	stopped, ended := 0, 0
	for range 400 {
		held := map[uint32][]Symbol{}
		const more = 400
		s := New(CellsFor(more))
		var want []Symbol
		for range more {
			y := random(r)
			held[y.ThinPrefix()] = append(held[y.ThinPrefix()], y)
			s.Add(y)
			want = append(want, y)
		}
		d := NewThinDecoder(thinOf(s), func(p uint32) ([]Symbol, error) { return held[p], nil })
		if done, err := d.Decode(); done || err != nil || more-len(d.Found()) > 8 {
			continue
		}
		stopped++
		d.Tail(s.tail)
		done, err := d.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if done {
			ended++
			if slices.Sort(want); !slices.Equal(d.Found(), want) {
				t.Fatalf("done, and found %d of %d", len(d.Found()), more)
			}
		}
	}
	t.Logf("of %d that stopped %d were ended by the tail", stopped, ended)
	if stopped == 0 || ended*10 < stopped*9 {
		t.Errorf("of %d that stopped %d were ended by the tail", stopped, ended)
	}
}

// TestTheEstimatorIsRight demands a fifth, nine times in ten, and no bias to
// speak of.
func TestTheEstimatorIsRight(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	for _, n := range []int{0, 1, 10, 30, 100, 300, 1000, 10_000, 100_000} {
		runs, within := 200, 0
		sum := 0.0
		if n > 10_000 {
			runs = 30
		}
		for range runs {
			s := New(0)
			for i := range n {
				s.apply(random(r), []Cell{one, minusOne}[i%2])
			}
			var zero Estimator
			got := float64(s.buckets.Difference(&zero))
			sum += got
			if got >= 0.75*float64(n) && got <= 1.25*float64(n) {
				within++
			}
		}
		mean := sum / float64(runs)
		t.Logf("%d items: mean estimate %.0f, %d of %d within a quarter", n, mean, within, runs)
		if n >= 100 && within*10 < runs*8 || mean < 0.85*float64(n) || mean > 1.15*float64(n) {
			t.Errorf("%d items: mean estimate %.0f, %d of %d within a quarter", n, mean, within, runs)
		}
	}
}

// TestASkewedEstimatorStaysSmall fills one bucket on purpose.
func TestASkewedEstimatorStaysSmall(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 12))
	s := New(0)
	for n := 0; n < 100; {
		y := random(r)
		var e Estimator
		if e.apply(seedOf(y), one); e[5] == 1 {
			s.Add(y)
			n++
		}
	}
	for range 200 {
		s.Add(random(r))
	}
	var zero Estimator
	if got := s.buckets.Difference(&zero); got > 400 {
		t.Errorf("100 items in one bucket and 200 others are taken for %d", got)
	}
}

// TestLeftFollowsTheDifference asks decoders that have too few cells.
func TestLeftFollowsTheDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 13))
	for _, n := range []int{100, 1000, 10_000} {
		s, _, _ := difference(r, n, n)
		if got := NewDecoder(s.cells).Left(); got < n*85/100 || got > n*115/100 {
			t.Errorf("%d items look like %d", n, got)
		}
	}
}

func TestCellsForGrows(t *testing.T) {
	last := 0
	for n := 1; n < 2_000_000; n += 1 + n/50 {
		got := CellsFor(n)
		if got < last || got < n {
			t.Fatalf("%d cells for %d items, %d for fewer", got, n, last)
		}
		last = got
	}
	if CellsFor(0) != 0 {
		t.Error("cells for nothing")
	}
}

func TestNamesSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		universe := rapid.Uint64Range(1, 1<<60).Draw(t, "universe")
		names := rapid.SliceOfN(rapid.Uint64Range(0, universe-1), 0, 300).Draw(t, "names")
		slices.Sort(names)
		b := AppendNames(nil, names, universe)
		got, err := ParseNames(b, universe, len(names))
		if err != nil || !slices.Equal(got, names) {
			t.Fatalf("%v, want %v: %v", got, names, err)
		}
		if _, err := ParseNames(append(b, 0), universe, len(names)); !errors.Is(err, ErrNames) {
			t.Fatalf("a byte more: %v", err)
		}
		if len(names) > 0 {
			if _, err := ParseNames(b[:len(b)-1], universe, len(names)); !errors.Is(err, ErrNames) {
				t.Fatalf("a byte less: %v", err)
			}
			if _, err := ParseNames(b, universe, len(names)-1); !errors.Is(err, ErrNames) {
				t.Fatalf("one too many: %v", err)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	s := New(1 << 17)
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		s.Add(random(r))
	}
}

func BenchmarkAddAll(b *testing.B) {
	s := New(1 << 17)
	r := rand.New(rand.NewPCG(1, 2))
	ys := make([]Symbol, 1024)
	for b.Loop() {
		for i := range ys {
			ys[i] = random(r)
		}
		s.AddAll(ys)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/item")
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sketches := make([]*Sketch, max(1, min(50, 100_000/n))) // else a processor learns the one
			for i := range sketches {
				sketches[i], _, _ = difference(rand.New(rand.NewPCG(1, uint64(i))), n, CellsFor(n)*21/20+50)
			}
			k := 0
			for b.Loop() {
				s := sketches[k%len(sketches)]
				k++
				d := NewDecoder(slices.Clone(s.cells))
				d.Decode() // in nineteen cases of twenty
				d.Found()
			}
		})
	}
}
