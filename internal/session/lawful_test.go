package session

import (
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"anabranch/record"
	"anabranch/sketch"
)

var (
	lawful     = flag.Int("lawful", 100, "cases of TestPlannedSessionsKeepTheLaw")
	lawfulSeed = flag.Uint64("lawful-seed", 1, "seed of TestPlannedSessionsKeepTheLaw")
)

// lawStore is a testStore with what a planner wants: a sketch, and a log.
type lawStore struct {
	*testStore
	before map[uint64]map[record.ID]*record.Verified // members of the views taken, by version
}

type lawView struct {
	*testView
	store *lawStore
	sk    *sketch.Sketch
}

func (s *lawStore) view() View {
	v := s.testStore.view()
	s.before[v.version] = v.members
	return &lawView{testView: v, store: s}
}

func (v *lawView) Sketch() (*sketch.Sketch, error) {
	if v.sk == nil {
		v.sk = sketch.New(minCells)
		for id := range v.members {
			v.sk.Add(sketch.Of(id))
		}
	}
	return v.sk, nil
}

func (v *lawView) Filter(sweeps []*record.Verified) (View, error) {
	f, err := v.testView.Filter(sweeps)
	if err != nil {
		return nil, err
	}
	return &lawView{testView: f.(*testView), store: v.store}, nil
}

func (v *lawView) EnteredIDs(version uint64, limit int) (ids []record.ID, ok bool, err error) {
	old := v.store.before[version]
	if old == nil {
		return nil, false, nil
	}
	for id := range v.members {
		if old[id] == nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b record.ID) int { return slices.Compare(a[:], b[:]) })
	return ids, len(ids) <= limit, nil
}

// lawPool is what cases draw from, signed once.
type lawPool struct {
	w                            *world
	control, seals, sweeps, data []*record.Verified
}

func newLawPool() *lawPool {
	w := newWorld()
	p := &lawPool{w: w}
	authors := []ed25519.PrivateKey{w.root, keyOf("ada"), keyOf("ben")}
	p.control = []*record.Verified{w.grant(authors[1], record.Writer, 1), w.grant(authors[2], record.Writer, 2), w.grant(authors[1], record.Admin, 3)}
	for i, a := range authors {
		for lane := uint64(1); lane <= 2; lane++ {
			l := uint64(10*(i+1)) + lane
			for n := uint32(1); n <= 120; n++ {
				size := 8
				if n%60 == 0 {
					size = 5000
				}
				p.data = append(p.data, w.entry(a, l, n, binary.BigEndian.AppendUint64(make([]byte, size), l<<32+uint64(n))))
			}
			for k := range uint64(8) {
				r := rand.New(rand.NewPCG(l, k))
				var dots []uint32
				for n := uint32(1); n <= 120; n++ {
					if r.Uint64N(8) < k {
						dots = append(dots, n)
					}
				}
				p.sweeps = append(p.sweeps, w.sweep(a, l, 50+k, append(dots, 120)...))
			}
		}
	}
	for i, g := range p.control {
		for k := range uint64(3) {
			r := rand.New(rand.NewPCG(uint64(i), k))
			var list []record.ID
			for _, d := range append(p.data, p.sweeps...) {
				if r.Uint64N(4) < k {
					list = append(list, d.ID)
				}
			}
			p.seals = append(p.seals, w.seal(g.ID, uint64(90+10*i)+k, list...))
		}
	}
	return p
}

// some draws each record with a share that is drawn too.
func some(r *rand.Rand, rs []*record.Verified, tenths int) (out []*record.Verified) {
	share := r.IntN(tenths + 1)
	for _, x := range rs {
		if r.IntN(10) < share {
			out = append(out, x)
		}
	}
	return out
}

// TestPlannedSessionsKeepTheLaw draws what two replicas hold of data, grants,
// seals and sweeps, what comes in on either side while they speak (sweeps that
// kill what is on its way, seals that hold it back), the order of everything,
// frames, and methods that are switched off. No session fails; the method that
// is reported is one that both take, and the last plan on the link was for it.
// When all rests, one session more makes both equal: to the union by the law,
// where nothing is sealed.
func TestPlannedSessionsKeepTheLaw(t *testing.T) {
	pool := newLawPool()
	used := map[Method]int{}
	moved := 0
	for i := range *lawful {
		r := rand.New(rand.NewPCG(*lawfulSeed, uint64(i)))
		moved += lawfulCase(t, i, r, pool, used)
	}
	t.Logf("seed %d: %d cases, %d records came in meanwhile, methods used: %v", *lawfulSeed, *lawful, moved, used)
	if *lawful < 100 {
		return
	}
	for _, m := range append([]Method{Ranges, Bulk, Equal}, optional...) {
		if used[m] == 0 && m != MethodThin { // these sets are too small for thin cells
			t.Errorf("%s was never used", m)
		}
	}
}

