package fetch

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"anabranch/blob"
)

// crowd is sources of one content that answer as they like, and the machine
// that fetches from them, driven with a clock of its own.
type crowd struct {
	t       *rapid.T
	m       *Machine
	now     time.Time
	rng     *rand.Rand
	has     map[Peer]*blob.Set
	lies    map[Peer]bool
	stalls  map[Peer]bool
	pending []Get
	got     *blob.Set
	twice   uint64
	done    bool
	blamed  map[Peer]int
	asked   []Get
}

func (c *crowd) step(in Input) {
	for _, out := range c.m.Step(c.now, in) {
		switch out := out.(type) {
		case Ask:
			for _, n := range out.Names {
				set := c.has[out.Peer]
				c.step(Offered{Peer: out.Peer, Name: n, Set: set.Clone(), Whole: set.Full()})
			}
		case Get:
			if !out.Span.Within(out.Name) || out.Span.Len() > 8 {
				c.t.Fatalf("asked for %v", out.Span)
			}
			if !c.has[out.Peer].HasAll(out.Span) {
				c.t.Fatal("asked for what the peer does not have")
			}
			c.pending = append(c.pending, out)
			c.asked = append(c.asked, out)
		case Cut:
			if !c.stalls[out.Peer] {
				c.t.Fatal("cut a peer that sends")
			}
			c.pending = drop(c.pending, out.Peer)
			c.step(Left(out))
		case Blame:
			if !c.lies[out.Peer] {
				c.t.Fatal("blamed a peer that does not lie")
			}
			c.blamed[out.Peer]++
		case Done:
			c.done = true
		}
	}
}

func drop(all []Get, p Peer) (out []Get) {
	for _, g := range all {
		if g.Peer != p {
			out = append(out, g)
		}
	}
	return out
}

// serve lets one request that is out move on.
func (c *crowd) serve() {
	c.now = c.now.Add(time.Duration(c.rng.IntN(40)) * time.Millisecond)
	var able []int
	for i, g := range c.pending {
		if !c.stalls[g.Peer] {
			able = append(able, i)
		}
	}
	if len(able) == 0 {
		c.now = c.now.Add(time.Second)
		c.step(Tick{})
		return
	}
	i := able[c.rng.IntN(len(able))]
	g := c.pending[i]
	c.pending = append(c.pending[:i], c.pending[i+1:]...)
	if c.lies[g.Peer] && c.rng.IntN(3) == 0 {
		c.step(Ended{g.Peer, g.Request, False})
		return
	}
	c.twice += g.Span.Len() - c.got.Add(g.Span)
	c.step(Arrived{g.Peer, g.Request, g.Span})
	c.step(Ended{g.Peer, g.Request, Served})
	c.step(Tick{})
}

// Whoever lies or stalls, as long as honest peers have all of it together it
// comes whole, and without stallers nothing is asked for twice.
func TestContentComesWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := blob.Name{Size: rapid.Uint64Range(0, 200*blob.GroupBytes).Draw(t, "size")}
		c := &crowd{t: t, m: New(Options{Patience: 2 * time.Second}), now: time.Unix(1, 0), has: map[Peer]*blob.Set{},
			lies: map[Peer]bool{}, stalls: map[Peer]bool{}, blamed: map[Peer]int{}, got: blob.NewSet(name),
			rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))}
		n := rapid.IntRange(1, 5).Draw(t, "peers")
		for i := range n {
			p := Peer{byte(i)}
			c.has[p] = blob.NewSet(name)
			c.has[p].Add(name.Whole())
			switch {
			case i == 0: // honest, and has it all, or half of it with the next
			case rapid.IntRange(0, 3).Draw(t, "kind") == 0:
				c.lies[p] = true
			case rapid.IntRange(0, 3).Draw(t, "kind") == 0:
				c.stalls[p] = true
			default:
				c.has[p].Remove(blob.Span{Begin: 0, End: rapid.Uint64Range(0, name.Groups()).Draw(t, "lacks")})
			}
		}
		c.step(Want{Name: name})
		for p := range n {
			c.step(Joined{Peer{byte(p)}})
		}
		for i := 0; !c.done && i < 5000; i++ {
			c.serve()
			if c.rng.IntN(20) == 0 {
				p := Peer{byte(c.rng.IntN(n))}
				c.pending = drop(c.pending, p)
				c.step(Left{p})
				c.step(Joined{p})
			}
		}
		if !c.done || !c.got.Full() {
			t.Fatalf("%d of %d groups came", c.got.Len(), name.Groups())
		}
		if len(c.stalls) == 0 && len(c.lies) == 0 && c.twice > 0 {
			t.Fatalf("%d groups came twice", c.twice)
		}
		if len(c.m.Wanted()) > 0 {
			t.Fatal("it is still wanted")
		}
	})
}

