package sim

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"anabranch/record"
	"anabranch/space"
)

// world is replicas of one space in one loop of virtual time: real stores,
// engines, gossip and sessions, over links that are simulated. It starts no
// goroutine (stores have theirs, and are waited for), reads no clock, and
// draws everything from one seed.
type world struct {
	plan     Plan
	rng      *rand.Rand // of links and disks
	q        queue[func()]
	now      time.Duration
	trace    trace
	steps    int
	replicas []*replica
	byKey    map[record.Key]*replica
	genesis  *space.Genesis
	space    record.SpaceID
	root     ed25519.PrivateKey
	seen     map[[32]byte]verdict // records verified so far, by the hash of their bytes
	cut      [][]int              // from, to: how many causes keep it shut
	split    uint64
	whole    bool // no split
	conns    map[[2]int]*conn
	points   map[string]int // rare paths that were reached
	check    checker
	broken   *Violation // the first
	quiet    bool       // faults are over
	traffic  traffic
	log      func(format string, args ...any) // what happens, for people; may be nil
}

// traffic counts what crossed links.
type traffic struct {
	frames, bytes     int64 // of streams of rumors
	sessions          int64
	sessionBytes      int64 // both ways
	records           int64 // that crossed in sessions
	copies, ids       int64 // in frames: payloads, and IDs announced
	moving            int64 // sessions in which something crossed
	dials, lost, cuts int64
}

type verdict struct {
	v   *record.Verified
	err error
}

// epoch is the wall clock of a replica with a good clock when a world begins.
var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// keyFor is a key of this world, by name.
func (p *Plan) keyFor(name string, i int) ed25519.PrivateKey {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], p.Seed)
	binary.BigEndian.PutUint64(b[8:], uint64(i))
	seed := sha256.Sum256(append([]byte(name), b[:]...))
	return ed25519.NewKeyFromSeed(seed[:])
}

// newWorld makes the world of a plan, before anything happened.
func newWorld(p Plan) (*world, error) {
	w := &world{
		plan: p, rng: rand.New(rand.NewPCG(p.Seed, 0x51a1)), trace: freshTrace,
		byKey: make(map[record.Key]*replica), seen: make(map[[32]byte]verdict),
		conns: make(map[[2]int]*conn), points: make(map[string]int), whole: true,
	}
	w.check.begin(w)
	w.root = p.keyFor("root", 0)
	g, err := space.NewGenesis(w.root, nil, [16]byte{1})
	if err != nil {
		return nil, err
	}
	w.genesis, w.space = g, g.ID()
	w.cut = make([][]int, p.Replicas)
	for i := range w.cut {
		w.cut[i] = make([]int, p.Replicas)
	}
	for i := range p.Replicas {
		r := newReplica(w, i)
		w.replicas = append(w.replicas, r)
		w.byKey[r.device] = r
	}
	return w, w.begin()
}

// begin gives birth to the space: the root key grants everybody who is there
// from the beginning, and they know it.
func (w *world) begin() error {
	var grants []*record.Verified
	for i, r := range w.replicas {
		role := w.plan.role(i)
		if role.Late {
			continue
		}
		what := record.Writer
		if i == 0 {
			what = record.Admin
		} else if role.Reader {
			what = record.Reader
		}
		g, err := w.grant(w.root, record.ID{}, r, what, uint64(i))
		if err != nil {
			return err
		}
		r.grant = g.ID
		grants = append(grants, g)
	}
	for i, r := range w.replicas {
		role := w.plan.role(i)
		if role.Late || role.CloneOf > 0 {
			continue
		}
		if err := r.open(); err != nil {
			return err
		}
		if err := r.commit(grants); err != nil {
			return err
		}
		w.at(time.Duration(i)*time.Millisecond, func() { r.boot() })
	}
	for _, a := range w.plan.Actions {
		w.at(a.At, func() { w.act(a) })
	}
	w.at(w.plan.Quiet, w.calm)
	return nil
}

// grant signs a grant for a replica.
func (w *world) grant(key ed25519.PrivateKey, under record.ID, to *replica, role record.Role, n uint64) (*record.Verified, error) {
	body := record.ControlBody{Type: record.GrantType, Under: under, Grant: &record.Grant{
		Author: record.Public(to.key), Device: to.device, Role: role,
	}}
	at := uint64(epoch.Add(w.now).UnixMicro()) + n
	g, err := record.Sign(w.space, key, record.Record{Kind: record.Control, Time: at, Path: "/", Payload: body.Payload()})
	if err == nil {
		w.check.issue(g)
	}
	return g, err
}

// at calls f at a time.
func (w *world) at(at time.Duration, f func()) { w.q.push(max(at, w.now), f) }

// after calls f after a while.
func (w *world) after(d time.Duration, f func()) { w.q.push(w.now+d, f) }

// run lets everything happen up to a time, or until something broke, or done
// says so.
func (w *world) run(until time.Duration, done func() bool) {
	for w.q.next() <= until && w.broken == nil && (done == nil || !done()) {
		at, f := w.q.pop()
		w.now = at
		w.steps++
		f()
	}
	if w.broken == nil && (done == nil || !done()) {
		w.now = until
	}
}

// violate says that a check failed. Only the first is kept.
func (w *world) violate(check, format string, args ...any) {
	if w.broken == nil {
		w.broken = &Violation{Check: check, At: w.now, What: fmt.Sprintf(format, args...)}
		w.say("%v", w.broken)
	}
}

func (w *world) say(format string, args ...any) {
	if w.log != nil {
		w.log("%12v %s", w.now, fmt.Sprintf(format, args...))
	}
}

// sometimes says that a rare path was reached.
func (w *world) sometimes(point string) { w.points[point]++ }

// chance draws.
func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// about is between half and one and a half of d.
func (w *world) about(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + time.Duration(w.rng.Int64N(int64(d)))
}

// verify checks records as a worker would. One that was verified in this
// world is not checked again, unless the plan says so.
func (w *world) verify(batch [][]byte) ([]*record.Verified, []error) {
	out, errs := make([]*record.Verified, len(batch)), make([]error, len(batch))
	if w.plan.Checked {
		return record.VerifyBatch(w.space, batch)
	}
	var fresh [][]byte
	var places []int
	for i, b := range batch {
		known, ok := w.seen[sha256.Sum256(b)]
		if !ok {
			fresh, places = append(fresh, b), append(places, i)
			continue
		}
		out[i], errs[i] = known.v, known.err
	}
	if len(fresh) == 0 {
		return out, errs
	}
	vs, es := record.VerifyBatch(w.space, fresh)
	for k, i := range places {
		out[i], errs[i] = vs[k], es[k]
		w.seen[sha256.Sum256(fresh[k])] = verdict{vs[k], es[k]}
	}
	return out, errs
}

// close gives everything back.
func (w *world) close() {
	for _, r := range w.replicas {
		r.shut()
	}
}
