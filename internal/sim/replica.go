package sim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"anabranch/attest"
	"anabranch/gossip"
	"anabranch/internal/engine"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// replica is one device with its shell: a store on a disk, an engine, and
// what the root of the module does around them, in virtual time.
type replica struct {
	w      *world
	i      int
	device record.Key
	key    ed25519.PrivateKey // author
	grant  record.ID          // the one it writes under, if any
	role   Role
	evil   *evil // nil: honest

	dead deadText // when it last folded the text

	disk  *store.Disk
	store *store.Store
	rows  *store.Space
	old   *store.Disk // the backup
	saved knowledge   // and what it holds

	up     bool
	gone   bool // it left for ever
	out    bool // its grant was withdrawn
	here   bool // it ever began
	life   int  // counts starts: what is addressed to an earlier life is lost
	frozen time.Duration
	held   []func()      // what waits for it to thaw, in the order it was due
	born   time.Duration // start of this life
	skew   time.Duration // of its wall clock
	slow   int64         // times the disk takes longer
	flush  time.Duration // when its disk is done with what it writes now
	gather time.Duration // and with what waits meanwhile; 0: nothing waits
	owed   []*job        // writes handed to the disk and not yet done

	e       *engine.Engine
	tickAt  time.Duration
	members []gossip.Peer
	talks   []*side
	theirs  uint64 // numbers given to sessions of peers
	banned  map[gossip.Peer]engine.Reason
	seed    *rand.Rand

	version uint64 // of the store, as the checkers have seen it
	told    uint64 // and as the engine was told
	fresh   []*record.Verified
	control bool // among what entered since the engine heard of it

	authoring bool // what enters now was written here
	know      knowledge

	diary   *diary // what it attested; nil: nothing since its disk was put in
	diaries uint64
	heard   map[int]*attest.Attestation // the newest of others
	caught  bool                        // somebody has evidence against it
}

// job is a write on its way to the disk.
type job struct {
	do   func() error // what the store does at that moment
	then func(error)  // nobody hears of it if the power goes first
}

func newReplica(w *world, i int) *replica {
	author := i
	role := w.plan.role(i)
	if role.CloneOf > 0 {
		author = role.CloneOf
	}
	r := &replica{
		w: w, i: i, role: role, slow: 1, tickAt: forever,
		key: w.plan.keyFor("author", author), device: record.Public(w.plan.keyFor("device", i)),
		banned: make(map[gossip.Peer]engine.Reason), seed: rand.New(rand.NewPCG(w.plan.Seed, 0x4e0+uint64(i))),
	}
	if r.disk = store.NewDisk(); w.plan.OnPebble {
		r.disk = store.NewPebbleDisk()
	}
	if role.Malice != "" {
		r.evil = newEvil(r, role.Malice)
	}
	r.know.begin()
	return r
}

func (r *replica) honest() bool { return r.evil == nil }

// wall is the replica's wall clock in microseconds.
func (r *replica) wall() uint64 {
	return uint64(max(1, epoch.Add(r.w.now+r.skew).UnixMicro()))
}

// open opens the store, and makes the space in a new one.
func (r *replica) open() error {
	s, err := store.OpenOn(r.disk, store.Options{
		Now:        func() time.Time { return epoch.Add(r.w.now + r.skew) },
		Random:     r.seed.Uint64,
		OwnAuthors: []record.Key{record.Public(r.key)},
		HeldBytes:  heldBytes, TrashAge: -1,
	})
	if err != nil {
		return err
	}
	if r.store != nil {
		r.store.Close()
	}
	r.store = s
	r.rows, err = s.Create(context.Background(), r.w.genesis.Encode())
	return err
}

// heldBytes bounds what a replica keeps of records that nothing authorises.
const heldBytes = 64 << 10

func (r *replica) shut() {
	if r.store != nil {
		r.store.Close()
	}
}

// boot starts a new life on an open store.
func (r *replica) boot() {
	w := r.w
	r.up, r.here, r.life, r.born, r.flush, r.owed = true, true, r.life+1, w.now, 0, nil
	r.talks, r.members, r.fresh, r.control = nil, nil, nil, false
	r.gather, r.tickAt = 0, forever
	clear(r.banned)
	e, err := engine.New(engine.Options{
		Self: gossip.Peer(r.device), Rand: rand.New(rand.NewPCG(w.plan.Seed^uint64(r.life)<<32, 0xe49+uint64(r.i))),
		SyncInterval: w.plan.Interval,
	})
	if err != nil {
		panic(err)
	}
	r.e = e
	r.observe()
	r.fresh, r.control, r.told = nil, false, r.version
	r.join()
	if r.evil != nil {
		r.evil.boot()
	}
}

// step gives the engine an input and does what it says.
func (r *replica) step(in engine.Input) {
	if !r.up {
		return
	}
	w := r.w
	outs := slices.Clone(r.e.Step(w.now-r.born, in)) // performing may call Step again
	for _, out := range outs {
		r.perform(out)
	}
	r.wake()
}

