package store

import (
	"encoding/binary"

	"anabranch/record"
	"anabranch/space"
)

// hold keeps a record that nothing known here authorises, within the budget:
// the oldest held records of others go first, own ones never.
func (w *work) hold(r *record.Verified) (Verdict, error) {
	own := w.space.keeps(r.Author)
	size := int64(len(r.Bytes))
	if budget := w.c.store.options.HeldBytes; !own && size > budget {
		if !r.Data() {
			return OverBudget, w.forget(r.ID)
		}
		return OverBudget, nil
	}
	tx, a := w.c.tx, w.c.author(r.Author)
	serial := w.serial
	w.serial++
	tx.set(idKey(tableHeld, w.s, r.ID), stamped(serial, r.Bytes))
	tx.set(authorKey(tableHeldBy, w.s, a, r.ID), nil)
	if r.Kind == record.Doc {
		tx.set(heldPathKey(w.s, r.Path, a, r.ID), nil)
	}
	w.stats.Held++
	w.stats.HeldBytes += size
	if own {
		return space.Held, nil
	}
	tx.set(numberKey(tableHeldOrder, w.s, serial), append([]byte{}, r.ID[:]...))
	w.others += size
	return space.Held, w.evict()
}

func (w *work) evict() error {
	lo := tableKey(tableHeldOrder, w.s, 0)
	for w.others > w.c.store.options.HeldBytes && lo != nil {
		rows, next, err := w.c.tx.chunk(lo, successor(tableKey(tableHeldOrder, w.s, 0)), 8)
		if err != nil {
			return err
		}
		for _, x := range rows {
			if w.others <= w.c.store.options.HeldBytes {
				return nil
			}
			if len(x.value) != 32 {
				return damagedRow(x.key, "%d bytes", len(x.value))
			}
			key := idKey(tableHeld, w.s, record.ID(x.value))
			b, err := w.c.tx.get(key)
			if err != nil {
				return err
			}
			if b == nil {
				return damagedRow(x.key, "names a record that is not held")
			}
			serial, r, err := w.space.decodeStamped(key, b)
			if err != nil {
				return err
			}
			if w.space.keeps(r.Author) {
				w.c.tx.delete(x.key) // became an own author after it was held
				w.others -= int64(len(r.Bytes))
				continue
			}
			if err := w.unhold(serial, r); err != nil {
				return err
			}
			if !r.Data() {
				if err := w.forget(r.ID); err != nil {
					return err
				}
			}
		}
		lo = next
	}
	return nil
}

func (w *work) unhold(serial uint64, r *record.Verified) error {
	tx, a := w.c.tx, w.c.author(r.Author)
	tx.delete(idKey(tableHeld, w.s, r.ID))
	tx.delete(authorKey(tableHeldBy, w.s, a, r.ID))
	if r.Kind == record.Doc {
		tx.delete(heldPathKey(w.s, r.Path, a, r.ID))
	}
	w.stats.Held--
	w.stats.HeldBytes -= int64(len(r.Bytes))
	order := numberKey(tableHeldOrder, w.s, serial)
	b, err := tx.get(order)
	if b != nil {
		tx.delete(order)
		w.others -= int64(len(r.Bytes))
	}
	return err
}

// expiry is when trash of today is destroyed, in microseconds.
func (w *work) expiry() uint64 {
	return uint64(w.c.now.Add(w.c.store.options.TrashAge).UnixMicro())
}

// discard puts a dead record into the trash until a time, or for as long as a
// standing seal lists it.
func (w *work) discard(r *record.Verified, expiry uint64) {
	tx, a := w.c.tx, w.c.author(r.Author)
	tx.set(idKey(tableTrash, w.s, r.ID), stamped(expiry, r.Bytes))
	tx.set(authorKey(tableTrashBy, w.s, a, r.ID), nil)
	tx.set(timeKey(tableExpiry, w.s, expiry, r.ID), nil)
	w.stats.addTrash(r, expiry, 1)
}

func (w *work) undiscard(expiry uint64, r *record.Verified) {
	tx, a := w.c.tx, w.c.author(r.Author)
	tx.delete(idKey(tableTrash, w.s, r.ID))
	tx.delete(authorKey(tableTrashBy, w.s, a, r.ID))
	tx.delete(timeKey(tableExpiry, w.s, expiry, r.ID))
	w.stats.addTrash(r, expiry, -1)
}

// drop takes a record out of the held records and the trash, if it is there.
func (w *work) drop(r *record.Verified) error {
	if w.stats.Held > 0 {
		b, err := w.c.tx.get(idKey(tableHeld, w.s, r.ID))
		if err != nil {
			return err
		}
		if len(b) >= 8 {
			if err := w.unhold(beU64(b), r); err != nil {
				return err
			}
		}
	}
	if w.stats.Trash > 0 {
		b, err := w.c.tx.get(idKey(tableTrash, w.s, r.ID))
		if err != nil {
			return err
		}
		if len(b) >= 8 {
			w.undiscard(beU64(b), r)
		}
	}
	return nil
}

// relist looks at the trash that seals list: while one of them stands, it may
// not be destroyed.
func (w *work) relist(control []*record.Verified) error {
	for _, c := range control {
		if c.Kind != record.Control || w.stats.Trash == 0 {
			continue
		}
		body, err := record.ParseControl(c.Payload)
		if err != nil || body.Seal == nil {
			continue
		}
		for _, p := range body.Seal.List {
			lo := append(tableKey(tableTrash, w.s, 16), p[:]...)
			err := each(w.c.tx, lo, successor(lo), func(x row) error { return w.restamp(x) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// restamp gives a trash row the expiry that the seals ask for.
func (w *work) restamp(x row) error {
	expiry, r, err := w.space.decodeStamped(x.key, x.value)
	if err != nil {
		return err
	}
	listed := w.law.Listed(r.ID)
	if listed == (expiry == never) {
		return nil
	}
	w.undiscard(expiry, r)
	_, err = w.place(r, space.Dead)
	return err
}

// emptyTrash destroys what has expired, a bounded number at a time, and what
// is over the budget.
func (w *work) emptyTrash() error {
	if w.stats.Trash == w.stats.Kept {
		return nil
	}
	lo := tableKey(tableExpiry, w.s, 0)
	hi := u64(tableKey(tableExpiry, w.s, 8), uint64(w.c.now.UnixMicro()))
	if err := w.destroy(lo, hi, func() bool { return true }); err != nil {
		return err
	}
	hi = u64(tableKey(tableExpiry, w.s, 8), never)
	tooLarge := func() bool { return w.stats.TrashBytes > w.c.store.options.TrashBytes }
	for before := -1; tooLarge() && before != w.stats.Trash; {
		before = w.stats.Trash
		if err := w.destroy(lo, hi, tooLarge); err != nil {
			return err
		}
	}
	return nil
}

// destroy takes up to trashStep rows out of the trash, in the order of their
// expiry, as long as more says so.
func (w *work) destroy(lo, hi []byte, more func() bool) error {
	rows, _, err := w.c.tx.chunk(lo, hi, trashStep)
	if err != nil {
		return err
	}
	for _, x := range rows {
		if !more() {
			return nil
		}
		if len(x.key) != 45 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		key := idKey(tableTrash, w.s, record.ID(x.key[13:]))
		b, err := w.c.tx.get(key)
		if err != nil {
			return err
		}
		if b == nil {
			return damagedRow(x.key, "names a record that is not in the trash")
		}
		expiry, r, err := w.space.decodeStamped(key, b)
		if err != nil {
			return err
		}
		w.undiscard(expiry, r)
	}
	return nil
}

func beU64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

func beU32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
