package session

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"anabranch/record"
	"anabranch/sketch"
)

var cases = flag.Int("cases", 150, "cases of TestPlannedSessionsEndWithTheUnion")

// ran says by which frames one sees that a method was used.
var ran = map[Method]FrameType{
	MethodPrefix: PlanFrame, MethodCursor: PlanFrame, MethodSketch: CellsFrame, MethodThin: CellsFrame, MethodList: PlanFrame,
	Ranges: ReconcileFrame, Bulk: DataFrame, Equal: WelcomeFrame,
}

// TestPlannedSessionsEndWithTheUnion draws sizes, overlaps, times, frames,
// methods that are off, records that come in meanwhile, and second meetings
// with a cursor. What both held when a session began is on both sides after
// it, its method was one that both took and ran, and a last session over sets
// that rest makes them equal.
func TestPlannedSessionsEndWithTheUnion(t *testing.T) {
	w := newWorld()
	crowds := []*crowd{crowdOf(w, 0, 2048), crowdOf(w, 40, 2048), crowdOf(w, 900, 2048), crowdOf(w, 6000, 2048)}
	used := map[Method]int{}
	for i := range *cases {
		r := rand.New(rand.NewPCG(uint64(i), 8))
		c := crowds[r.IntN(len(crowds))]
		played := plannedCase(t, i, r, c)
		for m, n := range played {
			used[m] += n
		}
	}
	t.Logf("methods used: %v", used)
	for _, m := range append([]Method{Ranges, Bulk, Equal}, optional...) {
		if used[m] == 0 {
			t.Errorf("%s was never used", m)
		}
	}
}

func plannedCase(t *testing.T, number int, r *rand.Rand, c *crowd) map[Method]int {
	a, b := c.replica(), c.replica()
	some := func(most int) []*record.Verified {
		vs := make([]*record.Verified, r.IntN(1+most))
		span, shape := uint64(len(c.place)+1)*apart, r.IntN(3)
		for i := range vs {
			at := 1 + r.Uint64N(span)
			switch shape {
			case 1:
				at = span + r.Uint64N(uint64(1+len(vs))*apart)
			case 2:
				at = 77
			}
			vs[i] = c.fresh(at)
		}
		return vs
	}
	sizes := []int{0, 3, 30, 400, 1500}
	size := func() int { return sizes[r.IntN(len(sizes))] }
	shared := some(size())
	a.add(shared...)
	b.add(shared...)
	a.add(some(size())...)
	b.add(some(size())...)
	var oa, ob Options
	for _, m := range optional {
		if r.IntN(4) == 0 {
			oa.Without = append(oa.Without, m)
		}
		if r.IntN(4) == 0 {
			ob.Without = append(ob.Without, m)
		}
	}
	oa.FrameBytes = []int{MinFrameBytes, 6000, 0, 0}[r.IntN(4)]
	ob.Log = &Log{Generation: r.Uint64(), Secret: [16]byte{byte(r.Uint32())}}
	played := map[Method]int{}
	var last Report
	for range 3 {
		binary.BigEndian.PutUint64(oa.Nonce[:], r.Uint64())
		var before []*record.Verified
		for _, x := range []*replica{a, b} {
			for _, v := range x.extra {
				before = append(before, v)
			}
		}
		late := some(5)
		m := met(a, b, oa, ob, func(_ int, frame []byte) []byte {
			if len(late) > 0 && r.IntN(3) == 0 {
				[]*replica{a, b}[r.IntN(2)].add(late[0])
				late = late[1:]
			}
			return frame
		})
		if m.err != nil {
			t.Fatalf("case %d: %v", number, m.err)
		}
		for _, v := range before {
			if a.extra[v.ID] == nil || b.extra[v.ID] == nil {
				t.Fatalf("case %d: %s lost a record", number, m.report.Method)
			}
		}
		method := m.report.Method
		if slices.Contains(oa.Without, method) || slices.Contains(ob.Without, method) {
			t.Fatalf("case %d: %s, which one side does not take", number, method)
		}
		if !slices.Contains(m.frames, ran[method]) || method != Ranges && method != m.answer.Method {
			t.Fatalf("case %d: %s and %s are reported, frames %v", number, method, m.answer.Method, m.frames)
		}
		if (method == Ranges) != slices.Contains(m.frames, ReconcileFrame) {
			t.Fatalf("case %d: %s is reported, frames %v", number, method, m.frames)
		}
		played[method]++
		last = m.report
		if r.IntN(2) == 0 { // only the responder gets news
			b.add(some(40)...)
		}
		oa.Met = &Met{Root: last.Root}
		if last.RecordsOut == 0 {
			oa.Met.Cursor = last.Cursor
		}
	}
	if m := meet(a, b, oa, ob); m.err != nil {
		t.Fatalf("case %d: %v", number, m.err)
	}
	ra, _ := a.Root()
	rb, _ := b.Root()
	if ra != rb {
		t.Fatalf("case %d: roots differ at rest", number)
	}
	return played
}

