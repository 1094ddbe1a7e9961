package anabranch

import (
	"errors"
	"fmt"

	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
	"anabranch/space"
)

// Errors that a caller may branch on, with errors.Is.
var (
	// ErrClosed says that the replica has been closed.
	ErrClosed = errors.New("anabranch: replica is closed")
	// ErrNotFound says that nothing live stands at a path or under an ID.
	ErrNotFound = errors.New("anabranch: not found")
	// ErrNoSpace says that no space here answers to that name.
	ErrNoSpace = errors.New("anabranch: no such space here")
	// ErrName says that a space or a device cannot be called that.
	ErrName = errors.New("anabranch: not a usable name")
	// ErrAmbiguous says that several records begin with what was given of
	// an ID.
	ErrAmbiguous = errors.New("anabranch: ambiguous")
	// ErrNameTaken says that another space here has that name already.
	ErrNameTaken = errors.New("anabranch: another space here has that name")
	// ErrOffline says that the replica was opened without a network.
	ErrOffline = errors.New("anabranch: replica is offline")
	// ErrNotMember says that the peer, or this device, is not a member.
	ErrNotMember = errors.New("anabranch: not a member of this space")
	// ErrUnreachable says that no address of the peer answered, or that
	// another device did.
	ErrUnreachable = errors.New("anabranch: peer is unreachable")
	// ErrRefused says that the peer answered and does not speak with this
	// device, or not about this space.
	ErrRefused = errors.New("anabranch: refused by the peer")
	// ErrCut says that the link broke in the middle. What had arrived stays.
	ErrCut = errors.New("anabranch: link broke")
	// ErrIncompatible says that the peer, or a ticket, speaks a version of
	// the protocol that this program does not.
	ErrIncompatible = errors.New("anabranch: incompatible version")
	// ErrCursor says that a watcher was away for so long that the departures
	// since its cursor are no longer known, or that its cursor is of another
	// store or of before this one was restored: begin again at 0.
	ErrCursor = errors.New("anabranch: cursor is of no use here")
	// ErrMoved says that both sides changed so much during a session that
	// something wanted was gone: run it again.
	ErrMoved = errors.New("anabranch: the peer's records moved during the session")
	// ErrTicket says that a ticket is damaged, unknown, used or expired.
	ErrTicket = errors.New("anabranch: ticket refused")
	// ErrNotAuthorised says that this device may not write what was asked.
	ErrNotAuthorised = store.ErrNotAuthorised
	// ErrNotRemovable says that a record is not an entry of this device:
	// documents are deleted by path, records of others not at all.
	ErrNotRemovable = store.ErrNotRemovable
	// ErrLocked says that another process holds the store.
	ErrLocked = store.ErrLocked
	// ErrNewer says that a newer version wrote the store.
	ErrNewer = store.ErrNewer
	// ErrDamaged says that the store's files are not what was written.
	ErrDamaged = store.ErrDamaged
	// ErrFull says that the disk has no room: reading goes on, and writing
	// again as soon as there is some.
	ErrFull = store.ErrFull
	// ErrQuota says that content would pass Options.BlobBytes.
	ErrQuota = store.ErrQuota
	// ErrFailed says that the disk failed: nothing is written until the
	// store is opened again.
	ErrFailed = store.ErrFailed
)

// TimeExhaustedError says that a record at the very end of time stands at a
// path, which can be written no more. The cure is to seal its author.
type TimeExhaustedError = store.TimeExhaustedError

// RootsDifferError says that a session ended and both sides hold different
// sets: the answer that must never be rounded up to "in sync".
type RootsDifferError = session.RootsDifferError

// UnknownRuleError says that a space's genesis has a rule that this version
// does not know, so that the space is unusable here.
type UnknownRuleError = space.UnknownRuleError

// NotAncestorError says that this device cannot withdraw a grant, because
// its own grant is not above it. Any of Above, or a root key, can.
type NotAncestorError struct {
	Device record.Key
	Above  []record.Key // devices that stand above it
}

func (e *NotAncestorError) Error() string {
	return fmt.Sprintf("anabranch: only those who stand above %v in the tree of grants, or a root key, may revoke it", short(e.Device))
}

func short(k record.Key) string { return k.String()[:12] }

// named adds to an error of the rooms below the name that callers match. Of
// an attempt to open a stream, what got furthest decides.
func named(err error) error {
	match := err
	var open *mesh.OpenError
	if errors.As(err, &open) {
		match = open.Kind
	}
	for _, n := range []struct {
		name   error
		causes []error
	}{
		{ErrClosed, []error{store.ErrClosed, mesh.ErrClosed}},
		{ErrNoSpace, []error{store.ErrDropped}}, // left meanwhile
		{ErrContentMissing, []error{store.ErrNotHere}},
		{ErrIncompatible, []error{session.ErrVersion}},
		{ErrRefused, []error{mesh.ErrRefused, session.ErrRefused}},
		{ErrUnreachable, []error{mesh.ErrUnreachable, mesh.ErrWrongPeer}},
		{ErrCut, []error{mesh.ErrReset, mesh.ErrConnLost, session.ErrCut}},
	} {
		for _, cause := range n.causes {
			if errors.Is(match, cause) {
				return namedError{name: n.name, error: err}
			}
		}
	}
	return err
}

// namedError reads as its cause and matches its name too.
type namedError struct {
	name error
	error
}

func (e namedError) Unwrap() []error { return []error{e.error, e.name} }
