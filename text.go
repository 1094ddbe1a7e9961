package anabranch

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/record"
)

// Text is a handle of the text document at a path: plain text that people
// type into together. It is cheap, needs no closing and is safe for use by
// several goroutines; all handles of one path share one document.
//
// The document is the join of all live deltas at the path, in whatever order
// they came. A path reads as a text when the newest of its documents and deltas
// is a delta, so Delete, or a Put, ends a text, and an edit begins it anew.
//
// Edits are in the document at once and signed a moment later: a record is
// written when nobody has typed for 300 ms, when the first edit of the burst
// is a second old, or by Commit and Close. Until then the burst is kept as a
// draft, at most 100 ms old, that the next opening takes up.
type Text struct {
	space *Space
	path  string
}

// Text returns the handle of the text at a path, which need not exist yet. A
// path that no record can have is the error of every call.
func (s *Space) Text(path string) *Text { return &Text{space: s, path: path} }

// Path is where the text is.
func (t *Text) Path() string { return t.path }

// TextPatch is one change of a text: at Pos, Delete runes go and Text comes.
type TextPatch struct {
	Pos    int
	Delete int
	Text   string
}

// TextOrigin says what a change of a text came from.
type TextOrigin string

const (
	TextWhole   TextOrigin = "whole"   // the text as a subscriber finds it
	TextLocal   TextOrigin = "local"   // an Update here
	TextUndo    TextOrigin = "undo"    // an Undo or Redo here
	TextRemote  TextOrigin = "remote"  // a record arrived
	TextRebuilt TextOrigin = "rebuilt" // a record left, or a lane was found forked
)

// TextChange is what a subscriber learns: patches to apply one after the other.
type TextChange struct {
	Origin  TextOrigin
	Author  record.Key // who made it; zero if that is not one author
	Patches []TextPatch
}

// TextVersion names a state of a text: the set of its records. It means the
// same on every replica that holds them.
type TextVersion struct{ dots crdt.Context }

// String is the version as text, for ParseTextVersion.
func (v TextVersion) String() string {
	return base64.RawURLEncoding.EncodeToString(v.dots.AppendTo(nil))
}

// ParseTextVersion reads what String wrote and nothing else.
func ParseTextVersion(s string) (TextVersion, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		var dots crdt.Context
		if dots, err = crdt.DecodeContext(b); err == nil {
			return TextVersion{dots}, nil
		}
	}
	return TextVersion{}, fmt.Errorf("anabranch: %q is no version of a text", s)
}

// Covers reports whether a version holds every record of another.
func (v TextVersion) Covers(other TextVersion) bool { return v.dots.Covers(other.dots) }

var (
	// ErrFolded says that a version of a text cannot be read any more: its
	// records were folded with later ones, or text of it was dropped since. See
	// Options.HistoryWindow, and Text.Keep.
	ErrFolded = errors.New("anabranch: that version of the text is older than its history")
	// ErrTextVersion says that records of a version are not held here: they
	// have not arrived, or were withdrawn.
	ErrTextVersion = errors.New("anabranch: records of that version of the text are not here")
	// ErrNotText says that something cannot be a text: it is not valid UTF-8.
	ErrNotText = errors.New("anabranch: not a text")
	// ErrTextExists says that a text cannot be seeded where one was written.
	ErrTextExists = errors.New("anabranch: a text stands there already")
)

// IsText reports whether a path reads as a text.
func (s *Space) IsText(ctx context.Context, path string) (bool, error) {
	if err := record.CheckPath(path); err != nil {
		return false, err
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return false, err
	}
	defer view.Close()
	return readsAsText(view, path)
}

// Get is the text. ErrNotFound if the path does not read as one.
func (t *Text) Get(ctx context.Context) (string, error) {
	s, _, err := t.get(ctx, false)
	return s, err
}

// GetVersion is the text and its version, which includes what was typed here:
// it commits first.
func (t *Text) GetVersion(ctx context.Context) (string, TextVersion, error) { return t.get(ctx, true) }

func (t *Text) get(ctx context.Context, version bool) (s string, v TextVersion, err error) {
	err = t.use(ctx, func(d *textDoc) error {
		if version {
			if err := d.flush(ctx); err != nil {
				return err
			}
		}
		if d.hidden() {
			return fmt.Errorf("%w: no text at %q", ErrNotFound, t.path)
		}
		s, v = d.doc.String(), TextVersion{d.dots.Clone()}
		return nil
	})
	return s, v, err
}

