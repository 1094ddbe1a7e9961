package blob

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A Set is what a map says, and reads as it was written.
func TestSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := Name{Size: GroupBytes * rapid.Uint64Range(1, 300).Draw(t, "groups")}
		s, twin := NewSet(name), map[uint64]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "changes") {
			begin := rapid.Uint64Range(0, name.Groups()+3).Draw(t, "begin")
			end := begin + rapid.Uint64Range(0, 150).Draw(t, "len")
			if rapid.Bool().Draw(t, "remove") {
				s.Remove(Span{begin, end})
				for i := begin; i < end; i++ {
					delete(twin, i)
				}
				continue
			}
			before := uint64(len(twin))
			for i := begin; i < min(end, name.Groups()); i++ {
				twin[i] = true
			}
			if fresh := s.Add(Span{begin, end}); fresh != uint64(len(twin))-before {
				t.Fatalf("%d new ones, want %d", fresh, uint64(len(twin))-before)
			}
		}
		for i := range name.Groups() + 70 {
			if s.Has(i) != twin[i] {
				t.Fatalf("group %d", i)
			}
			if at, ok := s.NextMissing(i); ok && (twin[at] || at < i) || !ok && i < name.Groups() && !twin[i] {
				t.Fatalf("next missing from %d: %d, %v", i, at, ok)
			}
		}
		if s.Len() != uint64(len(twin)) || s.Full() != (s.Len() == name.Groups()) {
			t.Fatal("length")
		}
		b := s.Append(nil, 1000)
		again, rest, err := DecodeSet(name, append(b, 7), 1000)
		if err != nil || len(rest) != 1 || !bytes.Equal(again.Append(nil, 1000), b) || again.Len() != s.Len() {
			t.Fatalf("read back: %v", err)
		}
		few, _, err := DecodeSet(name, s.Append(nil, 2), 2)
		if err != nil || few.Len() > s.Len() {
			t.Fatalf("two runs: %v", err)
		}
	})
}

func FuzzSet(f *testing.F) {
	f.Add(uint64(100), []byte{1, 0, 100})
	f.Add(uint64(100), []byte{2, 3, 4, 5, 6})
	f.Add(uint64(1), []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, groups uint64, b []byte) {
		name := Name{Size: GroupBytes * (groups%100000 + 1)}
		s, rest, err := DecodeSet(name, b, 1000)
		if err == nil && !bytes.Equal(append(s.Append(nil, 1000), rest...), b) {
			t.Fatalf("%x is not the one spelling", b)
		}
	})
}

func FuzzDecoder(f *testing.F) {
	c := content(3*GroupBytes, 1)
	name, parents := build(c)
	f.Add(c[:100], uint64(0), uint64(1), name.Size, []byte{1, 2, 3})
	f.Add(parents, uint64(1), uint64(3), name.Size, append(parents[64:128:128], parents...))
	f.Fuzz(func(t *testing.T, hash []byte, begin, end, size uint64, in []byte) {
		n := Name{Sum(hash).Hash, size % (MaxSize + 1)}
		if end-begin > 64 {
			end = begin + 64
		}
		span := Span{begin, end}
		var out []byte
		if span.Within(n) {
			from, to := span.Bytes(n)
			out = make([]byte, to-from)
		}
		d, err := NewDecoder(n, span, out, nil)
		if err != nil {
			return
		}
		for i := 0; i < len(in) && d.Feed(in[i:min(i+7000, len(in))]) == nil; i += 7000 {
		}
		if d.Done() && span == n.Whole() && Sum(out) != n {
			t.Fatal("a false blob is believed")
		}
	})
}

func FuzzRef(f *testing.F) {
	f.Add(Ref{Name: Sum([]byte("x")), Mode: 0o644, MediaType: "text/plain"}.Encode())
	f.Add(Ref{}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := DecodeRef(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Fatalf("%x is not the one spelling", b)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add(Sum([]byte("x")).String())
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := ParseName(text); err == nil && n.String() != text {
			t.Fatalf("%q is not the one spelling", text)
		}
	})
}
