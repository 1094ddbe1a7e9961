package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// parseListen reads one Listen option. ":port" means every interface, over
// IPv4 and IPv6.
func parseListen(s string) ([]netip.AddrPort, error) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("mesh: Listen %q: want ip:port or :port", s)
		}
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)), netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n))}, nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, fmt.Errorf("mesh: Listen %q: want ip:port or :port", s)
	}
	return []netip.AddrPort{a}, nil
}

// listen binds the addresses. One that cannot be bound is only logged as long
// as another can: machines without IPv6 are common.
func (h *host) listen(wanted []string) error {
	var errs []error
	chosen := make(map[uint16]uint16) // wanted port to the one in its place, shared by IPv4 and IPv6
	for _, s := range wanted {
		addrs, err := parseListen(s)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			want := a
			if port, ok := chosen[a.Port()]; ok {
				a = netip.AddrPortFrom(a.Addr(), port)
			}
			got, err := h.bind(a)
			if err != nil {
				errs = append(errs, fmt.Errorf("mesh: listen on %s: %w", want, err))
				continue
			}
			chosen[want.Port()] = got.Port()
			if want.Port() != 0 && got.Port() != want.Port() {
				h.log.Warn("port is taken, listening on another", "want", want.String(), "got", got.String())
			}
		}
	}
	if len(h.bound) == 0 {
		return errors.Join(errs...)
	}
	for _, err := range errs {
		h.log.Warn("not listening everywhere", "err", err)
	}
	return nil
}

// bind listens on one address, or on another port when that one is taken.
func (h *host) bind(a netip.AddrPort) (got netip.AddrPort, err error) {
	m, err := multiaddrOf(a)
	if err != nil {
		return got, err
	}
	err = h.swarm.AddListenAddr(m)
	if errors.Is(err, syscall.EADDRINUSE) && a.Port() != 0 {
		return h.bind(netip.AddrPortFrom(a.Addr(), 0))
	}
	if err != nil {
		return got, err
	}
	for _, l := range h.swarm.ListenAddresses() {
		b, ok := addrPortOf(l)
		if ok && !slices.Contains(h.bound, b) {
			h.bound = append(h.bound, b)
			return b, nil
		}
	}
	return got, errors.New("the listener does not show its address")
}
