package sketch

import "math/bits"

// An item lies in cell 0 and goes on in jumps. Its class says how far they
// reach: it lies in cell i with probability 1/(1 + i/8) if it is dense, as 3
// of 16 items are, else 1/(1 + 3i/4). Two classes need 1.09 cells per item of
// a large difference where one class needs 1.35.
//
// From cell i, the next cell is above j with probability
// ((i+c)/(j+c))^(1/a), where a is 1/8 or 3/4 and c is (1 + 1/a)/2. So for u
// uniform in (0, 1] it is i + 1 + floor((i+c)(u^-a - 1)). The largest of n
// uniform numbers is distributed as the n-th root of one: with v the largest
// of eight, u^-(1/8) is 1/v, and with v the largest of four, u^-(3/4) is 1/v^3.
//
// All of it is integers but one quotient of doubles, 2^49 or 2^83 by an
// integer below 2^51, which IEEE 754 rounds alike everywhere, and which is cut
// to an integer at once. Nothing is left for a compiler to fuse.
const (
	denseOf16   = 3
	denseShift  = 4608 // c in 1024ths: 4.5
	sparseShift = 1195 // 7/6

	golden = 0x9e3779b97f4a7c15
	twice  = 2 * golden & (1<<64 - 1)

	// beyond is past every cell there can be.
	beyond = 1 << 40
)

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(z uint64) uint64 {
	z ^= z >> 30
	z *= 0xbf58476d1ce4e5b9
	z ^= z >> 27
	z *= 0x94d049bb133111eb
	return z ^ z>>31
}

// seedOf is what everything about an item follows from: its class from the
// lowest 4 bits, its check from the top 14, its walk by what comes after.
func seedOf(y Symbol) uint64 { return mix(uint64(y) + golden) }

func wordOf(y Symbol, seed uint64) word { return word(uint64(y)<<checkBits | seed>>(64-checkBits)) }

// pure reports whether a cell seems to hold one item: its number is odd and
// its check that of its symbol. The two are tested together, because nobody
// could guess the outcome of the first alone.
func (c Cell) pure() bool {
	y := c.symbol()
	return (c^Cell(wordOf(y, seedOf(y))))<<1 == one<<1
}

// walk is an item's way through the cells.
type walk struct {
	at    uint64 // the cell it has reached
	seed  uint64
	state uint64
	word  word
}

func begin(y Symbol) walk {
	seed := seedOf(y)
	return walk{seed: seed, state: seed, word: wordOf(y, seed)}
}

// until appends the item's cells below n to dst and goes on to the next one.
func (w *walk) until(n int, dst []uint32) []uint32 {
	at, state := w.at, w.state
	if w.seed&15 < denseOf16 {
		for at < uint64(n) {
			dst = append(dst, uint32(at))
			a, b := mix(state+golden), mix(state+twice)
			state += twice
			v := 2*max(largest(a), largest(b)) + 1
			at += jump(at<<10+denseShift, uint64(int64(0x1p49/float64(v))))
		}
	} else {
		for at < uint64(n) {
			dst = append(dst, uint32(at))
			state += golden
			v := 2*largest(mix(state)) + 1
			if v < 1<<8 { // once in 2^36
				at = beyond
				break
			}
			at += jump(at<<10+sparseShift, uint64(int64(0x1p83/float64(v*v*v))))
		}
	}
	w.at, w.state = at, state
	return dst
}

// largest is the largest of the four 16-bit numbers in z.
func largest(z uint64) uint64 {
	return max(z&0xffff, z>>16&0xffff, z>>32&0xffff, z>>48)
}

// jump is the distance from (x/1024 - c) to the next cell, where ratio is
// u^-a in 2^-32ths.
func jump(x, ratio uint64) uint64 {
	hi, lo := bits.Mul64(x, ratio-1<<32)
	return 1 + hi<<22 + lo>>42
}

// tailOf is the three tail cells of an item, one in each part of the row.
func tailOf(seed uint64) [3]uint8 {
	h := mix(seed ^ golden)
	return [3]uint8{
		uint8(h & 0xffff * 10 >> 16),
		uint8(10 + h>>16&0xffff*11>>16),
		uint8(21 + h>>32&0xffff*11>>16),
	}
}
