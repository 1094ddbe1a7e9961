package store

import (
	"context"
	"time"

	"anabranch/record"
)

// request is one caller's wish. run applies it to a commit, whole or not at
// all; done is answered when it is durable, or refused.
type request struct {
	ctx   context.Context
	bytes int
	run   func(*commit) error
	done  chan error // cap 1: the committer never waits for a caller
}

// do hands a request to the committer and waits until it is durable. When ctx
// ends first the outcome is not known.
func (s *Store) do(ctx context.Context, bytes int, run func(*commit) error) error {
	r := &request{ctx, bytes, run, make(chan error, 1)}
	if err := s.refusal(); err != nil {
		return err
	}
	select {
	case s.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.stopped:
		return ErrClosed
	case <-s.engine.failed():
		return s.engine.failure()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.engine.failed():
		return s.engine.failure()
	case <-s.stopped:
		select {
		case err := <-r.done:
			return err
		default:
			return ErrClosed
		}
	}
}

func (s *Store) refusal() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return s.engine.failure()
}

// commitLoop is the committer. It ends when Close is called, or never if a
// write hangs in a failed disk.
func (s *Store) commitLoop() {
	defer close(s.stopped)
	tidy := time.NewTicker(tidyInterval)
	defer tidy.Stop()
	for {
		var group []*request
		select {
		case <-s.stop:
			return
		case first := <-s.requests:
			group = s.gather(first)
		case <-tidy.C:
			group = []*request{s.tidy()}
		}
		if err := s.commitGroup(group); err != nil {
			// The engine knows more commits are useless, whatever it says next.
			s.log.Error("commit failed", "err", err)
			return
		}
	}
}

// tidy is a request that touches every space: its trash is looked at.
func (s *Store) tidy() *request {
	return &request{ctx: context.Background(), done: make(chan error, 1), run: func(c *commit) error {
		for _, sp := range s.Spaces() {
			c.work(sp)
		}
		return nil
	}}
}

// gather takes what else waits, up to the bounds of one group.
func (s *Store) gather(first *request) []*request {
	group := []*request{first}
	size := first.bytes
	for len(group) < groupRequests && size < groupBytes {
		select {
		case r := <-s.requests:
			group = append(group, r)
			size += r.bytes
		default:
			return group
		}
	}
	return group
}

// commitGroup applies the requests one after the other, makes them durable
// with one batch, publishes, and answers. The error is final.
func (s *Store) commitGroup(group []*request) error {
	c := newCommit(s)
	answers := make([]error, len(group))
	for i, r := range group {
		if answers[i] = r.ctx.Err(); answers[i] == nil {
			answers[i] = c.apply(r.run)
		}
	}
	var err error
	if batch := c.tx.batch(); len(batch) > 0 {
		s.lease.write(c)
		if err = s.engine.commit(batch); err == nil {
			s.publish(c)
		} else if f := s.engine.failure(); f != nil {
			err = f
		}
	}
	for i, r := range group {
		if err != nil && answers[i] == nil {
			answers[i] = err
		}
		r.done <- answers[i]
	}
	return err
}

// publish makes a durable commit visible.
func (s *Store) publish(c *commit) {
	next := s.share()
	s.mu.Lock()
	old := s.view
	s.view = next
	for id, sp := range c.created {
		s.spaces[id] = sp
	}
	for _, w := range c.works {
		w.space.state = w.published()
		close(w.space.changed)
		w.space.changed = make(chan struct{})
	}
	s.mu.Unlock()
	old.release()
}

// commit is one group in the making.
type commit struct {
	store   *Store
	tx      *txn
	now     time.Time
	works   map[*Space]*work
	created map[record.SpaceID]*Space
	lanes   bool // a lane of ours moved: the lease must be written

	// Of the request that is being applied:
	authors []record.Key // numbered by it
	touched []*work
}

func newCommit(s *Store) *commit {
	return &commit{
		store: s, tx: newTxn(s.engine), now: s.options.Now(),
		works: make(map[*Space]*work), created: make(map[record.SpaceID]*Space),
	}
}

// apply runs one request. After an error it leaves nothing behind.
func (c *commit) apply(run func(*commit) error) error {
	c.tx.mark()
	c.authors, c.touched = nil, nil
	err := run(c)
	for _, w := range c.touched {
		if err == nil {
			err = w.flush()
		}
	}
	if err != nil {
		c.tx.rollback()
		for _, k := range c.authors {
			c.store.authors.remove(k)
		}
	}
	for _, w := range c.touched {
		if err != nil {
			w.undo()
		} else if e := w.accept(); e != nil {
			// The trees refuse only what the rows cannot hold either.
			panic(e)
		}
	}
	return err
}

// author is the number of a key, a new one if need be.
func (c *commit) author(k record.Key) uint32 {
	if n, ok := c.store.authors.number(k); ok {
		return n
	}
	n := c.store.authors.add(k)
	c.authors = append(c.authors, k)
	c.tx.set(authorRow(n), k[:])
	return n
}

// work is the present request's working state of a space.
func (c *commit) work(sp *Space) *work {
	w := c.works[sp]
	if w == nil {
		w = newWork(c, sp)
		c.works[sp] = w
	}
	for _, t := range c.touched {
		if t == w {
			return w
		}
	}
	w.begin()
	c.touched = append(c.touched, w)
	return w
}
