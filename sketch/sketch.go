// Package sketch finds the difference between two sets at a cost that
// depends on the difference alone. A Sketch is a row of cells, each the sum
// of some of the set's symbols; it is maintained as the set changes, or made
// on the fly. One side sends as many cells as the difference needs, the other
// subtracts its own, and a Decoder takes the differing symbols out of what
// remains:
//
//	cells, err := sketch.ParseCells(received)
//	d := sketch.NewDecoder(ours.Minus(cells, 0))
//	if d.Decode() {
//		ours, theirs := d.Found()
//	}
//
// The code is rateless: a sketch of m cells is the beginning of every longer
// one, so a decoder that has too few is given the next ones and goes on.
// Everything is linear: adding, removing and subtracting are one operation,
// and an old state is reached by un-applying what came since.
//
// A sketch finds, it does not prove. Symbols have 48 bits and are the same
// for everybody, so two items that share one cancel (by chance once in 2^48
// pairs, on purpose after 2^24 hashes); compare roots afterwards.
//
// Nothing here allocates beyond what its arguments are worth, starts a
// goroutine, or depends on the platform: every cell is the same bits
// everywhere. docs/sketch.md says how, byte by byte, and
// arXiv:2402.02668 why rateless sketches work.
package sketch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
)

const (
	// SymbolBits is the width of a Symbol.
	SymbolBits = 48
	checkBits  = 14
	// CellBytes is a cell on the wire, ThinBytes a thin one.
	CellBytes = 8
	ThinBytes = 4
	// TailCells is the number of cells in which every item lies three times.
	TailCells = 32
	// Buckets is the number of an estimator's bytes.
	Buckets = 128
	// MaxCells bounds a sketch: 128 MiB, for a difference of fifteen million.
	MaxCells = 1 << 24
)

// Symbol is what a sketch knows an item by: a number below 2^48.
type Symbol uint64

// Of is the symbol of an item: the first six bytes of its ID, big-endian, so
// that an order by ID finds the item again.
func Of(id [32]byte) Symbol { return Symbol(binary.BigEndian.Uint64(id[:]) >> 16) }

// Cell is a sum of symbols: from the top, 2 bits of their number modulo 4, 48
// bits of their exclusive or, 14 bits of that of their checks. With the
// number on top an item is added by one exclusive or and one addition, whose
// carry falls off. On the wire the number is the lowest 2 bits; see ParseCell.
type Cell uint64

const (
	one       Cell = 1 << 62 // ours: the item is in this set
	minusOne  Cell = 3 << 62 // theirs: it is in the set that was subtracted
	countMask      = minusOne
)

// plus adds an item's word with a count.
func (c Cell) plus(w word, count Cell) Cell { return c ^ Cell(w) + count }

// minus subtracts another set's cell.
func (c Cell) minus(o Cell) Cell { return c ^ o&^countMask - o&countMask }

func (c Cell) symbol() Symbol { return Symbol(c &^ countMask >> checkBits) }

// zero reports whether nothing is left but, perhaps, a count.
func (c Cell) zero() bool { return c&^countMask == 0 }

// word is an item as it is summed: symbol and check, count 0.
type word uint64

// Sketch is the sum of a set. The zero value has no cells; use New. It is
// not safe for concurrent use while it is written.
type Sketch struct {
	cells   []Cell
	tail    [TailCells]Cell
	buckets Estimator
}

// New makes the sketch of the empty set, with 0 <= cells <= MaxCells.
func New(cells int) *Sketch {
	if cells < 0 || cells > MaxCells {
		panic(fmt.Sprintf("sketch: %d cells", cells))
	}
	return &Sketch{cells: make([]Cell, cells)}
}

// Restore makes a sketch of its parts again. The cells become the sketch's.
func Restore(cells []Cell, tail [TailCells]Cell, e Estimator) *Sketch {
	return &Sketch{cells: cells, tail: tail, buckets: e}
}

// Equal reports whether two sketches are of the same set, or by a rare chance
// look so, and have as many cells.
func (s *Sketch) Equal(o *Sketch) bool {
	return s.tail == o.tail && s.buckets == o.buckets && slices.Equal(s.cells, o.cells)
}

// Len is the number of cells.
func (s *Sketch) Len() int { return len(s.cells) }

// Clone copies a sketch, or its first cells if it has more.
func (s *Sketch) Clone(cells int) *Sketch {
	c := *s
	c.cells = append([]Cell(nil), s.cells[:min(cells, len(s.cells))]...)
	return &c
}

