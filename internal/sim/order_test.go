package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"
)

// order is a world of two in which nothing happens by itself.
func order(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(Plan{Seed: 1, Replicas: 2, Interval: time.Hour, Quiet: time.Hour, Links: Links{Least: time.Second, Most: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	w.run(20*time.Millisecond, nil)
	return w
}

// TestAFrozenReplicaKeepsItsOrder: whatever was due while it was frozen
// happens when it thaws, before what was due later.
func TestAFrozenReplicaKeepsItsOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		at   time.Duration // when something happens to the freeze, which is to end at 3 s
		do   func(*world, *replica)
		want []string
	}{
		{"once", 2 * time.Second, func(*world, *replica) {}, []string{"a 3s", "b 3s", "c 3.2s", "d 6s"}},
		{"twice", 2 * time.Second, func(_ *world, r *replica) { r.frozen = 5 * time.Second }, []string{"a 5s", "b 5s", "c 5s", "d 6s"}},
		{"until the faults end", 2 * time.Second, func(w *world, _ *replica) { w.calm() }, []string{"a 2s", "b 2.5s", "c 3.2s", "d 6s"}},
		{"and crashes", 2 * time.Second, func(_ *world, r *replica) { r.crash(); r.start() }, []string{}},
	} {
		w := order(t)
		r := w.replicas[1]
		r.frozen = 3 * time.Second
		got := []string{}
		for _, x := range []struct {
			name string
			at   time.Duration
		}{{"a", time.Second}, {"b", 2500 * time.Millisecond}, {"c", 3200 * time.Millisecond}, {"d", 6 * time.Second}} {
			r.later(x.at, func() { got = append(got, fmt.Sprint(x.name, " ", w.now)) })
		}
		w.at(c.at, func() { c.do(w, r) })
		w.run(7*time.Second, nil)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestAStreamKeepsItsOrder: a plan that came while a replica was frozen is
// heard before the names behind it, which came when it was not.
func TestAStreamKeepsItsOrder(t *testing.T) {
	w := order(t)
	s := &talk{w: w}
	s.a = &side{t: s, r: w.replicas[0]}
	s.b = &side{t: s, r: w.replicas[1], waits: true} // so that frames are left lying
	s.b.r.frozen = 5 * time.Second
	w.at(time.Second, func() { s.a.send([]byte("plan")) })
	w.at(3*time.Second, w.calm)
	w.at(3*time.Second, func() { s.a.send([]byte("names")) })
	w.run(7*time.Second, nil)
	if got := fmt.Sprintf("%s", s.b.inbox); got != "[plan names]" {
		t.Errorf("heard %s", got)
	}
}

// TestADiskKeepsItsOrder: writes become durable in the order in which they
// were handed over, and a crash is about those that have not.
func TestADiskKeepsItsOrder(t *testing.T) {
	w := order(t)
	r := w.replicas[1]
	got := ""
	write := func(name string) func() {
		return func() { r.put(func() error { got += name; return nil }, func(error) {}) }
	}
	w.at(time.Second, write("1"))
	w.at(2*time.Second, write("2"))
	w.at(2800*time.Millisecond, write("3"))
	r.frozen = 3 * time.Second
	w.at(2500*time.Millisecond, func() { r.frozen = 4 * time.Second })
	w.run(7*time.Second, nil)
	if got != "123" || len(r.owed) > 0 {
		t.Errorf("durable: %s, owed %d", got, len(r.owed))
	}
}

// TestAQueueKeepsOrder: by time, then in the order of putting, whatever is put
// in between.
func TestAQueueKeepsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue[int]
	type due struct {
		at  time.Duration
		val int
	}
	var want []due // ascending
	now := time.Duration(0)
	for i := range 20_000 {
		if len(want) > 0 && rng.IntN(5) < 2 {
			if q.next() != want[0].at {
				t.Fatalf("next is %v, want %v", q.next(), want[0].at)
			}
			at, val := q.pop()
			if at != want[0].at || val != want[0].val {
				t.Fatalf("%d at %v, want %v", val, at, want[0])
			}
			now, want = at, want[1:]
		} else {
			most := []time.Duration{1, time.Millisecond, 60 * time.Millisecond, 3 * time.Second, time.Minute}[rng.IntN(5)]
			at := now + time.Duration(rng.Int64N(int64(most)))
			k := sort.Search(len(want), func(k int) bool { return want[k].at > at })
			want = slices.Insert(want, k, due{at, i})
			q.push(at, i)
		}
	}
	for _, d := range want {
		if at, val := q.pop(); at != d.at || val != d.val {
			t.Fatalf("%d at %v, want %v", val, at, d)
		}
	}
	if q.next() != forever {
		t.Error("it is not empty")
	}
}
