package anabranch

import (
	"context"
	"crypto/ed25519"
	"maps"
	"slices"

	"anabranch/crdt"
	"anabranch/internal/store"
	"anabranch/record"
)

const (
	foldTier  = 16       // own records of about one size that become one
	foldWhole = 16 << 10 // bytes of own records up to which all of them do
)

// tier is the class of sizes that a record is folded with: each byte is
// rewritten once a class. Records of the last class are full.
func tier(size int) int {
	t := 0
	for limit := 512; size > limit && t < 2; limit *= foldTier {
		t++
	}
	return t
}

// fold replaces deltas that this device wrote at a path by one that says the
// same, when there are enough of one size, and sweeps them. The fold is
// durable before the sweep is written; if that is cut short, the next one
// folds them again. The caller holds docs.mu.
func (s *Space) fold(ctx context.Context, key ed25519.PrivateKey, path string) error {
	if s.replica.options.SweepDelay < 0 {
		return nil
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer view.Close()
	d, err := s.docs.load(view, path)
	if err != nil {
		return err
	}
	me := record.Public(key)
	var counts [3]int
	bytes, due := 0, -1
	for _, p := range d.parts {
		if p.author == me && p.size > 0 {
			t := tier(p.size)
			counts[t]++
			bytes += p.size
			if t < 2 && counts[t] >= foldTier {
				due = max(due, t)
			}
		}
	}
	if due < 0 {
		return nil
	}
	if ds := &s.docs; ds.whole == nil {
		ds.whole = map[string]wholeFold{}
	}
	last := s.docs.whole[path]
	whole := bytes <= foldWhole || bytes > last.size*3/2 || due == 1 && last.since > last.size/4
	old, fold, drafts, err := s.folded(view, d, path, me, due, whole)
	if err == nil && whole && bytes > foldWhole {
		size := 0
		for _, x := range drafts {
			size += len(x.Payload)
		}
		if bytes < size+size/2 { // too little would be gained by rewriting what is full
			old, fold, drafts, err = s.folded(view, d, path, me, due, false)
		}
		s.docs.whole[path] = wholeFold{size: size}
	}
	if err != nil {
		return err
	}
	if fold.IsEmpty() || len(drafts) >= len(old) {
		return nil
	}
	if _, err := s.rows.Write(ctx, key, s.replica.now(), drafts...); err != nil {
		return named(err)
	}
	if err := s.rows.Remove(ctx, key, s.replica.now(), old...); err != nil {
		delete(s.docs.open, path)
		return named(err)
	}
	// The document says what it said: what is gone is in the fold, which is
	// joined when it is looked at next, or in parts that stay.
	maps.DeleteFunc(d.parts, func(_ uint64, p docPart) bool { return slices.Contains(old, p.id) })
	return nil
}

// folded is the fold of an author's parts: of the classes up to due, or of all
// of them. A whole one leaves out what others have removed for longer than the
// history window, and removals that their events' own authors say, too. What
// nobody else says stays: own events and their dots, and removals of others'.
func (s *Space) folded(view *store.Snapshot, d *document, path string, me record.Key, due int, whole bool) (old []record.ID, fold *crdt.State, drafts []store.Draft, err error) {
	window := uint64(max(0, s.replica.options.HistoryWindow.Microseconds()))
	now := s.replica.now()
	settled := now - min(now, window)
	var mine []*crdt.State
	others := map[record.Key]*crdt.State{}
	for n, p := range d.parts {
		switch {
		case p.size == 0:
			continue
		case p.author != me && (!whole || p.time > settled):
			continue
		case p.author == me && !whole && tier(p.size) > due:
			continue
		}
		v, err := view.Arrived(n)
		if err != nil {
			return nil, nil, nil, named(err)
		}
		state, err := crdt.DecodeState(v.Payload)
		if err != nil {
			return nil, nil, nil, err
		}
		if p.author == me {
			old, mine = append(old, p.id), append(mine, state)
			continue
		}
		if others[p.author] == nil {
			others[p.author] = new(crdt.State)
		}
		others[p.author].Join(state)
	}
	if whole {
		said := make([]crdt.Said, 0, len(others))
		for author, state := range others {
			said = append(said, crdt.Said{State: state, Owns: func(lane uint64) bool { return d.authors[lane] == author }})
		}
		fold = crdt.Fold(mine, said...)
	} else {
		fold = crdt.JoinAll(mine...)
	}
	for _, part := range fold.Split(documentRecord) {
		drafts = append(drafts, store.Draft{Kind: record.Delta, Path: path, Payload: part.AppendTo(nil)})
	}
	return old, fold, drafts, nil
}
