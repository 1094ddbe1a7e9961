package crdt

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// drawContext draws a context together with its slow twin, a plain set.
func drawContext(t *rapid.T, name string) (Context, map[Dot]bool) {
	var c Context
	set := make(map[Dot]bool)
	for range rapid.IntRange(0, 12).Draw(t, name) {
		lane := rapid.Uint64Range(1, 3).Draw(t, "lane")
		first := rapid.Uint32Range(0, 30).Draw(t, "first")
		last := first + rapid.Uint32Range(0, 5).Draw(t, "more")
		c.Add(lane, first, last)
		for n := first; n <= last && first > 0; n++ {
			set[Dot{lane, n}] = true
		}
	}
	return c, set
}

func TestContextIsASetOfDots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, x := drawContext(t, "a")
		b, y := drawContext(t, "b")
		covers := true
		for d := range y {
			covers = covers && x[d]
		}
		if a.Covers(b) != covers {
			t.Fatalf("Covers is %v, want %v: %v %v", !covers, covers, a, b)
		}
		joined := a.Clone()
		joined.Join(b)
		other := b.Clone()
		other.Join(a)
		if !joined.Equal(other) {
			t.Fatal("a joined with b differs from b joined with a")
		}
		for lane := uint64(1); lane <= 3; lane++ {
			next := uint32(1)
			for x[Dot{lane, next}] {
				next++
			}
			if a.Next(lane) != next {
				t.Fatalf("Next is %d, want %d", a.Next(lane), next)
			}
			for n := uint32(0); n < 40; n++ {
				d := Dot{lane, n}
				if a.Has(d) != x[d] || joined.Has(d) != (x[d] || y[d]) {
					t.Fatalf("dot %v is in the wrong set", d)
				}
				if a.Both(b).Has(d) != (x[d] && y[d]) {
					t.Fatalf("dot %v is in both, or is not", d)
				}
			}
		}
		back, err := DecodeContext(a.AppendTo(nil))
		if err != nil || !back.Equal(a) {
			t.Fatalf("decoded %v (%v), want %v", back, err, a)
		}
	})
}

func TestIntervalsWithoutEventsAreIgnored(t *testing.T) {
	var c Context
	c.Add(1, 0, 4)
	c.Add(1, 3, 2)
	c.Add(1, 1, MaxNumber+1)
	if !c.Equal(Context{}) {
		t.Fatalf("got %v", c)
	}
}

func FuzzContextHasOneEncoding(f *testing.F) {
	var c Context
	c.Add(7, 1, 4)
	c.Add(7, 9, 9)
	c.Add(9, 2, MaxNumber)
	f.Add(c.AppendTo(nil))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeContext(b)
		if err == nil && !bytes.Equal(c.AppendTo(nil), b) {
			t.Fatalf("%x decodes, and encodes as %x", b, c.AppendTo(nil))
		}
	})
}

func TestNumbersHaveOneSpelling(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 300, 1<<63 + 5} {
		b := AppendUvarint(nil, v)
		if got, n := Uvarint(b); got != v || n != len(b) {
			t.Errorf("%d came back as %d in %d bytes", v, got, n)
		}
	}
	for _, b := range [][]byte{{}, {0x80}, {0x80, 0}, {0xff, 0x80, 0}, bytes.Repeat([]byte{0xff}, 11)} {
		if v, n := Uvarint(b); n != 0 {
			t.Errorf("%x was read as %d", b, v)
		}
	}
}
