package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEitherTransportIsEnough(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		// The listener has one transport, as behind a firewall that lets only
		// that one through; the dialler tries both.
		a := newTestHost(t, 1, everyone, nil, "127.0.0.1:0")
		b := newTestHost(t, 2, everyone, []string{transport}, "127.0.0.1:0")
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		start := time.Now()
		s := mustOpen(t, a, b, "echo")
		if took := time.Since(start); took > 900*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		mustEcho(t, s, []byte("through"))
		for _, h := range []*host{a, b} {
			if p := h.Peers(); len(p) != 1 || p[0].Transport != transport {
				t.Errorf("Peers() = %+v, want one over %s", p, transport)
			}
		}
	})
}

func TestQUICIsPreferredAndTheOtherGoes(t *testing.T) {
	defer leakCheck(t)()
	a := newTestHost(t, 1, everyone, nil, "127.0.0.1:0")
	b := newTestHost(t, 2, everyone, nil, "127.0.0.1:0")
	defer mustClose(t, a, b)
	a.Handle("echo", echo) // for a's gate to admit b at any time
	b.Handle("echo", echo)
	for try := 0; ; try++ { // a busy machine may give TCP the race
		mustOpen(t, a, b, "echo").Close()
		p := a.Peers()
		if len(p) == 1 && p[0].Transport == QUIC {
			break
		}
		if try == 3 {
			t.Fatalf("Peers() = %+v", p)
		}
		a.Disconnect(b.Self())
	}
	// A second connection as if both dials had succeeded at once.
	id, err := idOf(b.Self())
	if err != nil {
		t.Fatal(err)
	}
	found, _ := resolve(context.Background(), b.Addrs())
	for _, m := range a.targets(found) {
		if transportOf(m) == TCP {
			c, err := a.swarm.TransportForDialing(m).Dial(within(t, 3*time.Second), m, id)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	await(t, "the second connection arrives", func() bool { return len(b.links.all(a.Self())) == 2 })
	await(t, "the surplus goes", func() bool { return len(b.links.all(a.Self())) == 1 })
	if p := b.Peers(); len(p) != 1 || p[0].Transport != QUIC {
		t.Errorf("what stays is %+v", p)
	}
}

// await polls, for what no channel tells.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

func TestAttemptTellsBothTransports(t *testing.T) {
	defer leakCheck(t)()
	a, err := newHost(Options{Key: deviceKey(1), Gate: everyone, DialTimeout: 300 * time.Millisecond}, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := newTestHost(t, 2, everyone, []string{TCP}, "127.0.0.1:0")
	defer mustClose(t, a, b)
	b.Handle("echo", echo)
	var open *OpenError
	_, err = a.Open(within(t, 5*time.Second), publicOf(3), b.Addrs(), "echo")
	if !errors.Is(err, ErrWrongPeer) || !errors.As(err, &open) || len(open.Attempts) != 1 || open.Attempts[0].Found != b.Self() {
		t.Fatalf("Open: %v", err)
	}
	for _, want := range []string{"quic: no answer within 300ms", "tcp: mesh: another device answers", b.Addrs()[0]} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		for name, test := range map[string]func(*testing.T, string){
			"finds the dead and spares the quiet": findsTheDead,
			"does not wait for silence when told": probes,
			"does not take an upload for silence": sparesUploads,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); test(t, transport) })
		}
	})
}

func findsTheDead(t *testing.T, transport string) {
	fast := func(h *host) { h.pingIdle, h.pingAnswer = 50*time.Millisecond, 200*time.Millisecond }
	var hosts [2]*host
	for i := range hosts {
		h, err := newHost(Options{Key: deviceKey(i + 1), Gate: everyone, Listen: []string{"127.0.0.1:0"},
			Transports: []string{transport}, DialTimeout: time.Second, Logger: testLog(t)}, fast)
		if err != nil {
			t.Fatal(err)
		}
		hosts[i] = h
	}
	a, b := hosts[0], hosts[1]
	defer mustClose(t, a, b)
	b.Handle("echo", echo)
	w := newWire(t, b.Addrs()[0])
	defer w.close()
	s, err := a.Open(within(t, 3*time.Second), b.Self(), []string{w.addr()}, "echo")
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, s, []byte("x"))
	time.Sleep(550 * time.Millisecond) // longer than a dead one is given
	mustEcho(t, s, []byte("still"))
	if p := a.Peers(); len(p) != 1 || p[0].RTT <= 0 || p[0].RTT > time.Second {
		t.Fatalf("Peers() = %+v", p)
	}
	w.lost.Store(true)
	start := time.Now()
	if _, err := s.ReadFrame(); !errors.Is(err, ErrConnLost) {
		t.Errorf("the stream ended with %v", err)
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the dead connection stood for %v", took)
	}
	await(t, "both are rid of it", func() bool { return len(a.Peers())+len(b.Peers()) == 0 })
}

func probes(t *testing.T, transport string) {
	a, err := newHost(Options{Key: deviceKey(1), Gate: everyone, Transports: []string{transport}, DialTimeout: time.Second, Logger: testLog(t)},
		func(h *host) { h.pingAnswer = 150 * time.Millisecond })
	if err != nil {
		t.Fatal(err)
	}
	b := newTestHost(t, 2, everyone, []string{transport}, "127.0.0.1:0")
	defer mustClose(t, a, b)
	b.Handle("echo", echo)
	w := newWire(t, b.Addrs()[0])
	defer w.close()
	s, err := a.Open(within(t, 3*time.Second), b.Self(), []string{w.addr()}, "echo")
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, s, []byte("x"))
	time.Sleep(150 * time.Millisecond) // for the heartbeat to have heard that
	a.Probe()
	time.Sleep(400 * time.Millisecond)
	if len(a.Peers()) != 1 {
		t.Fatal("a probe closed a connection that is alive")
	}
	w.lost.Store(true)
	a.Probe()
	await(t, "the dead connection is gone", func() bool { return len(a.Peers()) == 0 })
}

// sparesUploads fills a connection that only sends, towards a
// peer that takes nothing from the stream.
func sparesUploads(t *testing.T, transport string) {
	fast := func(h *host) { h.pingIdle, h.pingAnswer = 50*time.Millisecond, 250*time.Millisecond }
	a, err := newHost(Options{Key: deviceKey(1), Gate: everyone, Transports: []string{transport}, Logger: testLog(t)}, fast)
	if err != nil {
		t.Fatal(err)
	}
	b := newTestHost(t, 2, everyone, []string{transport}, "127.0.0.1:0")
	defer mustClose(t, a, b)
	release := make(chan struct{})
	got := make(chan error, 1)
	b.Handle("slow", func(s Stream) {
		defer s.Close()
		<-release
		for n := 0; ; n++ {
			body, err := s.ReadFrame()
			if err != nil || !bytes.Equal(body[:1], []byte{byte(n)}) {
				if n == 140 {
					err = nil
				}
				got <- err
				return
			}
		}
	})
	s := mustOpen(t, a, b, "slow")
	go func() {
		time.Sleep(700 * time.Millisecond)
		close(release)
	}()
	for n := range 140 { // more than any window
		if err := s.WriteFrame(bytes.Repeat([]byte{byte(n)}, defaultFrameBytes)); err != nil {
			t.Fatal(fmt.Errorf("frame %d: %w", n, err))
		}
	}
	s.CloseWrite()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
