package anabranch

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
)

// lateHost is a network on which dials fail, and a dial that looks for
// connections right after is held up by meanwhile.
type lateHost struct {
	mesh.Host
	armed, failed atomic.Bool
	meanwhile     func()
}

func (h *lateHost) Open(ctx context.Context, peer mesh.Key, addrs []string, protocol string) (mesh.Stream, error) {
	if protocol == gossipProtocol && h.armed.Load() {
		h.failed.Store(true)
		return nil, mesh.ErrUnreachable
	}
	return h.Host.Open(ctx, peer, addrs, protocol)
}

func (h *lateHost) Peers() []mesh.PeerInfo {
	before := h.Host.Peers()
	if h.failed.Load() && h.armed.Load() && dialling() && h.armed.CompareAndSwap(true, false) {
		h.meanwhile()
	}
	return before
}

// dialling reports whether a dial of this package's is calling.
func dialling() bool {
	calls := make([]uintptr, 16)
	frames := runtime.CallersFrames(calls[:runtime.Callers(2, calls)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "(*Replica).dial") || !more {
			return more
		}
	}
}

// TestADialThatFailsLate: while a failed dial looks whether there is a
// connection all the same, the peer makes one. It counts.
func TestADialThatFailsLate(t *testing.T) {
	w := newWorld(t)
	late := &lateHost{}
	auto := func(o *Options) { o.Manual = false }
	a := w.open("a", auto, func(o *Options) {
		host := o.host
		o.host = func(key mesh.Key, gate func(mesh.Key, string) bool) (mesh.Host, error) {
			h, err := host(key, gate)
			late.Host = h
			return late, err
		}
	})
	s, _ := w.create(a)
	b := w.join(s, w.open("b", auto), InviteOptions{}).replica
	near := func() bool { return a.Spread().Neighbors == 1 }
	w.eventually(near)
	dials := func() (n uint64) {
		a.ask(func(e *engine.Engine) { n = e.Stats().Dials })
		return n
	}
	b.SetOnline(false)
	w.eventually(func() bool { return a.Spread().Neighbors == 0 })
	crossed := make(chan uint64, 1)
	late.meanwhile = func() {
		b.SetOnline(true)
		for end := time.Now().Add(400 * time.Millisecond); time.Now().Before(end) && !near(); {
			time.Sleep(time.Millisecond) // until the connection is known, or waits to be
		}
		crossed <- dials()
	}
	late.armed.Store(true)
	a.tell(engine.Found{})
	before := <-crossed
	w.eventually(near)
	time.Sleep(1500 * time.Millisecond) // what was told late would have been heard, and the peer dialled anew
	if n := dials(); n != before || !near() {
		t.Errorf("the connection was forgotten: %d dials, then %d; %d neighbours", before, n, a.Spread().Neighbors)
	}
}
