package anabranch

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"anabranch/record"
)

// Cursor is a place in what happens to a space here. The zero value is the
// beginning, before everything that is held.
type Cursor struct {
	// History names the store and the run of versions that Version counts in:
	// another replica, a restored backup, and a home that was found to be an
	// older copy have another one. Opening a fresh lane begins one too, so a
	// cursor may be refused that was good; it is never accepted when it is not.
	History uint64
	Version uint64
}

// String is the cursor as text: 16 hexadecimal digits, a hyphen, and the
// version; "0" for the beginning.
func (c Cursor) String() string {
	if c.Version == 0 {
		return "0"
	}
	return fmt.Sprintf("%016x-%d", c.History, c.Version)
}

// ParseCursor reads what String writes. Errors wrap ErrCursor.
func ParseCursor(text string) (Cursor, error) {
	if text == "0" {
		return Cursor{}, nil
	}
	history, version, _ := strings.Cut(text, "-")
	h, err := strconv.ParseUint(history, 16, 64)
	v, err2 := strconv.ParseUint(version, 10, 64)
	c := Cursor{History: h, Version: v}
	if err != nil || err2 != nil || c.String() != text {
		return Cursor{}, fmt.Errorf("%w: %q is none: 0, or what watch gave", ErrCursor, text)
	}
	return c, nil
}

// Commit is what one published change brought to a watcher.
type Commit struct {
	Cursor  Cursor // to go on from
	Entered []*Record
	Left    []record.ID
}

// Cursor is the present place: watching from it shows what comes next.
func (s *Space) Cursor(ctx context.Context) (Cursor, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return Cursor{}, err
	}
	defer view.Close()
	history, err := view.History()
	return Cursor{History: history, Version: view.Version()}, err
}

// Watch yields what enters and leaves the set after a cursor, commit by
// commit and without a gap, and then waits for more. It ends with the
// context's error, with ErrClosed, with ErrNoSpace when the space is left, or
// with ErrCursor when the cursor is too old, or of another store or history.
//
// A record that entered and left again between two reads of a slow watcher
// may be shown as its departure alone.
func (s *Space) Watch(ctx context.Context, from Cursor) iter.Seq2[Commit, error] {
	const most = 1024 // records in one Commit
	return func(yield func(Commit, error) bool) {
		after := from.Version
		for first := true; ; first = false {
			changed := s.rows.Changed()
			view, err := s.snapshot(ctx)
			if err != nil {
				yield(Commit{}, err)
				return
			}
			history, err := view.History()
			switch {
			case err != nil:
			case first && after > 0 && history != from.History:
				err = fmt.Errorf("%w: %v is of another store, or of before this one was restored or took a fresh lane", ErrCursor, from)
			case after > view.Version() || after > 0 && !view.Complete(after):
				err = fmt.Errorf("%w: version %d", ErrCursor, after)
			}
			if err != nil {
				view.Close()
				yield(Commit{}, err)
				return
			}
			c := Commit{}
			for a, err := range view.Since(after) {
				if err != nil {
					view.Close()
					yield(Commit{}, err)
					return
				}
				if a.Record != nil {
					c.Entered = append(c.Entered, a.Record)
				} else {
					c.Left = append(c.Left, a.Left)
				}
				c.Cursor = Cursor{History: history, Version: a.Number}
				if len(c.Entered)+len(c.Left) >= most {
					after = a.Number
					if !yield(c, nil) {
						view.Close()
						return
					}
					c = Commit{}
				}
			}
			version := view.Version()
			view.Close()
			if after = max(after, version); c.Cursor.Version != 0 {
				c.Cursor.Version = after
				if !yield(c, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(Commit{}, ctx.Err())
				return
			case <-s.replica.ctx.Done():
				yield(Commit{}, ErrClosed)
				return
			}
		}
	}
}
