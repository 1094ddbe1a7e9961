package sketch

// Peeling takes items out of the cells many at a time. What one item takes is
// little work and much waiting: for the walk's own multiplications, for the
// cells, and for guesses at branches that nobody can guess. So the items of a
// batch walk side by side, a step each in turn, and what they have left behind
// is tested when all have arrived.

const (
	abreast = 64   // items that are taken out at a time
	places  = 1024 // for telling items of a batch apart; a power of two
)

// peelMany is peel for many.
func (d *Decoder) peelMany() {
	if len(d.queue) == 0 {
		return
	}
	if d.peeler == nil {
		d.peeler = new(peeler)
	}
	p := d.peeler
	for len(d.queue) > 0 && !d.stuck {
		p.choose(d)
		for p.pass(d, &p.sparse); p.sparse.n > 0; p.pass(d, &p.sparse) {
			p.sparse.stepSparse()
		}
		for p.pass(d, &p.dense); p.dense.n > 0; p.pass(d, &p.dense) {
			p.dense.stepDense()
		}
		d.test(p.touched)
	}
}

// peeler is what a batch needs.
type peeler struct {
	sparse, dense row
	touched       []uint32 // cells that items have left, and that are to be tested
	waiting       []uint32 // cells whose turn is the next batch
	round         uint8
	seen          [places]uint8 // the round in which an item with such a seed was chosen
}

// row is items of one class that walk side by side, on their way out.
type row struct {
	n         int
	at, state [abreast]uint64
	word      [abreast]Cell // of the item, no count
	count     [abreast]Cell // what is added for it
	seed      [abreast]uint64
	origin    [abreast]uint32 // the cell that it was found in
}

func (r *row) add(word, count Cell, seed uint64, origin uint32) {
	k := r.n
	r.at[k], r.state[k], r.word[k], r.count[k], r.seed[k], r.origin[k] = 0, seed, word, count, seed, origin
	r.n++
}

// drop takes item k out.
func (r *row) drop(k int) {
	r.n--
	n := r.n
	r.at[k], r.state[k], r.word[k], r.count[k], r.seed[k], r.origin[k] = r.at[n], r.state[n], r.word[n], r.count[n], r.seed[n], r.origin[n]
}

// choose takes cells from the queue's end, as many as there is room for, and
// puts the items of those that are pure into the rows. One that may be there
// already, because it is alone in two cells, waits.
func (p *peeler) choose(d *Decoder) {
	if p.round++; p.round == 0 {
		p.seen, p.round = [places]uint8{}, 1
	}
	p.touched, p.waiting = p.touched[:0], p.waiting[:0]
	room := min(abreast, 2*len(d.cells)+TailCells-len(d.walks))
	if room <= 0 {
		d.stuck = true
		return
	}
	from := max(0, len(d.queue)-room)
	for _, i := range d.queue[from:] {
		c := d.cells[i]
		y := c.symbol()
		seed := seedOf(y)
		w := Cell(wordOf(y, seed))
		if (c^w)<<1 != one<<1 {
			continue
		}
		place := &p.seen[seed>>16%places]
		if *place == p.round {
			p.waiting = append(p.waiting, i)
			continue
		}
		*place = p.round
		if seed&15 < denseOf16 {
			p.dense.add(w, -(c & countMask), seed, i)
		} else {
			p.sparse.add(w, -(c & countMask), seed, i)
		}
	}
	d.queue = append(d.queue[:from], p.waiting...)
}

// pass takes each item of a row out of the cell that it has reached, and
// those out of the row that are past the last one.
func (p *peeler) pass(d *Decoder, r *row) {
	cells, above := d.cells, uint64(d.dense)-1
	touched := p.touched
	at := len(touched)
	if cap(touched)-at < r.n {
		touched = append(touched, make([]uint32, 4*abreast)...)
	}
	touched = touched[:at+r.n]
	for k := 0; k < r.n; {
		i := r.at[k&(abreast-1)]
		if i < uint64(len(cells)) {
			if c := cells[i]; !c.zero() {
				cells[i] = c ^ r.word[k&(abreast-1)] + r.count[k&(abreast-1)]
				touched[at] = uint32(i)
				at += int((above - i) >> 63)
				k++
				continue
			}
		}
		p.arrive(d, r, k)
		r.drop(k)
	}
	p.touched = touched[:at]
}

// arrive notes that an item of a row was taken out of its last cell. It was
// not there if it has come to a cell that is empty, or if its walk does not
// pass the cell that it was found in, which is not empty in that case: then it
// is put back.
func (p *peeler) arrive(d *Decoder, r *row, k int) {
	i, end := r.at[k], uint64(len(d.cells))
	if i >= end {
		o := r.origin[k]
		through := d.cells[o].zero()
		if !through {
			w := walk{seed: r.seed[k], state: r.seed[k]}
			d.steps = w.until(int(o)+1, d.steps[:0])
			through = d.steps[len(d.steps)-1] == o
		}
		if through {
			if d.tail != nil {
				for _, t := range tailOf(r.seed[k]) {
					d.tail[t] = d.tail[t] ^ r.word[k] + r.count[k]
				}
			}
			d.walks = append(d.walks, found{i, r.state[k], r.word[k] - r.count[k]})
			return
		}
		i = end
	}
	w := walk{seed: r.seed[k], state: r.seed[k]}
	d.steps = w.until(int(i), d.steps[:0])
	for _, i := range d.steps {
		d.cells[i] = d.cells[i] ^ r.word[k] - r.count[k]
	}
	d.refused++
	d.stuck = d.stuck || d.refused > len(d.cells)+TailCells
}

// test puts those cells into the queue that have become pure.
func (d *Decoder) test(touched []uint32) {
	at := len(d.queue)
	if cap(d.queue)-at < len(touched) {
		d.queue = append(d.queue, make([]uint32, len(touched))...)
	}
	queue := d.queue[:at+len(touched)]
	for _, i := range touched {
		queue[at] = i
		at += number(d.cells[i].pure())
	}
	d.queue = queue[:at]
}
