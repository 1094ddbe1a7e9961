package mesh

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/multiformats/go-multistream"
)

func TestGateOfTheListenerRefusesTheConnection(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a := w.host(t, 1, everyone)
		b := w.host(t, 2, func(k Key, _ string) bool { return k != publicOf(1) })
		defer mustClose(t, a, b)
		b.Handle("echo", func(Stream) { t.Error("a stranger got a stream") })
		_, err := a.Open(within(t, 5*time.Second), b.Self(), b.Addrs(), "echo")
		var open *OpenError
		if !errors.Is(err, ErrRefused) || !errors.As(err, &open) || len(open.Attempts) != 1 || open.Attempts[0].Addr != b.Addrs()[0] {
			t.Errorf("Open: %v", err)
		}
		eventually(t, a, "the refused connection is gone", func() bool { return len(a.Peers()) == 0 })
		if len(b.Peers()) != 0 {
			t.Error("the stranger counts as connected")
		}
	})
}

func TestStrangerGetsTheOneOpenProtocolOnly(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a := w.host(t, 1, everyone)
		b := w.host(t, 2, func(_ Key, protocol string) bool { return protocol == "join" })
		defer mustClose(t, a, b)
		b.Handle("join", echo)
		b.Handle("sync", func(Stream) { t.Error("a stranger got a member's protocol") })
		mustEcho(t, mustOpen(t, a, b, "join"), []byte("please"))
		_, refused := a.Open(within(t, 5*time.Second), b.Self(), b.Addrs(), "sync")
		_, absent := a.Open(within(t, 5*time.Second), b.Self(), b.Addrs(), "nonesuch")
		for _, err := range []error{refused, absent} {
			if !errors.Is(err, ErrRefused) {
				t.Errorf("Open: %v", err)
			}
		}
		var r, n *OpenError
		if errors.As(refused, &r) && errors.As(absent, &n) && r.Attempts[0].Err.Error() != n.Attempts[0].Err.Error() {
			t.Errorf("a refused protocol and an absent one differ: %v, %v", refused, absent)
		}
	})
}

func TestOwnGateKeepsUsFromDialling(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a := w.host(t, 1, func(_ Key, protocol string) bool { return protocol != "sync" })
		b := w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		b.Handle("sync", echo)
		if _, err := a.Open(within(t, 5*time.Second), b.Self(), b.Addrs(), "sync"); !errors.Is(err, ErrNotAdmitted) {
			t.Errorf("Open: %v", err)
		}
		if len(b.Peers()) != 0 {
			t.Error("it dialled all the same")
		}
	})
}

func TestGateThatClosedLaterEndsTheConnection(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		var shut atomic.Bool
		a := w.host(t, 1, everyone)
		b := w.host(t, 2, func(Key, string) bool { return !shut.Load() })
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		mustEcho(t, mustOpen(t, a, b, "echo"), []byte("x"))
		shut.Store(true)
		if _, err := a.Open(within(t, 3*time.Second), b.Self(), b.Addrs(), "echo"); !errors.Is(err, ErrRefused) {
			t.Errorf("Open: %v", err)
		}
		eventually(t, b, "b is rid of a", func() bool { return len(b.Peers()) == 0 })
	})
}

// rawConn dials with libp2p alone, as any program on the network could.
func rawConn(t *testing.T, from, to *host) (network.Conn, error) {
	t.Helper()
	id, err := idOf(to.Self())
	if err != nil {
		t.Fatal(err)
	}
	targets, _ := resolve(context.Background(), to.Addrs())
	from.book.AddAddrs(id, from.targets(targets), peerstore.TempAddrTTL)
	return from.swarm.DialPeer(network.WithForceDirectDial(within(t, 3*time.Second), "test"), id)
}

func TestStrangerLearnsNothingBeyondTheHandshake(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		a := newTestHost(t, 1, everyone, []string{transport}, "127.0.0.1:0")
		b := newTestHost(t, 2, func(k Key, _ string) bool { return k == publicOf(9) }, []string{transport}, "127.0.0.1:0")
		defer mustClose(t, a, b)
		a.Handle("anything", echo) // for a's own gate to admit b
		b.Handle("sync", func(Stream) { t.Error("a stranger got a stream") })
		conn, err := rawConn(t, a, b)
		if err == nil { // the dialling side is done before the other has judged
			s, err := conn.NewStream(within(t, time.Second))
			if err == nil {
				s.SetDeadline(time.Now().Add(time.Second))
				_, _ = s.Write([]byte("\x13/multistream/1.0.0\n"))
				var told []byte
				if told, err = io.ReadAll(s); len(told) > 0 {
					t.Errorf("a stranger was told %q", told)
				}
			}
			if err == nil || !errors.Is(connError(conn, err), errGateClosed) {
				t.Errorf("the connection was not closed by the gate: %v", err)
			}
		}
		if len(b.links.all(a.Self())) != 0 {
			t.Error("the stranger's connection reached the swarm")
		}
	})
}

func TestInvitedStrangerCannotListProtocols(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		a := newTestHost(t, 1, everyone, []string{transport}, "127.0.0.1:0")
		b := newTestHost(t, 2, func(_ Key, p string) bool { return p == "join" }, []string{transport}, "127.0.0.1:0")
		defer mustClose(t, a, b)
		a.Handle("anything", echo)
		b.Handle("join", echo)
		b.Handle("secret", echo)
		conn, err := rawConn(t, a, b)
		if err != nil {
			t.Fatal(err)
		}
		s, err := conn.NewStream(within(t, time.Second))
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(time.Second))
		for _, ask := range []string{"ls", "secret", "/ipfs/id/1.0.0"} {
			err := multistream.SelectProtoOrFail(ask, s)
			if !errors.Is(err, multistream.ErrNotSupported[string]{Protos: []string{ask}}) && err == nil {
				t.Errorf("%s was answered", ask)
			}
			s, err = conn.NewStream(within(t, time.Second))
			if err != nil {
				t.Fatal(err)
			}
			s.SetDeadline(time.Now().Add(time.Second))
		}
		if err := multistream.SelectProtoOrFail("join", s); err != nil {
			t.Errorf("join: %v", err)
		}
		s.Reset()
	})
}
