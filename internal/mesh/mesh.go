package mesh

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Key is a device's Ed25519 public key, which is also its network identity.
type Key = [32]byte

// A Gate says whether this device speaks the protocol with the peer. It is
// asked for both directions: before we open a stream and before we accept one.
// A connection as a whole is admitted when the gate admits the peer to at least
// one protocol that this host handles or is opening to that peer just now.
//
// It runs on the accept path and must be quick and safe for concurrent use: a
// look-up in a snapshot, no I/O. An answer that changes to false does not
// touch what stands already; call Disconnect for that.
type Gate func(peer Key, protocol string) bool

// Host is one device on the network. Its methods are safe for concurrent use.
type Host interface {
	// Self returns this device's key.
	Self() Key
	// Addrs returns the addresses at which a peer may dial this host, as
	// "ip:port", best first, at most maxAddrs. A host bound to loopback
	// only lists loopback only; one bound to every interface lists the
	// interfaces' addresses as they are at the call, without those of
	// container bridges.
	Addrs() []string
	// Open returns a stream to the peer on which it has accepted the
	// protocol. It uses a standing connection if there is one, and
	// otherwise dials the addresses ("ip:port" or "name:port"), 250 ms
	// apart, until one answers with the peer's key. Each is tried over QUIC
	// and, 250 ms later, over TCP. The context ends the call, not the
	// stream. Errors are *OpenError.
	Open(ctx context.Context, peer Key, addrs []string, protocol string) (Stream, error)
	// Handle has fn called, in its own goroutine, with every stream that a
	// peer opens for the protocol and the gate admits. The function owns
	// the stream and must end it with Close or Reset. A later call for the same
	// protocol replaces the function; nil removes it.
	Handle(protocol string, fn func(Stream))
	// Peers lists the peers connected now, one entry each, ordered by key. A
	// stranger who is here for an open invitation is among them.
	Peers() []PeerInfo
	// Changed returns a channel that is closed when next a peer connects or
	// disconnects. Take the channel first and Peers second, so that
	// nothing is missed between them.
	Changed() <-chan struct{}
	// Probe asks every connection for a sign of life at once, instead of
	// after its next 15 s of silence; what gives none within 4 s is closed.
	// It is to be called when the network has changed.
	Probe()
	// Disconnect closes every connection with the peer, and every stream
	// on them. It does not keep the peer from coming back: the gate does.
	Disconnect(peer Key)
	// Close ends every connection without waiting for bytes in flight, and
	// returns when the host's goroutines, including those that run Handle
	// functions, have ended. A Handle function must therefore return when
	// its stream fails, and must not call Close itself.
	Close() error
}

// Stream is an ordered pair of frame queues shared with one peer. One goroutine
// may read while others write; frames written concurrently do not mix.
type Stream interface {
	// Peer returns the key the other side has proved.
	Peer() Key
	// RemoteAddr returns the peer's address on this connection, "ip:port".
	// When the peer has dialled us over TCP, nobody answers there.
	RemoteAddr() string
	// ReadFrame returns the next frame's body, which the caller owns.
	// io.EOF means that the peer ended its side between two frames;
	// otherwise the error is ErrFrameSize, ErrReset, ErrConnLost, ErrClosed,
	// io.ErrUnexpectedEOF or os.ErrDeadlineExceeded, possibly wrapped, and
	// nothing more can be read.
	ReadFrame() ([]byte, error)
	// WriteFrame sends one frame. A nil error means that it was queued, not
	// that it arrived. It blocks while the peer does not read. The body may
	// be changed as soon as it returns.
	WriteFrame(body []byte) error
	// SetDeadline bounds pending and future reads and writes; the zero time
	// removes the bound. A stream starts without one.
	SetDeadline(t time.Time) error
	// CloseWrite ends our side: the peer reads io.EOF after the frames
	// already written. Reading goes on.
	CloseWrite() error
	// Close ends both sides: frames already written still arrive, nothing
	// more is read.
	Close() error
	// Reset ends both sides at once; frames in flight may be lost and the
	// peer's calls fail with ErrReset.
	Reset()
	// Traffic returns the bytes of the whole frames read and written so far,
	// length prefixes included.
	Traffic() (read, written int64)
}

// PeerInfo describes a connected peer.
type PeerInfo struct {
	Key       Key
	Addr      string        // the peer's address, "ip:port"; see Stream.RemoteAddr
	Transport string        // QUIC, TCP or Memory
	Inbound   bool          // the peer dialled us
	Since     time.Time     // admitted
	RTT       time.Duration // there and back, smoothed; 0 while unknown
}

// The transports, as Options and PeerInfo call them.
const (
	QUIC   = "quic"
	TCP    = "tcp"
	Memory = "memory" // of a Network
)

// Options configures New.
type Options struct {
	// Key is the device's private key. Required.
	Key ed25519.PrivateKey
	// Gate decides who may speak what. Required.
	Gate Gate
	// Listen holds the addresses to listen on, "ip:port" or ":port" for
	// every interface; port 0 picks one. The number is the same for UDP and
	// TCP. A port that is taken in either is replaced by one that is free in
	// both, which Addrs shows and the log reports. Empty means to dial only.
	Listen []string
	// Transports are those to listen and dial with. Default QUIC and TCP.
	Transports []string
	// Handlers are installed before the first connection is accepted, so
	// that a peer that dials at once is not refused. Handle adds more.
	Handlers map[string]func(Stream)
	// FrameBytes bounds the body of one frame, both ways. Default 128 KiB,
	// least 4 KiB, most 2 MiB - 1 (three varint bytes).
	FrameBytes int
	// DialTimeout bounds the wait for an answer from one address. Default 5s.
	DialTimeout time.Duration
	// Logger defaults to discarding.
	Logger *slog.Logger
}

// Limits on options, ours.
const (
	defaultFrameBytes  = 128 << 10
	minFrameBytes      = 4 << 10
	maxFrameBytes      = 1<<21 - 1 // what three varint bytes can say
	defaultDialTimeout = 5 * time.Second
)

// validate fills in the defaults and reports every mistake at once.
func (o *Options) validate() error {
	var errs []error
	if len(o.Key) != ed25519.PrivateKeySize {
		errs = append(errs, fmt.Errorf("mesh: Key has %d bytes, want %d", len(o.Key), ed25519.PrivateKeySize))
	}
	if o.Gate == nil {
		errs = append(errs, errors.New("mesh: Gate is missing; a host without one would admit strangers"))
	}
	if o.FrameBytes == 0 {
		o.FrameBytes = defaultFrameBytes
	}
	if o.FrameBytes < minFrameBytes || o.FrameBytes > maxFrameBytes {
		errs = append(errs, fmt.Errorf("mesh: FrameBytes is %d, want %d to %d", o.FrameBytes, minFrameBytes, maxFrameBytes))
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = defaultDialTimeout
	}
	if o.DialTimeout < 0 {
		errs = append(errs, fmt.Errorf("mesh: DialTimeout is negative: %v", o.DialTimeout))
	}
	if len(o.Transports) == 0 {
		o.Transports = []string{QUIC, TCP}
	}
	for _, t := range o.Transports {
		if t != QUIC && t != TCP {
			errs = append(errs, fmt.Errorf("mesh: Transports has %q, want %q or %q", t, QUIC, TCP))
		}
	}
	for _, a := range o.Listen {
		if _, err := parseListen(a); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return errors.Join(errs...)
}

// short is how a key appears in error texts: enough to tell devices apart.
func short(k Key) string {
	return hex.EncodeToString(k[:4])
}
