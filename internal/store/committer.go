package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"anabranch/record"
)

// request is one caller's wish. run applies it to a commit, whole or not at
// all; done is answered when it is durable, or refused.
type request struct {
	ctx   context.Context
	bytes int
	run   func(*commit) error
	done  chan error  // cap 1: publishLoop never waits for a caller
	taken atomic.Bool // by the committer, or by a caller who did not wait for it

	// adds says that run makes the store larger, and is refused when the disk
	// is nearly full.
	adds bool

	// written are the drafts that run will write into a space: what their
	// paths hold is looked up for all of a group together.
	written []Draft
	space   *Space

	// drafts says that run reads no row that hangs on a signature, so that
	// those of the requests before it need not be there yet.
	drafts bool
}

// do hands a request to the committer and waits until it is durable. When ctx
// ends first the outcome is not known. When the disk is full the error wraps
// ErrFull, and says so if the outcome is not known.
func (s *Store) do(ctx context.Context, bytes int, run func(*commit) error) error {
	return s.ask(&request{ctx: ctx, bytes: bytes, run: run, done: make(chan error, 1)})
}

// add is do for a request that makes the store larger.
func (s *Store) add(ctx context.Context, bytes int, run func(*commit) error) error {
	return s.ask(&request{ctx: ctx, bytes: bytes, run: run, done: make(chan error, 1), adds: true})
}

func (s *Store) ask(r *request) error {
	wait, err := s.post(r)
	if err != nil {
		return err
	}
	return wait()
}

// post hands a request to the committer; wait returns when it is durable.
func (s *Store) post(r *request) (wait func() error, err error) {
	if err := s.refusal(); err != nil {
		return nil, err
	}
	full := s.engine.full()
	select {
	case s.requests <- r:
		return func() error { return s.await(r, full) }, nil
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	case <-s.stopped:
		return nil, ErrClosed
	case <-s.engine.failed():
		return nil, s.engine.failure()
	case <-full:
		return nil, s.shortage()
	}
}

func (s *Store) await(r *request, full <-chan struct{}) error {
	select {
	case err := <-r.done:
		return err
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-full:
		if r.taken.CompareAndSwap(false, true) {
			return s.shortage()
		}
		return fmt.Errorf("%w; this write may still happen then", s.shortage())
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
	if err := s.engine.failure(); err != nil {
		return err
	}
	return s.engine.shortage()
}

// shortage is why a write was refused when the disk was full a moment ago.
func (s *Store) shortage() error {
	if err := s.engine.shortage(); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrFull, syscall.ENOSPC)
}

// reserve is the error of requests that add something while the disk is
// nearly full. It looks a few times a second.
func (s *Store) reserve(now time.Time) error {
	if now.Sub(s.looked) < s.options.lookEvery {
		return s.nearlyFull
	}
	s.looked, s.nearlyFull = now, s.belowReserve()
	return s.nearlyFull
}

func (s *Store) belowReserve() error {
	free, ok := s.engine.free()
	if !ok || s.options.ReserveBytes < 0 || free >= uint64(s.options.ReserveBytes) {
		return nil
	}
	return fmt.Errorf("%w: %d MiB are free, %d are kept for compaction: %w",
		ErrFull, free>>20, s.options.ReserveBytes>>20, syscall.ENOSPC)
}

// commitLoop is the committer. It ends when Close is called, or never if a
// write hangs in a failed disk.
//
// It builds one group while the one before it is written: publishLoop waits
// for the disk, and this loop waits for publishLoop, so at most one group is
// applied and neither durable nor being waited for.
func (s *Store) commitLoop() {
	built, idle := make(chan *commit), make(chan struct{}, 2)
	go s.publishLoop(built, idle)
	defer close(built)
	flying := 0 // groups handed to publishLoop and not finished, as far as is known
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
			if s.engine.shortage() != nil {
				continue
			}
			group = []*request{s.tidy()}
		}
		c := s.build(group)
		err := c.err
		for flying > 0 && len(idle) > 0 {
			<-idle
			flying--
		}
		if flying == 0 && len(group) == 1 && len(s.requests) == 0 {
			s.finish(c) // nobody else waits: waking another goroutine would only cost
			err = c.err
		} else {
			built <- c // and is publishLoop's
			flying++
		}
		if err != nil {
			// The engine knows more commits are useless, whatever it says next.
			s.log.Error("commit failed", "err", err)
			return
		}
	}
}

// publishLoop finishes groups in their order.
func (s *Store) publishLoop(built <-chan *commit, idle chan<- struct{}) {
	defer close(s.stopped)
	for c := range built {
		s.finish(c)
		idle <- struct{}{}
	}
}

// finish makes a group durable, publishes it and answers its callers. One
// whose request changed nothing is answered in its turn too: what it was told
// of may still be on its way to the disk.
func (s *Store) finish(c *commit) {
	if c.err == nil && s.lost == nil && c.durable != nil {
		if s.lost = c.durable(); s.lost == nil {
			s.publish(c)
		}
	}
	if c.err == nil {
		c.err = s.lost
	}
	if f := s.engine.failure(); c.err != nil && f != nil {
		c.err = f
	}
	for i, r := range c.group {
		if c.answers[i] == nil {
			c.answers[i] = c.err
		}
		r.done <- c.answers[i]
	}
}

