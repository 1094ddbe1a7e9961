package anabranch

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// textDoc is the materialised document of one path: a cache of what its live
// deltas join to, with the arrival number up to which it has them, and the
// edits made here that are not records yet.
type textDoc struct {
	space *Space
	path  string
	refs  int       // guarded by texts.mu
	used  time.Time // guarded by texts.mu

	mu      sync.Mutex // guards all below
	doc     *text.Doc  // nil: not loaded yet
	version uint64     // of the snapshot that it was brought up to
	rescan  bool       // compare all places next time
	have    []uint64   // arrival numbers of the records that are in doc, ascending
	dots    crdt.Context
	authors map[uint64]record.Key // by lane tag
	forked  []uint64
	refused int

	newest uint64 // time of the newest delta here
	shadow uint64 // time of a doc that is newer than every delta; 0: none
	begun  uint64 // the shadow that an edit here has begun the text anew from

	author record.Key // whose lane doc writes in
	lane   uint64
	key    ed25519.PrivateKey

	unsent  [][]byte           // deltas of the lane that are closed and not written
	own     map[record.ID]bool // written here, and not met in the log yet
	since   time.Time          // the first edit that is in no record; zero: none
	last    time.Time          // the last one
	loose   time.Time          // the first one that is in no draft; zero: none
	retry   time.Time          // not before
	writing chan struct{}      // closed when the write under way has ended; nil: none is
	avoid   uint64             // the lane that was left
	behind  int                // records joined since the state was saved
	saved   int                // bytes of the saved state
	wrote   int                // records written here since the last look at folding

	subs    map[*textSub]bool
	changes []text.Patch // since the last publish, while somebody subscribes
	feeds   map[*textFeed]bool
}

func laneName(author record.Key, lane uint64) uint64 {
	tag := record.LaneTag(author, lane)
	return binary.BigEndian.Uint64(tag[:])
}

// readsAsText reports whether the newest of the docs and deltas at a path is a
// delta of a text.
func readsAsText(view *store.Snapshot, path string) (bool, error) {
	if is, err := readsAsDelta(view, path); !is || err != nil {
		return false, err
	}
	places, err := view.Places(path, record.Delta)
	if err != nil || len(places) == 0 {
		return false, named(err)
	}
	newest, err := view.Arrived(places[len(places)-1].Number)
	return err == nil && !crdt.IsState(newest.Payload), named(err)
}

// readsAsDelta reports whether the newest of the docs and deltas at a path is a
// delta: of a text, or of another mergeable document.
func readsAsDelta(view *store.Snapshot, path string) (bool, error) {
	delta, err := view.Newest(path, record.Delta)
	if err != nil || delta == 0 {
		return false, named(err)
	}
	doc, err := view.Newest(path, record.Doc)
	return delta >= doc, named(err)
}

// hidden reports whether the path does not read as this text.
func (d *textDoc) hidden() bool {
	if d.dirty() || d.shadow != 0 && d.begun == d.shadow {
		return false
	}
	return d.shadow != 0 || len(d.have) == 0
}

func (d *textDoc) dirty() bool { return len(d.unsent) > 0 || d.doc.Dirty() }

// errWriting says that a record is being written: what is to be done must wait.
var errWriting = errors.New("anabranch: a text is being written")

// bring joins what arrived since, and loads the document the first time.
func (d *textDoc) bring(ctx context.Context) error {
	for {
		err := d.catchUp(ctx)
		if err != errWriting {
			return err
		}
		d.wait()
	}
}

// wait lets the write that is under way end.
func (d *textDoc) wait() {
	for d.writing != nil {
		w := d.writing
		d.mu.Unlock()
		<-w
		d.mu.Lock()
	}
}

func (d *textDoc) catchUp(ctx context.Context) error {
	view, err := d.space.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	if d.doc == nil {
		return d.open(ctx, view)
	}
	if view.Version() == d.version {
		return nil
	}
	if d.rescan || view.Version()-d.version > uint64(len(d.have))+256 || !view.Complete(d.version) {
		return d.compare(ctx, view)
	}
	var fresh []*record.Verified
	var numbers []uint64
	for a, err := range view.Since(d.version) {
		switch {
		case err != nil:
			return named(err)
		case a.Record == nil:
			if _, ok := slices.BinarySearch(d.have, a.Old); ok {
				return d.compare(ctx, view)
			}
		case a.Record.Kind == record.Delta && a.Record.Path == d.path:
			fresh, numbers = append(fresh, a.Record), append(numbers, a.Number)
		}
	}
	return d.take(ctx, view, fresh, numbers)
}

