package session

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"anabranch/record"
)

// scene is a conversation with every step in it: control, sweeps, data that
// spans frames, both ways.
func scene(w *world) (inA, inB []*record.Verified) {
	ada, ben := keyOf("ada"), keyOf("ben")
	common := w.entries(w.root, 1, 40)
	inA = slices.Concat(common, []*record.Verified{w.grant(ada, record.Writer, 1), w.sweep(w.root, 1, 70, 1, 2, 3)},
		w.entries(ada, 2, 20), []*record.Verified{w.entry(w.root, 4, 1, bytes.Repeat([]byte("big"), 3000))})
	inB = slices.Concat(common, []*record.Verified{w.grant(ben, record.Writer, 2), w.sweep(w.root, 1, 71, 3, 4)},
		w.entries(ben, 3, 30), []*record.Verified{w.entry(w.root, 5, 1, bytes.Repeat([]byte("huge"), 3000))})
	return inA, inB
}

// undisturbed plays the scene and returns its frames and the root it ends at.
func undisturbed(t *testing.T, w *world) (frames [][]byte, root [32]byte) {
	inA, inB := scene(w)
	a, b := w.store(inA...), w.store(inB...)
	p := newPair(t, w, a, b, MinFrameBytes)
	p.carry = func(_ int, _ *side, frame []byte) []byte {
		frames = append(frames, bytes.Clone(frame))
		return frame
	}
	p.synced()
	union := w.store(slices.Concat(inA, inB)...)
	if a.root() != union.root() || b.root() != union.root() {
		t.Fatal("not the union")
	}
	return frames, union.root()
}

// TestACutAtAnyMessageLosesNothing closes the link in place of each frame in
// turn. What arrived before is kept, and the second session moves the rest
// and no more.
func TestACutAtAnyMessageLosesNothing(t *testing.T) {
	w := newWorld()
	frames, root := undisturbed(t, w)
	inA, inB := scene(w)
	union := w.store(slices.Concat(inA, inB)...)
	lacks := func(d *testStore) (n int) {
		for id, r := range union.data {
			if _, ok := d.data[id]; r.Data() && !ok {
				n++
			}
		}
		return n
	}
	compared := 0
	missing := 2 + 51 + 1 // control and data that have to cross, sweeps aside, and one more of each
	for n := range frames {
		a, b := w.store(inA...), w.store(inB...)
		p := newPair(t, w, a, b, MinFrameBytes)
		p.carry = func(i int, _ *side, frame []byte) []byte {
			if i >= n {
				return nil
			}
			return frame
		}
		p.run()
		for _, d := range []*side{p.a, p.b} {
			if d.fail != nil && (!errors.Is(d.fail.Err, ErrCut) || d.fail.Charge) {
				t.Errorf("cut at %d: %s: %v", n, d.name, d.fail.Err)
			}
		}
		// What a side says is missing is what it lacks; what it sent may not
		// have come.
		for _, d := range []struct{ self, other *side }{{p.a, p.b}, {p.b, p.a}} {
			if d.self.fail == nil || !d.self.fail.Report.Compared {
				continue
			}
			compared++
			r := d.self.fail.Report
			if r.Missing != lacks(d.self.store) || r.Surplus < lacks(d.other.store) {
				t.Errorf("cut at %d: %s says that %d are missing and %d too many, of %d and %d", n, d.self.name,
					r.Missing, r.Surplus, lacks(d.self.store), lacks(d.other.store))
			}
		}
		if p.a.done == nil && len(a.state.Sweeps()) > 1 {
			t.Errorf("cut at %d: sweeps were applied by the initiator", n)
		}
		first := p.a.s.Report().RecordsIn + p.b.s.Report().RecordsIn
		again := newPair(t, w, a, b, MinFrameBytes)
		again.synced()
		if a.root() != root || b.root() != root {
			t.Errorf("cut at %d: not the union afterwards", n)
		}
		second := again.a.done.Report
		if total := first + second.RecordsIn + second.RecordsOut; total > missing+2*2 {
			t.Errorf("cut at %d: %d records crossed in two sessions, %d differ", n, total, missing)
		}
		if r := second; !r.Compared || r.Missing+r.Surplus != 0 {
			t.Errorf("cut at %d: done, and compared %v, missing %d, surplus %d", n, r.Compared, r.Missing, r.Surplus)
		}
	}
	if compared == 0 {
		t.Error("no cut session had compared anything")
	}
}

