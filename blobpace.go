package anabranch

import (
	"sync"
	"time"
)

// pacer spreads bytes over time: a bucket of a quarter of a second.
type pacer struct {
	mu   sync.Mutex
	free time.Time // when what was let through so far is paid for
}

// wait blocks until n bytes may pass at a rate, or until stop is closed.
func (p *pacer) wait(n int, rate int64, stop <-chan struct{}) {
	if rate <= 0 {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if slack := now.Add(-250 * time.Millisecond); p.free.Before(slack) {
		p.free = slack
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	until := p.free.Sub(now)
	p.mu.Unlock()
	if until <= 0 {
		return
	}
	select {
	case <-time.After(until):
	case <-stop:
	}
}

// pace holds content back that would pass Options.BlobRate, out or in.
func (r *Replica) pace(n int, out bool) {
	p := &r.pacers[0]
	if out {
		p = &r.pacers[1]
	}
	p.wait(n, r.options.BlobRate, r.ctx.Done())
}
