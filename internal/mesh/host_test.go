package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// newQUICHost makes a host that knows QUIC only, newTestHost one with the
// transports given, or both.
func newQUICHost(t *testing.T, number int, gate Gate, listen ...string) *host {
	t.Helper()
	return newTestHost(t, number, gate, []string{QUIC}, listen...)
}

func newTestHost(t *testing.T, number int, gate Gate, transports []string, listen ...string) *host {
	t.Helper()
	h, err := newHost(Options{Key: deviceKey(number), Gate: gate, Listen: listen, Transports: transports, DialTimeout: time.Second, Logger: testLog(t)},
		func(h *host) { h.trimAfter = 200 * time.Millisecond })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestOptionsReportEveryMistake(t *testing.T) {
	_, err := New(Options{Listen: []string{"localhost"}, FrameBytes: 5, DialTimeout: -1})
	for _, want := range []string{"Key", "Gate", "Listen", "FrameBytes", "DialTimeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	if _, err := New(Options{Key: deviceKey(1), Gate: everyone, Listen: []string{"203.0.113.7:0"}}); err == nil {
		t.Error("listening on somebody else's address worked")
	}
}

func TestTakenPortIsReplacedInBothAndReported(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		var taken string
		if transport == QUIC {
			c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			taken = c.LocalAddr().String()
		} else {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			taken = l.Addr().String()
		}
		var log bytes.Buffer
		h, err := New(Options{Key: deviceKey(1), Gate: everyone, Listen: []string{taken}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer mustClose(t, h)
		got := h.Addrs()
		if len(got) != 1 || got[0] == taken || !strings.HasPrefix(got[0], "127.0.0.1:") {
			t.Errorf("Addrs() = %v", got)
		}
		if !strings.Contains(log.String(), "want="+taken) || !strings.Contains(log.String(), "got="+got[0]) {
			t.Errorf("the log does not tell: %s", log.String())
		}
		h.Handle("echo", echo)
		for _, transport := range []string{QUIC, TCP} {
			a := newTestHost(t, 2, everyone, []string{transport})
			mustEcho(t, mustOpen(t, a, h, "echo"), []byte(transport))
			mustClose(t, a)
		}
	})
}

func TestEveryInterfaceIsOnePortForBothFamilies(t *testing.T) {
	defer leakCheck(t)()
	h := newQUICHost(t, 1, everyone, ":0")
	defer mustClose(t, h)
	if len(h.bound) == 2 && h.bound[0].Port() != h.bound[1].Port() {
		t.Errorf("bound to %v", h.bound)
	}
	if n := len(h.Addrs()); n == 0 || n > maxAddrs {
		t.Errorf("Addrs() = %v", h.Addrs())
	}
	// It is reached by loopback all the same, under a name too.
	a := newQUICHost(t, 2, everyone)
	defer mustClose(t, a)
	h.Handle("echo", echo)
	port := h.bound[0].Port()
	s, err := a.Open(within(t, 3*time.Second), h.Self(), []string{fmt.Sprintf("localhost:%d", port)}, "echo")
	if err != nil {
		t.Fatal(err)
	}
	mustEcho(t, s, []byte("by name"))
	if len(a.Addrs()) != 0 {
		t.Errorf("a host that only dials lists %v", a.Addrs())
	}
}

func TestDialableAddresses(t *testing.T) {
	ap := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	ip := func(ss ...string) (out []netip.Addr) {
		for _, s := range ss {
			out = append(out, netip.MustParseAddr(s))
		}
		return out
	}
	both := []netip.AddrPort{ap("0.0.0.0:9"), ap("[::]:9")}
	var many []netip.Addr
	for i := range 20 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	for _, c := range []struct {
		bound  []netip.AddrPort
		ifaces []netip.Addr
		want   string
	}{
		{[]netip.AddrPort{ap("127.0.0.1:9")}, ip("192.168.1.2"), "127.0.0.1:9"},
		{both, ip("127.0.0.1", "::1", "2001:db8::1", "192.168.1.2"), "192.168.1.2:9 [2001:db8::1]:9"},
		{both[:1], ip("127.0.0.1", "::1", "2001:db8::1"), "127.0.0.1:9"},
		{both, ip("127.0.0.1", "::1"), "127.0.0.1:9 [::1]:9"},
		{both, many, "10.0.0.0:9 10.0.0.1:9 10.0.0.2:9 10.0.0.3:9 10.0.0.4:9 10.0.0.5:9 10.0.0.6:9 10.0.0.7:9"},
		{nil, many, ""},
	} {
		if got := strings.Join(dialable(c.bound, c.ifaces), " "); got != c.want {
			t.Errorf("dialable(%v, %v) = %s, want %s", c.bound, c.ifaces, got, c.want)
		}
	}
}

func TestDialsStartStaggeredNearestFirst(t *testing.T) {
	var addrs []ma.Multiaddr
	for _, s := range []string{"203.0.113.1:1", "[2001:db8::1]:1", "192.168.1.2:1", "127.0.0.1:1"} {
		m, err := multiaddrOf(QUIC, netip.MustParseAddrPort(s))
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, m)
	}
	var got []string
	for i, d := range stagger(addrs) {
		got = append(got, addrOf(d.Addr))
		if d.Delay != time.Duration(i)*dialStagger {
			t.Errorf("dial %d starts after %v", i, d.Delay)
		}
	}
	if want := "127.0.0.1:1 192.168.1.2:1 [2001:db8::1]:1 203.0.113.1:1"; strings.Join(got, " ") != want {
		t.Errorf("order %v, want %s", got, want)
	}
	for _, s := range []string{"203.0.113.1:1", "127.0.0.1:1", "127.0.0.1:2"} { // the last over TCP alone
		m, err := multiaddrOf(TCP, netip.MustParseAddrPort(s))
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, m)
	}
	delays := make(map[string]time.Duration)
	for _, d := range stagger(addrs) {
		delays[transportOf(d.Addr)+" "+addrOf(d.Addr)] = d.Delay
	}
	for addr, steps := range map[string]int{
		"quic 127.0.0.1:1": 0, "tcp 127.0.0.1:1": 1, "tcp 127.0.0.1:2": 1,
		"quic 192.168.1.2:1": 2, "quic [2001:db8::1]:1": 3, "quic 203.0.113.1:1": 4, "tcp 203.0.113.1:1": 5,
	} {
		if delays[addr] != time.Duration(steps)*dialStagger {
			t.Errorf("%s is dialled after %v, want %d steps", addr, delays[addr], steps)
		}
	}
}

