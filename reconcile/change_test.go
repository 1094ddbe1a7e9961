package reconcile

import (
	"flag"
	"math/rand/v2"
	"testing"
)

var changingSessions = flag.Int("changing", 10_000, "conversations over sets that change while they run")

// replicaUnderWrites is a set that is written while others read it.
type replicaUnderWrites struct {
	tree Tree
	live []Item // its items, in any order
	next *int   // number of the next new item in the world
}

func (r *replicaUnderWrites) churn(rng *rand.Rand) {
	for range rng.IntN(4) {
		if rng.IntN(3) > 0 || len(r.live) == 0 {
			r.add(numbered(*r.next))
			*r.next++
			continue
		}
		r.remove(rng.IntN(len(r.live)))
	}
}

func (r *replicaUnderWrites) add(x Item) {
	if n, _ := r.tree.Insert(x); n > 0 {
		r.live = append(r.live, x)
	}
}

func (r *replicaUnderWrites) remove(k int) {
	r.tree.Delete(r.live[k])
	r.live[k] = r.live[len(r.live)-1]
	r.live = r.live[:len(r.live)-1]
}

// Two replicas are written between the messages of a conversation: the
// initiator speaks about a snapshot, the responder answers from whatever it
// holds then. What was on one side all the time is found. Then the writes
// stop, what was found is moved, and the next conversation finds the rest.
func TestSetsMayChangeWhileTheyAreCompared(t *testing.T) {
	sessions := *changingSessions
	if testing.Short() {
		sessions /= 10
	}
	rng := rand.New(rand.NewPCG(3, 14))
	next, most, rounds := 0, 0, 0
	items := map[ID]Item{}
	item := func(id ID) Item {
		for len(items) < next {
			x := numbered(len(items))
			items[x.ID] = x
		}
		return items[id]
	}
	a, b := &replicaUnderWrites{next: &next}, &replicaUnderWrites{next: &next}
	in, err := NewInitiator(&a.tree, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for done := 0; done < sessions; {
		if len(a.live) > 400 || done%40 == 0 { // a new pair
			a.tree, b.tree = Tree{max: nodeSize{items: 8, kids: 5}}, Tree{max: nodeSize{items: 8, kids: 5}}
			a.live, b.live = a.live[:0], b.live[:0]
			for range rng.IntN([]int{150, 150, 150, 600}[rng.IntN(4)]) {
				x := numbered(next)
				next++
				if where := rng.IntN(20); where == 0 {
					a.add(x)
				} else if where == 1 {
					b.add(x)
				} else {
					a.add(x)
					b.add(x)
				}
			}
			limits := []int{0, 4096}
			o := Options{Split: Split(rng.IntN(len(plans))), FrameBytes: limits[rng.IntN(2)]}
			if in, err = NewInitiator(&a.tree, o); err != nil {
				t.Fatal(err)
			}
		}
		// The first conversation meets writes, the second none.
		for _, quiet := range []bool{false, true} {
			done++
			wantHave, wantNeed := difference(a.live, b.live)
			o := Options{Split: Split(rng.IntN(len(plans))), FrameBytes: []int{0, 4096}[rng.IntN(2)], Seed: rng.Uint64()}
			out, err := NewResponder(&b.tree, o)
			if err != nil {
				t.Fatal(err)
			}
			in.Reset(&a.tree, rng.Uint64())
			have, need := map[ID]bool{}, map[ID]bool{}
			msg, err := in.Start()
			k := 0
			for ; msg != nil && err == nil; k++ {
				var answer []byte
				if answer, err = out.Respond(msg); err != nil {
					break
				}
				var h, n []ID
				if msg, h, n, err = in.Step(answer); err != nil {
					break
				}
				for _, id := range h {
					have[id] = true
				}
				for _, id := range n {
					need[id] = true
				}
				if !quiet {
					a.churn(rng)
					b.churn(rng)
				}
			}
			if err != nil {
				t.Fatalf("conversation %d, quiet %v, round %d: %v", done, quiet, k, err)
			}
			most, rounds = max(most, k), rounds+k
			if bound := 8 + (len(a.live)+len(b.live))/itemsPerRound; k > bound {
				t.Fatalf("%d rounds, no more than %d should be needed", k, bound)
			}
			if quiet && (len(have) != len(wantHave) || len(need) != len(wantNeed)) {
				t.Fatalf("conversation %d: %d have of %d, %d need of %d", done, len(have), len(wantHave), len(need), len(wantNeed))
			}
			for id := range wantNeed { // unless it has gone from there
				if i, _ := b.tree.LowerBound(BoundAt(item(id))); i < b.tree.Len() && !need[id] {
					if x, _ := b.tree.At(i); x.ID == id {
						t.Fatalf("conversation %d: %x was there and is not needed", done, id)
					}
				}
			}
			for id := range wantHave {
				if !have[id] {
					t.Fatalf("conversation %d: %x was here and is not known", done, id)
				}
			}
			for id := range have { // as far as they are there yet
				if a.tree.Has(item(id)) {
					b.add(item(id))
				}
			}
			for id := range need {
				if b.tree.Has(item(id)) {
					a.add(item(id))
				}
			}
		}
		if have, need := difference(a.live, b.live); len(have)+len(need) > 0 {
			t.Fatalf("%d items still differ after %d conversations", len(have)+len(need), done)
		}
	}
	t.Logf("%d conversations, %d rounds, at most %d in one", sessions, rounds, most)
}