// tidy is a request that touches every space: its trash is looked at.
func (s *Store) tidy() *request {
	return &request{ctx: context.Background(), done: make(chan error, 1), run: func(c *commit) error {
		for _, sp := range s.Spaces() {
			c.work(sp)
			sp.blanks = blanks{}
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

// build applies the requests one after the other on top of what was built
// before, durable or not, and hands their batch to the engine.
func (s *Store) build(group []*request) *commit {
	c := newCommit(s)
	c.group, c.answers = group, make([]error, len(group))
	c.lookAhead()
	reserve := s.reserve(time.Now())
	for i, r := range group {
		if !r.drafts {
			c.sign()
		}
		switch err := r.ctx.Err(); {
		case err != nil:
			c.answers[i] = err
		case !r.taken.CompareAndSwap(false, true):
			c.answers[i] = ErrFull // its caller was told so
		case r.adds && reserve != nil:
			c.answers[i] = reserve
		default:
			if c.answers[i] = c.apply(r.run); c.answers[i] == nil {
				c.answers[i] = c.drain()
			}
		}
		if c.err != nil {
			return c
		}
	}
	if c.flush(); c.err != nil {
		return c
	}
	if c.durable == nil {
		for _, w := range c.works {
			if w.adopted {
				w.space.ahead = w.published()
			}
		}
		return c
	}
	c.view = s.share()
	for _, w := range c.works {
		if !w.space.dropped {
			if err := w.tidy(s.engine, w.s); err != nil {
				s.log.Error("index not tidied", "space", w.space.id, "err", err)
			}
		}
		w.result = w.published()
		w.space.ahead = w.result
		if !w.space.dropped {
			w.space.refresh()
		}
	}
	return c
}

// lookAhead looks up, with two walks, what the writes of a group would look up
// one by one: most paths are new, or were written in the same group. Where it
// meets an error they look themselves, each for its own.
func (c *commit) lookAhead() {
	var vectors, paths [][]byte
	for _, r := range c.group {
		for _, d := range r.written {
			if r.space.blanks.has(d.Path) {
				continue
			}
			if paths = append(paths, pathPrefix(r.space.number, d.Path)); d.Kind == record.Doc {
				vectors = append(vectors, vectorKey(r.space.number, d.Path))
			}
		}
	}
	if c.tx.prefetch(vectors) != nil || c.tx.prefetchBlank(paths) != nil {
		c.tx.known, c.tx.blank = nil, nil
	}
}

// flush hands what was built to the engine.
func (c *commit) flush() {
	c.sign()
	batch := c.tx.batch()
	if len(batch) == 0 {
		return
	}
	c.store.lease.write(c)
	c.durable, c.err = c.store.engine.apply(batch, c.dropped()...)
}

// publish makes a durable commit visible.
func (s *Store) publish(c *commit) {
	s.mu.Lock()
	old := s.view
	s.view = c.view
	for id, sp := range c.created {
		s.spaces[id] = sp
	}
	for _, w := range c.works {
		w.space.state = w.result
		close(w.space.changed)
		w.space.changed = make(chan struct{})
	}
	for _, d := range c.drops {
		s.forget(d)
	}
	s.mu.Unlock()
	old.release()
	for _, w := range c.works {
		s.keep(w.space)
	}
	for _, d := range c.drops {
		s.reclaim(d)
	}
	for _, sp := range c.shrunk {
		s.compact(sp)
	}
}

// commit is one group in the making.
type commit struct {
	store   *Store
	tx      *txn
	now     time.Time
	works   map[*Space]*work
	created map[record.SpaceID]*Space
	lanes   bool       // a lane of ours moved: the lease must be written
	drafts  []unsigned // by requests that succeeded, and by the present one
	drops   []drop     // spaces that are taken away

	group   []*request
	answers []error
	durable func() error // waits for the disk; nil: there is nothing to write
	view    *sharedView  // of the engine, with this commit
	err     error        // final: the batch was not applied
	shrunk  []*Space     // a large removal was finished in them

	// Of the request that is being applied:
	authors []record.Key // numbered by it
	touched []*work
	before  int // drafts of earlier ones
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
	c.authors, c.touched, c.before = nil, nil, len(c.drafts)
	err := run(c)
	for _, w := range c.touched {
		if w.space.dropped {
			err = ErrDropped // whatever it found without rows
		}
	}
	for _, w := range c.touched {
		if err == nil {
			err = w.flush()
		}
	}
	if err != nil {
		c.tx.rollback()
		c.drafts = c.drafts[:c.before]
		for _, k := range c.authors {
			c.store.authors.remove(k)
		}
	}
	for _, w := range c.touched {
		if err != nil {
			w.undo()
		} else {
			w.accept()
		}
	}
	for _, w := range c.touched {
		if err == nil && len(w.queue) == 0 && w.finally != nil {
			w.finally()
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
