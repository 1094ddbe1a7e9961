package mesh

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/ipv4"
)

// The group of multicast DNS over IPv4 (RFC 6762 section 3).
var (
	mdnsGroup = netip.MustParseAddrPort("224.0.0.251:5353")
	mdnsAddr  = net.UDPAddrFromAddrPort(mdnsGroup)
)

// multicast is the air of the local networks.
type multicast struct {
	loopback bool
	log      *slog.Logger
	conn     *net.UDPConn
	packets  *ipv4.PacketConn

	mu       sync.Mutex
	networks []localNetwork
}

// localNetwork is an interface whose group we have joined.
type localNetwork struct {
	iface    net.Interface
	prefixes []netip.Prefix // its IPv4 addresses and how far they reach
}

// newMulticast opens the socket, which it shares with other responders on this
// machine.
func newMulticast(loopback bool, log *slog.Logger) (*multicast, error) {
	// An address of the multicast range makes package net share the port
	// and listen on every interface.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 0), Port: int(mdnsGroup.Port())})
	if err != nil {
		return nil, err
	}
	m := &multicast{loopback: loopback, log: log, conn: conn, packets: ipv4.NewPacketConn(conn)}
	// Other replicas on this machine hear us only by the loop. Not every
	// system knows both, and each has a default that will do.
	_ = m.packets.SetMulticastLoopback(true)
	_ = m.packets.SetMulticastTTL(255)
	return m, nil
}

func (m *multicast) read(b []byte) (int, netip.AddrPort, error) {
	n, from, err := m.conn.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

// near holds for senders in the network of an interface (RFC 6762 section 11).
func (m *multicast) near(from netip.Addr) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.networks {
		for _, p := range n.prefixes {
			if p.Contains(from) {
				return true
			}
		}
	}
	return false
}

func (m *multicast) send(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.networks {
		err := m.packets.SetMulticastInterface(&n.iface)
		if err == nil {
			_, err = m.packets.WriteTo(b, nil, mdnsAddr)
		}
		if err != nil {
			m.log.Debug("announcement not sent", "interface", n.iface.Name, "err", err)
		}
	}
}

func (m *multicast) rescan() {
	ifaces, err := net.Interfaces()
	if err != nil {
		m.log.Debug("interfaces not listed", "err", err)
		return
	}
	var networks []localNetwork
	for _, i := range ifaces {
		wanted := i.Flags&net.FlagMulticast != 0
		if i.Flags&net.FlagLoopback != 0 { // on some systems without that flag, and able
			wanted = m.loopback
		}
		prefixes := prefixes4(i)
		if !usable(i) || !wanted || len(prefixes) == 0 {
			continue
		}
		networks = append(networks, localNetwork{iface: i, prefixes: prefixes})
		// Joining again is an error on some systems and needed on others,
		// for an interface that went and came back.
		if err := m.packets.JoinGroup(&i, mdnsAddr); err != nil {
			m.log.Debug("multicast group not joined, or already", "interface", i.Name, "err", err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, old := range m.networks {
		stays := func(n localNetwork) bool { return n.iface.Index == old.iface.Index }
		if !slices.ContainsFunc(networks, stays) {
			_ = m.packets.LeaveGroup(&old.iface, mdnsAddr) // the system allows a socket only so many
		}
	}
	m.networks = networks
}

// prefixes4 returns an interface's IPv4 networks, with our address in each.
func prefixes4(i net.Interface) (out []netip.Prefix) {
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP.To4())
		if ones, bits := n.Mask.Size(); ok && bits > 0 {
			out = append(out, netip.PrefixFrom(ip, ones-(bits-32)))
		}
	}
	return out
}

func (m *multicast) close() error { return m.conn.Close() }

// connAir is a test's packet connection in place of multicast.
type connAir struct{ conn net.PacketConn }

func (a connAir) read(b []byte) (int, netip.AddrPort, error) {
	n, from, err := a.conn.ReadFrom(b)
	if err != nil {
		return n, netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddrPort(from.String())
	return n, addr, err
}

func (a connAir) near(netip.Addr) bool { return true }
func (a connAir) send(b []byte)        { _, _ = a.conn.WriteTo(b, mdnsAddr) } // as lossy as multicast
func (a connAir) rescan()              {}
func (a connAir) close() error         { return a.conn.Close() }
