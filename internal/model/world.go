package model

import (
	"math/rand/v2"
	"slices"

	"anabranch/record"
)

// Options says what happens in a world.
type Options struct {
	Replicas, Authors, Steps int
	Seals                    bool
	Forks                    bool // restored stores: one lane written in two places
	Vandals                  bool // sweeps, seals and times that no honest replica would write
	Deletes                  bool // deleted documents, and entries removed by a sweep alone
}

// World is a few replicas of one space that write, exchange and prune.
type World struct {
	*Universe
	Options
	Replicas []*Replica

	rng     *rand.Rand
	now     uint64 // microseconds
	lane    uint64 // the last lane opened
	written Set    // whatever reached a replica
	broken  string // the first violation, empty if none
	last    [5]judged
}

// judged remembers a judgement: a world asks for the same one again and again.
type judged struct {
	k  Set
	j  Judgement
	ok bool
}

// Replica is one store.
type Replica struct {
	Known    Set                 // what is stored here: members, held, dead
	keys     []record.Key        // authors that write here, who keep what is theirs
	pens     map[record.Key]*pen // their present lanes
	readable map[string]bool     // paths that could once be read here
}

// pen is an author's lane from one incarnation of a store.
type pen struct {
	lane  uint64
	next  uint32
	swept map[uint32]bool // bits of this lane that were written here
}

// NewWorld makes a world at its beginning: empty replicas, each the home of
// some authors, the root key at home on the first.
func NewWorld(rng *rand.Rand, o Options, broken Break) *World {
	w := &World{Universe: NewUniverse([]record.Key{Key(0)}, 3), Options: o, rng: rng, now: 10}
	w.Break = broken
	for range o.Replicas {
		w.Replicas = append(w.Replicas, &Replica{pens: make(map[record.Key]*pen), readable: make(map[string]bool)})
	}
	for a := range o.Authors {
		home := w.Replicas[a%o.Replicas]
		home.keys = append(home.keys, Key(a))
		if other := pick(rng, w.Replicas); o.Forks && other != home && rng.IntN(2) == 0 {
			other.keys = append(other.keys, Key(a)) // one author, two stores
		}
	}
	return w
}

// judge is Judge with a memory.
func (w *World) judge(k Set) Judgement {
	for i := range w.last {
		if l := &w.last[i]; l.ok && l.k == k {
			return l.j
		}
	}
	j := w.Judge(k)
	copy(w.last[1:], w.last[:])
	w.last[0] = judged{k: k, j: j, ok: true}
	return j
}

func (w *World) members(r *Replica) Set { return w.judge(r.Known).Members }

// Run lets a world happen, heals it, and returns what was violated, or "".
func (w *World) Run() string {
	w.begin()
	for range w.Steps {
		w.step(0)
		if w.broken != "" {
			return w.broken
		}
	}
	return w.heal()
}

// begin gives a first admin and a few members, known to their issuers.
func (w *World) begin() {
	first := w.Replicas[0]
	for a := 1; a < w.Authors; a++ {
		for range w.rng.IntN(3) {
			w.learn(first, w.grant(w.rng, nil, a, pick(w.rng, []record.Role{2, 3, 3}), pick(w.rng, areaPaths[:5])))
		}
	}
	for _, r := range w.Replicas[1:] {
		if w.rng.IntN(3) > 0 {
			w.pull(r, first, 1)
		}
	}
}

// learn stores a record on a replica.
func (w *World) learn(r *Replica, x *Record) {
	r.Known = r.Known.With(x)
	w.written = w.written.With(x)
}

// step does one thing at random; depth says how deep inside a session.
func (w *World) step(depth int) {
	w.now += 1 + w.rng.Uint64N(3)
	r := pick(w.rng, w.Replicas)
	switch x := w.rng.IntN(28); {
	case x < 9:
		w.write(r)
	case x < 14:
		w.sweepSome(r)
	case x < 16:
		w.admit(r)
	case x < 19 && w.Seals:
		w.withdraw(r)
	case x < 20:
		w.prune(r)
	case x < 21:
		w.rumor(r, pick(w.rng, w.Replicas))
	case x < 22 && w.Forks:
		w.fork(r)
	default:
		if other := pick(w.rng, w.Replicas); other != r && depth < 2 {
			w.pull(r, other, depth)
		}
	}
	w.look(r)
}

// prune destroys some of what may be destroyed, and some held records of
// authors that are not at home here.
func (w *World) prune(r *Replica) {
	gone := w.Destroyable(r.Known)
	for _, x := range w.In(r.Known) {
		if gone.Has(x) && w.rng.IntN(4) > 0 {
			r.Known = r.Known.Minus(Set{}.With(x))
		}
	}
	held := w.judge(r.Known).Held
	for _, x := range w.In(held) {
		if !slices.Contains(r.keys, x.Author) && w.rng.IntN(4) == 0 {
			r.Known = r.Known.Minus(Set{}.With(x))
		}
	}
}

// rumor pushes one member to another replica. Sweeps are never rumors.
func (w *World) rumor(from, to *Replica) {
	rumors := w.Where(w.members(from), func(r *Record) bool { return r.Kind != record.Sweep || w.Break == SweepsFirst })
	if rs := w.In(rumors); len(rs) > 0 {
		w.learn(to, pick(w.rng, rs))
		w.look(to)
	}
}

// fork makes another replica write on in a lane as if it were the only one:
// a store restored unnoticed.
func (w *World) fork(r *Replica) {
	for _, key := range r.keys {
		other := pick(w.rng, w.Replicas)
		if p := r.pens[key]; p != nil && other != r && slices.Contains(other.keys, key) {
			back := w.rng.Uint32N(3)
			other.pens[key] = &pen{lane: p.lane, next: max(1, p.next-min(back, p.next)), swept: make(map[uint32]bool)}
		}
	}
}

// look checks that a path which could be read can still be read. It holds
// where nobody deletes, seals, vandalises or forks: there, whatever a sweep
// removes was overwritten.
func (w *World) look(r *Replica) {
	if w.Deletes || w.Seals || w.Vandals || w.Forks {
		return
	}
	now := make(map[string]bool)
	for _, x := range w.In(w.members(r)) {
		if x.Kind == record.Doc {
			now[x.Path] = true
			r.readable[x.Path] = true
		}
	}
	for _, path := range dataPaths {
		if r.readable[path] && !now[path] && w.broken == "" {
			w.broken = "a path that could be read was lost: " + path
		}
	}
}
