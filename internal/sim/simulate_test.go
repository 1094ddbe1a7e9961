package sim

import (
	"context"
	"flag"
	"runtime"
	"testing"
	"time"
)

var bigFlag = flag.Bool("big", false, "also simulate 10 000 replicas, and 100 000 in push-pull")

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
	return r
}

func TestTry(t *testing.T) {
	simulate(t, Options{Replicas: *sizeFlag, Seed: 1})
}
