package sketch

// applyAll applies items side by side, as many as a row has.
func (s *Sketch) applyAll(ys []Symbol, count Cell) {
	var sparse, dense row
	for _, y := range ys {
		seed := seedOf(y)
		w := wordOf(y, seed)
		for _, i := range tailOf(seed) {
			s.tail[i] = s.tail[i].plus(w, count)
		}
		s.buckets.apply(seed, count)
		if seed&15 < denseOf16 {
			if dense.add(Cell(w), count, seed, 0); dense.n == abreast {
				for s.through(&dense) {
					dense.stepDense()
				}
			}
		} else if sparse.add(Cell(w), count, seed, 0); sparse.n == abreast {
			for s.through(&sparse) {
				sparse.stepSparse()
			}
		}
	}
	for s.through(&dense) {
		dense.stepDense()
	}
	for s.through(&sparse) {
		sparse.stepSparse()
	}
}

// through adds each item of a row to the cell that it has reached, and drops
// those that are past the last one. It reports whether any go on.
func (s *Sketch) through(r *row) bool {
	cells := s.cells
	for k := 0; k < r.n; {
		if i := r.at[k&(abreast-1)]; i < uint64(len(cells)) {
			cells[i] = cells[i] ^ r.word[k&(abreast-1)] + r.count[k&(abreast-1)]
			k++
		} else {
			r.drop(k)
		}
	}
	return r.n > 0
}
