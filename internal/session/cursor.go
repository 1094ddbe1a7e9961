package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"anabranch/record"
)

// CursorSize is the length of a Cursor in bytes.
const CursorSize = 10

// Cursor is how a responder says up to where in its log the initiator holds
// everything: 5 bytes of the store's generation and 5 of the version, under a
// mask that only the responder knows, another for every peer. To everybody
// else it is opaque. The zero Cursor is none.
type Cursor [CursorSize]byte

// Logged is a View that knows its log of arrivals.
type Logged interface {
	// EnteredIDs returns the members that entered the set after a version, in
	// their order, unless they are more than limit: then ok is false, as it
	// is for a version that the log does not reach back to.
	EnteredIDs(version uint64, limit int) (ids []record.ID, ok bool, err error)
}

// Log is what a responder needs to make cursors and to understand them.
type Log struct {
	Generation uint64   // of the store: a version names one history only within it
	Secret     [16]byte // of the store
}

const cursorLabel = "anabranch session cursor 1"

func (l *Log) mask(peer record.Key) []byte {
	m := hmac.New(sha256.New, l.Secret[:])
	m.Write([]byte(cursorLabel))
	m.Write(peer[:])
	return m.Sum(nil)[:CursorSize]
}

// cursor names a version to a peer. Past 2^40 arrivals there is none.
func (l *Log) cursor(peer record.Key, version uint64) (c Cursor) {
	if version >= 1<<40 {
		return c
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], l.Generation)
	binary.BigEndian.PutUint64(b[8:], version)
	copy(c[:5], b[3:8])
	copy(c[5:], b[11:])
	for i, m := range l.mask(peer) {
		c[i] ^= m
	}
	return c
}

// version is what cursor was given, if it was ours and of this generation.
func (l *Log) version(peer record.Key, c Cursor) (uint64, bool) {
	for i, m := range l.mask(peer) {
		c[i] ^= m
	}
	var b [16]byte
	copy(b[3:8], c[:5])
	copy(b[11:], c[5:])
	return binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[:]) == l.Generation&(1<<40-1)
}

// Met is what a replica remembers of its last good session with a peer.
type Met struct {
	// Root is the root that both held in the end. While it is still the root
	// here, the next hello is short.
	Root [32]byte
	// Cursor is the peer's, or zero. A session that sent records gives none
	// worth keeping: they would come back.
	Cursor Cursor
}
