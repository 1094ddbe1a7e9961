package anabranch

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// An author folds its own records of a text that are older than the history
// window, and drops what has been deleted for as long: see crdt/text, Fold.
// The fold is durable before the old records are swept.

const (
	foldRecord  = 48 << 10 // bytes of records that become one
	factDead    = "dead"   // what was deleted at some time, to be dropped later
	deadVersion = 1
)

// textParts are the deltas that a record carries, each of one lane of its
// author: one, or those of a fold. The error says that it is no delta.
func textParts(v *record.Verified) ([]text.Part, error) {
	switch {
	case v.Blob:
		return nil, ErrNotText
	case !text.IsFold(v.Payload):
		return []text.Part{{Lane: laneName(v.Author, v.Lane), Number: v.Seq, ID: v.ID, Body: v.Payload}}, nil
	}
	f, err := text.ParseFold(v.Payload)
	if err != nil {
		return nil, err
	}
	var out []text.Part
	for _, p := range f.Parts {
		if len(p.Body) > 0 {
			out = append(out, text.Part{Lane: laneName(v.Author, p.Lane), Number: v.Seq, ID: v.ID, Body: p.Body})
		}
	}
	return out, nil
}

// applyParts joins the deltas of one record. The result is that of the worst.
func applyParts(doc *text.Doc, parts []text.Part) (all text.Result, err error) {
	all.Status = text.Known
	for _, p := range parts {
		res, e := doc.Apply(p.Lane, p.Body)
		err = errors.Join(err, e)
		all.Released += res.Released
		all.Refused = append(all.Refused, res.Refused...)
		if res.Status == text.Parked || res.Status == text.Applied && all.Status == text.Known {
			all.Status = res.Status
		}
	}
	return all, err
}

// addDots adds a record to a version: its dot, and those that it stands for.
func addDots(dots *crdt.Context, v *record.Verified) {
	dots.Add(laneName(v.Author, v.Lane), v.Seq, v.Seq)
	if f, err := text.ParseFold(v.Payload); err == nil {
		for _, p := range f.Parts {
			for _, s := range p.Spans {
				dots.Add(laneName(v.Author, p.Lane), s.First, s.Last)
			}
		}
	}
}

// foldedRecords is how many records of a text a fold stands for.
func foldedRecords(v *record.Verified) (n int) {
	if f, err := text.ParseFold(v.Payload); err == nil {
		for _, p := range f.Parts {
			for _, s := range p.Spans {
				n += int(s.Records)
			}
		}
	}
	return n
}

// at is the document at a version: of its records, or as it was kept.
func (d *textDoc) at(ctx context.Context, v TextVersion) (*text.Doc, error) {
	records, err := d.records(ctx, v)
	if err == nil {
		doc, _, _ := d.make(records)
		return doc, nil
	}
	if kept, keptErr := d.kept(); keptErr == nil {
		for _, k := range kept {
			if k.Version.dots.Equal(v.dots) {
				return text.Load(0, k.state)
			}
		}
	}
	return nil, err
}

// records are the live records of a version, oldest first: those that it
// names, and folds of nothing but such.
func (d *textDoc) records(ctx context.Context, v TextVersion) ([]*record.Verified, error) {
	all, err := d.all(ctx)
	if err != nil {
		return nil, err
	}
	var found crdt.Context
	var out []*record.Verified
	partly, exact := false, uint64(0) // versions that lack what is not younger are not exact
	older := uint64(1<<64 - 1)        // the oldest record that is not of the version
	for _, r := range all {
		f, err := text.ParseFold(r.Payload)
		if err != nil {
			if name := laneName(r.Author, r.Lane); v.dots.Has(crdt.Dot{Lane: name, Number: r.Seq}) {
				found.Add(name, r.Seq, r.Seq)
				out = append(out, r)
			} else {
				older = min(older, r.Time)
			}
			continue
		}
		some, whole := false, true
		for _, p := range f.Parts {
			name := laneName(r.Author, p.Lane)
			for _, s := range p.Spans {
				n := v.dots.Count(name, s.First, s.Last)
				some, whole = some || n > 0, whole && n >= uint64(s.Records)
				found.Add(name, s.First, s.Last)
			}
		}
		switch {
		case some && whole:
			addDots(&found, r)
			out = append(out, r)
			exact = max(exact, f.Dropped)
		case some:
			partly = true
		default:
			older = 0 // what is folded there may be of any age
		}
	}
	switch {
	case partly || exact > 0 && older <= exact:
		return nil, fmt.Errorf("%w: %q", ErrFolded, d.path)
	case !found.Covers(v.dots):
		return nil, fmt.Errorf("%w: %q", ErrTextVersion, d.path)
	}
	return out, nil
}

