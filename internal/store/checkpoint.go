package store

import (
	"context"
	"errors"
	"hash/crc32"
	"slices"

	"anabranch/reconcile"
	"anabranch/record"
)

// A checkpoint is the derived values of a space as of an arrival number. Its
// pieces are written first, as rows under one of two slots, and then its head,
// which names the slot: a power cut in between leaves the one before. It is
// made from a published state beside everything else, and it is exact for its
// number whenever it is written; what came after it is replayed at opening.
//
// Without one that can be used, the values are made anew from the rows.

// checkpointHead is the row that makes pieces a checkpoint:
//
//	layout 1 | slot 1 | version 8 | members 8 | for each value: kind 1,
//	bytes 8, their CRC-32C 4 | CRC-32C of all before 4
type checkpointHead struct {
	slot    byte
	version uint64
	members uint64
	parts   []checkpointPart
}

type checkpointPart struct {
	kind  byte
	bytes uint64
	sum   uint32
}

const (
	checkpointLayout = 1
	checkpointPiece  = 128 << 10 // bytes of a row
	mostParts        = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checkpointKey(s uint32) []byte { return append(tableKey(tableCheckpoint, s, 1), 0) }

// pieceKey is the row of a piece: S slot kind index 4.
func pieceKey(s uint32, slot, kind byte, index int) []byte {
	return u32(append(tableKey(tableCheckpoint, s, 6), slot, kind), uint32(index))
}

func (h *checkpointHead) encode() []byte {
	b := u64(u64([]byte{checkpointLayout, h.slot}, h.version), h.members)
	for _, p := range h.parts {
		b = u32(u64(append(b, p.kind), p.bytes), p.sum)
	}
	return u32(b, crc32.Checksum(b, castagnoli))
}

func decodeHead(b []byte) (h checkpointHead, err error) {
	if len(b) < 22 || (len(b)-22)%13 != 0 || (len(b)-22)/13 > mostParts || b[0] != checkpointLayout || b[1] < 1 || b[1] > 2 {
		return h, errEncoding
	}
	end := len(b) - 4
	if crc32.Checksum(b[:end], castagnoli) != beU32(b[end:]) {
		return h, errors.New("checksum")
	}
	h.slot, h.version, h.members = b[1], beU64(b[2:]), beU64(b[10:])
	for p := b[18:end]; len(p) > 0; p = p[13:] {
		h.parts = append(h.parts, checkpointPart{p[0], beU64(p[1:]), beU32(p[9:])})
	}
	return h, nil
}

// saved is what is known of a space's checkpoint.
type saved struct {
	slot    byte   // 0: there is none
	version uint64 // it stands for
	stale   int    // members below cuts whose digest is not in it
	pieces  [][]byte
}

// write is the rows of a checkpoint, the head last, in batches of about a
// piece, and what will be known of it.
func (st *state) checkpoint(s uint32, before saved) (batches [][]change, now saved) {
	now = saved{slot: 1, version: st.version, stale: st.cuts.root.half[0].stale()}
	if before.slot == 1 {
		now.slot = 2
	}
	h := checkpointHead{slot: now.slot, version: st.version, members: uint64(st.blocks.count())}
	for _, v := range st.values() {
		b := v.encode()
		h.parts = append(h.parts, checkpointPart{v.kind, uint64(len(b)), crc32.Checksum(b, castagnoli)})
		for i := 0; len(b) > 0; i++ {
			n := min(checkpointPiece, len(b))
			key := pieceKey(s, now.slot, v.kind, i)
			batches = append(batches, []change{{key, b[:n:n]}})
			now.pieces = append(now.pieces, key)
			b = b[n:]
		}
	}
	last := []change{{checkpointKey(s), h.encode()}}
	for _, key := range before.pieces {
		last = append(last, change{key: key})
	}
	return append(batches, last), now
}

// due says whether the state should be written: enough has changed since the
// last time for a replay to be felt.
func (sp *Space) due(st *state) bool {
	every := uint64(max(sp.store.options.checkpoint, st.blocks.count()/replayPart))
	return st.version-sp.saved.version >= every || sp.divided.Load()
}

// replayPart is the part of the members that may have to be replayed: about a
// third of a second for each million.
const replayPart = 64

// keep writes a checkpoint of the last published state, beside everything
// else, if one is due and none is being written. Only finish calls it.
func (s *Store) keep(sp *Space) {
	s.mu.Lock()
	st := sp.state
	s.mu.Unlock()
	if sp.saving.Load() || !sp.due(st) || s.tasksCtx.Err() != nil {
		return
	}
	sp.saving.Store(true)
	sp.divided.Store(false)
	s.tasks.Go(func() {
		defer sp.saving.Store(false)
		batches, now := st.checkpoint(sp.number, sp.saved)
		for _, batch := range batches {
			if err := s.put(s.tasksCtx, sp, batch); err != nil {
				if s.tasksCtx.Err() == nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrDropped) {
					s.log.Warn("checkpoint not written", "space", sp.id, "err", err)
				}
				return
			}
		}
		sp.saved = now
	})
}