// TestAReturningPeerCostsTwoHundredBytes meets twice: equal, and with news at
// the responder, which the cursor tells of in one round trip.
func TestAReturningPeerCostsTwoHundredBytes(t *testing.T) {
	c := newCrowd(20_000)
	a, b := c.replica(), c.replica()
	b.add(c.fresh(5), c.fresh(6))
	ob := Options{Log: &Log{Generation: 1 << 63, Secret: [16]byte{7}}}
	m := meet(a, b, Options{}, ob)
	if m.err != nil || m.report.Cursor == (Cursor{}) {
		t.Fatalf("%v, cursor %x", m.err, m.report.Cursor)
	}
	known := &Met{Root: m.report.Root}
	if m = meet(a, b, Options{Met: known}, ob); m.err != nil || m.overhead > 200 || m.report.Rounds != 1 || m.report.Method != Equal {
		t.Fatalf("equal: %d bytes, %+v, %v", m.overhead, m.report, m.err)
	}
	t.Logf("equal: %d bytes", m.overhead)
	known.Cursor = m.report.Cursor
	for i := range 500 {
		b.add(c.fresh(uint64(1 + 31*i)))
	}
	m = meet(a, b, Options{Met: known}, ob)
	if m.err != nil || m.overhead > 200 || m.report.Rounds != 1 || m.report.Method != MethodCursor || m.report.Unwanted > 0 || m.report.RecordsIn != 500 {
		t.Fatalf("500 records after a cursor: %d bytes, %+v, %v", m.overhead, m.report, m.err)
	}
	t.Logf("500 records after a cursor: %d bytes, %d round trip", m.overhead, m.report.Rounds)
}

// planted is a replica whose sketch takes some records for others, as if
// their IDs began alike.
func planted(r *replica, as map[record.ID]sketch.Symbol) View {
	f := r.frozen()
	for id, y := range as {
		if _, held := f.extra[id]; held {
			f.sk.Remove(sketch.Of(id))
			f.sk.Add(y)
		}
	}
	return f
}

// attacked plays a session that somebody has prepared, and the same with
// ranges alone. It ends with the union, or says that it failed, at no more
// than 1.2 times the cost.
func attacked(t *testing.T, prepare func() (a, b *replica, oa, ob Options, carry func(int, []byte) []byte)) {
	t.Helper()
	a, b, oa, ob, carry := prepare()
	m := met(a, b, oa, ob, carry)
	pa, pb, _, _, _ := prepare()
	alone := meet(pa, pb, Options{Without: optional}, Options{Without: optional})
	if alone.err != nil {
		t.Fatal(alone.err)
	}
	t.Logf("%s, %d bytes, %v; ranges alone %d; %s", m.report.Method, m.overhead, m.err, alone.overhead, m.answer.Why)
	ra, _ := a.Root()
	rb, _ := b.Root()
	if m.err == nil && (ra != rb || a.Count() != pa.Count()) {
		t.Error("it calls itself good, and is not the union")
	}
	if m.err == nil && m.overhead*10 > alone.overhead*12 {
		t.Errorf("%d bytes, ranges alone take %d", m.overhead, alone.overhead)
	}
}