// compare finds by the path order what came and went.
func (d *textDoc) compare(ctx context.Context, view *store.Snapshot) error {
	places, err := view.Places(d.path, record.Delta)
	if err != nil {
		return named(err)
	}
	live := make(map[uint64]bool, len(places))
	var fresh []*record.Verified
	var numbers []uint64
	for _, p := range places {
		live[p.Number] = true
		if _, ok := slices.BinarySearch(d.have, p.Number); ok {
			continue
		}
		v, err := view.Arrived(p.Number)
		if err != nil {
			return named(err)
		}
		fresh, numbers = append(fresh, v), append(numbers, p.Number)
	}
	d.rescan = false
	for _, n := range d.have {
		if !live[n] {
			return d.rebuild(ctx, view)
		}
	}
	return d.take(ctx, view, fresh, numbers)
}

// take joins records that arrived.
func (d *textDoc) take(ctx context.Context, view *store.Snapshot, fresh []*record.Verified, numbers []uint64) error {
	for i, v := range fresh {
		name := laneName(v.Author, v.Lane)
		if d.own[v.ID] {
			delete(d.own, v.ID)
			d.fed(v)
		} else {
			res, err := d.join(v)
			var fork *text.ForkError
			switch {
			case errors.As(err, &fork) || len(res.Refused) > 0 || len(d.forked) > 0:
				slices.Sort(d.have)
				d.rescan = true // if it cannot be done now
				return d.rebuild(ctx, view)
			case errors.Is(err, text.ErrParkFull):
				d.rescan = true
				continue
			case err != nil:
				d.refused++
			default:
				d.fed(v)
			}
			d.publish(TextRemote, v.Author)
		}
		d.note(v, name, numbers[i])
		d.behind++
	}
	slices.Sort(d.have)
	if len(fresh) > 0 {
		d.stir()
	}
	return d.settle(view)
}

// note counts a record as included.
func (d *textDoc) note(v *record.Verified, name uint64, number uint64) {
	d.have = append(d.have, number)
	addDots(&d.dots, v)
	d.authors[name] = v.Author
	d.newest = max(d.newest, v.Time)
}

func (d *textDoc) join(v *record.Verified) (text.Result, error) {
	parts, err := textParts(v)
	if err != nil {
		return text.Result{}, err
	}
	return applyParts(d.doc, parts)
}

// settle makes the document one of a snapshot's version.
func (d *textDoc) settle(view *store.Snapshot) error {
	doc, err := view.Newest(d.path, record.Doc)
	if err != nil {
		return named(err)
	}
	d.shadow = 0
	if doc > d.newest {
		d.shadow = doc
	}
	d.version = view.Version()
	return nil
}

// rebuild makes the document of the live records again: one left, and a join
// cannot take back; or a lane is forked, and what counts must not depend on
// arrival. What was typed here and is no record yet is typed again.
func (d *textDoc) rebuild(ctx context.Context, view *store.Snapshot) error {
	places, err := view.Places(d.path, record.Delta)
	if err != nil {
		return named(err)
	}
	records := make([]*record.Verified, len(places))
	for i, p := range places {
		if records[i], err = view.Arrived(p.Number); err != nil {
			return named(err)
		}
	}
	if d.writing != nil {
		return errWriting // what is unsent may be a record any moment
	}
	d.rescan = false
	old, own, unsent, steps := d.doc, d.doc.Lane(), d.volatile(), d.doc.Steps(textSteps)
	d.reset()
	d.doc, d.forked, d.refused = d.make(records)
	for i, v := range records {
		d.note(v, laneName(v.Author, v.Lane), places[i].Number)
	}
	slices.Sort(d.have)
	if err := d.settle(view); err != nil {
		return err
	}
	d.behind = len(d.have)
	err = d.resume(ctx, old, own, unsent, func() { d.doc, _, _ = d.make(records) })
	if errors.Is(err, ErrNotAuthorised) {
		d.space.replica.log.Warn("what was typed into a text cannot be written: this device may not any more", "path", d.path)
	} else if err != nil {
		return err
	}
	d.doc.SetSteps(steps) // what it says of characters that are gone is left out
	d.diffs(old)
	return nil
}

