package anabranch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// texts is the text documents of a space that are open, and their upkeep.
type texts struct {
	kicks chan struct{} // cap 1: something was typed; made with docs

	mu     sync.Mutex // guards all below
	docs   map[string]*textDoc
	lanes  map[record.Key]uint64 // in which authors write here
	closed bool
}

const (
	openTexts   = 32  // documents kept open that nobody uses
	textBehind  = 64  // records joined since a state was saved: it is saved anew at the end
	textsBehind = 512 // the same, at once
)

// use runs f on the document of a handle, brought up to now.
func (t *Text) use(ctx context.Context, f func(*textDoc) error) error {
	d, err := t.space.acquire(t.path)
	if err != nil {
		return err
	}
	defer t.space.texts.release(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.bring(ctx); err != nil {
		return fmt.Errorf("anabranch: text %q: %w", t.path, err)
	}
	return f(d)
}

func (s *Space) acquire(path string) (*textDoc, error) {
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	ts := &s.texts
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, ErrClosed
	}
	if ts.docs == nil {
		ts.docs = map[string]*textDoc{}
	}
	d := ts.docs[path]
	if d == nil {
		d = &textDoc{space: s, path: path}
		ts.docs[path] = d
	}
	d.refs++
	d.used = time.Now()
	return d, nil
}

func (ts *texts) release(d *textDoc) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if d.refs--; d.refs == 0 && len(ts.docs) > openTexts {
		ts.kick() // somebody may be put away
	}
}

func (ts *texts) kick() {
	select {
	case ts.kicks <- struct{}{}:
	default:
	}
}

// lane is the one in which an author writes here, 0 if that is not known.
func (ts *texts) lane(author record.Key) uint64 {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.lanes[author]
}

// left says that an author does not write in a lane any more.
func (ts *texts) left(author record.Key, lane uint64) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.lanes[author] == lane {
		delete(ts.lanes, author)
	}
}

// textLane is the lane in which an author writes here, another than avoid.
func (s *Space) textLane(ctx context.Context, author record.Key, avoid uint64) (uint64, error) {
	if lane := s.texts.lane(author); lane != 0 && lane != avoid {
		return lane, nil
	}
	lane, err := s.rows.Lane(ctx, author, avoid)
	if err != nil {
		return 0, named(err)
	}
	s.texts.mu.Lock()
	defer s.texts.mu.Unlock()
	if s.texts.lanes == nil {
		s.texts.lanes = map[record.Key]uint64{}
	}
	s.texts.lanes[author] = lane
	return lane, nil
}

// open are the documents, each held until it is released.
func (ts *texts) open() []*textDoc {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	out := make([]*textDoc, 0, len(ts.docs))
	for _, d := range ts.docs {
		d.refs++
		out = append(out, d)
	}
	return out
}

// tendTexts writes down what was typed, as drafts and then as records, tells
// subscribers what arrived, and puts documents away that nobody uses.
func (s *Space) tendTexts() {
	r := s.replica
	for {
		changed := s.rows.Changed()
		if s.rows.Dropped() {
			return
		}
		var next time.Time
		watched := false
		for _, d := range s.texts.open() {
			due, subscribed := d.tend(r.ctx)
			watched = watched || subscribed
			if !due.IsZero() && (next.IsZero() || due.Before(next)) {
				next = due
			}
			s.texts.release(d)
		}
		s.putAway(r.ctx)
		if !watched {
			changed = nil
		}
		var timer <-chan time.Time
		if !next.IsZero() {
			timer = time.After(max(time.Millisecond, time.Until(next)))
		}
		select {
		case <-changed:
		case <-timer:
		case <-s.texts.kicks:
		case <-r.ctx.Done():
			return
		}
	}
}

// tend does what is due for a document, and says when something is next.
func (d *textDoc) tend(ctx context.Context) (next time.Time, subscribed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.doc == nil {
		return time.Time{}, false
	}
	log := d.space.replica.log
	if d.hears() {
		subscribed = true
		if err := d.bring(ctx); err != nil && ctx.Err() == nil {
			log.Warn("text not brought up to date", "path", d.path, "err", err)
		}
	}
	if !d.dirty() {
		if d.behind >= textsBehind {
			if err := d.save(ctx); err != nil && ctx.Err() == nil {
				log.Warn("text not saved", "path", d.path, "err", err)
			}
		}
		if d.wrote >= foldTier {
			if err := d.fold(ctx); err != nil && ctx.Err() == nil {
				log.Warn("text not folded", "path", d.path, "err", err)
			}
		}
		return time.Time{}, subscribed
	}
	now := time.Now()
	due := d.last.Add(textIdle)
	if end := d.since.Add(textAge); end.Before(due) {
		due = end
	}
	if due.Before(d.retry) {
		due = d.retry
	}
	if !now.Before(due) {
		if err := d.flush(ctx); err != nil && ctx.Err() == nil {
			log.Warn("text not written yet", "path", d.path, "err", err)
		}
		if !d.dirty() {
			return time.Time{}, subscribed
		}
		return time.Now().Add(textDraft), subscribed
	}
	if !d.loose.IsZero() {
		if at := d.loose.Add(textDraft); now.Before(at) {
			if at.Before(due) {
				due = at
			}
			return due, subscribed
		}
		if err := d.draft(ctx); err != nil && ctx.Err() == nil {
			log.Warn("text not written down", "path", d.path, "err", err)
		}
	}
	return due, subscribed
}

