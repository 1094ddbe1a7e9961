package sketch

import "slices"

// Decoder takes the items out of the difference of two sketches. It never
// takes more than twice as many as it has cells, whatever it was given.
type Decoder struct {
	cells []Cell
	tail  []Cell // nil until it is known
	walks []found
	queue []uint32
	steps []uint32 // of the walk in hand; room for 64 from the first
	dense int      // cells below are tested last
	stuck bool     // the bound was reached
	blank int      // cells that were empty when they came
}

// found is an item that was taken out: where its walk stands, past the last
// cell, with the count in the lowest bits of its word.
type found struct {
	at, state uint64
	word      Cell
}

func (f *found) count() Cell { return f.word & countMask }

// walk is the item's, from there on.
func (f *found) walk() walk {
	return walk{at: f.at, state: f.state, seed: seedOf(f.word.symbol()), word: word(f.word &^ countMask)}
}

// denseShare is the part of the cells that is not tested until no other cell
// is pure: in a cell that holds almost everything a check of 14 bits holds by
// chance, and the walk of what seems to be there passes through it always.
const denseShare = 16

// NewDecoder begins with the first cells of a difference, ours less theirs.
// They become the decoder's.
func NewDecoder(cells []Cell) *Decoder { return &Decoder{cells: cells, blank: zeros(cells)} }

// zeros counts the cells that are empty.
func zeros(cells []Cell) (n int) {
	for _, c := range cells {
		if c.zero() {
			n++
		}
	}
	return n
}

// Len is the number of cells it has.
func (d *Decoder) Len() int { return len(d.cells) }

// Extend gives the cells that follow.
func (d *Decoder) Extend(cells []Cell) {
	old := len(d.cells)
	d.blank += zeros(cells)
	d.cells = append(d.cells, cells...)
	for i := range d.walks {
		f := &d.walks[i]
		w := f.walk()
		d.steps = w.until(len(d.cells), d.steps[:0])
		for _, at := range d.steps {
			d.cells[at] = d.cells[at].plus(w.word, -f.count())
		}
		f.at, f.state = w.at, w.state
	}
	for i := old; i < len(d.cells); i++ {
		d.touch(uint32(i))
	}
	d.stuck = false
}

// Tail gives the difference of the tail cells.
func (d *Decoder) Tail(tail [TailCells]Cell) {
	d.tail = tail[:]
	for i := range d.walks {
		w := d.walks[i].walk()
		for _, t := range tailOf(w.seed) {
			d.tail[t] = d.tail[t].plus(w.word, -d.walks[i].count())
		}
	}
}

// Decode takes out all that it can, and reports whether nothing is left.
// Cost: half a microsecond for each item.
func (d *Decoder) Decode() bool {
	d.dense = len(d.cells) / denseShare
	if d.walks == nil {
		d.walks = make([]found, 0, len(d.cells))
		d.queue = make([]uint32, 0, len(d.cells))
		d.steps = make([]uint32, 0, 64)
	}
	for i := len(d.cells) - 1; i >= d.dense; i-- {
		d.touch(uint32(i))
	}
	for {
		for len(d.queue) > 0 && !d.stuck {
			i := d.queue[len(d.queue)-1]
			d.queue = d.queue[:len(d.queue)-1]
			if c := d.cells[i]; c.pure() {
				d.take(c, int(i), -1)
			}
		}
		if d.stuck || !d.last() {
			break
		}
	}
	d.queue = d.queue[:0]
	return !d.stuck && d.empty()
}

// last looks at the cells that are tested last, until one gives an item.
func (d *Decoder) last() bool {
	for t := range d.tail {
		if c := d.tail[t]; c.pure() && d.take(c, -1, t) {
			return true
		}
	}
	for i := d.dense - 1; i >= 0; i-- {
		if c := d.cells[i]; c.pure() && d.take(c, i, -1) {
			return true
		}
	}
	return false
}

func (d *Decoder) touch(i uint32) {
	if int(i) >= d.dense && d.cells[i].pure() {
		d.queue = append(d.queue, i)
	}
}

// take removes the one item that seems to be in cell at (or tail cell t), if
// its walk passes there.
func (d *Decoder) take(c Cell, at, t int) bool {
	if len(d.walks) >= 2*len(d.cells)+TailCells {
		d.stuck = true
		return false
	}
	w, count := begin(c.symbol()), c&countMask
	d.steps = w.until(len(d.cells), d.steps[:0])
	if t >= 0 {
		if tail := tailOf(w.seed); !slices.Contains(tail[:], uint8(t)) {
			return false
		}
	}
	// An item that is there leaves none of its cells empty. One that only
	// seems to be would be taken out and put back for ever.
	through := t >= 0
	for _, i := range d.steps {
		if d.cells[i].zero() {
			return false
		}
		through = through || int(i) == at
	}
	if !through {
		return false
	}
	tested := len(d.steps)
	for k, i := range d.steps {
		if int(i) >= d.dense {
			tested = k
			break
		}
		d.cells[i] = d.cells[i].plus(w.word, -count)
	}
	for _, i := range d.steps[tested:] {
		c := d.cells[i].plus(w.word, -count)
		d.cells[i] = c
		if c.pure() {
			d.queue = append(d.queue, i)
		}
	}
	if d.tail != nil {
		for _, i := range tailOf(w.seed) {
			d.tail[i] = d.tail[i].plus(w.word, -count)
		}
	}
	d.walks = append(d.walks, found{w.at, w.state, Cell(w.word) | count})
	return true
}

func (d *Decoder) empty() bool {
	for _, c := range d.cells {
		if !c.zero() {
			return false
		}
	}
	return true
}

// Sure reports, after Decode, whether the numbers of items came out even
// too. If not, items with equal symbols are about, and what Found says about
// whose an item is may be wrong.
func (d *Decoder) Sure() bool {
	for _, c := range d.cells {
		if c != 0 {
			return false
		}
	}
	return true
}

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

// sortSymbols sorts by one byte after the other: symbols are random, and so
// many of them that comparing takes longer.
func sortSymbols(ys []Symbol) {
	if len(ys) < 2000 {
		slices.Sort(ys)
		return
	}
	from, to := ys, make([]Symbol, len(ys))
	for shift := 0; shift < SymbolBits; shift += 8 { // six times: the result is in ys
		var place [257]int
		for _, y := range from {
			place[y>>shift&0xff+1]++
		}
		for i := 1; i < len(place); i++ {
			place[i] += place[i-1]
		}
		for _, y := range from {
			b := y >> shift & 0xff
			to[place[b]] = y
			place[b]++
		}
		from, to = to, from
	}
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

// Left estimates how many items are still to be found. It says 0 only if all
// cells are empty. The cells count as they came: where decoding has stopped,
// what is left lies together.
func (d *Decoder) Left() int {
	if d.empty() {
		return 0
	}
	ours, theirs := d.Found()
	return max(1, itemsFor(len(d.cells), d.blank)-len(ours)-len(theirs))
}