// resume goes on in a lane after the document was made anew, if that is
// possible. undo makes the document what it was when resume was called.
func (d *textDoc) resume(ctx context.Context, old *text.Doc, own uint64, unsent [][]byte, undo func()) error {
	d.unsent = nil
	if own == 0 {
		return nil
	}
	for _, b := range unsent {
		if res, err := d.doc.Apply(own, b); err != nil || res.Status == text.Parked {
			undo()
			return d.retype(ctx, old, own, unsent)
		}
	}
	if d.doc.Version().Next(own) < old.Version().Next(own) {
		d.leaveLane() // of records that left, and may come back
		return nil
	}
	d.unsent = unsent
	return d.doc.SetLane(own)
}

// make joins records, in the order of their times if no lane is forked, and
// else as all replicas agree to.
func (d *textDoc) make(records []*record.Verified) (doc *text.Doc, forked []uint64, refused int) {
	doc = text.New(0)
	var parts []text.Part
	plain := true
	for _, v := range records {
		of, err := textParts(v)
		if err != nil {
			refused++
			continue
		}
		parts = append(parts, of...)
		res, err := applyParts(doc, of)
		var format *text.FormatError
		switch {
		case errors.As(err, &format):
			refused++
		case err != nil || len(res.Refused) > 0:
			plain = false
		}
	}
	if plain {
		return doc, nil, refused
	}
	doc, forks, _ := text.Build(0, parts) // what finds no room to wait is given again by compare
	for _, f := range forks {
		forked = append(forked, f.Err.Dot.Lane)
	}
	slices.Sort(forked)
	return doc, slices.Compact(forked), refused
}

// reset forgets what is included.
func (d *textDoc) reset() {
	d.have, d.dots, d.authors, d.newest = nil, crdt.Context{}, map[uint64]record.Key{}, 0
	d.forked, d.refused, d.own = nil, 0, map[record.ID]bool{}
}

// volatile is what was typed and is no record yet, as deltas of the lane.
func (d *textDoc) volatile() [][]byte {
	return append(slices.Clone(d.unsent), d.doc.Draft(textDelta)...)
}

// all are the live deltas here, by (time, ID).
func (d *textDoc) all(ctx context.Context) ([]*record.Verified, error) {
	view, err := d.space.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	places, err := view.Places(d.path, record.Delta)
	if err != nil {
		return nil, named(err)
	}
	out := make([]*record.Verified, len(places))
	for i, p := range places {
		if out[i], err = view.Arrived(p.Number); err != nil {
			return nil, named(err)
		}
	}
	slices.SortFunc(out, func(a, b *record.Verified) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), a.ID.Compare(b.ID))
	})
	return out, nil
}

// leftOut is the deltas that do not count, on every replica, because their lane
// says something else at one of their dots.
func (d *textDoc) leftOut(all []*record.Verified) map[string]bool {
	if len(d.forked) == 0 {
		return nil
	}
	var parts []text.Part
	for _, v := range all {
		if of, err := textParts(v); err == nil {
			parts = append(parts, of...)
		}
	}
	left := map[string]bool{}
	_, forks, _ := text.Build(0, parts) // forks are known even if too much waits
	for _, f := range forks {
		left[partKey(f.Lane, f.Delta)] = true
	}
	return left
}

func partKey(lane uint64, delta []byte) string {
	return string(binary.BigEndian.AppendUint64(nil, lane)) + string(delta)
}

func (d *textDoc) history(ctx context.Context, limit int) ([]TextEvent, error) {
	all, err := d.all(ctx)
	if err != nil {
		return nil, err
	}
	left := d.leftOut(all)
	doc := text.New(0)
	var dots crdt.Context
	var out []TextEvent
	for i, v := range all {
		e := TextEvent{Record: v}
		doc.Watch(func(p text.Patch) {
			e.Inserted += utf8.RuneCountInString(p.Text)
			e.Deleted += p.Delete
		})
		parts, err := textParts(v)
		e.Forked = slices.ContainsFunc(parts, func(p text.Part) bool { return slices.Contains(d.forked, p.Lane) })
		parts = slices.DeleteFunc(parts, func(p text.Part) bool { return left[partKey(p.Lane, p.Body)] })
		var res text.Result
		if err == nil {
			res, err = applyParts(doc, parts)
		}
		e.Refused, e.Waits, e.Folds = err != nil || len(parts) == 0, res.Status == text.Parked, foldedRecords(v)
		addDots(&dots, v)
		if limit <= 0 || i >= len(all)-limit {
			e.Version = TextVersion{dots.Clone()}
			out = append(out, e)
		}
	}
	return out, nil
}
