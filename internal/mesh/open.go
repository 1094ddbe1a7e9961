package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

var (
	errSelf       = errors.New("that is this device")
	errNoAddress  = errors.New("no address is known")
	errNoAnswer   = errors.New("no answer")
	errNotOffered = errors.New("it does not offer the protocol to us")
	errTooMany    = errors.New("too many streams or connections")
	errGateClosed = fmt.Errorf("%w: its gate closed the connection", ErrRefused)
)

// openVia is Open as both twins perform it: it asks our own gate, lets the
// connection-level check know that we expect the peer, runs the attempt until
// the host closes, and says in one error what came of it.
func openVia(ctx, closing context.Context, d *door, self, key Key, protocol string,
	open func(context.Context) (Stream, []Attempt, error)) (Stream, error) {
	fail := &OpenError{Peer: key, Protocol: protocol, Kind: ErrUnreachable}
	switch {
	case d.isShut():
		fail.Kind = ErrClosed
		return nil, fail
	case key == self:
		fail.Cause = errSelf
		return nil, fail
	case !d.gate(key, protocol):
		fail.Kind = ErrNotAdmitted
		return nil, fail
	}
	defer d.expect(key, protocol)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(closing, cancel)()

	s, attempts, cause := open(ctx)
	if s != nil {
		return s, nil
	}
	fail.Attempts, fail.Cause = attempts, cause
	for _, a := range attempts {
		if errors.Is(a.Err, ErrRefused) {
			fail.Kind = ErrRefused
		} else if a.Found != (Key{}) && fail.Kind != ErrRefused {
			fail.Kind = ErrWrongPeer
		}
	}
	if d.isShut() {
		fail.Kind = ErrClosed
	}
	return nil, fail
}

// dialTokens lets one call at a time dial a peer, so that concurrent Opens
// share one connection. The zero value is ready.
type dialTokens struct {
	mu     sync.Mutex
	tokens map[Key]chan struct{} // cap 1; one per peer ever dialled
}

// take waits for the peer's token; release gives it back.
func (t *dialTokens) take(ctx context.Context, key Key) (release func(), err error) {
	t.mu.Lock()
	token := t.tokens[key]
	if token == nil {
		if t.tokens == nil {
			t.tokens = make(map[Key]chan struct{})
		}
		token = make(chan struct{}, 1)
		t.tokens[key] = token
	}
	t.mu.Unlock()
	select {
	case token <- struct{}{}:
		return func() { <-token }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
