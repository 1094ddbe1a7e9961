package mesh

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	libp2pyamux "github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-yamux/v5"
)

// yamuxWindow is how much of one stream may be in flight on TCP: enough for
// 1 Gbit/s at 130 ms.
const yamuxWindow = 16 << 20

// newTCP builds the second transport: TCP, Noise on it and yamux on that, with
// a meter between the first two.
//
// It dials from ports that the system picks and not from the one it listens
// on. Sharing that needs SO_REUSEPORT, with which a second process could take
// the port unnoticed, and two devices that dial each other at once would meet
// in one TCP connection and both take the same part in the handshake. The
// address of a peer that dialled us over TCP is therefore none to dial.
func newTCP(priv crypto.PrivKey, gater *gater, resources network.ResourceManager, dialTimeout time.Duration) (transport.Transport, error) {
	config := *libp2pyamux.DefaultTransport
	config.MaxStreamWindowSize = yamuxWindow
	config.EnableKeepAlive = false // heartbeat does that, and closes what is dead sooner
	config.MeasureRTTInterval = pingIdle
	muxers := []upgrader.StreamMuxer{{ID: libp2pyamux.ID, Muxer: &meteredMuxer{&config}}}
	plain, err := noise.New(noise.ID, priv, muxers)
	if err != nil {
		return nil, fmt.Errorf("noise: %w", err)
	}
	up, err := upgrader.New([]sec.SecureTransport{&meteredNoise{plain}}, muxers, nil, resources, gater,
		upgrader.WithAcceptTimeout(negotiateTimeout))
	if err != nil {
		return nil, err
	}
	return tcp.NewTCPTransport(up, resources, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(dialTimeout))
}

// meter sees what passes between a TCP connection and the encryption on it, to
// tell a peer that is alive from one that is gone.
type meter struct {
	net.Conn
	received atomic.Uint64 // bytes
	drained  atomic.Uint64 // writes that waited for the peer, and ended well
	writing  atomic.Bool   // one is under way
	parting  atomic.Bool   // the peer is told why it is closed
}

// waited is how long a write takes when the system's buffer is full and it must
// wait for the peer to acknowledge something.
const waited = 20 * time.Millisecond

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.received.Add(uint64(n))
	return n, err
}

func (m *meter) Write(b []byte) (int, error) {
	m.writing.Store(true)
	defer m.writing.Store(false)
	start := time.Now()
	n, err := m.Conn.Write(b)
	if err == nil && time.Since(start) >= waited {
		m.drained.Add(1)
	}
	return n, err
}

// partingWait is how long a peer that was told why has for closing its side.
const partingWait = 250 * time.Millisecond

// Close ends the connection. After parting words it first reads until the peer
// has closed too: closing with bytes unread makes the system send a reset,
// which can overtake the words at the peer.
func (m *meter) Close() error {
	if m.parting.Load() && m.Conn.SetReadDeadline(time.Now().Add(partingWait)) == nil {
		_, _ = io.Copy(io.Discard, m.Conn)
	}
	return m.Conn.Close()
}

// meteredNoise puts a meter under every connection that Noise secures.
type meteredNoise struct{ *noise.Transport }

// meteredConn is a secured connection that knows its meter.
type meteredConn struct {
	sec.SecureConn
	meter *meter
}

func (t *meteredNoise) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	m := &meter{Conn: insecure}
	c, err := t.Transport.SecureInbound(ctx, m, p)
	if err != nil {
		return nil, err
	}
	return &meteredConn{c, m}, nil
}

func (t *meteredNoise) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	m := &meter{Conn: insecure}
	c, err := t.Transport.SecureOutbound(ctx, m, p)
	if err != nil {
		return nil, err
	}
	return &meteredConn{c, m}, nil
}

// meteredMuxer hands the meter on to the multiplexed connection.
type meteredMuxer struct{ *libp2pyamux.Transport }

func (t *meteredMuxer) NewConn(c net.Conn, isServer bool, scope network.PeerScope) (network.MuxedConn, error) {
	muxed, err := t.Transport.NewConn(c, isServer, scope)
	if err != nil {
		return nil, err
	}
	secured, ok := c.(*meteredConn)
	var session *yamux.Session
	if !ok || !muxed.As(&session) {
		return muxed, nil // it works, unwatched
	}
	return &tcpConn{MuxedConn: muxed, session: session, meter: secured.meter}, nil
}

// tcpConn is what a connection over TCP can be asked for by As.
type tcpConn struct {
	network.MuxedConn
	session *yamux.Session
	meter   *meter
}

func (c *tcpConn) CloseWithError(code network.ConnErrorCode) error {
	c.meter.parting.Store(true)
	return c.MuxedConn.CloseWithError(code)
}

func (c *tcpConn) As(target any) bool {
	if t, ok := target.(**tcpConn); ok {
		*t = c
		return true
	}
	return c.MuxedConn.As(target)
}
