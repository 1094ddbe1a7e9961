package store

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"anabranch/record"
	"anabranch/space"
)

// Space is one space of a store.
type Space struct {
	store   *Store
	number  uint32
	id      record.SpaceID
	genesis *space.Genesis

	ownMu sync.Mutex // guards own
	own   map[record.Key]struct{}

	// Guarded by store.mu:
	state   *state
	changed chan struct{} // closed at the next publish
	gone    bool          // dropped, durably

	// Used by the committer only: the last state that was built, durable or
	// not, and the lane in which an author writes here.
	ahead   *state
	wrote   uint64 // time of the record written last
	dropped bool   // durably or not
	lanes   map[record.Key]ownLane
	blanks  blanks
	sweptAt uint64 // state.moves when spared deletes were last looked at

	saving   atomic.Bool // a checkpoint is being written; whoever does owns saved
	saved    saved
	adopting atomic.Bool
	divided  atomic.Bool // large cuts have got halves that are in no checkpoint
}

// ownLane is a lane that this replica may write in: it has proven, or made
// sure, that its store is the newest copy.
type ownLane struct {
	lane uint64
	high uint32
}

// state is one published state of a space: what follows from the rows of one
// durable commit. It is immutable.
type state struct {
	version uint64
	law     *space.State
	blocks  *blocks   // all members by (time, ID)
	cuts    *cuts     // all member IDs
	sketch  *sketched // of all member IDs
	stats   HeldStats
	pending int       // kills that wait for a sweep
	serial  uint64    // of the next held record
	others  int64     // bytes of held records by others
	moves   uint64    // changes of authority since the store was opened, from 1
	trimmed uint64    // departures up to this number were forgotten
	gone    int       // departures in the log
	queue   []removal // what a change of the law left to do; empty in a state that is published, unless a row is damaged
}

// HeldStats counts what is kept outside the set.
type HeldStats struct {
	Held       int   // records that nothing known here authorises
	HeldBytes  int64 // their bytes
	Trash      int   // dead records that wait for their destruction
	TrashBytes int64
	Kept       int // of those, the ones that a standing seal lists
}

func newSpace(s *Store, number uint32, g *space.Genesis) *Space {
	sp := &Space{
		store: s, number: number, id: g.ID(), genesis: g,
		own:     make(map[record.Key]struct{}),
		lanes:   make(map[record.Key]ownLane),
		changed: make(chan struct{}),
		state:   &state{moves: 1, law: space.NewState(g.Roots)},
	}
	sp.state.blank(s)
	sp.ahead = sp.state
	for _, k := range s.options.OwnAuthors {
		sp.own[k] = struct{}{}
	}
	return sp
}

// ID is the space's name: the hash of its genesis.
func (sp *Space) ID() record.SpaceID { return sp.id }

// Genesis is the space's birth certificate.
func (sp *Space) Genesis() *space.Genesis { return sp.genesis }

// KeepAuthor says that a key is the replica's own: its records are never
// evicted while they are held.
func (sp *Space) KeepAuthor(k record.Key) {
	sp.ownMu.Lock()
	defer sp.ownMu.Unlock()
	sp.own[k] = struct{}{}
}

func (sp *Space) keeps(k record.Key) bool {
	sp.ownMu.Lock()
	defer sp.ownMu.Unlock()
	_, ok := sp.own[k]
	return ok
}

// Changed returns a channel that is closed at the next publish: get it
// before the snapshot that it is to announce changes to.
func (sp *Space) Changed() <-chan struct{} {
	sp.store.mu.Lock()
	defer sp.store.mu.Unlock()
	return sp.changed
}

// PendingKills is the number of own superfluous records that wait for Sweep.
func (sp *Space) PendingKills() int {
	sp.store.mu.Lock()
	defer sp.store.mu.Unlock()
	return sp.state.pending
}

// Generation is a random number that changes whenever this replica opens a
// fresh lane: with it, a version names one history of one store.
func (sp *Space) Generation() (uint64, error) {
	v := sp.store.now()
	defer v.release()
	key := metaGeneration(sp.number)
	b, err := v.get(key)
	if err != nil {
		return 0, err
	}
	return number(key, b)
}

