package sim

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// The checkers. They see everything that happens in a world, and none of
// them asks the code that it checks for its opinion:
//
//	C1  fate: whatever was acknowledged is a member, or dead by the law, on
//	    every replica in the end
//	C2  equal sets have equal roots, and different ones different roots, at
//	    every moment and between any two replicas
//	C3  once faults are over, everybody has the same root within a bound
//	C4  a replica reads what it wrote, or something newer, and never older
//	    than it has read
//	C5  no record is in a store that nobody wrote; nothing that is wrong for
//	    everyone is passed on; nobody honest is charged
//	C6  nothing dead returns, and no honest lane forks
//	C7  the set is what the model makes of everything that is known
//	C8  what was acknowledged is there after a crash
//	C9  every order, count and root equals a rebuild
//	C10 what has converged is quiet
//	C11 a session costs no more than its difference allows
//	C12 what a replica keeps for peers is bounded
//	C14 equal sets of deltas read alike; a document shows what was added and
//	    not removed by anybody who saw it, and what was removed never returns
type checker struct {
	w       *world
	issued  map[record.ID]*issue
	roots   map[setSum][32]byte
	sums    map[[32]byte]setSum
	dots    map[dot]record.ID
	delays  []time.Duration // from a write to each other replica
	counted time.Duration   // writes before are not among them
	last    time.Duration   // when the last record reached a replica
	named   map[int]bool    // malicious replicas that somebody honest has named
	forged  map[[32]byte]bool
	book    book // of documents that merge
}

// issue is one record that somebody wrote.
type issue struct {
	v     *record.Verified
	at    time.Duration
	by    int
	early int // replicas that had it within 2 s
}

// setSum is a set of IDs as a sum, and how many there are.
type setSum struct {
	a, b  uint64
	count int
}

func (s *setSum) add(id record.ID, sign uint64) {
	s.a += sign * binary.BigEndian.Uint64(id[:])
	s.b += sign * binary.BigEndian.Uint64(id[8:])
	s.count += int(int64(sign))
}

type dot struct {
	author record.Key
	lane   uint64
	seq    uint32
}

// knowledge is what the checkers know of a replica.
type knowledge struct {
	acked   map[record.ID]*record.Verified // durable there, and somebody was told
	members map[record.ID]bool
	dead    map[record.ID]bool
	sum     setSum
	reads   map[string]reading // by path
	gone    set                // of documents: what it has seen removed
}

type reading struct {
	time uint64
	id   record.ID
}

func (a reading) older(b reading) bool {
	return a.time < b.time || a.time == b.time && a.id.Compare(b.id) < 0
}

func (k *knowledge) begin() {
	*k = knowledge{acked: map[record.ID]*record.Verified{}, members: map[record.ID]bool{}, dead: map[record.ID]bool{}, reads: map[string]reading{}}
}

// copy is what is known of a replica that goes on from a copy of its disk.
func (k *knowledge) copy() knowledge {
	return knowledge{acked: maps.Clone(k.acked), members: map[record.ID]bool{}, dead: maps.Clone(k.dead), reads: map[string]reading{}, gone: slices.Clone(k.gone)}
}

// learn says that records are durable.
func (k *knowledge) learn(rs []*record.Verified) {
	for _, v := range rs {
		k.acked[v.ID] = v
	}
}

// bury says which of them were dead when they came, and were not kept.
func (k *knowledge) bury(rs []*record.Verified, verdicts []store.Verdict) {
	for i, v := range rs {
		if verdicts[i] == space.Dead && v.Data() {
			k.dead[v.ID] = true
		}
	}
}

func (c *checker) begin(w *world) {
	*c = checker{
		w: w, issued: map[record.ID]*issue{}, roots: map[setSum][32]byte{}, sums: map[[32]byte]setSum{},
		dots: map[dot]record.ID{}, named: map[int]bool{}, forged: map[[32]byte]bool{},
	}
	c.book.begin(w)
}

// issue says that somebody wrote a record.
func (c *checker) issue(v *record.Verified) { c.issueBy(v, -1) }

func (c *checker) issueBy(v *record.Verified, by int) {
	if c.issued[v.ID] != nil {
		return
	}
	c.issued[v.ID] = &issue{v: v, at: c.w.now, by: by}
	if !v.Data() || by >= 0 && !c.w.replicas[by].honest() {
		return
	}
	d := dot{v.Author, v.Lane, v.Seq}
	if other, ok := c.dots[d]; ok && other != v.ID {
		c.w.violate("C6", "replica %d wrote two records under number %d of one lane: %v and %v", by, v.Seq, other, v.ID)
	}
	c.dots[d] = v.ID
}

