package sim

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// spread simulates very many replicas.
func spread(ctx context.Context, o Options) (Result, error) {
	w := newCrowd(o)
	n := o.Replicas
	r := &w.result
	r.Delays = make([]int, mostDelay+1)
	phase := "joining"
	w.pulse(ctx, &phase)
	done := func() bool { return ctx.Err() != nil }

	for _, i := range w.rng.Perm(n - 1)[:int(o.Malicious*float64(n))] {
		w.nodes[i+1].liar = true
		r.Liars++
	}
	every := max(20*time.Microsecond, 200*time.Millisecond/time.Duration(n))
	for i := range int32(n) {
		w.at(time.Duration(i)*every, func() { w.enter(i) })
	}
	w.run(time.Duration(n)*every+min(45*time.Second, 20*time.Second+time.Duration(n)*5*time.Millisecond), done)

	phase = "shaping the tree"
	gap := time.Duration(float64(time.Second) / o.Rate)
	for k := range warmup {
		w.at(w.now+time.Duration(k)*max(gap, 100*time.Millisecond), func() { w.publish(w.writer(), o.Payload) })
	}
	w.run(w.now+warmup*max(gap, 100*time.Millisecond)+2*time.Second, done)

	phase = "writing"
	w.measure = true
	first := int32(len(w.updates))
	began := w.now
	var crashed time.Duration
	var soon, due int
	var down []int32
	var healed uint64 // payloads sent when the partition healed
	var since int     // and records written
	w.reached = func(i, k int32) {
		u := &w.updates[k]
		if k < first || w.now == u.at {
			return
		}
		d := w.now - u.at
		r.Delays[min(int(d/time.Millisecond), mostDelay)]++
		r.Last = max(r.Last, d)
		if crashed > 0 && u.at >= crashed-2*gap && u.at <= crashed && d <= 2*time.Second && !w.nodes[i].liar {
			soon++
		}
	}
	if o.Partition > 0 {
		w.split = true
		w.sever()
		w.at(began+o.Partition, func() {
			w.split = false
			for k := range w.updates {
				if w.updates[k].at < w.now-time.Second && w.updates[k].have < n*9/10 {
					r.Missed++
				}
			}
			healed = w.total()
			since = len(w.updates)
		})
	}
	for k := range o.Writes {
		w.at(began+time.Duration(k)*gap, func() { w.publish(w.writer(), o.Payload) })
	}
	writing := time.Duration(o.Writes) * gap
	if o.Churn > 0 {
		w.at(began+writing/2+time.Millisecond, func() {
			crashed = w.now
			for _, i := range w.rng.Perm(n) {
				spared := slices.ContainsFunc(w.updates, func(u update) bool { return u.by == int32(i) && u.at >= crashed-2*gap })
				if len(down) < int(o.Churn*float64(n)) && !spared { // what its writer takes along, nobody has
					w.crash(int32(i))
					down = append(down, int32(i))
				}
			}
			w.await(len(w.updates), func() { r.Repaired = w.now - crashed })
			for k := range w.updates {
				u := &w.updates[k]
				if u.at >= crashed-2*gap {
					due += w.living()
					for i := range w.nodes {
						if w.nodes[i].has(int32(k)) && !w.nodes[i].down && !w.nodes[i].liar {
							soon++ // it had it before
						}
					}
				}
			}
			for _, i := range down {
				w.at(crashed+30*time.Second, func() { w.restart(i) })
			}
		})
	}
	end := max(began+writing, began+o.Partition)
	w.run(end+5*time.Second, done)
	w.measure = false
	deliveries := o.Writes * (n - 1)
	within := 0
	for _, c := range r.Delays[:mostDelay] {
		within += c
	}
	r.Reached = float64(within) / float64(deliveries)
	if total := r.rank(); total > 0 {
		r.Copies, r.IDs = float64(w.copies)/float64(total), float64(w.ids)/float64(total)
	}
	r.Bytes = float64(w.bytes) / float64(o.Writes*n)

	phase = "converging"
	limit := 4*o.Interval + 30*time.Second
	if o.Churn > 0 {
		limit += 30 * time.Second
	}
	until := w.now + limit
	for w.now < until && !w.equal() && !done() {
		w.run(w.now+100*time.Millisecond, done)
	}
	r.Converged = w.equal()
	if o.Partition > 0 {
		r.Healing = max(0, w.now-(began+o.Partition))
		if r.Missed > 0 {
			fresh := uint64(len(w.updates)-since) * uint64(n-1)
			r.Repairs = float64(w.total()-healed-min(fresh, w.total()-healed)) / float64(r.Missed*n)
		}
	}
	if crashed > 0 {
		r.Recovered, r.Soon = w.now-crashed, float64(soon)/float64(max(1, due))
	}
	w.blame()
	r.Records = len(w.updates)
	r.finish(o, w.now, w.events, w.trace)
	return *r, ctx.Err()
}

