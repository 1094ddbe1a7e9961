package text

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf16"

	"anabranch/crdt"
)

func mustInsert(t testing.TB, d *Doc, pos int, s string) {
	t.Helper()
	if err := d.Insert(pos, s); err != nil {
		t.Fatal(err)
	}
}

func mustDelete(t testing.TB, d *Doc, pos, n int) {
	t.Helper()
	if err := d.Delete(pos, n); err != nil {
		t.Fatal(err)
	}
}

// share flushes what each document wrote and gives it to the others.
func share(t testing.TB, docs ...*Doc) {
	t.Helper()
	for _, from := range docs {
		for _, body := range from.Flush(0) {
			for _, to := range docs {
				if to != from {
					mustApply(t, to, Delta{from.Lane(), body})
				}
			}
		}
	}
}

// scribble makes a document with a life behind it.
func scribble(t testing.TB, rng *rand.Rand, edits int) *Doc {
	d := tiny(7, scanSpans)
	for range edits {
		if n := d.Len(); n > 0 && rng.IntN(3) == 0 {
			pos := rng.IntN(n)
			mustDelete(t, d, pos, 1+rng.IntN(n-pos))
			continue
		}
		mustInsert(t, d, rng.IntN(d.Len()+1), string([]rune(alphabet)[rng.IntN(32)])+"xyz"[:rng.IntN(4)])
	}
	return d
}

func TestOffsetsAgreeWithTheText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		d := scribble(t, rng, 1+rng.IntN(40))
		s := d.String()
		runes := []rune(s)
		units := utf16.Encode(runes)
		if got, want := d.Size(), (Size{len(runes), len(s), len(units)}); got != want {
			t.Fatalf("size %+v, want %+v", got, want)
		}
		at := Size{}
		for i := 0; i <= len(runes); i++ {
			next := at
			if i < len(runes) {
				next.add(runes[i])
			} else {
				next.Bytes++
				next.UTF16++
			}
			if got, err := d.AtRune(i); err != nil || got != at {
				t.Fatalf("AtRune(%d) is %+v (%v), want %+v", i, got, err, at)
			}
			for b := at.Bytes; b < next.Bytes; b++ {
				if got, err := d.AtByte(b); err != nil || got != at {
					t.Fatalf("AtByte(%d) is %+v (%v), want %+v", b, got, err, at)
				}
			}
			for u := at.UTF16; u < next.UTF16; u++ {
				if got, err := d.AtUTF16(u); err != nil || got != at {
					t.Fatalf("AtUTF16(%d) is %+v (%v), want %+v", u, got, err, at)
				}
			}
			at = next
		}
		var wrong *RangeError
		if _, err := d.AtByte(len(s) + 1); !errors.As(err, &wrong) {
			t.Fatalf("AtByte beyond the end: %v", err)
		}
		if _, err := d.AtUTF16(-1); !errors.As(err, &wrong) {
			t.Fatalf("AtUTF16 before the start: %v", err)
		}
		if a, b := rng.IntN(len(runes)+1), rng.IntN(len(runes)+1); a <= b {
			if got, err := d.Slice(a, b); err != nil || got != string(runes[a:b]) {
				t.Fatalf("Slice(%d, %d) is %q (%v), want %q", a, b, got, err, string(runes[a:b]))
			}
		}
	}
}

func TestAnchorsKeepToTheirCharacter(t *testing.T) {
	a, b := New(1), New(2)
	mustInsert(t, a, 0, "hello world")
	share(t, a, b)
	left, err := b.Anchor(6, After)
	if err != nil {
		t.Fatal(err)
	}
	right, _ := b.Anchor(6, Before)
	start, _ := b.Anchor(0, After)
	end, _ := b.Anchor(11, Before)
	resolve := func(want ...int) {
		t.Helper()
		for i, anchor := range []Anchor{start, left, right, end} {
			if got, ok := b.Resolve(anchor); !ok || got != want[i] {
				t.Errorf("anchor %d is at %d, want %d", i, got, want[i])
			}
			back, err := DecodeAnchor(anchor.AppendTo(nil))
			if err != nil || back != anchor {
				t.Errorf("decoded %v (%v), want %v", back, err, anchor)
			}
		}
	}
	resolve(0, 6, 6, 11)
	mustInsert(t, a, 6, "big ")
	mustInsert(t, a, 0, ">")
	share(t, a, b)
	resolve(0, 7, 11, 16)
	mustDelete(t, a, 0, 11)
	share(t, a, b)
	resolve(0, 0, 0, 5)
	if _, ok := b.Resolve(Anchor{Dot: crdt.Dot{Lane: 5, Number: 1}}); ok {
		t.Error("a character that nobody knows has a position")
	}
}

