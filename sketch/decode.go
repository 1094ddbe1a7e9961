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

	refused int // items that only seemed to be there
	peeler  *peeler
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
// Then, when little is left, they are tested, but for the same part of them,
// and so on.
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

// few is the number of cells below which items are taken out one by one.
const few = 100

// Decode takes out all that it can, and reports whether nothing is left.
// Cost: a third of a microsecond for each item.
func (d *Decoder) Decode() bool {
	if d.walks == nil {
		d.walks = make([]found, 0, len(d.cells))
		d.steps = make([]uint32, 0, 64)
	}
	for end := len(d.cells); ; {
		d.dense = end / denseShare
		d.queue = slices.Grow(d.queue, end-d.dense)
		for i := d.dense; i < end; i++ {
			d.touch(uint32(i))
		}
		d.peel()
		for !d.stuck && d.takeTail() {
			d.peel()
		}
		if d.stuck || d.dense == 0 {
			break
		}
		end = d.dense
	}
	d.queue = d.queue[:0]
	return !d.stuck && d.empty()
}

// peel takes out all items that are alone in one of the cells of the queue,
// or in one of those that they leave, until the queue is empty.
func (d *Decoder) peel() {
	if len(d.cells) >= few {
		d.peelMany()
		return
	}
	for len(d.queue) > 0 && !d.stuck {
		i := d.queue[len(d.queue)-1]
		d.queue = d.queue[:len(d.queue)-1]
		if c := d.cells[i]; c.pure() {
			d.take(c, int(i), -1)
		}
	}
}

// takeTail takes out an item that is alone in a cell of the tail.
func (d *Decoder) takeTail() bool {
	for t := range d.tail {
		if c := d.tail[t]; c.pure() && d.take(c, -1, t) {
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

// itemCells is the number of cells that so many items fill that decoding
// stops for want of cells, each. Two that share all cells fill more.
const itemCells = 8

// Left estimates how many items are still to be found. It says 0 only if all
// cells are empty. The cells count as they came: where decoding has stopped,
// what is left lies together.
func (d *Decoder) Left() int {
	if d.empty() {
		return 0
	}
	ours, theirs := d.Found()
	left := itemsFor(len(d.cells), d.blank) - len(ours) - len(theirs)
	// What is left fills cells: few items cannot fill many.
	return max(1, left, (len(d.cells)-zeros(d.cells))/itemCells)
}
