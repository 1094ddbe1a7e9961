package anabranch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

const (
	textDelta = 48 << 10 // bytes of a delta before it is deflated: a record holds 64 KiB
	textSteps = 200      // that can be undone by a later run
)

// writable makes sure that edits go to the lane in which this device writes.
func (d *textDoc) writable(ctx context.Context) error {
	key := d.space.author()
	if key == nil {
		return fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, d.space.Name())
	}
	own := d.doc.Lane()
	same := own != 0 && d.author == record.Public(key) && d.space.texts.lane(d.author) == d.lane
	if same && (d.doc.Parked() == 0 || !d.doc.Waits(own)) {
		return nil
	}
	d.wait()
	if own = d.doc.Lane(); own != 0 && d.doc.Waits(own) {
		d.leaveLane()
	}
	if unsent := d.volatile(); len(unsent) > 0 {
		view, err := d.space.snapshot(ctx)
		if err != nil {
			return err
		}
		defer view.Close()
		return d.move(ctx, view, own, unsent)
	}
	return d.enterLane(ctx)
}

// move takes what is unsent to another lane.
func (d *textDoc) move(ctx context.Context, view *store.Snapshot, own uint64, unsent [][]byte) error {
	d.leaveLane()
	d.unsent = nil
	old := d.doc
	d.doc.Sent()
	d.doc = text.New(0) // steps speak of characters that are typed again
	if err := d.compareAnew(ctx, view); err != nil {
		return err
	}
	if err := d.retype(ctx, old, own, unsent); err != nil {
		return err
	}
	d.diffs(old)
	return nil
}

// compareAnew makes the document of the live records.
func (d *textDoc) compareAnew(ctx context.Context, view *store.Snapshot) error {
	d.reset()
	d.doc.Watch(nil)
	return d.compare(ctx, view)
}

// leaveLane says that the document's lane is not to be written any more.
func (d *textDoc) leaveLane() {
	if d.lane != 0 {
		d.avoid = d.lane
	}
	d.lane = 0
}

// enterLane makes edits go to the author's lane here. Nothing is unsent.
func (d *textDoc) enterLane(ctx context.Context) error {
	key := d.space.author()
	if key == nil {
		return fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, d.space.Name())
	}
	author := record.Public(key)
	if err := d.allowed(ctx, author); err != nil {
		return err
	}
	for range 3 {
		lane, err := d.space.textLane(ctx, author, d.avoid)
		if err != nil {
			return err
		}
		name := laneName(author, lane)
		if d.doc.Waits(name) {
			d.avoid = lane
			continue
		}
		d.key, d.author, d.lane = key, author, lane
		return d.doc.SetLane(name)
	}
	return fmt.Errorf("anabranch: no lane to write %q in", d.path)
}

// allowed is an error for an author who may not write here: known before
// anything is typed.
func (d *textDoc) allowed(ctx context.Context, author record.Key) error {
	view, err := d.space.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	v := &record.Verified{Record: record.Record{Kind: record.Delta, Path: d.path, Author: author, Lane: 1, Seq: 1}}
	if view.State().Judge(v) == space.Held {
		return fmt.Errorf("%w: author %v", ErrNotAuthorised, short(author))
	}
	return nil
}

// retype makes edits of deltas that their lane cannot carry any more, and that
// the document does not hold; old does.
func (d *textDoc) retype(ctx context.Context, old *text.Doc, name uint64, deltas [][]byte) error {
	d.leaveLane()
	d.unsent = nil
	if err := d.enterLane(ctx); err != nil {
		return fmt.Errorf("anabranch: what was typed into %q could not be written in another lane: %w", d.path, err)
	}
	if err := d.doc.Retype(old, name, deltas); err != nil {
		return err
	}
	d.doc.EndStep()
	d.edited()
	return nil
}

// update runs an edit as one step.
func (d *textDoc) update(ctx context.Context, f func(*TextEdit) error) (err error) {
	if d.shadow != 0 && d.begun != d.shadow {
		if err := d.begin(ctx); err != nil {
			return err
		}
	}
	if err = f(&TextEdit{d}); err != nil {
		d.doc.Revert()
	} else {
		d.doc.EndStep()
	}
	if d.doc.Dirty() {
		d.edited()
	}
	d.publish(TextLocal, d.author)
	return err
}

