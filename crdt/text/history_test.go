package text

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"anabranch/crdt"
)

var histories = flag.Int("histories", 1000, "random histories to play")

// peer is one replica of a random history: a document, its slow twin, and the
// twin's own idea of what must wait.
type peer struct {
	d     *Doc
	t     *twin
	next  uint32
	open  []twinOp
	wait  []letter
	inbox []letter

	caret    int
	watching bool
	shown    []rune // what a watcher of the document believes
}

// letter is a burst in as many deltas as it took, and what the twin is told.
type letter struct {
	deltas []Delta
	ops    []twinOp
}

func newPeer(lane uint64, rng *rand.Rand) *peer {
	limits := []int{scanSpans, 0, 1, 1 << 30}
	p := &peer{d: tiny(lane, limits[rng.IntN(len(limits))]), t: newTwin(), next: 1}
	if rng.IntN(4) == 0 {
		p.d.leafCap, p.d.nodeCap = leafSpans, nodeKids
	}
	if rng.IntN(2) == 0 { // the others take the short ways for typing on
		p.watching = true
		p.d.Watch(func(c Patch) {
			p.shown = slices.Replace(p.shown, c.Pos, c.Pos+c.Delete, []rune(c.Text)...)
		})
	}
	return p
}

const alphabet = "abcdefghijklmnopqrstuvwxyzäßπ€漢😀"

func (p *peer) edit(t testing.TB, rng *rand.Rand) {
	if p.t == nil {
		switch rng.IntN(8) {
		case 0:
			p.d.EndStep()
		case 1:
			p.d.Undo()
			return
		case 2:
			p.d.Redo()
			return
		}
	}
	n := p.d.Len()
	if n > 0 && rng.IntN(5) < 2 {
		pos := rng.IntN(n)
		k := 1 + rng.IntN(min(5, n-pos))
		if err := p.d.Delete(pos, k); err != nil {
			t.Fatal(err)
		}
		for range k {
			if p.t != nil {
				p.open = append(p.open, p.t.delete(pos))
			}
		}
		return
	}
	pos := rng.IntN(n + 1)
	switch rng.IntN(4) {
	case 0:
		pos = min(n, 3) // a popular place
	case 1, 2:
		pos = min(n, p.caret) // typing on
	}
	p.caret = pos + 1
	var s []rune
	for range 1 + rng.IntN(4)*rng.IntN(2) {
		s = append(s, []rune(alphabet)[rng.IntN(26+rng.IntN(7)*rng.IntN(2))])
	}
	if err := p.d.Insert(pos, string(s)); err != nil {
		t.Fatal(err)
	}
	if p.t == nil {
		return
	}
	for i, r := range s {
		p.open = append(p.open, p.t.insert(crdt.Dot{Lane: p.d.Lane(), Number: p.next}, pos+i, r))
		p.next++
	}
}

func (p *peer) flush(limit int) []letter {
	l := letter{ops: p.open}
	p.open = nil
	for _, body := range p.d.Flush(limit) {
		l.deltas = append(l.deltas, Delta{p.d.Lane(), body})
	}
	if len(l.deltas) == 0 {
		return nil
	}
	return []letter{l}
}

// ready reports whether a twin has everything that a letter speaks of.
func (p *peer) ready(l letter) bool {
	own := make(map[crdt.Dot]bool)
	for _, op := range l.ops {
		has := func(d crdt.Dot) bool { return d.IsZero() || own[d] || p.t.has(d) }
		if op.clen > 1 && !has(op.dot) || op.clen == 1 && (!has(op.parent) || op.dot.Number > 1 && !has(crdt.Dot{Lane: op.dot.Lane, Number: op.dot.Number - 1})) {
			return false
		}
		own[op.dot] = true
	}
	return true
}

func (p *peer) receive(t testing.TB, rng *rand.Rand, l letter) {
	for _, i := range rng.Perm(len(l.deltas)) {
		res, err := p.d.Apply(l.deltas[i].Lane, l.deltas[i].Body)
		if err != nil || len(res.Refused) > 0 {
			t.Fatalf("apply: %v %+v", err, res)
		}
	}
	if p.t == nil {
		return
	}
	p.wait = append(p.wait, l)
	for again := true; again; {
		again = false
		p.wait = slices.DeleteFunc(p.wait, func(l letter) bool {
			if !p.ready(l) {
				return false
			}
			for _, op := range l.ops {
				p.t.apply(op)
			}
			again = true
			return true
		})
	}
}

func (p *peer) compare(t testing.TB) {
	if p.t == nil {
		if got := p.d.String(); p.watching && got != string(p.shown) {
			t.Fatalf("the document reads %q, a watcher %q", got, string(p.shown))
		}
		return
	}
	if got, want := p.d.String(), p.t.String(); got != want || p.watching && string(p.shown) != want {
		t.Fatalf("the document reads %q, a watcher %q, the twin %q", got, string(p.shown), want)
	}
	i := 0
	order := p.t.order()
	for k := p.d.first; k >= 0; k = p.d.leaves[k].next {
		for j := range p.d.leaves[k].n {
			s := &p.d.leaves[k].spans[j]
			for c := range s.n {
				dot := crdt.Dot{Lane: p.d.lanes[s.id.lane()].name, Number: s.id.number() + c}
				if i >= len(order) || order[i].dot != dot || order[i].clen != s.clen {
					t.Fatalf("character %d is %v with causal length %d", i, dot, s.clen)
				}
				i++
			}
		}
	}
	if i != len(order) {
		t.Fatalf("%d characters, the twin has %d", i, len(order))
	}
}

