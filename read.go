package anabranch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
)

// Document is what reading a path gives: the newest version, and beside it
// the versions that nobody who wrote a newer one had seen, and that say
// something else.
type Document struct {
	*Record
	Conflicts []*Record
}

// Get reads the document at a path: the live version with the greatest
// (time, ID), whoever wrote it. ErrNotFound if there is none, or if it is
// deleted or expired.
func (s *Space) Get(ctx context.Context, path string) (Document, error) {
	if err := record.CheckPath(path); err != nil {
		return Document{}, err
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return Document{}, err
	}
	defer view.Close()
	reading, err := view.Resolve(path, s.replica.now())
	if err != nil {
		return Document{}, fmt.Errorf("anabranch: get %q: %w", path, err)
	}
	if reading.Absent {
		return Document{}, fmt.Errorf("%w: no document at %q", ErrNotFound, path)
	}
	return Document{Record: reading.Doc, Conflicts: disagreeing(reading.Doc, reading.Conflicts)}, nil
}

// disagreeing are the versions whose content is not that of the one that is
// read: two devices that deleted a document apart, or imported the same
// folder, have nothing to settle.
func disagreeing(doc *Record, others []*Record) []*Record {
	return slices.DeleteFunc(slices.Clone(others), func(o *Record) bool {
		return o.Deleted == doc.Deleted && o.Blob == doc.Blob && o.Expires == doc.Expires && bytes.Equal(o.Payload, doc.Payload)
	})
}

// Record reads one member record by ID. ErrNotFound if it is not in the set.
func (s *Space) Record(ctx context.Context, id record.ID) (*Record, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	v, err := view.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: record %v", ErrNotFound, id)
	}
	return v, err
}

// FindRecord reads the one member record whose ID begins with some
// hexadecimal characters, at least four. ErrNotFound if there is none,
// ErrAmbiguous if there are several.
func (s *Space) FindRecord(ctx context.Context, prefix string) (*Record, error) {
	if len(prefix) < 4 || len(prefix) > 64 {
		return nil, fmt.Errorf("anabranch: an ID is given by 4 to 64 characters, not %d", len(prefix))
	}
	var id record.ID
	if _, err := hex.Decode(id[:], []byte((prefix + "0")[:len(prefix)/2*2+len(prefix)%2*2])); err != nil {
		return nil, fmt.Errorf("anabranch: %q is not hexadecimal", prefix)
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	count, _, err := view.Trie().Subtree(id, 4*len(prefix))
	switch {
	case err != nil:
		return nil, err
	case count == 0:
		return nil, fmt.Errorf("%w: no record %s…", ErrNotFound, prefix)
	case count > 1:
		return nil, fmt.Errorf("%w: %d records begin with %s, give more of it", ErrAmbiguous, count, prefix)
	}
	ids, err := view.Trie().IDs(id, 4*len(prefix))
	if err != nil {
		return nil, err
	}
	return view.Get(ids[0])
}

// Order is the order of a listing.
type Order int

const (
	ByPath      Order = iota // by path bytes, then author and time
	OldestFirst              // by time, then ID
	NewestFirst
)

// Query selects records for a listing. The zero value selects everything
// that reads as present: each path's current document or the newest record of
// its text, and entries.
type Query struct {
	Prefix   string       // only this path and what lies below it
	From     string       // only paths >= From, by bytes
	Until    string       // only paths < Until, by bytes
	Authors  []record.Key // only records of these
	Kinds    []record.Kind
	After    time.Time // only records of this time or later
	Before   time.Time // only records before this time
	Order    Order
	Limit    int  // at most so many; 0: all
	Versions bool // every live record: old versions, deleted and expired ones too
}

func (q Query) rows() (store.Query, error) {
	out := store.Query{Prefix: q.Prefix, Gte: q.From, Lte: q.Until, Authors: q.Authors, Kinds: q.Kinds}
	if q.Prefix != "" {
		if err := record.CheckPath(q.Prefix); err != nil {
			return out, err
		}
	}
	if !q.After.IsZero() {
		out.From = uint64(max(0, q.After.UnixMicro()))
	}
	if !q.Before.IsZero() {
		out.To = uint64(max(1, q.Before.UnixMicro()))
	}
	switch q.Order {
	case ByPath:
		out.Order = store.Path
	case OldestFirst:
		out.Order = store.Oldest
	case NewestFirst:
		out.Order = store.Newest
	default:
		return out, fmt.Errorf("anabranch: no such order %d", q.Order)
	}
	return out, nil
}

// List yields the records that a query selects, from one snapshot. It ends
// after the first error.
func (s *Space) List(ctx context.Context, q Query) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		rows, err := q.rows()
		if err != nil {
			yield(nil, err)
			return
		}
		view, err := s.snapshot(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		defer view.Close()
		now := s.replica.now()
		left := q.Limit
		for v, err := range view.List(rows) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			show := q.Versions
			if !show {
				if show, err = present(view, v, now); err != nil {
					yield(nil, err)
					return
				}
			}
			if !show {
				continue
			}
			if !yield(v, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// present reports whether reading shows a live record: a document only if
// it is the one that its path reads as, and of a text or another mergeable
// document the newest delta.
func present(view *store.Snapshot, v *Record, now uint64) (bool, error) {
	delta := false
	if v.Kind == record.Doc || v.Kind == record.Delta {
		var err error
		if delta, err = readsAsDelta(view, v.Path); err != nil {
			return false, err
		}
	}
	if v.Kind == record.Delta {
		newest, err := view.Newest(v.Path, record.Delta)
		return delta && v.Time == newest, named(err)
	}
	if v.Kind != record.Doc {
		return v.Expires == 0 || v.Expires > now, nil
	}
	if delta || v.Deleted || v.Expires != 0 && v.Expires <= now {
		return false, nil
	}
	reading, err := view.Resolve(v.Path, now)
	return err == nil && reading.Doc != nil && reading.Doc.ID == v.ID, err
}

// Conflict is a path at which live versions stand that nobody replaced,
// beside the one that is read.
type Conflict struct {
	Path    string
	Current *Record // what Get reads, or would if it were not deleted or expired
	Others  []*Record
}

// Conflicts yields every true conflict at or below a prefix ("" is
// everything), in path order: one writer had not seen the other's version,
// and the two say different things.
// A new Put at the path settles it. It reads every document once.
func (s *Space) Conflicts(ctx context.Context, prefix string) iter.Seq2[Conflict, error] {
	return func(yield func(Conflict, error) bool) {
		rows, err := Query{Prefix: prefix, Kinds: []record.Kind{record.Doc}}.rows()
		if err != nil {
			yield(Conflict{}, err)
			return
		}
		view, err := s.snapshot(ctx)
		if err != nil {
			yield(Conflict{}, err)
			return
		}
		defer view.Close()
		last := ""
		for v, err := range view.List(rows) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Conflict{}, err)
				return
			}
			if v.Path == last {
				continue
			}
			last = v.Path
			reading, err := view.Resolve(v.Path, s.replica.now())
			if err != nil {
				yield(Conflict{}, err)
				return
			}
			others := disagreeing(reading.Doc, reading.Conflicts)
			if len(others) == 0 {
				continue
			}
			if !yield(Conflict{Path: v.Path, Current: reading.Doc, Others: others}, nil) {
				return
			}
		}
	}
}

