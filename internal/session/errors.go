package session

import (
	"encoding/hex"
	"errors"
	"fmt"
)

var (
	// ErrRefused says that the peer does not speak about this space with
	// this device. It does not say why.
	ErrRefused = errors.New("session: refused by the peer")
	// ErrVersion says that the peer's hello is of another protocol version.
	ErrVersion = errors.New("session: protocol version not spoken here")
	// ErrTag says that a hello's tag is not this space's: the peer does not
	// know the space, or the hello is not for this pair of devices.
	ErrTag = errors.New("session: tag does not match the space")
	// ErrCut says that the link closed before the session was done. What had
	// arrived is committed.
	ErrCut = errors.New("session: link closed before the end")
	// ErrNoProgress says that reconciliation went on without finding
	// anything.
	ErrNoProgress = errors.New("session: reconciliation makes no progress")
)

// FrameError is a frame that breaks the format.
type FrameError struct {
	Frame  FrameType
	Reason string
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("session: malformed %v frame: %s", e.Frame, e.Reason)
}

// UnexpectedError is a frame that has no place where the session stands.
type UnexpectedError struct {
	Frame FrameType
	Where string // step and, where it matters, what was awaited
}

func (e *UnexpectedError) Error() string {
	return fmt.Sprintf("session: %v frame during %s", e.Frame, e.Where)
}

// LimitError is a bound of the protocol that the peer went past.
type LimitError struct {
	What  string
	Limit uint64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("session: more than %d %s", e.Limit, e.What)
}

// RecordError is a record that is wrong for everyone: malformed, or signed
// for another space or by another key, or of a kind that has no place in the
// step. It wraps the reason.
type RecordError struct {
	Number int // position among the records received in this session, from 0
	Err    error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("session: record %d of the peer: %v", e.Number, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }

// UnsettledError says that two sets did not become equal by being exchanged.
type UnsettledError struct {
	Set    string // "control records" or "sweeps"
	Rounds int
}

func (e *UnsettledError) Error() string {
	return fmt.Sprintf("session: %s still differ after %d rounds", e.Set, e.Rounds)
}

// RootsDifferError says that everything was exchanged and the two sides
// still do not hold the same set. Nothing was swept.
type RootsDifferError struct {
	Ours, Theirs          [32]byte
	OurCount, TheirCount  uint64
	RecordsIn, RecordsOut int
}

func (e *RootsDifferError) Error() string {
	return fmt.Sprintf("session: roots differ: %s over %d here, %s over %d there",
		hex.EncodeToString(e.Ours[:8]), e.OurCount, hex.EncodeToString(e.Theirs[:8]), e.TheirCount)
}