func TestUndoTouchesOnlyWhatNobodyChangedSince(t *testing.T) {
	a, b := New(1), New(2)
	read := func(want string) {
		t.Helper()
		share(t, a, b)
		if a.String() != want || b.String() != want {
			t.Fatalf("a reads %q, b %q, want %q", a.String(), b.String(), want)
		}
	}
	mustInsert(t, a, 0, "abc")
	a.EndStep()
	read("abc")
	mustDelete(t, b, 1, 1)
	read("ac")
	a.Undo()
	read("")
	a.Redo()
	read("ac") // b's delete stands
	b.Undo()
	read("abc")

	// A paragraph comes back as the same characters, with what b typed in it.
	mustDelete(t, a, 0, 3)
	mustInsert(t, b, 2, "xy")
	b.EndStep()
	read("xy")
	a.Undo()
	read("abxyc")
	a.Redo()
	read("xy")
	a.Undo()
	read("abxyc")

	// Both delete, one undoes: it is back, and the other has nothing to undo.
	mustDelete(t, a, 0, 1)
	a.EndStep()
	mustDelete(t, b, 0, 1)
	b.EndStep()
	read("bxyc")
	a.Undo()
	read("abxyc")
	b.Undo()
	read("abxyc")

	// Typed and deleted in one step leaves nothing to bring back.
	mustInsert(t, a, 0, "123")
	mustDelete(t, a, 0, 3)
	a.EndStep()
	a.Undo()
	read("abxyc")
	if a.Redo(); a.String() != "abxyc" {
		t.Fatalf("a redo of nothing reads %q", a.String())
	}
	mustInsert(t, a, 0, "!")
	if a.Redo() {
		t.Fatal("redo after an edit")
	}
	for a.Undo() {
	}
	for b.Undo() {
	}
	share(t, a, b)
	if a.String() != b.String() {
		t.Fatalf("a reads %q, b %q", a.String(), b.String())
	}
}

func TestDiffTurnsOneTextIntoTheOther(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for round := range 300 {
		docs := []*Doc{tiny(1, 0), tiny(2, scanSpans)}
		for range 12 {
			d := docs[rng.IntN(2)]
			if n := d.Len(); n > 0 && rng.IntN(3) == 0 {
				pos := rng.IntN(n)
				mustDelete(t, d, pos, 1+rng.IntN(min(3, n-pos)))
			} else {
				mustInsert(t, d, rng.IntN(n+1), string([]rune(alphabet)[rng.IntN(32)])+"xy")
			}
			if rng.IntN(6) == 0 {
				d.EndStep()
				d.Undo()
			}
			if rng.IntN(4) == 0 {
				share(t, docs...)
			}
		}
		got := []rune(docs[0].String())
		last := -1
		for _, p := range Diff(docs[0], docs[1]) {
			if p.Pos <= last {
				t.Fatalf("round %d: a patch at %d after one that ends at %d", round, p.Pos, last)
			}
			got = slices.Replace(got, p.Pos, p.Pos+p.Delete, []rune(p.Text)...)
			last = p.Pos + len([]rune(p.Text))
		}
		if string(got) != docs[1].String() {
			t.Fatalf("round %d: the patches make %q, want %q", round, string(got), docs[1].String())
		}
	}
}

func TestEquivocationIsDecidedBySetNotArrival(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for round := range 200 {
		// One lane goes on from one state in two ways; another writes about both.
		good := tiny(9, scanSpans)
		mustInsert(t, good, 0, "base")
		base := good.Flush(0)[0]
		parts := []Part{{Lane: 9, Number: 1, Body: base}}
		add := func(d *Doc, number uint32) {
			for _, body := range d.Flush(0) {
				p := Part{Lane: d.Lane(), Number: number, Body: body}
				p.ID[0], p.ID[1] = byte(rng.IntN(256)), byte(len(parts))
				parts = append(parts, p)
			}
		}
		for branch := range 2 {
			d := tiny(9, scanSpans)
			mustApply(t, d, Delta{9, base})
			other := tiny(uint64(1+branch+8*rng.IntN(2)), scanSpans)
			for seq := uint32(2); seq < 5; seq++ {
				mustInsert(t, d, rng.IntN(d.Len()+1), "ABCDEF"[rng.IntN(3):3+rng.IntN(3)])
				if rng.IntN(2) == 0 {
					mustDelete(t, d, rng.IntN(d.Len()), 1)
				}
				add(d, seq)
				for _, delta := range d.Since(other.Version()) {
					mustApply(t, other, delta)
				}
				mustInsert(t, other, rng.IntN(other.Len()+1), "xyz"[:1+rng.IntN(3)])
				add(other, seq)
			}
		}
		var want []byte
		for try := range 6 {
			rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			d := tiny(0, scanSpans)
			forked := false
			for _, p := range parts {
				res, err := d.Apply(p.Lane, p.Body)
				var fork *ForkError
				if err != nil && !errors.As(err, &fork) {
					t.Fatal(err)
				}
				forked = forked || err != nil || len(res.Refused) > 0
			}
			if forked {
				var forks []Fork
				var err error
				d, forks, err = Build(0, parts)
				if err != nil || len(forks) == 0 {
					t.Fatalf("round %d: %d forks, %v", round, len(forks), err)
				}
			}
			check(t, d)
			c := d.columns()
			got := slices.Concat(c.structure, c.live, c.dead)
			if try == 0 {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Fatalf("round %d: the value depends on the order of arrival", round)
			}
		}
	}
}