// Add puts an item in. Cost: a third of a microsecond at 131 072 cells.
func (s *Sketch) Add(y Symbol) { s.apply(y, one) }

// Remove takes an item out. It undoes Add, in any order.
func (s *Sketch) Remove(y Symbol) { s.apply(y, minusOne) }

// AddAll is Add for each of many, for half as much; RemoveAll is Remove.
func (s *Sketch) AddAll(ys []Symbol) { s.applyAll(ys, one) }

// RemoveAll takes many items out.
func (s *Sketch) RemoveAll(ys []Symbol) { s.applyAll(ys, minusOne) }

func (s *Sketch) apply(y Symbol, count Cell) {
	var room [64]uint32
	w := begin(y)
	for _, i := range w.until(len(s.cells), room[:0]) {
		s.cells[i] = s.cells[i].plus(w.word, count)
	}
	for _, i := range tailOf(w.seed) {
		s.tail[i] = s.tail[i].plus(w.word, count)
	}
	s.buckets.apply(w.seed, count)
}

// Subtract takes away another set: what both hold vanishes. It keeps the
// cells that both have.
func (s *Sketch) Subtract(o *Sketch) {
	s.cells = s.cells[:min(len(s.cells), len(o.cells))]
	for i := range s.cells {
		s.cells[i] = s.cells[i].minus(o.cells[i])
	}
	for i := range s.tail {
		s.tail[i] = s.tail[i].minus(o.tail[i])
	}
	for i := range s.buckets {
		s.buckets[i] -= o.buckets[i]
	}
}

// Estimator is what tells the size of a difference beforehand.
func (s *Sketch) Estimator() Estimator { return s.buckets }

// Minus is this set's cells from position begin on, less the given ones of
// another set: at most as many as there are here.
func (s *Sketch) Minus(theirs []Cell, begin int) []Cell {
	begin = min(begin, len(s.cells))
	d := append([]Cell(nil), s.cells[begin:min(begin+len(theirs), len(s.cells))]...)
	for i := range d {
		d[i] = d[i].minus(theirs[i])
	}
	return d
}

// Tail is the tail cells, and MinusTail those less another set's.
func (s *Sketch) Tail() [TailCells]Cell { return s.tail }

// MinusTail is the tail cells less those of another set.
func (s *Sketch) MinusTail(theirs [TailCells]Cell) [TailCells]Cell {
	d := s.tail
	for i := range d {
		d[i] = d[i].minus(theirs[i])
	}
	return d
}

// AppendCells encodes the cells [begin, end), 8 bytes each, big-endian.
func (s *Sketch) AppendCells(dst []byte, begin, end int) []byte {
	return AppendCells(dst, s.cells[begin:end])
}

// AppendTail encodes the tail cells likewise.
func (s *Sketch) AppendTail(dst []byte) []byte { return AppendCells(dst, s.tail[:]) }

// AppendCells encodes cells, 8 bytes each, big-endian.
func AppendCells(dst []byte, cells []Cell) []byte {
	at := len(dst)
	dst = slices.Grow(dst, CellBytes*len(cells))[:at+CellBytes*len(cells)]
	for _, c := range cells {
		binary.BigEndian.PutUint64(dst[at:], bits.RotateLeft64(uint64(c), 2))
		at += CellBytes
	}
	return dst
}

// ParseCell reads the cell that 8 bytes are; see AppendCells.
func ParseCell(b []byte) Cell { return Cell(bits.RotateLeft64(binary.BigEndian.Uint64(b), -2)) }

// ErrLength says that bytes are no whole number of cells.
var ErrLength = errors.New("sketch: not a whole number of cells")

// ParseCells reads cells. Every 8 bytes are some cell.
func ParseCells(b []byte) ([]Cell, error) {
	if len(b)%CellBytes != 0 {
		return nil, ErrLength
	}
	cells := make([]Cell, len(b)/CellBytes)
	for i := range cells {
		cells[i] = ParseCell(b[CellBytes*i:])
	}
	return cells, nil
}

// ParseTail reads tail cells.
func ParseTail(b []byte) (tail [TailCells]Cell, err error) {
	if len(b) != TailCells*CellBytes {
		return tail, ErrLength
	}
	cells, err := ParseCells(b)
	copy(tail[:], cells)
	return tail, err
}
