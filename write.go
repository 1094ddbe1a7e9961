package anabranch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"anabranch/crdt"
	"anabranch/internal/store"
	"anabranch/record"
)

// Write is one change in a Batch.
type Write struct {
	Op      Op
	Path    string
	Payload []byte
	Expires time.Time // zero: never; reading hides what has expired
}

// Op says what a Write does.
type Op int

const (
	OpPut    Op = iota // a new version of the document at the path
	OpAppend           // an entry at the path, beside all others there
	OpDelete           // the document at the path is absent from here on
)

// Put writes a new version of the document at a path. It is durable when Put
// returns: fsync has succeeded. At most 64 KiB.
//
// Errors worth matching: ErrNotAuthorised, *TimeExhaustedError,
// *record.FieldError for a path or payload that no record can have.
func (s *Space) Put(ctx context.Context, path string, payload []byte) (*Record, error) {
	return s.one(ctx, Write{Op: OpPut, Path: path, Payload: payload})
}

// Append adds an entry at a path. Entries are never overwritten.
func (s *Space) Append(ctx context.Context, path string, payload []byte) (*Record, error) {
	return s.one(ctx, Write{Op: OpAppend, Path: path, Payload: payload})
}

// Delete makes the document at a path, of whatever type, read as absent, whoever wrote it.
// ErrNotFound if it is absent already and nothing is in conflict there. What this device wrote there is
// swept later and then leaves no more than a bit; see Options.SweepDelay.
func (s *Space) Delete(ctx context.Context, path string) (*Record, error) {
	return s.one(ctx, Write{Op: OpDelete, Path: path})
}

func (s *Space) one(ctx context.Context, w Write) (*Record, error) {
	records, err := s.Batch(ctx, w)
	if err != nil {
		return nil, err
	}
	return records[0], nil
}

// Batch makes several changes at once: all of them are durable when it
// returns nil, or none happened. The records are in the order of the changes.
// When it returns the context's error, they may have happened all the same.
func (s *Space) Batch(ctx context.Context, writes ...Write) ([]*Record, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	key := s.author()
	if key == nil {
		return nil, fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, s.Name())
	}
	drafts := make([]store.Draft, len(writes))
	for i, w := range writes {
		if err := record.CheckPath(w.Path); err != nil {
			return nil, err
		}
		d := store.Draft{Kind: record.Doc, Path: w.Path, Payload: w.Payload}
		switch w.Op {
		case OpPut:
		case OpAppend:
			d.Kind = record.Entry
		case OpDelete:
			d.Deleted, d.Payload = true, nil
			if err := s.deletable(ctx, w.Path, writes[:i]); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("anabranch: write %d: no such operation %d", i, w.Op)
		}
		if !w.Expires.IsZero() {
			micro := w.Expires.UnixMicro()
			if micro <= 0 {
				return nil, fmt.Errorf("anabranch: write %d: expires before 1970", i)
			}
			d.Expires = uint64(micro)
		}
		drafts[i] = d
	}
	records, err := s.rows.Write(ctx, key, s.replica.now(), drafts...)
	if err != nil {
		return nil, fmt.Errorf("anabranch: write to %q: %w", s.Name(), named(err))
	}
	return records, nil
}

// Remove deletes entries that this device wrote, by ID: they leave nothing
// but bits. ErrNotFound for one that is not live here, ErrNotRemovable for a
// document, or for one that somebody else wrote. Entries of an earlier key
// of this device are removed under that key, and then not in one step with
// the others.
func (s *Space) Remove(ctx context.Context, ids ...record.ID) error {
	view, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	byAuthor := map[record.Key][]record.ID{}
	for _, id := range ids {
		v, err := view.Get(id)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%w: record %v", ErrNotFound, id)
		}
		if err != nil {
			view.Close()
			return err
		}
		if v.Kind == record.Delta && crdt.IsState(v.Payload) {
			view.Close()
			return fmt.Errorf("%w: %v is a part of the document at %q", ErrNotRemovable, id, v.Path)
		}
		byAuthor[v.Author] = append(byAuthor[v.Author], id)
	}
	view.Close()
	keys := s.keys()
	for author := range byAuthor {
		if !slices.ContainsFunc(keys, func(k ed25519.PrivateKey) bool { return record.Public(k) == author }) {
			return fmt.Errorf("%w: written by %v", ErrNotRemovable, short(author))
		}
	}
	for _, key := range keys {
		if mine := byAuthor[record.Public(key)]; len(mine) > 0 {
			if err := s.rows.Remove(ctx, key, s.replica.now(), mine...); err != nil {
				return named(err)
			}
		}
	}
	return nil
}

// deletable reports whether there is something to delete at a path: a
// document that is read, a conflict beside a deleted one, or a version that
// the batch itself writes before.
func (s *Space) deletable(ctx context.Context, path string, before []Write) error {
	for _, w := range before {
		if w.Path == path && w.Op == OpPut {
			return nil
		}
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	reading, err := view.Resolve(path, s.replica.now())
	if err != nil {
		return fmt.Errorf("anabranch: delete %q: %w", path, err)
	}
	if is, err := readsAsDelta(view, path); is || err != nil {
		return err
	}
	if reading.Absent && len(reading.Conflicts) == 0 {
		return fmt.Errorf("%w: no document at %q", ErrNotFound, path)
	}
	return nil
}
