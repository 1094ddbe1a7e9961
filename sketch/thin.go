package sketch

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// ThinCell is the half of a Cell that is enough when one set holds all of the
// other: 30 bits, the upper ones, of the symbols' exclusive or, and 2 bits of
// their number. It needs no check, because who decodes holds the items, and
// looks them up.
type ThinCell uint32

const (
	thinDrop = SymbolBits - 30

	thinCount             = 3 // the bits of the number
	thinOne, thinMinusOne = 1, 3
)

// Thin cuts a cell.
func (c Cell) Thin() ThinCell { return ThinCell(bits.RotateLeft32(uint32(c>>(checkBits+thinDrop)), 2)) }

// ThinPrefix is what a thin cell holds of a symbol: its upper 30 bits, the
// first of the ID.
func (y Symbol) ThinPrefix() uint32 { return uint32(y >> thinDrop) }

func (c ThinCell) plus(prefix uint32, count ThinCell) ThinCell {
	return (c^ThinCell(prefix<<2))&^thinCount | (c+count)&thinCount
}

// AppendThin encodes the cells [begin, end) as thin ones, 4 bytes each,
// big-endian.
func (s *Sketch) AppendThin(dst []byte, begin, end int) []byte {
	for _, c := range s.cells[begin:end] {
		dst = binary.BigEndian.AppendUint32(dst, uint32(c.Thin()))
	}
	return dst
}

// ParseThin reads thin cells. Every 4 bytes are some cell.
func ParseThin(b []byte) ([]ThinCell, error) {
	if len(b)%ThinBytes != 0 {
		return nil, ErrLength
	}
	cells := make([]ThinCell, len(b)/ThinBytes)
	for i := range cells {
		cells[i] = ThinCell(binary.BigEndian.Uint32(b[ThinBytes*i:]))
	}
	return cells, nil
}

// MinusThin is this set's cells from position begin on, thin, less the given
// ones of another set.
func (s *Sketch) MinusThin(theirs []ThinCell, begin int) []ThinCell {
	begin = min(begin, len(s.cells))
	cells := s.cells[begin:min(begin+len(theirs), len(s.cells))]
	d := make([]ThinCell, len(cells))
	for i := range d {
		a, b := cells[i].Thin(), theirs[i]
		d[i] = (a^b)&^thinCount | (a-b)&thinCount
	}
	return d
}

// Lookup returns the symbols of the items held here whose ThinPrefix is
// this, in any order. Its error ends the decoding.
type Lookup func(prefix uint32) ([]Symbol, error)

// ThinDecoder takes out of a thin difference the items that only we have. It
// never takes more than twice as many as it has cells, and looks up about
// five for each.
type ThinDecoder struct {
	cells  []ThinCell
	lookup Lookup
	walks  []walk
	steps  []uint32 // of the walk in hand
	tail   []Cell   // nil until it is known
	out    map[Symbol]bool
	dense  int
	looked int
}

// NewThinDecoder begins with the first cells of a difference, ours less
// theirs, which become the decoder's.
func NewThinDecoder(cells []ThinCell, lookup Lookup) *ThinDecoder {
	return &ThinDecoder{cells: cells, lookup: lookup, out: make(map[Symbol]bool)}
}

// Len is the number of cells it has.
func (d *ThinDecoder) Len() int { return len(d.cells) }

// Extend gives the cells that follow.
func (d *ThinDecoder) Extend(cells []ThinCell) {
	d.cells = append(d.cells, cells...)
	for i := range d.walks {
		d.remove(&d.walks[i])
	}
}

// Tail gives the difference of the tail cells, which are whole ones.
func (d *ThinDecoder) Tail(tail [TailCells]Cell) {
	d.tail = tail[:]
	for i := range d.walks {
		d.fromTail(&d.walks[i])
	}
}

func (d *ThinDecoder) fromTail(w *walk) {
	if d.tail != nil {
		for _, t := range tailOf(w.seed) {
			d.tail[t] = d.tail[t].plus(w.word, minusOne)
		}
	}
}

