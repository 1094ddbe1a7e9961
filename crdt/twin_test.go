package crdt

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// twin is a state as the table of the types has it, written as plainly as it
// reads: sets of dots by place, no order, no intervals.
type twin struct {
	seen    map[Dot]bool
	events  map[string]map[Dot]string // by place: event to time and value
	totals  map[string][4]uint64      // by place and lane
	forever map[string]bool           // values of a GrowSet, parts of texts
	last    string                    // of a Register: time, lane, value
}

func twinOf(s *State) *twin {
	w := &twin{map[Dot]bool{}, map[string]map[Dot]string{}, map[string][4]uint64{}, map[string]bool{}, ""}
	for lane, spans := range s.seen.lanes {
		for _, x := range spans {
			for n := x.First; n <= x.Last; n++ {
				w.seen[Dot{lane, n}] = true
			}
		}
	}
	for _, n := range s.roots {
		w.take(n, "")
	}
	return w
}

func (w *twin) take(n *node, at string) {
	at += fmt.Sprintf("/%d", n.kind)
	for _, x := range n.items {
		if w.events[at] == nil {
			w.events[at] = map[Dot]string{}
		}
		w.events[at][x.dot] = fmt.Sprintf("%020d%s", x.time, x.value)
	}
	for lane, t := range n.totals {
		w.totals[fmt.Sprintf("%s %d", at, lane)] = [4]uint64{t.up, t.down, t.floorUp, t.floorDown}
	}
	for _, x := range n.parts {
		w.forever[fmt.Sprintf("%s %v %s", at, x.dot, x.value)] = true
	}
	if n.last != nil {
		w.last = fmt.Sprintf("%020d %020d %s", n.last.time, n.last.lane, n.last.value)
	}
	for slot, c := range n.kids {
		if n.kind == GrowSet {
			w.forever[slot.key] = true
			continue
		}
		w.take(c, at+"/"+slot.key)
	}
}

func (w *twin) join(o *twin) *twin {
	out := &twin{map[Dot]bool{}, map[string]map[Dot]string{}, map[string][4]uint64{}, map[string]bool{}, max(w.last, o.last)}
	maps.Copy(out.seen, w.seen)
	maps.Copy(out.seen, o.seen)
	maps.Copy(out.forever, w.forever)
	maps.Copy(out.forever, o.forever)
	for _, t := range []*twin{w, o} {
		for at, v := range t.totals {
			for i := range v {
				v[i] = max(v[i], out.totals[at][i])
			}
			out.totals[at] = v
		}
	}
	keep := func(s, other *twin) { // (s ∩ s') ∪ (s ∖ cc')
		for at, events := range s.events {
			for d, v := range events {
				if _, both := other.events[at][d]; both || !other.seen[d] {
					if out.events[at] == nil {
						out.events[at] = map[Dot]string{}
					}
					out.events[at][d] = max(out.events[at][d], v)
				}
			}
		}
	}
	keep(w, o)
	keep(o, w)
	return out
}

func (w *twin) equal(o *twin) bool {
	return maps.Equal(w.seen, o.seen) && maps.Equal(w.totals, o.totals) && maps.Equal(w.forever, o.forever) && w.last == o.last &&
		maps.EqualFunc(w.events, o.events, maps.Equal[map[Dot]string, map[Dot]string])
}

func TestJoinIsThatOfItsSlowTwin(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 12)
		a, b := w.some(), w.some()
		if x, y := twinOf(joined(a, b)), twinOf(a).join(twinOf(b)); !x.equal(y) {
			t.Fatalf("the join is\n%v, the twin's\n%v", x, y)
		}
	})
}

// A lane that gives one event two contents, or stands it in two places, is
// decided the same way in whatever order its states arrive.
func TestEquivocationIsDecidedAlike(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 10)
		liar := newWorld(w.rng.Uint64(), w.kinds...)
		liar.run(t, 10)
		parts := append(slices.Clone(w.deltas), liar.deltas...)
		a := JoinAll(parts...)
		w.rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		b := new(State)
		for _, p := range parts {
			b.Join(p)
		}
		equal(t, "two orders", a, b)
		equal(t, "cut and joined", JoinAll(a.Split(1024)...), a)
	})
}

// model is what a history means, without contexts or joins: which change
// brought an event, and which changes removed it.
type model struct {
	ops      []op
	replicas []map[int]bool // by replica: the changes it has
}

type op struct {
	by     int
	adds   map[string]string // place and event: value
	kills  map[string]bool   // place and event
	counts map[string][4]uint64
}

func newModel() *model { return &model{} }

// note records a change: what it adds is in its delta; what it kills is every
// event that the replica's own changes, by this model, show at those places
// that the delta's context names.
func (m *model) note(r int, before, delta *State) {
	d := twinOf(delta)
	o := op{by: r, adds: map[string]string{}, kills: map[string]bool{}, counts: d.totals}
	for at, events := range d.events {
		for dot, v := range events {
			o.adds[fmt.Sprint(at, dot)] = v
		}
	}
	alive, _ := m.value(m.replicas[r])
	for e := range alive {
		for dot := range d.seen {
			suffix := fmt.Sprint("", dot)
			if _, again := o.adds[e]; !again && len(e) > len(suffix) && e[len(e)-len(suffix):] == suffix {
				o.kills[e] = true
			}
		}
	}
	m.replicas[r][len(m.ops)] = true
	m.ops = append(m.ops, o)
}

// value is what shows when somebody has some of the changes.
func (m *model) value(has map[int]bool) (alive map[string]string, counts map[string][4]uint64) {
	alive, counts = map[string]string{}, map[string][4]uint64{}
	for i := range has {
		maps.Copy(alive, m.ops[i].adds)
		for at, v := range m.ops[i].counts {
			for k := range v {
				v[k] = max(v[k], counts[at][k])
			}
			counts[at] = v
		}
	}
	for i := range has {
		for e := range m.ops[i].kills {
			delete(alive, e)
		}
	}
	return alive, counts
}

func TestAnEventIsGoneOnceSomebodyWhoSawItRemovedIt(t *testing.T) {
	forEach(t, func(t *testing.T, w *world) {
		w.run(t, 20)
		for r, s := range w.replicas {
			alive, counts := w.model.value(w.model.replicas[r])
			got := map[string]string{}
			mine := twinOf(s)
			for at, events := range mine.events {
				for dot, v := range events {
					got[fmt.Sprint(at, dot)] = v
				}
			}
			if !maps.Equal(got, alive) || !maps.Equal(mine.totals, counts) {
				t.Fatalf("replica %d shows\n%v, the model\n%v", r, got, alive)
			}
		}
	})
}
