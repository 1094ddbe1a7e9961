package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"anabranch/attest"
	"anabranch/internal/store"
	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// diary is a replica's own log of what it attested. It survives crashes,
// because a leaf is on disk before its head is told; a copy of a disk has
// none and begins another.
type diary struct {
	attest.Log
	number uint64
	hashes []attest.Hash
	last   []byte // the newest leaf
	time   uint64
}

// C13: whoever asks what a replica holds gets an answer that proves itself,
// an honest one is never accused, and one that lies is named by evidence that
// anybody can check.

// attest signs what is in a trie, in the replica's own log.
func (r *replica) attest(trie merkle.Source, answer *attest.Answer) (*attest.Attestation, error) {
	count, digest, err := merkle.Hash(trie)
	if err != nil {
		return nil, err
	}
	if r.diary == nil {
		r.diaries++
		d := &diary{number: uint64(r.i)<<32 | r.diaries}
		d.Stored = func(at []int64) ([]attest.Hash, error) {
			out := make([]attest.Hash, len(at))
			for i, p := range at {
				out[i] = d.hashes[p]
			}
			return out, nil
		}
		r.diary = d
	}
	d := r.diary
	d.time = max(r.wall(), d.time+1)
	a := &attest.Attestation{Space: r.w.space, Time: d.time, Count: count, Trie: digest, Log: d.number, Answer: answer}
	if leaf := a.Leaf(); !slices.Equal(leaf, d.last) {
		_, hashes, err := d.Append(leaf)
		if err != nil {
			return nil, err
		}
		d.hashes, d.last = append(d.hashes, hashes...), leaf
	}
	a.Size = d.Size
	if a.Head, err = d.Head(d.Size); err != nil {
		return nil, err
	}
	a.Sign(r.key)
	return a, nil
}

// reply is what a replica answers to a query, honest or not.
func (r *replica) reply(q space.Query, nonce [16]byte, before *attest.Attestation) (a *attest.Attestation, grown []attest.Hash, body []byte, err error) {
	view, err := r.rows.Snapshot()
	if err != nil {
		return nil, nil, nil, err
	}
	defer view.Close()
	records, err := attest.Select(q, view.State(), view.List(rows(q)))
	if err != nil {
		return nil, nil, nil, err
	}
	var trie merkle.Source = view.Trie()
	if r.evil != nil {
		if trie, records, err = r.evil.reply(view, records); err != nil {
			return nil, nil, nil, err
		}
	}
	made, err := attest.NewBody(trie, records)
	if err != nil {
		return nil, nil, nil, err
	}
	if a, err = r.attest(trie, made.Describe(nonce, q)); err != nil {
		return nil, nil, nil, err
	}
	if r.evil != nil && r.evil.what == Lying {
		a.Trie[7] ^= 1 // a set that nobody holds
		a.Sign(r.key)
	}
	if before != nil && before.Log == a.Log {
		if grown, err = r.diary.Grown(before.Size, a.Size); err != nil {
			return nil, nil, nil, err
		}
	}
	return a, grown, made.Encode(), nil
}

// reply makes of an answer what this replica says: without what others
// wrote, or out of a set that lacks it.
func (e *evil) reply(view *store.Snapshot, records []*record.Verified) (merkle.Source, []*record.Verified, error) {
	theirs := func(r *record.Verified) bool { return r.Data() && r.Author != record.Public(e.r.key) }
	switch e.what {
	case Withholding:
		return view.Trie(), slices.DeleteFunc(records, theirs), nil
	case Replaying: // as if it were still what it was before others wrote
		var trie merkle.Tree
		for r, err := range view.List(store.Query{Everything: true}) {
			if err != nil {
				return nil, nil, err
			}
			if !theirs(r) {
				trie.Insert(merkle.ID(r.ID))
			}
		}
		return &trie, slices.DeleteFunc(records, theirs), nil
	}
	return view.Trie(), records, nil
}

func rows(q space.Query) store.Query { return store.Query{Prefix: q.Prefix} }

// queries are what replicas ask each other.
var queries = []space.Query{{}, {Prefix: "/c"}, {Prefix: "/log"}, {Prefix: "/a"}}

