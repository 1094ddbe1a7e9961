package store

import (
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// Verdict is what became of a record: space.Member, space.Held, space.Dead,
// or one of ours.
type Verdict = space.Verdict

const (
	// Known says that the record was here before, or stood twice in the batch.
	Known Verdict = 16
	// OverBudget says that a held record is larger than the whole budget.
	OverBudget Verdict = 17
)

// Fork is a number of a lane under which two different records were members,
// the first such number of the lane.
type Fork struct {
	Author record.Key
	Lane   uint64
	Number uint32
}

// work is a space's state in the making: that of the last published one, plus
// what the requests of the present group did. It turns membership into rows.
type work struct {
	c     *commit
	space *Space
	s     uint32
	state
	saved   state                       // before the present request
	result  *state                      // what the group makes of it, once it is built
	drafts  map[uint64]*record.Verified // by arrival number: those that are not signed yet
	adopted bool                        // it knows more of its trie than what it began with

	// Of the present request:
	ownsLaw  bool // law was cloned for it
	log      []moved
	lanes    map[laneID]laneRow     // looked at
	began    map[laneID]uint32      // the highest number of each of them before the request
	advanced map[laneID]struct{}    // of those, the ones to be written
	own      map[record.Key]ownLane // lane 0: none
	forks    []Fork
	removed  int    // data records that left
	touched  int    // records that a change of the law moved
	requeued bool   // queue is another than before
	finally  func() // called when nothing is left in queue
}

type laneID struct {
	author uint32
	lane   uint64
}

// moved is an item that entered or left.
type moved struct {
	item reconcile.Item
	left bool
}

func newWork(c *commit, sp *Space) *work {
	w := &work{c: c, space: sp, s: sp.number, state: *sp.ahead, drafts: make(map[uint64]*record.Verified)}
	w.fork()
	return w
}

func (w *work) begin() {
	w.saved = w.state
	w.ownsLaw, w.log, w.forks, w.removed = false, nil, nil, 0
	w.touched, w.requeued, w.finally = 0, false, nil
	w.lanes, w.began, w.advanced = make(map[laneID]laneRow), make(map[laneID]uint32), make(map[laneID]struct{})
	w.own = make(map[record.Key]ownLane)
}

// undo forgets the present request. The derived values were not touched by it.
func (w *work) undo() {
	for n := range w.drafts {
		if n > w.saved.version {
			delete(w.drafts, n)
		}
	}
	w.state = w.saved
}

// flush writes the rows that a request gathers.
func (w *work) flush() error {
	for id := range w.advanced {
		w.c.tx.set(laneKey(w.s, id.author, id.lane), w.lanes[id].encode())
	}
	w.saveQueue()
	if err := w.trim(); err != nil {
		return err
	}
	return w.emptyTrash()
}

// accept makes the present request part of the group.
func (w *work) accept() {
	for log := w.log; len(log) > 0; {
		n := 1
		for n < len(log) && log[n].left == log[0].left {
			n++
		}
		items := make([]reconcile.Item, n)
		for i, m := range log[:n] {
			items[i] = m.item
		}
		sign := +1
		if log[0].left {
			sign = -1
		}
		w.apply(items, sign)
		log = log[n:]
	}
	for k, own := range w.own {
		w.c.lanes = true
		if own.lane == 0 {
			delete(w.space.lanes, k)
		} else {
			w.space.lanes[k] = own
		}
	}
}

func (w *work) published() *state {
	st := w.state
	return &st
}

// judge is the law's verdict.
func (w *work) judge(r *record.Verified) Verdict { return w.law.Judge(r) }

// mutableLaw is the law, for a request to change.
func (w *work) mutableLaw() *space.State {
	if !w.ownsLaw {
		w.law, w.ownsLaw = w.law.Clone(), true
	}
	return w.law
}

// enter makes a record a member. It is in no table.
func (w *work) enter(r *record.Verified) error {
	tx, s := w.c.tx, w.s
	w.version++
	w.name(r, w.version)
	w.log = append(w.log, moved{item: reconcile.Item{Time: r.Time, ID: r.ID}})
	if !r.Data() {
		tx.set(idKey(tableControl, s, r.ID), u64(nil, w.version))
		return nil
	}
	return w.order(r)
}

// name writes the rows of a new member that hang on its signature.
func (w *work) name(r *record.Verified, n uint64) {
	tx, s := w.c.tx, w.s
	value := u64(make([]byte, 0, 8), n)
	tx.set(numberKey(tableArrival, s, n), r.Bytes)
	tx.set(idKey(tableID, s, r.ID), value)
	tx.set(timeKey(tableTime, s, r.Time, r.ID), value)
}

// order writes the rows of the newest arrival, which is data, that do not
// hang on its signature.
func (w *work) order(r *record.Verified) error {
	tx, s := w.c.tx, w.s
	a := w.c.author(r.Author)
	blank := w.space.blanks.note(r.Path)
	tx.set(pathKey(s, r.Path, r.Kind, r.Time, w.version), u32(nil, a))
	tx.set(dotKey(s, a, r.Lane, r.Seq, w.version), nil)
	w.nameBlob(r, w.version)
	if err := w.advance(a, r); err != nil {
		return err
	}
	if r.Kind == record.Doc {
		return w.remember(r, blank)
	}
	return nil
}

// leave takes a member out of the set and of every order.
func (w *work) leave(r *record.Verified, n uint64, v Verdict) error {
	tx, s := w.c.tx, w.s
	tx.delete(numberKey(tableArrival, s, n))
	tx.delete(idKey(tableID, s, r.ID))
	tx.delete(timeKey(tableTime, s, r.Time, r.ID))
	w.log = append(w.log, moved{reconcile.Item{Time: r.Time, ID: r.ID}, true})
	w.version++
	w.gone++
	tx.set(numberKey(tableDeparture, s, w.version), departure{v, r.Time, r.ID, n}.encode())
	if !r.Data() {
		tx.delete(idKey(tableControl, s, r.ID))
		return nil
	}
	w.removed++
	a := w.c.author(r.Author)
	tx.delete(pathKey(s, r.Path, r.Kind, r.Time, n))
	tx.delete(dotKey(s, a, r.Lane, r.Seq, n))
	w.unnameBlob(r, n)
	if r.Kind == record.Doc {
		return w.unpend(killKey(s, a, r.Path, r.Time, n))
	}
	return nil
}

// place puts a record that is in no table where its verdict says.
func (w *work) place(r *record.Verified, v Verdict) (Verdict, error) {
	switch {
	case v == space.Member:
		return v, w.enter(r)
	case v == space.Held:
		return w.hold(r)
	case w.law.Listed(r.ID):
		w.discard(r, never)
	case r.Data() && w.c.store.options.TrashAge > 0:
		w.discard(r, w.expiry())
	case !r.Data():
		return v, w.forget(r.ID)
	}
	return v, nil
}

// forget drops a control record or sweep from the law; its rows are gone.
func (w *work) forget(id record.ID) error {
	return w.settle(w.mutableLaw().Forget(id))
}

// settle turns a change of the law into rows.
func (w *work) settle(ch space.Change) error {
	authority := false
	for _, r := range ch.Left {
		_, n, err := w.space.readMember(w.c.tx, r.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			continue // inserted and never stored
		}
		v := w.judge(r)
		if err := w.leave(r, n, v); err != nil {
			return err
		}
		if _, err := w.place(r, v); err != nil {
			return err
		}
		authority = authority || r.Kind == record.Control
	}
	for _, r := range ch.Entered {
		if err := w.drop(r); err != nil {
			return err
		}
		if err := w.enter(r); err != nil {
			return err
		}
		authority = authority || r.Kind == record.Control
	}
	if authority {
		w.moves++
		for _, list := range [][]*record.Verified{ch.Left, ch.Entered} {
			if err := w.relist(list); err != nil {
				return err
			}
		}
	}
	for i := range ch.Selectors {
		if err := w.rejudge(&ch.Selectors[i], authority); err != nil {
			return err
		}
	}
	return nil
}

// lane is a lane's row, as the present request sees it.
func (w *work) lane(id laneID) (laneRow, error) {
	if l, ok := w.lanes[id]; ok {
		return l, nil
	}
	key := laneKey(w.s, id.author, id.lane)
	b, err := w.c.tx.get(key)
	if err != nil {
		return laneRow{}, err
	}
	l, err := decodeLane(key, b)
	if err == nil {
		w.lanes[id], w.began[id] = l, l.high
	}
	return l, err
}

// advance keeps a lane's row: its highest number, and its first fork.
func (w *work) advance(a uint32, r *record.Verified) error {
	id := laneID{a, r.Lane}
	l, err := w.lane(id)
	if err != nil {
		return err
	}
	if r.Seq <= l.high {
		n, err := w.atNumber(dotPrefix(w.s, a, r.Lane, r.Seq), r.Seq > w.began[id])
		if err != nil {
			return err
		}
		if n > 1 {
			w.forks = append(w.forks, Fork{r.Author, r.Lane, r.Seq})
			if l.fork == 0 || r.Seq < l.fork {
				l.fork = r.Seq
			}
		}
	}
	l.high = max(l.high, r.Seq)
	w.lanes[id], w.advanced[id] = l, struct{}{}
	return nil
}

// atNumber counts the dots at a number, two if there are more. A number that
// is fresh was above all of its lane before the request.
func (w *work) atNumber(prefix []byte, fresh bool) (int, error) {
	if fresh || w.c.tx.isBlank(prefix) {
		return w.c.tx.rowsBelow(prefix), nil
	}
	rows, _, err := w.c.tx.chunk(prefix, successor(prefix), 2)
	return len(rows), err
}

// trim forgets the oldest departures when there are many: a log of what left
// must not grow for ever.
func (w *work) trim() error {
	most := w.c.store.options.departures
	if w.gone <= most+most/4 {
		return nil
	}
	lo := tableKey(tableDeparture, w.s, 0)
	hi := successor(lo)
	for w.gone > most && lo != nil {
		rows, next, err := w.c.tx.chunk(lo, hi, min(chunkRows, w.gone-most))
		if err != nil {
			return err
		}
		for _, x := range rows {
			if w.gone <= most {
				break // a chunk may hold more than was asked for
			}
			if len(x.key) != 13 {
				return damagedRow(x.key, "%d bytes", len(x.key))
			}
			w.c.tx.delete(x.key)
			w.gone--
			w.trimmed = beU64(x.key[5:])
		}
		lo = next
	}
	w.c.tx.set(metaTrimmed(w.s), u64(nil, w.trimmed))
	return nil
}
