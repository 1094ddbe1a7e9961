package text

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors is what another implementation can be checked against. Bytes are
// hexadecimal; what may be deflated is given as it is before.
type vectors struct {
	Documents []vectorDoc
	Refused   []vectorRefused
	Anchors   []vectorAnchor
}

// A document is the join of its deltas, in any order.
type vectorDoc struct {
	Name   string
	Deltas []vectorDelta
	Text   string
	// The three parts of the saved state.
	Structure, Visible, Deleted string
}

type vectorDelta struct {
	Lane string
	Body string
}

type vectorRefused struct {
	Name string
	vectorDelta
}

type vectorAnchor struct {
	Lane   string
	Number uint32
	Side   Side
	Bytes  string
}

func laneName(lane uint64) string { return fmt.Sprintf("%016x", lane) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeVectors writes down what this implementation does.
func makeVectors(t *testing.T) vectors {
	var v vectors
	add := func(name string, deltas []Delta) {
		d := New(0)
		doc := vectorDoc{Name: name}
		for _, delta := range deltas {
			mustApply(t, d, delta)
			doc.Deltas = append(doc.Deltas, vectorDelta{laneName(delta.Lane), hex.EncodeToString(plain(t, delta.Body))})
		}
		c := d.columns()
		doc.Text = d.String()
		doc.Structure, doc.Visible, doc.Deleted = hex.EncodeToString(c.structure), hex.EncodeToString(c.live), hex.EncodeToString(c.dead)
		v.Documents = append(v.Documents, doc)
	}
	// play runs a script and collects every delta that is flushed.
	play := func(name string, script func(a, b *Doc, flush func())) {
		a, b := New(0x11), New(0x2222222222222222)
		var all []Delta
		script(a, b, func() {
			for _, d := range []*Doc{a, b} {
				for _, body := range d.Flush(0) {
					all = append(all, Delta{d.Lane(), body})
				}
			}
			for _, delta := range all {
				mustApply(t, a, delta)
				mustApply(t, b, delta)
			}
		})
		add(name, all)
	}
	play("empty", func(a, b *Doc, flush func()) {})
	play("typed", func(a, b *Doc, flush func()) { mustInsert(t, a, 0, "hello"); flush() })
	play("typed on, corrected", func(a, b *Doc, flush func()) {
		mustInsert(t, a, 0, "helo wörld 😀")
		flush()
		mustInsert(t, a, 3, "l")
		mustDelete(t, a, 7, 2)
		flush()
	})
	play("two at one place, forward and backward", func(a, b *Doc, flush func()) {
		mustInsert(t, a, 0, "[]")
		flush()
		for i, r := range "abc" {
			mustInsert(t, a, 1+i, string(r))
			mustInsert(t, b, 1, string(r-32))
		}
		flush()
	})
	play("deleted by both, undone by one", func(a, b *Doc, flush func()) {
		mustInsert(t, a, 0, "one two three")
		flush()
		mustDelete(t, a, 4, 4)
		a.EndStep()
		mustDelete(t, b, 4, 6)
		mustInsert(t, b, 0, "> ")
		flush()
		a.Undo()
		flush()
		a.Redo()
		flush()
	})
	rng := rand.New(rand.NewPCG(77, 77))
	play("a longer life", func(a, b *Doc, flush func()) {
		for range 60 {
			d := []*Doc{a, b}[rng.IntN(2)]
			if n := d.Len(); n > 3 && rng.IntN(3) == 0 {
				mustDelete(t, d, rng.IntN(n-3), 1+rng.IntN(3))
			} else {
				mustInsert(t, d, rng.IntN(n+1), string([]rune(alphabet)[rng.IntN(32)])+"xyz"[:rng.IntN(4)])
			}
			if rng.IntN(4) == 0 {
				flush()
			}
		}
		flush()
	})
	for name, body := range absurd() {
		v.Refused = append(v.Refused, vectorRefused{name, vectorDelta{laneName(1), hex.EncodeToString(body)}})
	}
	slices.SortFunc(v.Refused, func(a, b vectorRefused) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	for _, a := range []Anchor{{}, {Side: Before}, {Side: After}, {Side: Before}} {
		if len(v.Anchors) >= 2 {
			a.Dot.Lane, a.Dot.Number = 0x1234, 300
		}
		v.Anchors = append(v.Anchors, vectorAnchor{laneName(a.Dot.Lane), a.Dot.Number, a.Side, hex.EncodeToString(a.AppendTo(nil))})
	}
	return v
}

func TestVectorsAreWhatWeWrite(t *testing.T) {
	got, err := json.MarshalIndent(makeVectors(t), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const name = "testdata/vectors.json"
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the format changed: read what -update does to %s", name)
	}
}

func TestVectorsAreRead(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	lane := func(s string) (n uint64) {
		for _, b := range unhex(t, s) {
			n = n<<8 | uint64(b)
		}
		return n
	}
	for _, doc := range v.Documents {
		d := New(0)
		for _, delta := range slices.Backward(doc.Deltas) {
			if _, err := d.Apply(lane(delta.Lane), unhex(t, delta.Body)); err != nil {
				t.Fatalf("%s: %v", doc.Name, err)
			}
		}
		if c := d.columns(); d.String() != doc.Text || !bytes.Equal(c.structure, unhex(t, doc.Structure)) || string(c.live) != string(unhex(t, doc.Visible)) || string(c.dead) != string(unhex(t, doc.Deleted)) {
			t.Errorf("%s: read as %q", doc.Name, d.String())
		}
	}
	for _, r := range v.Refused {
		var wrong *FormatError
		if _, err := New(0).Apply(lane(r.Lane), unhex(t, r.Body)); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	for _, a := range v.Anchors {
		got, err := DecodeAnchor(unhex(t, a.Bytes))
		if err != nil || got.Side != a.Side || got.Dot.Lane != lane(a.Lane) || got.Dot.Number != a.Number {
			t.Errorf("anchor %s is %+v (%v)", a.Bytes, got, err)
		}
	}
}
