package mesh

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// ether is a network on which everyone hears everything, themselves included.
type ether struct {
	mu    sync.Mutex
	ends  []*etherConn
	sent  [][]byte
	times []time.Time
}

type etherConn struct {
	net.PacketConn // what is not below is not called
	ether          *ether
	addr           *net.UDPAddr
	in             chan etherPacket // full: lost
	closed         chan struct{}
}

type etherPacket struct {
	b    []byte
	from net.Addr
}

func (e *ether) conn(ip string) *etherConn {
	c := &etherConn{ether: e, addr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 5353)), in: make(chan etherPacket, 100), closed: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends = append(e.ends, c)
	return c
}

func (c *etherConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.ether.mu.Lock()
	defer c.ether.mu.Unlock()
	c.ether.sent = append(c.ether.sent, bytes.Clone(b))
	c.ether.times = append(c.ether.times, time.Now())
	for _, e := range c.ether.ends {
		select {
		case e.in <- etherPacket{bytes.Clone(b), c.addr}:
		default:
		}
	}
	return len(b), nil
}

func (c *etherConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.in:
		return copy(b, p.b), p.from, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *etherConn) Close() error {
	close(c.closed)
	return nil
}

// count returns how many packets were sent so far.
func (e *ether) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sent)
}

// circle makes tags as a caller would: keyed with what its members know.
type circle []byte

func (c circle) tag(device Key, epoch int64) Tag {
	mac := hmac.New(sha256.New, c)
	mac.Write(device[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(epoch)))
	return Tag(mac.Sum(nil))
}

// seeker is a device that takes part in discovery.
type seeker struct {
	*Discovery
	mu    sync.Mutex
	found []string
}

func (s *seeker) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.found)
}

// seek starts device number self, which shares circles with others.
func seek(t *testing.T, self int, circles map[string][]int, o DiscoverOptions) *seeker {
	t.Helper()
	s := &seeker{}
	o.Port = uint16(4000 + self)
	o.Tags = func(epoch int64) (out []Tag) {
		for c := range circles {
			out = append(out, circle(c).tag(publicOf(self), epoch))
		}
		return out
	}
	o.Match = func(tag Tag, epoch int64) (Key, bool) {
		for c, devices := range circles {
			for _, n := range devices {
				if n != self && circle(c).tag(publicOf(n), epoch) == tag {
					return publicOf(n), true
				}
			}
		}
		return Key{}, false
	}
	o.Found = func(peer Key, addr string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for n := range 100 {
			if publicOf(n) == peer {
				s.found = append(s.found, fmt.Sprintf("%d at %s", n, addr))
			}
		}
	}
	d, err := Discover(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Discovery = d
	return s
}

func TestMembersFindEachOtherAndStrangersNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var air ether
		family := map[string][]int{"family": {1, 2}}
		a := seek(t, 1, family, DiscoverOptions{Conn: air.conn("192.168.1.1")})
		time.Sleep(10 * time.Second)
		began := time.Now()
		b := seek(t, 2, family, DiscoverOptions{Conn: air.conn("192.168.1.2")})
		stranger := seek(t, 3, map[string][]int{"other": {1, 2, 3}}, DiscoverOptions{Conn: air.conn("192.168.1.3")})
		for len(a.all()) == 0 || len(b.all()) == 0 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > answerDelay+answerSpread+5*time.Millisecond {
			t.Errorf("they found each other after %v", took)
		}
		time.Sleep(20 * time.Minute) // two epochs pass
		for s, want := range map[*seeker]string{a: "2 at 192.168.1.2:4002", b: "1 at 192.168.1.1:4001"} {
			got := s.all()
			if len(got) < 15 || slices.ContainsFunc(got, func(f string) bool { return f != want }) {
				t.Errorf("found %v, want %q about once a minute", got, want)
			}
		}
		if len(stranger.all()) > 0 {
			t.Errorf("a stranger found %v", stranger.all())
		}
		if n := air.count(); n > 3*45 {
			t.Errorf("three devices sent %d packets in 20 minutes", n)
		}
		for _, d := range []*seeker{a, b, stranger} {
			d.Close()
		}
	})
}

func TestPacketsTellNoDeviceAndChangeEveryEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var air ether
		a := seek(t, 1, map[string][]int{"x": {1, 2}, "y": {1, 3}, "z": {1, 4}, "w": {1, 5}, "v": {1, 6}}, DiscoverOptions{Conn: air.conn("192.168.1.1")})
		time.Sleep(25 * time.Minute)
		a.Close()
		key := publicOf(1)
		seen := make(map[Tag]int64) // the epoch of a tag
		for i, b := range air.sent {
			p, err := parsePacket(b)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, key[:8]) || len(p.tags) != 8 || p.port != 4001 {
				t.Fatalf("packet %d has %d tags, port %d", i, len(p.tags), p.port)
			}
			for _, tag := range append(p.tags, p.name) {
				epoch := EpochOf(air.times[i])
				if was, ok := seen[tag]; ok && was != epoch {
					t.Fatalf("packet %d repeats a tag of another epoch", i)
				}
				seen[tag] = epoch
			}
		}
		if len(seen)%9 != 0 {
			t.Errorf("%d tags and names, want the same 9 all through an epoch", len(seen))
		}
	})
}

func TestNeighbouringEpochsAreAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var air ether
		a := seek(t, 1, map[string][]int{"x": {1, 2}}, DiscoverOptions{Conn: air.conn("192.168.1.1")})
		out := air.conn("192.168.1.9")
		epoch := EpochOf(time.Now())
		for i, c := range []struct {
			shift int64
			found bool
		}{{-2, false}, {-1, true}, {0, true}, {1, true}, {2, false}} {
			port := uint16(100 + i)
			b, err := packet{announcement: announcement{port, []Tag{circle("x").tag(publicOf(2), epoch+c.shift)}}}.encode()
			if err != nil {
				t.Fatal(err)
			}
			out.WriteTo(b, nil)
			synctest.Wait()
			if got := slices.Contains(a.all(), fmt.Sprintf("2 at 192.168.1.9:%d", port)); got != c.found {
				t.Errorf("%d epochs off: found %v", c.shift, got)
			}
		}
		a.Close()
	})
}

func TestFloodsCostLittleAndAreNotAmplified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var air ether
		matched := 0
		d, err := Discover(DiscoverOptions{
			Port: 1, Conn: air.conn("192.168.1.1"), Found: func(Key, string) {},
			Tags:  func(int64) []Tag { return []Tag{{1}} },
			Match: func(Tag, int64) (Key, bool) { matched++; return Key{}, false },
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		before := air.count()
		question, err := packet{ask: true, announcement: announcement{9, make([]Tag, maxTags)}}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(question) > maxPacket {
			t.Fatalf("a full packet has %d bytes, limit %d", len(question), maxPacket)
		}
		const seconds, rate = 10, 1000
		flood := make([]*etherConn, 200) // from more addresses than are listened to
		for i := range flood {
			flood[i] = &etherConn{ether: &air, addr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 2, byte(i)}), 5353))}
		}
		for i := range seconds * rate {
			flood[i%len(flood)].WriteTo(question, nil)
			time.Sleep(time.Second / rate)
		}
		time.Sleep(time.Second)
		d.Close()
		if answers := air.count() - before - seconds*rate; answers > seconds+2 {
			t.Errorf("%d answers to %d questions in %d s", answers, seconds*rate, seconds)
		}
		if limit := (seconds + 1) * maxSources * perSource * maxTags * 3; matched > limit || matched == 0 {
			t.Errorf("%d look-ups, at most %d", matched, limit)
		}
	})
}

func TestFindingsAreReportedOnceInAWhile(t *testing.T) {
	var reports []string
	d := &Discovery{o: DiscoverOptions{Found: func(_ Key, addr string) { reports = append(reports, addr) }}, found: make(map[finding]time.Time)}
	now := time.Now()
	f := finding{Key{1}, netip.MustParseAddrPort("192.168.1.1:1")}
	d.report(f, now)
	d.report(f, now.Add(foundAgain-1))
	d.report(f, now.Add(foundAgain))
	if len(reports) != 2 {
		t.Errorf("reported %v", reports)
	}
	for i := range 2 * maxFound {
		d.report(finding{Key{2}, netip.AddrPortFrom(f.addr.Addr(), uint16(i))}, now.Add(foundAgain))
	}
	if len(reports) > maxFound+2 || len(d.found) > maxFound {
		t.Errorf("%d reports and %d remembered in a flood", len(reports), len(d.found))
	}
	d.report(finding{Key{3}, f.addr}, now.Add(3*foundAgain))
	if reports[len(reports)-1] != f.addr.String() {
		t.Error("deaf after a flood")
	}
}

func TestDiscoverOptionsReportEveryMistake(t *testing.T) {
	if _, err := Discover(DiscoverOptions{}); err == nil {
		t.Error("nothing given, and no complaint")
	}
}

// TestMulticastOnThisMachine uses the real group, on loopback as well.
func TestMulticastOnThisMachine(t *testing.T) {
	defer leakCheck(t)()
	probe, err := newMulticast(true, testLog(t))
	if err != nil {
		t.Skipf("the system gives no multicast socket: %v", err)
	}
	probe.rescan()
	canSend := len(probe.networks) > 0
	for _, n := range probe.networks {
		err = errors.Join(err, probe.packets.SetMulticastInterface(&n.iface))
		_, e := probe.packets.WriteTo([]byte("x"), nil, mdnsAddr)
		err = errors.Join(err, e)
	}
	probe.close()
	if !canSend || err != nil {
		t.Skipf("the system does not send multicast on %d networks: %v", len(probe.networks), err)
	}
	name := fmt.Sprintf("real %d", time.Now().UnixNano())
	a := seek(t, 1, map[string][]int{name: {1, 2}}, DiscoverOptions{Loopback: true, Logger: testLog(t)})
	defer a.Close()
	b := seek(t, 2, map[string][]int{name: {1, 2}}, DiscoverOptions{Loopback: true, Logger: testLog(t)})
	defer b.Close()
	for deadline := time.Now().Add(2 * time.Second); len(a.all()) == 0 || len(b.all()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Skipf("multicast is sent and does not arrive: %v, %v", a.all(), b.all())
		}
	}
	t.Log(a.all(), b.all())
	for _, f := range a.all() {
		if _, err := net.ResolveUDPAddr("udp", f[len("2 at "):]); err != nil {
			t.Error(err)
		}
	}
}
