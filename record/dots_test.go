package record

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDotsAtTheirEdges(t *testing.T) {
	full := slices.Repeat([]byte{0xff}, maxDotBytes)
	for _, c := range []struct {
		dots Dots
		seq  uint32
		want bool
	}{
		{Dots{0, nil}, 0, false},
		{Dots{0, nil}, 1, true},
		{Dots{0, nil}, 4096, true},
		{Dots{0, nil}, 4097, false},
		{Dots{1, nil}, 8192, true},
		{Dots{MaxBlock, nil}, math.MaxUint32, true},
		{Dots{0, []byte{1}}, 1, true},
		{Dots{0, []byte{1}}, 2, false},
		{Dots{0, []byte{1}}, 4097, false},
		{Dots{1, []byte{1}}, 4097, true},
		{Dots{1, []byte{1}}, 1, false},
		{Dots{1, []byte{0, 2}}, 4096 + 10, true},
		{Dots{2, full}, 3 * 4096, true},
		{Dots{2, full}, 3*4096 + 1, false},
		{Dots{MaxBlock, full}, math.MaxUint32, true},
	} {
		if got := c.dots.Has(c.seq); got != c.want {
			t.Errorf("block %d, %d bytes, number %d: %v", c.dots.Block, len(c.dots.Bits), c.seq, got)
		}
	}
	if !(Dots{0, full}).Contains(Dots{0, nil}) || !(Dots{0, nil}).Contains(Dots{0, full}) {
		t.Error("block 0 whole and as a full bitmap are the same set")
	}
	if almost := append(slices.Clone(full[1:]), 0x7f); (Dots{0, almost}).Contains(Dots{0, nil}) {
		t.Error("number 4096 is missing")
	}
	if (Dots{1, full}).Contains(Dots{1, nil}) {
		t.Error("the whole up to block 1 has block 0 as well")
	}
}

// Contains against plain membership of every number near by.
func TestContainsIsInclusion(t *testing.T) {
	dots := rapid.Custom(func(t *rapid.T) Dots {
		d := Dots{Block: rapid.Uint32Range(0, 2).Draw(t, "block")}
		switch rapid.IntRange(0, 3).Draw(t, "shape") {
		case 0: // whole
		case 1:
			d.Bits = slices.Repeat([]byte{0xff}, maxDotBytes)
		default:
			d.Bits = rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 3}), 0, 3).Draw(t, "bits")
			d.Bits = append(d.Bits, 1)
		}
		return d
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := dots.Draw(t, "a"), dots.Draw(t, "b")
		want := true
		for seq := uint32(1); seq <= 3*BlockNumbers && want; seq++ {
			want = a.Has(seq) || !b.Has(seq)
		}
		if a.Contains(b) != want {
			t.Fatalf("%v contains %v: %v", a, b, !want)
		}
	})
}