// wake asks to be woken when the engine wants it.
func (r *replica) wake() {
	next := r.e.Next()
	if next > forever-r.born {
		return
	}
	at := max(r.w.now, next+r.born)
	if at == r.tickAt {
		return
	}
	r.tickAt = at
	r.later(at, func() {
		if r.tickAt == at {
			r.tickAt = forever
			r.step(engine.Tick{})
		}
	})
}

// later calls f at a time, if the replica still lives this life then. While
// it is frozen everything waits, and keeps its order however often and for
// however long it freezes: streams and disks have one.
func (r *replica) later(at time.Duration, f func()) {
	life := r.life
	r.w.at(at, func() {
		if r.life != life || !r.up {
			return
		}
		if r.frozen <= r.w.now && len(r.held) == 0 {
			f()
			return
		}
		if len(r.held) == 0 {
			r.w.at(r.frozen, r.thaw)
		}
		r.held = append(r.held, func() {
			if r.life == life && r.up {
				f()
			}
		})
	})
}

// thaw lets happen what a freeze has held up, unless there is another.
func (r *replica) thaw() {
	if r.frozen > r.w.now {
		r.w.at(r.frozen, r.thaw)
		return
	}
	held := r.held
	r.held = nil
	for _, f := range held {
		f()
	}
}

func (r *replica) perform(out engine.Output) {
	w := r.w
	switch out := out.(type) {
	case engine.Dial:
		w.dial(r, w.byKey[record.Key(out.Peer)], out.Peer)
	case engine.Hangup:
		if c := w.conn(r, w.byKey[record.Key(out.Peer)]); c != nil {
			w.hangup(c, 0)
		}
	case engine.Send:
		w.send(r, w.byKey[record.Key(out.Peer)], out.Frame)
	case engine.Judge:
		r.judge(out)
	case engine.Sync:
		r.initiate(w.byKey[record.Key(out.Peer)], out)
	case engine.Serve:
		if s := r.talkOf(out.Session); s != nil {
			s.serve()
		}
	case engine.Refuse:
		if s := r.talkOf(out.Session); s != nil {
			s.refuse()
		}
	case engine.Charge:
		r.charge(out)
	case engine.JudgeNote:
		r.step(engine.NoteJudged{Space: out.Space, From: out.From, Bytes: out.Bytes, Good: true})
	default:
		panic(fmt.Sprintf("sim: the engine asks for %T", out))
	}
}

func (r *replica) charge(c engine.Charge) {
	o := r.w.byKey[record.Key(c.Peer)]
	r.w.say("%d charges %d: %v, ban %v", r.i, o.i, c.Reason, c.Ban)
	r.w.trace.mix(uint64(r.i)<<32 | uint64(o.i)<<8 | uint64(c.Reason))
	r.banned[c.Peer] = c.Reason
	r.w.check.charged(r, o, c)
}

// put hands a write to the disk: do happens when it is durable, then hears of
// it. What comes while the disk is busy is written together next.
func (r *replica) put(do func() error, then func(error)) {
	w := r.w
	takes := w.about(w.plan.Disk) * time.Duration(r.slow)
	if r.gather > 0 && w.now >= r.flush {
		r.flush, r.gather = r.gather, 0
	}
	at := r.gather
	switch {
	case w.now >= r.flush:
		at = w.now + takes
		r.flush = at
	case r.gather == 0:
		at = r.flush + takes
		r.gather = at
	}
	j := &job{do: do, then: then}
	r.owed = append(r.owed, j)
	r.later(at, func() {
		r.owed = r.owed[1:]
		err := j.do()
		j.then(err)
	})
}

// crash stops the replica. Of the writes on their way to the disk some may be
// durable, in their order, and nobody was told.
func (r *replica) crash() {
	w := r.w
	if !r.up {
		return
	}
	w.say("%d crashes", r.i)
	for n := w.rng.IntN(len(r.owed) + 1); n > 0; n-- {
		w.sometimes("durable and never acknowledged")
		r.owed[0].do()
		r.owed = r.owed[1:]
	}
	if len(r.owed) > 0 {
		w.sometimes("lost before it was durable")
	}
	r.owed = nil
	r.up = false
	r.life++
	for _, s := range slices.Clone(r.talks) {
		s.vanish()
	}
	r.talks = nil
	w.lose(r)
	r.disk.Cut()
}

// start brings it back, on what its disk holds.
func (r *replica) start() {
	if r.up || r.gone || !r.here {
		return
	}
	if err := r.open(); err != nil {
		r.w.violate("C8", "replica %d does not open again: %v", r.i, err)
		return
	}
	r.w.say("%d starts again", r.i)
	r.w.check.reopened(r)
	r.boot()
}

// commit makes records durable, at once, and shows them to the checkers.
func (r *replica) commit(rs []*record.Verified) error {
	res, err := r.rows.Commit(context.Background(), rs)
	if err == nil {
		r.know.learn(rs)
		r.know.bury(rs, res.Verdicts)
		r.observe()
	}
	return err
}

