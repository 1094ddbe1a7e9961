package anabranch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// documents are the mergeable documents of a space that were used lately: maps,
// sets, counters and what crdt.State holds else. A document is the join of all
// live deltas at its path.
type documents struct {
	mu    sync.Mutex // guards all; held through a write, so that no event has two numbers
	open  map[string]*document
	turn  uint64
	whole map[string]wholeFold // by path
}

// wholeFold is what all of an author's own parts came to as one, when that was
// looked at last, and what was written since, in bytes. It decides when to look
// again: a byte is read and rewritten a constant number of times for each that
// is written. It is found out anew after a start.
type wholeFold struct {
	size, since int
	at          uint64 // microseconds since 1970: when
}

// document is one of them, as of some snapshot.
type document struct {
	state   *crdt.State
	parts   map[uint64]docPart    // by arrival number: what is joined
	authors map[uint64]record.Key // who writes in a lane, by its name
	newest  uint64                // time of the newest part
	used    uint64
}

// docPart is a record that a document is made of.
type docPart struct {
	id     record.ID
	author record.Key
	size   int // of the payload; 0: no state, or a refused one
	time   uint64
}

const (
	openDocuments  = 64       // kept joined in memory
	documentRecord = 56 << 10 // bytes of a state in one record, about
)

// load is the document at a path as a snapshot has it. The caller holds mu.
//
// It costs what arrived since it was used last; all of it, when a record left.
func (ds *documents) load(view *store.Snapshot, path string) (*document, error) {
	places, err := view.Places(path, record.Delta)
	if err != nil {
		return nil, named(err)
	}
	d := ds.open[path]
	if d != nil {
		live := 0
		for _, p := range places {
			if _, ok := d.parts[p.Number]; ok {
				live++
			}
		}
		if live < len(d.parts) {
			d = nil // a join cannot take back
		}
	}
	if d == nil {
		d = &document{state: new(crdt.State), parts: map[uint64]docPart{}, authors: map[uint64]record.Key{}}
	}
	var fresh []*crdt.State
	for _, p := range places {
		if _, ok := d.parts[p.Number]; ok {
			continue
		}
		v, err := view.Arrived(p.Number)
		if err != nil {
			return nil, named(err)
		}
		part := docPart{id: v.ID, author: v.Author, time: v.Time}
		if s, err := crdt.DecodeState(v.Payload); err == nil && !v.Blob {
			fresh = append(fresh, s)
			part.size = len(v.Payload)
			d.newest = max(d.newest, v.Time)
			d.authors[laneName(v.Author, v.Lane)] = v.Author
		}
		d.parts[p.Number] = part
	}
	if len(d.parts) > len(fresh) && len(fresh) < 4 {
		for _, s := range fresh {
			d.state.Join(s)
		}
	} else if len(fresh) > 0 {
		d.state.Join(crdt.JoinAll(fresh...))
	}
	ds.keep(path, d)
	return d, nil
}

func (ds *documents) keep(path string, d *document) {
	if ds.open == nil {
		ds.open = map[string]*document{}
	}
	ds.turn++
	d.used = ds.turn
	ds.open[path] = d
	if len(ds.open) <= openDocuments {
		return
	}
	oldest := path
	for p, o := range ds.open {
		if o.used < ds.open[oldest].used {
			oldest = p
		}
	}
	delete(ds.open, oldest)
}

// hidden reports whether a newer Put or Delete stands over the document.
func (d *document) hidden(view *store.Snapshot, path string) (bool, error) {
	doc, err := view.Newest(path, record.Doc)
	return doc > d.newest, named(err)
}

// Update is several changes of mergeable documents at once: all of them become
// durable together, or none.
type Update struct {
	space  *Space
	view   *store.Snapshot
	writer crdt.Writer
	docs   map[string]*document
	deltas map[string]*crdt.State
	order  []string // of paths that were changed
	ended  bool
}

// Update runs f, whose changes are made with the handles that u gives: they
// see each other, nobody else sees half of them, and they are durable, all of
// them, when Update returns nil. When f returns an error nothing has happened.
// f may be run more than once, and must use no handle but u's. The records are
// in the order in which documents were changed first.
//
// Errors worth matching: ErrNotAuthorised, *TimeExhaustedError, crdt.ErrRange,
// record.ErrMalformed, and those of f.
func (s *Space) Update(ctx context.Context, f func(u *Update) error) ([]*Record, error) {
	key := s.author()
	if key == nil {
		return nil, fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, s.Name())
	}
	s.docs.mu.Lock()
	defer s.docs.mu.Unlock()
	var avoid uint64
	for tries := 0; ; tries++ {
		lane, err := s.textLane(ctx, record.Public(key), avoid)
		if err != nil {
			return nil, err
		}
		written, paths, err := s.update(ctx, key, lane, f)
		if err == nil {
			for _, v := range written {
				if w, ok := s.docs.whole[v.Path]; ok {
					w.since += len(v.Payload)
					s.docs.whole[v.Path] = w
				}
			}
			for _, path := range paths {
				if err := s.fold(ctx, key, path); err != nil && ctx.Err() == nil {
					s.replica.log.Warn("fold failed", "space", s.ID(), "path", path, "err", err)
				}
			}
			return written, nil
		}
		for _, path := range paths {
			delete(s.docs.open, path) // it has what is not written
		}
		switch {
		case errors.Is(err, store.ErrLaneLeft) && tries < 3:
			s.texts.left(record.Public(key), lane)
		case errors.Is(err, crdt.ErrExhausted) && tries < 3:
			avoid = lane
		default:
			return nil, err
		}
	}
}

