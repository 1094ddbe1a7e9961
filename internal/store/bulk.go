package store

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"anabranch/record"
)

// loadBatch is the number of records that are verified together and committed
// together: signatures get no cheaper beyond, pauses get longer.
const loadBatch = 1024

// Loaded says what a Load has done so far. All of it is durable.
type Loaded struct {
	Read    int // records read, the refused ones among them
	Refused int // malformed, or with a signature that does not hold
	Added   int // members that entered
	Known   int
	Dead    int
	Held    int
}

// Load takes any number of records that nobody has verified: it checks their
// signatures in batches on every core, and commits one batch while the next
// are checked, in the order of the records. The bytes are kept and must not
// change.
//
// refused, which may be nil, is told of each record that is wrong for
// everyone, by its position from 0; an error from it ends the load, and so
// does one from records. progress, which may be nil, is told after each
// commit. Both are called by one goroutine at a time. What was committed
// before an error stays.
func (sp *Space) Load(ctx context.Context, records iter.Seq2[[]byte, error], refused func(position int, err error) error, progress func(Loaded)) (Loaded, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &loader{space: sp, ctx: ctx, refused: refused, progress: progress}
	// Batches wait here for their signatures, in order, one more than there
	// are cores, so that none is idle while the first is committed.
	queue := make(chan chan examined, runtime.GOMAXPROCS(0))
	var reading sync.WaitGroup
	reading.Go(func() { l.read(records, queue) })
	err := l.commit(queue)
	cancel()
	for range queue { // until the reader has ended
	}
	reading.Wait()
	l.workers.Wait()
	return l.total, err
}

type loader struct {
	space    *Space
	ctx      context.Context
	refused  func(int, error) error
	progress func(Loaded)
	total    Loaded
	taken    int // records handed to the committer, refused ones included
	workers  sync.WaitGroup
}

// examined is a batch after its signatures were looked at, or the error that
// ended the reading.
type examined struct {
	records []*record.Verified
	errs    []error
	err     error
}

// read cuts batches and has each verified by a goroutine of its own.
func (l *loader) read(records iter.Seq2[[]byte, error], queue chan<- chan examined) {
	defer close(queue)
	var batch [][]byte
	send := func(c *examined) bool {
		out := make(chan examined, 1)
		select {
		case queue <- out:
		case <-l.ctx.Done():
			return false
		}
		if c != nil {
			out <- *c
			return false
		}
		todo := batch
		l.workers.Go(func() {
			rs, errs := record.VerifyBatch(l.space.id, todo)
			out <- examined{records: rs, errs: errs}
		})
		batch = nil
		return true
	}
	for b, err := range records {
		if err != nil {
			if len(batch) == 0 || send(nil) {
				send(&examined{err: err})
			}
			return
		}
		if batch = append(batch, b); len(batch) == loadBatch && !send(nil) {
			return
		}
	}
	if len(batch) > 0 {
		send(nil)
	}
}

// commit takes the batches in their order. One is on its way to the disk
// while the next is handed over.
func (l *loader) commit(queue <-chan chan examined) error {
	var before func() error // waits for the batch handed over last
	settle := func() error {
		if before == nil {
			return nil
		}
		err := before()
		before = nil
		return err
	}
	for out := range queue {
		var c examined
		select {
		case c = <-out:
		case <-l.ctx.Done():
			settle()
			return l.ctx.Err()
		}
		if c.err != nil {
			settle()
			return c.err
		}
		read, good := len(c.errs), c.records[:0]
		for i, err := range c.errs {
			if err == nil {
				good = append(good, c.records[i])
			} else if l.refused != nil {
				if err := l.refused(l.taken+i, err); err != nil {
					settle()
					return err
				}
			}
		}
		wait, err := l.space.post(l.ctx, good)
		if err != nil {
			settle()
			return err
		}
		if err := settle(); err != nil {
			return err
		}
		l.taken += read
		before = func() error {
			res, err := wait()
			if err != nil {
				return err
			}
			l.total.Read += read
			l.total.Refused += read - len(good)
			l.total.Added += res.Added
			l.total.Known += res.Known
			l.total.Dead += res.Dead
			l.total.Held += res.Held
			if l.progress != nil {
				l.progress(l.total)
			}
			return nil
		}
	}
	return settle()
}
