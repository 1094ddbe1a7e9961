package mesh

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartitionBreaksAndHealMends(t *testing.T) {
	n := NewNetwork()
	a, b, c := n.Host(publicOf(1), everyone), n.Host(publicOf(2), everyone), n.Host(publicOf(3), everyone)
	defer mustClose(t, a, b, c)
	for _, h := range []Host{a, b, c} {
		h.Handle("echo", echo)
	}
	ab, ac := mustOpen(t, a, b, "echo"), mustOpen(t, a, c, "echo")
	n.Partition([]Key{a.Self(), c.Self()})
	if _, err := ab.ReadFrame(); !errors.Is(err, ErrConnLost) {
		t.Errorf("across: %v", err)
	}
	mustEcho(t, ac, []byte("within"))
	if _, err := a.Open(t.Context(), b.Self(), b.Addrs(), "echo"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Open across: %v", err)
	}
	if p := a.Peers(); len(p) != 1 || p[0].Key != c.Self() {
		t.Errorf("Peers() = %v", p)
	}
	n.Heal()
	mustEcho(t, mustOpen(t, a, b, "echo"), []byte("healed"))
}

func TestLinkIsCutAtTheByteAndRedialled(t *testing.T) {
	frames := [][]byte{bytes.Repeat([]byte{1}, 10), bytes.Repeat([]byte{2}, 10)}
	for cut := range int64(23) { // two frames are 22 bytes
		n := NewNetwork()
		a, b := n.Host(publicOf(1), everyone), n.Host(publicOf(2), everyone)
		type result struct {
			frames int
			err    error
		}
		got := make(chan result, 1)
		b.Handle("count", func(s Stream) {
			defer s.Close()
			for i := 0; ; i++ {
				if _, err := s.ReadFrame(); err != nil {
					got <- result{i, err}
					return
				}
			}
		})
		s := mustOpen(t, a, b, "count")
		n.CutAfter(a.Self(), b.Self(), cut)
		for _, f := range frames {
			if s.WriteFrame(f) != nil {
				break
			}
		}
		s.CloseWrite()
		r := <-got
		if r.frames != int(cut/11) || !errors.Is(r.err, ErrConnLost) {
			t.Errorf("cut after %d bytes: %d frames and %v", cut, r.frames, r.err)
		}
		b.Handle("echo", echo)
		mustEcho(t, mustOpen(t, a, b, "echo"), []byte("again"))
		mustClose(t, a, b)
	}
}

func TestDelayIsKeptInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.SetDelay(50 * time.Millisecond)
		a, b := n.Host(publicOf(1), everyone), n.Host(publicOf(2), everyone)
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		start := time.Now()
		took := func(what string, want time.Duration) {
			t.Helper()
			if d := time.Since(start); d != want {
				t.Errorf("%s took %v, want %v", what, d, want)
			}
			start = time.Now()
		}
		s := mustOpen(t, a, b, "echo")
		took("dialling", 200*time.Millisecond)
		mustEcho(t, s, []byte("x"))
		took("an echo", 100*time.Millisecond)
		for range 10 { // a pipeline pays once
			if err := s.WriteFrame([]byte("y")); err != nil {
				t.Fatal(err)
			}
		}
		for range 10 {
			if _, err := s.ReadFrame(); err != nil {
				t.Fatal(err)
			}
		}
		took("ten at once", 100*time.Millisecond)
		mustOpen(t, a, b, "echo")
		took("another stream", 100*time.Millisecond)
		s.SetDeadline(time.Now().Add(time.Minute))
		if _, err := s.ReadFrame(); err == nil {
			t.Error("something came from nowhere")
		}
		took("waiting for the deadline", time.Minute)
	})
}

func TestWriterWaitsForAFullWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b := n.Host(publicOf(1), everyone), n.Host(publicOf(2), everyone)
		defer mustClose(t, a, b)
		b.Handle("slow", func(s Stream) {
			defer s.Close()
			for {
				time.Sleep(time.Second)
				if _, err := s.ReadFrame(); err != nil {
					return
				}
			}
		})
		s, err := a.Open(t.Context(), b.Self(), b.Addrs(), "slow")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for range 10 {
			if err := s.WriteFrame(make([]byte, 100<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d < 7*time.Second || d > 9*time.Second {
			t.Errorf("ten frames through a window of two and a half took %v", d)
		}
		s.Reset()
	})
}
