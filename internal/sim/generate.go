package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// Generate makes the plan of a seed: so many replicas, and every kind of
// fault that there is, in some worlds few of them and in others many.
func Generate(seed uint64, replicas int) Plan {
	g := &generator{rng: rand.New(rand.NewPCG(seed, uint64(replicas)<<32|0x97a1))}
	g.p = Plan{Seed: seed, Replicas: replicas, Interval: 5 * time.Second, Frame: 4096}
	p, rng := &g.p, g.rng
	g.busy = 15*time.Second + time.Duration(rng.IntN(15))*time.Second
	p.Quiet = g.busy + time.Second
	p.Disk = []time.Duration{100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond}[rng.IntN(4)]
	p.Checked = rng.IntN(20) == 0
	p.Deletes = rng.IntN(2) == 0
	p.OnPebble = replicas <= 8 && rng.IntN(40) == 0
	g.links()
	g.people()
	writes := replicas * (2 + rng.IntN(10))
	if replicas > 16 {
		writes = replicas
	}
	for range min(writes, 400) {
		g.do(Action{Do: Write, Replica: g.any(), Arg: rng.Uint64()})
	}
	for range writes / 6 {
		g.do(Action{Do: Sweep, Replica: g.any()})
	}
	for range writes / 8 {
		g.do(Action{Do: Remove, Replica: g.any(), Arg: rng.Uint64()})
	}
	for _, f := range []func(){g.crashes, g.partitions, g.disks, g.clocks, g.copies, g.comings, g.authority} {
		if rng.IntN(2) == 0 {
			f()
		}
	}
	g.rng = rand.New(rand.NewPCG(seed, uint64(replicas)<<32|0xa5c)) // what comes before stays as it is
	if replicas <= 16 && g.rng.IntN(4) == 0 {
		for range g.some(6) {
			g.do(Action{Do: Ask, Replica: g.any(), Other: g.any(), Arg: g.rng.Uint64()})
		}
	}
	g.rng = rand.New(rand.NewPCG(seed, uint64(replicas)<<32|0xd0c))
	edits := min(24, replicas*g.some(4))
	for range edits {
		g.do(Action{Do: Edit, Replica: g.any(), Arg: g.rng.Uint64()})
	}
	for range edits / 4 {
		g.do(Action{Do: Fold, Replica: g.any(), Arg: g.rng.Uint64()})
	}
	g.rng = rand.New(rand.NewPCG(seed, uint64(replicas)<<32|0x0d3e)) // likewise
	g.disorder()
	g.rng = rand.New(rand.NewPCG(seed, uint64(replicas)<<32|0x91a1)) // likewise
	p.Plain = g.rng.IntN(5) == 0
	slices.SortStableFunc(p.Actions, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
	return *p
}

type generator struct {
	p    Plan
	rng  *rand.Rand
	busy time.Duration
}

func (g *generator) any() int { return g.rng.IntN(g.p.Replicas) }

func (g *generator) some(most int) int { return 1 + g.rng.IntN(most) }

func (g *generator) time() time.Duration {
	return time.Second + time.Duration(g.rng.Int64N(int64(g.busy-time.Second)))
}

// do adds an action, at a time of its own unless it has one.
func (g *generator) do(a Action) time.Duration {
	if a.At == 0 {
		a.At = g.time()
	}
	if a.At < g.p.Quiet {
		g.p.Actions = append(g.p.Actions, a)
	}
	return a.At
}

func (g *generator) after(at time.Duration) time.Duration {
	return at + time.Duration(g.rng.Int64N(int64(10*time.Second)))
}

func (g *generator) links() {
	l := &g.p.Links
	l.Least, l.Most, l.Jitter = 10*time.Millisecond, 50*time.Millisecond, 5*time.Millisecond
	switch g.rng.IntN(4) {
	case 0:
		l.Least, l.Most = 100*time.Microsecond, time.Millisecond
	case 1:
		l.Most = 300 * time.Millisecond
	}
	if g.rng.IntN(2) == 0 {
		l.Loss = 0.3 * g.rng.Float64()
	}
	if g.rng.IntN(3) == 0 {
		l.Reset = 0.05 * g.rng.Float64()
	}
}

// disorder lets frames of rumors come twice, or late, in one world of five
// each. Streams do neither, but engines ask nothing of them.
func (g *generator) disorder() {
	if g.rng.IntN(5) == 0 {
		g.p.Links.Twice = 0.3 * g.rng.Float64()
	}
	if g.rng.IntN(5) == 0 {
		g.p.Links.Overtake = 0.3 * g.rng.Float64()
	}
}

// people are the replicas that are no ordinary members. Replica 0 is the
// admin, and stays honest.
func (g *generator) people() {
	n := g.p.Replicas
	late := max(1, n/5)
	for i := n - late; i < n && i > 1; i++ {
		switch g.rng.IntN(4) {
		case 0:
			g.p.Roles = append(g.p.Roles, Role{Replica: i, Late: true, Reader: g.rng.IntN(3) == 0})
			g.do(Action{Do: Join, Replica: i})
			g.do(Action{Do: Join, Replica: i})
		case 1:
			of := 1 + g.rng.IntN(n-late-1)
			g.p.Roles = append(g.p.Roles, Role{Replica: i, CloneOf: of})
			g.do(Action{Do: Clone, Replica: i, Other: of})
		case 2:
			g.p.Roles = append(g.p.Roles, Role{Replica: i, Reader: true})
		}
	}
	if g.rng.IntN(3) > 0 {
		return
	}
	kinds := []Malice{Forging, Truncating, Replaying, Equivocating, Withholding, Lying, Flooding, Raging}
	for i := 1; i <= max(1, n/5) && i < n-late; i++ {
		g.p.Roles = append(g.p.Roles, Role{Replica: i, Malice: kinds[g.rng.IntN(len(kinds))]})
	}
	// A clone of a malicious home would be taken for an honest one.
	g.p.Roles = slices.DeleteFunc(g.p.Roles, func(r Role) bool {
		return r.CloneOf > 0 && g.p.role(r.CloneOf).Malice != ""
	})
}

func (g *generator) crashes() {
	for range g.some(g.p.Replicas) {
		i := g.any()
		at := g.do(Action{Do: Crash, Replica: i})
		g.do(Action{At: g.after(at), Do: Start, Replica: i})
	}
	if g.rng.IntN(8) == 0 { // everybody at once
		at := g.time()
		for i := range g.p.Replicas {
			g.do(Action{At: at, Do: Crash, Replica: i})
			g.do(Action{At: g.after(at), Do: Start, Replica: i})
		}
	}
	for range g.rng.IntN(3) {
		g.do(Action{Do: Freeze, Replica: g.any(), Arg: uint64(g.some(12)) * uint64(time.Second)})
	}
	if g.rng.IntN(6) == 0 && g.p.Replicas > 3 {
		g.do(Action{Do: Leave, Replica: 1 + g.rng.IntN(g.p.Replicas-1)})
	}
}

func (g *generator) partitions() {
	for range g.some(3) {
		at := g.do(Action{Do: Split, Arg: g.rng.Uint64()})
		g.do(Action{At: g.after(at), Do: Heal})
	}
	for range g.rng.IntN(3 * g.p.Replicas) {
		a, b := g.any(), g.any()
		if a == b {
			continue
		}
		at := g.do(Action{Do: Cut, Replica: a, Other: b})
		g.do(Action{At: g.after(at), Do: Mend, Replica: a, Other: b})
	}
}

func (g *generator) disks() {
	for range g.some(3) {
		i := g.any()
		at := g.do(Action{Do: Full, Replica: i})
		g.do(Action{At: g.after(at), Do: Spare, Replica: i})
	}
	for range g.rng.IntN(3) {
		g.do(Action{Do: Slow, Replica: g.any(), Arg: uint64(g.some(100))})
	}
}

// clocks are wrong by up to ten years, and jump.
func (g *generator) clocks() {
	for range g.some(g.p.Replicas) {
		most := []time.Duration{time.Second, time.Hour, 10 * 365 * 24 * time.Hour}[g.rng.IntN(3)]
		by := g.rng.Int64N(int64(2*most)) - int64(most)
		at := time.Duration(1)
		if g.rng.IntN(2) == 0 {
			at = 0
		}
		g.do(Action{At: at, Do: Jump, Replica: g.any(), Arg: uint64(by / 1000)})
	}
}

func (g *generator) copies() {
	for range g.some(2) {
		i := g.any()
		at := g.do(Action{Do: Backup, Replica: i})
		g.do(Action{At: g.after(at), Do: Restore, Replica: i})
	}
}

func (g *generator) comings() {
	if i := 1 + g.rng.IntN(g.p.Replicas-1); g.p.role(i).Malice == "" {
		g.do(Action{Do: Leave, Replica: i})
	}
}

func (g *generator) authority() {
	if g.rng.IntN(2) > 0 || g.p.Replicas < 4 {
		return
	}
	g.p.Sealed = true
	for range g.some(2) {
		i := 1 + g.rng.IntN(g.p.Replicas-1)
		a := Action{Do: Withdraw, Other: i, Arg: uint64(g.rng.IntN(2))}
		g.do(a)
	}
}