// ask asks another replica, over links as they are.
func (r *replica) ask(o *replica, which uint64) {
	w := r.w
	if !r.mayAsk(o) {
		return
	}
	q := queries[which%uint64(len(queries))]
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], uint64(w.now))
	life, theirs := r.life, o.life
	w.after(w.delay(r, o, 100), func() {
		if o.life != theirs || !r.mayAsk(o) {
			return
		}
		// The attestation that a session ends with comes first.
		if view, err := o.rows.Snapshot(); err == nil {
			if a, err := o.attest(view.Trie(), nil); err == nil {
				r.hears(o, a)
			}
			view.Close()
		}
		before := r.heard[o.i]
		a, grown, body, err := o.reply(q, nonce, before)
		if err != nil {
			if o.honest() && !errors.Is(err, store.ErrClosed) {
				w.violate("C13", "replica %d cannot answer: %v", o.i, err)
			}
			return
		}
		w.after(w.delay(o, r, len(body)), func() {
			if r.life == life && r.mayAsk(o) {
				r.judgeAnswer(o, q, nonce, before, a, grown, body)
			}
		})
	})
}

func (r *replica) mayAsk(o *replica) bool {
	w := r.w
	return r != o && r.up && o.up && !r.out && !o.out && r.honest() && w.open(r, o) && w.open(o, r) && r.mayRead(o) && o.mayRead(r)
}

// hears keeps the newest attestation of a replica.
func (r *replica) hears(o *replica, a *attest.Attestation) {
	if r.heard == nil {
		r.heard = map[int]*attest.Attestation{}
	}
	old := r.heard[o.i]
	if old != nil {
		if why := attest.Contradiction(old, a); why != "" && o.honest() {
			r.w.violate("C13", "replica %d accuses %d, which is honest: %s", r.i, o.i, why)
		}
	}
	if old == nil || old.Time < a.Time {
		r.heard[o.i] = a
	}
}

// judgeAnswer checks an answer as anybody would.
func (r *replica) judgeAnswer(o *replica, q space.Query, nonce [16]byte, before, a *attest.Attestation, grown []attest.Hash, body []byte) {
	w := r.w
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	asked := attest.Question{
		Space: w.space, Roots: w.genesis.Roots, Authors: []record.Key{record.Public(o.key)}, Nonce: nonce, Query: q,
		Before: before, Trie: view.Trie(), Records: view.List(rows(q)),
	}
	_, lacks, evidence, err := asked.Judge(a, grown, body)
	switch {
	case err != nil && o.honest():
		w.violate("C13", "replica %d drops the honest answer of %d: %v", r.i, o.i, err)
	case err != nil:
		w.sometimes("an answer that was dropped")
	case evidence == nil:
		w.sometimes("an answer that was checked")
		if len(lacks) > 0 {
			w.sometimes("an answer of a replica that was behind")
		}
		r.hears(o, a)
	default:
		r.accuse(o, view, evidence)
	}
}

// accuse has evidence checked by somebody who knows the space's name alone.
func (r *replica) accuse(o *replica, view *store.Snapshot, f *attest.File) {
	w := r.w
	f.Genesis = w.genesis.Encode()
	chain, err := attest.Chain(view.State(), f.Attestation.Author)
	if err != nil {
		return // its grant is not known here yet
	}
	for _, g := range chain {
		f.Chain = append(f.Chain, g.Bytes)
	}
	found, err := attest.Check(f.Encode(), w.space)
	switch {
	case err != nil:
		w.violate("C13", "the evidence of replica %d against %d does not check: %v", r.i, o.i, err)
	case o.honest():
		w.violate("C13", "replica %d accuses %d, which is honest: %v: %s", r.i, o.i, found.Reason, found.Detail)
	case found.Device != o.device && o.role.CloneOf == 0:
		w.violate("C13", "the evidence against replica %d names %v", o.i, found.Device)
	default:
		o.caught = true
		w.sometimes(fmt.Sprintf("a liar named: %v", found.Reason))
	}
}

// interrogate asks, in a world that has converged, every liar by somebody
// who holds what it holds, and every honest replica of a small world.
func (w *world) interrogate() {
	rs := w.present()
	if len(rs) == 0 || len(w.replicas) > 16 {
		return
	}
	for i, o := range w.replicas {
		if !o.up || o.out || o.gone {
			continue
		}
		r := rs[i%len(rs)]
		if r == o {
			r = rs[(i+1)%len(rs)]
		}
		for which := range queries {
			r.ask(o, uint64(which))
		}
	}
	w.run(w.now+w.plan.Interval, nil)
}
