package text

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// folding is a replica of a history in which authors fold: its document, made
// of live records by whatever way they came, and what it wrote.
type folding struct {
	d    *Doc
	mine []*paper
	has  map[*paper]bool
	away bool
	dead []byte // what Dead said some time ago
}

// paper is a record: a delta of a lane, and the papers that it stands for.
type paper struct {
	lane uint64
	body []byte
	of   []*paper
}

// TestFoldsSayWhatTheirDeltasSaid: replicas write, delete, fold, drop what is
// dead and sweep; one is away all the time, with edits of its own that point
// into what is dropped meanwhile. In the end all read what a document reads
// that was given every delta ever written and no fold, and are saved alike.
func TestFoldsSayWhatTheirDeltasSaid(t *testing.T) {
	folds, drops := 0, 0
	for seed := range *histories {
		rng := rand.New(rand.NewPCG(uint64(seed), 0xf01d))
		rs := make([]*folding, 2+rng.IntN(3))
		for i := range rs {
			rs[i] = &folding{d: tiny(uint64(i+1), []int{scanSpans, 0, 1}[rng.IntN(3)]), has: map[*paper]bool{}}
		}
		var all []*paper
		swept := map[*paper]bool{}
		give := func(r *folding, p *paper) {
			if swept[p] || r.has[p] && rng.IntN(4) > 0 {
				return // what was swept is neither offered nor accepted
			}
			r.has[p] = true
			if _, err := r.d.Apply(p.lane, p.body); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		write := func(r *folding) {
			for _, b := range r.d.Flush(1 + rng.IntN(300)) {
				p := &paper{lane: r.d.Lane(), body: b}
				r.mine, all, r.has[p] = append(r.mine, p), append(all, p), true
			}
		}
		sync := func(a, b *folding) {
			for _, x := range []*folding{a, b} {
				from := b
				if x == b {
					from = a
				}
				var list []*paper
				for _, p := range all {
					if from.has[p] {
						list = append(list, p)
					}
				}
				rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				for _, p := range list {
					give(x, p)
				}
			}
		}
		for step := range 30 + rng.IntN(60) {
			r := rs[rng.IntN(len(rs))]
			if step == 20 {
				rs[0].away = true
			}
			switch rng.IntN(10) {
			case 0, 1, 2, 3, 4:
				n := r.d.Len()
				if n > 4 && rng.IntN(3) == 0 {
					k := 1 + rng.IntN(4)
					if err := r.d.Delete(rng.IntN(n-k+1), k); err != nil {
						t.Fatal(err)
					}
				} else if err := r.d.Insert(rng.IntN(n+1), []string{"ab", "cde", "ä", "漢x", "long words "}[rng.IntN(5)]); err != nil {
					t.Fatal(err)
				}
				write(r)
			case 5, 6, 7:
				if o := rs[rng.IntN(len(rs))]; o != r && !o.away && !r.away {
					sync(r, o)
				}
			case 8:
				r.dead = r.d.Dead(r.d.Lane())
			default:
				if r.away || len(r.mine) < 2 {
					continue
				}
				begin := rng.IntN(len(r.mine) - 1)
				end := begin + 2 + rng.IntN(len(r.mine)-begin-1)
				var bodies [][]byte
				for _, p := range r.mine[begin:end] {
					bodies = append(bodies, p.body)
				}
				body, dropped, err := r.d.Fold(r.d.Lane(), bodies, r.dead)
				if errors.Is(err, ErrGap) {
					continue
				}
				if err != nil || body == nil {
					t.Fatalf("seed %d: fold: %v", seed, err)
				}
				folds, drops = folds+1, drops+dropped
				p := &paper{lane: r.d.Lane(), body: body, of: slices.Clone(r.mine[begin:end])}
				for _, old := range p.of {
					swept[old] = true
				}
				all = append(all, p)
				give(r, p)
				r.mine = slices.Replace(r.mine, begin, end, p)
			}
		}
		rs[0].away = false
		for range 2 {
			for i, a := range rs {
				for _, b := range rs[:i] {
					sync(a, b)
				}
			}
		}
		plain, anew := tiny(0, scanSpans), tiny(0, scanSpans)
		for _, p := range all {
			if p.of == nil {
				if _, err := plain.Apply(p.lane, p.body); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
			if !swept[p] {
				if _, err := anew.Apply(p.lane, p.body); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		want := plain.String()
		first := anew.columns()
		for i, r := range append(rs, &folding{d: anew}) {
			if r.d.Parked() > 0 || r.d.String() != want {
				t.Fatalf("seed %d: replica %d reads %q with %d waiting, want %q", seed, i, r.d.String(), r.d.Parked(), want)
			}
			c := r.d.columns()
			if !bytes.Equal(c.structure, first.structure) || !bytes.Equal(c.live, first.live) || !bytes.Equal(c.dead, first.dead) {
				t.Fatalf("seed %d: replica %d is saved differently: %q %q", seed, i, c.dead, first.dead)
			}
			check(t, r.d)
			if seed%8 == 0 {
				roundTrip(t, r.d)
			}
		}
	}
	if folds < *histories || drops < *histories {
		t.Errorf("%d folds and %d dropped characters are too few to show anything", folds, drops)
	}
	t.Logf("%d folds, %d characters dropped", folds, drops)
}

// TestNobodyDropsWhatAnotherTyped: the causal length that drops is refused for
// another lane's character, and no undo beats it.
func TestNobodyDropsWhatAnotherTyped(t *testing.T) {
	a, b := New(1), New(2)
	if err := a.Insert(0, "secret"); err != nil {
		t.Fatal(err)
	}
	typed := a.Flush(0)[0]
	mustApply(t, b, Delta{1, typed})
	if err := b.Delete(0, 6); err != nil {
		t.Fatal(err)
	}
	gone := b.Flush(0)[0]
	mustApply(t, a, Delta{2, gone})
	body, dropped, err := a.Fold(1, [][]byte{typed}, a.Dead(1))
	if err != nil || dropped != 6 {
		t.Fatal(dropped, err)
	}
	if bytes.Contains(body, []byte("secret")) {
		t.Errorf("the fold says what it dropped: %q", body)
	}
	var format *FormatError
	forged := []byte{deltaVersion | hasLanes | hasClaims, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 6<<1 | 1, 0x80, 0x80, 0x80, 0x80, 0x04}
	if _, err := New(3).Apply(3, forged); !errors.As(err, &format) {
		t.Errorf("another lane drops: %v", err)
	}
	forged[len(forged)-1] = 0x02 // half of it is a causal length like others
	if res, err := New(3).Apply(3, forged); err != nil || res.Status != Parked {
		t.Errorf("another lane claims: %v %v", res.Status, err)
	}
	mustApply(t, b, Delta{1, body})
	if b.Undo(); b.String() != "" || b.Dropped() != 6 {
		t.Errorf("what was dropped shows as %q", b.String())
	}
	far := New(0)
	mustApply(t, far, Delta{1, body})
	mustApply(t, far, Delta{1, typed})
	mustApply(t, far, Delta{2, gone})
	if far.String() != "" || !bytes.Equal(far.columns().dead, b.columns().dead) {
		t.Errorf("a document that met the fold first keeps %q", far.columns().dead)
	}
}

func FuzzFold(f *testing.F) {
	ok := Folded{Dropped: 7, Parts: []FoldedPart{{Lane: 3, Spans: []FoldedSpan{{1, 4, 2}, {6, 6, 1}}, Body: []byte("x")}, {Lane: 9, Spans: []FoldedSpan{{2, 2, 1}}}}}
	f.Add(ok.AppendTo(nil))
	f.Add([]byte{foldVersion, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseFold(b)
		if err != nil {
			return
		}
		if again := p.AppendTo(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x is written again as %x", b, again)
		}
	})
}

func TestSpansOfFoldsAreJoined(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SliceOfN(rapid.IntRange(0, 2), 1, 40).Draw(t, "numbers") // 0: of other texts, 1: folded, 2: live
		var spans []FoldedSpan
		var live []uint32
		want := 0
		for i, k := range kind {
			switch n := uint32(i + 1); k {
			case 1:
				spans = append(spans, FoldedSpan{n, n, 1})
				want++
			case 2:
				live = append(live, n)
			}
		}
		out := JoinSpans(spans, live)
		for i, s := range out {
			for n := s.First; n <= s.Last; n++ {
				switch kind[n-1] {
				case 1:
					want--
				case 2:
					t.Fatalf("a span has a live record: %v", out)
				}
			}
			if i > 0 && !slices.Contains(kind[out[i-1].Last:s.First-1], 2) {
				t.Fatalf("two spans where one would do: %v", out)
			}
		}
		if want != 0 {
			t.Fatalf("records are counted wrongly: %v", out)
		}
	})
}
