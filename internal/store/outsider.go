package store

import (
	"fmt"
	"iter"
	"math/bits"

	"anabranch/record"
	"anabranch/space"
)

// Outsider is a record that is kept and is not in the set.
type Outsider struct {
	Record *record.Verified
	Where  Verdict // space.Held, or space.Dead for the trash
}

// Outside yields the held records and the trash whose IDs begin with the
// first n bits of a prefix, each of the two by ID. It ends after the first
// error. Cost: it reads what it yields; all of both for n = 0.
func (v *Snapshot) Outside(prefix record.ID, n int) iter.Seq2[Outsider, error] {
	return func(yield func(Outsider, error) bool) {
		rows, err := v.reader()
		if err != nil {
			yield(Outsider{}, err)
			return
		}
		for _, t := range []struct {
			table byte
			where Verdict
		}{{tableHeld, space.Held}, {tableTrash, space.Dead}} {
			lo := append(tableKey(t.table, v.space.number, n/8), prefix[:n/8]...)
			stopped := false
			err := each(rows, lo, successor(lo), func(x row) error {
				if len(x.key) == 37 && common(prefix, record.ID(x.key[5:])) < n {
					return nil
				}
				_, r, err := v.space.decodeStamped(x.key, x.value)
				if err != nil {
					return err
				}
				if !yield(Outsider{r, t.where}, nil) {
					stopped = true
					return errStop
				}
				return nil
			})
			if stopped {
				return
			}
			if err != nil {
				yield(Outsider{}, fmt.Errorf("outside the set: %w", err))
				return
			}
		}
	}
}

// common is how many leading bits two IDs have in common.
func common(a, b record.ID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 8 * len(a)
}

// Arrival is the version at which a member entered the set here; 0 if it is
// no member.
func (v *Snapshot) Arrival(id record.ID) (uint64, error) {
	rows, err := v.reader()
	if err != nil {
		return 0, err
	}
	key := idKey(tableID, v.space.number, id)
	b, err := rows.get(key)
	if err != nil || b == nil {
		return 0, err
	}
	return number(key, b)
}
