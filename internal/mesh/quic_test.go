package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

func newQUICHost(t *testing.T, number int, gate Gate, listen ...string) *host {
	t.Helper()
	h, err := New(Options{Key: deviceKey(number), Gate: gate, Listen: listen, DialTimeout: time.Second, Logger: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	return h.(*host)
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

func TestTakenPortIsReplacedAndReported(t *testing.T) {
	defer leakCheck(t)()
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var log bytes.Buffer
	h, err := New(Options{Key: deviceKey(1), Gate: everyone, Listen: []string{taken.LocalAddr().String()}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, h)
	got := h.Addrs()
	if len(got) != 1 || got[0] == taken.LocalAddr().String() || !strings.HasPrefix(got[0], "127.0.0.1:") {
		t.Errorf("Addrs() = %v", got)
	}
	if !strings.Contains(log.String(), "want="+taken.LocalAddr().String()) || !strings.Contains(log.String(), "got="+got[0]) {
		t.Errorf("the log does not tell: %s", log.String())
	}
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
		m, err := multiaddrOf(netip.MustParseAddrPort(s))
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
}

// rawConn dials with libp2p alone, as any program on the network could.
func rawConn(t *testing.T, from, to *host) (network.Conn, error) {
	t.Helper()
	id, err := idOf(to.Self())
	if err != nil {
		t.Fatal(err)
	}
	targets, _ := resolve(context.Background(), to.Addrs())
	from.book.AddAddrs(id, targets, peerstore.TempAddrTTL)
	return from.swarm.DialPeer(network.WithForceDirectDial(within(t, 3*time.Second), "test"), id)
}

func TestStrangerLearnsNothingBeyondTheHandshake(t *testing.T) {
	defer leakCheck(t)()
	a := newQUICHost(t, 1, everyone, "127.0.0.1:0")
	b := newQUICHost(t, 2, func(k Key, _ string) bool { return k == publicOf(9) }, "127.0.0.1:0")
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
		if err == nil || !closedByGate(conn) {
			t.Errorf("the connection was not closed by the gate: %v", err)
		}
	}
	if len(b.links.all(a.Self())) != 0 {
		t.Error("the stranger's connection reached the swarm")
	}
}

func TestInvitedStrangerCannotListProtocols(t *testing.T) {
	defer leakCheck(t)()
	a := newQUICHost(t, 1, everyone, "127.0.0.1:0")
	b := newQUICHost(t, 2, func(_ Key, p string) bool { return p == "join" }, "127.0.0.1:0")
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

// wire forwards UDP between dialers and a host, until it is told to lose
// everything.
type wire struct {
	front *net.UDPConn
	lost  atomic.Bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{front: front}
	target, err := net.ResolveUDPAddr("udp4", to)
	if err != nil {
		t.Fatal(err)
	}
	backs := make(map[string]*net.UDPConn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := front.ReadFromUDP(b)
			if err != nil {
				return
			}
			back := backs[from.String()]
			if back == nil {
				if back, err = net.DialUDP("udp4", nil, target); err != nil {
					return
				}
				backs[from.String()] = back
				go func() {
					b := make([]byte, 2048)
					for {
						n, err := back.Read(b)
						if errors.Is(err, net.ErrClosed) {
							return
						}
						if err == nil && !w.lost.Load() {
							_, _ = front.WriteToUDP(b[:n], from)
						}
					}
				}()
			}
			if !w.lost.Load() {
				_, _ = back.Write(b[:n])
			}
		}
	}()
	t.Cleanup(func() {
		front.Close()
		<-done
		for _, b := range backs {
			b.Close()
		}
	})
	return w
}

func (w *wire) addr() string { return w.front.LocalAddr().String() }

func TestSilentConnectionIsReplaced(t *testing.T) {
	a := newQUICHost(t, 1, everyone)
	a.patience = 150 * time.Millisecond
	b := newQUICHost(t, 2, everyone, "127.0.0.1:0")
	defer mustClose(t, a, b)
	b.Handle("echo", echo)
	w := newWire(t, b.Addrs()[0])
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
}

func TestRestartedPeerDisownsOldConnections(t *testing.T) {
	a := newQUICHost(t, 1, everyone)
	b := newQUICHost(t, 2, everyone, "127.0.0.1:0")
	b.Handle("echo", echo)
	addr := b.Addrs()[0]
	w := newWire(t, addr)
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
	targets, _ := resolve(context.Background(), b.Addrs())
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
	time.Sleep(trimAfter + 200*time.Millisecond)
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
			atSmall.add(large, name, "", !smallDials)
			atLarge.add(small, name, "", smallDials)
		}
		a, b := atSmall.surplus(small, large), atLarge.surplus(large, small)
		if !slices.Equal(a, b) || len(a) != 1 || a[0] != "small dialled: false" {
			t.Errorf("one gives up %v, the other %v", a, b)
		}
	}
	t.Run("a later one replaces an earlier one", func(t *testing.T) {
		l := newLinks[string]()
		l.add(large, "old", "", false)
		l.byPeer[large][0].since = time.Now().Add(-time.Minute)
		l.add(large, "new", "", true)
		if got := l.surplus(small, large); !slices.Equal(got, []string{"old"}) {
			t.Errorf("surplus %v", got)
		}
	})
}

func TestLimitsSpareTheHouseholdAndBoundTheRest(t *testing.T) {
	r, err := newResources()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	connect := func(ip string, i int, known bool) error {
		m, err := multiaddrOf(netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(1000+i)))
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
	n = 0
	for ; n < 200 && connect("127.0.0.1", n, false) == nil; n++ {
	}
	if n != maxHandshakes {
		t.Errorf("%d handshakes in progress, want %d", n, maxHandshakes)
	}
}

func TestStreamsPerPeerAreBounded(t *testing.T) {
	defer leakCheck(t)()
	a := newQUICHost(t, 1, everyone)
	b := newQUICHost(t, 2, everyone, "127.0.0.1:0")
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
