package mesh

import (
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// gater puts the connection-level question to the door as soon as a key is
// known: before a dial, and after the handshake in both directions. An inbound
// connection that fails it is closed, with a code that says so, before any
// stream on it is looked at.
type gater struct{ door *door }

func (g *gater) InterceptPeerDial(id peer.ID) bool {
	key, ok := keyOf(id)
	return ok && g.door.admitsAny(key)
}

func (g *gater) InterceptSecured(dir network.Direction, id peer.ID, addrs network.ConnMultiaddrs) bool {
	if dir == network.DirInbound && transportOf(addrs.RemoteMultiaddr()) == TCP {
		return true // InterceptUpgraded asks; only then can the code be sent
	}
	key, ok := keyOf(id)
	return ok && g.door.admitsAny(key)
}

func (g *gater) InterceptUpgraded(conn network.Conn) (bool, control.DisconnectReason) {
	if transportOf(conn.RemoteMultiaddr()) != TCP {
		return true, 0 // InterceptSecured has asked
	}
	key, ok := keyOf(conn.RemotePeer())
	return ok && g.door.admitsAny(key), 0
}

// The rest is decided by the resource manager, or was decided above.
func (g *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }
func (g *gater) InterceptAccept(network.ConnMultiaddrs) bool  { return true }

// accept serves one inbound stream: it lets the peer name a protocol among
// those offered to its key, and runs the handler. The swarm calls it in a
// goroutine of its own.
func (h *host) accept(s network.Stream) {
	if !h.door.enter() {
		_ = s.Reset()
		return
	}
	defer h.door.leave()
	key, ok := keyOf(s.Conn().RemotePeer())
	if !ok {
		_ = s.Reset()
		return
	}
	if !h.door.admitsAny(key) { // it was admitted once, and is no more
		_ = s.Conn().CloseWithError(network.ConnGated)
		return
	}
	name, ok := h.negotiate(s, key)
	if !ok {
		_ = s.Reset()
		return
	}
	fn := h.door.handler(key, name)
	if fn == nil { // the gate closed meanwhile
		_ = s.ResetWithError(network.StreamGated)
		return
	}
	h.links.admit(key, s.Conn())
	fn(newStream(&swarmPipe{s: s}, key, addrOf(s.Conn().RemoteMultiaddr()), h.o.FrameBytes))
}

// negotiate answers the protocol negotiation. What the peer may not have looks
// to it exactly like what does not exist.
func (h *host) negotiate(s network.Stream, key Key) (name string, ok bool) {
	if err := s.SetDeadline(time.Now().Add(negotiateTimeout)); err != nil {
		return "", false
	}
	mux := multistream.NewMultistreamMuxer[string]()
	for _, p := range h.door.offered(key) {
		mux.AddHandler(p, nil)
	}
	name, _, err := mux.Negotiate(s)
	if err != nil {
		h.log.Debug("no protocol agreed on a stream", "peer", short(key), "err", err)
		return "", false
	}
	if err := s.SetProtocol(protocol.ID(name)); err != nil {
		h.log.Debug("stream over the limits", "peer", short(key), "protocol", name, "err", err)
		return "", false
	}
	return name, s.SetDeadline(time.Time{}) == nil
}
