package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// backupBytes is about how much one batch of a backup holds: with more, the
// copy's write buffer would be passed over.
const backupBytes = 1 << 20

// Dir is the directory of the store; empty in memory.
func (s *Store) Dir() string { return s.dir }

// Backup writes the last published state, all spaces and facts of it, as a
// store of its own into a directory that does not exist or is empty. Writers
// go on meanwhile. The copy is durable on return; a failure on its disk is an
// error here and does no harm to this store.
//
// The copy has a name of its own, so that no lease of this store can ever
// prove it to be the newest copy: whoever opens it writes in fresh lanes.
//
// progress, which may be nil, is told how many rows are copied. Cost: every
// row is read and written once, about 100 MB a second.
func (s *Store) Backup(ctx context.Context, dir string, progress func(rows uint64)) error {
	if err := s.refusal(); err != nil {
		return err
	}
	if names, err := s.options.FS.List(dir); err == nil && len(names) > 0 {
		return fmt.Errorf("store: backup: %s is not empty", dir)
	}
	o := s.options
	o.noSync = true // one flush at the end covers all of it
	o.spaceRetry = -1
	to, err := openDisk(dir, o)
	if err != nil {
		return fmt.Errorf("backup to %s: %w", dir, refused(err))
	}
	from := s.now()
	done := make(chan error, 1)
	go func() {
		defer from.release()
		keep, err := s.blobs.holdAll(from)
		if err == nil {
			err = copyRows(ctx, from, to, progress)
		}
		if err == nil {
			err = s.blobs.backup(ctx, from, dir)
		}
		keep()
		done <- err
	}()
	select {
	case err = <-done:
	case <-to.failed():
		err = refused(to.failure()) // the goroutine is lost, as after any failed write
	}
	if e := to.close(); err == nil {
		err = refused(e)
	}
	if err != nil {
		return fmt.Errorf("backup to %s: %w", dir, err)
	}
	return nil
}

// copyRows writes every row, and new random numbers where a copy must not be
// taken for its origin: the store's name and the generation of each space.
func copyRows(ctx context.Context, from reader, to *disk, progress func(rows uint64)) error {
	var batch []change
	var rows uint64
	size := 0
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := to.commit(batch)
		rows += uint64(len(batch))
		batch, size = batch[:0], 0
		if progress != nil {
			progress(rows)
		}
		return err
	}
	generation := []byte{tableMeta, 'g'}
	err := each(from, []byte{0}, []byte{0xFF}, func(x row) error {
		switch {
		case bytes.Equal(x.key, metaStore):
			x.value = u64(u64(nil, systemRandom()), systemRandom())
		case bytes.HasPrefix(x.key, generation):
			x.value = u64(nil, max(1, systemRandom()))
		}
		if x.value == nil {
			x.value = []byte{}
		}
		batch = append(batch, change(x))
		if size += len(x.key) + len(x.value); size < backupBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// refused is what the other disk said, without ErrFailed: this store is well.
func refused(err error) error {
	var both interface{ Unwrap() []error }
	if !errors.Is(err, ErrFailed) || !errors.As(err, &both) {
		return err
	}
	causes := both.Unwrap()
	return fmt.Errorf("the disk refused a write: %w", causes[len(causes)-1])
}
