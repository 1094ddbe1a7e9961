package session

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"anabranch/record"
)

// universe is a pool of signed records: control, sweeps and data of three
// authors, so that a property draws subsets instead of signing.
type universe struct {
	w       *world
	all     []*record.Verified
	seals   []*record.Verified
	grants  []*record.Verified
	data    []*record.Verified
	sweeps  []*record.Verified
	authors []ed25519.PrivateKey
}

func newUniverse() *universe {
	w := newWorld()
	u := &universe{w: w, authors: []ed25519.PrivateKey{w.root, keyOf("ada"), keyOf("ben")}}
	ada, ben := u.authors[1], u.authors[2]
	u.grants = []*record.Verified{w.grant(ada, record.Writer, 1), w.grant(ben, record.Writer, 2), w.grant(ada, record.Admin, 3)}
	for i, a := range u.authors {
		for lane := uint64(1); lane <= 2; lane++ {
			l := uint64(10*(i+1)) + lane
			for n := uint32(1); n <= 14; n++ {
				size := int(n * 5)
				if n%7 == 0 {
					size = 3000 * int(n) // spans frames of 4 KiB
				}
				u.data = append(u.data, w.entry(a, l, n, bytes.Repeat([]byte{byte(l), byte(n)}, size/2)))
			}
			u.sweeps = append(u.sweeps, w.sweep(a, l, 50, 1, 2, 3), w.sweep(a, l, 51, 3, 4, 9), w.sweep(a, l, 52, 1, 2, 3, 4, 9))
		}
	}
	u.seals = []*record.Verified{
		w.seal(u.grants[0].ID, 90, u.data[30].ID, u.data[31].ID),
		w.seal(u.grants[1].ID, 91),
	}
	u.all = slices.Concat(u.grants, u.data, u.sweeps)
	return u
}

func subset(t *rapid.T, label string, rs []*record.Verified) []*record.Verified {
	// Most records on both sides would be dull, and so would be none.
	share := rapid.IntRange(0, 10).Draw(t, label+" tenths")
	var out []*record.Verified
	draw := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, label), 0))
	for _, r := range rs {
		if draw.IntN(10) < share {
			out = append(out, r)
		}
	}
	return out
}

// TestReplicasEndWithTheUnion draws what two replicas hold, the order of
// everything that happens and the size of frames. Without seals both end
// with the union of what they held, whatever is written meanwhile, once a
// session ran undisturbed; with seals they end equal.
func TestReplicasEndWithTheUnion(t *testing.T) {
	u := newUniverse()
	rapid.Check(t, func(t *rapid.T) {
		sealed := rapid.IntRange(0, 3).Draw(t, "sealed") == 0
		pool := u.all
		if sealed {
			pool = slices.Concat(pool, u.seals)
		}
		inA, inB := subset(t, "initiator", pool), subset(t, "responder", pool)
		a, b, union := u.w.store(inA...), u.w.store(inB...), u.w.store(slices.Concat(inA, inB)...)
		frameBytes := rapid.SampledFrom([]int{MinFrameBytes, 5000, 0}).Draw(t, "frame bytes")

		plainA, plainB := rapid.IntRange(0, 3).Draw(t, "plain initiator") == 0, rapid.IntRange(0, 3).Draw(t, "plain responder") == 0

		order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 0))
		live := rapid.Bool().Draw(t, "live writes")
		lost := rapid.Bool().Draw(t, "lost")
		cut := rapid.IntRange(-40, 40).Draw(t, "cut")
		if live || lost || cut >= 0 {
			late := subset(t, "late", pool)
			p := newPair(t, u.w, a, b, frameBytes)
			p.a.s.o.Plain, p.b.s.o.Plain = plainA, plainB
			p.choose = order.IntN
			if lost { // some records die at once in each view
				for _, d := range []*side{p.a, p.b} {
					v := d.s.view.(*testView)
					v.lost = map[record.ID]bool{}
					for _, r := range subset(t, d.name+" loses", u.data) {
						v.lost[r.ID] = true
					}
				}
			}
			if live {
				p.between = func(int) {
					if len(late) > 0 {
						[]*testStore{a, b}[order.IntN(2)].commit(late[:1])
						union.commit(late[:1])
						late = late[1:]
					}
				}
			}
			p.carry = func(n int, _ *side, frame []byte) []byte {
				if n == cut {
					return nil
				}
				return frame
			}
			p.run()
			for _, d := range []*side{p.a, p.b} {
				if d.fail != nil && !errors.Is(d.fail.Err, ErrCut) {
					t.Fatalf("%s: %v", d.name, d.fail.Err)
				}
			}
		}
		p := newPair(t, u.w, a, b, frameBytes)
		p.a.s.o.Plain, p.b.s.o.Plain = plainA, plainB
		p.choose = order.IntN
		p.synced()
		if a.root() != b.root() {
			t.Fatalf("stores differ after equal roots")
		}
		if !sealed && a.root() != union.root() {
			t.Fatalf("not the union")
		}
		if r := p.a.done.Report; !r.Completed || r.Root != a.root() || r.Unwanted > 0 {
			t.Fatalf("report %+v", r)
		}
	})
}
