package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"anabranch/record"
)

// ErrDropped says that the space was dropped meanwhile.
var ErrDropped = errors.New("store: the space was dropped")

// span is the rows from lo on, below hi. A scan walks it upwards, or downwards
// from the last.
type span struct {
	lo, hi []byte
	down   bool
}

// shared are the tables whose keys do not begin with the number of a space.
var shared = []byte{tableFact, tableMeta, tableSpace, tableAuthor, tableBlob, tableBlobValue}

// Drop forgets a space, a usable one or not: its members, held records,
// trash, lanes and its genesis, and in the same batch whatever facts are
// named. It is one write: after a power cut the space is there whole, or
// gone. On return it is gone durably; the disk's space follows by compaction.
//
// Whoever still has the *Space gets ErrDropped, except from snapshots taken
// before, which read on. The numbers given to author keys stay: they are not
// the space's alone. Created again, the space begins empty, in a new
// generation and in fresh lanes. The error is ErrNotFound when it is not here.
//
// Cost: O(1), beside the compaction.
func (s *Store) Drop(ctx context.Context, id record.SpaceID, facts ...FactOp) error {
	err := s.do(ctx, 0, func(c *commit) error {
		number, err := c.numberOf(id)
		if err != nil {
			return err
		}
		for _, op := range facts {
			if err := c.fact(op); err != nil {
				return err
			}
		}
		c.tx.delete(spaceRow(number))
		c.tx.delete(metaGeneration(number))
		c.tx.delete(metaTrimmed(number))
		d := drop{id: id, rows: rowsOf(number)}
		if d.space = s.built[id]; d.space != nil {
			d.space.dropped = true
			delete(s.built, id)
			c.lanes = true // the lease names them
		}
		c.drops = append(c.drops, d)
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop space %v: %w", id, err)
	}
	return nil
}

// drop is a space that a commit takes away. Requests of its group that came
// before may have written rows of it; none that comes after can.
type drop struct {
	id    record.SpaceID
	space *Space // nil if it was not usable
	rows  []span
}

// rowsOf are all rows of the space with this number.
func rowsOf(number uint32) (rows []span) {
	for table := range tableNames {
		if !slices.Contains(shared, table) {
			lo := tableKey(table, number, 0)
			rows = append(rows, span{lo: lo, hi: successor(lo)})
		}
	}
	slices.SortFunc(rows, func(a, b span) int { return slices.Compare(a.lo, b.lo) })
	return rows
}

// numberOf finds a space by its row: one that is not usable is in no map.
func (c *commit) numberOf(id record.SpaceID) (number uint32, err error) {
	if sp := c.store.built[id]; sp != nil {
		return sp.number, nil
	}
	err = fmt.Errorf("%w: space %v", ErrNotFound, id)
	lo := []byte{tableSpace}
	failed := each(c.tx, lo, successor(lo), func(x row) error {
		if len(x.key) == 5 && len(x.value) >= 32 && record.SpaceID(x.value[:32]) == id {
			number, err = beU32(x.key[1:]), nil
		}
		return nil
	})
	return number, errors.Join(failed, err)
}

// dropped are the rows that a commit takes away by the range.
func (c *commit) dropped() (rows []span) {
	for _, d := range c.drops {
		rows = append(rows, d.rows...)
	}
	return rows
}

// forget ends a durable drop; s.mu is held.
func (s *Store) forget(d drop) {
	delete(s.unusable, d.id)
	if d.space == nil {
		return
	}
	if s.spaces[d.id] == d.space {
		delete(s.spaces, d.id)
	}
	d.space.gone = true
	close(d.space.changed)
	d.space.changed = make(chan struct{})
}

// reclaim gives back, beside all else, the disk's space of dropped rows.
func (s *Store) reclaim(d drop) {
	if s.tasksCtx.Err() != nil {
		return
	}
	s.tasks.Go(func() {
		for _, rows := range d.rows {
			if err := s.engine.compact(s.tasksCtx, rows.lo, rows.hi); err != nil {
				if s.tasksCtx.Err() == nil {
					s.log.Warn("space of a dropped space not given back yet", "space", d.id, "err", err)
				}
				return
			}
		}
	})
}

// Dropped reports whether the space is gone, durably.
func (sp *Space) Dropped() bool {
	sp.store.mu.Lock()
	defer sp.store.mu.Unlock()
	return sp.gone
}
