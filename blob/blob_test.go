package blob

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
	"lukechampine.com/blake3/bao"
	"pgregory.net/rapid"
)

// sizes where the shape of the tree changes.
var sizes = []int{0, 1, 1023, 1024, 1025, GroupBytes - 1, GroupBytes, GroupBytes + 1, 2 * GroupBytes, 2*GroupBytes + 1,
	3*GroupBytes - 5, 4 * GroupBytes, 5*GroupBytes + 1024, 7 * GroupBytes, 8*GroupBytes + 1, 13*GroupBytes + 77}

func content(size int, seed uint64) []byte {
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(seed, uint64(size)))
	for i := 0; i < len(b); i += 8 {
		var w [8]byte
		binary.LittleEndian.PutUint64(w[:], rng.Uint64())
		copy(b[i:], w[:])
	}
	return b
}

func build(c []byte) (Name, []byte) {
	var b Builder
	b.Write(c)
	parents := append([]byte{}, b.Take()...)
	name, rest := b.Sum()
	return name, append(parents, rest...)
}

func slice(t testing.TB, name Name, c, parents []byte, span Span) []byte {
	t.Helper()
	var out []byte
	err := Walk(name, span, func(p Part) bool {
		from := parents
		if p.Group {
			from = c
		}
		out = append(out, from[p.Offset:p.Offset+uint64(p.Bytes)]...)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestHashesAreBLAKE3(t *testing.T) {
	for _, size := range sizes {
		c := content(size, 1)
		name, parents := build(c)
		if want := blake3.Sum256(c); Hash(want) != name.Hash || name.Size != uint64(size) {
			t.Errorf("%d bytes: %v, want %x", size, name, want)
		}
		if uint64(len(parents)) != name.Parents()*ParentBytes {
			t.Errorf("%d bytes: %d bytes of parents, want %d", size, len(parents), name.Parents()*ParentBytes)
		}
	}
}

// Any split of the content into writes, or into groups hashed elsewhere,
// gives the same name and parents.
func TestBuilderDoesNotDependOnWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := content(rapid.SampledFrom(sizes).Draw(t, "size"), 2)
		name, parents := build(c)
		var b Builder
		var got []byte
		for rest := c; len(rest) > 0; {
			if b.size%GroupBytes == 0 && len(b.rest) == 0 && rapid.Bool().Draw(t, "elsewhere") {
				n := min(len(rest), GroupBytes*rapid.IntRange(1, 5).Draw(t, "groups"))
				b.Add(rest[:n], Values(nil, rest[:n], b.Next()))
				rest = rest[n:]
			} else {
				n := min(len(rest), rapid.IntRange(1, 2*GroupBytes).Draw(t, "write"))
				b.Write(rest[:n])
				rest = rest[n:]
			}
			if rapid.Bool().Draw(t, "take") {
				got = append(got, b.Take()...)
			}
		}
		again, rest := b.Sum()
		if again != name || !bytes.Equal(append(got, rest...), parents) {
			t.Fatalf("%v, want %v", again, name)
		}
	})
}

// A slice is Bao's with groups of 2^4 chunks, without its length.
func TestSlicesAreBaos(t *testing.T) {
	for _, size := range sizes[1:] {
		c := content(size, 3)
		name, parents := build(c)
		encoded, root := bao.EncodeBuf(c, 4, false)
		if Hash(root) != name.Hash {
			t.Fatalf("%d bytes: root", size)
		}
		for begin := range name.Groups() {
			for end := begin + 1; end <= name.Groups(); end++ {
				span := Span{begin, end}
				from, to := span.Bytes(name)
				var want bytes.Buffer
				if err := bao.ExtractSlice(&want, bytes.NewReader(encoded), nil, 4, from, to-from); err != nil {
					t.Fatal(err)
				}
				got := slice(t, name, c, parents, span)
				if !bytes.Equal(got, want.Bytes()[8:]) {
					t.Fatalf("%d bytes, groups %v: not the slice of Bao", size, span)
				}
				total, pairs := SliceBytes(name, span)
				if total != uint64(len(got)) || total-pairs != to-from {
					t.Fatalf("%d bytes, groups %v: SliceBytes %d, %d", size, span, total, pairs)
				}
				prefixed := append(binary.LittleEndian.AppendUint64(nil, name.Size), got...)
				if data, ok := bao.VerifySlice(prefixed, 4, from, to-from, root); !ok || !bytes.Equal(data, c[from:to]) {
					t.Fatalf("%d bytes, groups %v: Bao refuses it", size, span)
				}
			}
		}
	}
}

