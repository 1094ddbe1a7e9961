package anabranch

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"anabranch/internal/engine"
	"anabranch/record"
)

func addrFact(device record.Key) string { return "addrs/" + device.String() }

// AddPeer remembers addresses ("ip:port") of a member's device.
func (r *Replica) AddPeer(ctx context.Context, device record.Key, addrs ...string) error {
	for _, a := range addrs {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return fmt.Errorf("anabranch: address %q is not of the form ip:port", a)
		}
	}
	return r.rememberAddrs(ctx, device, addrs)
}

func (r *Replica) rememberAddrs(ctx context.Context, device record.Key, addrs []string) error {
	known := r.storedAddrs(device)
	merged := slices.Clone(addrs)
	for _, a := range known {
		if !slices.Contains(merged, a) {
			merged = append(merged, a)
		}
	}
	merged = merged[:min(len(merged), maxKnownAddrs)]
	if slices.Equal(merged, known) {
		return nil
	}
	b, err := json.Marshal(merged)
	if err != nil {
		return err
	}
	defer r.tell(engine.Found{Peer: engine.Peer(device)})
	return r.store.SetFact(ctx, addrFact(device), b)
}

func (r *Replica) storedAddrs(device record.Key) []string {
	b, ok, err := r.store.Fact(addrFact(device))
	var addrs []string
	if err != nil || !ok || json.Unmarshal(b, &addrs) != nil {
		return nil
	}
	return addrs
}

// addrsOf are the addresses to try for a device: those that have proved its
// key or came with a ticket, where it was heard on the local network, where
// its notes say it is, and those of Options.Peers.
func (r *Replica) addrsOf(device record.Key) []string {
	addrs := r.storedAddrs(device)
	for _, a := range append(r.peer(device).heardAddrs(), r.peer(device).notedAddrs()...) {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	for _, a := range r.options.Peers {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

const listenFact = "listen"

// rememberListen keeps the addresses listened on, for tickets that are made
// while nothing runs.
func (r *Replica) rememberListen(addrs []string) {
	b, err := json.Marshal(addrs)
	if err != nil {
		return
	}
	if old, ok, err := r.store.Fact(listenFact); err == nil && ok && string(old) == string(b) {
		return
	}
	if err := r.store.SetFact(r.ctx, listenFact, b); err != nil {
		r.log.Warn("listen addresses not remembered", "err", err)
	}
}

// likelyAddrs are where this replica listened last, or will by default.
func (r *Replica) likelyAddrs() []string {
	b, ok, err := r.store.Fact(listenFact)
	var addrs []string
	if err == nil && ok && json.Unmarshal(b, &addrs) == nil && len(addrs) > 0 {
		return addrs
	}
	for _, listen := range r.options.Listen {
		host, port, err := net.SplitHostPort(listen)
		if err != nil || port == "0" {
			continue
		}
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			addrs = append(addrs, listen)
			continue
		}
		for _, ip := range interfaceIPs() {
			addrs = append(addrs, net.JoinHostPort(ip, port))
		}
	}
	return addrs
}

func interfaceIPs() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var lan, loop []string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		if n.IP.IsLoopback() {
			loop = append(loop, n.IP.String())
		} else {
			lan = append(lan, n.IP.String())
		}
	}
	return append(lan, loop...)
}