// moved sees every arrival and departure in every store.
func (c *checker) moved(r *replica, a store.Arrival) {
	w, k := c.w, &r.know
	if a.Record == nil {
		if k.members[a.Left] {
			delete(k.members, a.Left)
			k.sum.add(a.Left, ^uint64(0))
		}
		if a.Why == space.Dead {
			k.dead[a.Left] = true
		}
		return
	}
	v := a.Record
	is := c.issued[v.ID]
	switch {
	case is == nil:
		w.violate("C5", "replica %d stores %v %v, which nobody wrote", r.i, v.Kind, v.ID)
		return
	case string(is.v.Bytes) != string(v.Bytes):
		w.violate("C5", "replica %d stores other bytes under %v", r.i, v.ID)
	case k.dead[v.ID] && !w.plan.Sealed && v.Data():
		w.violate("C6", "replica %d: %v is back from the dead", r.i, v.ID)
	case k.members[v.ID]:
		return // seen again after a restart
	}
	w.trace.mix(uint64(w.now))
	w.trace.mix(uint64(r.i))
	w.trace.bytes(v.ID[:8])
	k.members[v.ID] = true
	k.sum.add(v.ID, 1)
	if at := (reading{v.Time, v.ID}); v.Kind == record.Doc && k.reads[v.Path].older(at) {
		k.reads[v.Path] = at
	}
	c.last = w.now
	if v.Data() && is.by != r.i && r.honest() && is.at >= c.counted {
		c.delays = append(c.delays, w.now-is.at)
		if w.now-is.at <= 2*time.Second {
			is.early++
		}
	}
}

// settled sees a store after every commit.
func (c *checker) settled(r *replica, v *store.Snapshot) {
	w := c.w
	root, err := v.Root()
	if err != nil {
		w.violate("C9", "replica %d: root: %v", r.i, err)
		return
	}
	if int(v.Count()) != r.know.sum.count {
		w.violate("C9", "replica %d counts %d members, its log has %d", r.i, v.Count(), r.know.sum.count)
	}
	if old, ok := c.roots[r.know.sum]; ok && old != root {
		w.violate("C2", "replica %d: a set of %d records has a second root", r.i, r.know.sum.count)
	}
	if old, ok := c.sums[root]; ok && old != r.know.sum {
		w.violate("C2", "replica %d: one root for two sets", r.i)
	}
	c.roots[r.know.sum], c.sums[root] = root, r.know.sum
	if stats := v.HeldStats(); !w.plan.Sealed && stats.HeldBytes > heldBytes {
		w.violate("C12", "replica %d holds %d bytes", r.i, stats.HeldBytes)
	}
}

// wrote looks at the path of a document right after it was written.
func (c *checker) wrote(r *replica, own *record.Verified) {
	view, err := r.rows.Snapshot()
	if err != nil {
		return
	}
	defer view.Close()
	if now := c.top(r, view, own.Path); now.id != own.ID {
		c.w.violate("C4", "replica %d does not read its own write at %s", r.i, own.Path)
	}
}

// top is what a path reads as.
func (c *checker) top(r *replica, view *store.Snapshot, path string) reading {
	got, err := view.Resolve(path, r.wall())
	if err != nil {
		c.w.violate("C9", "replica %d reads %s: %v", r.i, path, err)
	}
	if got.Doc == nil {
		return reading{}
	}
	return reading{got.Doc.Time, got.Doc.ID}
}

// readable looks at every path after something left the set: nothing reads
// older than it did.
func (c *checker) readable(r *replica, view *store.Snapshot) {
	if c.w.plan.Sealed || c.w.deletes() {
		return
	}
	if c.w.withholds() {
		return // a sweep may come without the newer doc that it spares, until somebody honest brings that
	}
	for _, path := range paths {
		if now := c.top(r, view, path); now.older(r.know.reads[path]) {
			c.w.violate("C4", "replica %d reads %s older than before", r.i, path)
		}
	}
}

// withholds reports whether somebody in this world hides records of others.
func (w *world) withholds() bool {
	return slices.ContainsFunc(w.plan.Roles, func(r Role) bool { return r.Malice == Withholding })
}

// deletes reports whether documents vanish in this world.
func (w *world) deletes() bool {
	return slices.ContainsFunc(w.plan.Roles, func(r Role) bool { return r.Malice == Raging }) || w.plan.Deletes
}

// reopened sees a store after a start: what was acknowledged is there.
func (c *checker) reopened(r *replica) {
	r.version, r.know.members, r.know.sum = 0, map[record.ID]bool{}, setSum{}
	r.observe()
	c.keeps(r, "C8")
}

