package anabranch

import (
	"context"
	"fmt"

	"anabranch/crdt"
	"anabranch/crdt/text"
)

// MapText is a handle of a text below keys of a map. It merges character by
// character, as Space.Text does; each change is a record at once, there is no
// burst, draft or undo. Deleting a key above it deletes the characters that are
// seen: what somebody types there at the same time stays, alone.
type MapText struct{ place }

// Text is the text below keys; it and the maps on the way begin with its first
// characters.
func (m Map) Text(keys ...string) MapText { return MapText{m.below(keys)} }

// Get is the text. ErrNotFound if there is none.
func (t MapText) Get(ctx context.Context) (string, error) {
	v, err := t.read(ctx, crdt.Text)
	if err != nil {
		return "", err
	}
	doc, err := textOf(0, v.Parts)
	if err != nil {
		return "", err
	}
	return doc.String(), nil
}

// Insert types in front of the rune at pos. The error wraps *text.RangeError,
// or is text.ErrNotUTF8.
func (t MapText) Insert(ctx context.Context, pos int, s string) error {
	return t.edit(ctx, func(doc *text.Doc) error { return doc.Insert(pos, s) })
}

// Delete removes n runes from pos on.
func (t MapText) Delete(ctx context.Context, pos, n int) error {
	return t.edit(ctx, func(doc *text.Doc) error { return doc.Delete(pos, n) })
}

// Set makes the text read s by the smallest edit that it finds.
func (t MapText) Set(ctx context.Context, s string) error {
	return t.edit(ctx, func(doc *text.Doc) error {
		for _, p := range text.Edits(doc.String(), s) {
			if err := doc.Delete(p.Pos, p.Delete); err != nil {
				return err
			}
			if err := doc.Insert(p.Pos, p.Text); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t MapText) edit(ctx context.Context, f func(*text.Doc) error) error {
	if len(t.in) == 0 {
		return fmt.Errorf("%w: no key", crdt.ErrRange)
	}
	return t.change(ctx, func(s *crdt.State, w crdt.Writer) (*crdt.State, error) {
		v, _ := s.Read(crdt.Text, t.in...)
		doc, err := textOf(w.Lane, v.Parts)
		if err != nil {
			return nil, err
		}
		if doc.Waits(w.Lane) {
			return nil, fmt.Errorf("%w: own characters of the text at %s have not arrived", crdt.ErrExhausted, t.where())
		}
		if err := f(doc); err != nil {
			return nil, err
		}
		delta := new(crdt.State)
		deltas := doc.Flush(crdt.MaxValue)
		if len(deltas) > 1 {
			s = s.Clone() // each is an event of its own
		}
		for i, body := range deltas {
			d, err := s.Type(w, body, t.in...)
			if err != nil {
				return nil, err
			}
			if delta.Join(d); i < len(deltas)-1 {
				s.Join(d)
			}
		}
		return delta, nil
	})
}
