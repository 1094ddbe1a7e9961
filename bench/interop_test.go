package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"anabranch/reconcile"
)

var sessions = flag.Int("sessions", 1000, "random conversations against each peer in each role")

// draw makes two sets: sizes, overlap, the spread of times and, if asked for,
// the length of common prefixes vary.
func draw(rng *rand.Rand, prefixes bool) (mine, theirs []reconcile.Item, want result) {
	n := []int{0, 3, 40, 400, 3000}[rng.IntN(5)]
	n = rng.IntN(n + 1)
	spread := []uint64{1, 3, 1000, 1 << 40}[rng.IntN(4)]
	onlyMine, onlyTheirs := rng.Float64()*rng.Float64(), rng.Float64()*rng.Float64()
	if rng.IntN(2) == 0 {
		onlyMine, onlyTheirs = onlyMine/100, onlyTheirs/100
	}
	for range n {
		x := reconcile.Item{Time: 1_600_000_000 + rng.Uint64N(spread)}
		for i := range x.ID {
			x.ID[i] = byte(rng.Uint32())
		}
		if prefixes && spread == 1 && rng.IntN(3) == 0 {
			clear(x.ID[:rng.IntN(24)]) // long bounds
		}
		switch p := rng.Float64(); {
		case p < onlyMine:
			mine = append(mine, x)
			want.have = append(want.have, x.ID)
		case p > 1-onlyTheirs:
			theirs = append(theirs, x)
			want.need = append(want.need, x.ID)
		default:
			mine, theirs = append(mine, x), append(theirs, x)
		}
	}
	return mine, theirs, want
}

// TestInterop talks to the other implementations in both roles, with and
// without frame limits, with every way of splitting and both backends.
func TestInterop(t *testing.T) {
	for _, peer := range peers {
		for _, first := range []bool{true, false} {
			role := "we respond"
			if first {
				role = "we begin"
			}
			t.Run(fmt.Sprintf("%s/%s", peer.name, role), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, 7))
				framed, rounds := 0, 0
				for k := range *sessions {
					mine, theirs, want := draw(rng, peer.name != goNostr.name)
					us := ours("ours", rng.IntN(2) == 0, reconcile.Split(rng.IntN(4)))
					frames := []int{0, 0, 4096, 10_000}
					ourFrame, theirFrame := frames[rng.IntN(4)], frames[rng.IntN(4)]
					var in initiator
					var out responder
					if first {
						in = us.initiator(us.build(mine), ourFrame)
						out = peer.responder(peer.build(theirs), theirFrame)
					} else {
						in = peer.initiator(peer.build(mine), theirFrame)
						out = us.responder(us.build(theirs), ourFrame)
					}
					got, err := converse(in, out)
					if err == nil {
						err = want.check(got)
					}
					if err != nil {
						t.Fatalf("conversation %d, %d against %d items, frames %d and %d: %v", k, len(mine), len(theirs), ourFrame, theirFrame, err)
					}
					if ourFrame+theirFrame > 0 {
						framed++
					}
					rounds += got.rounds
				}
				t.Logf("%d conversations, %d with frame limits, %d rounds: all exact", *sessions, framed, rounds)
			})
		}
	}
}
