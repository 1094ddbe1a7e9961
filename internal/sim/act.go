package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
)

// act does one thing to the world.
func (w *world) act(a Action) {
	if w.quiet && a.Do != Write {
		return
	}
	w.trace.mix(uint64(w.now))
	w.trace.bytes([]byte(a.Do))
	w.trace.mix(uint64(a.Replica)<<32 | uint64(a.Other))
	r, o := w.replicas[a.Replica], w.replicas[a.Other]
	switch a.Do {
	case Write:
		r.write(a.Arg)
	case Remove:
		r.remove(a.Arg)
	case Sweep:
		r.sweep()
	case Edit:
		r.edit(a.Arg)
	case Fold:
		r.fold(a.Arg)
	case Crash:
		r.crash()
	case Start:
		r.start()
	case Freeze:
		r.frozen = max(r.frozen, w.now+time.Duration(a.Arg))
	case Cut:
		w.cut[a.Replica][a.Other]++
		w.silence(r, o)
	case Mend:
		w.cut[a.Replica][a.Other] = max(0, w.cut[a.Replica][a.Other]-1)
	case Split:
		w.split, w.whole = a.Arg, false
		for i, x := range w.replicas {
			for _, y := range w.replicas[:i] {
				if !w.open(x, y) {
					w.silence(x, y)
				}
			}
		}
	case Heal:
		w.heal()
	case Slow:
		r.slow = max(1, int64(a.Arg))
	case Full, Spare:
		r.disk.SetFull(a.Do == Full)
	case Jump:
		r.skew += time.Duration(int64(a.Arg)) * time.Microsecond
	case Backup:
		if r.here {
			r.old, r.saved = r.disk.Copy(), r.know.copy()
		}
	case Restore:
		r.restore()
	case Clone:
		r.clone(o)
	case Join:
		w.join(r, o)
	case Ask:
		r.ask(o, a.Arg)
	case Leave:
		if r.up {
			r.crash()
			r.gone = true
		}
	case Revoke, Withdraw:
		w.revoke(r, o, a)
	default:
		panic(fmt.Sprintf("sim: no such deed: %s", a.Do))
	}
}

func (w *world) heal() {
	w.whole = true
	for _, row := range w.cut {
		clear(row)
	}
}

// calm ends all faults: whoever is away comes back.
func (w *world) calm() {
	w.quiet = true
	w.heal()
	w.plan.Links.Loss, w.plan.Links.Twice, w.plan.Links.Overtake, w.plan.Links.Reset = 0, 0, 0, 0
	for _, r := range w.replicas {
		r.slow, r.frozen = 1, 0
		r.disk.SetFull(false)
		r.start()
		r.thaw()
	}
}

var paths = []string{"/a", "/b", "/c/d", "/c/e", "/f/g/h"}

// write puts something at a path; what it is follows from a seed.
func (r *replica) write(seed uint64) {
	if !r.up || r.frozen > r.w.now {
		return
	}
	w := r.w
	rng := rand.New(rand.NewPCG(seed, 0x3717e))
	size := 20 + rng.IntN(200)
	if rng.IntN(20) == 0 {
		size = 4096 + rng.IntN(4000) // too large for a rumor
	}
	d := store.Draft{Kind: record.Doc, Path: paths[rng.IntN(len(paths))], Payload: make([]byte, size)}
	for i := range d.Payload {
		d.Payload[i] = byte(rng.Uint32())
	}
	switch rng.IntN(10) {
	case 0, 1, 2, 3, 4:
		d.Kind, d.Path = record.Entry, "/log"
	case 5:
		d.Kind, d.Path = record.Delta, "/text"
	case 6:
		if w.plan.Deletes && rng.IntN(2) == 0 {
			d.Deleted, d.Payload = true, nil
			w.sometimes("a deleted document")
		}
	}
	r.writeDraft(d)
}

func (r *replica) writeDraft(d store.Draft) {
	r.own(func() ([]*record.Verified, error) {
		rs, err := r.rows.Write(context.Background(), r.key, r.wall(), d)
		if err == nil && d.Kind == record.Doc {
			r.w.check.wrote(r, rs[0])
		}
		return rs, err
	}, nil)
}

// own does a write of this replica's own, tells the checkers who wrote it,
// and, if it is acknowledged, the engine.
func (r *replica) own(do func() ([]*record.Verified, error), acked func([]*record.Verified)) {
	w := r.w
	var rs []*record.Verified
	r.put(func() (err error) {
		if rs, err = do(); err != nil {
			return err
		}
		for _, v := range rs {
			w.check.issueBy(v, r.i)
		}
		r.authoring = true
		r.observe()
		r.authoring = false
		return nil
	}, func(err error) {
		switch {
		case errors.Is(err, store.ErrNotAuthorised):
			w.sometimes("a write that is not authorised")
			return
		case errors.Is(err, store.ErrFull):
			w.sometimes("a write on a full disk")
			return
		case err != nil:
			var exhausted *store.TimeExhaustedError
			if !errors.As(err, &exhausted) && !errors.Is(err, store.ErrNotFound) {
				w.violate("C8", "replica %d cannot write: %v", r.i, err)
			}
			return
		}
		r.know.learn(rs)
		r.tell(rs)
		if acked != nil {
			acked(rs)
		}
	})
}