// load rebuilds the state in memory from the rows.
func (sp *Space) load(r engine) error {
	if err := sp.loadVersion(r); err != nil {
		return err
	}
	if err := sp.loadDerived(r); err != nil {
		return err
	}
	if err := sp.loadQueue(r); err != nil {
		return err
	}
	return sp.loadOutside(r)
}

// loadVersion finds the last arrival number and what departures are left.
func (sp *Space) loadVersion(r reader) error {
	st, s := sp.state, sp.number
	for _, table := range []byte{tableArrival, tableDeparture} {
		lo := tableKey(table, s, 0)
		last, err := r.last(lo, successor(lo))
		if err != nil {
			return err
		}
		if last.key == nil {
			continue
		}
		if len(last.key) != 13 {
			return damagedRow(last.key, "%d bytes", len(last.key))
		}
		st.version = max(st.version, binary.BigEndian.Uint64(last.key[5:]))
	}
	lo := tableKey(tableDeparture, s, 0)
	err := each(r, lo, successor(lo), func(row) error { st.gone++; return nil })
	if err != nil {
		return err
	}
	key := metaTrimmed(s)
	b, err := r.get(key)
	if err != nil {
		return err
	}
	if b != nil {
		if st.trimmed, err = number(key, b); err != nil {
			return err
		}
	}
	return nil
}

// loadOutside reads control, sweeps, held records, trash and pending kills.
func (sp *Space) loadOutside(r reader) error {
	st, s := sp.state, sp.number
	var known []*record.Verified
	lo := tableKey(tableControl, s, 0)
	err := each(r, lo, successor(lo), func(x row) error {
		if len(x.key) != 37 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		n, err := number(x.key, x.value)
		if err != nil {
			return err
		}
		v, err := sp.readArrival(r, n)
		if err != nil {
			return err
		}
		if v.ID != record.ID(x.key[5:]) || v.Data() {
			return damagedRow(x.key, "arrival %d holds the %v %v", n, v.Kind, v.ID)
		}
		known = append(known, v)
		return nil
	})
	if err != nil {
		return err
	}
	lo = tableKey(tableHeld, s, 0)
	err = each(r, lo, successor(lo), func(x row) error {
		if len(x.key) != 37 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		serial, v, err := sp.decodeStamped(x.key, x.value)
		if err != nil {
			return err
		}
		st.serial = max(st.serial, serial+1)
		st.stats.Held++
		st.stats.HeldBytes += int64(len(v.Bytes))
		order, err := r.get(numberKey(tableHeldOrder, s, serial))
		if err != nil {
			return err
		}
		if order != nil {
			st.others += int64(len(v.Bytes))
		}
		if !v.Data() {
			known = append(known, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	lo = tableKey(tableTrash, s, 0)
	err = each(r, lo, successor(lo), func(x row) error {
		if len(x.key) != 37 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		expiry, v, err := sp.decodeStamped(x.key, x.value)
		if err != nil {
			return err
		}
		st.stats.addTrash(v, expiry, 1)
		if !v.Data() {
			known = append(known, v)
		}
		return nil
	})
	if err != nil {
		return err
	}
	st.law.Insert(known...)
	lo = tableKey(tableKill, s, 0)
	return each(r, lo, successor(lo), func(x row) error {
		k, err := decodeKill(x)
		if err == nil && k.state == killWaits {
			st.pending++
		}
		return err
	})
}

func (h *HeldStats) addTrash(r *record.Verified, expiry uint64, sign int) {
	h.Trash += sign
	h.TrashBytes += int64(sign * len(r.Bytes))
	if expiry == never {
		h.Kept += sign
	}
}

// sortedKeys are the authors in a map, ascending: no map order reaches a row.
func sortedKeys[V any](m map[record.Key]V) []record.Key {
	keys := make([]record.Key, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, record.Key.Compare)
	return keys
}