// TestAttacksCostNoMoreThanRanges plays what somebody can do who makes
// records to order, and what a peer can say that is not so.
func TestAttacksCostNoMoreThanRanges(t *testing.T) {
	c := newCrowd(20_000)
	fresh := func(r *rand.Rand, n int) (vs []*record.Verified) {
		for range n {
			vs = append(vs, c.fresh(1+r.Uint64N(20_000*apart)))
		}
		return vs
	}
	type attack = func() (*replica, *replica, Options, Options, func(int, []byte) []byte)
	honest := func(d int) (*rand.Rand, *replica, *replica) {
		r := rand.New(rand.NewPCG(1, uint64(d)))
		c.next = 1 << 28
		a, b := apartBy(c, r, "scattered", d)
		return r, a, b
	}
	attacks := map[string]attack{
		"pairs with one symbol, one on each side": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(100)
			x, y := fresh(r, 20), fresh(r, 20)
			a.add(x...)
			b.add(y...)
			as := map[record.ID]sketch.Symbol{}
			for i := range x {
				as[y[i].ID] = sketch.Of(x[i].ID)
			}
			return a, b, Options{View: planted(a, as)}, Options{View: planted(b, as)}, nil
		},
		"pairs with one symbol on one side": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(100)
			x := fresh(r, 40)
			b.add(x...)
			as := map[record.ID]sketch.Symbol{}
			for i := 0; i < len(x); i += 2 {
				as[x[i].ID] = sketch.Of(x[i+1].ID)
			}
			return a, b, Options{View: planted(a, as)}, Options{View: planted(b, as)}, nil
		},
		"pairs in the same of the first cells": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(100)
			x := fresh(r, 40)
			a.add(x...)
			as := map[record.ID]sketch.Symbol{}
			for i, y := range alike(40, 300) {
				as[x[i].ID] = y
			}
			return a, b, Options{View: planted(a, as)}, Options{View: planted(b, as)}, nil
		},
		"an estimator filled in one place": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(200)
			for n := 0; n < 100; {
				v := c.fresh(33)
				s := sketch.New(0)
				s.Add(sketch.Of(v.ID))
				if e := s.Estimator(); e[5] == 1 {
					a.add(v)
					n++
				}
			}
			return a, b, Options{}, Options{}, nil
		},
		"cells that are noise": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(300)
			return a, b, Options{}, Options{}, func(_ int, f []byte) []byte {
				if FrameType(f[0]) == CellsFrame {
					for i := 1; i < len(f); i++ {
						f[i] = byte(r.Uint32())
					}
				}
				return f
			}
		},
		"names of nobody": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(300)
			return a, b, Options{}, Options{}, func(_ int, f []byte) []byte {
				if FrameType(f[0]) == NamesFrame {
					return sketch.AppendNames([]byte{byte(NamesFrame)}, []uint64{5, 6, 7}, 1<<nameBits(b.Count()))
				}
				return f
			}
		},
		"a plan of one's own making": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(300)
			return a, b, Options{}, Options{}, func(_ int, f []byte) []byte {
				if FrameType(f[0]) == PlanFrame {
					return (&plan{kind: planLog, last: true}).append([]byte{byte(PlanFrame)})
				}
				return f
			}
		},
		"a cursor of somebody else": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(100)
			root, _ := a.Root()
			return a, b, Options{Met: &Met{Root: root, Cursor: Cursor{1, 2, 3}}}, Options{Log: &Log{Generation: 4}}, nil
		},
		"a cursor above what the initiator holds": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(100)
			root, _ := a.Root()
			log := &Log{Generation: 4}
			at := b.Version() - 3
			return a, b, Options{Met: &Met{Root: root, Cursor: log.cursor(record.Key{0xA}, at)}}, Options{Log: log}, nil
		},
		// There is no frontier in an ask: how far back both are equal is what its
		// windows say, and how much differs what its estimator says.
		"windows that claim to be equal": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(300)
			for range 300 {
				b.add(c.fresh(20_001*apart + r.Uint64N(300*apart)))
			}
			return a, b, Options{}, Options{}, asking(func(k *ask) {
				for i := range len(k.windows.marks) / windowMark {
					_, m, err := mark(b.Index(), k.windows.bound(i))
					if err != nil {
						t.Fatal(err)
					}
					copy(k.windows.marks[i*windowMark:], m[:])
				}
			})
		},
		"an estimator that claims to be equal": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(300)
			return a, b, Options{}, Options{}, asking(func(k *ask) { *k.estimator = b.sk.Estimator() })
		},
		"an estimator of noise": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			r, a, b := honest(300)
			return a, b, Options{}, Options{}, asking(func(k *ask) {
				for i := range k.estimator {
					k.estimator[i] = byte(r.Uint32())
				}
			})
		},
		"a root that is a lie": func() (*replica, *replica, Options, Options, func(int, []byte) []byte) {
			_, a, b := honest(100)
			return a, b, Options{}, Options{}, func(from int, f []byte) []byte {
				if FrameType(f[0]) == TotalFrame && from == 1 {
					f[1] ^= 1
				}
				return f
			}
		},
	}
	for name, prepare := range attacks {
		t.Run(name, func(t *testing.T) { attacked(t, prepare) })
	}
}

// asking lets a peer say something else about its set in its hello.
func asking(lie func(*ask)) func(int, []byte) []byte {
	return func(_ int, f []byte) []byte {
		if FrameType(f[0]) != HelloFrame {
			return f
		}
		h, err := ParseHello(f)
		if err != nil {
			panic(err)
		}
		lie(h.ask)
		return h.append(nil, HelloFrame)
	}
}

// alike are n symbols of which each two that follow one another share all
// cells below m.
func alike(n, m int) (out []sketch.Symbol) {
	seen := map[string]sketch.Symbol{}
	r := rand.New(rand.NewPCG(12, 12))
	for len(out) < n {
		y := sketch.Symbol(r.Uint64() >> 16)
		s := sketch.New(m)
		s.Add(y)
		var key []byte
		for i, c := range mustCells(s) {
			if c != 0 {
				key = binary.BigEndian.AppendUint16(key, uint16(i))
			}
		}
		if z, ok := seen[string(key)]; ok {
			out = append(out, z, y)
			delete(seen, string(key))
		} else {
			seen[string(key)] = y
		}
	}
	return out
}

func mustCells(s *sketch.Sketch) []sketch.Cell {
	cells, err := sketch.ParseCells(s.AppendCells(nil, 0, s.Len()))
	if err != nil {
		panic(err)
	}
	return cells
}

// TestLiesEndInErrors has a peer claim what its records do not bear out.
func TestLiesEndInErrors(t *testing.T) {
	c := newCrowd(2000)
	a, b := c.replica(), c.replica()
	b.add(c.fresh(9), c.fresh(10))
	m := met(a, b, Options{}, Options{}, func(from int, f []byte) []byte {
		if t := FrameType(f[0]); (t == TotalFrame || t == StateFrame) && from == 1 {
			f[3] ^= 8
		}
		if FrameType(f[0]) == WelcomeFrame {
			f[len(f)-30] ^= 8 // in the root
		}
		return f
	})
	if m.err == nil {
		t.Errorf("roots that nobody holds end well: %+v", m.report)
	}
}