// putAway closes documents that nobody uses, the longest unused first.
func (s *Space) putAway(ctx context.Context) {
	ts := &s.texts
	for {
		ts.mu.Lock()
		var oldest *textDoc
		if len(ts.docs) > openTexts {
			for _, d := range ts.docs {
				if d.refs == 0 && (oldest == nil || d.used.Before(oldest.used)) {
					oldest = d
				}
			}
		}
		if oldest == nil {
			ts.mu.Unlock()
			return
		}
		oldest.refs++
		ts.mu.Unlock()
		err := oldest.end(ctx)
		ts.mu.Lock()
		oldest.refs--
		if err == nil && oldest.refs == 0 && !oldest.busy() {
			delete(ts.docs, oldest.path)
		}
		ts.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// busy reports whether something was typed, or somebody subscribes.
func (d *textDoc) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hears() || d.doc != nil && d.dirty()
}

// end writes what was typed, and saves the state if it is worth it.
func (d *textDoc) end(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.doc == nil {
		return nil
	}
	err := d.flush(ctx)
	if err == nil && d.wrote > 0 {
		err = d.fold(ctx)
	}
	if d.behind >= textBehind || d.saved == 0 && d.doc.Len() > 64<<10 {
		err = errors.Join(err, d.save(ctx))
	}
	return err
}

// closeTexts writes all that was typed. No text is used after it.
func (s *Space) closeTexts(ctx context.Context) error {
	s.texts.mu.Lock()
	s.texts.closed = true
	s.texts.mu.Unlock()
	var errs []error
	for _, d := range s.texts.open() {
		if err := d.end(ctx); err != nil && !s.rows.Dropped() {
			errs = append(errs, err)
		}
		s.texts.release(d)
	}
	return errors.Join(errs...)
}

// Local facts of a text: its saved state, its draft, what can be undone.
const (
	factState = "state"
	factDraft = "draft"
	factSteps = "steps"
)

func textFacts(id record.SpaceID) string { return "text/" + id.String() + "/" }

func (d *textDoc) fact(what string) string { return textFacts(d.space.ID()) + what + d.path }

// A saved state is
//
//	version 1 | generation 8 | arrival number 8 | newest 8
//	| records: count, per arrival number, ascending, what it is above the one before
//	| lanes: count x (tag 8 | author 32) | versions: length, crdt.Context | the state that text.Save wrote
//
// with numbers as crdt.AppendUvarint writes them. One of another generation
// says nothing: the arrival numbers may be those of another copy of the store.
func (d *textDoc) save(ctx context.Context) error {
	if d.doc.Dirty() || len(d.unsent) > 0 || len(d.forked) > 0 || d.refused > 0 || d.rescan {
		return nil // it is made of records then
	}
	state, err := d.doc.Save()
	if err != nil {
		return err
	}
	generation, err := d.space.rows.Generation()
	if err != nil {
		return named(err)
	}
	b := make([]byte, 0, len(state)+4*len(d.have)+64)
	b = append(b, textStateVersion)
	for _, v := range []uint64{generation, d.version, d.newest} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = crdt.AppendUvarint(b, uint64(len(d.have)))
	last := uint64(0)
	for _, n := range d.have {
		b = crdt.AppendUvarint(b, n-last)
		last = n
	}
	b = crdt.AppendUvarint(b, uint64(len(d.authors)))
	for _, name := range slices.Sorted(maps.Keys(d.authors)) {
		author := d.authors[name]
		b = append(binary.BigEndian.AppendUint64(b, name), author[:]...)
	}
	dots := d.dots.AppendTo(nil)
	b = append(crdt.AppendUvarint(b, uint64(len(dots))), dots...)
	b = append(b, state...)
	if err := d.space.replica.store.SetFact(ctx, d.fact(factState), b); err != nil {
		return named(err)
	}
	d.behind, d.saved = 0, len(b)
	return nil
}

const textStateVersion = 1

// load takes up the saved state, or begins with nothing.
func (d *textDoc) load() {
	d.reset()
	d.doc = text.New(0)
	b, ok, err := d.space.replica.store.Fact(d.fact(factState))
	if err != nil || !ok || len(b) < 25 || b[0] != textStateVersion {
		return
	}
	generation, err := d.space.rows.Generation()
	if err != nil || binary.BigEndian.Uint64(b[1:]) != generation {
		return
	}
	newest := binary.BigEndian.Uint64(b[17:])
	rest := b[25:]
	good := true
	next := func() uint64 {
		v, n := crdt.Uvarint(rest)
		good = good && n > 0
		rest = rest[n:]
		return v
	}
	have := make([]uint64, 0, min(next(), uint64(len(rest))))
	last := uint64(0)
	for range cap(have) {
		last += next()
		have = append(have, last)
	}
	authors := map[uint64]record.Key{}
	for range next() {
		if len(rest) < 40 {
			return
		}
		authors[binary.BigEndian.Uint64(rest)] = record.Key(rest[8:40])
		rest = rest[40:]
	}
	n := next()
	if !good || n > uint64(len(rest)) {
		return
	}
	dots, err := crdt.DecodeContext(rest[:n])
	if err != nil {
		return
	}
	doc, err := text.Load(0, rest[n:])
	if err != nil {
		d.space.replica.log.Warn("saved state of a text is damaged; it is made of its records", "path", d.path, "err", err)
		return
	}
	d.doc, d.have, d.authors, d.dots, d.newest, d.saved = doc, have, authors, dots, newest, len(b)
}

// open loads the document, joins what the saved state has not, and takes up the
// draft of a run that did not end well.
func (d *textDoc) open(ctx context.Context, view *store.Snapshot) error {
	d.load()
	err := d.compare(ctx, view)
	if err == nil {
		var steps []byte
		if steps, _, err = d.space.replica.store.Fact(d.fact(factSteps)); err == nil && steps != nil {
			d.doc.SetSteps(steps)
		}
	}
	if err == nil {
		err = d.recover(ctx)
	}
	if err != nil {
		d.doc = nil
	}
	return named(err)
}

// A draft is
//
//	version 1 | author 32 | lane 8 | steps: length, bytes | deltas: count x (length, bytes)
//
// draft writes down what was typed and is no record yet.
func (d *textDoc) draft(ctx context.Context) error {
	b := append([]byte{textStateVersion}, d.author[:]...)
	b = binary.BigEndian.AppendUint64(b, d.lane)
	steps := d.doc.Steps(textSteps)
	b = append(crdt.AppendUvarint(b, uint64(len(steps))), steps...)
	for _, body := range d.volatile() {
		b = append(crdt.AppendUvarint(b, uint64(len(body))), body...)
	}
	d.loose = time.Time{}
	key, st := d.fact(factDraft), d.space.replica.store
	// A record may be written meanwhile, and this draft stay behind it: then
	// it says what is known, and is dropped.
	d.mu.Unlock()
	err := st.SetFact(ctx, key, b)
	d.mu.Lock()
	if err != nil {
		d.loose = time.Now()
	}
	return named(err)
}

// recover takes up a draft.
func (d *textDoc) recover(ctx context.Context) error {
	st := d.space.replica.store
	b, ok, err := st.Fact(d.fact(factDraft))
	if err != nil || !ok {
		return err
	}
	forget := func() error { return st.SetFact(ctx, d.fact(factDraft), nil) }
	if len(b) < 42 || b[0] != textStateVersion {
		return forget()
	}
	author, lane := record.Key(b[1:33]), binary.BigEndian.Uint64(b[33:])
	b = b[41:]
	take := func() []byte {
		n, k := crdt.Uvarint(b)
		if k == 0 || n > uint64(len(b)-k) {
			b = nil
			return nil
		}
		x := b[k : k+int(n)]
		b = b[k+int(n):]
		return x
	}
	steps := take()
	var deltas [][]byte
	for len(b) > 0 {
		if x := take(); x != nil {
			deltas = append(deltas, x)
		}
	}
	name := laneName(author, lane)
	with := text.New(0)
	for _, x := range d.doc.Since(crdt.Context{}) {
		with.Apply(x.Lane, x.Body)
	}
	news, whole := false, true
	for _, x := range deltas {
		res, err := with.Apply(name, x)
		news = news || err == nil && res.Status != text.Known
		whole = whole && err == nil && res.Status != text.Parked
	}
	if !news {
		return forget()
	}
	key := d.space.author()
	if whole && key != nil && record.Public(key) == author {
		if now, err := d.space.textLane(ctx, author, 0); err != nil {
			return err
		} else if now == lane {
			for _, x := range deltas {
				d.doc.Apply(name, x)
			}
			d.doc.SetSteps(steps)
			d.unsent, d.key, d.author, d.lane = deltas, key, author, lane
			d.edited()
			return d.doc.SetLane(name)
		}
	}
	if err := d.retype(ctx, with, name, deltas); err != nil {
		if errors.Is(err, ErrNotAuthorised) { // sealed meanwhile: the draft stays, for a later grant
			return nil
		}
		return err
	}
	return nil
}