// remove takes away an entry of the replica's own.
func (r *replica) remove(seed uint64) {
	if !r.up {
		return
	}
	author := record.Public(r.key)
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	var ids []record.ID
	for v, err := range view.List(store.Query{Prefix: "/log", Authors: []record.Key{author}}) {
		if err != nil {
			r.w.violate("C9", "replica %d: %v", r.i, err)
			return
		}
		ids = append(ids, v.ID)
	}
	if len(ids) == 0 {
		return
	}
	id := ids[seed%uint64(len(ids))]
	r.own(func() ([]*record.Verified, error) {
		return nil, r.rows.Remove(context.Background(), r.key, r.wall(), id)
	}, func([]*record.Verified) { r.w.sometimes("an entry removed") })
}

// sweep removes what the replica's own later docs made superfluous.
func (r *replica) sweep() {
	if !r.up {
		return
	}
	r.own(func() ([]*record.Verified, error) {
		n, err := r.rows.Sweep(context.Background(), r.key, r.wall())
		if n > 0 {
			r.w.sometimes("superfluous versions swept")
		}
		return nil, err
	}, nil)
}

// restore replaces the home by the backup, as if nobody had noticed.
func (r *replica) restore() {
	if r.old == nil || r.gone {
		return
	}
	r.crash()
	r.w.sometimes("a restored backup")
	r.w.say("%d is restored", r.i)
	r.disk, r.old, r.diary = r.old, nil, nil
	r.know, r.dead = r.saved.copy(), deadText{}
	r.start()
}

// clone begins as a copy of another replica's home.
func (r *replica) clone(o *replica) {
	if r.here || !o.up {
		return
	}
	r.w.sometimes("a cloned home")
	r.w.say("%d begins as a clone of %d", r.i, o.i)
	r.disk, r.know, r.here = o.disk.Copy(), o.know.copy(), true
	r.dead = deadText{}
	r.start()
}

// join invites a replica and gives it what a ticket gives: the space, and the
// control records that the inviter holds.
func (w *world) join(r, o *replica) {
	if r.here || !o.up || o.gone || o.out || !o.honest() {
		return
	}
	view, err := o.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	under := record.ID{}
	for _, g := range view.State().GrantsOf(record.Public(o.key)) {
		if g.Role == record.Admin && !g.Sealed {
			under = g.ID
		}
	}
	if under == (record.ID{}) {
		return
	}
	role := record.Writer
	if r.role.Reader {
		role = record.Reader
	}
	body := record.ControlBody{Type: record.GrantType, Under: under, Grant: &record.Grant{
		Author: record.Public(r.key), Device: r.device, Role: role,
	}}
	o.own(func() ([]*record.Verified, error) {
		return o.rows.Issue(context.Background(), o.key, o.wall(), "/", body)
	}, func(rs []*record.Verified) {
		if r.here {
			return
		}
		view, err := o.rows.Snapshot()
		if err != nil {
			return
		}
		defer view.Close()
		w.sometimes("a replica that joined")
		w.say("%d joins, invited by %d", r.i, o.i)
		r.grant, r.here = rs[0].ID, true
		err = r.open()
		if err == nil {
			err = r.commit(view.State().Control())
		}
		switch {
		case err == nil:
			r.boot()
		case errors.Is(err, store.ErrFull):
			r.here = false // the ticket can be used again
			r.disk.Cut()
		default:
			w.violate("C8", "replica %d cannot join: %v", r.i, err)
		}
	})
}

// learn takes control records that came by other ways than the network.
func (r *replica) learn(rs []*record.Verified) {
	if !r.up {
		return
	}
	r.w.sometimes("a device that learns of its revocation")
	r.put(func() error { return r.commit(rs) }, func(err error) {
		if err == nil {
			r.tell(nil)
		}
	})
}

// revoke withdraws a grant, listing what the issuer holds of the author.
func (w *world) revoke(r, o *replica, a Action) {
	if !r.up || !o.here || o.i == 0 {
		return
	}
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	key, under := w.root, record.ID{}
	if a.Do == Revoke {
		for _, g := range view.State().GrantsOf(record.Public(r.key)) {
			if g.Role == record.Admin && !g.Sealed {
				key, under = r.key, g.ID
			}
		}
		if under == (record.ID{}) {
			return
		}
	}
	var list []record.Prefix
	if a.Arg == 0 {
		for v, err := range view.List(store.Query{Authors: []record.Key{record.Public(o.key)}, Everything: true}) {
			if err != nil {
				return
			}
			list = append(list, v.ID.Prefix())
		}
		slices.SortFunc(list, func(a, b record.Prefix) int { return slices.Compare(a[:], b[:]) })
	}
	id := [16]byte{byte(w.now >> 20), byte(a.Replica), byte(a.Other), 1}
	for _, g := range view.State().GrantsOfDevice(o.device) {
		if a.Do == Revoke && g.Under != under {
			continue
		}
		body := record.ControlBody{Type: record.SealType, Under: under, Seal: &record.Seal{
			Target: g.ID, SealID: id, Part: 1, Parts: 1, List: list,
		}}
		w.sometimes("a revocation")
		w.say("%d revokes %d", r.i, o.i)
		o.out = true
		r.own(func() ([]*record.Verified, error) {
			return r.rows.Issue(context.Background(), key, r.wall(), "/", body)
		}, func(rs []*record.Verified) {
			if list == nil || rs[0].ID[0]%2 == 0 {
				w.after(2*time.Second, func() { o.learn(rs) }) // somebody carries the seal to it, in a file
			}
		})
	}
}
