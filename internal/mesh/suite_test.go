package mesh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// world makes hosts of one implementation that can reach each other.
type world interface {
	// host starts the device of that number. The second host of the same
	// number, after the first has closed, listens where the first did.
	host(t *testing.T, number int, gate Gate) Host
}

// worlds runs a test over every implementation, side by side.
func worlds(t *testing.T, test func(t *testing.T, w world)) {
	sideBySide(t, []string{Memory, QUIC, TCP}, func(t *testing.T, name string) {
		if name == Memory {
			test(t, memoryWorld{NewNetwork()})
		} else {
			test(t, &realWorld{transport: name, ports: make(map[int]string)})
		}
	})
}

// overBoth runs a test of real hosts over each transport, side by side.
func overBoth(t *testing.T, test func(t *testing.T, transport string)) {
	sideBySide(t, []string{QUIC, TCP}, test)
}

func sideBySide(t *testing.T, names []string, test func(t *testing.T, name string)) {
	defer leakCheck(t)()
	t.Run("over", func(t *testing.T) { // ends when all within have
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, name)
			})
		}
	})
}

// leakCheck must be deferred before hosts are made; tests close their hosts.
func leakCheck(t *testing.T) func() {
	return func() {
		if !t.Failed() {
			goleak.VerifyNone(t, goleak.IgnoreTopFunction("testing.(*T).Run"))
		}
	}
}

type memoryWorld struct{ *Network }

func (w memoryWorld) host(t *testing.T, number int, gate Gate) Host {
	return w.Host(publicOf(number), gate)
}

type realWorld struct {
	transport string
	mu        sync.Mutex
	ports     map[int]string
}

func (w *realWorld) host(t *testing.T, number int, gate Gate) Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	listen := "127.0.0.1:0"
	if p, ok := w.ports[number]; ok {
		listen = p
	}
	h, err := New(Options{Key: deviceKey(number), Gate: gate, Listen: []string{listen}, Transports: []string{w.transport}, DialTimeout: time.Second, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	w.ports[number] = h.Addrs()[0]
	return h
}

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func deviceKey(number int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "mesh test device %d", number))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicOf(number int) Key { return Key(deviceKey(number)[32:]) }

func everyone(Key, string) bool { return true }

