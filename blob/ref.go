package blob

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRef says that a payload names no blob, or not in the one spelling.
var ErrRef = errors.New("blob: malformed reference")

// Ref is the payload of a record that is flagged as naming a blob:
//
//	version 1 (= 1) | hash 32 | size 8 | mode 2 | n 1 | media type n
//
// Integers are big-endian. Each value has exactly one encoding.
type Ref struct {
	Name
	// Mode is the nine permission bits of the file it came from, 0 if it came
	// from none. Nothing else of a file's mode is ever carried.
	Mode uint16
	// MediaType is "type/subtype" in lower case, without parameters, at most
	// 127 bytes; empty if nobody said.
	MediaType string
}

const (
	refVersion = 1
	refLeast   = 1 + NameBytes + 2 + 1
	maxMedia   = 127
	maxMode    = 0o777
)

// Check reports what a payload could not carry.
func (r Ref) Check() error {
	switch {
	case r.Size > MaxSize:
		return fmt.Errorf("%w: a size of %d, at most %d", ErrRef, r.Size, uint64(MaxSize))
	case r.Mode > maxMode:
		return fmt.Errorf("%w: mode %#o has more than permission bits", ErrRef, r.Mode)
	case !validMedia(r.MediaType):
		return fmt.Errorf("%w: media type %.140q", ErrRef, r.MediaType)
	}
	return nil
}

// Encode is the payload. It panics if Check has an error.
func (r Ref) Encode() []byte {
	if err := r.Check(); err != nil {
		panic(err)
	}
	b := r.Name.Append([]byte{refVersion})
	b = binary.BigEndian.AppendUint16(b, r.Mode)
	return append(append(b, byte(len(r.MediaType))), r.MediaType...)
}

// DecodeRef reads a payload. The error wraps ErrRef.
func DecodeRef(b []byte) (Ref, error) {
	if len(b) < refLeast {
		return Ref{}, fmt.Errorf("%w: %d bytes, at least %d", ErrRef, len(b), refLeast)
	}
	if b[0] != refVersion {
		return Ref{}, fmt.Errorf("%w: version %d is not known", ErrRef, b[0])
	}
	name, err := DecodeName(b[1 : 1+NameBytes])
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrRef, err)
	}
	rest := b[1+NameBytes:]
	r := Ref{Name: name, Mode: binary.BigEndian.Uint16(rest), MediaType: string(rest[3:])}
	if int(rest[2]) != len(r.MediaType) {
		return Ref{}, fmt.Errorf("%w: a media type of %d bytes, %d are there", ErrRef, rest[2], len(r.MediaType))
	}
	return r, r.Check()
}

// validMedia accepts "" and type/subtype of letters, digits and !#$&-^_.+ in
// lower case, each part beginning with a letter or a digit.
func validMedia(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > maxMedia {
		return false
	}
	slash, start := false, true
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		switch {
		case c == '/' && !slash && !start:
			slash, start = true, true
			continue
		case plain:
		case start:
			return false
		case c == '!' || c == '#' || c == '$' || c == '&' || c == '-' || c == '^' || c == '_' || c == '.' || c == '+':
		default:
			return false
		}
		start = false
	}
	return slash && !start
}
