package session

import (
	"slices"
	"testing"

	"anabranch/record"
)

func TestEqualRootsEndInOneRoundTripOfAtMost200Bytes(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 300)
	p := newPair(t, w, w.store(rs...), w.store(rs...), 0)
	p.synced()
	r := p.a.done.Report
	t.Log(describe(r))
	if total := r.BytesIn + r.BytesOut; p.frames != 2 || total > 200 {
		t.Errorf("%d frames, %d bytes", p.frames, total)
	}
	if r.Method != Equal || !r.Completed || r.Rounds != 1 || r.Duration <= 0 {
		t.Errorf("report %+v", r)
	}
}

func TestBothSidesEndWithTheUnion(t *testing.T) {
	w := newWorld()
	ada, ben := keyOf("ada"), keyOf("ben")
	ga, gb := w.grant(ada, record.Writer, 1), w.grant(ben, record.Writer, 2)
	common := w.entries(w.root, 1, 200)
	only := w.entries(ada, 2, 100)
	other := w.entries(ben, 3, 100)
	a := w.store(slices.Concat([]*record.Verified{ga}, common, only)...)
	b := w.store(slices.Concat([]*record.Verified{gb}, common, other, []*record.Verified{w.sweep(w.root, 1, 9, 5, 6, 7)})...)
	all := w.store(slices.Concat([]*record.Verified{ga, gb}, common, only, other, []*record.Verified{w.sweep(w.root, 1, 9, 5, 6, 7)})...)
	p := newPair(t, w, a, b, 0)
	p.synced()
	t.Log(describe(p.a.done.Report))
	if a.root() != all.root() || b.root() != all.root() {
		t.Error("not the union")
	}
}

func TestAnEmptyReplicaIsFilledWithoutComparing(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 2000)
	for _, initiatorEmpty := range []bool{true, false} {
		a, b := w.store(), w.store(rs...)
		if !initiatorEmpty {
			a, b = b, a
		}
		p := newPair(t, w, a, b, 0)
		p.synced()
		t.Log(describe(p.a.done.Report))
		if r := p.a.done.Report; r.Method != Bulk || a.root() != b.root() {
			t.Errorf("method %v", r.Method)
		}
	}
}