// The last group is asked for first, and alone: it refutes a false size.
func TestTheSizeIsProvenFirst(t *testing.T) {
	name := blob.Name{Size: 1 << 40}
	m := New(Options{})
	m.Step(time.Unix(1, 0), Want{Name: name, Have: blob.NewSet(name)})
	m.Step(time.Unix(1, 0), Joined{Peer{1}})
	out := m.Step(time.Unix(1, 0), Offered{Peer: Peer{1}, Name: name, Whole: true})
	last := name.Groups() - 1
	if len(out) != 1 || out[0].(Get).Span != (blob.Span{Begin: last, End: last + 1}) {
		t.Fatalf("%+v", out)
	}
	out = m.Step(time.Unix(1, 0), Ended{Peer{1}, out[0].(Get).Request, False})
	for _, o := range out {
		if _, ok := o.(Get); ok {
			t.Fatalf("a liar is asked again: %+v", o)
		}
	}
}

// What a reader waits for comes before everything else.
func TestReadersComeFirst(t *testing.T) {
	a, b := blob.Name{Size: 100 * blob.GroupBytes}, blob.Name{Hash: blob.Hash{1}, Size: 1000 * blob.GroupBytes}
	m := New(Options{})
	now := time.Unix(1, 0)
	haveA, haveB := blob.NewSet(a), blob.NewSet(b)
	haveA.Add(blob.Span{Begin: 99, End: 100})
	haveB.Add(blob.Span{Begin: 999, End: 1000})
	m.Step(now, Want{Name: a, Have: haveA})
	m.Step(now, Want{Name: b, Have: haveB})
	m.Step(now, Urge{Name: b, Span: blob.Span{Begin: 504, End: 520}})
	m.Step(now, Joined{Peer{1}})
	m.Step(now, Offered{Peer: Peer{1}, Name: a, Whole: true})
	var first *Get
	for _, out := range m.Step(now, Offered{Peer: Peer{1}, Name: b, Whole: true}) {
		if g, ok := out.(Get); ok && first == nil {
			first = &g
		}
	}
	if first == nil {
		// The window was full with the other one: its end makes room.
		for _, out := range m.Step(now, Ended{Peer{1}, 1, Served}) {
			if g, ok := out.(Get); ok {
				first = &g
			}
		}
	}
	if first == nil || first.Name != b || first.Span.Begin != 504 {
		t.Fatalf("%+v", first)
	}
}

