package text_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"anabranch/crdt/text"
)

func patched(t *testing.T, s string, ps []text.Patch) string {
	t.Helper()
	r := []rune(s)
	last := 0
	for _, p := range ps {
		if p.Pos < last || p.Pos+p.Delete > len(r) {
			t.Fatalf("patch %+v of %d runes, after %d", p, len(r), last)
		}
		last = p.Pos
		r = slices.Concat(r[:p.Pos], []rune(p.Text), r[p.Pos+p.Delete:])
	}
	return string(r)
}

func TestEditsTurnOneTextIntoTheOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "bb", "Straße", "日本", " ", "\n", "\n", "x\n", "}\n", "the end"}
	some := func() string {
		var b strings.Builder
		for range rng.IntN(40) {
			b.WriteString(words[rng.IntN(len(words))])
		}
		return b.String()
	}
	for range 3000 {
		from := some()
		to := some()
		if rng.IntN(2) == 0 { // an edited one
			to = from
			for range 1 + rng.IntN(3) {
				r := []rune(to)
				i := rng.IntN(len(r) + 1)
				j := min(len(r), i+rng.IntN(4))
				to = string(r[:i]) + words[rng.IntN(len(words))] + string(r[j:])
			}
		}
		if got := patched(t, from, text.Edits(from, to)); got != to {
			t.Fatalf("%q -> %q: %q", from, to, got)
		}
	}
	far := strings.Repeat("one thing\n", 5000)
	other := strings.Repeat("another, said otherwise\n", 5000)
	if got := patched(t, far, text.Edits(far, other)); got != other {
		t.Fatal("texts with nothing in common")
	}
}

func TestEditsAreSmall(t *testing.T) {
	from := strings.Repeat("line\n", 100) + "the quick brown fox\n" + strings.Repeat("line\n", 100)
	to := strings.Replace(from, "quick", "quiet", 1)
	to = strings.Replace(to, "fox\n", "fox\njumps\n", 1)
	got := text.Edits(from, to)
	want := []text.Patch{{Pos: 507, Delete: 2, Text: "et"}, {Pos: 519, Text: "\njumps"}}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v", got)
	}
}

func TestReplayKeepsWhatOthersWrote(t *testing.T) {
	base := text.New(1)
	base.Insert(0, "one two three")
	first := base.Flush(0)
	mine, theirs, merged := text.New(2), text.New(3), text.New(4)
	for _, d := range []*text.Doc{mine, theirs, merged} {
		for _, b := range first {
			d.Apply(1, b)
		}
	}
	theirs.Delete(4, 4)    // one three
	theirs.Insert(3, " +") // one + three
	for _, b := range theirs.Flush(0) {
		merged.Apply(3, b)
	}
	if err := merged.Replay(mine, text.Edits("one two three", "ONE two too three!")); err != nil {
		t.Fatal(err)
	}
	if got := merged.String(); got != "ONE + too three!" {
		t.Fatalf("%q", got)
	}
	if err := merged.Replay(mine, []text.Patch{{Pos: 99, Text: "x"}}); err == nil {
		t.Fatal("a patch beyond the base was replayed")
	}
}

func TestMergedEditsHoldBoth(t *testing.T) {
	for _, x := range [][4]string{
		{"a b c", "a B c", "a b c d", "a B c d"},
		{"", "x", "", "x"},
		{"one\ntwo\n", "two\n", "one\ntwo\nthree\n", "two\nthree\n"},
		{"same", "same", "other", "other"},
	} {
		if got := text.MergeEdits(x[0], x[1], x[2]); got != x[3] {
			t.Errorf("%q: %q", x, got)
		}
	}
}

func TestSeedsAreTheSameCharactersEverywhere(t *testing.T) {
	s := strings.Repeat("Grüße aus dem Süden\n", 100)
	seeds, err := text.Seeds(s, 300)
	if err != nil || len(seeds) < 5 {
		t.Fatal(len(seeds), err)
	}
	a, b := text.New(7), text.New(8)
	for i := range seeds {
		a.Apply(uint64(100+i), seeds[len(seeds)-1-i])
		b.Apply(9, seeds[i])
	}
	if a.String() != s || b.String() != s {
		t.Fatalf("%d and %d bytes of %d", len(a.String()), len(b.String()), len(s))
	}
	if res, err := a.Apply(5, seeds[0]); err != nil || res.Status != text.Known {
		t.Fatal(res, err)
	}
	for i := range seeds[1] { // whatever else it says, it says in another lane
		bad := slices.Clone(seeds[1])
		bad[i] ^= 1
		if _, err := b.Apply(1, bad); err != nil && !strings.Contains(err.Error(), "seed") && !strings.Contains(err.Error(), "delta") {
			t.Fatal(err)
		}
		if got := b.String(); !strings.Contains(got, "Süden") {
			t.Fatalf("%q", got)
		}
	}
}

func TestStepsAreTakenUpAgain(t *testing.T) {
	a := text.New(1)
	a.Insert(0, "first ")
	a.EndStep()
	a.Insert(6, "second")
	a.EndStep()
	a.Delete(0, 6)
	a.Undo()
	a.Flush(0)
	state, err := a.Save()
	if err != nil {
		t.Fatal(err)
	}
	b, err := text.Load(0, state)
	if err != nil {
		t.Fatal(err)
	}
	steps := a.Steps(10)
	if err := b.SetSteps(steps); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLane(1); err != nil {
		t.Fatal(err)
	}
	if got := b.Steps(10); !slices.Equal(got, steps) {
		t.Fatalf("%x, then %x", steps, got)
	}
	b.Redo()
	if b.String() != "second" {
		t.Fatalf("%q", b)
	}
	b.Undo()
	b.Undo()
	if b.String() != "first " {
		t.Fatalf("%q", b)
	}
	for i := range steps {
		text.New(1).SetSteps(steps[:i])
		bad := slices.Clone(steps)
		bad[i] ^= 0x81
		text.New(1).SetSteps(bad)
		c, _ := text.Load(1, state)
		if c.SetSteps(bad) == nil {
			c.Undo()
			c.Redo()
		}
	}
}

func TestRetypeNeedsNeitherLaneNorNeighbours(t *testing.T) {
	records := text.New(1)
	records.Insert(0, "good ")
	good := records.Flush(0)
	old := text.New(3)
	old.Apply(1, good[0])
	gone := text.New(2)
	gone.Apply(1, good[0])
	gone.Insert(5, "bad")
	gone.Delete(0, 2)
	for _, b := range gone.Flush(0) {
		old.Apply(2, b)
	}
	old.Insert(4, "<a>") // od b<a>ad
	old.Insert(6, "b")
	old.Insert(0, "^")
	old.Delete(1, 1)
	typed := old.Flush(40)
	d := text.New(4)
	d.Apply(1, good[0])
	if err := d.Retype(old, 3, typed); err != nil {
		t.Fatal(err)
	}
	if old.String() != "^d b<ab>ad" || d.String() != "^god <ab>" && d.String() != "go^d <ab>" {
		t.Fatalf("%q, %q", old, d)
	}
}