// put writes rows of a space that nothing else is told of.
func (s *Store) put(ctx context.Context, sp *Space, batch []change) error {
	return s.add(ctx, 0, func(c *commit) error {
		if sp.dropped {
			return ErrDropped
		}
		for _, x := range batch {
			if x.value == nil {
				c.tx.delete(x.key)
			} else {
				c.tx.set(x.key, x.value)
			}
		}
		return nil
	})
}

// keepAll writes what a clean end should leave. Nothing else runs any more.
func (s *Store) keepAll() error {
	if s.engine.failure() != nil || s.engine.shortage() != nil || s.belowReserve() != nil || s.lost != nil {
		return nil
	}
	for _, sp := range s.Spaces() {
		st := sp.state
		stale := sp.saved.stale - st.cuts.root.half[0].stale()
		if st.version-sp.saved.version < uint64(s.options.checkpoint)/2 && stale < s.options.checkpoint && !sp.divided.Load() {
			continue
		}
		batches, now := st.checkpoint(sp.number, sp.saved)
		for _, batch := range batches {
			if err := s.engine.commit(batch); err != nil {
				return err
			}
		}
		sp.saved = now
	}
	return nil
}

// adopt hands the halves of large cuts that a reader of a state has found to
// the committer: what was committed since has none of them, and each of its
// readers would have to find them again.
func (sp *Space) adopt(st *state) {
	s := sp.store
	if s.tasksCtx.Err() != nil || !sp.adopting.CompareAndSwap(false, true) {
		return
	}
	s.tasks.Go(func() {
		defer sp.adopting.Store(false)
		err := s.do(s.tasksCtx, 0, func(c *commit) error {
			w := c.work(sp)
			if w.version == st.version || w.version-st.version > mostAdopted || w.trimmed > st.version {
				return nil // it has them, or it is not worth it
			}
			t := cutsByID{st.cuts.fork()}
			if err := sp.replay(c.tx, st.version, t.apply); err != nil {
				return err
			}
			w.cuts, w.adopted = t.cuts, true
			return nil
		})
		if err == nil {
			sp.divided.Store(true)
		}
	})
}

// mostAdopted is the number of changes that adopt replays: about a quarter of a second.
const mostAdopted = 100_000

// loadDerived makes the derived values: from the checkpoint and the log after
// it, or from the rows.
func (sp *Space) loadDerived(r engine) error {
	why, err := sp.loadCheckpoint(r)
	if err != nil || why == nil {
		return err
	}
	if !errors.Is(why, errNoCheckpoint) {
		sp.store.log.Warn("checkpoint not used; derived state is made anew", "space", sp.id, "why", why)
	}
	return sp.rebuild(r)
}

var errNoCheckpoint = errors.New("there is none")

