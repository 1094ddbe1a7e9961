package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"math"
	"slices"

	"anabranch/record"
	"anabranch/space"
)

// Draft is a data record to be written: the store chooses lane, number, time
// and what it replaces.
type Draft struct {
	Kind    record.Kind
	Path    string
	Payload []byte
	Deleted bool // doc: the document is absent from here on
	Blob    bool
	Expires uint64 // microseconds since 1970; 0 means never
}

// Write signs and commits drafts, all of them or none. now is the clock in
// microseconds; a record's time is later than every live record at its path,
// and by a microsecond than that of the one written before it.
// The caller's own older docs at a path become pending kills.
//
// Errors worth matching: ErrNotAuthorised (nothing is stored then),
// *TimeExhaustedError, record.ErrMalformed.
func (sp *Space) Write(ctx context.Context, author ed25519.PrivateKey, now uint64, drafts ...Draft) ([]*record.Verified, error) {
	sp.KeepAuthor(record.Public(author))
	size := 0
	for _, d := range drafts {
		size += len(d.Payload) + recordRows
	}
	var out []*record.Verified
	run := func(c *commit) error {
		w := c.work(sp)
		written := make([]*record.Verified, 0, len(drafts))
		for _, d := range drafts {
			r, err := w.write(author, now, d)
			if err != nil {
				return fmt.Errorf("write %s: %w", d.Path, err)
			}
			written = append(written, r)
		}
		out = written
		return nil
	}
	err := sp.store.ask(&request{ctx: ctx, bytes: size, run: run, done: make(chan error, 1), drafts: true, adds: true, written: drafts, space: sp})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// write makes a draft a member. The record that is returned is signed, and
// its rows that hang on the signature are written, by commit.sign.
func (w *work) write(key ed25519.PrivateKey, now uint64, d Draft) (*record.Verified, error) {
	r := record.Record{
		Kind: d.Kind, Path: d.Path, Payload: d.Payload, Deleted: d.Deleted, Blob: d.Blob,
		Expires: d.Expires, Author: record.Public(key),
	}
	if !r.Data() {
		return nil, fmt.Errorf("%w: a %v is not written by a draft", record.ErrMalformed, d.Kind)
	}
	if err := record.CheckPath(d.Path); err != nil {
		return nil, err
	}
	var first bool
	var err error
	if r.Time, first, err = w.writeTime(d.Path, now); err != nil {
		return nil, err
	}
	if first && d.Kind != record.Doc {
		w.space.blanks.miss() // of a doc, the vector says so
	}
	own, err := w.ownLane(r.Author)
	if err != nil {
		return nil, err
	}
	r.Lane, r.Seq = own.lane, own.high+1
	if d.Kind == record.Doc {
		if r.Replaces, err = w.replaces(d.Path, record.LaneTag(r.Author, r.Lane)); err != nil {
			return nil, err
		}
	}
	if err := r.Check(); err != nil {
		return nil, err
	}
	// No seal lists an ID that nobody can know yet, so any other unknown one
	// is judged alike.
	v := &record.Verified{Record: r, ID: w.c.store.stranger}
	if w.judge(v) != space.Member {
		return nil, fmt.Errorf("%w: author %v", ErrNotAuthorised, v.Author)
	}
	w.own[v.Author] = ownLane{v.Lane, v.Seq}
	w.version++
	if err := w.order(v); err != nil {
		return nil, err
	}
	w.c.drafts = append(w.c.drafts, unsigned{w, key, w.version, v})
	w.drafts[w.version] = v
	if d.Kind == record.Doc && (d.Deleted || !first) {
		return v, w.pend(v, w.version)
	}
	return v, nil
}

// arrival is the record that entered at n. Of one that is not signed yet, the
// ID is not to be used.
func (w *work) arrival(n uint64) (*record.Verified, error) {
	if v := w.drafts[n]; v != nil {
		return v, nil
	}
	return w.space.readArrival(w.c.tx, n)
}

// newest is the greatest time among live records at a path, and the arrival
// number of one that has it; 0 if there is none. It takes one seek for each
// kind that is there.
func (w *work) newest(path string) (t, n uint64, err error) {
	if w.space.blanks.has(path) {
		return 0, 0, nil
	}
	lo := pathPrefix(w.s, path)
	hi := successor(lo)
	for {
		x, err := w.c.tx.last(lo, hi)
		if err != nil || x.key == nil {
			return t, n, err
		}
		e, err := decodePath(x.key, x.value)
		if err != nil {
			return 0, 0, err
		}
		if e.time > t {
			t, n = e.time, e.n
		}
		hi = kindPrefix(w.s, path, e.kind)
	}
}

// mostAhead is how far, in microseconds, times that are written here may run
// ahead of the clock so that no two of them are equal.
const mostAhead = 1_000_000

// writeTime is the time of a record that is written now, and whether it is
// the first at its path. What is written one after the other, also in one
// batch, has ascending times: so a lane's records come in the order of their
// numbers wherever they are read by time, which costs half as much as any
// other.
func (w *work) writeTime(path string, now uint64) (at uint64, first bool, err error) {
	t, n, err := w.newest(path)
	if err != nil {
		return 0, false, err
	}
	if t >= record.MaxTime {
		r, err := w.arrival(n)
		if err == nil && w.drafts[n] != nil {
			r, err = record.Sign(w.space.id, w.draftKey(n), r.Record) // the same ID again when it is signed to stay
		}
		if err != nil {
			return 0, false, err
		}
		return 0, false, &TimeExhaustedError{Path: path, Record: r.ID, Author: r.Author}
	}
	at = max(now, t+1)
	if last := w.space.wrote; at <= last && last-at < mostAhead && last < record.MaxTime {
		at = last + 1
	}
	w.space.wrote = at
	return at, n == 0, nil
}

// ownLane is the lane in which an author writes here: the one of the lease,
// or a fresh random one. Nothing is written at a number that a sweep covers.
func (w *work) ownLane(k record.Key) (ownLane, error) {
	own, ok := w.own[k]
	if !ok {
		own = w.space.lanes[k]
	}
	if own.lane != 0 && own.high < math.MaxUint32 && !w.law.Swept(k, own.lane, own.high+1) {
		return own, nil
	}
	a := w.c.author(k)
	for {
		own = ownLane{lane: w.c.store.randomNumber()}
		b, err := w.c.tx.get(laneKey(w.s, a, own.lane))
		if err != nil {
			return ownLane{}, err
		}
		if b == nil && !w.law.Swept(k, own.lane, 1) {
			break
		}
	}
	w.c.tx.set(metaGeneration(w.s), u64(nil, w.c.store.randomNumber()))
	w.own[k] = own
	return own, nil
}

// remember merges a doc into its path's vector: what a doc that is written
// here later replaces. The vector outlives the docs. A blank path has none.
func (w *work) remember(r *record.Verified, blank bool) error {
	key := vectorKey(w.s, r.Path)
	var b []byte
	var err error
	if !blank {
		if b, err = w.c.tx.get(key); err != nil {
			return err
		}
		if b == nil {
			w.space.blanks.miss()
		}
	}
	v, err := decodeVector(key, b)
	if err != nil {
		return err
	}
	v = mergeVector(v, r)
	w.c.tx.set(key, encodeVector(v))
	return nil
}

// mergeVector keeps one entry more than a doc can carry, since a writer
// leaves out its own lane: those set by the newest docs.
func mergeVector(v []seen, r *record.Verified) []seen {
	add := func(tag record.Tag, number uint32) {
		i, found := slices.BinarySearchFunc(v, tag, func(e seen, t record.Tag) int { return bytes.Compare(e.tag[:], t[:]) })
		switch {
		case !found:
			v = slices.Insert(v, i, seen{tag, number, r.Time})
		case v[i].number < number:
			v[i].number = number
			fallthrough
		default:
			v[i].time = max(v[i].time, r.Time)
		}
	}
	add(record.LaneTag(r.Author, r.Lane), r.Seq)
	for _, e := range r.Replaces {
		add(e.Lane, e.Number)
	}
	return newestEntries(v, keptVector)
}

// newestEntries keeps the n entries set by the newest docs, in order of tag.
func newestEntries(v []seen, n int) []seen {
	if len(v) <= n {
		return v
	}
	v = slices.Clone(v)
	slices.SortFunc(v, func(a, b seen) int {
		return cmp.Or(cmp.Compare(b.time, a.time), bytes.Compare(a.tag[:], b.tag[:]))
	})
	v = v[:n]
	slices.SortFunc(v, func(a, b seen) int { return bytes.Compare(a.tag[:], b.tag[:]) })
	return v
}

// replaces is the vector of a doc that is written now in a lane.
func (w *work) replaces(path string, own record.Tag) ([]record.Replaced, error) {
	if w.space.blanks.has(path) {
		return nil, nil
	}
	key := vectorKey(w.s, path)
	b, err := w.c.tx.get(key)
	if err != nil {
		return nil, err
	}
	v, err := decodeVector(key, b)
	if err != nil {
		return nil, err
	}
	v = slices.DeleteFunc(v, func(e seen) bool { return e.tag == own })
	var out []record.Replaced
	for _, e := range newestEntries(v, record.MaxReplaces) {
		out = append(out, record.Replaced{Lane: e.tag, Number: e.number})
	}
	return out, nil
}

// Issue signs and commits control records, all of them or none.
// ErrNotAuthorised says that one of them would not stand here.
func (sp *Space) Issue(ctx context.Context, key ed25519.PrivateKey, now uint64, area string, bodies ...record.ControlBody) ([]*record.Verified, error) {
	return sp.IssueWithFacts(ctx, key, now, area, nil, bodies...)
}

// IssueWithFact is Issue and SetFact in one batch.
func (sp *Space) IssueWithFact(ctx context.Context, key ed25519.PrivateKey, now uint64, area, fact string, value []byte, bodies ...record.ControlBody) ([]*record.Verified, error) {
	return sp.IssueWithFacts(ctx, key, now, area, []FactOp{{Key: fact, Value: value}}, bodies...)
}

// IssueWithFacts is Issue and changes of facts in one batch.
func (sp *Space) IssueWithFacts(ctx context.Context, key ed25519.PrivateKey, now uint64, area string, facts []FactOp, bodies ...record.ControlBody) ([]*record.Verified, error) {
	sp.KeepAuthor(record.Public(key))
	out := make([]*record.Verified, len(bodies))
	size := 0
	for i := range bodies {
		r := record.Record{Kind: record.Control, Time: now, Path: area, Payload: bodies[i].Payload()}
		var err error
		if out[i], err = record.Sign(sp.id, key, r); err != nil {
			return nil, err
		}
		size += len(out[i].Bytes)
	}
	err := sp.store.add(ctx, size, func(c *commit) error {
		w := c.work(sp)
		for _, op := range facts {
			if err := c.fact(op); err != nil {
				return err
			}
		}
		return w.issue(out)
	})
	if err != nil {
		return nil, fmt.Errorf("issue in %s: %w", area, err)
	}
	return out, nil
}

// issue commits control records or sweeps that were signed here.
func (w *work) issue(rs []*record.Verified) error {
	if err := w.settle(w.mutableLaw().Insert(rs...)); err != nil {
		return err
	}
	for _, r := range rs {
		if w.judge(r) == space.Held {
			return fmt.Errorf("%w: author %v", ErrNotAuthorised, r.Author)
		}
		b, err := w.c.tx.get(idKey(tableID, w.s, r.ID))
		if err != nil {
			return err
		}
		if b == nil { // a sweep that says nothing new
			if _, err := w.place(r, space.Dead); err != nil {
				return err
			}
		}
	}
	return nil
}
