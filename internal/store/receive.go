package store

import (
	"context"
	"fmt"

	"anabranch/record"
	"anabranch/space"
)

// Result says what a Commit did.
type Result struct {
	Version  uint64    // the space's last arrival number
	Verdicts []Verdict // one for each record handed over, in its order
	Added    int       // members that entered from this batch
	Known    int
	Dead     int
	Held     int
	Removed  int // data records that were members before and are not now
	Forks    []Fork
}

// Commit takes records that arrived, each verified for this space. Control is
// judged first, then sweeps, then data; what they change for records that are
// here changes in the same batch. All of it is durable on return, or none of
// it is there.
func (sp *Space) Commit(ctx context.Context, rs []*record.Verified) (Result, error) {
	wait, err := sp.post(ctx, rs)
	if err != nil {
		return Result{}, err
	}
	return wait()
}

// post is Commit in two steps: the order of commits is that of the calls.
func (sp *Space) post(ctx context.Context, rs []*record.Verified) (wait func() (Result, error), err error) {
	size := 0
	for _, r := range rs {
		size += len(r.Payload) + recordRows
	}
	var res *Result
	done, err := sp.store.post(&request{ctx: ctx, bytes: size, done: make(chan error, 1), adds: true, run: func(c *commit) error {
		var err error
		res, err = c.work(sp).receive(rs)
		return err
	}})
	if err != nil {
		return nil, fmt.Errorf("commit to %v: %w", sp.id, err)
	}
	return func() (Result, error) {
		if err := done(); err != nil {
			return Result{}, fmt.Errorf("commit to %v: %w", sp.id, err)
		}
		return *res, nil
	}, nil
}

func (w *work) receive(rs []*record.Verified) (*Result, error) {
	if err := w.lookForNumbers(rs); err != nil {
		return nil, err
	}
	res := &Result{Verdicts: make([]Verdict, len(rs))}
	fresh := make(map[record.ID]struct{}, len(rs))
	var rules []*record.Verified // control and sweeps
	for i, r := range rs {
		v, err := w.whereabouts(r)
		if err != nil {
			return nil, err
		}
		if _, twice := fresh[r.ID]; twice {
			v = Known
		}
		if res.Verdicts[i] = v; v != 0 {
			continue
		}
		fresh[r.ID] = struct{}{}
		w.suspect(r)
		if !r.Data() {
			rules = append(rules, r)
		}
	}
	if len(rules) > 0 {
		if err := w.settle(w.mutableLaw().Insert(rules...)); err != nil {
			return nil, err
		}
	}
	var vectors [][]byte
	for i, r := range rs {
		if r.Kind == record.Doc && res.Verdicts[i] == 0 && !w.space.blanks.has(r.Path) {
			vectors = append(vectors, vectorKey(w.s, r.Path))
		}
	}
	if err := w.c.tx.prefetch(vectors); err != nil {
		return nil, err
	}
	for _, data := range []bool{false, true} {
		for i, r := range rs {
			if r.Data() != data || res.Verdicts[i] != 0 {
				continue
			}
			v, err := w.receiveOne(r)
			if err != nil {
				return nil, err
			}
			res.Verdicts[i] = v
			if v == space.Member {
				res.Added++
			}
		}
	}
	for _, v := range res.Verdicts {
		switch v {
		case Known:
			res.Known++
		case space.Dead:
			res.Dead++
		case space.Held:
			res.Held++
		}
	}
	res.Forks = w.forks
	w.finally = func() { res.Version, res.Removed = w.version, w.removed }
	return res, nil
}

// receiveOne places a record that was in no table when the batch began.
func (w *work) receiveOne(r *record.Verified) (Verdict, error) {
	v := w.judge(r)
	if !r.Data() && v == space.Member {
		return v, nil // entered when the law changed
	}
	return w.place(r, v)
}

// whereabouts says in which table a record is: Known, Dead for the trash, 0
// for none.
func (w *work) whereabouts(r *record.Verified) (Verdict, error) {
	id := r.ID
	known, err := w.known(r)
	if known || err != nil {
		return Known, err
	}
	var b []byte
	if w.stats.Held > 0 {
		b, err = w.c.tx.get(idKey(tableHeld, w.s, id))
		if b != nil || err != nil {
			return Known, err
		}
	}
	if w.stats.Trash > 0 {
		b, err = w.c.tx.get(idKey(tableTrash, w.s, id))
		if b != nil || err != nil {
			return space.Dead, err
		}
	}
	return 0, nil
}

// lookForNumbers looks up, with one walk, at which numbers there is nothing in
// lanes that have had higher ones: many records that are written at once share
// a time, so that they come in the order of their IDs.
func (w *work) lookForNumbers(rs []*record.Verified) error {
	var dots [][]byte
	for _, r := range rs {
		if !r.Data() {
			continue
		}
		a, ok := w.c.store.authors.number(r.Author)
		if !ok {
			continue
		}
		l, err := w.lane(laneID{a, r.Lane})
		if err != nil {
			return err
		}
		if r.Seq <= l.high {
			dots = append(dots, dotPrefix(w.s, a, r.Lane, r.Seq))
		}
	}
	return w.c.tx.prefetchBlank(dots)
}

// known says whether a record is a member. One with a number above all that
// its lane ever had here is not, which is what most of those that arrive are.
func (w *work) known(r *record.Verified) (bool, error) {
	if r.Data() {
		a, ok := w.c.store.authors.number(r.Author)
		if !ok {
			return false, nil
		}
		l, err := w.lane(laneID{a, r.Lane})
		if err != nil || r.Seq > l.high {
			return false, err
		}
		if lo := dotPrefix(w.s, a, r.Lane, r.Seq); w.c.tx.isBlank(lo) && w.c.tx.rowsBelow(lo) == 0 {
			return false, nil // a member has a dot
		}
	}
	b, err := w.c.tx.get(idKey(tableID, w.s, r.ID))
	return b != nil, err
}

// suspect leaves the lane in which an author writes here when a record that
// arrived shows that another copy of this store wrote in it too: a number
// above the highest, a second ID on a dot, or a swept bit that was not
// written here.
func (w *work) suspect(r *record.Verified) {
	own, ok := w.own[r.Author]
	if !ok {
		own, ok = w.space.lanes[r.Author]
	}
	if !ok || own.lane == 0 || own.lane != r.Lane {
		return
	}
	switch {
	case r.Kind == record.Sweep:
		ours := w.law.SweptUnion(r.Author, r.Lane, r.Path, r.Seq)
		if !r.Dots().Whole() && ours.Contains(r.Dots()) {
			return
		}
	case r.Seq <= own.high && w.law.Swept(r.Author, r.Lane, r.Seq):
		return // an own record that was swept here comes back from a peer
	}
	w.own[r.Author] = ownLane{}
	w.c.store.log.Warn("another copy of this store wrote in its lane; a fresh one is opened", "author", r.Author, "lane", r.Lane)
}
