package sketch

import "slices"

// Found is what was taken out so far, ascending: the symbols of items that
// only we have, and of those that only they have.
func (d *Decoder) Found() (ours, theirs []Symbol) {
	mine := 0
	for i := range d.walks {
		if d.walks[i].count() == one {
			mine++
		}
	}
	ours, theirs = make([]Symbol, 0, mine), make([]Symbol, 0, len(d.walks)-mine)
	for i := range d.walks {
		y := d.walks[i].word.symbol()
		if d.walks[i].count() == one {
			ours = append(ours, y)
		} else {
			theirs = append(theirs, y)
		}
	}
	sortSymbols(ours)
	sortSymbols(theirs)
	return cancel(ours, theirs)
}

// sortSymbols sorts by the upper 33 bits, 11 at a time, and then by comparing
// neighbours: symbols are random, so few are alike in these, and so many are
// they that comparing all takes longer.
func sortSymbols(ys []Symbol) {
	if len(ys) < 200 {
		slices.Sort(ys)
		return
	}
	from, to := ys, make([]Symbol, len(ys))
	for shift := SymbolBits - 33; shift < SymbolBits; shift += 11 {
		var place [2048]uint32
		for _, y := range from {
			place[y>>shift%2048]++
		}
		sum := uint32(0)
		for i, n := range place {
			place[i] = sum
			sum += n
		}
		for _, y := range from {
			b := y >> shift % 2048
			to[place[b]] = y
			place[b]++
		}
		from, to = to, from
	}
	copy(ys, from) // three times: the result is in the other
	slices.Sort(ys)
}

// cancel drops what was taken out by mistake and put back: it is there an
// even number of times.
func cancel(ours, theirs []Symbol) (o, t []Symbol) {
	if distinct(ours, theirs) {
		return ours, theirs
	}
	o, t = ours[:0], theirs[:0]
	for i, j := 0, 0; i < len(ours) || j < len(theirs); {
		var y Symbol
		if j == len(theirs) || i < len(ours) && ours[i] <= theirs[j] {
			y = ours[i]
		} else {
			y = theirs[j]
		}
		a, b := i, j
		for i < len(ours) && ours[i] == y {
			i++
		}
		for j < len(theirs) && theirs[j] == y {
			j++
		}
		switch {
		case (i-a+j-b)%2 == 0:
		case i-a >= j-b:
			o = append(o, y)
		default:
			t = append(t, y)
		}
	}
	return o, t
}

// distinct reports whether no symbol comes twice in two ascending lists.
func distinct(a, b []Symbol) bool {
	for _, ys := range [][]Symbol{a, b} {
		for i := 1; i < len(ys); i++ {
			if ys[i] == ys[i-1] {
				return false
			}
		}
	}
	for i, j := 0, 0; i < len(a) && j < len(b); { // without a branch on what is random
		x, y := a[i], b[j]
		if x == y {
			return false
		}
		less := number(x < y)
		i += less
		j += 1 - less
	}
	return true
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
