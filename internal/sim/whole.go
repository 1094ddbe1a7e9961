package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
)

// whole simulates replicas with everything that a real one has, and every
// checker.
func whole(ctx context.Context, o Options) (Result, error) {
	p := Plan{
		Seed: o.Seed, Replicas: o.Replicas, Interval: o.Interval, Disk: 500 * time.Microsecond,
		Links: Links{Least: o.LatencyLeast, Most: o.LatencyMost, Loss: o.Loss},
	}
	rng := rand.New(rand.NewPCG(o.Seed, 0x3401e))
	liars := rng.Perm(o.Replicas - 1)[:int(o.Malicious*float64(o.Replicas))]
	for _, i := range liars {
		p.Roles = append(p.Roles, Role{Replica: i + 1, Malice: Forging})
	}
	settle := 2*time.Second + time.Duration(o.Replicas)*100*time.Millisecond
	gap := time.Duration(float64(time.Second) / o.Rate)
	shaped := settle + warmup*max(gap, 100*time.Millisecond) + 2*time.Second
	writing := time.Duration(o.Writes) * gap
	p.Quiet = shaped + max(writing, o.Partition) + time.Second
	if o.Partition > 0 {
		half := uint64(1)<<(o.Replicas/2) - 1
		p.Actions = append(p.Actions, Action{At: shaped, Do: Split, Arg: half}, Action{At: shaped + o.Partition, Do: Heal})
	}
	crash := shaped + writing/2 + time.Millisecond
	if o.Churn > 0 {
		p.Quiet = max(p.Quiet, crash+31*time.Second)
	}
	w, err := newWorld(p)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	if o.Log != nil {
		w.log = func(format string, args ...any) { o.Log(fmt.Sprintf(format, args...)) }
	}
	r := Result{Whole: true, Delays: make([]int, mostDelay+1), Liars: len(liars)}
	done := func() bool { return ctx.Err() != nil }
	phase, written := "joining", 0
	var pulse func()
	pulse = func() {
		equal := w.equals()
		r.Curve = append(r.Curve, [2]int64{w.now.Milliseconds(), int64(equal)})
		o.Progress(Progress{Phase: phase, Now: w.now, Written: written, Events: w.steps,
			Reached: w.check.reached(o.Replicas), Equal: float64(equal) / float64(o.Replicas-len(liars))})
		w.after(100*time.Millisecond, pulse)
	}
	w.at(0, pulse)
	put := func() {
		for _, i := range rng.Perm(o.Replicas) {
			if x := w.replicas[i]; x.up && x.honest() {
				written++
				x.put1(o.Payload, written)
				return
			}
		}
	}
	for k := range warmup {
		w.at(settle+time.Duration(k)*max(gap, 100*time.Millisecond), put)
	}
	w.run(shaped, done)
	before := w.traffic
	w.check.delays = nil
	w.check.counted, phase = w.now, "writing"
	for k := range o.Writes {
		w.at(shaped+time.Duration(k)*gap, put)
	}
	var mended int64 // payloads sent when the partition healed
	var since int    // and records written
	if o.Partition > 0 {
		w.at(shaped+o.Partition, func() {
			r.Missed, since = w.check.missed(o.Replicas), len(w.check.issued)
			mended = w.traffic.copies + w.traffic.records
		})
	}
	down := 0
	if o.Churn > 0 {
		w.at(crash, func() {
			for _, i := range rng.Perm(o.Replicas) {
				x := w.replicas[i]
				if down == int(o.Churn*float64(o.Replicas)) || w.check.wroteSince(i, crash-2*gap) {
					continue // what its writer takes along, nobody has
				}
				down++
				x.crash()
				w.at(crash+30*time.Second, x.start)
			}
		})
	}
	w.run(shaped+writing+5*time.Second, done)
	due := o.Writes * (o.Replicas - 1)
	within, copies := 0, w.traffic.copies-before.copies
	for _, d := range w.check.delays {
		r.Delays[min(int(d/time.Millisecond), mostDelay)]++
		r.Last = max(r.Last, d)
		if d < mostDelay*time.Millisecond {
			within++
		}
	}
	r.Reached = float64(within) / float64(due)
	if total := r.rank(); total > 0 {
		r.Copies, r.IDs = float64(copies)/float64(total), float64(w.traffic.ids-before.ids)/float64(total)
	}
	r.Bytes = float64(w.traffic.bytes-before.bytes+2*(w.traffic.frames-before.frames)) / float64(o.Writes*o.Replicas)
	phase = "converging"
	healed := shaped + o.Partition
	w.run(p.Quiet, done)
	w.run(p.Quiet+p.patience(), func() bool { return done() || w.now > p.Quiet && w.converged() })
	if r.Converged = w.converged(); o.Partition > 0 {
		r.Healing = max(0, w.check.last-healed)
		if r.Missed > 0 {
			fresh := int64(len(w.check.issued)-since) * int64(o.Replicas-1)
			r.Repairs = float64(max(0, w.traffic.copies+w.traffic.records-mended-fresh)) / float64(r.Missed*o.Replicas)
		}
	}
	if o.Churn > 0 {
		r.Recovered = max(0, w.check.last-crash)
		soon, all := 0, 0
		for _, id := range sortedIssues(w.check.issued) {
			is := w.check.issued[id]
			if is.at > crash-2*gap && is.at <= crash {
				all += o.Replicas - down - len(liars) - 1
				soon += is.early
			}
		}
		r.Soon = min(1, float64(soon)/float64(max(1, all)))
	}
	if w.broken == nil && r.Converged && ctx.Err() == nil {
		w.check.finish()
	}
	r.Broken, r.Records = w.broken, w.present()[0].know.sum.count
	r.Sessions, r.SessionBytes, r.SessionRecords = w.traffic.sessions, w.traffic.sessionBytes, w.traffic.records
	r.Blamed = len(w.check.named)
	r.finish(o, w.now, w.steps, w.trace)
	return r, ctx.Err()
}

// put1 writes an entry of a size.
func (r *replica) put1(size, n int) {
	payload := make([]byte, max(0, size-130)) // a record's header and signature belong to what travels
	for i := range payload {
		payload[i] = byte(n >> (i % 3 * 8))
	}
	r.writeDraft(store.Draft{Kind: record.Entry, Path: "/log", Payload: payload})
}

// equals counts the honest replicas that hold everything that anybody holds.
func (w *world) equals() int {
	most, n := 0, 0
	for _, r := range w.replicas {
		if !r.up || !r.honest() {
			continue
		}
		switch c := r.know.sum.count; {
		case c > most:
			most, n = c, 1
		case c == most:
			n++
		}
	}
	return n
}
