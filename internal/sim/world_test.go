package sim

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "run this one seed and say what happens")
	sizeFlag   = flag.Int("size", 5, "replicas in that one world, and in those of -worlds")
	worldsFlag = flag.Int("worlds", 0, "run so many worlds of -size replicas, beginning at seed -from")
	firstFlag  = flag.Bool("first", false, "stop at the first world that is broken")
	fromFlag   = flag.Uint64("from", 1, "the first of them")
)

// batch is worlds of one size.
type batch struct {
	size, worlds int
	from         uint64
}

// suite is what go test runs.
var suite = []batch{{5, 500, 1}, {16, 50, 1}, {64, 2, 1}}

// tally is what many worlds came to.
type tally struct {
	mu     sync.Mutex
	points map[string]int
	steps  int
	worlds int
	named  map[Malice][2]int // liars of a kind: how many, and how many of them were named
}

func (y *tally) add(p Plan, out Outcome) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for k, v := range out.Points {
		y.points[k] += v
	}
	for _, i := range out.Liars {
		n := y.named[p.role(i).Malice]
		n[0]++
		if slices.Contains(out.Named, i) {
			n[1]++
		}
		y.named[p.role(i).Malice] = n
	}
	y.steps += out.Steps
	y.worlds++
}

// worlds runs batches on every core and fails the test for each world that
// is broken.
func worlds(t *testing.T, batches []batch) *tally {
	t.Helper()
	y := &tally{points: map[string]int{}, named: map[Malice][2]int{}}
	type job struct {
		seed uint64
		size int
	}
	jobs := make(chan job)
	var broken atomic.Bool
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				p := Generate(j.seed, j.size)
				out := Run(p, nil)
				y.add(p, out)
				if out.Broken != nil {
					if *firstFlag {
						t.Logf("world %d of the batch", y.worlds)
						broken.Store(true)
					}
					t.Errorf("%v\nreplay: go test ./internal/sim -run TestWorld -v -seed %d -size %d", out.Broken, j.seed, j.size)
				}
			}
		})
	}
	for _, b := range slices.Backward(batches) { // the large ones first: they take longest
		for i := range b.worlds {
			if broken.Load() {
				break
			}
			jobs <- job{b.from + uint64(i), b.size}
		}
	}
	close(jobs)
	workers.Wait()
	return y
}

// TestWorlds: every checker holds in worlds full of faults.
func TestWorlds(t *testing.T) {
	switch {
	case *seedFlag != 0:
		out := Run(Generate(*seedFlag, *sizeFlag), func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
		t.Logf("%+v", out)
		if out.Broken != nil {
			t.Errorf("%v\n%v", out.Broken, Generate(*seedFlag, *sizeFlag))
		}
		return
	case *worldsFlag > 0:
		worlds(t, []batch{{*sizeFlag, *worldsFlag, *fromFlag}}).report(t)
		return
	case testing.Short():
		worlds(t, []batch{{5, 40, 1}})
		return
	}
	y := worlds(t, suite)
	y.report(t)
	for _, point := range rare {
		if y.points[point] == 0 {
			t.Errorf("never: %s", point)
		}
	}
	// Whoever withholds or equivocates says nothing that is false.
	for _, kind := range []Malice{Forging, Truncating, Lying, Flooding} {
		if n := y.named[kind]; n[1] < n[0]*9/10 || n[0] == 0 {
			t.Errorf("of %d %s replicas %d were named", n[0], kind, n[1])
		}
	}
}

func (y *tally) report(t *testing.T) {
	t.Logf("%d steps", y.steps)
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(y.points)) {
		lines = append(lines, fmt.Sprintf("%8d %s", y.points[k], k))
	}
	t.Logf("points reached:\n%s", strings.Join(lines, "\n"))
	for _, k := range slices.Sorted(maps.Keys(y.named)) {
		t.Logf("%s: %d, named %d", k, y.named[k][0], y.named[k][1])
	}
}

// rare are the paths that the suite must reach.
var rare = []string{
	"durable and never acknowledged", "lost before it was durable",
	"a restored backup", "a cloned home", "a replica that joined", "a revocation",
	"a rumor that is wrong for everyone", "a rumor whose author is unknown here",
	"a rumor that could not be committed", "a rumor that was dead already",
	"a large record that came by a session",
	"a session by ranges", "a session by ranges, without plans", "a session in bulk", "a session of equals", "a session that was cut",
	"a session that was refused", "a session that fell silent", "a session that exchanged control records",
	"a session on a disk that refuses", "roots that differ after a session",
	"a write on a full disk", "a write that is not authorised",
	"a connection that fell silent", "superfluous versions swept", "an entry removed", "a deleted document",
	"a change of /docs/set", "a change of /docs/map", "a change of /docs/count", "a change of /docs/flag", "a change of /docs/log",
	"a change of /docs/text", "a fold", "a fold's sweep", "a fold of a text", "a fold of a text that drops what is dead",
	"a sealed set that is the model's", "a forged rumor", "a forged record in a session", "a frame cut short", "a frame replayed",
	"a frame that arrived twice", "a frame that arrived out of order",
	"a rumor withheld", "a session that withholds", "a lie about a root", "a flood",
	"two records under one number", "a rage delete",
	"an answer that was checked", "an answer of a replica that was behind",
	"a liar named: it signed two stories", "a liar named: it withheld a record", "a liar named: it answered from an older set",
	"named for invalid", "named for malformed", "named for flood", "named for broken",
}

// TestAWorldReplaysExactly: a seed gives the same trace at any GOMAXPROCS,
// and beside thirty-nine others like it.
func TestAWorldReplaysExactly(t *testing.T) {
	seeds := []struct {
		seed uint64
		size int
	}{{1, 5}, {2, 5}, {3, 5}, {7, 16}}
	want := make([]uint64, len(seeds))
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	for i, s := range seeds {
		want[i] = Run(Generate(s.seed, s.size), nil).Trace
	}
	if want[0] == want[1] {
		t.Error("another seed gives the same trace")
	}
	runtime.GOMAXPROCS(2)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			s := seeds[i%len(seeds)]
			if got := Run(Generate(s.seed, s.size), nil).Trace; got != want[i%len(seeds)] {
				t.Errorf("seed %d, %d replicas: trace %016x, want %016x", s.seed, s.size, got, want[i%len(seeds)])
			}
		})
	}
	all.Wait()
}