// Update edits the text. Its edits are one step of Undo, and nobody sees half
// of them; when f returns an error they are taken back and Update returns it. f
// may call nothing of this text but its argument.
//
// The edits are not durable when Update returns: see Text and Commit. Where the
// path does not read as a text, the text begins as what is read: the
// document's payload, or nothing.
//
// Errors worth matching: ErrNotAuthorised, ErrNotText.
func (t *Text) Update(ctx context.Context, f func(*TextEdit) error) error {
	return t.use(ctx, func(d *textDoc) error {
		if err := d.writable(ctx); err != nil {
			return err
		}
		return d.update(ctx, f)
	})
}

// Commit makes everything typed so far durable, signed and ready for peers.
func (t *Text) Commit(ctx context.Context) error {
	return t.use(ctx, func(d *textDoc) error { return d.flush(ctx) })
}

// Undo takes back this replica's last step that was not undone, also one of an
// earlier run: what others typed stays, and what they deleted too. It reports
// false when there is none.
func (t *Text) Undo(ctx context.Context) (bool, error) {
	return t.turn(ctx, (*text.Doc).Undo)
}

// Redo takes back the last Undo, if nothing was edited here since.
func (t *Text) Redo(ctx context.Context) (bool, error) {
	return t.turn(ctx, (*text.Doc).Redo)
}

func (t *Text) turn(ctx context.Context, f func(*text.Doc) bool) (done bool, err error) {
	err = t.use(ctx, func(d *textDoc) error {
		if err := d.writable(ctx); err != nil {
			return err
		}
		if done = f(d.doc); done {
			d.edited()
			d.publish(TextUndo, d.author)
		}
		return nil
	})
	return done, err
}

// Version is the text's present version. It commits first.
func (t *Text) Version(ctx context.Context) (TextVersion, error) {
	var v TextVersion
	err := t.use(ctx, func(d *textDoc) error {
		if err := d.flush(ctx); err != nil {
			return err
		}
		v = TextVersion{d.dots.Clone()}
		return nil
	})
	return v, err
}

// At is the text at a version. ErrTextVersion if records of it are not here,
// ErrFolded if they were folded and the version was not kept.
func (t *Text) At(ctx context.Context, v TextVersion) (string, error) {
	var s string
	err := t.use(ctx, func(d *textDoc) error {
		doc, err := d.at(ctx, v)
		if err == nil {
			s = doc.String()
		}
		return err
	})
	return s, err
}

// Diff is what turns one version of the text into another.
func (t *Text) Diff(ctx context.Context, from, to TextVersion) ([]TextPatch, error) {
	var out []TextPatch
	err := t.use(ctx, func(d *textDoc) error {
		a, err := d.at(ctx, from)
		if err != nil {
			return err
		}
		b, err := d.at(ctx, to)
		if err == nil {
			out = patches(text.Diff(a, b))
		}
		return err
	})
	return out, err
}

// Merge writes content as an edit of the text as it was at base: what changed
// between the two is changed in the text as it is now, so that what others wrote
// since stays. It is one step, and makes the smallest edit that it finds.
func (t *Text) Merge(ctx context.Context, base TextVersion, content string) error {
	return t.use(ctx, func(d *textDoc) error {
		if err := d.writable(ctx); err != nil {
			return err
		}
		old, err := d.at(ctx, base)
		if err != nil {
			return err
		}
		return d.update(ctx, func(e *TextEdit) error { return e.d.doc.Replay(old, text.Edits(old.String(), content)) })
	})
}

// TextEvent is one record of a text's history.
type TextEvent struct {
	*Record
	Version  TextVersion // the text's when this record was the newest
	Inserted int         // runes
	Deleted  int
	Folds    int  // records that this one stands for; 0: none
	Waits    bool // it speaks of characters that are not here
	Forked   bool // its lane says two things of one character: two stores wrote as one
	Refused  bool // it does not count: no delta of a text, or the one of two with the greater ID
}

// History is the records that the text is made of, oldest first, at most the
// newest limit of them; 0 is all. It commits first and reads all of them.
func (t *Text) History(ctx context.Context, limit int) ([]TextEvent, error) {
	var out []TextEvent
	err := t.use(ctx, func(d *textDoc) (err error) {
		if err = d.flush(ctx); err == nil {
			out, err = d.history(ctx, limit)
		}
		return err
	})
	return out, err
}

