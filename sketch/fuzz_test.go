package sketch

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzDecode gives the decoder any cells, in two parts, and any tail. It
// ends within its bound, and what it says to have found, put back, gives the
// cells again.
func FuzzDecode(f *testing.F) {
	s := New(40)
	for i := range Symbol(12) {
		s.Add(i << 20)
	}
	f.Add(s.AppendCells(nil, 0, 40), uint8(20), s.AppendTail(nil))
	f.Add([]byte{}, uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, b []byte, cut uint8, tail []byte) {
		cells, err := ParseCells(b)
		if err != nil || len(cells) > 4096 {
			return
		}
		at := min(int(cut), len(cells))
		d := NewDecoder(slices.Clone(cells[:at]))
		d.Decode()
		d.Extend(slices.Clone(cells[at:]))
		if tc, err := ParseTail(tail); err == nil {
			d.Tail(tc)
		}
		ok := d.Decode()
		if len(d.walks) > 2*len(cells)+TailCells {
			t.Fatalf("%d items out of %d cells", len(d.walks), len(cells))
		}
		d.Left()
		ours, theirs := d.Found()
		if ok && d.Sure() {
			back := New(len(cells))
			for _, y := range ours {
				back.Add(y)
			}
			for _, y := range theirs {
				back.Remove(y)
			}
			for i := range back.cells {
				if back.cells[i]&^countMask != cells[i]&^countMask {
					t.Fatalf("cell %d of what was found is another", i)
				}
			}
		}
	})
}

// FuzzThinDecode gives the thin decoder any cells and a small set.
func FuzzThinDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 4, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		cells, err := ParseThin(b)
		if err != nil || len(cells) > 2048 {
			return
		}
		d := NewThinDecoder(cells, func(p uint32) ([]Symbol, error) {
			return []Symbol{Symbol(p) << thinDrop, Symbol(p)<<thinDrop | 1}, nil
		})
		if _, err := d.Decode(); err != nil {
			t.Fatal(err)
		}
		if len(d.Found()) > 2*len(cells)+1 {
			t.Fatalf("%d items out of %d cells", len(d.Found()), len(cells))
		}
	})
}

// FuzzParseNames demands one encoding, and no more memory than bytes.
func FuzzParseNames(f *testing.F) {
	f.Add(AppendNames(nil, []uint64{1, 5, 900}, 1000), uint64(1000))
	f.Add([]byte{200, 1, 0, 0, 0}, uint64(1)<<40)
	f.Fuzz(func(t *testing.T, b []byte, universe uint64) {
		universe = universe%(1<<60) + 1
		names, err := ParseNames(b, universe, 1<<20)
		if err != nil {
			return
		}
		if cap(names) > 8*len(b)+1 {
			t.Fatalf("room for %d names from %d bytes", cap(names), len(b))
		}
		if again := AppendNames(nil, names, universe); !bytes.Equal(again, b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
}