// fold replaces records of this device's author by one, if there are enough
// that are older than the history window. Nothing is typed meanwhile.
func (d *textDoc) fold(ctx context.Context) error {
	d.wrote = 0
	o := &d.space.replica.options
	key := d.space.author()
	if o.SweepDelay < 0 || key == nil {
		return nil
	}
	now, window := d.space.replica.now(), uint64(max(0, o.HistoryWindow.Microseconds()))
	settled := now - min(now, window)
	old, err := d.settled(ctx, settled)
	if err != nil || old < foldTier {
		return err
	}
	if err := d.bring(ctx); err != nil {
		return err
	}
	d.wait()
	if d.dirty() || len(d.forked) > 0 || d.rescan || d.doc.Parked() > 0 {
		return nil
	}
	all, err := d.all(ctx)
	if err != nil {
		return err
	}
	me := record.Public(key)
	plain, folds := foldable(all, me, settled)
	if len(plain) < foldTier {
		return nil
	}
	dead, newest, due := d.deadSince(settled)
	if !due {
		dead, newest = nil, 0
	}
	group := gather(plain, folds)
	draft, err := d.folded(all, group, dead, newest)
	if errors.Is(err, text.ErrGap) {
		group = plain
		draft, err = d.folded(all, group, dead, newest)
	}
	if errors.Is(err, text.ErrGap) || errors.Is(err, text.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(draft) > record.MaxPayload {
		return nil
	}
	var ids []record.ID
	for _, v := range group {
		ids = append(ids, v.ID)
	}
	if _, err := d.space.rows.Write(ctx, key, now, store.Draft{Kind: record.Delta, Path: d.path, Payload: draft}); err != nil {
		return named(err)
	}
	if err := d.space.rows.Remove(ctx, key, now, ids...); err != nil {
		return named(err)
	}
	if err := d.bring(ctx); err != nil {
		return err
	}
	if has, _, _ := d.space.replica.store.Fact(d.fact(factDead)); has == nil || due {
		return d.noteDead(ctx, me, now)
	}
	return nil
}

// settled counts the records of the text that are older than a time.
func (d *textDoc) settled(ctx context.Context, before uint64) (n int, err error) {
	view, err := d.space.snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer view.Close()
	places, err := view.Places(d.path, record.Delta)
	for _, p := range places {
		if p.Time <= before {
			n++
		}
	}
	return n, named(err)
}

// foldable are an author's records: those that are old enough, by lane and
// number, and its folds, whatever their age, the smallest first. Seeds are
// nobody's own.
func foldable(all []*record.Verified, me record.Key, settled uint64) (plain, folds []*record.Verified) {
	for _, v := range all {
		switch {
		case v.Author != me || v.Blob || text.IsSeed(v.Payload) || crdt.IsState(v.Payload):
		case text.IsFold(v.Payload):
			folds = append(folds, v)
		case v.Time <= settled:
			plain = append(plain, v)
		}
	}
	size := 0
	slices.SortFunc(plain, func(a, b *record.Verified) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.Seq, b.Seq))
	})
	for i, v := range plain { // the rest is for the next fold
		if size += len(v.Payload); size > foldRecord {
			plain = plain[:i]
			break
		}
	}
	slices.SortStableFunc(folds, func(a, b *record.Verified) int { return cmp.Compare(len(a.Payload), len(b.Payload)) })
	return plain, folds
}

// gather adds folds to records that are to be folded, as long as that is worth
// it: a byte is rewritten when what is written has doubled, or all is small.
func gather(plain, folds []*record.Verified) []*record.Verified {
	group, size := slices.Clone(plain), 0
	for _, v := range plain {
		size += len(v.Payload)
	}
	for _, v := range folds {
		n := len(v.Payload)
		if n > 2*size && size+n > foldWhole || size+n > foldRecord {
			break
		}
		group, size = append(group, v), size+n
	}
	return group
}

