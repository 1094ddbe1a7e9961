package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
)

// An address of ours is "ip:port" and means QUIC on that UDP port and Noise on
// that TCP port.

// multiaddrOf returns /ip4|ip6/…/udp/port/quic-v1 or /ip4|ip6/…/tcp/port.
func multiaddrOf(transport string, a netip.AddrPort) (ma.Multiaddr, error) {
	ip := a.Addr().Unmap()
	family := "ip6"
	if ip.Is4() {
		family = "ip4"
	}
	rest := "udp/%d/quic-v1"
	if transport == TCP {
		rest = "tcp/%d"
	}
	return ma.NewMultiaddr(fmt.Sprintf("/%s/%s/"+rest, family, ip.WithZone(""), a.Port()))
}

// transportOf says which of ours a multiaddr is for.
func transportOf(m ma.Multiaddr) string {
	if m == nil {
		return ""
	}
	if _, err := m.ValueForProtocol(ma.P_TCP); err == nil {
		return TCP
	}
	return QUIC
}

// addrPortOf is the inverse; it fails for addresses we do not make.
func addrPortOf(m ma.Multiaddr) (netip.AddrPort, bool) {
	host, err := m.ValueForProtocol(ma.P_IP4)
	if err != nil {
		if host, err = m.ValueForProtocol(ma.P_IP6); err != nil {
			return netip.AddrPort{}, false
		}
	}
	port, err := m.ValueForProtocol(ma.P_UDP)
	if err != nil {
		if port, err = m.ValueForProtocol(ma.P_TCP); err != nil {
			return netip.AddrPort{}, false
		}
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	return a, err == nil
}

// addrOf is how a multiaddr appears to callers: "ip:port".
func addrOf(m ma.Multiaddr) string {
	if m == nil {
		return ""
	}
	if a, ok := addrPortOf(m); ok {
		return a.String()
	}
	return m.String()
}

func (h *host) Addrs() []string {
	var ifaces []netip.Addr
	for _, b := range h.bound {
		if b.Addr().IsUnspecified() {
			ifaces = interfaceAddrs()
			break
		}
	}
	return dialable(h.bound, ifaces)
}

// dialable lists where a peer may reach a host bound so, on a machine with
// these interface addresses: IPv4 first, since it works in more places.
// Loopback stands in for "every interface" only when there is nothing else.
func dialable(bound []netip.AddrPort, ifaces []netip.Addr) []string {
	var near, far []netip.AddrPort
	for _, b := range bound {
		if !b.Addr().IsUnspecified() {
			far = append(far, b)
			continue
		}
		for _, ip := range ifaces {
			if ip.Is4() != b.Addr().Is4() {
				continue
			}
			if a := netip.AddrPortFrom(ip, b.Port()); ip.IsLoopback() {
				near = append(near, a)
			} else {
				far = append(far, a)
			}
		}
	}
	if len(far) == 0 {
		far = near
	}
	slices.SortStableFunc(far, func(a, b netip.AddrPort) int {
		switch {
		case a.Addr().Is4() == b.Addr().Is4():
			return 0
		case a.Addr().Is4():
			return -1
		}
		return 1
	})
	var out []string
	for _, a := range far {
		if s := a.String(); !slices.Contains(out, s) && len(out) < maxAddrs {
			out = append(out, s)
		}
	}
	return out
}

// bridgePrefixes name the interfaces that container and machine runtimes make:
// their addresses are the same on every machine and lead nowhere from outside.
var bridgePrefixes = []string{"docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "cni", "flannel", "cali", "podman", "lxcbr", "lxdbr", "incusbr"}

// usable holds for interfaces that are up and no bridge.
func usable(i net.Interface) bool {
	bridge := slices.ContainsFunc(bridgePrefixes, func(p string) bool { return strings.HasPrefix(i.Name, p) })
	return i.Flags&net.FlagUp != 0 && !bridge
}

// interfaceAddrs returns the addresses of the interfaces that are up, without
// bridges and link-local ones, in the order the system gives them.
func interfaceAddrs() []netip.Addr {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, i := range ifaces {
		if !usable(i) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if ip = ip.Unmap(); ok && !ip.IsLinkLocalUnicast() && !ip.IsMulticast() {
				out = append(out, ip)
			}
		}
	}
	return out
}

// targets returns the multiaddrs to dial, one per address and transport.
func (h *host) targets(addrs []netip.AddrPort) (out []ma.Multiaddr) {
	for _, a := range addrs {
		for _, t := range h.o.Transports {
			if m, err := multiaddrOf(t, a); err == nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// resolve looks up the names among the addresses given to Open. What leads
// nowhere is an attempt that failed.
func resolve(ctx context.Context, addrs []string) (found []netip.AddrPort, failed []Attempt) {
	add := func(a netip.AddrPort) {
		if a = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()); len(found) < maxDialAddrs && !slices.Contains(found, a) {
			found = append(found, a)
		}
	}
	for _, s := range addrs {
		if a, err := netip.ParseAddrPort(s); err == nil {
			add(a)
			continue
		}
		name, service, err := net.SplitHostPort(s)
		if err != nil {
			failed = append(failed, Attempt{Addr: s, Err: err})
			continue
		}
		port, err := strconv.ParseUint(service, 10, 16)
		if err != nil {
			failed = append(failed, Attempt{Addr: s, Err: fmt.Errorf("port %q is not a number", service)})
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			failed = append(failed, Attempt{Addr: s, Err: err})
		}
		for _, ip := range ips {
			add(netip.AddrPortFrom(ip, uint16(port)))
		}
	}
	return found, failed
}

// stagger schedules the dials of one peer's addresses: loopback and private
// ones first, then IPv6 before IPv4 as RFC 8305 prefers, each dialStagger
// after the one before it. TCP at an address starts that much after QUIC
// there, together with QUIC at the next.
func stagger(addrs []ma.Multiaddr) []network.AddrDelay {
	rank := func(m ma.Multiaddr) int {
		a, ok := addrPortOf(m)
		ip := a.Addr()
		switch {
		case !ok:
			return 4
		case ip.IsLoopback():
			return 0
		case slices.ContainsFunc(nearPrefixes, func(p netip.Prefix) bool { return p.Contains(ip) }):
			return 1
		case ip.Is6():
			return 2
		}
		return 3
	}
	sorted := slices.Clone(addrs)
	slices.SortStableFunc(sorted, func(a, b ma.Multiaddr) int { return rank(a) - rank(b) })
	turns := make(map[netip.AddrPort]int) // of an address, from 0
	both := make(map[netip.AddrPort]bool) // QUIC is tried there too
	for _, m := range sorted {
		a, _ := addrPortOf(m)
		if _, ok := turns[a]; !ok {
			turns[a] = len(turns)
		}
		both[a] = both[a] || transportOf(m) == QUIC
	}
	out := make([]network.AddrDelay, len(sorted))
	for i, m := range sorted {
		a, _ := addrPortOf(m)
		turn := turns[a]
		if both[a] && transportOf(m) == TCP {
			turn++
		}
		out[i] = network.AddrDelay{Addr: m, Delay: dialStagger * time.Duration(turn)}
	}
	return out
}

// sourceIP finds the address the system would send from, by connecting a UDP
// socket, which sends nothing. The library's own way reads the routing table,
// which sandboxes forbid.
type sourceIP struct{}

// PreferredSourceIPForDestination lets a dial leave from the listening socket
// that is bound to the right address, so that the peer sees our real port.
func (sourceIP) PreferredSourceIPForDestination(dst *net.UDPAddr) (net.IP, error) {
	c, err := net.DialUDP("udp", nil, dst)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP, nil
}