// loadCheckpoint returns why the checkpoint cannot be used, or an error of the
// rows that opening cannot go on after.
func (sp *Space) loadCheckpoint(r engine) (why, err error) {
	st := sp.state
	key := checkpointKey(sp.number)
	b, err := r.get(key)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return errNoCheckpoint, nil
	}
	h, why := decodeHead(b)
	if why != nil {
		return why, nil
	}
	sp.saved.slot = h.slot
	switch {
	case h.version > st.version:
		return errors.New("it is newer than the log"), nil
	case h.version < st.trimmed:
		return errors.New("departures since then were forgotten"), nil
	}
	values := make(map[byte]derived)
	for _, v := range st.values() {
		values[v.kind] = v.derived
	}
	pieces, err := sp.readPieces(r, h)
	if err != nil {
		return err, nil // the rows themselves are judged when they are read
	}
	for _, p := range h.parts {
		v := values[p.kind]
		if v == nil {
			continue // of another version
		}
		delete(values, p.kind)
		if b := pieces[p.kind]; uint64(len(b)) != p.bytes || crc32.Checksum(b, castagnoli) != p.sum {
			return errors.New("checksum of a value"), nil
		}
		if why := v.decode(pieces[p.kind]); why != nil {
			return why, nil
		}
	}
	if len(values) > 0 {
		return errors.New("it lacks a value"), nil
	}
	if n := uint64(st.blocks.count()); n != h.members || uint64(st.cuts.count()) != n {
		return errors.New("its counts disagree"), nil
	}
	sp.saved.version, sp.saved.stale = h.version, st.cuts.root.half[0].stale()
	if st.blocks.root != nil && st.blocks.root.untidy() {
		sp.divided.Store(true) // written by a version with larger ones
	}
	if err := sp.replay(r, h.version, st.apply); err != nil {
		return nil, err
	}
	return nil, st.tidy(r, sp.number)
}

func (sp *Space) readPieces(r engine, h checkpointHead) (map[byte][]byte, error) {
	out := make(map[byte][]byte)
	for _, p := range h.parts {
		lo := append(tableKey(tableCheckpoint, sp.number, 2), h.slot, p.kind)
		err := r.scan([]span{{lo: lo, hi: successor(lo)}}, func(_ int, key, value []byte) error {
			if uint64(len(out[p.kind]))+uint64(len(value)) > p.bytes {
				return errors.New("more bytes than it says")
			}
			if out[p.kind] == nil {
				out[p.kind] = make([]byte, 0, min(p.bytes, 1<<26))
			}
			out[p.kind] = append(out[p.kind], value...)
			sp.saved.pieces = append(sp.saved.pieces, slices.Clone(key))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// replayStep is the number of changes that are made at once.
const replayStep = 8 << 10

// replay tells apply what has changed since a version: records that left and
// had entered before it, and those that entered since. One that entered since
// and left again has no arrival row.
func (sp *Space) replay(r reader, version uint64, apply func([]reconcile.Item, int)) error {
	var items []reconcile.Item
	step := func(table byte, sign int, fn func(x row) (reconcile.Item, bool, error)) error {
		hi := successor(tableKey(table, sp.number, 0))
		err := each(r, numberKey(table, sp.number, version+1), hi, func(x row) error {
			it, counts, err := fn(x)
			if err != nil || !counts {
				return err
			}
			if items = append(items, it); len(items) == replayStep {
				apply(items, sign)
				items = items[:0]
			}
			return nil
		})
		apply(items, sign)
		items = items[:0]
		return err
	}
	err := step(tableDeparture, -1, func(x row) (reconcile.Item, bool, error) {
		d, err := decodeDeparture(x.key, x.value)
		return reconcile.Item{Time: d.time, ID: d.id}, d.old <= version, err
	})
	if err != nil {
		return err
	}
	return step(tableArrival, +1, func(x row) (reconcile.Item, bool, error) {
		v, err := record.Restore(sp.id, x.value)
		if err != nil {
			return reconcile.Item{}, false, damagedRow(x.key, "%v", err)
		}
		return item(v), true, nil
	})
}

// rebuild makes the derived values from the time order.
func (sp *Space) rebuild(r scanner) error {
	st := sp.state
	st.blank(sp.store)
	values := st.values()
	var kids []blockKid
	var items []reconcile.Item
	step := func() {
		for _, v := range values {
			if b, ok := v.derived.(*blocks); ok {
				kids = append(kids, b.cut(items)...)
			} else {
				v.apply(items, +1)
			}
		}
		items = items[:0]
	}
	lo := tableKey(tableTime, sp.number, 0)
	err := r.scan([]span{{lo: lo, hi: successor(lo)}}, func(_ int, key, value []byte) error {
		if len(key) != 45 || len(value) != 8 {
			return damagedRow(key, "layout")
		}
		items = append(items, reconcile.Item{Time: beU64(key[5:]), ID: reconcile.ID(key[13:])})
		if len(items) == replayStep {
			step()
		}
		return nil
	})
	if err != nil {
		return err
	}
	if step(); len(kids) > 0 {
		st.blocks.plant(kids)
	}
	return nil
}