// takeTail removes an item that is alone in a tail cell, if it is held here.
func (d *ThinDecoder) takeTail() (bool, error) {
	for t, c := range d.tail {
		y := c.symbol()
		if !c.pure() || c&countMask != one || d.out[y] {
			continue
		}
		w := begin(y)
		if cells := tailOf(w.seed); !slices.Contains(cells[:], uint8(t)) {
			continue
		}
		held, err := d.lookup(y.ThinPrefix())
		if err != nil {
			return false, err
		}
		if slices.Contains(held, y) {
			d.out[y] = true
			d.remove(&w)
			d.fromTail(&w)
			d.walks = append(d.walks, w)
			return true, nil
		}
	}
	return false, nil
}

// remove takes an item out of the cells from where its walk stands.
func (d *ThinDecoder) remove(w *walk) {
	d.steps = w.until(len(d.cells), d.steps[:0])
	prefix := Cell(w.word).symbol().ThinPrefix()
	for _, i := range d.steps {
		d.cells[i] = d.cells[i].plus(prefix, thinMinusOne)
	}
}

// Decode takes out what it can, and reports whether nothing is left.
func (d *ThinDecoder) Decode() (bool, error) {
	d.dense = len(d.cells) / denseShare
	queue := make([]uint32, 0, len(d.cells))
	limit := 16*len(d.cells) + 1024
	d.looked = 0
	for pass := true; pass; {
		pass = false
		from := d.dense
		if len(d.walks) > 0 || len(d.cells) < 4*denseShare {
			from = 0 // what is sparse was tested before
		}
		for i := len(d.cells) - 1; i >= from; i-- {
			queue = append(queue[:0], uint32(i))
			for len(queue) > 0 {
				at := queue[len(queue)-1]
				queue = queue[:len(queue)-1]
				if d.cells[at]&thinCount != thinOne {
					continue
				}
				if d.looked++; d.looked > limit || len(d.walks) > 2*len(d.cells) {
					return false, nil
				}
				more, ok, err := d.take(int(at), queue)
				if err != nil {
					return false, err
				}
				queue = more
				pass = pass || ok
			}
		}
		if !pass && len(d.walks) <= 2*len(d.cells) {
			var err error
			if pass, err = d.takeTail(); err != nil {
				return false, err
			}
		}
	}
	return !slices.ContainsFunc(d.cells, func(c ThinCell) bool { return c != 0 }), nil
}

// take removes the item that cell at seems to hold alone, if there is one
// that passes through it, and appends the cells to look at next.
func (d *ThinDecoder) take(at int, queue []uint32) ([]uint32, bool, error) {
	candidates, err := d.lookup(uint32(d.cells[at] >> 2))
	if err != nil {
		return queue, false, err
	}
	for _, y := range candidates {
		if d.out[y] {
			continue
		}
		w := begin(y)
		if d.steps = w.until(at+1, d.steps[:0]); d.steps[len(d.steps)-1] != uint32(at) {
			continue
		}
		w = begin(y)
		if d.steps = w.until(len(d.cells), d.steps[:0]); slices.ContainsFunc(d.steps, func(i uint32) bool { return d.cells[i] == 0 }) {
			continue // an item that is there leaves none of its cells empty
		}
		d.out[y] = true
		w = begin(y)
		d.remove(&w)
		d.fromTail(&w)
		for _, i := range d.steps {
			if d.cells[i]&thinCount == thinOne && int(i) >= d.dense {
				queue = append(queue, i)
			}
		}
		d.walks = append(d.walks, w)
		return queue, true, nil
	}
	return queue, false, nil
}

// Found is the symbols taken out so far, ascending.
func (d *ThinDecoder) Found() []Symbol {
	out := make([]Symbol, 0, len(d.walks))
	for y := range d.out {
		out = append(out, y)
	}
	slices.Sort(out)
	return out
}