// observe reads what changed in the store since the last look.
func (r *replica) observe() {
	view, err := r.rows.Snapshot()
	if err != nil {
		r.w.violate("C8", "replica %d: no snapshot: %v", r.i, err)
		return
	}
	defer view.Close()
	if view.Version() == r.version {
		return
	}
	left := false
	for a, err := range view.Since(r.version) {
		if err != nil {
			r.w.violate("C9", "replica %d: %v", r.i, err)
			return
		}
		if r.authoring && a.Record != nil && a.Record.Author == record.Public(r.key) {
			r.w.check.issueBy(a.Record, r.i)
		}
		r.w.check.moved(r, a)
		left = left || a.Record == nil
		if a.Record != nil {
			r.fresh = append(r.fresh, a.Record)
			r.control = r.control || a.Record.Kind == record.Control
		} else {
			r.control = r.control || a.Why == space.Held
		}
	}
	r.version = view.Version()
	r.w.check.settled(r, view)
	if left {
		r.w.check.readable(r, view)
	}
}

// tell tells the engine what entered. own are the records that were written
// here just now.
func (r *replica) tell(own []*record.Verified) {
	if r.told == r.version {
		return
	}
	r.told = r.version
	in := engine.Committed{Space: r.w.space, Version: r.version, Control: r.control}
	for _, v := range r.fresh {
		f := engine.Fresh{ID: engine.ID(v.ID), Bytes: v.Bytes}
		f.Own = v.Kind != record.Sweep && slices.ContainsFunc(own, func(o *record.Verified) bool { return o.ID == v.ID })
		in.Fresh = append(in.Fresh, f)
	}
	if len(in.Fresh) > engine.MaxFresh {
		in.Fresh, in.Many = in.Fresh[:engine.MaxFresh], true
	}
	control := r.control
	r.fresh, r.control = nil, false
	if control {
		r.join()
	}
	r.step(in)
}

// join tells the engine who the members are.
func (r *replica) join() {
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	var members []gossip.Peer
	for _, g := range view.State().Members() {
		if !g.Sealed {
			members = append(members, gossip.Peer(g.Device))
		}
	}
	slices.SortFunc(members, func(a, b gossip.Peer) int { return bytes.Compare(a[:], b[:]) })
	members = slices.Compact(members)
	if slices.Equal(members, r.members) {
		return
	}
	r.members = members
	r.step(engine.Joined{Space: r.w.space, Members: members})
	r.expel(view.State())
}

// expel ends connections with devices that may not read any more.
func (r *replica) expel(law *space.State) {
	for _, o := range r.w.replicas {
		if c := r.w.conn(r, o); c != nil && !law.MayRead(o.device) {
			r.w.hangup(c, 0)
		}
	}
}

// mayRead says whether a device is let in.
func (r *replica) mayRead(o *replica) bool {
	return slices.Contains(r.members, gossip.Peer(o.device))
}

// judge answers a rumor: verified, committed, then the verdict.
func (r *replica) judge(in engine.Judge) {
	w := r.w
	answer := func(v gossip.Verdict) { r.step(engine.Judged{Space: in.Space, ID: in.ID, Verdict: v}) }
	if in.Bytes == nil { // announced, and fetched by a session meanwhile, or not
		r.later(w.now, func() {
			if r.know.members[record.ID(in.ID)] {
				w.sometimes("a large record that came by a session")
				answer(gossip.Accepted)
			} else {
				answer(gossip.Lost)
			}
		})
		return
	}
	verified, errs := w.verify([][]byte{in.Bytes})
	life := r.w.now + 50*time.Microsecond
	if errs[0] != nil || verified[0].ID != record.ID(in.ID) || verified[0].Kind == record.Sweep {
		w.sometimes("a rumor that is wrong for everyone")
		r.later(life, func() { answer(gossip.Rejected) })
		return
	}
	v := verified[0]
	var res store.Result
	r.put(func() (err error) {
		view, err := r.rows.Snapshot()
		if err != nil {
			return err
		}
		held := view.State().Judge(v) == space.Held
		view.Close()
		if held {
			return errUndecided
		}
		if res, err = r.rows.Commit(context.Background(), []*record.Verified{v}); err == nil {
			r.observe()
		}
		return err
	}, func(err error) {
		switch {
		case errors.Is(err, errUndecided):
			w.sometimes("a rumor whose author is unknown here")
			answer(gossip.Undecided)
		case err != nil:
			w.sometimes("a rumor that could not be committed")
			answer(gossip.Lost)
		default:
			r.know.learn([]*record.Verified{v})
			r.know.bury([]*record.Verified{v}, res.Verdicts)
			switch res.Verdicts[0] {
			case space.Member:
				answer(gossip.Accepted)
			case store.Known:
				answer(gossip.Known)
			case space.Held, store.OverBudget:
				answer(gossip.Undecided)
			default:
				w.sometimes("a rumor that was dead already")
				answer(gossip.Known)
			}
			r.tell(nil)
		}
	})
}

var errUndecided = errors.New("sim: not to be decided yet")

// number names a session that a peer began.
func (r *replica) number() engine.Session {
	r.theirs++
	return engine.Theirs | engine.Session(r.theirs)
}

func (r *replica) talkOf(n engine.Session) *side {
	for _, s := range r.talks {
		if s.number == n {
			return s
		}
	}
	return nil
}
