package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-yamux/v5"
	"github.com/multiformats/go-multistream"
	"github.com/quic-go/quic-go"
)

const (
	// dialStagger is the head start each address has over the next, as in
	// RFC 8305 (happy eyeballs). One that fails passes the turn at once.
	dialStagger = 250 * time.Millisecond
	// reusePatience is how long a standing connection may be silent after we
	// asked for a stream on it before it is taken for dead. The heartbeat
	// may discover that only after 20 s.
	reusePatience = 3 * time.Second
)

func (h *host) Open(ctx context.Context, key Key, addrs []string, protocol string) (Stream, error) {
	return openVia(ctx, h.closing, h.door, h.self, key, protocol, func(ctx context.Context) (Stream, []Attempt, error) {
		return h.open(ctx, key, addrs, protocol)
	})
}

// open tries the standing connection, then the addresses. Without a stream it
// returns what was tried, and a cause if that does not tell all.
func (h *host) open(ctx context.Context, key Key, addrs []string, protocol string) (Stream, []Attempt, error) {
	try := func(conn network.Conn, fresh bool) (s Stream, last *Attempt) {
		s, err := h.openOn(ctx, conn, key, protocol, fresh)
		if err == nil {
			return s, nil
		}
		return nil, &Attempt{Addr: addrOf(conn.RemoteMultiaddr()), Err: err}
	}
	// hopeless reports whether another connection could do no better. One
	// that could is closed, so that the swarm does not hand it out again.
	hopeless := func(conn network.Conn, a *Attempt) bool {
		lost := errors.Is(a.Err, ErrConnLost) || errors.Is(a.Err, errGateClosed)
		if lost {
			_ = conn.Close()
		}
		return !lost || ctx.Err() != nil || len(addrs) == 0
	}

	var stale network.Conn
	if conn, ok := h.links.newest(key); ok {
		s, last := try(conn, false)
		if s != nil || hopeless(conn, last) {
			return s, deref(last), nil
		}
		stale = conn
	}
	release, err := h.dialing.take(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	// Somebody else's dial, or the peer's own, may have succeeded meanwhile.
	if conn, ok := h.links.newest(key); ok && conn != stale {
		if s, last := try(conn, false); s != nil || hopeless(conn, last) {
			return s, deref(last), nil
		}
	}
	conn, attempts, err := h.dial(ctx, key, addrs)
	if conn == nil {
		return nil, attempts, err
	}
	s, last := try(conn, true)
	return s, deref(last), nil
}

func deref(a *Attempt) []Attempt {
	if a == nil {
		return nil
	}
	return []Attempt{*a}
}

// dial makes a connection to the first address that answers with the key.
func (h *host) dial(ctx context.Context, key Key, addrs []string) (network.Conn, []Attempt, error) {
	id, err := idOf(key)
	if err != nil {
		return nil, nil, err
	}
	found, attempts := resolve(ctx, addrs)
	targets := h.targets(found)
	if len(targets) == 0 {
		if len(attempts) == 0 {
			return nil, nil, errNoAddress
		}
		return nil, attempts, nil
	}
	h.book.ClearAddrs(id)
	h.book.AddAddrs(id, targets, peerstore.TempAddrTTL)

	// The swarm's own backoff (5 s to 5 min per address) does not apply to
	// direct dials: when to retry is the caller's decision.
	ctx = network.WithForceDirectDial(ctx, "")
	limit := h.o.DialTimeout + time.Duration(len(found)+1)*dialStagger
	conn, err := h.swarm.DialPeer(network.WithDialPeerTimeout(ctx, limit), id)
	if err == nil {
		return conn, nil, nil
	}
	var failed *swarm.DialError
	if errors.As(err, &failed) && len(failed.DialErrors) > 0 {
		for _, a := range found {
			if attempt, ok := attemptOf(a, failed.DialErrors, h.o.DialTimeout); ok {
				attempts = append(attempts, attempt)
			}
		}
		return nil, attempts, nil
	}
	for _, a := range found {
		attempts = append(attempts, Attempt{Addr: a.String(), Err: errNoAnswer})
	}
	return nil, attempts, err
}

// attemptOf makes one attempt of what became of an address over each transport,
// and says nothing of the transports when it was the same over both.
func attemptOf(addr netip.AddrPort, failures []swarm.TransportError, timeout time.Duration) (out Attempt, ok bool) {
	var seen []string
	for _, f := range failures {
		if a, ok := addrPortOf(f.Address); !ok || a != addr {
			continue
		}
		one := transportAttempt(f, timeout)
		transport := transportOf(f.Address)
		switch {
		case len(seen) == 0:
			out = one
		case one.Err.Error() != out.Err.Error():
			out.Err = fmt.Errorf("%s: %w, %s: %w", seen[0], out.Err, transport, one.Err)
		}
		if out.Found == (Key{}) {
			out.Found = one.Found
		}
		seen = append(seen, transport)
	}
	return out, len(seen) > 0
}

// transportAttempt translates what the swarm says about one address over one
// transport.
func transportAttempt(e swarm.TransportError, timeout time.Duration) Attempt {
	a := Attempt{Addr: addrOf(e.Address), Err: e.Cause}
	var wrong sec.ErrPeerIDMismatch
	var net1 net.Error
	var errno syscall.Errno
	switch {
	case errors.As(e.Cause, &wrong):
		a.Found, _ = keyOf(wrong.Actual)
		a.Err = fmt.Errorf("%w: %s", ErrWrongPeer, short(a.Found))
	case errors.Is(e.Cause, context.DeadlineExceeded), errors.As(e.Cause, &net1) && net1.Timeout():
		a.Err = fmt.Errorf("%w within %v", errNoAnswer, timeout)
	case errors.As(e.Cause, &errno):
		a.Err = errno // the addresses around it are said already
	}
	return a
}

// openOn opens a stream on the connection and has the peer accept the
// protocol. On a connection that is not fresh it waits reusePatience for any
// packet at all, and closes one that is silent.
func (h *host) openOn(ctx context.Context, conn network.Conn, key Key, name string, fresh bool) (Stream, error) {
	if !fresh {
		defer h.watch(conn)()
	}
	s, err := conn.NewStream(ctx)
	if err != nil {
		return nil, connError(conn, err)
	}
	unwatch := context.AfterFunc(ctx, func() { _ = s.Reset() })
	err = errors.Join(s.SetDeadline(time.Now().Add(negotiateTimeout)), s.SetProtocol(protocol.ID(name)))
	if err == nil {
		err = multistream.SelectProtoOrFail(name, s)
	}
	if err == nil {
		err = s.SetDeadline(time.Time{})
	}
	if !unwatch() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = s.Reset()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, connError(conn, err)
	}
	h.links.admit(key, conn)
	return newStream(&swarmPipe{s: s}, key, addrOf(conn.RemoteMultiaddr()), h.o.FrameBytes), nil
}

