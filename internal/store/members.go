package store

import (
	"cmp"
	"errors"
	"slices"

	"anabranch/record"
)

// arrivedAt is a member that is asked for: its place in the answer, its ID and
// its arrival number.
type arrivedAt struct {
	place int
	id    record.ID
	n     uint64
}

// Members returns the member of each ID, nil where there is none here. For
// many it takes a fraction of what as many calls of Get take: rows that are
// neighbours are read with one walk.
func (v *Snapshot) Members(ids []record.ID) ([]*record.Verified, error) {
	out := make([]*record.Verified, len(ids))
	list := make([]arrivedAt, 0, len(ids))
	for i, id := range ids {
		if r, ok := v.added[id]; ok {
			out[i] = r
		} else {
			list = append(list, arrivedAt{place: i, id: id})
		}
	}
	slices.SortFunc(list, func(a, b arrivedAt) int { return a.id.Compare(b.id) })
	spans := make([]span, len(list))
	for i := range list {
		key := idKey(tableID, v.space.number, list[i].id)
		spans[i] = span{lo: key, hi: append(key[:len(key):len(key)], 0)}
	}
	err := v.scan(spans, func(i int, key, value []byte) (err error) {
		list[i].n, err = number(key, value)
		return err
	})
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(w arrivedAt) bool {
		_, gone := v.gone[w.n]
		return w.n == 0 || gone
	})
	return out, v.arrivals(list, out)
}

// MembersAt returns the members at positions [begin, end) of Index. Those that
// arrived one after the other are read one after the other.
func (v *Snapshot) MembersAt(begin, end int) ([]*record.Verified, error) {
	x, plain := v.index.(*blockIndex)
	if !plain {
		var ids []record.ID
		for item, err := range v.index.Items(begin, end) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, record.ID(item.ID))
		}
		return v.Members(ids)
	}
	if begin >= end {
		return nil, nil
	}
	out := make([]*record.Verified, end-begin)
	list := make([]arrivedAt, 0, end-begin)
	p := x.blocks.position(begin)
	at, lo := p.at, timeKey(tableTime, v.space.number, p.lo.Time, p.lo.ID)
	err := v.scan([]span{{lo: lo, hi: successor(tableKey(tableTime, v.space.number, 0))}}, func(_ int, key, value []byte) error {
		if at == end {
			return errEnough
		}
		if at++; at <= begin {
			return nil
		}
		n, err := number(key, value)
		if err != nil || len(key) != 45 {
			return damagedRow(key, "layout")
		}
		list = append(list, arrivedAt{at - 1 - begin, record.ID(key[13:]), n})
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if len(list) != len(out) {
		return nil, damagedRow(lo, "%d rows at positions from %d to %d", len(list), begin, end)
	}
	return out, v.arrivals(list, out)
}

// arrivals reads records by their arrival numbers into their places.
func (v *Snapshot) arrivals(list []arrivedAt, out []*record.Verified) error {
	slices.SortFunc(list, func(a, b arrivedAt) int { return cmp.Compare(a.n, b.n) })
	var spans []span
	for i, w := range list {
		hi := numberKey(tableArrival, v.space.number, w.n+1)
		if i > 0 && (w.n == list[i-1].n || w.n == list[i-1].n+1) {
			spans[len(spans)-1].hi = hi
		} else {
			spans = append(spans, span{lo: numberKey(tableArrival, v.space.number, w.n), hi: hi})
		}
	}
	i := 0
	err := v.scan(spans, func(_ int, key, value []byte) error {
		if len(key) != 13 || i == len(list) || beU64(key[5:]) != list[i].n {
			return errEnough // a row is missing
		}
		r, err := record.Restore(v.space.id, slices.Clone(value))
		if err != nil {
			return damagedRow(key, "%v", err)
		}
		for n := list[i].n; i < len(list) && list[i].n == n; i++ {
			if r.ID != list[i].id {
				return damagedRow(key, "holds the record %v, not %v", r.ID, list[i].id)
			}
			out[list[i].place] = r
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if i < len(list) {
		return damagedRow(numberKey(tableArrival, v.space.number, list[i].n), "absent, but another row points here")
	}
	return nil
}
