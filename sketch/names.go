package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// A list of names is their number as a varint and then, Golomb-Rice coded,
// the distance of each to the one before: the quotient by 2^k as that many
// 1 bits and a 0, then k bits of remainder, from the top of each byte down,
// and 0 bits to the end of the last byte. k follows from the number of names
// and the universe that they are drawn from.

// ErrNames is wrapped by the errors of ParseNames.
var ErrNames = errors.New("sketch: malformed names")

// riceBits is k: half of the distances are below 2^k, more or less.
func riceBits(n int, universe uint64) int {
	if n == 0 {
		return 0
	}
	return max(0, bits.Len64(universe/uint64(n)/10*7)-1)
}

// AppendNames encodes numbers below universe, ascending; equal ones may
// repeat. A random name costs log2(universe/n) + 1.5 bits.
func AppendNames(dst []byte, names []uint64, universe uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	k := riceBits(len(names), universe)
	var w bitWriter
	w.b = dst
	var last uint64
	for _, name := range names {
		gap := name - last
		last = name
		for q := gap >> k; q > 0; {
			ones := min(q, 32)
			w.put(1<<ones-1, int(ones))
			q -= ones
		}
		w.put(0, 1)
		if k > 32 {
			w.put(gap>>32&(1<<(k-32)-1), k-32)
			w.put(gap&(1<<32-1), 32)
		} else {
			w.put(gap&(1<<k-1), k)
		}
	}
	return w.flush()
}

// ParseNames reads what AppendNames wrote, of at most max names, and nothing
// after it. There is one encoding of every list.
func ParseNames(b []byte, universe uint64, max int) ([]uint64, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return nil, fmt.Errorf("%w: their number", ErrNames)
	}
	b = b[size:]
	if max < 0 || n > uint64(max) || n > 8*uint64(len(b)) {
		return nil, fmt.Errorf("%w: %d in %d bytes, where %d are possible", ErrNames, n, len(b), max)
	}
	k := riceBits(int(n), universe)
	r := bitReader{b: b}
	names := make([]uint64, 0, min(n, uint64(8*len(b)/(k+1)+1)))
	var last uint64
	for i := range n {
		q := uint64(r.ones())
		if r.err || q > universe>>k {
			return nil, fmt.Errorf("%w: name %d", ErrNames, i)
		}
		gap := q<<k | r.get(k)
		if r.err || gap >= universe || last+gap >= universe {
			return nil, fmt.Errorf("%w: name %d", ErrNames, i)
		}
		last += gap
		names = append(names, last)
	}
	if !r.end() {
		return nil, fmt.Errorf("%w: something follows them", ErrNames)
	}
	return names, nil
}

type bitWriter struct {
	b   []byte
	acc uint64 // the lowest n bits are not written yet
	n   int    // below 8
}

// put writes the lowest n <= 48 bits of v.
func (w *bitWriter) put(v uint64, n int) {
	w.acc = w.acc<<n | v
	w.n += n
	for w.n >= 8 {
		w.n -= 8
		w.b = append(w.b, byte(w.acc>>w.n))
	}
}

func (w *bitWriter) flush() []byte {
	if w.n > 0 {
		w.b = append(w.b, byte(w.acc<<(8-w.n)))
		w.n = 0
	}
	return w.b
}

type bitReader struct {
	b   []byte
	at  int // bits read
	err bool
}

func (r *bitReader) get(n int) (v uint64) {
	if n > 8*len(r.b)-r.at {
		r.err = true
		return 0
	}
	for n > 0 {
		free := 8 - r.at%8
		take := min(free, n)
		v = v<<take | uint64(r.b[r.at/8]>>(free-take))&(1<<take-1)
		r.at += take
		n -= take
	}
	return v
}

// ones counts 1 bits up to the next 0, which it reads too.
func (r *bitReader) ones() (n int) {
	for r.at < 8*len(r.b) {
		left := r.b[r.at/8] << (r.at % 8)
		run := min(bits.LeadingZeros8(^left), 8-r.at%8)
		r.at += run
		n += run
		if r.at%8 != 0 || run == 0 {
			r.at++
			return n
		}
	}
	r.err = true
	return n
}

// end reports whether only the 0 bits of the last byte are left.
func (r *bitReader) end() bool {
	left := 8*len(r.b) - r.at
	return left < 8 && r.get(left) == 0
}
