package sketch

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

var sessions = flag.Int("sessions", 300, "differences of each size to decode for the curve")

// TestDecodeFailureCurve finds, for differences of each size, with how many
// cells they decode. With -sessions 100000 it prints the table of
// docs/sketch.md, in about an hour of one core.
func TestDecodeFailureCurve(t *testing.T) {
	t.Logf("cells per item, without the tail: half, 90 %%, 99 %%, 99.9 %% of all differences decode; at CellsFor: fail, fail with the tail too")
	for _, n := range []int{10, 30, 100, 300, 1000, 3000, 10_000, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { curveOf(t, n) })
	}
}

func curveOf(t *testing.T, n int) {
	runs := *sessions
	if n == 100_000 {
		runs = min(runs, 1000)
	}
	if *sessions < 1000 {
		runs = max(2, min(runs, 100_000/n))
	}
	thresholds := make([]int, runs)
	failed, both := make([]bool, runs), make([]bool, runs)
	var work sync.WaitGroup
	for part := range 2 {
		work.Go(func() {
			for i := part; i < runs; i += 2 {
				thresholds[i], failed[i], both[i] = threshold(rand.New(rand.NewPCG(uint64(n), uint64(i))), n)
			}
		})
	}
	work.Wait()
	slices.Sort(thresholds)
	at := func(p float64) float64 { return float64(thresholds[int(p*float64(runs-1)+0.5)]) / float64(n) }
	share := func(b []bool) float64 {
		k := 0
		for _, x := range b {
			if x {
				k++
			}
		}
		return float64(k) / float64(runs)
	}
	t.Logf("| %d | %d | %.3f | %.3f | %.3f | %.3f | %d | %.3f %% | %.3f %% |", n, runs, at(.5), at(.9), at(.99), at(.999), CellsFor(n), 100*share(failed), 100*share(both))
	if got := 1 - share(failed); runs >= 50 && got < 0.8 {
		t.Errorf("%d items: only %.0f %% decode with CellsFor", n, 100*got)
	}
}

// threshold is the number of cells with which a random difference decodes,
// to a hundredth of its size, and whether CellsFor is too few, without the
// tail and with it.
func threshold(r *rand.Rand, n int) (cells int, failed, both bool) {
	most := 3*n + 100
	s := New(most)
	for i := range n {
		s.apply(random(r), []Cell{one, minusOne}[i%2])
	}
	at := CellsFor(n)
	d := NewDecoder(slices.Clone(s.cells[:at]))
	if failed = !d.Decode(); failed {
		d.Tail(s.tail)
		both = !d.Decode()
	}
	step := max(1, n/100)
	at = n
	d = NewDecoder(slices.Clone(s.cells[:at]))
	for !d.Decode() && at < most {
		to := min(most, at+step)
		d.Extend(slices.Clone(s.cells[at:to]))
		at = to
	}
	return at, failed, both
}