func sortedIssues(m map[record.ID]*issue) []record.ID {
	return slices.SortedFunc(maps.Keys(m), record.ID.Compare)
}

// wroteSince reports whether a replica wrote anything since a time.
func (c *checker) wroteSince(i int, at time.Duration) bool {
	for _, is := range c.issued {
		if is.by == i && is.at >= at {
			return true
		}
	}
	return false
}

// missed counts the records that a tenth of the replicas or more lack, a
// second after they were written.
func (c *checker) missed(n int) (missed int) {
	for id, is := range c.issued {
		have := 0
		for _, r := range c.w.replicas {
			if r.know.members[id] {
				have++
			}
		}
		if have < n*9/10 && is.at < c.w.now-time.Second {
			missed++
		}
	}
	return missed
}

// reached is the share of replicas that hold a record, over all records.
func (c *checker) reached(n int) float64 {
	have := 0
	for _, r := range c.w.replicas {
		have += r.know.sum.count
	}
	return float64(have) / float64(max(1, n*len(c.issued)))
}

func sortedIDs(m map[record.ID]*record.Verified) []record.ID {
	return slices.SortedFunc(maps.Keys(m), record.ID.Compare)
}

// charged sees what an engine blames a peer for.
func (c *checker) charged(r, o *replica, what engine.Charge) {
	switch {
	case !r.honest():
	case o.honest():
		c.w.violate("C5", "replica %d, honest, is charged by %d: %v", o.i, r.i, what.Reason)
	default:
		c.w.sometimes("named for " + what.Reason.String())
		c.named[o.i] = true
	}
}

// session sees how every session ended, on both sides.
func (c *checker) session(s *side, rep session.Report, failed error) {
	w, o := c.w, s.peer()
	if !s.r.honest() {
		return
	}
	if !o.honest() {
		if failed != nil && !errors.Is(failed, session.ErrCut) && !errors.Is(failed, session.ErrRefused) {
			c.named[o.i] = true
		}
		return
	}
	if failed == nil && rep.Method == session.Equal && rep.RecordsIn+rep.RecordsOut == 0 {
		w.sometimes("a session of equals")
	} else if rep.Method == session.Ranges {
		w.sometimes("a session by ranges")
		if w.plan.Plain {
			w.sometimes("a session by ranges, without plans")
		}
	} else if rep.Method == session.Bulk {
		w.sometimes("a session in bulk")
	}
	if rep.ControlRounds > 0 {
		w.sometimes("a session that exchanged control records")
	}
	moved := rep.RecordsIn + rep.RecordsOut
	if most := int64(2048 + 900*moved + 64*int(rep.Count)/16); failed == nil && rep.OverheadIn()+rep.OverheadOut() > most {
		w.violate("C11", "a session of %d and %d moved %d records of %d and cost %d bytes beside them, over %d",
			s.r.i, o.i, moved, rep.Count, rep.OverheadIn()+rep.OverheadOut(), most)
	}
	rounds := 12
	for n := rep.Count; n > 0; n /= 4 {
		rounds++
	}
	if failed == nil && rep.Rounds > rounds+4*rep.ControlRounds {
		w.violate("C11", "a session of %d and %d over %d records took %d rounds", s.r.i, o.i, rep.Count, rep.Rounds)
	}
}

// passing sees every frame of rumors that an honest replica sends: what is
// wrong for everyone is not passed on.
func (c *checker) passing(r *replica, frame []byte) {
	if payload := rumorIn(frame); payload != nil && len(c.forged) > 0 && c.forged[hashOf(payload)] {
		c.w.violate("C5", "replica %d passes on what was forged", r.i)
	}
}

// present are the replicas that must hold the same in the end.
func (w *world) present() []*replica {
	var out []*replica
	for _, r := range w.replicas {
		if r.here && !r.gone && !r.out && r.honest() && w.admitted(r) {
			out = append(out, r)
		}
	}
	return out
}

// admitted reports whether anybody else knows a replica's grant. An inviter
// that is restored to before an invitation has forgotten it, and the invited
// one is a stranger to all if it has met nobody else.
func (w *world) admitted(r *replica) bool {
	if !r.role.Late {
		return true
	}
	for _, o := range w.replicas {
		if o != r && o.know.members[r.grant] {
			return true
		}
	}
	w.sometimes("an invitation that was forgotten")
	return false
}

// converged reports whether all who are present hold the same.
func (w *world) converged() bool {
	rs := w.present()
	for _, r := range rs {
		if !r.up || r.know.sum != rs[0].know.sum {
			return false
		}
	}
	return true
}
