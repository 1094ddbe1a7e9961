package store

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"anabranch/record"
)

// dot is a record to be killed: a number of a lane of its author.
type dot struct {
	lane   uint64
	number uint32
}

// Sweep writes the sweeps for what the author's own later docs have made
// superfluous here, and returns how many records they killed. It spares the
// author's newest doc at a path, and a delete while others may write there.
//
// ErrNotAuthorised says that the author may not sweep here any more; nothing
// is changed then.
func (sp *Space) Sweep(ctx context.Context, author ed25519.PrivateKey, now uint64) (killed int, err error) {
	sp.KeepAuthor(record.Public(author))
	n := new(int)
	err = sp.store.do(ctx, 0, func(c *commit) error {
		w := c.work(sp)
		kills, err := w.due(record.Public(author))
		if err != nil || len(kills) == 0 {
			return err
		}
		err = w.sweep(author, now, kills)
		w.finally = func() { *n = w.removed }
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	return *n, nil
}

// Remove deletes the author's own entries, deltas or records of opaque kinds
// by sweeps alone: nothing of them is left but bits. A doc is deleted by
// writing one that says so. Errors worth matching: ErrNotFound for an ID
// that is no member, ErrNotRemovable, ErrNotAuthorised.
func (sp *Space) Remove(ctx context.Context, author ed25519.PrivateKey, now uint64, ids ...record.ID) error {
	key := record.Public(author)
	sp.KeepAuthor(key)
	err := sp.store.do(ctx, 0, func(c *commit) error {
		w := c.work(sp)
		var kills []dot
		for _, id := range ids {
			r, n, err := sp.readMember(c.tx, id)
			switch {
			case err != nil:
				return err
			case n == 0:
				return fmt.Errorf("%w: %v", ErrNotFound, id)
			case r.Author != key || !r.Data() || r.Kind == record.Doc:
				return fmt.Errorf("%w: %v is a %v by %v", ErrNotRemovable, id, r.Kind, r.Author)
			}
			kills = append(kills, dot{r.Lane, r.Seq})
		}
		if len(kills) == 0 {
			return nil
		}
		return w.sweep(author, now, kills)
	})
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// sweep writes one sweep for each lane and block that has something to kill,
// each starting from the union of those known.
func (w *work) sweep(key ed25519.PrivateKey, now uint64, kills []dot) error {
	author := record.Public(key)
	blocks := make(map[dot][]byte) // number: the block
	var order []dot
	for _, k := range kills {
		at := dot{k.lane, record.BlockOf(k.number)}
		bits := blocks[at]
		if bits == nil {
			bits = w.law.SweptUnion(author, at.lane, sweepArea, at.number).Bits
			blocks[at] = bits
			order = append(order, at)
		}
		i := (k.number - 1) % record.BlockNumbers
		bits[i/8] |= 1 << (i % 8)
	}
	slices.SortFunc(order, func(a, b dot) int {
		if a.lane != b.lane {
			if a.lane < b.lane {
				return -1
			}
			return 1
		}
		return int(a.number) - int(b.number)
	})
	var sweeps []*record.Verified
	for _, at := range order {
		r, err := record.Sign(w.space.id, key, record.Record{
			Kind: record.Sweep, Time: max(now, 1), Lane: at.lane, Seq: at.number,
			Path: sweepArea, Payload: w.sweepPayload(author, at, blocks),
		})
		if err != nil {
			return err
		}
		sweeps = append(sweeps, r)
	}
	return w.issue(sweeps)
}

// sweepPayload is a block's bits, or nothing when that block and every one
// below it are swept whole.
func (w *work) sweepPayload(author record.Key, at dot, blocks map[dot][]byte) []byte {
	whole := func(b []byte) bool { return !slices.ContainsFunc(b, func(x byte) bool { return x != 0xFF }) }
	bits := blocks[at]
	all := whole(bits)
	for b := at.number; all && b > 0; b-- {
		below := dot{at.lane, b - 1}
		if local := blocks[below]; local != nil {
			all = whole(local)
		} else {
			all = whole(w.law.SweptUnion(author, at.lane, sweepArea, b-1).Bits)
		}
	}
	if all {
		return nil
	}
	for len(bits) > 0 && bits[len(bits)-1] == 0 {
		bits = bits[:len(bits)-1]
	}
	return bits
}

// pend notes the author's other docs at a path as superfluous, now that a
// newer one was written here with knowledge of them; a delete too, which the
// next sweep takes if nobody else writes there.
//
// It goes from the newest doc down to the first that is noted already: below
// lies what earlier writes noted. What another lane of the author brought in
// below that is noted by the first write after the next sweep. n is r's
// arrival number.
func (w *work) pend(r *record.Verified, n uint64) error {
	a := w.c.author(r.Author)
	lo := kindPrefix(w.s, r.Path, record.Doc)
	hi := successor(lo)
	for {
		x, err := w.c.tx.last(lo, hi)
		if err != nil || x.key == nil {
			return err
		}
		hi = x.key
		e, err := decodePath(x.key, x.value)
		if err != nil {
			return err
		}
		if e.author != a {
			continue
		}
		key := killKey(w.s, a, r.Path, e.time, e.n)
		b, err := w.c.tx.get(key)
		if err != nil {
			return err
		}
		if b != nil {
			return w.unspare(row{key, b})
		}
		if e.n == n && !r.Deleted {
			continue
		}
		v, err := w.arrival(e.n)
		if err != nil {
			return err
		}
		k := killEntry{lane: v.Lane, number: v.Seq, state: killWaits}
		w.c.tx.set(key, k.value())
		w.pending++
	}
}

// unspare makes a spared delete wait for the next sweep: a later doc of its
// author hides what it hid.
func (w *work) unspare(x row) error {
	k, err := decodeKill(x)
	if err != nil || k.state != killSpared {
		return err
	}
	k.state = killWaits
	w.c.tx.set(k.key, k.value())
	w.pending++
	return nil
}

// unpend forgets that a doc is superfluous.
func (w *work) unpend(key []byte) error {
	b, err := w.c.tx.get(key)
	if err != nil || b == nil {
		return err
	}
	k, err := decodeKill(row{key, b})
	if err != nil {
		return err
	}
	w.c.tx.delete(key)
	if k.state == killWaits {
		w.pending--
	}
	return nil
}

// due decides which of an author's pending kills may go now. Those that the
// sparing rules keep are no longer pending.
func (w *work) due(author record.Key) ([]dot, error) {
	a, known := w.c.store.authors.number(author)
	if !known {
		return nil, nil
	}
	again := w.space.sweptAt != w.moves // authority moved: spared deletes may go
	w.space.sweptAt = w.moves
	byPath := make(map[string][]killEntry)
	var paths []string
	prefix := u32(tableKey(tableKill, w.s, 4), a)
	err := each(w.c.tx, prefix, successor(prefix), func(x row) error {
		k, err := decodeKill(x)
		if err != nil || k.state == killSpared && !again {
			return err
		}
		if byPath[k.path] == nil {
			paths = append(paths, k.path)
		}
		byPath[k.path] = append(byPath[k.path], k)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var kills []dot
	areas := w.othersAreas(author)
	for _, path := range paths {
		at, err := w.lookAt(path, a)
		if err != nil {
			return nil, err
		}
		at.granted = slices.ContainsFunc(areas, func(area string) bool { return record.Covers(area, path) })
		for _, k := range byPath[path] {
			kill, err := w.judgeKill(a, k, at)
			if err != nil {
				return nil, err
			}
			if kill {
				kills = append(kills, dot{k.lane, k.number})
			}
		}
	}
	return kills, nil
}

// standing is what stands at a path, as far as the sparing rules ask.
type standing struct {
	read    *record.Verified // the doc that is read
	own     *record.Verified // the author's newest
	ownN    uint64
	others  bool // a live doc of another author is there
	granted bool // a standing grant of another author covers it
}

// othersAreas are those in which standing grants let other authors write.
func (w *work) othersAreas(author record.Key) []string {
	var areas []string
	for _, g := range w.law.Members() {
		if g.Author != author && g.Role >= record.Writer && !slices.Contains(areas, g.Area) {
			areas = append(areas, g.Area)
		}
	}
	return areas
}

func (w *work) lookAt(path string, a uint32) (standing, error) {
	var at standing
	var entries []pathEntry
	docs := kindPrefix(w.s, path, record.Doc)
	err := each(w.c.tx, docs, successor(docs), func(x row) error {
		e, err := decodePath(x.key, x.value)
		entries = append(entries, e)
		at.others = at.others || e.author != a
		return err
	})
	if err != nil {
		return at, err
	}
	// Newest last: only those with the greatest time need be read.
	var readTime, ownTime uint64
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if e.time < readTime && (e.author != a || e.time < ownTime) {
			continue
		}
		v, err := w.space.readArrival(w.c.tx, e.n)
		if err != nil {
			return at, err
		}
		if at.read == nil || e.time == readTime && v.ID.Compare(at.read.ID) > 0 {
			at.read, readTime = v, e.time
		}
		if e.author == a && (at.own == nil || e.time == ownTime && v.ID.Compare(at.own.ID) > 0) {
			at.own, at.ownN, ownTime = v, e.n, e.time
		}
	}
	return at, nil
}

// judgeKill applies the sparing rules to one pending kill.
func (w *work) judgeKill(a uint32, k killEntry, at standing) (bool, error) {
	if k.n != at.ownN {
		return true, nil
	}
	if at.own.Deleted && at.read.ID == at.own.ID {
		hides, err := w.hides(a, k.path, at)
		if err != nil || !hides {
			return !hides, err
		}
		if k.state == killWaits {
			k.state = killSpared
			w.c.tx.set(k.key, k.value())
			w.pending--
		}
		return false, nil
	}
	return false, w.unpend(k.key) // the author's newest doc, which another's hides, or which is read
}

// hides reports whether a delete at a path must stay: another author has a
// doc there, live or held, or a standing grant that covers it; or deltas are
// there, which read as a text unless a newer doc stands.
func (w *work) hides(a uint32, path string, at standing) (bool, error) {
	if at.others || at.granted {
		return true, nil
	}
	deltas := kindPrefix(w.s, path, record.Delta)
	if x, err := w.c.tx.last(deltas, successor(deltas)); err != nil || x.key != nil {
		return x.key != nil, err
	}
	prefix := heldPathPrefix(w.s, path)
	held := false
	err := each(w.c.tx, prefix, successor(prefix), func(x row) error {
		held = held || len(x.key) == len(prefix)+36 && beU32(x.key[len(prefix):]) != a
		return nil
	})
	return held, err
}