// folded is the fold of a group of records.
func (d *textDoc) folded(all, group []*record.Verified, dead map[uint64][]byte, newest uint64) ([]byte, error) {
	type laneParts struct {
		spans  []text.FoldedSpan
		bodies [][]byte
	}
	lanes := map[uint64]*laneParts{}
	of := func(lane uint64) *laneParts {
		if lanes[lane] == nil {
			lanes[lane] = &laneParts{}
		}
		return lanes[lane]
	}
	author := group[0].Author
	in := map[record.ID]bool{}
	var out text.Folded
	for _, v := range group {
		in[v.ID] = true
		p := of(v.Lane)
		p.spans = append(p.spans, text.FoldedSpan{First: v.Seq, Last: v.Seq, Records: 1})
		f, err := text.ParseFold(v.Payload)
		if err != nil {
			p.bodies = append(p.bodies, v.Payload)
			continue
		}
		out.Dropped = max(out.Dropped, f.Dropped)
		for _, q := range f.Parts {
			p := of(q.Lane)
			p.spans = append(p.spans, q.Spans...)
			if len(q.Body) > 0 {
				p.bodies = append(p.bodies, q.Body)
			}
		}
	}
	live := map[uint64][]uint32{}
	for _, v := range all {
		if v.Author == author && !in[v.ID] {
			live[v.Lane] = append(live[v.Lane], v.Seq)
			if f, err := text.ParseFold(v.Payload); err == nil {
				for _, q := range f.Parts {
					for _, s := range q.Spans {
						live[q.Lane] = append(live[q.Lane], s.First)
					}
				}
			}
		}
	}
	for _, lane := range slices.Sorted(keysOf(lanes)) {
		p := lanes[lane]
		slices.Sort(live[lane])
		part := text.FoldedPart{Lane: lane, Spans: text.JoinSpans(p.spans, live[lane])}
		if len(p.bodies) > 0 {
			name := laneName(author, lane)
			body, dropped, err := d.doc.Fold(name, p.bodies, dead[name])
			if err != nil {
				return nil, err
			}
			if dropped > 0 {
				out.Dropped = max(out.Dropped, newest)
			}
			part.Body = body
		}
		out.Parts = append(out.Parts, part)
	}
	return out.AppendTo(nil), nil
}

func keysOf[V any](m map[uint64]V) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// What was deleted at a time is a local fact:
//
//	version 1 | time 8 | newest record's time 8 | per lane: name 8, length, the delta that text.Dead made
//
// noteDead writes it, of an author's lanes.
func (d *textDoc) noteDead(ctx context.Context, me record.Key, now uint64) error {
	b := binary.BigEndian.AppendUint64([]byte{deadVersion}, now)
	b = binary.BigEndian.AppendUint64(b, d.newest)
	for name, author := range d.authors {
		if body := d.doc.Dead(name); author == me && body != nil {
			b = binary.BigEndian.AppendUint64(b, name)
			b = append(crdt.AppendUvarint(b, uint64(len(body))), body...)
		}
	}
	return named(d.space.replica.store.SetFact(ctx, d.fact(factDead), b))
}

// deadSince is what was deleted at the time that was noted, by lane, and the
// time of the newest record then; due says that it was before a time.
func (d *textDoc) deadSince(before uint64) (dead map[uint64][]byte, newest uint64, due bool) {
	b, _, err := d.space.replica.store.Fact(d.fact(factDead))
	if err != nil || len(b) < 17 || b[0] != deadVersion || binary.BigEndian.Uint64(b[1:]) > before {
		return nil, 0, false
	}
	newest = binary.BigEndian.Uint64(b[9:])
	dead = map[uint64][]byte{}
	for b = b[17:]; len(b) > 8; {
		name := binary.BigEndian.Uint64(b)
		n, k := crdt.Uvarint(b[8:])
		if k == 0 || n > uint64(len(b)-8-k) {
			return nil, 0, true // damaged: note it anew
		}
		dead[name] = b[8+k : 8+k+int(n)]
		b = b[8+k+int(n):]
	}
	return dead, newest, true
}
