package store

import (
	"errors"
	"sync/atomic"
	"time"
)

// readDeadline bounds a read on a store whose disk has failed or is full: a
// write that hangs may hold a lock that the read needs.
const readDeadline = 2 * time.Second

// sharedView is one durable state of the whole store, shared by every
// snapshot taken while it was the last one. It is a reader that can be used
// until released, and answers ErrClosed after the store was closed.
type sharedView struct {
	store *Store
	view  view
	refs  atomic.Int64
}

// share makes a view of what the engine holds now. The caller holds its one
// reference.
func (s *Store) share() *sharedView {
	v := &sharedView{store: s, view: s.engine.view()}
	v.refs.Store(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views[v] = struct{}{}
	return v
}

// now is the last published state; the caller releases it.
func (s *Store) now() *sharedView {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.refs.Add(1)
	return s.view
}

// release gives one reference back. The caller holds neither gate nor mu.
func (v *sharedView) release() {
	if v.refs.Add(-1) > 0 {
		return
	}
	s := v.store
	if s.engine.failure() != nil {
		return // closing takes locks that a failed write may hold
	}
	if s.engine.shortage() != nil {
		go v.drop() // as above, but only until there is space
		return
	}
	v.drop()
}

// drop closes a view that nobody uses any more.
func (v *sharedView) drop() {
	s := v.store
	s.gate.RLock()
	defer s.gate.RUnlock()
	s.mu.Lock()
	_, open := s.views[v]
	delete(s.views, v)
	s.mu.Unlock()
	if open {
		v.view.close()
	}
}

// read runs one read of a view: in place, or, once the disk has failed or is
// full, aside and with a deadline.
func read[T any](v *sharedView, fn func() (T, error)) (T, error) {
	var none T
	s := v.store
	stuck := s.engine.failure()
	gate := stuck == nil // after a failure the engine is never closed
	if gate {
		stuck = s.engine.shortage()
	}
	inside := func() (T, error) {
		if gate {
			s.gate.RLock()
			defer s.gate.RUnlock()
		}
		if s.closed.Load() {
			return none, ErrClosed
		}
		return fn()
	}
	if stuck == nil {
		return inside()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := inside()
		done <- result{value, err}
	}()
	wait := time.NewTimer(readDeadline)
	defer wait.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-wait.C:
		return none, stuck
	}
}

func (v *sharedView) get(key []byte) ([]byte, error) {
	return read(v, func() ([]byte, error) { return v.view.get(key) })
}

func (v *sharedView) last(lo, hi []byte) (row, error) {
	return read(v, func() (row, error) { return v.view.last(lo, hi) })
}

func (v *sharedView) chunk(lo, hi []byte, max int) ([]row, []byte, error) {
	type part struct {
		rows []row
		next []byte
	}
	p, err := read(v, func() (part, error) {
		rows, next, err := v.view.chunk(lo, hi, max)
		return part{rows, next}, err
	})
	return p.rows, p.next, err
}

// scan hands fn rows in place. Once the disk has failed or is full, it hands
// it copies, so that a read that hangs can be left behind.
func (v *sharedView) scan(spans []span, fn func(i int, key, value []byte) error) error {
	s := v.store
	if s.engine.failure() == nil && s.engine.shortage() == nil {
		s.gate.RLock()
		defer s.gate.RUnlock()
		if s.closed.Load() {
			return ErrClosed
		}
		return v.view.scan(spans, fn)
	}
	for i, p := range spans {
		rows, err := []row(nil), error(nil)
		err = each(v, p.lo, p.hi, func(x row) error {
			if p.down {
				rows = append(rows, x)
				return nil
			}
			return fn(i, x.key, x.value)
		})
		for k := len(rows) - 1; k >= 0 && err == nil; k-- {
			err = fn(i, rows[k].key, rows[k].value)
		}
		if err != nil && !errors.Is(err, errNext) {
			return err
		}
	}
	return nil
}