func lawfulCase(t *testing.T, number int, r *rand.Rand, pool *lawPool, used map[Method]int) (moved int) {
	draw := func() []*record.Verified {
		out := slices.Concat(some(r, pool.control, 10), some(r, pool.data, []int{0, 1, 10}[r.IntN(3)]))
		if r.IntN(2) == 0 {
			out = append(out, some(r, pool.sweeps, 3)...)
		}
		return out
	}
	sealed := r.IntN(3) == 0
	late := slices.Concat(some(r, pool.data, 1), some(r, pool.sweeps, 2), some(r, pool.control, 5))
	if sealed {
		late = append(late, some(r, pool.seals, 3)...)
	}
	r.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
	late = late[:min(len(late), 12)]
	shared := draw()
	inA, inB := append(draw(), shared...), append(draw(), shared...)
	if sealed {
		inA, inB = append(inA, some(r, pool.seals, 3)...), append(inB, some(r, pool.seals, 3)...)
	}
	a := &lawStore{pool.w.store(inA...), map[uint64]map[record.ID]*record.Verified{}}
	b := &lawStore{pool.w.store(inB...), map[uint64]map[record.ID]*record.Verified{}}
	union := pool.w.store(slices.Concat(inA, inB)...)
	frame := []int{MinFrameBytes, 6000, 0}[r.IntN(3)]
	var off [2][]Method
	for i := range off {
		for _, m := range optional {
			if r.IntN(4) == 0 {
				off[i] = append(off[i], m)
			}
		}
	}
	log := &Log{Generation: r.Uint64(), Secret: [16]byte{byte(r.Uint32())}}
	var known *Met
	meet := func(live bool) {
		p := newPair(t, pool.w, a.testStore, b.testStore, frame)
		p.trust = true
		p.choose = r.IntN
		for i, d := range []*side{p.a, p.b} {
			d.s.o.Without = off[i]
		}
		p.a.s.view, p.b.s.view = a.view(), b.view()
		p.a.s.o.View, p.b.s.o.View = p.a.s.view, p.b.s.view
		p.a.s.o.Nonce, p.a.s.o.Met, p.b.s.o.Log = seed(r.Uint64()), known, log
		stores := [2]*lawStore{a, b}
		p.a.viewed, p.b.viewed = a.view, b.view
		var last plan
		planned, frames := false, map[FrameType]bool{}
		p.carry = func(_ int, _ *side, f []byte) []byte {
			frames[FrameType(f[0])] = true
			if FrameType(f[0]) == PlanFrame {
				rd := reader{frame: PlanFrame, b: f[1:]}
				if k := rd.plan(); k.kind != planAsk {
					last, planned = k, true
				}
			}
			return f
		}
		if live {
			p.between = func(int) {
				if len(late) > 0 && r.IntN(4) == 0 {
					stores[r.IntN(2)].commit(late[:1])
					union.commit(late[:1])
					late = late[1:]
					moved++
				}
			}
		}
		p.run()
		where := fmt.Sprintf("-lawful-seed %d, case %d", *lawfulSeed, number)
		for _, d := range []*side{p.a, p.b} {
			if d.fail != nil {
				t.Fatalf("%s, %s: %v", where, d.name, d.fail.Err)
			}
		}
		ra, rb := p.a.done.Report, p.b.done.Report
		m := ra.Method
		switch {
		case ra.Root != rb.Root:
			t.Fatalf("%s: reports of two roots", where)
		case slices.Contains(off[0], m) || slices.Contains(off[1], m):
			t.Fatalf("%s: %s, which one side does not take", where, m)
		case !frames[ran[m]]:
			t.Fatalf("%s: %s is reported, frames %v", where, m, frames)
		case slices.Contains(optional, m) && (!planned || rb.Method != m):
			t.Fatalf("%s: %s is reported, and %s, without a plan", where, m, rb.Method)
		case planned && last.kind.method() != m && m != Ranges && !(p.a.s.again && (last.kind == planSketch || last.kind == planPrefix)):
			t.Fatalf("%s: %s is reported, and the plan was %v", where, m, last.kind.method())
		}
		used[m]++
		known = &Met{Root: ra.Root}
		if ra.RecordsOut == 0 {
			known.Cursor = ra.Cursor
		}
	}
	meet(true)
	meet(true)
	for _, x := range late { // what did not come in time
		b.commit([]*record.Verified{x})
		union.commit([]*record.Verified{x})
	}
	late = nil
	meet(false)
	if a.root() != b.root() {
		t.Fatalf("-lawful-seed %d, case %d: roots differ at rest", *lawfulSeed, number)
	}
	if !sealed && a.root() != union.root() {
		t.Fatalf("-lawful-seed %d, case %d: not the union", *lawfulSeed, number)
	}
	return moved
}