// Anchor is a place in the text that survives edits: in front of the rune at
// pos, keeping to one side.
func (t *Text) Anchor(ctx context.Context, pos int, side text.Side) (text.Anchor, error) {
	var a text.Anchor
	err := t.use(ctx, func(d *textDoc) (err error) {
		a, err = d.doc.Anchor(pos, side)
		return err
	})
	return a, err
}

// Resolve is where an anchor is now; ok is false for one whose character is not
// here.
func (t *Text) Resolve(ctx context.Context, a text.Anchor) (pos int, ok bool, err error) {
	err = t.use(ctx, func(d *textDoc) error {
		pos, ok = d.doc.Resolve(a)
		return nil
	})
	return pos, ok, err
}

// TextPending says what of a text is not as it should be.
type TextPending struct {
	Unsent  bool       // typed here, and not signed yet
	Waiting int        // deltas that speak of characters which are not here
	Missing []crdt.Dot // the first of those characters, by lane
	Forked  []uint64   // lanes that say two things of one character: the record with the smaller ID counts
	Refused int        // records that are no deltas of a text
}

// Pending says what of the text is missing, forked or not signed yet.
func (t *Text) Pending(ctx context.Context) (TextPending, error) {
	var p TextPending
	err := t.use(ctx, func(d *textDoc) error {
		p = TextPending{Unsent: d.dirty(), Waiting: d.doc.Parked(), Missing: d.doc.Missing(), Forked: d.forked, Refused: d.refused}
		return nil
	})
	return p, err
}

// Seed begins the text with words that everybody who begins it with them says
// in the same characters, so that they stand there once. It is durable then.
// ErrTextExists where somebody has begun the text otherwise.
func (t *Text) Seed(ctx context.Context, s string) error {
	return t.use(ctx, func(d *textDoc) error { return d.seed(ctx, s) })
}

// TextEdit is the text during an Update. Positions and lengths count runes.
type TextEdit struct{ d *textDoc }

// Len is the length of the text in runes.
func (e *TextEdit) Len() int { return e.d.doc.Len() }

// String is the text.
func (e *TextEdit) String() string { return e.d.doc.String() }

// Slice is the runes [begin, end).
func (e *TextEdit) Slice(begin, end int) (string, error) { return e.d.doc.Slice(begin, end) }

// Insert types a text in front of the rune at pos. The error is a
// *text.RangeError or text.ErrNotUTF8.
func (e *TextEdit) Insert(pos int, s string) error { return e.d.doc.Insert(pos, s) }

// Delete removes n runes from pos on. The error is a *text.RangeError.
func (e *TextEdit) Delete(pos, n int) error { return e.d.doc.Delete(pos, n) }

// Set makes the text read s by the smallest edit that it finds.
func (e *TextEdit) Set(s string) error {
	for _, p := range text.Edits(e.d.doc.String(), s) {
		if err := e.d.doc.Delete(p.Pos, p.Delete); err != nil {
			return err
		}
		if err := e.d.doc.Insert(p.Pos, p.Text); err != nil {
			return err
		}
	}
	return nil
}

// Resolve is where an anchor is now.
func (e *TextEdit) Resolve(a text.Anchor) (pos int, ok bool) { return e.d.doc.Resolve(a) }

// AtUTF16 and AtByte convert offsets of other units.
func (e *TextEdit) AtUTF16(offset int) (text.Size, error) { return e.d.doc.AtUTF16(offset) }

// AtByte is where the rune that holds a byte of the UTF-8 text begins.
func (e *TextEdit) AtByte(offset int) (text.Size, error) { return e.d.doc.AtByte(offset) }

func patches(ps []text.Patch) []TextPatch {
	out := make([]TextPatch, len(ps))
	for i, p := range ps {
		out[i] = TextPatch{p.Pos, p.Delete, p.Text}
	}
	return out
}

// Times of a burst.
const (
	textDraft = 100 * time.Millisecond // after an edit: written down as a draft
	textIdle  = 300 * time.Millisecond // without an edit: a record. A typist's pause between two keys is 200 ms
	textAge   = time.Second            // since the first edit: a record
	textRetry = time.Second            // after a record could not be written
)