// Questions end: in any graph each replica passes one on at most once, and a
// flood is bounded by its sender's allowance.
func TestQuestionsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(t, "replicas")
		near := make([][]int, n)
		for i := range n {
			for j := range i {
				if rapid.Bool().Draw(t, "edge") {
					near[i], near[j] = append(near[i], j), append(near[j], i)
				}
			}
		}
		routers := make([]*Router, n)
		for i := range routers {
			routers[i] = NewRouter()
		}
		type message struct {
			from, to int
			q        Question
		}
		now := time.Unix(1, 0)
		q := routers[0].Own(now, QuestionID{1}, blob.Name{Size: 1})
		var queue []message
		for _, j := range near[0] {
			queue = append(queue, message{0, j, q})
		}
		messages := 0
		for len(queue) > 0 {
			x := queue[0]
			queue = queue[1:]
			if messages++; messages > n*n {
				t.Fatalf("%d messages among %d", messages, n)
			}
			verdict, on := routers[x.to].Heard(now, Peer{byte(x.from)}, x.q, false)
			if verdict != Forward {
				continue
			}
			if on.Hops >= x.q.Hops {
				t.Fatal("hops do not count down")
			}
			for _, j := range near[x.to] {
				if j != x.from {
					queue = append(queue, message{x.to, j, on})
				}
			}
		}
	})
	r := NewRouter()
	passed := 0
	for i := range 100_000 {
		v, _ := r.Heard(time.Unix(1, int64(i)), Peer{7}, Question{QuestionID{byte(i), byte(i >> 8), byte(i >> 16)}, 255, blob.Name{}}, false)
		if v == Forward {
			passed++
		}
	}
	if passed > askBurst || len(r.asked) > maxQuestions {
		t.Errorf("%d of a flood are passed on, %d remembered", passed, len(r.asked))
	}
}

func FuzzDecode(f *testing.F) {
	name := blob.Sum([]byte("x"))
	set := blob.NewSet(blob.Name{Size: 1 << 20})
	set.Add(blob.Span{Begin: 3, End: 9})
	for _, x := range []Frame{Hello{}, Welcome{}, Names{name, name}, Offer{Name: name}, Offer{Name: name, Whole: true},
		Offer{Name: blob.Name{Size: 1 << 20}, Set: set}, Request{1, name, name.Whole()}, Data{2, []byte("abc")}, End{3, Absent},
		Question{QuestionID{1}, 3, name}, AnswerTo{QuestionID{2}}} {
		b := x.Append(nil)
		if y, err := Decode(b, 1<<20); err != nil || !bytes.Equal(y.Append(nil), b) {
			f.Fatalf("%#v: %v", x, err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := Decode(b, 1<<12); err == nil && !bytes.Equal(x.Append(nil), b) {
			t.Fatalf("%x is not the one spelling of %#v", b, x)
		}
	})
}

// Frames that ask for what is none are refused before anything is done.
func TestHostileFramesAreRefused(t *testing.T) {
	name := blob.Name{Size: 10 * blob.GroupBytes}
	huge := blob.Name{Size: blob.MaxSize}
	whole := blob.NewSet(blob.Name{Size: 1 << 20})
	whole.Add(blob.Span{Begin: 0, End: 64})
	for what, b := range map[string][]byte{
		"a range that runs backwards":       Request{1, name, blob.Span{Begin: 5, End: 3}}.Append(nil),
		"an empty range":                    Request{1, name, blob.Span{Begin: 5, End: 5}}.Append(nil),
		"a range beyond the end":            Request{1, name, blob.Span{Begin: 5, End: 11}}.Append(nil),
		"a range of everything":             Request{1, huge, huge.Whole()}.Append(nil),
		"a size above the most":             Request{1, blob.Name{Size: blob.MaxSize + 1}, blob.Span{Begin: 0, End: 1}}.Append(nil),
		"an offer of a part of 256 TiB":     append(Offer{Name: huge}.Append(nil)[:41], 2, 1, 0, 1),
		"runs that overlap":                 append(Offer{Name: name}.Append(nil)[:41], 2, 2, 0, 5, 0, 2),
		"a run beyond the end":              append(Offer{Name: name}.Append(nil)[:41], 2, 1, 8, 5),
		"more names than one question has":  make(Names, MaxAsk+1).Append(nil),
		"no names":                          Names{}.Append(nil),
		"data without bytes":                Data{1, nil}.Append(nil),
		"an outcome that is none of theirs": End{1, Unkept}.Append(nil),
		"another version":                   append([]byte{1, 2}, make([]byte, 24)...),
		"another type":                      {99},
		"nothing":                           {},
	} {
		if x, err := Decode(b, 1<<20); err == nil {
			t.Errorf("%s: %#v", what, x)
		}
	}
}
