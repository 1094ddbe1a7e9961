package session

import (
	"fmt"
	"testing"

	"anabranch/record"
)

// unsigned are records with no signature, for tests of quantity whose shell
// does not look at it.
func unsigned(w *world, lane uint64, n int) []*record.Verified {
	out := make([]*record.Verified, n)
	for i := range out {
		r := record.Record{
			Kind: record.Entry, Author: record.Public(w.root), Time: uint64(1 + i*7), Lane: lane, Seq: uint32(i + 1),
			Path: "/log", Payload: fmt.Appendf(nil, "%d of %d", i, lane),
		}
		v, err := record.Restore(w.id, r.Append(nil))
		if err != nil {
			panic(err)
		}
		out[i] = v
	}
	return out
}

// TestManyDifferencesKeepToTheBounds moves thousands of records both ways in
// the smallest frames and looks at what waits where.
func TestManyDifferencesKeepToTheBounds(t *testing.T) {
	w := newWorld()
	common, onlyA, onlyB := unsigned(w, 1, 3000), unsigned(w, 2, 3000), unsigned(w, 3, 3000)
	a, b := w.store(append(common, onlyA...)...), w.store(append(common[:3000:3000], onlyB...)...)
	for _, frameBytes := range []int{MinFrameBytes, 0} {
		a, b := forked(a), forked(b)
		p := newPair(t, w, a, b, frameBytes)
		p.trust = true
		p.log = func(d *side, _ Input, _ []Output) {
			if d.s.in.bytes > intakeBytes+3*d.s.limit {
				t.Fatalf("%s: %d bytes taken in", d.name, d.s.in.bytes)
			}
		}
		p.synced()
		r := p.a.done.Report
		t.Log(describe(r))
		if a.root() != b.root() || r.RecordsIn != 3000 || r.RecordsOut != 3000 || r.Unwanted != 0 || r.DueIn != 3000 || r.DueOut != 3000 {
			t.Errorf("report %+v", r)
		}
		for _, d := range []*side{p.a, p.b} {
			if d.most > (sendAhead+2)*d.s.limit {
				t.Errorf("%s: %d bytes waited on the link", d.name, d.most)
			}
		}
	}
}

// TestAPeerThatDoesNotReadCostsAFewFrames asks for everything and never
// drains the link.
func TestAPeerThatDoesNotReadCostsAFewFrames(t *testing.T) {
	w := newWorld()
	store := w.store(unsigned(w, 1, 3000)...)
	h := responder(t, w, store, claims(store, 1))
	h.dry = true
	h.sent = nil
	h.frame([]byte{byte(BulkFrame)})
	if len(h.sent) > sendAhead+1 {
		t.Errorf("%d frames", len(h.sent))
	}
}

// BenchmarkSession is what the machines themselves cost, both sides
// together, over stores in memory and without signatures.
func BenchmarkSession(b *testing.B) {
	w := newWorld()
	rs := unsigned(w, 1, 5000)
	full, empty, half := w.store(rs...), w.store(), w.store(rs[:2500]...)
	for _, bench := range []struct {
		name string
		a, b *testStore
	}{{"equal", full, full}, {"bulk", empty, full}, {"half", half, full}} {
		va, vb := bench.a.view(), bench.b.view()
		b.Run(bench.name, func(b *testing.B) {
			var r Report
			for b.Loop() {
				p := newPair(b, w, w.store(), w.store(), 0)
				p.a.s.view, p.b.s.view, p.trust = va, vb, true
				p.synced()
				r = p.a.done.Report
			}
			b.ReportMetric(float64(r.Rounds), "rounds")
			b.ReportMetric(float64(r.BytesIn+r.BytesOut), "bytes")
			if n := r.RecordsIn + r.RecordsOut; n > 0 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			}
		})
	}
}