// VersionState says what became of a version of a document.
type VersionState string

const (
	Current     VersionState = "current"
	Conflicting VersionState = "conflicting"
	Replaced    VersionState = "replaced"
)

// Version is one live version of a document.
type Version struct {
	*Record
	State VersionState
}

// History is every live version at a path, newest first. Versions that
// their author has swept are gone.
func (s *Space) History(ctx context.Context, path string) ([]Version, error) {
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	reading, err := view.Resolve(path, s.replica.now())
	if err != nil {
		return nil, fmt.Errorf("anabranch: history of %q: %w", path, err)
	}
	if reading.Doc == nil {
		return nil, nil
	}
	out := []Version{{Record: reading.Doc, State: Current}}
	for _, v := range reading.Conflicts {
		out = append(out, Version{Record: v, State: Conflicting})
	}
	for _, v := range reading.Replaced {
		out = append(out, Version{Record: v, State: Replaced})
	}
	slices.SortStableFunc(out, func(a, b Version) int {
		if a.Time != b.Time {
			if a.Time > b.Time {
				return -1
			}
			return 1
		}
		return b.ID.Compare(a.ID)
	})
	return out, nil
}

// Version counts what ever entered or left the set here. It is local: two
// replicas that hold the same set have different versions.
func (s *Space) Version(ctx context.Context) (uint64, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	return view.Version(), nil
}

// Root is a digest of the whole set: replicas with equal roots hold the same
// records, byte for byte.
type Root [32]byte

// String is the root in lower-case hexadecimal.
func (r Root) String() string { return record.ID(r).String() }

// Root is the digest of everything that is a member here, and how many
// members that is.
func (s *Space) Root(ctx context.Context) (Root, uint64, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return Root{}, 0, err
	}
	defer view.Close()
	root, err := view.Root()
	return Root(root), view.Count(), err
}

func (s *Space) snapshot(ctx context.Context) (*store.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	view, err := s.rows.Snapshot()
	if errors.Is(err, store.ErrClosed) {
		return nil, ErrClosed
	}
	if err != nil {
		return nil, named(err)
	}
	return view, nil
}
