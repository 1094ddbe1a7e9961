package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestSilentConnectionIsReplaced(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		a := newTestHost(t, 1, everyone, []string{transport})
		a.patience = 150 * time.Millisecond
		b := newTestHost(t, 2, everyone, []string{transport}, "127.0.0.1:0")
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		w := newWire(t, b.Addrs()[0])
		defer w.close()
		s, err := a.Open(within(t, 3*time.Second), b.Self(), []string{w.addr()}, "echo")
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, s, []byte("through the wire"))
		w.lost.Store(true) // as when a router forgets us
		s2, err := a.Open(within(t, 5*time.Second), b.Self(), b.Addrs(), "echo")
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, s2, []byte("around it"))
		if _, err := s.ReadFrame(); !errors.Is(err, ErrConnLost) {
			t.Errorf("the old stream ended with %v", err)
		}
	})
}

func TestRestartedPeerDisownsOldConnections(t *testing.T) {
	a := newQUICHost(t, 1, everyone)
	b := newQUICHost(t, 2, everyone, "127.0.0.1:0")
	b.Handle("echo", echo)
	addr := b.Addrs()[0]
	w := newWire(t, addr)
	defer w.close()
	s, err := a.Open(within(t, 3*time.Second), b.Self(), []string{w.addr()}, "echo")
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, s, []byte("x"))
	w.lost.Store(true) // b dies without a word
	mustClose(t, b)
	b = newQUICHost(t, 2, everyone, addr)
	defer mustClose(t, a, b)
	b.Handle("echo", echo)
	w.lost.Store(false)
	start := time.Now()
	s.SetDeadline(time.Now().Add(4 * time.Second))
	// A reset answers only a packet longer than itself.
	if err := s.WriteFrame(make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFrame(); !errors.Is(err, ErrConnLost) {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	s2, err := a.Open(within(t, 3*time.Second), b.Self(), []string{w.addr()}, "echo")
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, s2, []byte("y"))
}

func TestSurplusConnectionGoesOnceIdle(t *testing.T) {
	defer leakCheck(t)()
	a := newQUICHost(t, 1, everyone, "127.0.0.1:0")
	b := newQUICHost(t, 2, everyone, "127.0.0.1:0")
	defer mustClose(t, a, b)
	a.Handle("echo", echo)
	b.Handle("echo", echo)
	first := mustOpen(t, a, b, "echo")
	mustEcho(t, first, []byte("x"))
	// A second connection behind the swarm's back, as after a lost reply.
	id, err := idOf(b.Self())
	if err != nil {
		t.Fatal(err)
	}
	found, _ := resolve(context.Background(), b.Addrs())
	targets := a.targets(found)
	second, err := a.swarm.TransportForDialing(targets[0]).Dial(within(t, 3*time.Second), targets[0], id)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	for i := 0; len(b.links.all(a.Self())) < 2; i++ {
		if i > 1000 {
			t.Fatal("the second connection never arrived")
		}
		time.Sleep(time.Millisecond)
	}
	if len(b.Peers()) != 1 {
		t.Errorf("Peers() = %v", b.Peers())
	}
	time.Sleep(a.trimAfter + 100*time.Millisecond)
	if n := len(b.links.all(a.Self())); n != 2 {
		t.Fatalf("%d connections while both are wanted or new", n)
	}
	mustEcho(t, first, []byte("still here"))
	first.Close()
	for i := 0; len(b.links.all(a.Self())) > 1; i++ {
		if i > 3000 {
			t.Fatal("the surplus connection stayed")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestLinksKeepTheSameOfTwoSimultaneousConnections(t *testing.T) {
	small, large := Key{1}, Key{2}
	for _, order := range [][2]bool{{true, false}, {false, true}} {
		atSmall, atLarge := newLinks[string](), newLinks[string]()
		for _, smallDials := range order {
			name := fmt.Sprint("small dialled: ", smallDials)
			atSmall.add(large, name, link[string]{inbound: !smallDials})
			atLarge.add(small, name, link[string]{inbound: smallDials})
		}
		a, b := atSmall.surplus(small, large), atLarge.surplus(large, small)
		if !slices.Equal(a, b) || len(a) != 1 || a[0] != "small dialled: false" {
			t.Errorf("one gives up %v, the other %v", a, b)
		}
	}
	t.Run("QUIC rather than TCP, whoever dialled and whichever came first", func(t *testing.T) {
		for _, order := range [][]string{{QUIC, TCP}, {TCP, QUIC}} {
			for _, inbound := range [][2]bool{{false, false}, {true, true}, {false, true}, {true, false}} {
				l := newLinks[string]()
				for i, transport := range order {
					l.add(large, transport, link[string]{transport: transport, inbound: inbound[i]})
				}
				if got := l.surplus(small, large); !slices.Equal(got, []string{TCP}) {
					t.Errorf("%v, inbound %v: surplus %v", order, inbound, got)
				}
			}
		}
	})
	t.Run("a later one replaces an earlier one", func(t *testing.T) {
		l := newLinks[string]()
		l.add(large, "old", link[string]{})
		l.byPeer[large][0].since = time.Now().Add(-time.Minute)
		l.add(large, "new", link[string]{inbound: true})
		if got := l.surplus(small, large); !slices.Equal(got, []string{"old"}) {
			t.Errorf("surplus %v", got)
		}
	})
}