func TestRandomHistoriesEndLikeTheirTwins(t *testing.T) {
	for seed := range *histories {
		play(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// play lets 2 to 6 replicas write, lose the order of what they send, see some
// of it twice and be cut off from each other, until all is delivered.
func play(t *testing.T, seed uint64) {
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	rng := rand.New(rand.NewPCG(seed, 10))
	peers := make([]*peer, 2+rng.IntN(5))
	alone := seed%4 == 3 // without twins, documents edit while they wait for others
	for i := range peers {
		peers[i] = newPeer(1+rng.Uint64N(1<<60), rng)
		if alone {
			peers[i].t = nil
		}
	}
	group := make([]int, len(peers))
	held := make(map[[2]int][]letter)
	send := func(from int, l letter) {
		for to := range peers {
			if to == from {
				continue
			}
			if group[to] != group[from] {
				held[[2]int{from, to}] = append(held[[2]int{from, to}], l)
				continue
			}
			peers[to].inbox = append(peers[to].inbox, l)
		}
	}
	for range 10 + rng.IntN(60) {
		i := rng.IntN(len(peers))
		p := peers[i]
		switch rng.IntN(12) {
		case 0:
			for k := range group {
				group[k] = rng.IntN(2)
			}
		case 1:
			clear(group)
			for from := range peers {
				for to := range peers {
					peers[to].inbox = append(peers[to].inbox, held[[2]int{from, to}]...)
				}
			}
			clear(held)
		case 2, 3, 4, 5, 6:
			if p.t != nil && len(p.wait) > 0 {
				continue // the document may have parts of it, and the twin none
			}
			p.edit(t, rng)
			if rng.IntN(3) > 0 {
				for _, l := range p.flush(1 + rng.IntN(200)) {
					send(i, l)
				}
			}
		default:
			if len(p.inbox) == 0 {
				continue
			}
			k := rng.IntN(len(p.inbox))
			l := p.inbox[k]
			if rng.IntN(4) > 0 {
				p.inbox = slices.Delete(p.inbox, k, k+1)
			}
			p.receive(t, rng, l)
		}
		if p.d.Parked() == 0 && len(p.wait) == 0 {
			p.compare(t)
		}
	}
	for i, p := range peers {
		for _, l := range p.flush(0) {
			send(i, l)
		}
	}
	for from := range peers {
		for to := range peers {
			peers[to].inbox = append(peers[to].inbox, held[[2]int{from, to}]...)
		}
	}
	for _, p := range peers {
		rng.Shuffle(len(p.inbox), func(i, j int) { p.inbox[i], p.inbox[j] = p.inbox[j], p.inbox[i] })
		for _, l := range p.inbox {
			p.receive(t, rng, l)
		}
		if p.d.Parked() != 0 || len(p.d.Missing()) != 0 {
			t.Fatalf("seed %d: %d deltas still wait, for %v", seed, p.d.Parked(), p.d.Missing())
		}
		p.compare(t)
		check(t, p.d)
		if seed%8 == 0 {
			roundTrip(t, p.d)
		}
		c, first := p.d.columns(), peers[0].d.columns()
		if !bytes.Equal(c.structure, first.structure) || !bytes.Equal(c.live, first.live) || !bytes.Equal(c.dead, first.dead) {
			t.Fatalf("seed %d: replicas that hold the same are saved differently", seed)
		}
		if p.d.String() != peers[0].d.String() {
			t.Fatalf("seed %d: replicas differ", seed)
		}
	}
	// A stranger needs no letters: what one document lacks is told by another.
	far := New(0)
	for _, delta := range peers[0].d.Since(far.Version()) {
		if _, err := far.Apply(delta.Lane, delta.Body); err != nil {
			t.Fatal(err)
		}
	}
	if far.String() != peers[0].d.String() || far.Parked() != 0 {
		t.Fatalf("seed %d: a stranger reads %q, want %q", seed, far.String(), peers[0].d.String())
	}
}

func TestConcurrentTypingNeverInterleaves(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		writers := 2 + rng.IntN(3)
		base := New(99)
		if err := base.Insert(0, "<>"); err != nil {
			t.Fatal(err)
		}
		start := base.Flush(0)[0]
		var words []string
		var all []Delta
		for w := range writers {
			d := tiny(uint64(1+w), scanSpans)
			mustApply(t, d, Delta{99, start})
			word := strings.Repeat(fmt.Sprint(w), 3+rng.IntN(5))
			backward := rng.IntN(2) == 0
			for i := range len(word) {
				pos := 1 + i
				if backward {
					pos = 1
				}
				if err := d.Insert(pos, word[i:i+1]); err != nil {
					t.Fatal(err)
				}
				for _, body := range d.Flush(0) {
					all = append(all, Delta{d.Lane(), body})
				}
			}
			words = append(words, word)
		}
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		d := tiny(0, scanSpans)
		mustApply(t, d, Delta{99, start})
		for _, delta := range all {
			if _, err := d.Apply(delta.Lane, delta.Body); err != nil {
				t.Fatal(err)
			}
		}
		for _, word := range words {
			if !strings.Contains(d.String(), word) {
				t.Fatalf("round %d: %q is torn in %q", round, word, d.String())
			}
		}
	}
}
