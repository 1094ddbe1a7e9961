package mesh

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"

	"github.com/quic-go/quic-go"
)

// trimAfter is how long two connections with one peer stand before the
// surplus one is closed, and how often one that is still in use is looked at
// again.
const trimAfter = time.Second

// disconnectWait bounds the wait for connections to be ended in good order.
const disconnectWait = time.Second

// host is the Host on real sockets.
type host struct {
	self    Key
	o       Options
	log     *slog.Logger
	door    *door
	links   *links[network.Conn]
	closing context.Context // ends when Close begins
	stop    context.CancelFunc

	resources network.ResourceManager
	book      peerstore.Peerstore
	quic      *quicreuse.ConnManager
	swarm     *swarm.Swarm

	dialing  dialTokens
	patience time.Duration // reusePatience, shorter in tests

	trimAfter, pingIdle, pingAnswer time.Duration // the constants, shorter in tests

	probe chan struct{} // cap 1

	mu    sync.Mutex          // guards trims, and inUse against Close
	trims map[Key]*time.Timer // surplus connections to look at
	bound []netip.AddrPort    // what we listen on, over one transport at least; set by New
	inUse sync.WaitGroup      // trims and background under way
}

// New opens a host on real sockets. It reports every mistake in the options at
// once, and fails when it cannot listen on any of the addresses asked for.
func New(o Options) (Host, error) {
	h, err := newHost(o, nil)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// newHost is New with a chance for tests to set what is no option.
func newHost(o Options, set func(*host)) (*host, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	quietLibraries()
	h := &host{
		self:     Key(o.Key[32:]),
		o:        o,
		patience: reusePatience,
		log:      o.Logger,
		door:     newDoor(o.Gate, o.Handlers),
		links:    newLinks[network.Conn](),
		trims:    make(map[Key]*time.Timer),
		probe:    make(chan struct{}, 1),

		trimAfter: trimAfter, pingIdle: pingIdle, pingAnswer: pingAnswer,
	}
	if set != nil {
		set(h)
	}
	h.closing, h.stop = context.WithCancel(context.Background())
	if err := h.assemble(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	if err := h.listen(o.Listen); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	h.background(h.heartbeat)
	return h, nil
}

// quietLibraries keeps libp2p and quic-go from writing to standard error on
// their own, unless the operator asks for it with the variables they document.
// What matters of it comes back to us as errors.
var quietLibraries = sync.OnceFunc(func() {
	if os.Getenv("GOLOG_LOG_LEVEL") == "" {
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
	const bufferWarning = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(bufferWarning); !set {
		_ = os.Setenv(bufferWarning, "true") // on failure the warning appears, no more
	}
})

// assemble builds the swarm and its transports.
func (h *host) assemble() error {
	priv, err := crypto.UnmarshalEd25519PrivateKey(h.o.Key)
	if err != nil {
		return fmt.Errorf("mesh: device key: %w", err)
	}
	self, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		return fmt.Errorf("mesh: device key: %w", err)
	}
	if h.resources, err = newResources(); err != nil {
		return fmt.Errorf("mesh: limits: %w", err)
	}
	if h.book, err = pstoremem.NewPeerstore(); err != nil {
		return fmt.Errorf("mesh: address book: %w", err)
	}
	gater := &gater{h.door}
	h.swarm, err = swarm.NewSwarm(self, h.book, eventbus.NewBus(),
		swarm.WithConnectionGater(gater),
		swarm.WithResourceManager(h.resources),
		swarm.WithDialRanker(stagger),
		swarm.WithDialTimeout(h.o.DialTimeout),
		swarm.WithDialTimeoutLocal(h.o.DialTimeout),
		// The detectors would stop dialling UDP or IPv6 altogether after
		// some failures, as is normal while few peers are awake.
		swarm.WithUDPBlackHoleSuccessCounter(nil),
		swarm.WithIPv6BlackHoleSuccessCounter(nil),
	)
	if err != nil {
		return fmt.Errorf("mesh: swarm: %w", err)
	}
	h.swarm.Notify(&network.NotifyBundle{ConnectedF: h.connected, DisconnectedF: h.disconnected})
	h.swarm.SetStreamHandler(h.accept)

	var errs []error
	if slices.Contains(h.o.Transports, QUIC) {
		if h.quic, err = newQUIC(h.o.Key, h.resources); err != nil {
			return fmt.Errorf("mesh: quic: %w", err)
		}
		t, err := libp2pquic.NewTransport(priv, h.quic, nil, gater, h.resources)
		if err != nil {
			return fmt.Errorf("mesh: quic: %w", err)
		}
		errs = append(errs, h.swarm.AddTransport(t))
	}
	if slices.Contains(h.o.Transports, TCP) {
		t, err := newTCP(priv, gater, h.resources, h.o.DialTimeout)
		if err != nil {
			return fmt.Errorf("mesh: tcp: %w", err)
		}
		errs = append(errs, h.swarm.AddTransport(t))
	}
	return errors.Join(errs...)
}

// newQUIC builds the owner of the UDP sockets. Both of its keys are derived from
// the device key, so that a restarted host on the same port can tell its peers
// at once that their old connections are gone (a stateless reset), instead of
// leaving them to time out.
func newQUIC(key []byte, resources network.ResourceManager) (*quicreuse.ConnManager, error) {
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	for info, dst := range map[string][]byte{"anabranch quic stateless reset": reset[:], "anabranch quic address token": token[:]} {
		derived, err := hkdf.Key(sha256.New, key[:32], nil, info, len(dst))
		if err != nil {
			return nil, err
		}
		copy(dst, derived)
	}
	return quicreuse.NewConnManager(reset, token,
		// Count a connection from its first packet, so that handshakes in
		// progress are limited too.
		quicreuse.ConnContext(func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
			addr, err := quicreuse.ToQuicMultiaddr(client.RemoteAddr, quic.Version1)
			if err != nil {
				return ctx, err
			}
			scope, err := resources.OpenConnection(network.DirInbound, false, addr)
			if err != nil {
				return ctx, err
			}
			ctx = network.WithConnManagementScope(ctx, scope)
			context.AfterFunc(ctx, scope.Done)
			return ctx, nil
		}),
		quicreuse.VerifySourceAddress(resources.VerifySourceAddress),
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP{}, nil }),
	)
}

