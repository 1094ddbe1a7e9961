package gossip_test

import (
	"math"
	"testing"
	"time"

	"anabranch/gossip"
)

// roundsOf mongers one rumor without a stopping rule, and returns the rounds
// until everyone has it and the payloads sent per replica.
func roundsOf(t testing.TB, mode gossip.Mode, n int, seed uint64) (rounds int, payloads float64) {
	w := newWorld(t, n, seed, gossip.Options{Mode: mode})
	for i := range w.nodes {
		w.step(int32(i), gossip.Members{Peers: w.order})
	}
	have := 1
	w.got = func(int32, gossip.ID, gossip.Verdict, time.Duration) { have++ }
	w.step(int32(w.rng.IntN(n)), gossip.Publish{Rumor: rumor(0, 256)})
	w.run(time.Hour, func() bool { return have == n })
	return int(w.now / time.Second), float64(w.total().Copies) / float64(n)
}

// TestMongeringReachesAllInLogarithmicRounds: most rounds over 30 seeds. The
// bounds of push-pull are the project's, the others' leave some room. -big does all of them,
// and 10 000 replicas; of 100 000, -huge 30 does all.
func TestMongeringReachesAllInLogarithmicRounds(t *testing.T) {
	for _, c := range []struct {
		mode  gossip.Mode
		n     int
		seeds int
		most  int
	}{
		{gossip.PushPull, 10, 30, 6},
		{gossip.PushPull, 100, 30, 9},
		{gossip.PushPull, 1000, 30, 11},
		{gossip.PushPull, 10_000, 30, 13},
		{gossip.PushPull, 100_000, 30, 15},
		{gossip.Pull, 10, 30, 13},
		{gossip.Pull, 100, 30, 18},
		{gossip.Pull, 1000, 10, 21},
		{gossip.Pull, 10_000, 3, 25},
		{gossip.Push, 10, 30, 14},
		{gossip.Push, 100, 30, 20},
		{gossip.Push, 1000, 10, 25},
		{gossip.Push, 10_000, 3, 31},
	} {
		seeds := c.seeds
		switch {
		case *big && c.n == 100_000:
			seeds = *huge
		case *big:
		case c.n > 1000:
			continue
		case c.n == 1000:
			seeds = min(seeds, 3)
		}
		most, sum, copies := 0, 0, 0.0
		for seed := range seeds {
			rounds, payloads := roundsOf(t, c.mode, c.n, uint64(seed))
			most, sum, copies = max(most, rounds), sum+rounds, copies+payloads
		}
		t.Logf("%-9v n %6d, %2d seeds: mean %.1f, most %d, log2 n %.1f, %.3f payloads per replica",
			c.mode, c.n, seeds, float64(sum)/float64(seeds), most, math.Log2(float64(c.n)), copies/float64(seeds))
		if most > c.most {
			t.Errorf("%v of %d: %d rounds, want at most %d", c.mode, c.n, most, c.most)
		}
	}
}

// TestMongeringDiesAsDemersFound: with feedback and counter a rumor dies out,
// and leaves a residue that has not heard of it. Residue and traffic, in
// rumors offered per replica, are those of Demers et al., tables 1 and 3, and
// in push-pull those of a simulation of the same rules in plain arrays.
func TestMongeringDiesAsDemersFound(t *testing.T) {
	const n = 1000
	for _, c := range []struct {
		mode             gossip.Mode
		counter          int
		residue, traffic float64
	}{
		{gossip.Push, 1, 0.18, 1.7}, {gossip.Push, 2, 0.037, 3.3}, {gossip.Push, 3, 0.011, 4.5},
		{gossip.Pull, 1, 0.031, 2.7}, {gossip.Pull, 2, 5.8e-4, 4.5}, {gossip.Pull, 3, 4e-6, 6.1},
		{gossip.PushPull, 1, 0.022, 3.3}, {gossip.PushPull, 2, 6.2e-4, 5.5}, {gossip.PushPull, 3, 5e-6, 7.5},
	} {
		seeds := 2
		if *big {
			seeds = 20
		} else if c.counter == 3 {
			continue
		}
		residue, traffic, last := 0.0, 0.0, 0.0
		for seed := range seeds {
			w := newWorld(t, n, uint64(seed), gossip.Options{Mode: c.mode, Counter: c.counter})
			for i := range w.nodes {
				w.step(int32(i), gossip.Members{Peers: w.order})
			}
			have, at := 1, time.Duration(0)
			w.got = func(_ int32, _ gossip.ID, _ gossip.Verdict, now time.Duration) { have, at = have+1, now }
			w.step(0, gossip.Publish{Rumor: rumor(0, 256)})
			w.run(22*time.Second, nil)
			residue += float64(n-have) / n / float64(seeds)
			traffic += float64(w.total().Offered) / n / float64(seeds)
			last += float64(at/time.Second) / float64(seeds)
		}
		t.Logf("%-9v k %d: residue %.5f (known %.5f), traffic %.2f (known %.2f), last heard in round %.1f", c.mode, c.counter, residue, c.residue, traffic, c.traffic, last)
		if residue > 2*c.residue+0.002 || residue < c.residue/2-0.002 || math.Abs(traffic-c.traffic) > 0.12*c.traffic {
			t.Errorf("%v k %d: residue %.5f and traffic %.2f, known are %.5f and %.2f", c.mode, c.counter, residue, traffic, c.residue, c.traffic)
		}
	}
}