// TestDisturbedFramesAreRefusedByName truncates, flips, inflates, empties
// and replaces every frame of the scene. Nothing panics, nothing that was
// held is lost, both sides end, and if both call themselves complete they are.
func TestDisturbedFramesAreRefusedByName(t *testing.T) {
	w := newWorld()
	frames, root := undisturbed(t, w)
	inA, inB := scene(w)
	var beforeA, beforeB = w.store(inA...), w.store(inB...)
	viewA, viewB := beforeA.view(), beforeB.view()

	disturb := func(n int, what string, with func([]byte) []byte, refused bool) {
		t.Helper()
		a := &testStore{w: w, state: beforeA.state.Clone(), data: maps.Clone(beforeA.data)}
		b := &testStore{w: w, state: beforeB.state.Clone(), data: maps.Clone(beforeB.data)}
		p := newPair(t, w, a, b, MinFrameBytes)
		p.a.s.view, p.b.s.view = viewA, viewB
		p.stalls = true
		var victim *side
		p.carry = func(i int, from *side, frame []byte) []byte {
			if i != n {
				return frame
			}
			victim = p.other(from)
			return with(bytes.Clone(frame))
		}
		p.run()
		// A list with a wrong ID in it ends well and incomplete: the ID is
		// answered as gone, and nothing is swept.
		if p.a.done != nil && p.b.done != nil && p.a.done.Report.Completed && p.b.done.Report.Completed &&
			(a.root() != root || b.root() != root) {
			t.Errorf("frame %d %s: both done, and they differ", n, what)
		}
		for _, d := range []*side{p.a, p.b} {
			if d.fail != nil && len(d.fail.Err.Error()) < 20 {
				t.Errorf("frame %d %s: %s says only %q", n, what, d.name, d.fail.Err)
			}
		}
		if refused && (victim.fail == nil || !victim.fail.Charge) {
			t.Errorf("frame %d (%v) %s: not refused: %+v", n, FrameType(frames[n][0]), what, victim.fail)
		}
		kept := func(now *testStore, was []*record.Verified, done bool) {
			for _, r := range was {
				if _, ok := now.data[r.ID]; r.Data() && !ok && now.state.Judge(r).String() != "dead" {
					t.Errorf("frame %d %s: %v is lost", n, what, r.ID)
				}
			}
		}
		kept(a, inA, p.a.done != nil)
		kept(b, inB, p.b.done != nil)
	}

	for n, frame := range frames {
		disturb(n, "empty", func([]byte) []byte { return []byte{} }, true)
		disturb(n, "too long", func(b []byte) []byte { return append(b, make([]byte, MinFrameBytes)...) }, true)
		disturb(n, "with one byte more", func(b []byte) []byte { return append(b, 0x55) }, FrameType(frame[0]) != DataFrame)
		disturb(n, "of another type", func(b []byte) []byte { b[0] = 200; return b }, true)
		step := max(1, len(frame)/24)
		for cut := 1; cut < len(frame); cut += step {
			// A shorter message, list of wants or piece of the stream may be
			// a frame in its own right: what is missing shows later, or is
			// waited for until the shell's deadline.
			ft := FrameType(frame[0])
			whole := ft != DataFrame && ft != WantFrame && ft != ReconcileFrame
			disturb(n, "truncated", func(b []byte) []byte { return b[:cut] }, whole)
		}
		for at := 0; at < len(frame); at += step {
			disturb(n, "flipped", func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b }, false)
		}
	}
}
