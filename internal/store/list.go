package store

import (
	"cmp"
	"iter"
	"slices"

	"anabranch/reconcile"
	"anabranch/record"
)

// Order is the order of a listing.
type Order uint8

const (
	Path   Order = iota // by the bytes of the path, then kind, then time
	Oldest              // by (time, ID)
	Newest              // the reverse
)

// Query selects members. The zero Query selects all data records.
type Query struct {
	Prefix     string // this path and everything below it
	Gte, Lte   string // Gte <= path < Lte, by bytes
	Authors    []record.Key
	Kinds      []record.Kind
	From, To   uint64 // From <= time < To; To 0 means no end
	Order      Order
	Limit      int  // 0: all
	Everything bool // control records and sweeps too; their path is their area
}

// accepts decides by what a row of the path order knows. a is nil for a
// record that has been read.
func (q *Query) accepts(kind record.Kind, path string, t uint64) bool {
	switch {
	case q.Prefix != "" && !record.Covers(q.Prefix, path):
	case path < q.Gte:
	case q.Lte != "" && path >= q.Lte:
	case t < q.From, q.To != 0 && t >= q.To:
	case len(q.Kinds) > 0 && !slices.Contains(q.Kinds, kind):
	default:
		return true
	}
	return false
}

func (q *Query) acceptsRecord(r *record.Verified) bool {
	return (q.Everything || r.Data()) && q.accepts(r.Kind, r.Path, r.Time) &&
		(len(q.Authors) == 0 || slices.Contains(q.Authors, r.Author))
}

// List yields the members that a query selects. It ends after the first
// error. In path order, and in time order without a path, it reads only what
// it yields and skips; in time order within a path, the path's rows are
// sorted first: 24 bytes of memory each.
func (v *Snapshot) List(q Query) iter.Seq2[*record.Verified, error] {
	return func(yield func(*record.Verified, error) bool) {
		left := q.Limit
		emit := func(r *record.Verified, err error) bool {
			if !yield(r, err) || err != nil {
				return false
			}
			left--
			return left != 0
		}
		switch {
		case q.Order == Path:
			v.byPath(&q, emit)
		case q.Prefix != "" && q.Prefix != "/" || q.Gte != "" || q.Lte != "":
			v.byTimeWithin(&q, emit)
		default:
			v.byTime(&q, emit)
		}
	}
}

// extra is the control records and sweeps that a query selects.
func (v *Snapshot) extra(q *Query) []*record.Verified {
	if !q.Everything {
		return nil
	}
	all := append(v.state.law.Control(), v.state.law.Sweeps()...)
	return slices.DeleteFunc(all, func(r *record.Verified) bool { return !q.acceptsRecord(r) })
}

func (v *Snapshot) byPath(q *Query, emit func(*record.Verified, error) bool) {
	extra := v.extra(q)
	slices.SortFunc(extra, func(a, b *record.Verified) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind), item(a).Compare(item(b)))
	})
	done := false
	err := v.paths(q, func(e pathEntry, rows reader) error {
		for !done && len(extra) > 0 && extra[0].Path <= e.path {
			done = !emit(extra[0], nil)
			extra = extra[1:]
		}
		if done {
			return errStop
		}
		r, err := v.space.readArrival(rows, e.n)
		if err != nil {
			return err
		}
		if done = !emit(r, nil); done {
			return errStop
		}
		return nil
	})
	if err != nil && err != errStop {
		emit(nil, err)
		return
	}
	for !done && len(extra) > 0 {
		done = !emit(extra[0], nil)
		extra = extra[1:]
	}
}

type stop struct{}

func (stop) Error() string { return "stop" }

// errStop ends a walk early; it never leaves this room.
var errStop error = stop{}