func decode(name Name, span Span, in []byte, step func() int) ([]byte, *Decoder, error) {
	begin, end := span.Bytes(name)
	out := make([]byte, end-begin)
	d, err := NewDecoder(name, span, out, nil)
	for err == nil && len(in) > 0 {
		n := min(len(in), step())
		err = d.Feed(in[:n])
		in = in[n:]
	}
	return out, d, err
}

func TestSlicesDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := content(rapid.SampledFrom(sizes).Draw(t, "size"), 4)
		name, parents := build(c)
		begin := rapid.Uint64Range(0, name.Groups()-1).Draw(t, "begin")
		span := Span{begin, rapid.Uint64Range(begin+1, name.Groups()).Draw(t, "end")}
		in := slice(&testing.T{}, name, c, parents, span)
		out, d, err := decode(name, span, in, func() int { return rapid.IntRange(1, 40<<10).Draw(t, "step") })
		from, to := span.Bytes(name)
		if err != nil || !d.Done() || !bytes.Equal(out, c[from:to]) || d.Checked() != span {
			t.Fatalf("%v of %v: %v, done %v", span, name, err, d.Done())
		}
		for _, p := range d.Parents() {
			if !bytes.Equal(p.Pair[:], parents[p.Index*ParentBytes:][:ParentBytes]) {
				t.Fatalf("parent %d is not where it belongs", p.Index)
			}
		}
		if err := d.Feed([]byte{0}); !errors.Is(err, ErrExcess) {
			t.Fatalf("a byte too many: %v", err)
		}
	})
}

// Whatever bit is wrong, nothing from the part that has it on is taken.
func TestFlippedBitsAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := content(rapid.SampledFrom(sizes[1:]).Draw(t, "size"), 5)
		name, parents := build(c)
		begin := rapid.Uint64Range(0, name.Groups()-1).Draw(t, "begin")
		span := Span{begin, rapid.Uint64Range(begin+1, name.Groups()).Draw(t, "end")}
		in := slice(&testing.T{}, name, c, parents, span)
		at := rapid.IntRange(0, len(in)-1).Draw(t, "at")
		in[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		out, d, err := decode(name, span, in, func() int { return 10 << 10 })
		if !errors.Is(err, ErrFalse) {
			t.Fatalf("byte %d of %d: %v", at, len(in), err)
		}
		good := d.Checked()
		from, to := good.Bytes(name)
		if !bytes.Equal(out[:to-from], c[from:to]) {
			t.Fatal("a wrong byte was taken")
		}
	})
}

// A name with another size, or of other content, never completes.
func TestWrongNamesAreRefused(t *testing.T) {
	c := content(5*GroupBytes+100, 6)
	name, parents := build(c)
	in := slice(t, name, c, parents, name.Whole())
	for _, size := range []uint64{name.Size - 1, name.Size + 1, name.Size + GroupBytes, 1, GroupBytes, 2 * GroupBytes, MaxSize} {
		wrong := Name{name.Hash, size}
		last := Span{wrong.Groups() - 1, wrong.Groups()}
		_, d, err := decode(wrong, last, in, func() int { return 999 })
		if err == nil && d.Done() {
			t.Errorf("size %d is believed", size)
		}
	}
	other := Name{Sum([]byte("something else")).Hash, name.Size}
	if _, _, err := decode(other, name.Whole(), in, func() int { return 999 }); !errors.Is(err, ErrFalse) {
		t.Errorf("hash of something else: %v", err)
	}
}

