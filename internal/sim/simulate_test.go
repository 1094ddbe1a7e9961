package sim

import (
	"context"
	"flag"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var bigFlag = flag.Bool("big", false, "also simulate 1000 and 10 000 replicas, and 100 000 in push-pull")

func simulate(t testing.TB, o Options) Result {
	t.Helper()
	began := time.Now()
	r, err := Simulate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%6d replicas, %d updates, seed %d: reached %.4f %%, %.3f copies, %.2f ids, %.0f bytes, p50 %v p99 %v last %v; %d sessions, %d bytes; %s; %d events in %v, %d MB",
		r.Replicas, r.Writes, r.Seed, 100*r.Reached, r.Copies, r.IDs, r.Bytes, r.P50, r.P99, r.Last, r.Sessions, r.SessionBytes, r.Verdict, r.Events, time.Since(began).Round(time.Millisecond), m.Sys>>20)
	if !r.Converged || r.Broken != nil || r.Innocent > 0 || r.Forwarded > 0 {
		t.Errorf("%d replicas, seed %d: %s; %d innocent charged, %d forgeries passed on", o.Replicas, o.Seed, r.Verdict, r.Innocent, r.Forwarded)
	}
	return r
}

// TestSpreadCosts: copies, bytes and delays of rumors, with anti-entropy
// beside them.
func TestSpreadCosts(t *testing.T) {
	for _, c := range []struct {
		n, seeds int
		copies   float64
		p99      time.Duration
		big      bool
	}{
		{10, 10, 1.15, 150 * time.Millisecond, false},
		{100, 3, 1.15, 500 * time.Millisecond, false},
		{1000, 3, 1.2, 650 * time.Millisecond, true},
		{10_000, 1, 1.25, 800 * time.Millisecond, true},
	} {
		if c.big && !*bigFlag {
			continue
		}
		var all Result // deliveries of all worlds together
		for seed := range uint64(c.seeds) {
			r := simulate(t, Options{Replicas: c.n, Seed: seed})
			if r.Reached < 1 || r.Copies > c.copies || r.Bytes > 800 {
				t.Errorf("%d replicas, seed %d: reached %.4f, %.3f copies, %.0f bytes", c.n, seed, r.Reached, r.Copies, r.Bytes)
			}
			all.Delays = append(all.Delays, make([]int, len(r.Delays)-len(all.Delays))...)
			for ms, k := range r.Delays {
				all.Delays[ms] += k
			}
		}
		all.rank()
		t.Logf("%6d replicas, %d worlds: p50 %v, p99 %v (%v)", c.n, c.seeds, all.P50, all.P99, c.p99)
		if all.P99 > c.p99 {
			t.Errorf("%d replicas: p99 is %v", c.n, all.P99)
		}
	}
}

// TestRoundsAreLogarithmic: the most rounds of push-pull over thirty seeds.
func TestRoundsAreLogarithmic(t *testing.T) {
	for _, c := range []struct{ n, seeds, most int }{
		{10, 30, 6}, {100, 30, 9}, {1000, 30, 11}, {10_000, 30, 13}, {100_000, 30, 15},
	} {
		if c.n > 100 && !*bigFlag {
			continue
		}
		most, sum := 0, 0
		for seed := range uint64(c.seeds) {
			r, err := Simulate(context.Background(), Options{Replicas: c.n, Seed: seed, Writes: 1, Mode: "push-pull"})
			if err != nil || !r.Converged {
				t.Fatalf("%d replicas, seed %d: %s, %v", c.n, seed, r.Verdict, err)
			}
			most, sum = max(most, r.Rounds), sum+r.Rounds
		}
		t.Logf("%6d replicas: %.1f rounds on average, %d at most (%d)", c.n, float64(sum)/float64(c.seeds), most, c.most)
		if most > c.most {
			t.Errorf("%d replicas: %d rounds, want at most %d", c.n, most, c.most)
		}
	}
}

