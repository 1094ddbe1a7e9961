package session

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"anabranch/reconcile"
	"anabranch/record"
)

// collided is an index in which somebody has made records whose IDs add up to
// what other records' IDs do: the fingerprints are those of another set.
type collided struct {
	reconcile.Index
	sums reconcile.Index // has as many items at all times
}

func (c collided) Fingerprint(begin, end int) (reconcile.Fingerprint, error) {
	return c.sums.Fingerprint(begin, end)
}

// collidedView shows such an index. Its sketch and its trie are honest.
type collidedView struct {
	*replica
	index reconcile.Index
}

func (v collidedView) Index() reconcile.Index { return v.index }

// collide makes a's fingerprints those of a set with theirs in the place of
// ours, which lie at the same times.
func collide(a *replica, ours, theirs []*record.Verified) View {
	f := a.frozen()
	sums := a.crowd.replica()
	instead := map[record.ID]*record.Verified{}
	for i, v := range ours {
		instead[v.ID] = theirs[i]
	}
	for id, v := range f.extra {
		if w := instead[id]; w != nil {
			v = w
		}
		sums.add(v)
	}
	return collidedView{f, collided{f.tree, sums.tree}}
}

// TestACollisionOfFingerprintsHidesNothing: pairs of records on either side
// that no fingerprint tells apart, alone, among other differences, and below
// a window that seems to match. A planned session ends with the union at no
// more than 1.2 times what ranges alone take without a collision; where both
// sides have ranges only, it fails and says so.
func TestACollisionOfFingerprintsHidesNothing(t *testing.T) {
	c := newCrowd(20_000)
	for _, x := range []struct {
		name      string
		shape     string
		d, hidden int
		without   []Method
		fails     bool
	}{
		{name: "alone", shape: "scattered", hidden: 3},
		{name: "among others", shape: "scattered", d: 200, hidden: 10},
		{name: "below a window", shape: "newest", d: 400, hidden: 10},
		{name: "ranges alone", shape: "scattered", d: 50, hidden: 2, without: optional, fails: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			play := func(collision bool, without []Method) (meeting, *replica, *replica) {
				r := rand.New(rand.NewPCG(7, uint64(x.d)))
				c.next = 1 << 27
				a, b := apartBy(c, r, x.shape, x.d)
				var ours, theirs []*record.Verified
				for range x.hidden {
					at := r.Uint64N(15_000)*apart + 500
					ours, theirs = append(ours, c.fresh(at)), append(theirs, c.fresh(at))
				}
				a.add(ours...)
				b.add(theirs...)
				oa, ob := Options{Without: without}, Options{Without: without}
				binary.BigEndian.PutUint64(oa.Nonce[:], 99)
				if collision {
					oa.View = collide(a, ours, theirs)
				}
				return meet(a, b, oa, ob), a, b
			}
			m, a, b := play(true, x.without)
			alone, pa, _ := play(false, optional)
			if alone.err != nil {
				t.Fatal(alone.err)
			}
			t.Logf("%s, %d bytes, %v; ranges alone, without a collision, %d; %s", m.report.Method, m.overhead, m.err, alone.overhead, m.answer.Why)
			var differ *RootsDifferError
			if x.fails {
				if !errors.As(m.err, &differ) {
					t.Fatalf("it ends with %v", m.err)
				}
				return
			}
			ra, _ := a.Root()
			rb, _ := b.Root()
			if m.err != nil || ra != rb || a.Count() != pa.Count() {
				t.Fatalf("%v, %d and %d records, the union has %d", m.err, a.Count(), b.Count(), pa.Count())
			}
			if m.overhead*10 > alone.overhead*12 {
				t.Errorf("%d bytes, ranges alone take %d", m.overhead, alone.overhead)
			}
		})
	}
}