// watch closes the connection if nothing arrives on it for reusePatience from
// now. The function returned calls that off.
func (h *host) watch(conn network.Conn) (stop func()) {
	p, ok := pulseOf(conn)
	if !ok {
		return func() {}
	}
	before := p.heard()
	t := time.AfterFunc(h.patience, func() {
		if p.heard() == before && !p.busy() {
			_ = conn.Close()
		}
	})
	return func() { t.Stop() }
}

// connError says why a stream could not be opened: the protocol is not offered
// to us, the peer's gate closed the connection, a limit on streams was met, or
// the connection is no more (ErrConnLost).
func connError(conn network.Conn, err error) error {
	var notOffered multistream.ErrNotSupported[string]
	var onStream *network.StreamError
	var onConn *network.ConnError
	switch {
	case errors.As(err, &notOffered):
		return fmt.Errorf("%w: %w", ErrRefused, errNotOffered)
	case errors.As(err, &onConn) && onConn.Remote && onConn.ErrorCode == network.ConnGated, closedByGate(conn):
		return errGateClosed
	case errors.As(err, &onStream) && onStream.Remote && onStream.ErrorCode == network.StreamGated:
		return fmt.Errorf("%w: %w", ErrRefused, errNotOffered)
	case errors.As(err, &onStream) && onStream.Remote && onStream.ErrorCode == network.StreamResourceLimitExceeded:
		return fmt.Errorf("%w on the peer's side", errTooMany)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fmt.Errorf("%w on our side: %w", errTooMany, err)
	case errors.As(err, &onStream) && onStream.Remote:
		return fmt.Errorf("%w (code %#x)", ErrReset, uint32(onStream.ErrorCode))
	case !conn.IsClosed() && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, yamux.ErrTimeout)):
		return fmt.Errorf("%w on a live connection within %v", errNoAnswer, negotiateTimeout)
	}
	return fmt.Errorf("%w: %w", ErrConnLost, err)
}

// closedByGate reports whether the peer ended the connection because its gate
// is closed. The swarm may have closed its side, and forgotten why, before a
// stream could be told.
func closedByGate(conn network.Conn) bool {
	var q *quic.Conn
	if conn.As(&q) {
		var closed *quic.ApplicationError
		return errors.As(context.Cause(q.Context()), &closed) && closed.Remote &&
			closed.ErrorCode == quic.ApplicationErrorCode(network.ConnGated)
	}
	var t *tcpConn
	if !conn.As(&t) || !t.IsClosed() {
		return false
	}
	_, err := t.OpenStream(context.Background()) // fails at once, with what ended the session
	var closed *network.ConnError
	return errors.As(err, &closed) && closed.Remote && closed.ErrorCode == network.ConnGated
}
