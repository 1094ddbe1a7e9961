package text

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// slowInflater is compress/flate, asked the same.
type slowInflater struct {
	in bytes.Reader
	z  io.Reader
}

func (s *slowInflater) reset(src []byte) {
	s.in.Reset(src)
	if s.z == nil {
		s.z = flate.NewReader(&s.in)
	} else if err := s.z.(flate.Resetter).Reset(&s.in, nil); err != nil {
		panic(err)
	}
}

// inflate is what a stream says that should be all of src and say size bytes.
func (s *slowInflater) inflate(src []byte, size int) ([]byte, bool) {
	s.reset(src)
	out := make([]byte, size)
	if _, err := io.ReadFull(s.z, out); err != nil {
		return nil, false
	}
	var more [1]byte
	n, err := s.z.Read(more[:])
	return out, n == 0 && err == io.EOF && s.in.Len() == 0
}

// length is how many bytes a stream says before it ends or fails.
func (s *slowInflater) length(src []byte) int {
	s.reset(src)
	n, _ := io.Copy(io.Discard, s.z)
	return int(n)
}

// inflaters are the two, which must not disagree.
type inflaters struct {
	inflater
	slow slowInflater
}

func (z *inflaters) both(t testing.TB, src []byte, size int) bool {
	t.Helper()
	want, ok := z.slow.inflate(src, size)
	out := make([]byte, size)
	if got := z.inflate(out, src); got != ok || ok && !bytes.Equal(out, want) {
		t.Fatalf("%d bytes of %x: %v, want %v", size, src, got, ok)
	}
	return ok
}

func deflatedAt(t testing.TB, b []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for len(b) > 0 { // in a few blocks, some of them empty
		n := min(len(b), 20_000)
		if _, err := w.Write(b[:n]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		b = b[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sayings are texts that a compressor makes all kinds of blocks of.
func sayings(rng *rand.Rand) [][]byte {
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	skewed := make([]byte, 90_000) // needs codes of all lengths
	for i := range skewed {
		skewed[i] = byte(rng.ExpFloat64() * 6)
	}
	words := strings.Fields("what people type into a text together offline and on ö 漢字 𝄞")
	var prose []byte
	for len(prose) < 50_000 {
		prose = append(append(prose, words[rng.IntN(len(words))]...), ' ')
	}
	return [][]byte{nil, {0}, []byte("a"), bytes.Repeat([]byte("ab"), 40_000), bytes.Repeat([]byte{7}, 300), noise, noise[:9], skewed, prose}
}

func TestInflatingIsWhatTheStandardLibrarySays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var z inflaters
	for i, b := range sayings(rng) {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6} {
			src := deflatedAt(t, b, level)
			if !z.both(t, src, len(b)) {
				t.Fatalf("text %d at level %d is refused", i, level)
			}
			if z.both(t, src, len(b)+1) || len(b) > 0 && z.both(t, src, len(b)-1) {
				t.Fatal("another length is taken")
			}
			if z.both(t, append(bytes.Clone(src), 0), len(b)) || z.both(t, src[:len(src)-1], len(b)) {
				t.Fatal("a byte more or less is taken")
			}
			for range 8 {
				bad := bytes.Clone(src)
				for range 1 + rng.IntN(3) {
					bad[rng.IntN(min(len(bad), 1<<(1+rng.IntN(17))))] ^= 1 << rng.IntN(8)
				}
				z.both(t, bad, len(b))
			}
		}
	}
	taken := 0
	for range 40_000 { // short streams of noise reach the odd codes
		src := make([]byte, rng.IntN(40))
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		if len(src) > 0 && rng.IntN(2) == 0 {
			src[0] = src[0]&^7 | 5 // a last block that brings its codes
		}
		if z.both(t, src, z.slow.length(src)) {
			taken++
		}
	}
	if taken == 0 {
		t.Fatal("no noise was a stream")
	}
}

func FuzzInflate(f *testing.F) {
	for _, b := range sayings(rand.New(rand.NewPCG(3, 4))) {
		b = b[:min(len(b), 2000)]
		for _, level := range []int{0, 1, 6, flate.HuffmanOnly} {
			f.Add(deflatedAt(f, b, level), uint16(len(b)))
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, size uint16) {
		var z inflaters
		z.both(t, src, int(size))
		z.both(t, src, min(z.slow.length(src), 1<<20))
	})
}

func BenchmarkInflate(b *testing.B) {
	text := sayings(rand.New(rand.NewPCG(5, 6)))[8]
	src := deflate(text)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		out := make([]byte, len(text))
		var z inflater
		for b.Loop() {
			if !z.inflate(out, src) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("flate", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		var slow slowInflater
		for b.Loop() {
			slow.inflate(src, len(text))
		}
	})
}
