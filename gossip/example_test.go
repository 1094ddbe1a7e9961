package gossip_test

import (
	"crypto/sha256"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"anabranch/gossip"
)

// Five field stations hear of an otter. One machine stands for each; a loop
// of a few lines is their network, whose links take 20 ms. The owl that one of
// them made up goes nowhere.
func Example() {
	names := []string{"weir", "mill", "ford", "bridge", "mouth"}
	keyOf := func(i int) gossip.Peer { return gossip.Peer{byte(i + 1)} }
	stations := make([]*gossip.Machine, len(names))
	for i := range stations {
		var err error
		stations[i], err = gossip.New(gossip.Options{
			Self: keyOf(i),
			Rand: rand.New(rand.NewPCG(1, uint64(i))),
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	type parcel struct {
		at       time.Duration
		from, to int
		frame    []byte
	}
	var (
		air  []parcel
		now  time.Duration
		step func(i int, in gossip.Input)
	)
	step = func(i int, in gossip.Input) {
		var judged []gossip.Judged
		for _, out := range stations[i].Step(now, in) {
			switch out := out.(type) {
			case gossip.Send:
				air = append(air, parcel{now + 20*time.Millisecond, i, int(out.Peer[0]) - 1, out.Frame})
			case gossip.Deliver:
				// A replica checks signature and authority here, and
				// stores the record, before it says Accepted.
				v := gossip.Accepted
				if sha256.Sum256(out.Rumor.Payload) != out.Rumor.ID {
					v = gossip.Rejected
				}
				fmt.Printf("%v: %s hears %q, which is %v\n", now, names[i], out.Rumor.Payload, v)
				judged = append(judged, gossip.Judged{ID: out.Rumor.ID, Verdict: v})
			case gossip.Charge:
				fmt.Printf("%v: %s charges %s: %v\n", now, names[i], names[out.Peer[0]-1], out.Reason)
			}
		}
		for _, j := range judged { // the outputs are used up now
			step(i, j)
		}
	}
	run := func(until time.Duration) {
		for now < until {
			next := until
			for _, p := range air {
				next = min(next, p.at)
			}
			for _, m := range stations {
				next = min(next, m.Next())
			}
			now = next
			for len(air) > 0 && air[0].at <= now {
				p := air[0]
				air = air[1:]
				step(p.to, gossip.Frame{Peer: keyOf(p.from), Bytes: p.frame})
			}
			for i, m := range stations {
				if m.Next() <= now {
					step(i, gossip.Tick{})
				}
			}
		}
	}

	// The stations lie on a river: each is linked with the next. They would
	// like to Connect to more, which this network ignores.
	for i := range len(stations) - 1 {
		step(i, gossip.PeerUp{Peer: keyOf(i + 1)})
		step(i+1, gossip.PeerUp{Peer: keyOf(i)})
	}
	run(time.Second)

	otter := []byte("otter tracks at the weir")
	step(0, gossip.Publish{Rumor: gossip.Rumor{ID: sha256.Sum256(otter), Payload: otter}})
	run(2 * time.Second)

	owl := gossip.Rumor{ID: sha256.Sum256([]byte("an owl")), Payload: []byte("two owls")}
	step(4, gossip.Publish{Rumor: owl})
	run(3 * time.Second)
	// Output:
	// 1.02s: mill hears "otter tracks at the weir", which is accepted
	// 1.04s: ford hears "otter tracks at the weir", which is accepted
	// 1.06s: bridge hears "otter tracks at the weir", which is accepted
	// 1.08s: mouth hears "otter tracks at the weir", which is accepted
	// 2.02s: bridge hears "two owls", which is rejected
	// 2.02s: bridge charges mouth: invalid
}
