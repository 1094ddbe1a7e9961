package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// memHost is the Host on a Network.
type memHost struct {
	net     *Network
	self    Key
	addr    string
	door    *door
	links   *links[*memConn]
	limit   int // bytes of a frame's body
	closing context.Context
	stop    context.CancelFunc
	dialing dialTokens
}

func (h *memHost) Self() Key                               { return h.self }
func (h *memHost) Addrs() []string                         { return []string{h.addr} }
func (h *memHost) Handle(protocol string, fn func(Stream)) { h.door.handle(protocol, fn) }
func (h *memHost) Changed() <-chan struct{}                { return h.links.changes() }
func (h *memHost) Probe()                                  {} // what breaks in memory is seen at once

func (h *memHost) Peers() []PeerInfo {
	h.net.mu.Lock()
	delay := h.net.delay
	h.net.mu.Unlock()
	return h.links.peers(func(*memConn) time.Duration { return 2 * delay })
}

func (h *memHost) Disconnect(key Key) {
	for _, c := range h.links.all(key) {
		c.fail(errGateClosed, false)
	}
}

func (h *memHost) Close() error {
	if !h.door.shut() {
		return nil
	}
	h.stop()
	h.net.mu.Lock()
	delete(h.net.hosts, h.addr)
	var conns []*memConn
	for p, l := range h.net.links {
		if p[0] == h.self || p[1] == h.self {
			conns = append(conns, l.conns...)
		}
	}
	h.net.mu.Unlock()
	for _, c := range conns {
		c.fail(errors.New("the host closed"), false)
	}
	h.door.handling.Wait()
	return nil
}

func (h *memHost) Open(ctx context.Context, key Key, addrs []string, protocol string) (Stream, error) {
	return openVia(ctx, h.closing, h.door, h.self, key, protocol, func(ctx context.Context) (Stream, []Attempt, error) {
		return h.open(ctx, key, addrs, protocol)
	})
}

func (h *memHost) open(ctx context.Context, key Key, addrs []string, protocol string) (Stream, []Attempt, error) {
	if s, failed := h.reuse(ctx, key, addrs, protocol); s != nil || failed != nil {
		return s, failed, nil
	}
	release, err := h.dialing.take(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	// Somebody else's dial, or the peer's own, may have succeeded meanwhile.
	if s, failed := h.reuse(ctx, key, addrs, protocol); s != nil || failed != nil {
		return s, failed, nil
	}
	if len(addrs) == 0 {
		return nil, nil, errNoAddress
	}
	var attempts []Attempt
	for _, a := range addrs {
		c, failed := h.dial(ctx, key, a)
		if failed != nil {
			attempts = append(attempts, *failed)
			continue
		}
		s, err := h.openOn(ctx, c, key, protocol)
		if err != nil {
			return nil, []Attempt{{Addr: a, Err: err}}, nil
		}
		return s, nil, nil
	}
	return nil, attempts, ctx.Err()
}

// reuse opens on the standing connection. It returns neither a stream nor a
// failure when there is none, or when dialling anew could do better.
func (h *memHost) reuse(ctx context.Context, key Key, addrs []string, protocol string) (Stream, []Attempt) {
	c, ok := h.links.newest(key)
	if !ok {
		return nil, nil
	}
	s, err := h.openOn(ctx, c, key, protocol)
	if err == nil {
		return s, nil
	}
	lost := errors.Is(err, ErrConnLost) || errors.Is(err, errGateClosed)
	if !lost || ctx.Err() != nil || len(addrs) == 0 {
		return nil, []Attempt{{Addr: c.other(h).addr, Err: err}}
	}
	return nil, nil
}

// dial connects to one address: the two round trips of a handshake, then both
// gates' opinion of the connection.
func (h *memHost) dial(ctx context.Context, key Key, addr string) (*memConn, *Attempt) {
	to, delay, err := h.net.find(h, addr)
	if err == nil {
		err = wait(ctx, 2*delay)
	}
	switch {
	case err != nil:
		return nil, &Attempt{Addr: addr, Err: err}
	case to.self != key:
		return nil, &Attempt{Addr: addr, Err: fmt.Errorf("%w: %s", ErrWrongPeer, short(to.self)), Found: to.self}
	case !h.door.admitsAny(key):
		return nil, &Attempt{Addr: addr, Err: ErrNotAdmitted}
	case !to.door.admitsAny(h.self):
		return nil, &Attempt{Addr: addr, Err: errGateClosed}
	}
	c, err := h.net.join(h, to)
	if err != nil {
		return nil, &Attempt{Addr: addr, Err: err}
	}
	return c, nil
}

// openOn asks the other side for the protocol and starts its handler.
func (h *memHost) openOn(ctx context.Context, c *memConn, key Key, protocol string) (Stream, error) {
	h.net.mu.Lock()
	delay := h.net.delay
	h.net.mu.Unlock()
	if err := wait(ctx, 2*delay); err != nil {
		return nil, err
	}
	to := c.other(h)
	if !to.door.admitsAny(h.self) { // it admitted us once, and does no more
		to.Disconnect(h.self)
		return nil, errGateClosed
	}
	fn := to.door.handler(h.self, protocol)
	if fn == nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, errNotOffered)
	}
	ours, theirs := newMemStreams(c, h, to)
	if err := c.add(ours, theirs); err != nil {
		return nil, err
	}
	if !to.door.enter() {
		return nil, fmt.Errorf("%w: the host closed", ErrConnLost)
	}
	h.links.admit(key, c)
	go func() {
		defer to.door.leave()
		fn(newStream(theirs, h.self, h.addr, to.limit))
	}()
	return newStream(ours, key, to.addr, h.limit), nil
}

func (c *memConn) other(h *memHost) *memHost {
	if c.ends[0] == h {
		return c.ends[1]
	}
	return c.ends[0]
}

// wait passes time; the context's error ends it early.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
