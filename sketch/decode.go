package sketch

import "slices"

// Decoder takes the items out of the difference of two sketches. It never
// takes more than twice as many as it has cells, whatever it was given.
type Decoder struct {
	cells []Cell
	tail  []Cell // nil until it is known
	walks []found
	queue []uint32
	steps []uint32 // of the walk in hand
	dense int      // cells below are tested last
	stuck bool     // the bound was reached
	blank int      // cells that were empty when they came
}

// found is an item that was taken out, with its way from the last cell on.
type found struct {
	walk
	count Cell
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
		d.steps = f.until(len(d.cells), d.steps[:0])
		for _, at := range d.steps {
			d.cells[at] = d.cells[at].plus(f.word, -f.count)
		}
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
		f := &d.walks[i]
		for _, t := range tailOf(f.seed) {
			d.tail[t] = d.tail[t].plus(f.word, -f.count)
		}
	}
}

// Decode takes out all that it can, and reports whether nothing is left.
// Cost: half a microsecond for each item.
func (d *Decoder) Decode() bool {
	d.dense = len(d.cells) / denseShare
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
	if c := d.cells[i]; int(i) >= d.dense && c.pure() {
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
	f := found{walk: begin(c.symbol()), count: c & countMask}
	d.steps = f.until(len(d.cells), d.steps[:0])
	tail := tailOf(f.seed)
	if t >= 0 && !slices.Contains(tail[:], uint8(t)) || t < 0 && !slices.Contains(d.steps, uint32(at)) {
		return false
	}
	// An item that is there leaves none of its cells empty. One that only
	// seems to be would be taken out and put back for ever.
	for _, i := range d.steps {
		if d.cells[i].zero() {
			return false
		}
	}
	for _, i := range d.steps {
		c := d.cells[i].plus(f.word, -f.count)
		d.cells[i] = c
		if c.pure() && int(i) >= d.dense {
			d.queue = append(d.queue, i)
		}
	}
	if d.tail != nil {
		for _, i := range tail {
			d.tail[i] = d.tail[i].plus(f.word, -f.count)
		}
	}
	d.walks = append(d.walks, f)
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
	for i := range d.walks {
		y := Cell(d.walks[i].word).symbol()
		if d.walks[i].count == one {
			ours = append(ours, y)
		} else {
			theirs = append(theirs, y)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	return cancel(ours, theirs)
}

// cancel drops what was taken out by mistake and put back: it is there an
// even number of times.
func cancel(ours, theirs []Symbol) (o, t []Symbol) {
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
