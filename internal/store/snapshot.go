package store

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// Snapshot is one published state of a space: everything it answers belongs
// to one version. It must be closed; a long-lived one keeps removed records
// on the disk. Its methods may be called from any goroutine.
type Snapshot struct {
	space  *Space
	view   *sharedView
	state  *state
	closed atomic.Bool
	index  reconcile.Index
	trie   merkle.Source

	// What Filter laid over the rows:
	added   map[record.ID]*record.Verified
	gone    map[uint64]struct{} // arrival numbers
	in, out []reconcile.Item    // members, and no members any more
}

// Snapshot returns the last published state. Cost: O(1).
func (sp *Space) Snapshot() (*Snapshot, error) {
	s := sp.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if sp.gone {
		return nil, ErrDropped
	}
	s.view.refs.Add(1)
	v := &Snapshot{space: sp, view: s.view, state: sp.state}
	v.index = newBlockIndex(v, sp.number, v.state.blocks)
	trie := newCutSource(v, sp.number, v.state.cuts)
	trie.divided = func() { sp.adopt(v.state) }
	v.trie = trie
	return v, nil
}

// scan is a scanner's: the rows of this state.
func (v *Snapshot) scan(spans []span, fn func(i int, key, value []byte) error) error {
	if v.closed.Load() {
		return ErrClosed
	}
	return v.view.scan(spans, fn)
}

// Close gives the snapshot up. It may be called more than once.
func (v *Snapshot) Close() {
	if v.closed.CompareAndSwap(false, true) {
		v.view.release()
	}
}

// reader is the rows of this state.
func (v *Snapshot) reader() (reader, error) {
	if v.closed.Load() {
		return nil, ErrClosed
	}
	return v.view, nil
}

// Space is the space this is a state of.
func (v *Snapshot) Space() *Space { return v.space }

// Version is the last arrival number. It is local to this store.
func (v *Snapshot) Version() uint64 { return v.state.version }

// Count is the number of members.
func (v *Snapshot) Count() uint64 { return uint64(v.index.Len()) }

// Trie holds the IDs of all members. A subtree that changed since somebody
// asked is read from the rows: about 20 µs for each.
func (v *Snapshot) Trie() merkle.Source { return v.trie }

// Index holds all members by (time, ID). It reads rows: at most two blocks of
// them for a fingerprint, one for an item.
func (v *Snapshot) Index() reconcile.Index { return v.index }

// State judges records as this snapshot does. It must not be changed.
func (v *Snapshot) State() *space.State { return v.state.law }

// HeldStats counts what is kept outside the set.
func (v *Snapshot) HeldStats() HeldStats { return v.state.stats }

// Root is the root of the whole space. The first call after a change costs
// what changed; see Trie. After a first load everything has.
func (v *Snapshot) Root() (merkle.Digest, error) {
	count, trie, err := merkle.Hash(v.trie)
	if err != nil {
		return merkle.Digest{}, fmt.Errorf("root: %w", err)
	}
	return merkle.Root(v.space.id, nil, count, trie), nil
}

// Get returns a member. The error is ErrNotFound when it is none here.
func (v *Snapshot) Get(id record.ID) (*record.Verified, error) {
	if r, ok := v.added[id]; ok {
		return r, nil
	}
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	r, n, err := v.space.readMember(rows, id)
	if err != nil {
		return nil, fmt.Errorf("get %v: %w", id, err)
	}
	if _, gone := v.gone[n]; n == 0 || gone {
		return nil, fmt.Errorf("%w: record %v", ErrNotFound, id)
	}
	return r, nil
}