// total counts the payloads sent so far, in rumors and in sessions.
func (w *crowd) total() uint64 { return w.payloads + uint64(w.result.SessionRecords) }

// await looks every tenth of a second whether everybody who lives now has the
// first of the updates.
func (w *crowd) await(updates int, f func()) {
	var alive []int32
	for i := range w.nodes {
		if n := &w.nodes[i]; !n.down && !n.liar {
			alive = append(alive, int32(i))
		}
	}
	var again func()
	again = func() {
		for k := range int32(updates) {
			for _, i := range alive {
				if !w.nodes[i].has(k) {
					w.at(w.now+100*time.Millisecond, again)
					return
				}
			}
		}
		f()
	}
	again()
}

func (w *crowd) living() int {
	n := 0
	for i := range w.nodes {
		if !w.nodes[i].down && !w.nodes[i].liar {
			n++
		}
	}
	return n
}

// writer is somebody honest who is there.
func (w *crowd) writer() int32 {
	for {
		if i := int32(w.rng.IntN(len(w.nodes))); !w.nodes[i].down && !w.nodes[i].liar {
			return i
		}
	}
}

// equal reports whether everybody honest holds everything.
func (w *crowd) equal() bool {
	for i := range w.nodes {
		if n := &w.nodes[i]; n.down || !n.liar && n.count != len(w.updates) {
			return false
		}
	}
	return true
}

// blame counts who was charged by somebody honest.
func (w *crowd) blame() {
	named := make([]bool, len(w.nodes))
	for pair := range w.blamed {
		named[pair[1]] = true
	}
	for i, yes := range named {
		switch {
		case yes && w.nodes[i].liar:
			w.result.Blamed++
		case yes:
			w.result.Innocent++
		}
	}
}

// pulse tells how far it is, and keeps the curve.
func (w *crowd) pulse(ctx context.Context, phase *string) {
	var again func()
	again = func() {
		have, all := 0, 0
		for i := range w.nodes {
			have += w.nodes[i].count
			if !w.nodes[i].down && w.nodes[i].count == len(w.updates) {
				all++
			}
		}
		p := Progress{Phase: *phase, Now: w.now, Written: len(w.updates), Events: w.events, Equal: float64(all) / float64(len(w.nodes))}
		if len(w.updates) > 0 {
			p.Reached = float64(have) / float64(len(w.updates)*len(w.nodes))
		}
		w.result.Curve = append(w.result.Curve, [2]int64{w.now.Milliseconds(), int64(all)})
		w.o.Progress(p)
		if ctx.Err() == nil {
			w.at(w.now+100*time.Millisecond, again)
		}
	}
	w.at(0, again)
}

// finish fills in what every kind of simulation has, and the verdict.
func (r *Result) finish(o Options, now time.Duration, events int, t trace) {
	r.Replicas, r.Writes, r.Mode, r.Seed = o.Replicas, o.Writes, o.Mode, o.Seed
	r.Virtual, r.Events, r.TraceHash = now, events, uint64(t)
	honest := "all"
	if r.Liars > 0 {
		honest = "all honest"
	}
	switch {
	case r.Broken != nil:
		r.Verdict = r.Broken.Error()
	case !r.Converged:
		r.Verdict = fmt.Sprintf("not converged: some replicas lack some of %d records", r.Records)
	case r.Forwarded+r.Stored > 0:
		r.Verdict = fmt.Sprintf("converged, and %d records that are wrong for everyone were passed on", r.Forwarded+r.Stored)
	default:
		r.Verdict = fmt.Sprintf("converged: %s %d replicas hold the same %d records", honest, o.Replicas-r.Liars, r.Records)
	}
}