func TestALoadedDocumentGoesOnInItsLane(t *testing.T) {
	a, b := New(1), New(2)
	mustInsert(t, a, 0, "one two")
	mustDelete(t, a, 0, 4)
	if _, err := a.Save(); !errors.Is(err, ErrOpenBurst) {
		t.Fatalf("saved with an open burst: %v", err)
	}
	share(t, a, b)
	a = roundTrip(t, a)
	mustInsert(t, a, 3, " three")
	mustDelete(t, b, 0, 1)
	share(t, a, b)
	if a.String() != "wo three" || b.String() != "wo three" {
		t.Fatalf("a reads %q, b %q", a.String(), b.String())
	}
	// What was deleted before is known when it comes again.
	for _, delta := range b.Since(crdt.Context{}) {
		if res, err := roundTrip(t, b).Apply(delta.Lane, delta.Body); err != nil || res.Status != Known {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	saved, _ := b.Save()
	for i := range saved {
		broken := bytes.Clone(saved)
		broken[i] ^= 4
		var wrong *FormatError
		if _, err := Load(2, broken); !errors.As(err, &wrong) {
			t.Fatalf("byte %d is wrong, and it loads: %v", i, err)
		}
	}
}

func TestADraftIsWhatFlushWillReturn(t *testing.T) {
	d := New(1)
	if d.Draft(0) != nil || d.Flush(0) != nil {
		t.Fatal("a burst of nothing")
	}
	mustInsert(t, d, 0, "draft")
	mustDelete(t, d, 1, 2)
	draft, flushed := d.Draft(0), d.Flush(0)
	if len(draft) != 1 || !bytes.Equal(draft[0], flushed[0]) || d.Flush(0) != nil {
		t.Fatalf("%x, then %x", draft, flushed)
	}
	// Parts keep to the limit, and none is lost.
	big := bytes.Repeat([]byte("paste "), 30000)
	mustInsert(t, d, 1, string(big))
	far := New(0)
	mustApply(t, far, Delta{1, flushed[0]})
	for _, body := range d.Flush(48 << 10) {
		if len(plain(t, body)) > 48<<10 {
			t.Fatalf("a part of %d bytes", len(plain(t, body)))
		}
		mustApply(t, far, Delta{1, body})
	}
	if far.String() != d.String() {
		t.Fatal("the parts make another text")
	}
}

func TestASmallDeltaIsNoHugeText(t *testing.T) {
	d := New(1)
	mustInsert(t, d, 0, string(make([]byte, 100000)))
	body := d.Flush(0)[0]
	if body[0]&deflated != 0 {
		t.Fatalf("100 000 zeros were deflated to %d bytes", len(body))
	}
	mustApply(t, New(0), Delta{1, body})
	packed := deflate(body[1:])
	bomb := append(crdt.AppendUvarint([]byte{body[0] | deflated}, uint64(len(body)-1)), packed...)
	var wrong *FormatError
	if _, err := New(0).Apply(1, bomb); !errors.As(err, &wrong) {
		t.Fatalf("%d bytes became 100 000: %v", len(bomb), err)
	}
}

func TestEditsOutsideTheTextAreRefused(t *testing.T) {
	d := New(1)
	mustInsert(t, d, 0, "abc")
	var wrong *RangeError
	for _, err := range []error{d.Insert(-1, "x"), d.Insert(4, "x"), d.Delete(-1, 1), d.Delete(2, 2), d.Delete(0, -1), d.Delete(math.MaxInt, math.MaxInt)} {
		if !errors.As(err, &wrong) {
			t.Errorf("got %v", err)
		}
	}
	if err := d.Insert(0, "\xff"); !errors.Is(err, ErrNotUTF8) {
		t.Errorf("got %v", err)
	}
	reader := New(0)
	if err := reader.Insert(0, "x"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if err := reader.Delete(0, 0); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v", err)
	}
	if d.String() != "abc" {
		t.Errorf("it reads %q", d.String())
	}
}