func (h *host) Self() Key                               { return h.self }
func (h *host) Handle(protocol string, fn func(Stream)) { h.door.handle(protocol, fn) }
func (h *host) Peers() []PeerInfo                       { return h.links.peers(rttOf) }
func (h *host) Changed() <-chan struct{}                { return h.links.changes() }

func (h *host) Disconnect(key Key) {
	var closed sync.WaitGroup
	for _, c := range h.links.all(key) {
		closed.Add(1)
		h.background(func() {
			defer closed.Done()
			// Refused rather than dropped, so that the peer can say why.
			_ = c.CloseWithError(network.ConnGated)
		})
	}
	// A peer that takes nothing can hold up the end of a TCP connection for
	// as long as a write may last; it does not hold up the caller.
	done := make(chan struct{})
	h.background(func() { closed.Wait(); close(done) })
	select {
	case <-done:
	case <-time.After(disconnectWait):
	case <-h.closing.Done(): // Close ends them all
	}
}

func (h *host) Close() error {
	if !h.door.shut() {
		return nil
	}
	h.mu.Lock()
	h.stop()
	for _, t := range h.trims {
		if t.Stop() {
			h.inUse.Done()
		}
	}
	clear(h.trims)
	h.mu.Unlock()

	var errs []error
	if h.swarm != nil {
		errs = append(errs, h.swarm.Close())
	}
	h.inUse.Wait()
	h.door.handling.Wait()
	if h.quic != nil {
		errs = append(errs, h.quic.Close())
	}
	if h.book != nil {
		errs = append(errs, h.book.Close())
	}
	if h.resources != nil {
		errs = append(errs, h.resources.Close())
	}
	return errors.Join(errs...)
}

// connected and disconnected are the swarm's notifications, one connection's
// in order.
func (h *host) connected(_ network.Network, c network.Conn) {
	key, ok := keyOf(c.RemotePeer())
	if !ok {
		return
	}
	h.links.add(key, c, link[network.Conn]{
		addr:      addrOf(c.RemoteMultiaddr()),
		transport: transportOf(c.RemoteMultiaddr()),
		inbound:   c.Stat().Direction == network.DirInbound,
	})
	h.scheduleTrim(key)
}

func (h *host) disconnected(_ network.Network, c network.Conn) {
	if key, ok := keyOf(c.RemotePeer()); ok {
		h.links.remove(key, c)
	}
}

// scheduleTrim arranges for the peer's surplus connections to be closed.
func (h *host) scheduleTrim(key Key) {
	if len(h.links.surplus(h.self, key)) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trims[key] != nil || h.closing.Err() != nil {
		return
	}
	h.inUse.Add(1)
	h.trims[key] = time.AfterFunc(h.trimAfter, func() {
		defer h.inUse.Done()
		h.mu.Lock()
		delete(h.trims, key)
		h.mu.Unlock()
		for _, c := range h.links.surplus(h.self, key) {
			if c.Stat().NumStreams == 0 {
				_ = c.CloseWithError(network.ConnSupplanted)
			}
		}
		h.scheduleTrim(key)
	})
}

// keyOf returns the Ed25519 key inside a peer ID. Other key types are not ours.
func keyOf(id peer.ID) (Key, bool) {
	pub, err := id.ExtractPublicKey()
	if err != nil || pub.Type() != crypto.Ed25519 {
		return Key{}, false
	}
	raw, err := pub.Raw()
	if err != nil || len(raw) != len(Key{}) {
		return Key{}, false
	}
	return Key(raw), true
}

// idOf returns the peer ID that names the key.
func idOf(key Key) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key[:])
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(pub)
}
