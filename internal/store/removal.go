package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"anabranch/record"
	"anabranch/space"
)

// removal is a part of what a change of the law demands: the records that a
// selector names are to be judged again. A large one is done in slices, each
// a batch of its own, and nothing is published before the last of them. Until
// then a row says what is left, so that it goes on after a power cut.
type removal struct {
	sel       space.Selector
	authority bool   // it moved: what is held, and the trash, may become members
	stage     int    // which of the author's tables is looked at: see the stages
	from      []byte // the key to go on from; nil: the first
}

// The stages of a removal.
const (
	stageMembers = iota
	stageHeld
	stageTrash
	stages
)

// errSliceFull ends a scan: the present batch has enough.
var errSliceFull = errors.New("store: slice full")

// rejudge looks again at the records a selector names. Without a change of
// authority a sweep can only kill members: a held record has no grant that
// would admit it, and what is dead stays so.
func (w *work) rejudge(sel *space.Selector, authority bool) error {
	return w.remove(removal{sel: *sel, authority: authority})
}

// remove goes on with a removal as far as the present batch allows, and puts
// the rest into the queue.
func (w *work) remove(q removal) error {
	a, known := w.c.store.authors.number(q.sel.Author)
	if !known {
		return nil
	}
	last := stageMembers
	if q.authority {
		last = stageTrash
	}
	for ; q.stage <= last; q.stage, q.from = q.stage+1, nil {
		var err error
		if q.stage == stageMembers {
			err = w.rejudgeMembers(a, &q)
		} else {
			err = w.rejudgeOutside(a, &q)
		}
		if errors.Is(err, errSliceFull) {
			w.queue = append(slices.Clip(w.queue), q)
			w.requeued = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sliceFull notes where to go on if the present batch has enough.
func (w *work) sliceFull(q *removal, key []byte) bool {
	if w.touched < w.c.store.options.slice {
		return false
	}
	q.from = slices.Clone(key)
	return true
}

func (w *work) rejudgeMembers(a uint32, q *removal) error {
	return w.space.selected(w.c.tx, a, &q.sel, q.from, func(key []byte, n uint64, r *record.Verified) error {
		v := w.judge(r)
		if v == space.Member {
			return nil
		}
		if w.sliceFull(q, key) {
			return errSliceFull
		}
		w.touched++
		if err := w.leave(r, n, v); err != nil {
			return err
		}
		_, err := w.place(r, v)
		return err
	})
}

// rejudgeOutside looks at held records or trash of one author.
func (w *work) rejudgeOutside(a uint32, q *removal) error {
	table, here, from := byte(tableHeldBy), space.Held, byte(tableHeld)
	if q.stage == stageTrash {
		table, here, from = tableTrashBy, space.Dead, tableTrash
	}
	lo := u32(tableKey(table, w.s, 4), a)
	hi := successor(lo)
	if q.from != nil {
		lo = q.from
	}
	return each(w.c.tx, lo, hi, func(x row) error {
		if len(x.key) != 41 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		key := idKey(from, w.s, record.ID(x.key[9:]))
		b, err := w.c.tx.get(key)
		if err != nil || b == nil {
			return err // gone since the chunk was read
		}
		_, r, err := w.space.decodeStamped(key, b)
		if err != nil || r.Data() && !q.sel.Covers(&r.Record) {
			return err
		}
		v := w.judge(r)
		if v == here {
			return nil
		}
		if w.sliceFull(q, x.key) {
			return errSliceFull
		}
		w.touched++
		if err := w.drop(r); err != nil {
			return err
		}
		_, err = w.place(r, v)
		return err
	})
}

// selected reads the member data records that a selector names, with their
// rows in the dot order and their arrival numbers, from a row on: seeks in
// the dot order, never a scan of more than the author's lanes in question. fn
// may take the record out of the set.
func (sp *Space) selected(r reader, a uint32, sel *space.Selector, from []byte, fn func(key []byte, n uint64, r *record.Verified) error) error {
	take := func(lo, hi []byte) error {
		if string(from) > string(lo) {
			lo = from
		}
		if string(lo) >= string(hi) {
			return nil
		}
		return each(r, lo, hi, func(x row) error {
			d, err := decodeDot(x.key)
			if err != nil {
				return err
			}
			v, err := sp.readArrival(r, d.n)
			if err != nil || !sel.Covers(&v.Record) {
				return err
			}
			return fn(x.key, d.n, v)
		})
	}
	prefix := u32(tableKey(tableDot, sp.number, 24), a)
	if sel.Lane != 0 {
		prefix = u64(prefix, sel.Lane)
	}
	if sel.Lane == 0 || sel.Numbers == nil {
		return take(prefix, successor(prefix))
	}
	for _, span := range sel.Numbers {
		lo := dotPrefix(sp.number, a, sel.Lane, span.First)
		hi := successor(dotPrefix(sp.number, a, sel.Lane, span.Last))
		if err := take(lo, hi); err != nil {
			return err
		}
	}
	return nil
}

// drain does what the request that was just applied has left in the queue,
// a batch at a time, each durable before the next. Readers see none of it
// before the whole group is published.
func (c *commit) drain() error {
	for _, w := range c.touched {
		if len(w.queue) == 0 {
			continue
		}
		removed, finally := w.removed, w.finally
		for len(w.queue) > 0 {
			if c.flush(); c.err == nil && c.durable != nil {
				c.err = c.durable()
			}
			if c.err != nil {
				return c.err
			}
			c.tx = newTxn(c.store.engine)
			err := c.apply(func(c *commit) error {
				w := c.work(w.space)
				queue := w.queue
				w.queue, w.requeued = nil, true
				for _, q := range queue {
					if err := w.remove(q); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("removal in %v goes on when the store is opened: %w", w.space.id, err)
			}
			removed += w.removed
		}
		c.shrunk = append(c.shrunk, w.space)
		if w.removed = removed; finally != nil {
			finally()
		}
	}
	return nil
}

// goOn ends the removals that a power cut has interrupted. One that meets
// damage is left as it is.
func (s *Store) goOn() error {
	if s.engine.shortage() != nil {
		return nil // open for reading only
	}
	for _, sp := range s.Spaces() {
		if len(sp.state.queue) == 0 {
			continue
		}
		r := &request{ctx: s.tasksCtx, done: make(chan error, 1), run: func(c *commit) error {
			c.work(sp)
			return nil
		}}
		c := s.build([]*request{r})
		s.finish(c)
		if err := <-r.done; c.err != nil {
			return c.err
		} else if err != nil {
			s.log.Error("removal not finished", "space", sp.id, "err", err)
		}
	}
	return nil
}

// compact gives back, beside all else, the space that removed records took.
func (s *Store) compact(sp *Space) {
	if s.tasksCtx.Err() != nil {
		return
	}
	s.tasks.Go(func() {
		lo := tableKey(tableArrival, sp.number, 0)
		if err := s.engine.compact(s.tasksCtx, lo, successor(lo)); err != nil && s.tasksCtx.Err() == nil {
			s.log.Warn("space of removed records not given back yet", "space", sp.id, "err", err)
		}
	})
}

// saveQueue writes what is left to do:
//
//	for each: author 32 | lane 8 | authority 1 | area length 2, area
//	| spans 4, 2^32-1 for all numbers | for each span: first 4, last 4
//
// It begins again at the first row: what is done is not there any more.
func (w *work) saveQueue() {
	if !w.requeued {
		return
	}
	key := tableKey(tableQueue, w.s, 0)
	if len(w.queue) == 0 {
		w.c.tx.delete(key)
		return
	}
	var b []byte
	for _, q := range w.queue {
		b = u64(append(b, q.sel.Author[:]...), q.sel.Lane)
		authority := byte(0)
		if q.authority {
			authority = 1
		}
		b = binary.BigEndian.AppendUint16(append(b, authority), uint16(len(q.sel.Area)))
		b = append(b, q.sel.Area...)
		if q.sel.Numbers == nil {
			b = u32(b, math.MaxUint32)
			continue
		}
		b = u32(b, uint32(len(q.sel.Numbers)))
		for _, span := range q.sel.Numbers {
			b = u32(u32(b, span.First), span.Last)
		}
	}
	w.c.tx.set(key, b)
}

// loadQueue reads what saveQueue wrote.
func (sp *Space) loadQueue(r reader) error {
	key := tableKey(tableQueue, sp.number, 0)
	b, err := r.get(key)
	if err != nil {
		return err
	}
	bad := func() error { return damagedRow(key, "layout") }
	for len(b) > 0 {
		if len(b) < 43 {
			return bad()
		}
		q := removal{sel: space.Selector{Author: record.Key(b), Lane: beU64(b[32:])}, authority: b[40] == 1}
		area := int(binary.BigEndian.Uint16(b[41:]))
		if b = b[43:]; len(b) < area+4 {
			return bad()
		}
		q.sel.Area = string(b[:area])
		spans := beU32(b[area:])
		b = b[area+4:]
		if spans != math.MaxUint32 {
			if uint64(len(b)) < 8*uint64(spans) {
				return bad()
			}
			q.sel.Numbers = make([]space.Span, spans)
			for i := range q.sel.Numbers {
				q.sel.Numbers[i] = space.Span{First: beU32(b), Last: beU32(b[4:])}
				b = b[8:]
			}
		}
		sp.state.queue = append(sp.state.queue, q)
	}
	return nil
}
