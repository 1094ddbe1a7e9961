package mesh

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Network is a network in memory whose hosts behave like those of New, for
// tests and simulations. Its zero delay, no partition and unlimited links are
// the start; every method may be called at any time. It uses only timers and
// condition variables, so it runs under testing/synctest.
type Network struct {
	mu     sync.Mutex
	addrs  map[Key]string      // kept when a host closes: it returns at the same address
	hosts  map[string]*memHost // by address, the live ones
	groups map[Key]int         // nil: no partition; a key not in it is in group 0
	delay  time.Duration       // one way
	links  map[pair]*memLink
}

// pair names the two ends of a link, in order.
type pair [2]Key

func pairOf(a, b Key) pair {
	if slices.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return pair{a, b}
}

// memLink is everything that runs between two hosts.
type memLink struct {
	conns  []*memConn
	cut    bool  // a budget is set
	budget int64 // bytes that may still pass, both directions together
}

// NewNetwork returns an empty network.
func NewNetwork() *Network {
	return &Network{addrs: make(map[Key]string), hosts: make(map[string]*memHost), links: make(map[pair]*memLink)}
}

// Host starts a host with the key and the gate, as New does. A key that was
// here before gets its old address. It panics when the key's host is still
// running or the gate is nil, since both are mistakes in a test.
func (n *Network) Host(key Key, gate Gate) Host {
	if gate == nil {
		panic("mesh: Network.Host without a gate")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	addr, known := n.addrs[key]
	if !known {
		i := len(n.addrs) + 1
		addr = fmt.Sprintf("10.%d.%d.%d:4471", i>>16&0xff, i>>8&0xff, i&0xff)
		n.addrs[key] = addr
	}
	if n.hosts[addr] != nil {
		panic("mesh: Network.Host for a key that has a running host")
	}
	h := &memHost{net: n, self: key, addr: addr, door: newDoor(gate, nil), links: newLinks[*memConn](), limit: defaultFrameBytes}
	h.closing, h.stop = context.WithCancel(context.Background())
	n.hosts[addr] = h
	return h
}

// Partition lets only hosts of the same group reach each other and breaks the
// connections between groups at once. Keys not named form one more group. It
// replaces an earlier partition.
func (n *Network) Partition(groups ...[]Key) {
	n.mu.Lock()
	n.groups = make(map[Key]int)
	for i, g := range groups {
		for _, k := range g {
			n.groups[k] = i + 1
		}
	}
	var broken []*memConn
	for p, l := range n.links {
		if n.groups[p[0]] != n.groups[p[1]] {
			broken = append(broken, l.conns...)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.fail(errLinkDown, false)
	}
}

// Heal ends the partition. Broken connections stay broken.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.groups = nil
}

// CutAfter breaks the connections between the two hosts after that many more
// bytes of frames, both directions together. The bytes before the cut arrive,
// even when that is in the middle of a frame. It works once; a connection made
// after the cut is whole again. A negative count takes the cut back.
func (n *Network) CutAfter(a, b Key, bytes int64) {
	n.mu.Lock()
	l := n.link(a, b)
	l.cut, l.budget = bytes >= 0, bytes
	n.mu.Unlock()
	if bytes == 0 {
		_, _, cut := n.spend(a, b, 0)
		for _, c := range cut {
			c.fail(errLinkDown, true)
		}
	}
}

// SetDelay makes everything written from now on arrive that much later. An
// Open takes four delays when it dials and two on a standing connection.
func (n *Network) SetDelay(oneWay time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = oneWay
}

var errLinkDown = errors.New("the link is down")

// link is called with mu held.
func (n *Network) link(a, b Key) *memLink {
	p := pairOf(a, b)
	if n.links[p] == nil {
		n.links[p] = &memLink{}
	}
	return n.links[p]
}

// spend takes up to want bytes from the link's budget and returns how many may
// pass, and the delay they take. When the budget is used up the link is cut.
func (n *Network) spend(a, b Key, want int) (pass int, delay time.Duration, cut []*memConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(a, b)
	if !l.cut || int64(want) < l.budget {
		l.budget -= int64(want)
		return want, n.delay, nil
	}
	pass = int(l.budget)
	l.cut = false
	return pass, n.delay, slices.Clone(l.conns)
}

func (n *Network) forget(c *memConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.link(c.ends[0].self, c.ends[1].self)
	l.conns = slices.DeleteFunc(l.conns, func(x *memConn) bool { return x == c })
}

// find returns the host at an address as seen from another, or why not.
func (n *Network) find(from *memHost, addr string) (*memHost, time.Duration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr]
	if h == nil || n.groups[h.self] != n.groups[from.self] {
		return nil, n.delay, errNoAnswer
	}
	return h, n.delay, nil
}

// join makes a connection between two hosts that are still there.
func (n *Network) join(from, to *memHost) (*memConn, error) {
	c := &memConn{net: n, ends: [2]*memHost{from, to}}
	n.mu.Lock()
	if n.hosts[to.addr] != to || n.hosts[from.addr] != from || n.groups[from.self] != n.groups[to.self] {
		n.mu.Unlock()
		return nil, errNoAnswer
	}
	l := n.link(from.self, to.self)
	l.conns = append(l.conns, c)
	n.mu.Unlock()
	from.links.add(to.self, c, link[*memConn]{addr: to.addr, transport: Memory})
	to.links.add(from.self, c, link[*memConn]{addr: from.addr, transport: Memory, inbound: true})
	return c, nil
}

// memConn is one connection; ends[0] dialled.
type memConn struct {
	net  *Network
	ends [2]*memHost

	mu      sync.Mutex
	streams []*memStream // those that are over are dropped now and then
	pruneAt int          // length of streams at which that is next done
	err     error        // not nil once it is broken
}

// add registers a stream's two ends.
func (c *memConn) add(ss ...*memStream) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.streams) >= c.pruneAt {
		c.streams = slices.DeleteFunc(c.streams, func(s *memStream) bool { return s.in.over() && s.out.over() })
		c.pruneAt = max(16, 2*len(c.streams))
	}
	c.streams = append(c.streams, ss...)
	return nil
}

// fail breaks the connection. With drain, readers get what has passed
// already before they see the error.
func (c *memConn) fail(cause error, drain bool) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = fmt.Errorf("%w: %w", ErrConnLost, cause)
	streams := c.streams
	c.streams = nil
	c.mu.Unlock()
	for _, s := range streams {
		s.in.fail(c.err, drain)
	}
	c.net.forget(c)
	c.ends[0].links.remove(c.ends[1].self, c)
	c.ends[1].links.remove(c.ends[0].self, c)
}