func TestSpansThatAreNone(t *testing.T) {
	name := Sum(content(5*GroupBytes, 7))
	for _, span := range []Span{{0, 0}, {3, 2}, {0, 6}, {5, 6}, {1 << 60, 1<<60 + 1}, {4, ^uint64(0)}, {^uint64(0), 1}} {
		if err := Walk(name, span, func(Part) bool { t.Error("a part"); return false }); !errors.Is(err, ErrSpan) {
			t.Errorf("walk of %v: %v", span, err)
		}
		if _, err := NewDecoder(name, span, nil, nil); !errors.Is(err, ErrSpan) {
			t.Errorf("decoder of %v: %v", span, err)
		}
		if total, _ := SliceBytes(name, span); total != 0 {
			t.Errorf("size of %v: %d", span, total)
		}
	}
	if name.Covering(GroupBytes, GroupBytes+1) != (Span{1, 2}) || name.Covering(0, name.Size) != name.Whole() ||
		name.Covering(name.Size, name.Size+9) != (Span{4, 5}) || name.Covering(GroupBytes-1, GroupBytes+1) != (Span{0, 2}) {
		t.Error("Covering")
	}
}

// The tree is never deeper than 34 parents, whatever size is claimed.
func TestDepthIsBounded(t *testing.T) {
	name := Name{Size: MaxSize}
	parts := 0
	if err := Walk(name, Span{12345, 12346}, func(Part) bool { parts++; return true }); err != nil || parts != 35 {
		t.Errorf("%d parts, %v", parts, err)
	}
}

func TestRecoverFindsWhatIsSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := content(rapid.SampledFrom(sizes).Draw(t, "size"), 8)
		name, parents := build(c)
		have, pairs := make([]byte, len(c)), make([]byte, len(parents))
		want := NewSet(name)
		for range rapid.IntRange(0, 4).Draw(t, "fetched") {
			begin := rapid.Uint64Range(0, name.Groups()-1).Draw(t, "begin")
			span := Span{begin, rapid.Uint64Range(begin+1, name.Groups()).Draw(t, "end")}
			Walk(name, span, func(p Part) bool {
				to, from := pairs, parents
				if p.Group {
					to, from = have, c
				}
				copy(to[p.Offset:], from[p.Offset:p.Offset+uint64(p.Bytes)])
				return true
			})
			want.Add(span)
		}
		if name.Size == 0 {
			want.Add(Span{0, 1})
		}
		// A crash lost a group, or half of one.
		lost := rapid.Uint64Range(0, name.Groups()-1).Draw(t, "lost")
		if begin, end := (Span{lost, lost + 1}).Bytes(name); want.Has(lost) && end > begin {
			clear(have[(begin+end)/2 : end])
			want.Remove(Span{lost, lost + 1})
		}
		got, err := Recover(name, bytes.NewReader(have), bytes.NewReader(pairs), nil)
		if err != nil || !bytes.Equal(got.Append(nil, 99), want.Append(nil, 99)) {
			t.Fatalf("%v, %v; want %v", got, err, want)
		}
	})
}

func BenchmarkBuilder(b *testing.B) {
	c := content(16<<20, 9)
	b.SetBytes(int64(len(c)))
	for b.Loop() {
		var x Builder
		x.Write(c)
		x.Sum()
	}
}

func BenchmarkDecoder(b *testing.B) {
	c := content(16<<20, 10)
	name, parents := build(c)
	span := Span{64, 72}
	in := slice(b, name, c, parents, span)
	from, to := span.Bytes(name)
	out := make([]byte, to-from)
	b.SetBytes(int64(len(out)))
	for b.Loop() {
		d, _ := NewDecoder(name, span, out, nil)
		if d.Feed(in) != nil || !d.Done() {
			b.Fatal("refused")
		}
	}
}
