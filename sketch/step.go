package sketch

// One step of many walks, each at[k] with state[k] of its own: what
// walk.until does for one.

// stepSparse steps sparse items.
func stepSparse(at, state []uint64) {
	state = state[:len(at)]
	for k, i := range at {
		s := state[k] + golden
		state[k] = s
		z := mix(s)
		v := max(z, z<<16, z<<32, z<<48)>>47 | 1
		to := uint64(beyond)
		if v >= 1<<8 {
			to = i + jump(i<<10+sparseShift, uint64(int64(0x1p83/float64(int64(v*v*v)))))
		}
		at[k] = to
	}
}

// stepDense steps dense items.
func stepDense(at, state []uint64) {
	state = state[:len(at)]
	for k, i := range at {
		s := state[k]
		state[k] = s + twice
		a, b := mix(s+golden), mix(s+twice)
		v := max(a, a<<16, a<<32, a<<48, b, b<<16, b<<32, b<<48)>>47 | 1
		at[k] = i + jump(i<<10+denseShift, uint64(int64(0x1p49/float64(int64(v)))))
	}
}