// paths walks the path order where a query may select. A prefix is two
// ranges: itself, and what lies below it, with "/a-b" between them.
func (v *Snapshot) paths(q *Query, fn func(pathEntry, reader) error) error {
	s := v.space.number
	all := tableKey(tablePath, s, 0)
	ranges := [][2][]byte{{all, successor(all)}}
	if q.Prefix != "" && q.Prefix != "/" {
		self := pathPrefix(s, q.Prefix)
		below := append(tableKey(tablePath, s, len(q.Prefix)+1), q.Prefix+"/"...)
		ranges = [][2][]byte{{self, successor(self)}, {below, successor(below)}}
	}
	authors := make(map[uint32]bool)
	for _, k := range q.Authors {
		if a, ok := v.space.store.authors.number(k); ok {
			authors[a] = true
		}
	}
	rows, err := v.reader()
	if err != nil {
		return err
	}
	for _, g := range ranges {
		lo, hi := g[0], g[1]
		if from := append(tableKey(tablePath, s, len(q.Gte)), q.Gte...); q.Gte != "" && string(from) > string(lo) {
			lo = from
		}
		if to := append(tableKey(tablePath, s, len(q.Lte)), q.Lte...); q.Lte != "" && string(to) < string(hi) {
			hi = to
		}
		if string(lo) >= string(hi) {
			continue
		}
		err := each(rows, lo, hi, func(x row) error {
			if v.closed.Load() {
				return ErrClosed
			}
			e, err := decodePath(x.key, x.value)
			if err != nil {
				return err
			}
			if _, gone := v.gone[e.n]; gone || !q.accepts(e.kind, e.path, e.time) || len(q.Authors) > 0 && !authors[e.author] {
				return nil
			}
			return fn(e, rows)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *Snapshot) byTimeWithin(q *Query, emit func(*record.Verified, error) bool) {
	type at struct {
		time, n uint64
		record  *record.Verified
	}
	var found []at
	rows, err := v.reader()
	if err == nil {
		err = v.paths(q, func(e pathEntry, _ reader) error {
			found = append(found, at{e.time, e.n, nil})
			return nil
		})
	}
	if err != nil {
		emit(nil, err)
		return
	}
	for _, r := range v.extra(q) {
		found = append(found, at{r.Time, 0, r})
	}
	slices.SortStableFunc(found, func(a, b at) int {
		if q.Order == Newest {
			a, b = b, a
		}
		return cmp.Compare(a.time, b.time)
	})
	for len(found) > 0 {
		// Equal times are ordered by ID, which only the records know.
		n := 1
		for n < len(found) && found[n].time == found[0].time {
			n++
		}
		same := make([]*record.Verified, n)
		for i, f := range found[:n] {
			if same[i] = f.record; same[i] == nil {
				if same[i], err = v.space.readArrival(rows, f.n); err != nil {
					emit(nil, err)
					return
				}
			}
		}
		slices.SortFunc(same, func(a, b *record.Verified) int {
			if q.Order == Newest {
				a, b = b, a
			}
			return a.ID.Compare(b.ID)
		})
		for _, r := range same {
			if v.closed.Load() {
				emit(nil, ErrClosed)
				return
			}
			if !emit(r, nil) {
				return
			}
		}
		found = found[n:]
	}
}

// byTime walks the index in memory and reads each record by its ID.
func (v *Snapshot) byTime(q *Query, emit func(*record.Verified, error) bool) {
	begin, end := 0, v.index.Len()
	var err error
	if q.From > 0 {
		begin, err = v.position(q.From)
	}
	if q.To > 0 && err == nil {
		end, err = v.position(q.To)
	}
	if err != nil {
		emit(nil, err)
		return
	}
	const step = 256
	for begin < end {
		lo, hi := begin, min(end, begin+step)
		if q.Order == Newest {
			lo, hi = max(begin, end-step), end
		}
		var ids []record.ID
		for x, err := range v.index.Items(lo, hi) {
			if err != nil {
				emit(nil, err)
				return
			}
			ids = append(ids, x.ID)
		}
		if q.Order == Newest {
			slices.Reverse(ids)
			end = lo
		} else {
			begin = hi
		}
		for _, id := range ids {
			r, err := v.Get(id)
			if err != nil {
				emit(nil, err)
				return
			}
			if q.acceptsRecord(r) && !emit(r, nil) {
				return
			}
		}
	}
}

func (v *Snapshot) position(t uint64) (int, error) {
	return v.index.LowerBound(reconcile.Bound{Time: t})
}
