package mesh

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure a caller branches on with errors.Is.
var (
	// ErrUnreachable: no address answered. The world's fault; retry later.
	ErrUnreachable = errors.New("mesh: peer is unreachable")
	// ErrRefused: the peer answered and its gate is closed to this device,
	// or it does not speak the protocol; it does not tell which.
	ErrRefused = errors.New("mesh: peer refuses this device")
	// ErrWrongPeer: an address answered with another key.
	ErrWrongPeer = errors.New("mesh: another device answers at this address")
	// ErrNotAdmitted: our own gate does not let us speak to the peer.
	ErrNotAdmitted = errors.New("mesh: our gate does not admit the peer")
	// ErrClosed: the host or the stream was closed on this side.
	ErrClosed = errors.New("mesh: closed")

	// ErrReset: the peer gave the stream up.
	ErrReset = errors.New("mesh: stream was reset by the peer")
	// ErrConnLost: the connection under the stream is gone.
	ErrConnLost = errors.New("mesh: connection was lost")
	// ErrFrameSize: a frame is longer than the limit, or its length is not
	// written in the shortest form.
	ErrFrameSize = errors.New("mesh: bad frame length")
)

// Attempt is one address that Open tried and what came of it.
type Attempt struct {
	Addr  string // as it was given or resolved to, "ip:port"
	Err   error
	Found Key // who answered, when that was somebody else; else zero
}

// OpenError says why Open failed and at which hop. errors.Is matches Kind and
// every cause.
type OpenError struct {
	Peer     Key
	Protocol string
	// Kind is ErrUnreachable, ErrRefused, ErrWrongPeer, ErrNotAdmitted or
	// ErrClosed. Where addresses fared differently, the one that got
	// furthest decides: refused before wrong peer before unreachable.
	Kind error
	// Attempts lists the addresses tried; empty when it did not come to
	// that. An address in it may have answered and failed later.
	Attempts []Attempt
	// Cause is what else is known, such as the context's error; may be nil.
	Cause error
}

// Error names the peer, the kind and each address with its outcome.
func (e *OpenError) Error() string {
	var b strings.Builder
	switch e.Kind {
	case ErrUnreachable:
		fmt.Fprintf(&b, "mesh: cannot reach %s", short(e.Peer))
	case ErrRefused:
		fmt.Fprintf(&b, "mesh: %s refuses %q from this device", short(e.Peer), e.Protocol)
	case ErrWrongPeer:
		fmt.Fprintf(&b, "mesh: %s was not found where expected", short(e.Peer))
	case ErrNotAdmitted:
		fmt.Fprintf(&b, "mesh: this device does not admit %s to %q", short(e.Peer), e.Protocol)
	default:
		fmt.Fprintf(&b, "mesh: open %q to %s: %v", e.Protocol, short(e.Peer), e.Kind)
	}
	for i, a := range e.Attempts {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		fmt.Fprintf(&b, "%s%s: %v", sep, a.Addr, a.Err)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap returns the kind and the causes.
func (e *OpenError) Unwrap() []error {
	errs := []error{e.Kind}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for _, a := range e.Attempts {
		errs = append(errs, a.Err)
	}
	return errs
}