// Docs returns the live docs at a path, oldest first.
func (v *Snapshot) Docs(path string) ([]*record.Verified, error) {
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	var out []*record.Verified
	prefix := kindPrefix(v.space.number, path, record.Doc)
	err = each(rows, prefix, successor(prefix), func(x row) error {
		e, err := decodePath(x.key, x.value)
		if err != nil {
			return err
		}
		if _, gone := v.gone[e.n]; gone {
			return nil
		}
		r, err := v.space.readArrival(rows, e.n)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return out, nil
}

// Resolve reads a path: see space.Read. now is in microseconds.
func (v *Snapshot) Resolve(path string, now uint64) (space.Reading, error) {
	docs, err := v.Docs(path)
	if err != nil {
		return space.Reading{}, err
	}
	rows, err := v.reader()
	if err != nil {
		return space.Reading{}, err
	}
	var failed error
	reading := space.Read(docs, now, func(author record.Key, lane uint64) uint32 {
		l, err := v.laneRow(rows, author, lane)
		if err != nil {
			failed = err
		}
		return l.fork
	})
	return reading, failed
}

func (v *Snapshot) laneRow(rows reader, author record.Key, lane uint64) (laneRow, error) {
	a, known := v.space.store.authors.number(author)
	if !known {
		return laneRow{}, nil
	}
	key := laneKey(v.space.number, a, lane)
	b, err := rows.get(key)
	if err != nil {
		return laneRow{}, err
	}
	return decodeLane(key, b)
}

// Forks lists the lanes in which two records were found under one number.
// Cost: O(lanes).
func (v *Snapshot) Forks() ([]Fork, error) {
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	var out []Fork
	lo := tableKey(tableLane, v.space.number, 0)
	err = each(rows, lo, successor(lo), func(x row) error {
		l, err := decodeLane(x.key, x.value)
		if err != nil || l.fork == 0 {
			return err
		}
		if len(x.key) != 17 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		author, ok := v.space.store.authors.key(beU32(x.key[5:]))
		if !ok {
			return damagedRow(x.key, "its author has no key")
		}
		out = append(out, Fork{author, beU64(x.key[9:]), l.fork})
		return nil
	})
	return out, err
}

// Arrival is one entry of the log: a record entered the set, or left it.
type Arrival struct {
	Number uint64
	Record *record.Verified // entered, and still a member; else nil
	Left   record.ID        // left: the record's ID
	Old    uint64           // left: the number at which it had entered
	Why    Verdict          // left: space.Held or space.Dead
	Time   uint64           // of the record, either way
}

// Since yields what entered and what left after a version, in order. A record
// that entered and left again shows its departure only. Departures are
// forgotten after some tens of thousands; Complete says whether they are all
// there.
func (v *Snapshot) Since(version uint64) iter.Seq2[Arrival, error] {
	return func(yield func(Arrival, error) bool) {
		in := v.log(tableArrival, version)
		out := v.log(tableDeparture, version)
		for {
			a, err := in.peek()
			b, err2 := out.peek()
			if err == nil {
				err = err2
			}
			switch {
			case err != nil:
				yield(Arrival{}, err)
				return
			case a == nil && b == nil:
				return
			case b == nil || a != nil && beU64(a.key[5:]) < beU64(b.key[5:]):
				in.next()
				n := beU64(a.key[5:])
				if _, gone := v.gone[n]; gone {
					continue
				}
				r, err := record.Restore(v.space.id, a.value)
				if err != nil {
					yield(Arrival{}, damagedRow(a.key, "%v", err))
					return
				}
				if !yield(Arrival{Number: n, Record: r, Time: r.Time}, nil) {
					return
				}
			default:
				out.next()
				d, err := decodeDeparture(b.key, b.value)
				if err != nil {
					yield(Arrival{}, err)
					return
				}
				if !yield(Arrival{Number: beU64(b.key[5:]), Left: d.id, Old: d.old, Why: d.verdict, Time: d.time}, nil) {
					return
				}
			}
		}
	}
}

// Complete reports whether Since(version) still knows every departure.
func (v *Snapshot) Complete(version uint64) bool { return version >= v.state.trimmed }

func (v *Snapshot) log(table byte, version uint64) *cursor {
	lo := tableKey(table, v.space.number, 0)
	hi := successor(lo)
	if version == never {
		return &cursor{}
	}
	return &cursor{snapshot: v, lo: numberKey(table, v.space.number, version+1), hi: hi}
}

// cursor walks rows a chunk at a time: nothing stays open between two steps.
type cursor struct {
	snapshot *Snapshot
	lo, hi   []byte // lo nil: everything was read
	rows     []row
}

// peek is the row at the cursor, nil at the end.
func (c *cursor) peek() (*row, error) {
	for len(c.rows) == 0 {
		if c.lo == nil {
			return nil, nil
		}
		r, err := c.snapshot.reader()
		if err != nil {
			return nil, err
		}
		if c.rows, c.lo, err = r.chunk(c.lo, c.hi, chunkRows); err != nil {
			return nil, err
		}
	}
	if len(c.rows[0].key) < 13 {
		return nil, damagedRow(c.rows[0].key, "%d bytes", len(c.rows[0].key))
	}
	return &c.rows[0], nil
}

func (c *cursor) next() { c.rows = c.rows[1:] }

// Filter is the snapshot as it will be once these sweeps are committed: they
// are members as far as the law makes them so; what they make redundant and
// what they kill is gone. It costs what they kill. Close it too.
func (v *Snapshot) Filter(sweeps []*record.Verified) (*Snapshot, error) {
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	st := *v.state
	st.law = st.law.Clone()
	f := &Snapshot{space: v.space, view: v.view, state: &st, added: make(map[record.ID]*record.Verified), gone: make(map[uint64]struct{})}
	entered, left := make(map[reconcile.Item]struct{}), make(map[reconcile.Item]struct{})
	for id, r := range v.added {
		f.added[id] = r
	}
	for n := range v.gone {
		f.gone[n] = struct{}{}
	}
	var only []*record.Verified
	for _, r := range sweeps {
		if r.Kind == record.Sweep {
			only = append(only, r)
		}
	}
	ch := st.law.Insert(only...)
	for _, r := range ch.Entered {
		f.added[r.ID] = r
		entered[item(r)] = struct{}{}
	}
	remove := func(r *record.Verified, n uint64) {
		if _, fresh := entered[item(r)]; fresh {
			delete(entered, item(r))
		} else {
			left[item(r)] = struct{}{}
		}
		if n != 0 {
			f.gone[n] = struct{}{}
		}
		delete(f.added, r.ID)
	}
	for _, r := range ch.Left {
		_, n, err := v.space.readMember(rows, r.ID)
		if err != nil {
			return nil, err
		}
		remove(r, n)
	}
	for i := range ch.Selectors {
		a, known := v.space.store.authors.number(ch.Selectors[i].Author)
		if !known {
			continue
		}
		err := v.space.selected(rows, a, &ch.Selectors[i], nil, func(_ []byte, n uint64, r *record.Verified) error {
			if st.law.Judge(r) != space.Member {
				remove(r, n)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	in, out := slices.Collect(maps.Keys(entered)), slices.Collect(maps.Keys(left))
	if f.index, err = reconcile.Overlay(v.index, in, out); err != nil {
		return nil, err
	}
	if f.trie, err = merkle.Overlay(v.trie, idsOfItems(in), idsOfItems(out)); err != nil {
		return nil, err
	}
	f.in, f.out = slices.Concat(v.in, in), slices.Concat(v.out, out)
	v.view.refs.Add(1)
	return f, nil
}

func idsOfItems(items []reconcile.Item) []merkle.ID {
	ids := make([]merkle.ID, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	return ids
}

func item(r *record.Verified) reconcile.Item { return reconcile.Item{Time: r.Time, ID: r.ID} }