func echo(s Stream) {
	defer s.Close()
	for {
		b, err := s.ReadFrame()
		if err != nil {
			return
		}
		if s.WriteFrame(b) != nil {
			return
		}
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func mustOpen(t *testing.T, from, to Host, protocol string) Stream {
	t.Helper()
	s, err := from.Open(within(t, 5*time.Second), to.Self(), to.Addrs(), protocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return s
}

func mustEcho(t *testing.T, s Stream, body []byte) {
	t.Helper()
	if err := s.WriteFrame(body); err != nil {
		t.Fatal(err)
	}
	got, err := s.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, body) {
		t.Fatalf("echo of %d bytes came back as %d others", len(body), len(got))
	}
}

func mustClose(t *testing.T, hs ...Host) {
	t.Helper()
	for _, h := range hs {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

// eventually waits for a condition, woken by the host's changes.
func eventually(t *testing.T, h Host, what string, ok func() bool) {
	t.Helper()
	ctx := within(t, 5*time.Second)
	for {
		changed := h.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

func TestFramesCrossBothWaysAndAreCounted(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		s := mustOpen(t, a, b, "echo")
		if s.Peer() != b.Self() || s.RemoteAddr() != b.Addrs()[0] {
			t.Errorf("stream is with %x at %s", s.Peer(), s.RemoteAddr())
		}
		want := int64(0)
		for _, n := range []int{0, 1, 127, 128, 16383, 16384, defaultFrameBytes} {
			mustEcho(t, s, bytes.Repeat([]byte{7}, n))
			want += int64(n + len(appendLength(nil, n)))
		}
		if r, wr := s.Traffic(); r != want || wr != want {
			t.Errorf("Traffic() = %d, %d, want %d both", r, wr, want)
		}
		if err := s.CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := s.ReadFrame(); err != io.EOF {
			t.Errorf("after both ends ended: %v, want io.EOF", err)
		}
		if err := s.WriteFrame(nil); !errors.Is(err, ErrClosed) {
			t.Errorf("write after CloseWrite: %v", err)
		}
		s.Close()
		if _, err := s.ReadFrame(); !errors.Is(err, ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
	})
}

func TestFrameOverTheLimitIsRefusedOnBothSides(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		got := make(chan error, 1)
		b.Handle("read", func(s Stream) {
			_, err := s.ReadFrame()
			got <- err
			s.Reset()
		})
		s := mustOpen(t, a, b, "read")
		if err := s.WriteFrame(make([]byte, defaultFrameBytes+1)); !errors.Is(err, ErrFrameSize) {
			t.Errorf("writing too much: %v", err)
		}
		// A peer that does not keep to the limit.
		if _, err := s.(*stream).pipe.Write(appendLength(nil, defaultFrameBytes+1)); err != nil {
			t.Fatal(err)
		}
		if err := <-got; !errors.Is(err, ErrFrameSize) {
			t.Errorf("reading too much: %v", err)
		}
		if _, err := s.ReadFrame(); !errors.Is(err, ErrReset) {
			t.Errorf("after the peer's reset: %v", err)
		}
	})
}

func TestCloseDeliversWhatWasWritten(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		got := make(chan error, 1)
		b.Handle("read", func(s Stream) {
			defer s.Close()
			for n := 0; ; n++ {
				if _, err := s.ReadFrame(); err != nil {
					if n != 20 {
						err = fmt.Errorf("%d frames, then %w", n, err)
					}
					got <- err
					return
				}
			}
		})
		s := mustOpen(t, a, b, "read")
		for range 20 {
			if err := s.WriteFrame(make([]byte, 10000)); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
		if err := <-got; err != io.EOF {
			t.Error(err)
		}
	})
}

func TestDeadlineEndsReadsAndWrites(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		release := make(chan struct{})
		b.Handle("silent", func(s Stream) { <-release; s.Reset() })
		defer close(release)
		s := mustOpen(t, a, b, "silent")
		s.SetDeadline(time.Now().Add(20 * time.Millisecond))
		if _, err := s.ReadFrame(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		s = mustOpen(t, a, b, "silent")
		s.SetDeadline(time.Now().Add(100 * time.Millisecond))
		var err error
		for i := 0; i < 1000 && err == nil; i++ {
			err = s.WriteFrame(make([]byte, defaultFrameBytes))
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestWrongKeyAndDeadAddressAreNamed(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		c := w.host(t, 3, everyone)
		gone := c.Addrs()
		mustClose(t, c)
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		_, err := a.Open(within(t, 5*time.Second), publicOf(3), b.Addrs(), "echo")
		var open *OpenError
		if !errors.Is(err, ErrWrongPeer) || !errors.As(err, &open) || open.Attempts[0].Found != b.Self() {
			t.Errorf("another device's address: %v", err)
		}
		_, err = a.Open(within(t, 5*time.Second), publicOf(3), gone, "echo")
		if !errors.Is(err, ErrUnreachable) || !errors.As(err, &open) || open.Attempts[0].Addr != gone[0] {
			t.Errorf("a dead address: %v", err)
		}
		_, err = a.Open(within(t, 5*time.Second), publicOf(3), nil, "echo")
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("no address: %v", err)
		}
		_, err = a.Open(within(t, 5*time.Second), a.Self(), a.Addrs(), "echo")
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("oneself: %v", err)
		}
		// A dead address before a good one costs its head start, not the
		// second that it takes to give it up. Best of three, for busy machines.
		best := time.Hour
		for range 3 {
			a.Disconnect(b.Self())
			start := time.Now()
			s, err := a.Open(within(t, 5*time.Second), b.Self(), append(gone, b.Addrs()...), "echo")
			if err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
			mustEcho(t, s, []byte("here"))
		}
		if best > 900*time.Millisecond {
			t.Errorf("a dead address first costs %v", best)
		}
	})
}

func TestManyStreamsShareOneConnection(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		a.Handle("echo", echo)
		var wg sync.WaitGroup
		for i := range 60 {
			from, to := a, b
			if i%3 == 0 { // some the other way
				from, to = b, a
			}
			wg.Go(func() {
				s, err := from.Open(within(t, 5*time.Second), to.Self(), to.Addrs(), "echo")
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				for j := range 10 {
					body := bytes.Repeat([]byte{byte(i), byte(j)}, 1+i*50)
					if err := s.WriteFrame(body); err != nil {
						t.Error(err)
						return
					}
					if got, err := s.ReadFrame(); err != nil || !bytes.Equal(got, body) {
						t.Errorf("stream %d: %v", i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if p := a.Peers(); len(p) != 1 || p[0].Key != b.Self() || p[0].Transport == "" {
			t.Errorf("Peers() = %v", p)
		}
	})
}

func TestDisconnectEndsStreamsAndBothSidesSeeIt(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		s := mustOpen(t, a, b, "echo")
		mustEcho(t, s, []byte("before"))
		eventually(t, b, "b sees a", func() bool { return len(b.Peers()) == 1 && b.Peers()[0].Inbound })
		eventually(t, a, "a sees b", func() bool { return len(a.Peers()) == 1 && !a.Peers()[0].Inbound })
		b.Disconnect(a.Self())
		if _, err := s.ReadFrame(); !errors.Is(err, ErrConnLost) || !errors.Is(err, ErrRefused) {
			t.Errorf("the stream ended with %v", err)
		}
		eventually(t, a, "a has no peer", func() bool { return len(a.Peers()) == 0 })
		eventually(t, b, "b has no peer", func() bool { return len(b.Peers()) == 0 })
		mustEcho(t, mustOpen(t, a, b, "echo"), []byte("again")) // the gate is open: it may come back
	})
}

func TestPeerRestartsWhereItWas(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		b.Handle("echo", echo)
		addr := b.Addrs()[0]
		s := mustOpen(t, a, b, "echo")
		mustEcho(t, s, []byte("first life"))
		mustClose(t, b)
		if _, err := s.ReadFrame(); !errors.Is(err, ErrConnLost) {
			t.Errorf("the stream ended with %v", err)
		}
		b = w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		if b.Addrs()[0] != addr {
			t.Fatalf("came back at %s, was at %s", b.Addrs()[0], addr)
		}
		b.Handle("echo", echo)
		mustEcho(t, mustOpen(t, a, b, "echo"), []byte("second life"))
	})
}

func TestCloseEndsOpenHandlersAndFurtherCalls(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		b.Handle("echo", echo)
		s := mustOpen(t, a, b, "echo")
		mustEcho(t, s, []byte("x"))
		mustClose(t, b, a, a)
		if _, err := s.ReadFrame(); err == nil {
			t.Error("a stream outlived its host")
		}
		if _, err := a.Open(within(t, time.Second), b.Self(), b.Addrs(), "echo"); !errors.Is(err, ErrClosed) {
			t.Errorf("Open on a closed host: %v", err)
		}
	})
}

func TestOpenObeysItsContext(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a)
		mustClose(t, b)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := a.Open(ctx, b.Self(), b.Addrs(), "echo"); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnreachable) {
			t.Errorf("Open: %v", err)
		}
	})
}

func TestBothSidesDialAtOnceAndKeepOneConnection(t *testing.T) {
	worlds(t, func(t *testing.T, w world) {
		a, b := w.host(t, 1, everyone), w.host(t, 2, everyone)
		defer mustClose(t, a, b)
		a.Handle("echo", echo)
		b.Handle("echo", echo)
		var wg sync.WaitGroup
		for _, x := range [][2]Host{{a, b}, {b, a}} {
			wg.Go(func() {
				s, err := x[0].Open(within(t, 5*time.Second), x[1].Self(), x[1].Addrs(), "echo")
				if err != nil {
					t.Error(err)
					return
				}
				s.Close()
			})
		}
		wg.Wait()
		if len(a.Peers()) != 1 || len(b.Peers()) != 1 {
			t.Errorf("peers: %v, %v", a.Peers(), b.Peers())
		}
		mustEcho(t, mustOpen(t, a, b, "echo"), []byte("x"))
	})
}
