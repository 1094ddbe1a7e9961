package sketch

import "math/big"

// twinWalk is the walk as docs/sketch.md tells it, in numbers of any size.
// The quotient is rounded to 53 bits, as a double is.
func twinWalk(y Symbol, n int) (cells []uint32) {
	step := func(z *big.Int) *big.Int { // SplitMix64's finaliser
		mod := new(big.Int).Lsh(big.NewInt(1), 64)
		z = new(big.Int).Mod(z, mod)
		for _, m := range []struct {
			shift uint
			by    string
		}{{30, "bf58476d1ce4e5b9"}, {27, "94d049bb133111eb"}} {
			z = new(big.Int).Xor(z, new(big.Int).Rsh(z, m.shift))
			by, _ := new(big.Int).SetString(m.by, 16)
			z.Mul(z, by).Mod(z, mod)
		}
		return new(big.Int).Xor(z, new(big.Int).Rsh(z, 31))
	}
	phi, _ := new(big.Int).SetString("9e3779b97f4a7c15", 16)
	seed := step(new(big.Int).Add(big.NewInt(int64(y)), phi))
	dense := new(big.Int).And(seed, big.NewInt(15)).Int64() < 3
	state := new(big.Int).Set(seed)
	draw := func(numbers int) int64 { // the largest of so many of 16 bits
		var most int64
		for ; numbers > 0; numbers -= 4 {
			state.Add(state, phi)
			z := step(state)
			for part := uint(0); part < 64; part += 16 {
				v := new(big.Int).Rsh(z, part)
				most = max(most, v.And(v, big.NewInt(0xffff)).Int64())
			}
		}
		return most
	}
	for at := big.NewInt(0); at.Cmp(big.NewInt(int64(n))) < 0; {
		cells = append(cells, uint32(at.Int64()))
		numbers, power, exponent, shift := 4, int64(3), 83, int64(1195)
		if dense {
			numbers, power, exponent, shift = 8, 1, 49, 4608
		}
		v := 2*draw(numbers) + 1
		if !dense && v < 256 {
			return cells
		}
		under := new(big.Int).Exp(big.NewInt(v), big.NewInt(power), nil)
		over := new(big.Float).SetMantExp(big.NewFloat(1), exponent)
		ratio := new(big.Float).SetPrec(53).Quo(over, new(big.Float).SetInt(under))
		t, _ := ratio.Int(nil)
		t.Sub(t, new(big.Int).Lsh(big.NewInt(1), 32))
		x := new(big.Int).Lsh(at, 10)
		x.Add(x, big.NewInt(shift)).Mul(x, t).Rsh(x, 42)
		at = new(big.Int).Add(at, x.Add(x, big.NewInt(1)))
	}
	return cells
}
