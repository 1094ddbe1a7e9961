package store

import (
	"context"
	"errors"
)

// row is one key and value, both the caller's own.
type row struct{ key, value []byte }

// reader is one state of an ordered map. Every call stands alone: nothing
// stays open between two of them, so that a store can be closed, or a read on
// a failed disk abandoned, at any moment.
type reader interface {
	// get returns a copy of the value, nil when the key is absent.
	get(key []byte) ([]byte, error)
	// last returns the greatest row in [lo, hi), a nil key when there is none.
	last(lo, hi []byte) (row, error)
	// chunk returns about max rows from lo on, below hi, ascending. next is
	// where to go on, nil at the end; a chunk may be empty before the end.
	chunk(lo, hi []byte, max int) (rows []row, next []byte, err error)
}

// scanner is a reader that calls a function for the rows of spans, which are
// ascending and apart, in order and with the number of the span. Key and value
// are the engine's and valid during the call only, which must not take long
// nor use the store. An error from it ends the scan and is returned, except
// errNext, which ends the span.
type scanner interface {
	scan(spans []span, fn func(i int, key, value []byte) error) error
}

// errNext ends a span: the scan goes on with the next.
var errNext = errors.New("store: next")

// errEnough ends a scan that has what it wanted.
var errEnough = errors.New("store: enough")

// gatherer is a reader that looks up many keys at once, ascending ones, for
// much less than as many single gets. fn gets a copy of the value, nil when the
// key is absent.
type gatherer interface {
	getMany(keys [][]byte, fn func(i int, value []byte)) error
}

// change sets a key, or deletes it when value is nil.
type change struct{ key, value []byte }

// engine is an ordered map of bytes with durable batches. The committer is
// the only caller of apply, commit and view.
type engine interface {
	reader
	scanner
	// apply makes a batch visible, whole or not at all, and after it, in the
	// same step, takes all rows of some ranges away. It is durable, and all
	// that was applied before it, once the function that is returned, which
	// must be called, returns nil. After an error from either nothing more may
	// be applied. The batch is the engine's from then on.
	apply(batch []change, gone ...span) (durable func() error, err error)
	// commit applies a batch and returns when it is durable.
	commit(batch []change) error
	// view is an immutable state, until it is closed.
	view() view
	// failed is closed at the first write that the disk refused.
	failed() <-chan struct{}
	// failure is the error behind failed, nil before.
	failure() error
	// full is closed while writes wait for space on the disk, or the next time
	// that they have to; shortage is the reason, nil while none waits. What
	// waits goes on by itself, or ends in a failure at giveUp.
	full() <-chan struct{}
	shortage() error
	giveUp()
	// compact gives back the space of what was deleted in [lo, hi).
	compact(ctx context.Context, lo, hi []byte) error
	// free is the space on the disk, false when that is not known.
	free() (bytes uint64, ok bool)
	close() error
}

type view interface {
	reader
	scanner
	close() error
}

// each calls fn for every row in [lo, hi), in order. fn may change the map.
func each(r reader, lo, hi []byte, fn func(row) error) error {
	for lo != nil {
		rows, next, err := r.chunk(lo, hi, chunkRows)
		if err != nil {
			return err
		}
		for _, x := range rows {
			if err := fn(x); err != nil {
				return err
			}
		}
		lo = next
	}
	return nil
}

// successor is the least key above every key that begins with prefix.
func successor(prefix []byte) []byte {
	s := append([]byte{}, prefix...)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] != 0xFF {
			s[i]++
			return s[:i+1]
		}
	}
	return []byte{0xFF, 0xFF, 0xFF, 0xFF} // above every table
}
