package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names a record: SHA-256 over its signed message and its signature.
type ID [32]byte

// String is the ID in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Compare orders IDs as big-endian numbers.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Prefix is the part of an ID that a seal lists.
func (id ID) Prefix() Prefix { return Prefix(id[:PrefixSize]) }

// ParseID reads the hexadecimal form of an ID, in either case.
func ParseID(s string) (ID, error) {
	var id ID
	if err := parseHex(id[:], s); err != nil {
		return ID{}, fmt.Errorf("record: ID: %w", err)
	}
	return id, nil
}

// Prefix is the first 16 bytes of an ID.
type Prefix [PrefixSize]byte

// SpaceID names a space: the hash of its genesis.
type SpaceID [32]byte

// String is the space's ID in lower-case hexadecimal.
func (s SpaceID) String() string { return hex.EncodeToString(s[:]) }

// ParseSpaceID reads the hexadecimal form of a space's ID, in either case.
func ParseSpaceID(s string) (SpaceID, error) {
	var id SpaceID
	if err := parseHex(id[:], s); err != nil {
		return SpaceID{}, fmt.Errorf("record: space: %w", err)
	}
	return id, nil
}

// Key is an Ed25519 public key: an author, a device or a root key.
type Key [32]byte

// String is the key in lower-case hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// Compare orders keys by their bytes.
func (k Key) Compare(other Key) int { return bytes.Compare(k[:], other[:]) }

// ParseKey reads the hexadecimal form of a key, in either case.
func ParseKey(s string) (Key, error) {
	var k Key
	if err := parseHex(k[:], s); err != nil {
		return Key{}, fmt.Errorf("record: key: %w", err)
	}
	return k, nil
}

func parseHex(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%d characters instead of %d", len(s), 2*len(dst))
	}
	_, err := hex.Decode(dst, []byte(s))
	return err
}

// Kind says what a record is for. Kinds from 6 on are opaque: verified,
// stored, replicated and swept like entries, never interpreted.
type Kind uint8

const (
	Entry   Kind = 1 // append-only: a memory, a log line
	Doc     Kind = 2 // a version of the document at a path
	Delta   Kind = 3 // a fragment of CRDT state to be joined at a path
	Sweep   Kind = 4 // a block of removed numbers of one lane
	Control Kind = 5 // a grant, a seal, a label
)

// String is the kind's name, or "kind N" for an opaque one.
func (k Kind) String() string {
	switch k {
	case Entry:
		return "entry"
	case Doc:
		return "doc"
	case Delta:
		return "delta"
	case Sweep:
		return "sweep"
	case Control:
		return "control"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Tag names a lane across authors: the first 8 bytes of
// SHA-256(author, lane).
type Tag [8]byte

// LaneTag computes the tag of a lane.
func LaneTag(author Key, lane uint64) Tag {
	var b [40]byte
	copy(b[:], author[:])
	binary.BigEndian.PutUint64(b[32:], lane)
	h := sha256.Sum256(b[:])
	return Tag(h[:8])
}

// Replaced is an entry of a doc's replaces vector: every doc at this path
// that the lane wrote up to Number has been seen and is replaced.
type Replaced struct {
	Lane   Tag
	Number uint32 // >= 1
}

// Record is a record's fields. It is a plain value: Check says whether it is
// well formed, Verify whether its signature holds in a space.
type Record struct {
	Kind     Kind
	Deleted  bool // doc: the document is absent from here on
	Blob     bool // the payload names a blob
	Time     uint64
	Lane     uint64
	Seq      uint32
	Author   Key
	Expires  uint64     // 0 means never
	Replaces []Replaced // doc only, strictly ascending by lane tag
	Path     string
	Payload  []byte

	Signature [signatureSize]byte
}

// ErrMalformed is wrapped by every error about bytes or fields that break
// the format: wrong for everyone, whatever else is known.
var ErrMalformed = errors.New("record: malformed")

// FieldError names the field that breaks the format and why. It unwraps to
// ErrMalformed.
type FieldError struct {
	Field  string
	Reason string
}

func (e *FieldError) Error() string { return "record: malformed " + e.Field + ": " + e.Reason }

func (e *FieldError) Unwrap() error { return ErrMalformed }

func malformed(field, format string, args ...any) error {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Data reports whether the record is neither control nor sweep: something
// that an author may kill by number.
func (r *Record) Data() bool { return r.Kind != Control && r.Kind != Sweep }

// Check reports the first field that breaks the format, as a *FieldError,
// payload layouts of sweeps and control records included. It does not look
// at the signature.
func (r *Record) Check() error {
	if r.Kind == 0 {
		return malformed("kind", "0 is no kind")
	}
	plain := r.Data()
	switch {
	case r.Deleted && r.Kind != Doc:
		return malformed("flags", "deleted is for docs, not for a %v", r.Kind)
	case r.Expires != 0 && !plain:
		return malformed("flags", "a %v cannot expire", r.Kind)
	case r.Blob && !plain:
		return malformed("flags", "a %v cannot name a blob", r.Kind)
	case len(r.Replaces) > 0 && r.Kind != Doc:
		return malformed("flags", "replaces is for docs, not for a %v", r.Kind)
	}
	if r.Time < 1 || r.Time > MaxTime {
		return malformed("time", "%d is outside 1..2^53-1", r.Time)
	}
	switch {
	case r.Kind == Control && r.Lane != 0:
		return malformed("lane", "control records have no lane, got %d", r.Lane)
	case r.Kind != Control && r.Lane == 0:
		return malformed("lane", "0 is no lane")
	case r.Kind == Control && r.Seq != 0:
		return malformed("seq", "control records have no number, got %d", r.Seq)
	case r.Kind == Sweep && r.Seq > MaxBlock:
		return malformed("seq", "block %d is above %d", r.Seq, MaxBlock)
	case plain && r.Seq == 0:
		return malformed("seq", "numbers start at 1")
	}
	if r.Expires != 0 && (r.Expires <= r.Time || r.Expires > MaxTime) {
		return malformed("expires", "%d is not after time %d and below 2^53", r.Expires, r.Time)
	}
	if err := r.checkReplaces(); err != nil {
		return err
	}
	if err := CheckPath(r.Path); err != nil {
		return err
	}
	if len(r.Payload) > MaxPayload {
		return malformed("payload", "%d bytes, at most %d", len(r.Payload), MaxPayload)
	}
	switch r.Kind {
	case Sweep:
		return checkDots(r.Payload)
	case Control:
		_, err := ParseControl(r.Payload)
		return err
	}
	return nil
}

func (r *Record) checkReplaces() error {
	if len(r.Replaces) > MaxReplaces {
		return malformed("replaces", "%d entries, at most %d", len(r.Replaces), MaxReplaces)
	}
	var own Tag
	if len(r.Replaces) > 0 {
		own = LaneTag(r.Author, r.Lane)
	}
	for i, e := range r.Replaces {
		switch {
		case e.Number == 0:
			return malformed("replaces", "entry %d has number 0", i)
		case e.Lane == own:
			return malformed("replaces", "entry %d is the writer's own lane", i)
		case i > 0 && bytes.Compare(r.Replaces[i-1].Lane[:], e.Lane[:]) >= 0:
			return malformed("replaces", "entry %d is not above the one before it", i)
		}
	}
	return nil
}
