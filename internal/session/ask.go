package session

import (
	"encoding/binary"
	"math/bits"

	"anabranch/reconcile"
	"anabranch/sketch"
)

// Sketched is a View that has a sketch of its members: every ID that Trie
// holds, by sketch.Of. With it a session finds differences at a cost that
// depends on them alone; see docs/planner.md.
type Sketched interface {
	// Sketch has at least minCells cells, unless it is nil: then there is
	// none at the moment. It is only read.
	Sketch() (*sketch.Sketch, error)
}

// sketchOf is the sketch of a view, or nil.
func sketchOf(v View) (*sketch.Sketch, error) {
	s, ok := v.(Sketched)
	if !ok {
		return nil, nil
	}
	sk, err := s.Sketch()
	if err != nil || sk == nil || sk.Len() < minCells {
		return nil, err
	}
	return sk, nil
}

const (
	minCells   = 1024
	firstCells = 28 // in an ask: ten differences decode, mostly
	windows    = 16
	windowMark = 3 // bytes of a fingerprint
	leastTail  = 16
)

// An ask is what an initiator tells about its set so that the responder can
// plan: parts of
//
//	type 1 | length varint | that many bytes
//
// with ascending types; those unknown are skipped. It is an ask frame, or
// follows the state in a hello.
type ask struct {
	estimator *sketch.Estimator // type 1: 128 bytes
	cells     []sketch.Cell     // type 2: the first ones, 8 bytes each
	windows   *windowsPart      // type 3
	cursor    *Cursor           // type 4: 10 bytes
	without   byte              // type 5: bits of optional methods that are not taken
}

const (
	partEstimator = 1
	partCells     = 2
	partWindows   = 3
	partCursor    = 4
	partWithout   = 5
)

// windowsPart tells how the set looks below times that lie 2^first,
// 2^(first + 3/4), 2^(first + 6/4) … before newest:
//
//	newest varint | first 1 | 3 bytes each: fingerprint of all items below
type windowsPart struct {
	newest uint64
	first  uint8
	marks  []byte
}

func (w *windowsPart) bound(i int) reconcile.Bound {
	steps := [4]uint64{4096, 6889, 11585, 19484} // 4096 · 2^(3k/4)
	hi, lo := bits.Mul64(steps[i%4], 1<<min(63, int(w.first)+i/4*3))
	age := hi<<52 | lo>>12
	if hi >= 1<<12 {
		age = 1<<64 - 1
	}
	return reconcile.Bound{Time: w.newest - min(age, w.newest)}
}

// mark is the fingerprint of all items below a bound, and the position that
// it cuts an index at.
func mark(ix reconcile.Index, b reconcile.Bound) (at int, m [windowMark]byte, err error) {
	if at, err = ix.LowerBound(b); err != nil {
		return 0, m, err
	}
	f, err := ix.Fingerprint(0, at)
	copy(m[:], f[:])
	return at, m, err
}

// windowsOf looks at the newest 16, 32, 64 … items, more or less.
func windowsOf(ix reconcile.Index) (*windowsPart, error) {
	n := ix.Len()
	if n <= leastTail {
		return nil, nil
	}
	last, err := ix.At(n - 1)
	if err != nil {
		return nil, err
	}
	start, err := ix.At(n - leastTail)
	if err != nil {
		return nil, err
	}
	w := &windowsPart{newest: last.Time, first: uint8(bits.Len64(last.Time - start.Time))}
	for i := range windows {
		at, m, err := mark(ix, w.bound(i))
		if err != nil {
			return nil, err
		}
		w.marks = append(w.marks, m[:]...)
		if at == 0 {
			break
		}
	}
	return w, nil
}

// askAbout describes a view.
func askAbout(v View, sk *sketch.Sketch) (*ask, error) {
	e := sk.Estimator()
	w, err := windowsOf(v.Index())
	if err != nil {
		return nil, err
	}
	cells, err := sketch.ParseCells(sk.AppendCells(nil, 0, firstCells))
	return &ask{estimator: &e, cells: cells, windows: w}, err
}

func (a *ask) append(dst []byte) []byte {
	part := func(t byte, n int) {
		dst = append(dst, t)
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	if a.estimator != nil {
		part(partEstimator, sketch.Buckets)
		dst = append(dst, a.estimator[:]...)
	}
	if len(a.cells) > 0 {
		part(partCells, sketch.CellBytes*len(a.cells))
		dst = sketch.AppendCells(dst, a.cells)
	}
	if w := a.windows; w != nil {
		head := append(binary.AppendUvarint(nil, w.newest), w.first)
		part(partWindows, len(head)+len(w.marks))
		dst = append(append(dst, head...), w.marks...)
	}
	if a.cursor != nil {
		part(partCursor, CursorSize)
		dst = append(dst, a.cursor[:]...)
	}
	if a.without != 0 {
		part(partWithout, 1)
		dst = append(dst, a.without)
	}
	return dst
}

// ask reads parts to the end.
func (r *reader) ask() *ask {
	a := &ask{}
	last := byte(0)
	for len(r.b) > 0 && r.err == nil {
		t := r.byte()
		n := r.uvarint(uint64(MaxFrameBytes))
		if r.err == nil && (t <= last || n > uint64(len(r.b))) {
			r.fail("part %d of %d bytes", t, n)
		}
		if r.err != nil {
			break
		}
		last = t
		p := reader{frame: r.frame, b: r.b[:n]}
		r.b = r.b[n:]
		switch t {
		case partEstimator:
			a.estimator = new(sketch.Estimator)
			p.copy(a.estimator[:])
		case partCells:
			var err error
			if a.cells, err = sketch.ParseCells(p.b); err != nil || n == 0 || len(a.cells) > minCells {
				p.fail("%d bytes of cells", n)
			}
			p.b = nil
		case partWindows:
			w := &windowsPart{newest: p.uvarint(1<<63 - 1), first: p.byte()}
			if p.err == nil && (len(p.b)%windowMark != 0 || len(p.b) > 64*windowMark) {
				p.fail("%d bytes of windows", len(p.b))
			}
			w.marks = p.b
			p.b = nil
			a.windows = w
		case partCursor:
			a.cursor = new(Cursor)
			p.copy(a.cursor[:])
		case partWithout:
			if a.without = p.byte(); p.err == nil && a.without == 0 {
				p.fail("no method left out, and said so")
			}
		default:
			p.b = nil
		}
		if err := p.end(); err != nil && r.err == nil {
			r.err = err
		}
	}
	return a
}
