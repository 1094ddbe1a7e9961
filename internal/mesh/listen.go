package mesh

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"
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

// bindTries bounds the search for a port that is free in UDP and TCP.
const bindTries = 8

// bind listens on one address over every transport, or on another port when
// that one is taken in either. A transport that fails for another reason is
// only logged as long as another does not.
func (h *host) bind(a netip.AddrPort) (netip.AddrPort, error) {
	var err error
	for range bindTries {
		var got netip.AddrPort
		if got, err = h.bindOnce(a); err == nil {
			h.bound = append(h.bound, got)
			return got, nil
		}
		if !portTaken(err) {
			break
		}
		a = netip.AddrPortFrom(a.Addr(), 0)
	}
	return netip.AddrPort{}, err
}

// bindOnce listens over every transport on the one port, which the first of
// them picks when it is 0. When it is taken in any, none listens.
func (h *host) bindOnce(a netip.AddrPort) (netip.AddrPort, error) {
	var open []ma.Multiaddr
	var errs []error
	for _, t := range h.o.Transports {
		m, err := h.listenOn(t, a)
		if portTaken(err) {
			h.swarm.ListenClose(open...)
			return netip.AddrPort{}, err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", t, err))
			continue
		}
		open = append(open, m)
		if got, ok := addrPortOf(m); ok {
			a = got
		}
	}
	if len(open) == 0 {
		return netip.AddrPort{}, errors.Join(errs...)
	}
	for _, err := range errs {
		h.log.Warn("not listening over every transport", "addr", a.String(), "err", err)
	}
	return a, nil
}

// listenOn listens over one transport and returns where.
func (h *host) listenOn(transport string, a netip.AddrPort) (ma.Multiaddr, error) {
	m, err := multiaddrOf(transport, a)
	if err != nil {
		return nil, err
	}
	before := h.swarm.ListenAddresses()
	if err := h.swarm.AddListenAddr(m); err != nil {
		return nil, err
	}
	for _, l := range h.swarm.ListenAddresses() {
		if transportOf(l) == transport && !ma.Contains(before, l) {
			return l, nil
		}
	}
	return nil, errors.New("the listener does not show its address")
}

// wsaEADDRINUSE is how Windows says it; no other system has that number.
const wsaEADDRINUSE = syscall.Errno(10048)

func portTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaEADDRINUSE)
}
