package anabranch

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
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
	now, window := s.replica.now(), uint64(max(0, s.replica.options.HistoryWindow.Microseconds()))
	whole := bytes <= foldWhole || bytes > last.size*3/2 || due == 1 && last.since > last.size/4 || now-min(now, last.at) >= window
	old, fold, drafts, err := s.folded(ctx, view, d, path, me, due, whole)
	if err == nil && whole && bytes > foldWhole {
		size := 0
		for _, x := range drafts {
			size += len(x.Payload)
		}
		if bytes < size+size/2 { // too little would be gained by rewriting what is full
			old, fold, drafts, err = s.folded(ctx, view, d, path, me, due, false)
		}
		s.docs.whole[path] = wholeFold{size: size, at: now}
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
// history window, and removals that their events' own authors have said for as
// long. What nobody else says stays: own events and their dots, and removals of
// others'.
func (s *Space) folded(ctx context.Context, view *store.Snapshot, d *document, path string, me record.Key, due int, whole bool) (old []record.ID, fold *crdt.State, drafts []store.Draft, err error) {
	var mine []*crdt.State
	others := map[record.Key][]*crdt.State{}
	for n, p := range d.parts {
		switch {
		case p.size == 0 || p.author != me && !whole || p.author == me && !whole && tier(p.size) > due:
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
		} else {
			others[p.author] = append(others[p.author], state)
		}
	}
	fold = crdt.JoinAll(mine...)
	if whole {
		said := make([]crdt.Said, 0, len(others))
		for author, states := range others {
			said = append(said, crdt.Said{State: crdt.JoinAll(states...), Owns: func(lane uint64) bool { return d.authors[lane] == author }})
		}
		removed, owned := crdt.Removals(said...)
		removed, owned, err = s.settledRemovals(ctx, path, removed, owned)
		if err != nil {
			return nil, nil, nil, err
		}
		fold.Adopt(removed)
		fold.Forget(owned)
	}
	for _, part := range fold.Split(documentRecord) {
		drafts = append(drafts, store.Draft{Kind: record.Delta, Path: path, Payload: part.AppendTo(nil)})
	}
	return old, fold, drafts, nil
}

// documentFacts is how the keys of a space's local facts about documents begin.
func documentFacts(id record.SpaceID) string { return "document/" + id.String() + "/" }

const removalsVersion = 1

// settledRemovals are those of the removals that others say now which they
// have said for longer than the history window. How long is known from a local
// fact, written when there is none or the one there has served:
//
//	version 1 | time 8 | removed: length, context | owned: context
func (s *Space) settledRemovals(ctx context.Context, path string, removed, owned crdt.Context) (oldRemoved, oldOwned crdt.Context, err error) {
	key := documentFacts(s.ID()) + "removed" + path
	now, window := s.replica.now(), uint64(max(0, s.replica.options.HistoryWindow.Microseconds()))
	b, _, err := s.replica.store.Fact(key)
	if err != nil {
		return oldRemoved, oldOwned, named(err)
	}
	at, wasRemoved, wasOwned, ok := decodeRemovals(b)
	if ok && at <= now && now-at < window {
		return oldRemoved, oldOwned, nil
	}
	if ok && at <= now {
		oldRemoved, oldOwned = removed.Both(wasRemoved), owned.Both(wasOwned)
	}
	b = binary.BigEndian.AppendUint64([]byte{removalsVersion}, now)
	said := removed.AppendTo(nil)
	b = append(crdt.AppendUvarint(b, uint64(len(said))), said...)
	b = owned.AppendTo(b)
	return oldRemoved, oldOwned, named(s.replica.store.SetFact(ctx, key, b))
}

func decodeRemovals(b []byte) (at uint64, removed, owned crdt.Context, ok bool) {
	if len(b) < 10 || b[0] != removalsVersion {
		return 0, removed, owned, false
	}
	at = binary.BigEndian.Uint64(b[1:])
	n, k := crdt.Uvarint(b[9:])
	if k == 0 || n > uint64(len(b)-9-k) {
		return 0, removed, owned, false
	}
	end := 9 + k + int(n)
	removed, err := crdt.DecodeContext(b[9+k : end])
	if err == nil {
		owned, err = crdt.DecodeContext(b[end:])
	}
	return at, removed, owned, err == nil
}
