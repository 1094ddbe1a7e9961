package sim

import (
	"fmt"
	"time"
)

// Outcome is what a world came to.
type Outcome struct {
	Broken    *Violation // nil: every checker was content
	Trace     uint64     // hash over everything that happened, in its order
	Steps     int
	Converged time.Duration // after faults were over
	Points    map[string]int
	Named     []int // malicious replicas that somebody honest has named
	Liars     []int // all of them
}

// patience is how long after the faults everybody must hold the same: three
// rounds of anti-entropy, half as much again since their times vary, and what
// it takes to notice dead connections and to dial again.
func (p *Plan) patience() time.Duration { return 9*p.Interval/2 + 30*time.Second }

// Run lets the world of a plan happen and returns what it came to. log, which
// may be nil, is told what happens.
func Run(p Plan, log func(format string, args ...any)) (out Outcome) {
	w, err := newWorld(p)
	if err != nil {
		return Outcome{Broken: &Violation{Check: "plan", What: err.Error()}}
	}
	defer w.close()
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprintf("seed %d, %d replicas, at %v: %v", p.Seed, p.Replicas, w.now, r))
		}
	}()
	w.log = log
	w.run(p.Quiet, nil)
	end := p.Quiet + p.patience()
	w.run(end, func() bool { return w.now > p.Quiet && w.converged() })
	out.Converged = w.now - p.Quiet
	if w.broken == nil && !w.converged() {
		w.violate("C3", "not everybody holds the same %v after the faults: %s", p.patience(), w.differences())
	}
	if w.broken == nil {
		w.check.finish()
	}
	if w.broken == nil && p.Seed%4 == 0 {
		w.interrogate()
	}
	if w.broken == nil {
		w.rest()
	}
	out.Broken, out.Trace, out.Steps, out.Points = w.broken, uint64(w.trace), w.steps, w.points
	for _, r := range w.replicas {
		if r.evil != nil {
			out.Liars = append(out.Liars, r.i)
			if w.check.named[r.i] {
				out.Named = append(out.Named, r.i)
			}
		}
	}
	return out
}

// rest is C10: what has converged moves nothing any more. Whatever is on its
// way, or on its way to a disk that was slow, has two intervals to arrive.
func (w *world) rest() {
	for _, r := range w.replicas {
		if r.evil != nil {
			return // who lies is never at rest
		}
	}
	written := w.now
	for _, r := range w.replicas {
		written = max(written, r.flush, r.gather)
	}
	w.run(written+2*w.plan.Interval, nil)
	before := w.traffic
	w.run(w.now+2*w.plan.Interval, nil)
	moved := w.traffic
	if moved.records > before.records || moved.moving > before.moving {
		w.violate("C10", "%d records moved between replicas that hold the same", moved.records-before.records)
	}
	seconds := (2 * w.plan.Interval).Seconds()
	n := float64(len(w.present()))
	if rate := float64(moved.bytes-before.bytes+moved.sessionBytes-before.sessionBytes) / seconds / n; rate > 1024*8 {
		w.violate("C10", "replicas at rest send %.0f bytes a second each", rate)
	}
}

func (w *world) differences() string {
	s := ""
	for _, r := range w.present() {
		s += fmt.Sprintf("%d: up %v, %d records %08x; ", r.i, r.up, r.know.sum.count, r.know.sum.a>>32)
	}
	return s
}
