package sketch

func cpuid(leaf, sub uint32) (a, b, c, d uint32)

func xgetbv() uint32

// stepSparse512 and stepDense512 step eight items at a time, as many times as
// groups says.
//
//go:noescape
func stepSparse512(at, state *uint64, groups int)

//go:noescape
func stepDense512(at, state *uint64, groups int)

// wide is whether processor and system have AVX-512 with the instructions for
// 16-bit numbers and for conversions of 64 bits (BW and DQ).
var wide = func() bool {
	const osxsave, state, parts = 1 << 27, 0xe6, 1<<16 | 1<<17 | 1<<30
	if most, _, _, _ := cpuid(0, 0); most < 7 {
		return false
	}
	if _, _, c, _ := cpuid(1, 0); c&osxsave == 0 || xgetbv()&state != state {
		return false
	}
	_, b, _, _ := cpuid(7, 0)
	return b&parts == parts
}()

func (r *row) stepSparse() {
	if wide && r.n > 0 {
		stepSparse512(&r.at[0], &r.state[0], (r.n+7)/8)
		return
	}
	stepSparse(r.at[:r.n], r.state[:])
}

func (r *row) stepDense() {
	if wide && r.n > 0 {
		stepDense512(&r.at[0], &r.state[0], (r.n+7)/8)
		return
	}
	stepDense(r.at[:r.n], r.state[:])
}
