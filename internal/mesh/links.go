package mesh

import (
	"bytes"
	"slices"
	"sync"
	"time"
)

// link is one connection with a peer, as a host's table keeps it.
type link[C comparable] struct {
	conn      C
	addr      string
	transport string
	inbound   bool
	since     time.Time
	admitted  bool // the peer has shown that it lets us in
}

// links is a host's table of connections. A peer is connected while it has an
// admitted link: an inbound one from the start, since both gates have been
// passed, and one that we dialled from the first stream that either side
// accepted.
type links[C comparable] struct {
	mu      sync.Mutex
	byPeer  map[Key][]*link[C] // oldest first
	changed chan struct{}      // closed and replaced at every change of Peers
}

func newLinks[C comparable]() *links[C] {
	return &links[C]{byPeer: make(map[Key][]*link[C]), changed: make(chan struct{})}
}

// add enters a connection that begins now.
func (t *links[C]) add(peer Key, conn C, l link[C]) {
	l.conn, l.since, l.admitted = conn, time.Now(), l.inbound
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.connected(peer)
	t.byPeer[peer] = append(t.byPeer[peer], &l)
	t.announce(peer, before)
}

// admit notes that the peer accepted a stream on the connection, or opened one.
func (t *links[C]) admit(peer Key, conn C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.connected(peer)
	for _, l := range t.byPeer[peer] {
		if l.conn == conn && !l.admitted {
			l.admitted, l.since = true, time.Now()
		}
	}
	t.announce(peer, before)
}

func (t *links[C]) remove(peer Key, conn C) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.connected(peer)
	rest := slices.DeleteFunc(t.byPeer[peer], func(l *link[C]) bool { return l.conn == conn })
	if t.byPeer[peer] = rest; len(rest) == 0 {
		delete(t.byPeer, peer)
	}
	t.announce(peer, before)
}

// newest returns the connection to open the next stream on: the newest one,
// because a peer that handshakes again has usually lost the older ones.
func (t *links[C]) newest(peer Key) (conn C, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ls := t.byPeer[peer]
	if len(ls) == 0 {
		return conn, false
	}
	return ls[len(ls)-1].conn, true
}

// simultaneous is how far apart two connections may start and still count as
// made at once, by both sides or over both transports.
const simultaneous = 5 * time.Second

// surplus returns the connections that may go once they are idle. Of those made
// at once, one over QUIC stays rather than one over TCP, then one dialled by
// the smaller key, so that both ends keep the same one; otherwise the newest
// stays.
func (t *links[C]) surplus(self, peer Key) []C {
	t.mu.Lock()
	defer t.mu.Unlock()
	ls := t.byPeer[peer]
	if len(ls) < 2 {
		return nil
	}
	newest := ls[len(ls)-1]
	smallerIsPeer := bytes.Compare(peer[:], self[:]) < 0
	merit := func(l *link[C]) (m int) {
		if l.transport == QUIC {
			m += 2
		}
		if l.inbound == smallerIsPeer {
			m++
		}
		return m
	}
	keep := newest
	for _, l := range slices.Backward(ls) {
		if newest.since.Sub(l.since) < simultaneous && merit(l) > merit(keep) {
			keep = l
		}
	}
	var out []C
	for _, l := range ls {
		if l != keep {
			out = append(out, l.conn)
		}
	}
	return out
}

func (t *links[C]) all(peer Key) []C {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []C
	for _, l := range t.byPeer[peer] {
		out = append(out, l.conn)
	}
	return out
}

// conns returns every connection there is.
func (t *links[C]) conns() map[C]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[C]bool)
	for _, ls := range t.byPeer {
		for _, l := range ls {
			out[l.conn] = true
		}
	}
	return out
}

func (t *links[C]) peers(rtt func(C) time.Duration) []PeerInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []PeerInfo
	for k, ls := range t.byPeer {
		for _, l := range slices.Backward(ls) {
			if l.admitted {
				out = append(out, PeerInfo{Key: k, Addr: l.addr, Transport: l.transport, Inbound: l.inbound, Since: l.since, RTT: rtt(l.conn)})
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return out
}

func (t *links[C]) changes() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// connected and announce are called with mu held.
func (t *links[C]) connected(peer Key) bool {
	return slices.ContainsFunc(t.byPeer[peer], func(l *link[C]) bool { return l.admitted })
}

func (t *links[C]) announce(peer Key, before bool) {
	if t.connected(peer) != before {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}