// TestACrashOfAThird: who lives has it in two seconds, and all within two
// periods of anti-entropy after they are back.
func TestACrashOfAThird(t *testing.T) {
	sizes := []int{100}
	if *bigFlag {
		sizes = []int{100, 300, 1000}
	}
	for _, n := range sizes {
		r := simulate(t, Options{Replicas: n, Seed: 1, Churn: 0.3, Rate: 4})
		t.Logf("%.4f %% in 2 s, all the living after %v, everybody after %v", 100*r.Soon, r.Repaired, r.Recovered)
		if r.Soon < 0.999 || r.Repaired > 60*time.Second {
			t.Errorf("%d replicas: %.4f in 2 s, all the living after %v", n, r.Soon, r.Repaired)
		}
	}
}

// TestAPartitionHeals: a minute apart, then equal sets within three periods,
// for at most 0.6 payloads per replica and missed record.
func TestAPartitionHeals(t *testing.T) {
	sizes := []int{16, 100}
	if *bigFlag {
		sizes = []int{5, 16, 64, 100, 300, 1000}
	}
	for _, n := range sizes {
		r := simulate(t, Options{Replicas: n, Seed: 1, Partition: time.Minute, Writes: 120})
		t.Logf("%d records missed; equal %v after healing, %.3f payloads each", r.Missed, r.Healing, r.Repairs)
		if r.Healing > 90*time.Second || r.Repairs > 0.6 || r.Missed < 100 {
			t.Errorf("%d replicas: equal %v after healing, %.3f payloads for each of %d", n, r.Healing, r.Repairs, r.Missed)
		}
	}
}

// TestAFifthOfLiars: all honest replicas converge, nothing forged is stored
// or passed on, every liar is named and nobody else.
func TestAFifthOfLiars(t *testing.T) {
	sizes := []int{16, 100}
	if *bigFlag {
		sizes = []int{5, 16, 64, 100, 300, 1000}
	}
	for _, n := range sizes {
		r := simulate(t, Options{Replicas: n, Seed: 1, Malicious: 0.2})
		if r.Blamed != r.Liars || r.Stored > 0 {
			t.Errorf("%d replicas: %d of %d liars named, %d forgeries stored", n, r.Blamed, r.Liars, r.Stored)
		}
	}
}

// TestASimulationReplaysExactly: at GOMAXPROCS 1 and 2, and forty at once.
func TestASimulationReplaysExactly(t *testing.T) {
	options := []Options{
		{Replicas: 8, Writes: 20, Seed: 5, Loss: 0.05}, {Replicas: 80, Writes: 20, Seed: 5, Churn: 0.2},
		{Replicas: 80, Writes: 3, Seed: 5, Mode: "pull"}, {Replicas: 70, Writes: 20, Seed: 6, Partition: 5 * time.Second},
	}
	hash := func(o Options) uint64 {
		r, err := Simulate(context.Background(), o)
		if err != nil {
			t.Error(err)
		}
		return r.TraceHash
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var want []uint64
	for _, o := range options {
		want = append(want, hash(o))
	}
	runtime.GOMAXPROCS(2)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if got := hash(options[i%4]); got != want[i%4] {
				t.Errorf("%+v: %016x, want %016x", options[i%4], got, want[i%4])
			}
		})
	}
	all.Wait()
}

// TestOptionsSayEveryMistake: all of them at once.
func TestOptionsSayEveryMistake(t *testing.T) {
	_, err := Simulate(context.Background(), Options{Replicas: 1, Writes: -1, Loss: 2, Mode: "chain", Partition: -1})
	for _, want := range []string{"replicas is 1", "writes is -1", "loss is 2", `"chain"`, "partition"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

// TestPicturesHaveTheirLines: one for each mode or size, and the law.
func TestPicturesHaveTheirLines(t *testing.T) {
	var rs []Result
	for _, n := range []int{5, 20, 40} {
		r, err := Simulate(context.Background(), Options{Replicas: n, Writes: 1, Mode: "push"})
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	for _, what := range []Picture{"", RoundsPicture, CopiesPicture, DelaysPicture, HealingPicture} {
		svg, err := Plot(what, rs)
		if err != nil || !strings.Contains(svg, "<polyline") || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%q: %v\n%s", what, err, svg)
		}
	}
	if _, err := Plot("cake", rs); err == nil {
		t.Error("a picture that there is not")
	}
}
