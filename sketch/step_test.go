package sketch

import (
	"math/rand/v2"
	"testing"
)

// TestStepsAreThoseOfTheWalk steps rows of items, as this processor does and
// in plain Go, beside walks of one item each, with states that give the
// largest jumps among them.
func TestStepsAreThoseOfTheWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 14))
	for round := range 3000 {
		var fast row
		fast.n = 1 + r.IntN(abreast)
		dense := round%2 == 0
		var seeds [abreast]uint64
		for k := range fast.n {
			for {
				seeds[k] = r.Uint64()
				if seeds[k]&15 < denseOf16 == dense {
					break
				}
			}
			fast.state[k] = seeds[k]
			if k%4 == 0 { // a walk that is about to draw small numbers only, or none
				fast.state[k] = unmix(r.Uint64()&0x00ff00ff00ff00ff>>(r.IntN(2)*r.IntN(8))) - golden
			}
			fast.at[k] = r.Uint64N(MaxCells) >> r.IntN(24)
		}
		plain := fast
		for range 1 + r.IntN(4) {
			before := plain
			if dense {
				fast.stepDense()
				stepDense(plain.at[:plain.n], plain.state[:])
			} else {
				fast.stepSparse()
				stepSparse(plain.at[:plain.n], plain.state[:])
			}
			for k := range plain.n {
				w := walk{at: before.at[k], seed: seeds[k], state: before.state[k]}
				w.until(int(w.at)+1, nil)
				if plain.at[k] != w.at || plain.state[k] != w.state && w.at != beyond {
					t.Fatalf("from cell %d, state %x: to %d, the walk goes to %d", before.at[k], before.state[k], plain.at[k], w.at)
				}
				if fast.at[k] != w.at || fast.state[k] != plain.state[k] {
					t.Fatalf("from cell %d, state %x: this processor goes to %d, the walk to %d", before.at[k], before.state[k], fast.at[k], w.at)
				}
				if w.at >= MaxCells { // nobody goes on from there
					fast.at[k], plain.at[k] = 0, 0
				}
			}
		}
	}
}

// unmix is the inverse of mix.
func unmix(z uint64) uint64 {
	z ^= z>>31 ^ z>>62
	z *= 0x319642b2d24d8ec3
	z ^= z>>27 ^ z>>54
	z *= 0x96de1b173f119089
	return z ^ z>>30 ^ z>>60
}