// update tries an Update in one lane. paths are the documents it changed.
func (s *Space) update(ctx context.Context, key ed25519.PrivateKey, lane uint64, f func(u *Update) error) (written []*Record, paths []string, err error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := s.replica.now()
	u := &Update{
		space: s, view: view, writer: crdt.Writer{Lane: laneName(record.Public(key), lane), Time: max(1, min(now, crdt.MaxTime))},
		docs: map[string]*document{}, deltas: map[string]*crdt.State{},
	}
	err = f(u)
	u.ended = true
	view.Close()
	if err != nil {
		return nil, u.order, err
	}
	var drafts []store.Draft
	for _, path := range u.order {
		for _, part := range u.deltas[path].Split(documentRecord) {
			drafts = append(drafts, store.Draft{Kind: record.Delta, Path: path, Payload: part.AppendTo(nil)})
		}
	}
	if len(drafts) == 0 {
		return nil, nil, nil
	}
	written, err = s.rows.WriteIn(ctx, key, lane, now, nil, drafts...)
	if err != nil {
		err = fmt.Errorf("anabranch: write to %q: %w", s.Name(), named(err))
	}
	return written, u.order, err
}

// document is the document at a path, with what the Update has changed.
func (u *Update) document(path string) (*document, error) {
	if u.ended {
		return nil, errors.New("anabranch: the update has ended")
	}
	if d := u.docs[path]; d != nil {
		return d, nil
	}
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	d, err := u.space.docs.load(u.view, path)
	if err == nil {
		u.docs[path] = d
	}
	return d, err
}

// apply makes one change.
func (u *Update) apply(path string, f func(*crdt.State, crdt.Writer) (*crdt.State, error)) error {
	d, err := u.document(path)
	if err != nil {
		return err
	}
	if u.deltas[path] == nil {
		u.deltas[path] = new(crdt.State)
		u.order = append(u.order, path)
		hidden, err := d.hidden(u.view, path)
		if err != nil {
			return err
		}
		if hidden { // what was there has ended
			delta, err := d.state.Clear(u.writer, wipe)
			if err != nil {
				return err
			}
			d.state.Join(delta)
			u.deltas[path].Join(delta)
		}
	}
	delta, err := f(d.state, u.writer)
	if err != nil {
		return err
	}
	d.state.Join(delta)
	u.deltas[path].Join(delta)
	if u.deltas[path].IsEmpty() { // nothing to say
		delete(u.deltas, path)
		u.order = u.order[:len(u.order)-1]
	}
	return nil
}

// view runs f on the document at a path. ErrNotFound if there is none, or if
// a newer Put or Delete stands over it.
func (s *Space) view(ctx context.Context, path string, f func(*document) error) error {
	if err := record.CheckPath(path); err != nil {
		return err
	}
	s.docs.mu.Lock()
	defer s.docs.mu.Unlock()
	view, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	d, err := s.docs.load(view, path)
	if err != nil {
		return err
	}
	hidden, err := d.hidden(view, path)
	if err != nil {
		return err
	}
	if hidden || d.state.IsEmpty() {
		return fmt.Errorf("%w: no map, set, counter, flag, log or register at %q", ErrNotFound, path)
	}
	return f(d)
}

// textOf is a text that lies in a map.
func textOf(lane uint64, parts []crdt.Part) (*text.Doc, error) {
	list := make([]text.Part, len(parts))
	for i, p := range parts {
		list[i] = text.Part{Lane: p.Dot.Lane, Number: p.Dot.Number, Body: p.Delta}
	}
	doc, _, err := text.Build(lane, list)
	return doc, err
}

// wipe deletes all characters of a text that lies in a map.
func wipe(lane uint64, parts []crdt.Part) ([]byte, error) {
	doc, err := textOf(lane, parts)
	if err != nil || doc.Len() == 0 {
		return nil, err
	}
	if err := doc.Delete(0, doc.Len()); err != nil {
		return nil, err
	}
	if deltas := doc.Flush(crdt.MaxValue); len(deltas) == 1 {
		return deltas[0], nil
	}
	return nil, fmt.Errorf("%w: a text of too many pieces to be deleted at once", crdt.ErrRange)
}