// begin makes the text what the path reads as: a document's payload, or nothing.
func (d *textDoc) begin(ctx context.Context) error {
	view, err := d.space.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	reading, err := view.Resolve(d.path, d.space.replica.now())
	if err != nil {
		return named(err)
	}
	content := ""
	if !reading.Absent {
		if reading.Doc.Blob || !utf8.Valid(reading.Doc.Payload) {
			return fmt.Errorf("%w: the document at %q", ErrNotText, d.path)
		}
		content = string(reading.Doc.Payload)
	}
	shadow := d.shadow
	if content != "" && len(d.have) == 0 && !d.dirty() {
		return d.seed(ctx, content)
	}
	d.begun = shadow
	return (&TextEdit{d}).Set(content)
}

func (d *textDoc) seed(ctx context.Context, s string) error {
	key := d.space.author()
	if key == nil {
		return fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, d.space.Name())
	}
	seeds, err := text.Seeds(s, textDelta)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotText, err)
	}
	if len(seeds) == 0 {
		return nil
	}
	if len(d.have) > 0 || d.dirty() {
		before := d.doc.Version()
		for _, b := range seeds {
			if !before.Has(text.SeedEnd(b)) {
				return fmt.Errorf("%w: %q", ErrTextExists, d.path)
			}
		}
		return nil
	}
	drafts := make([]store.Draft, len(seeds))
	for i, b := range seeds {
		drafts[i] = store.Draft{Kind: record.Delta, Path: d.path, Payload: b}
	}
	if _, err := d.space.rows.Write(ctx, key, d.space.replica.now(), drafts...); err != nil {
		return fmt.Errorf("anabranch: seed %q: %w", d.path, named(err))
	}
	return d.bring(ctx)
}

// edited notes that something was typed.
func (d *textDoc) edited() {
	now := time.Now()
	if d.since.IsZero() {
		d.since = now
	}
	if d.loose.IsZero() {
		d.loose = now
	}
	first := d.last.IsZero() || now.Sub(d.last) > textDraft
	d.last = now
	if first {
		d.space.texts.kick()
	}
	d.stir()
}

// flush makes records of what was typed. The document may be edited meanwhile,
// and is clean when flush returns nil.
func (d *textDoc) flush(ctx context.Context) error {
	for tries := 0; ; {
		d.wait()
		if !d.dirty() {
			d.since, d.loose = time.Time{}, time.Time{}
			return nil
		}
		d.doc.EndStep()
		d.unsent = append(d.unsent, d.doc.Flush(textDelta)...)
		sending := d.unsent
		drafts := make([]store.Draft, len(sending))
		for i, b := range sending {
			drafts[i] = store.Draft{Kind: record.Delta, Path: d.path, Payload: b}
		}
		facts := []store.FactOp{{Key: d.fact(factDraft)}, {Key: d.fact(factSteps), Value: d.doc.Steps(textSteps)}}
		key, lane := d.key, d.lane
		d.since, d.loose = time.Time{}, time.Time{}
		done := make(chan struct{})
		d.writing = done
		d.mu.Unlock()
		written, err := d.space.rows.WriteIn(ctx, key, lane, d.space.replica.now(), facts, drafts...)
		d.mu.Lock()
		d.writing = nil
		close(done)
		if err == nil {
			d.unsent = slices.Clone(d.unsent[len(sending):])
			d.stir()
			d.wrote += len(written)
			for _, v := range written {
				d.own[v.ID] = true
			}
			if err := d.bring(ctx); err != nil {
				return err
			}
			continue
		}
		if d.since.IsZero() {
			d.since = time.Now()
		}
		d.retry = time.Now().Add(textRetry)
		if errors.Is(err, store.ErrLaneLeft) && tries < 3 {
			tries++
			d.space.texts.left(d.author, lane)
			if err = d.writable(ctx); err == nil {
				continue
			}
		}
		return fmt.Errorf("anabranch: write text %q: %w", d.path, named(err))
	}
}
