package store

import (
	"crypto/sha256"
	"encoding/binary"
)

// Entered counts the members that entered the set after a version, and are
// members still.
//
// Cost: it reads the departures since, of which some tens of thousands are
// known; when more have been forgotten, every arrival since.
func (v *Snapshot) Entered(version uint64) (uint64, error) {
	if version >= v.state.version {
		return 0, nil
	}
	rows, err := v.reader()
	if err != nil {
		return 0, err
	}
	table := byte(tableDeparture)
	if !v.Complete(version) {
		table = tableArrival
	}
	lo := numberKey(table, v.space.number, version+1)
	hi := successor(tableKey(table, v.space.number, 0))
	var all, left uint64
	err = each(rows, lo, hi, func(x row) error {
		all++
		if table == tableDeparture {
			d, err := decodeDeparture(x.key, x.value)
			if err == nil && d.old > version {
				left++ // it entered after the version too
			}
			return err
		}
		return nil
	})
	if err != nil || table == tableArrival {
		return all, err
	}
	// Every arrival and every departure took a number.
	return v.state.version - version - all - left, nil
}

// History names what the versions of this space count: this store, and in it
// the generation. A store that was backed up, or found to be an older copy or
// a clone, has another one.
func (v *Snapshot) History() (uint64, error) {
	rows, err := v.reader()
	if err != nil {
		return 0, err
	}
	key := metaGeneration(v.space.number)
	b, err := rows.get(key)
	if err != nil {
		return 0, err
	}
	generation, err := number(key, b)
	if err != nil {
		return 0, err
	}
	h := sha256.Sum256(u64(append([]byte{}, v.space.store.id[:]...), generation))
	return binary.BigEndian.Uint64(h[:]), nil
}
