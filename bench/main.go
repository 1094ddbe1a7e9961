// Command bench runs the same reconciliations with package reconcile and
// with the other implementations in Go, checks every result against the
// definition, and writes a table and a chart. From the folder of this module:
//
//	go run . -out ../docs
//
// Times are CPU of the process, user and system, of both sides together and
// with garbage collection; medians. Building the sets is timed apart.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"anabranch/reconcile"
)

func main() {
	n := flag.Int("n", 1_000_000, "items")
	only := flag.String("only", "", "run only implementations whose names begin with one of these, separated by commas; the first column is run in any case")
	reps := flag.Int("reps", 7, "runs of each work; slow ones get fewer")
	others := flag.Bool("peers", true, "run the other implementations too")
	slow := flag.Bool("slow", false, "run also what takes a peer more than a minute")
	out := flag.String("out", "", "folder for the table and the chart; none: print the table")
	note := flag.String("note", "", "a remark for the report, on the machine say")
	flag.Parse()
	if err := run(*n, *reps, *others, *slow, *only, *out, *note); err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

// column is what one implementation took.
type column struct {
	name   string
	times  []time.Duration // by work; 0 is not run
	rounds []int
	wire   []int
	build  time.Duration
	memory float64 // bytes per item
}

func run(n, reps int, others, slow bool, only, out, note string) error {
	u := newUniverse(n)
	var deal deal
	engines := []engine{
		ours("sealed", false, reconcile.Reference),
		ours("sealed, balanced", false, reconcile.Balanced),
		ours("sealed, bandwidth", false, reconcile.Bandwidth),
		ours("sealed, latency", false, reconcile.Latency),
		ours("live", true, reconcile.Reference),
		ours("live, balanced", true, reconcile.Balanced),
	}
	if others {
		engines = append(engines, peers...)
	}
	if only != "" {
		engines = slices.DeleteFunc(engines, func(e engine) bool {
			return e.name != engines[0].name && !slices.ContainsFunc(strings.Split(only, ","), func(p string) bool { return strings.HasPrefix(e.name, p) })
		})
	}
	columns := make([]column, len(engines))
	for k, e := range engines {
		columns[k].name = e.name
		if k > 0 && engines[k-1].backend == e.backend {
			columns[k].build, columns[k].memory = columns[k-1].build, columns[k-1].memory
			continue
		}
		columns[k].build, columns[k].memory = building(e, u.items)
	}
	for i, w := range works {
		if w.differ > n/2 {
			works = works[:i]
			break
		}
		if i == 0 || w.differ != works[i-1].differ || w.recent != works[i-1].recent {
			deal = u.deal(w)
		}
		for k, e := range engines {
			c := &columns[k]
			var t time.Duration
			var r result
			if e.name != goNostr.name || w.frame == 0 || n < 1_000_000 || slow {
				var err error
				if t, r, err = measure(e, &deal, w, reps); err != nil {
					return fmt.Errorf("%s, %s: %w", e.name, w.name, err)
				}
				fmt.Fprintf(os.Stderr, "%-34s %-18s %10.3f ms %5d rounds %9d bytes\n", w.name, e.name, ms(t), r.rounds, r.wire)
			}
			c.times, c.rounds, c.wire = append(c.times, t), append(c.rounds, r.rounds), append(c.wire, r.wire)
		}
	}
	// Engines that split like the reference must have sent the same.
	for i, w := range works {
		for _, c := range columns {
			same := c.name == "live" || slices.ContainsFunc(peers, func(e engine) bool { return e.name == c.name })
			if same && c.times[i] > 0 && (c.wire[i] != columns[0].wire[i] || c.rounds[i] != columns[0].rounds[i]) {
				return fmt.Errorf("%s: %s sent %d bytes in %d rounds, ours %d in %d", w.name, c.name, c.wire[i], c.rounds[i], columns[0].wire[i], columns[0].rounds[i])
			}
		}
	}
	table := report(n, columns, single(u.items), note)
	if out == "" {
		fmt.Print(table)
		return nil
	}
	if err := os.WriteFile(filepath.Join(out, "reconcile-bench.md"), []byte(table), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "reconcile-bench.svg"), []byte(chart(n, columns)), 0o644)
}

// building times a set from items in random order, and its memory once the
// garbage is gone.
func building(e engine, items []reconcile.Item) (time.Duration, float64) {
	var times []time.Duration
	var memory float64
	for range 3 {
		before := heap()
		begin := cpu()
		set := e.build(items)
		times = append(times, cpu()-begin)
		memory = float64(heap()-before) / float64(len(items))
		runtime.KeepAlive(set)
	}
	return median(times), memory
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// enough is what one work of one implementation may take; it is done once
// in any case.
const enough = 2 * time.Second

// measure runs one work until its median is worth something.
func measure(e engine, d *deal, w work, reps int) (time.Duration, result, error) {
	a, b := d.sets(e)
	runtime.GC()
	var times []time.Duration
	var last result
	for spent := time.Duration(0); len(times) < reps && (len(times) == 0 || spent < enough); {
		// The process's clock is coarse: quick work is done several times.
		runs := 1
		if len(times) > 0 && times[0] < 2*time.Millisecond {
			runs = int(4*time.Millisecond/max(times[0], 20*time.Microsecond)) + 1
		}
		begin := cpu()
		for range runs {
			r, err := converse(e.initiator(a, w.frame), e.responder(b, w.frame))
			if err != nil {
				return 0, r, err
			}
			last = r
		}
		t := (cpu() - begin) / time.Duration(runs)
		if err := d.want.check(last); err != nil {
			return 0, last, err
		}
		times = append(times, t)
		spent += t * time.Duration(runs)
	}
	if len(times) > 2 {
		times = times[1:] // the first finds cold caches
	}
	return median(times), last, nil
}

// ops are single operations of a live set.
type ops struct{ insert, remove, ordered time.Duration }

func single(items []reconcile.Item) ops {
	const batch = 200_000
	var o ops
	per := func(n int, work func()) time.Duration {
		var times []time.Duration
		for range 3 {
			begin := cpu()
			work()
			times = append(times, (cpu()-begin)/time.Duration(n))
		}
		return median(times)
	}
	t := new(reconcile.Tree)
	for i := range items {
		must(t.Insert(items[i]))
	}
	more := make([]reconcile.Item, batch)
	for i := range more {
		more[i] = numbered(len(items) + i)
	}
	var removes []time.Duration
	o.insert = per(batch, func() {
		for i := range more {
			t.Insert(more[i])
		}
		begin := cpu()
		for i := range more {
			t.Delete(more[i])
		}
		removes = append(removes, cpu()-begin)
	})
	o.remove = median(removes) / batch
	o.insert -= o.remove
	v := must(reconcile.NewVector(items))
	sorted := make([]reconcile.Item, 0, len(items))
	for x := range v.Items(0, v.Len()) {
		sorted = append(sorted, x)
	}
	o.ordered = per(len(sorted), func() {
		t := new(reconcile.Tree)
		for i := range sorted {
			t.Insert(sorted[i])
		}
	})
	return o
}

func ms(t time.Duration) float64 { return float64(t) / float64(time.Millisecond) }

// number writes three digits.
func number(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v < 0.095:
		return fmt.Sprintf("%.3f", v)
	case v < 0.95:
		return fmt.Sprintf("%.2f", v)
	case v < 9.5:
		return fmt.Sprintf("%.1f", v)
	case v < 9_999.5:
		return fmt.Sprintf("%.0f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}
