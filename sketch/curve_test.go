package sketch

import (
	"bufio"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
)

var (
	sessions = flag.Int("sessions", 300, "differences of each size to decode for the curve")
	kept     = flag.String("kept", "", "folder of what was measured so far, a file for each size: it is not measured again, and what is measured is added")
)

// TestDecodeFailureCurve finds, for differences of each size, with how many
// cells they decode. With -sessions 100000 it prints the table of
// docs/sketch.md, in some hours of one core; with -kept it may be interrupted,
// and goes on with what is missing the next time.
func TestDecodeFailureCurve(t *testing.T) {
	t.Logf("cells per item, without the tail: half, 90 %%, 99 %%, 99.9 %% of all differences decode; at CellsFor: fail, fail with the tail too")
	for _, n := range []int{10, 30, 100, 300, 1000, 3000, 10_000, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { curveOf(t, n) })
	}
}

// decoded is what came of one difference.
type decoded struct {
	cells        int  // with which it decodes
	failed, both bool // with those of CellsFor, and with the tail too
}

func curveOf(t *testing.T, n int) {
	runs := *sessions
	if n == 100_000 {
		runs = min(runs, 1000)
	}
	if *sessions < 1000 {
		runs = max(2, min(runs, 100_000/n))
	}
	out := make([]decoded, runs)
	known := make([]bool, runs)
	var add *os.File
	if *kept != "" {
		var err error
		if add, err = os.OpenFile(filepath.Join(*kept, fmt.Sprint(n)), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644); err != nil {
			t.Fatal(err)
		}
		defer add.Close()
		for lines := bufio.NewScanner(add); lines.Scan(); {
			var i int
			var x decoded
			if k, err := fmt.Sscan(lines.Text(), &i, &x.cells, &x.failed, &x.both); err == nil && k == 4 && i < runs {
				out[i], known[i] = x, true
			}
		}
	}
	var work sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for part := range workers {
		work.Go(func() {
			for i := part; i < runs; i += workers {
				if known[i] {
					continue
				}
				out[i] = threshold(rand.New(rand.NewPCG(uint64(n), uint64(i))), n)
				if add != nil {
					fmt.Fprintf(add, "%d %d %v %v\n", i, out[i].cells, out[i].failed, out[i].both)
				}
			}
		})
	}
	work.Wait()
	slices.SortFunc(out, func(a, b decoded) int { return a.cells - b.cells })
	at := func(p float64) float64 { return float64(out[int(p*float64(runs-1)+0.5)].cells) / float64(n) }
	share := func(is func(decoded) bool) float64 {
		k := 0
		for _, x := range out {
			k += number(is(x))
		}
		return float64(k) / float64(runs)
	}
	failed := share(func(x decoded) bool { return x.failed })
	both := share(func(x decoded) bool { return x.both })
	t.Logf("| %d | %d | %.3f | %.3f | %.3f | %.3f | %d | %.3f %% | %.3f %% |", n, runs, at(.5), at(.9), at(.99), at(.999), CellsFor(n), 100*failed, 100*both)
	if runs >= 50 && failed > 0.2 {
		t.Errorf("%d items: only %.0f %% decode with CellsFor", n, 100*(1-failed))
	}
}

// threshold is the number of cells with which a random difference decodes,
// to a hundredth of its size, and whether CellsFor is too few, without the
// tail and with it.
func threshold(r *rand.Rand, n int) (x decoded) {
	most := 3*n + 100
	s := New(most)
	var ours, theirs []Symbol
	for i := range n {
		if y := random(r); i%2 == 0 {
			ours = append(ours, y)
		} else {
			theirs = append(theirs, y)
		}
	}
	s.AddAll(ours)
	s.RemoveAll(theirs)
	step, planned := max(1, n/100), CellsFor(n)
	x.cells = n
	d := NewDecoder(slices.Clone(s.cells[:n]))
	for !d.Decode() && x.cells < most {
		to := min(most, x.cells+step)
		if x.cells < planned && to > planned { // and then on in steps of n again
			d.Extend(slices.Clone(s.cells[x.cells:planned]))
			x.failed = !d.Decode()
			d.Extend(slices.Clone(s.cells[planned:to]))
		} else {
			d.Extend(slices.Clone(s.cells[x.cells:to]))
		}
		x.cells = to
	}
	if x.failed = x.failed || x.cells > planned+step; x.failed {
		d = NewDecoder(slices.Clone(s.cells[:planned]))
		if x.failed = !d.Decode(); x.failed {
			d.Tail(s.tail)
			x.both = !d.Decode()
		}
	}
	return x
}
