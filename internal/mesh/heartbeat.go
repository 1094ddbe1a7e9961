package mesh

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/quic-go/quic-go"
)

// Every connection is asked for a sign of life by itself, since one peer's may
// fare differently: a connection that brought nothing for pingIdle is pinged,
// and one that answers neither that nor a second ping is closed. Routers that
// forget and machines that sleep are so found out in 20 s, where QUIC would
// take 30 s and TCP a quarter of an hour.
const (
	pingIdle   = 15 * time.Second
	pingAnswer = 2 * time.Second // for an answer; then it is missed
	pingMisses = 2
)

// pulse is what can be seen of a connection's life.
type pulse interface {
	// heard counts signs of the peer; it is compared only with itself.
	heard() uint64
	// busy reports that the connection waits for the peer to take what we
	// send. The transport's own time limit judges that, because an answer
	// may be stuck behind it.
	busy() bool
	// ping asks for a sign of life without waiting for it.
	ping(h *host)
	// rtt is the smoothed round-trip time, 0 while unknown.
	rtt() time.Duration
}

func pulseOf(conn network.Conn) (pulse, bool) {
	var t *tcpConn
	var q *quic.Conn
	switch {
	case conn.As(&t):
		return tcpPulse{t}, true
	case conn.As(&q):
		return quicPulse{q}, true
	}
	return nil, false
}

func rttOf(conn network.Conn) time.Duration {
	if p, ok := pulseOf(conn); ok {
		return p.rtt()
	}
	return 0
}

type quicPulse struct{ conn *quic.Conn }

func (p quicPulse) heard() uint64      { return p.conn.ConnectionStats().PacketsReceived }
func (p quicPulse) busy() bool         { return false } // acknowledgements are packets
func (p quicPulse) rtt() time.Duration { return p.conn.ConnectionStats().SmoothedRTT }

// ping sends an empty datagram: the peer's QUIC acknowledges it, and nobody
// else there hears of it.
func (p quicPulse) ping(h *host) {
	h.background(func() { _ = p.conn.SendDatagram(nil) }) // it waits where datagrams queue up
}

type tcpPulse struct{ conn *tcpConn }

func (p tcpPulse) heard() uint64 {
	return p.conn.meter.received.Load() + p.conn.meter.drained.Load()
}
func (p tcpPulse) busy() bool         { return p.conn.meter.writing.Load() }
func (p tcpPulse) rtt() time.Duration { return p.conn.session.RTT() }

func (p tcpPulse) ping(h *host) {
	h.background(func() { _, _ = p.conn.session.Ping() }) // ends with the session at the latest
}

// beat is what is remembered of one connection between two looks at it.
type beat struct {
	heard  uint64
	since  time.Time // of the last sign, or of the last ping
	misses int       // pings without an answer, the one under way included
}

// heartbeat watches every connection until the host closes.
func (h *host) heartbeat() {
	beats := make(map[network.Conn]*beat)
	tick := time.NewTicker(h.pingAnswer / 2)
	defer tick.Stop()
	for {
		at := false // ask everyone now
		select {
		case <-tick.C:
		case <-h.probe:
			at = true
		case <-h.closing.Done():
			return
		}
		now := time.Now()
		conns := h.links.conns()
		for conn := range beats {
			if !conns[conn] {
				delete(beats, conn)
			}
		}
		for conn := range conns {
			b := beats[conn]
			if b == nil {
				b = &beat{since: now}
				beats[conn] = b
			}
			h.feel(conn, b, now, at)
		}
	}
}

// feel looks at one connection, pings it when it is due, and closes it when it
// is dead.
func (h *host) feel(conn network.Conn, b *beat, now time.Time, at bool) {
	p, ok := pulseOf(conn)
	if !ok {
		return
	}
	if heard := p.heard(); heard != b.heard || p.busy() {
		*b = beat{heard: heard, since: now}
	}
	switch quiet := now.Sub(b.since); {
	case b.misses == 0 && (at || quiet >= h.pingIdle):
	case b.misses > 0 && quiet >= h.pingAnswer:
	default:
		return
	}
	b.since = now
	if b.misses == pingMisses {
		h.log.Info("connection is dead", "addr", addrOf(conn.RemoteMultiaddr()), "transport", transportOf(conn.RemoteMultiaddr()))
		h.background(func() { _ = conn.Close() })
		return
	}
	b.misses++
	p.ping(h)
}

// Probe asks every connection for a sign of life now.
func (h *host) Probe() {
	select {
	case h.probe <- struct{}{}:
	default: // one is waiting already
	}
}

// background runs fn in a goroutine that Close waits for; not once it began.
func (h *host) background(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing.Err() == nil {
		h.inUse.Go(fn)
	}
}