func TestLimitsSpareTheHouseholdAndBoundTheRest(t *testing.T) {
	r, err := newResources()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	connect := func(ip string, i int, known bool) error {
		m, err := multiaddrOf(QUIC, netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(1000+i)))
		if err != nil {
			t.Fatal(err)
		}
		scope, err := r.OpenConnection(network.DirInbound, false, m)
		if err != nil || !known {
			return err
		}
		id, err := idOf(publicOf(i))
		if err != nil {
			t.Fatal(err)
		}
		return scope.SetPeer(id)
	}
	for i := range 100 {
		if err := connect("192.168.1.5", i, true); err != nil {
			t.Fatalf("device %d of one household: %v", i, err)
		}
	}
	n := 0
	for ; n < 200 && connect("198.51.100.7", n, true) == nil; n++ {
	}
	if n != maxConnsPerIP {
		t.Errorf("%d connections from one public address, want %d", n, maxConnsPerIP)
	}
	if r, err = newResources(); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n = 0
	for ; n < 200 && connect("127.0.0.1", n, false) == nil; n++ {
	}
	if n != maxHandshakes {
		t.Errorf("%d handshakes in progress, want %d", n, maxHandshakes)
	}
}

func TestSilentTCPHandshakesAreBounded(t *testing.T) {
	defer leakCheck(t)()
	h := newTestHost(t, 1, everyone, []string{TCP}, "127.0.0.1:0")
	defer mustClose(t, h)
	const dialled = maxHandshakes + 50
	var refused, told atomic.Int32
	var wg sync.WaitGroup
	for range dialled {
		c, err := net.Dial("tcp4", h.Addrs()[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
			n, err := io.Copy(io.Discard, c)
			told.Add(int32(n))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if n := dialled - refused.Load(); n != maxHandshakes {
		t.Errorf("%d handshakes in progress, want %d", n, maxHandshakes)
	}
	if want := int32(maxHandshakes * len("\x13/multistream/1.0.0\n")); told.Load() > want {
		t.Errorf("they were told %d bytes, at most %d before they say anything", told.Load(), want)
	}
}

func TestStreamsPerPeerAreBounded(t *testing.T) {
	overBoth(t, func(t *testing.T, transport string) {
		a := newTestHost(t, 1, everyone, []string{transport})
		b := newTestHost(t, 2, everyone, []string{transport}, "127.0.0.1:0")
		defer mustClose(t, a, b)
		b.Handle("echo", echo)
		n := 0
		for ; n < 2*maxPeerStreams; n++ {
			if _, err := a.Open(within(t, 3*time.Second), b.Self(), b.Addrs(), "echo"); err != nil {
				if !errors.Is(err, errTooMany) {
					t.Error(err)
				}
				break
			}
		}
		if n != maxPeerStreams {
			t.Errorf("%d streams with one peer, want %d", n, maxPeerStreams)
		}
	})
}

func TestOtherKeyTypesAreNotOurs(t *testing.T) {
	id, err := peer.Decode("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N") // an RSA peer
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := keyOf(id); ok {
		t.Error("an RSA peer has an Ed25519 key")
	}
	id, err = idOf(publicOf(1))
	if err != nil {
		t.Fatal(err)
	}
	if k, ok := keyOf(id); !ok || k != publicOf(1) {
		t.Error("a key does not survive the peer ID")
	}
}
