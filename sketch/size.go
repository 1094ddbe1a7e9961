package sketch

import "math"

// curve is the number of cells per item at which nine of ten differences of
// so many items decode without the tail. docs/sketch.md has all of it.
var curve = []struct{ items, cells float64 }{
	{1, 3}, {3, 2.7}, {10, 2.5}, {30, 2.15}, {100, 1.65}, {300, 1.35}, {1000, 1.2},
	{3000, 1.14}, {10_000, 1.115}, {30_000, 1.1}, {100_000, 1.093}, {1_000_000, 1.09},
}

// CellsFor is the number of cells that nine of ten differences of so many
// items need.
func CellsFor(items int) int {
	d := float64(items)
	if items <= 0 {
		return 0
	}
	for i := 1; i < len(curve); i++ {
		if a, b := curve[i-1], curve[i]; d <= b.items {
			x := math.Log(d/a.items) / math.Log(b.items/a.items)
			return int(d*(a.cells+x*(b.cells-a.cells)) + 0.5)
		}
	}
	return int(min(d*curve[len(curve)-1].cells, MaxCells))
}

// share is the part of all items that lie in cell i.
func share(i float64) float64 {
	const dense = denseOf16 / 16.0
	return dense/(1+i/8) + (1-dense)/(1+0.75*i)
}

// itemsFor is the number of items at which so many of m cells are expected
// to be empty.
func itemsFor(m, zeros int) int {
	if zeros >= m {
		return 0
	}
	// Cells that follow one another differ little: a few hundred stand for all.
	type part struct{ logMiss, cells float64 }
	var parts []part
	for i := 0; i < m; {
		n := 1 + i/16
		n = min(n, m-i)
		mid := float64(i) + float64(n-1)/2
		parts = append(parts, part{math.Log1p(-min(share(mid), 1-1e-9)), float64(n)})
		i += n
	}
	empty := func(d float64) (sum float64) {
		for _, p := range parts {
			sum += p.cells * math.Exp(d*p.logMiss)
		}
		return sum
	}
	low, high := 0.0, 8*float64(m)+64
	for high-low > 0.5+low/500 {
		mid := (low + high) / 2
		if empty(mid) > float64(zeros) {
			low = mid
		} else {
			high = mid
		}
	}
	return max(1, int(high+0.5))
}
