package store

import (
	"encoding/binary"
	"sync/atomic"

	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/sketch"
)

const (
	sketchCells = 1 << 17 // one MiB: differences of up to 115 000 records
	sketchAhead = 1024    // changes that wait to be summed; a sketch is copied that often
)

// sketched is the sketch of a space's members. It is a sum made some time ago
// and the changes since: adding to it copies those, at most 8 KiB, and only
// one in a thousand changes copies the sum. A space of fewer members than
// that has no cells in memory until a session asks.
type sketched struct {
	base *sketch.Sketch // nil is that of no members; changed only while own
	own  bool           // no other value has this base
	ops  []sketchOp     // since base
	full atomic.Pointer[sketch.Sketch]
}

// sketchOp is a symbol, twice, plus one if it leaves.
type sketchOp uint64

func (s *sketched) fork() *sketched {
	return &sketched{base: s.base, ops: s.ops[:len(s.ops):len(s.ops)]}
}

func (s *sketched) apply(items []reconcile.Item, sign int) {
	for i := range items {
		op := sketchOp(sketch.Of(items[i].ID)) << 1
		if sign < 0 {
			op |= 1
		}
		s.ops = append(s.ops, op)
	}
	if len(s.ops) < sketchAhead {
		return
	}
	switch {
	case s.base == nil:
		s.base = sketch.New(sketchCells)
	case !s.own:
		s.base = s.base.Clone(sketchCells)
	}
	s.own = true
	sum(s.base, s.ops)
	s.ops = nil
}

func sum(sk *sketch.Sketch, ops []sketchOp) {
	var in, out []sketch.Symbol
	for _, op := range ops {
		if op&1 == 0 {
			in = append(in, sketch.Symbol(op>>1))
		} else {
			out = append(out, sketch.Symbol(op>>1))
		}
	}
	sk.AddAll(in)
	sk.RemoveAll(out)
}

// sketch is the sum of all, to be read only; that of few members has few
// cells. The first call costs a copy and the changes that wait: up to half a
// millisecond.
func (s *sketched) sketch() *sketch.Sketch {
	sk := s.full.Load()
	if sk == nil {
		sk = s.summed(2 * sketchAhead)
		s.full.Store(sk)
	}
	return sk
}

// summed is the sum of all, with so many cells if there is no base.
func (s *sketched) summed(cells int) *sketch.Sketch {
	sk := s.base
	if len(s.ops) > 0 || sk == nil {
		if sk == nil {
			sk = sketch.New(cells)
		} else {
			sk = sk.Clone(sketchCells)
		}
		sum(sk, s.ops)
	}
	return sk
}

// encode is the estimator, the tail and the cells that are not zero, each
// after the number of zeros before it.
func (s *sketched) encode() []byte {
	sk := s.summed(sketchCells)
	e := sk.Estimator()
	out := sk.AppendTail(append(make([]byte, 0, 1<<14), e[:]...))
	cells := sk.AppendCells(nil, 0, sk.Len())
	zeros := uint64(0)
	for ; len(cells) > 0; cells = cells[sketch.CellBytes:] {
		if binary.BigEndian.Uint64(cells) == 0 {
			zeros++
			continue
		}
		out = append(binary.AppendUvarint(out, zeros), cells[:sketch.CellBytes]...)
		zeros = 0
	}
	return out
}

func (s *sketched) decode(b []byte) error {
	if len(b) < sketch.Buckets+sketch.TailCells*sketch.CellBytes {
		return errEncoding
	}
	e, err := sketch.ParseEstimator(b[:sketch.Buckets])
	if err != nil {
		return err
	}
	b = b[sketch.Buckets:]
	tail, err := sketch.ParseTail(b[:sketch.TailCells*sketch.CellBytes])
	if err != nil {
		return err
	}
	b = b[sketch.TailCells*sketch.CellBytes:]
	cells := make([]sketch.Cell, sketchCells)
	at := uint64(0)
	for len(b) > 0 {
		zeros, n := binary.Uvarint(b)
		if n <= 0 || zeros >= sketchCells || len(b) < n+sketch.CellBytes {
			return errEncoding
		}
		if at += zeros; at >= sketchCells {
			return errEncoding
		}
		cells[at] = sketch.ParseCell(b[n:])
		at++
		b = b[n+sketch.CellBytes:]
	}
	s.base, s.own, s.ops = sketch.Restore(cells, tail, e), true, nil
	s.full.Store(nil)
	return nil
}

// Sketch is the sketch of all members, to be read only; see package sketch.
func (v *Snapshot) Sketch() (*sketch.Sketch, error) {
	sk := v.state.sketch.sketch()
	if len(v.in)+len(v.out) == 0 {
		return sk, nil
	}
	sk = sk.Clone(sketchCells)
	for i := range v.in {
		sk.Add(sketch.Of(v.in[i].ID))
	}
	for i := range v.out {
		sk.Remove(sketch.Of(v.out[i].ID))
	}
	return sk, nil
}

// EnteredIDs returns the members that entered the set after a version, in
// their order, if they are no more than limit.
func (v *Snapshot) EnteredIDs(version uint64, limit int) (ids []record.ID, ok bool, err error) {
	for a, err := range v.Since(version) {
		if err != nil {
			return nil, false, err
		}
		if a.Record == nil {
			continue
		}
		if len(ids) == limit {
			return nil, false, nil
		}
		ids = append(ids, a.Record.ID)
	}
	return ids, true, nil
}
