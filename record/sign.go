package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// ErrSignature says that a signature does not hold for its record in this
// space: wrong for everyone.
var ErrSignature = errors.New("record: signature does not hold in this space")

// Verified is a record of one space whose signature holds, with its ID and
// its bytes as they arrived. Sign, Verify, VerifyBatch and Restore make
// one; nothing else should. It is not to be changed.
type Verified struct {
	Record
	ID    ID
	Bytes []byte
}

// zip215 is the one signature predicate: S < L, cofactored equation,
// non-canonical points accepted.
var zip215 = &ed25519.Options{Verify: ed25519.VerifyOptionsZIP_215}

// Public is the public half of a private key.
func Public(key stded25519.PrivateKey) Key { return Key(key.Public().(stded25519.PublicKey)) }

// Sign completes a record: it sets author and signature and returns it with
// ID and bytes, keeping nothing of the caller's memory. The error is a
// *FieldError when a field breaks the format.
//
// Signatures are deterministic (RFC 8032), so it does not matter who makes
// them: the library that verifies takes little more than half as long as the
// standard one, in constant time too.
func Sign(space SpaceID, key stded25519.PrivateKey, r Record) (*Verified, error) {
	r.Author = Public(key)
	if err := r.Check(); err != nil {
		return nil, err
	}
	message := r.appendMessage(nil, space)
	copy(r.Signature[:], ed25519.Sign(ed25519.PrivateKey(key), message))
	b := r.Append(make([]byte, 0, r.Size()))
	end := len(b) - signatureSize
	r.Payload = b[r.headSize():end:end]
	r.Replaces = slices.Clone(r.Replaces)
	v, _ := seal(r, message, b)
	return v, nil
}

// Verify decodes b and checks its signature in a space. The result keeps b,
// which must not change afterwards. Errors wrap ErrMalformed or ErrSignature.
func Verify(space SpaceID, b []byte) (*Verified, error) {
	r, err := Decode(b)
	if err != nil {
		return nil, err
	}
	message := r.appendMessage(nil, space)
	if !VerifyMessage(r.Author, message, r.Signature) {
		return nil, signatureError(r.Author)
	}
	v, _ := seal(r, message, b)
	return v, nil
}

// Restore decodes b and computes its ID without checking the signature: for
// bytes that were verified before they were stored. The result keeps b.
func Restore(space SpaceID, b []byte) (*Verified, error) {
	r, err := Decode(b)
	if err != nil {
		return nil, err
	}
	v, _ := seal(r, r.appendMessage(nil, space), b)
	return v, nil
}

// VerifyMessage reports whether a signature holds over any message, under
// the one predicate (ZIP-215).
func VerifyMessage(key Key, message []byte, signature [signatureSize]byte) bool {
	return ed25519.VerifyWithOptions(key[:], message, signature[:], zip215)
}

func signatureError(author Key) error {
	return fmt.Errorf("%w: author %v", ErrSignature, author)
}

// seal computes the ID. It appends to message, and returns that for its
// memory to be used again.
func seal(r Record, message, b []byte) (*Verified, []byte) {
	message = append(message, r.Signature[:]...)
	return &Verified{Record: r, ID: sha256.Sum256(message), Bytes: b}, message
}

// appendMessage appends what the signature covers.
func (r *Record) appendMessage(dst []byte, space SpaceID) []byte {
	payload := sha256.Sum256(r.Payload)
	dst = slices.Grow(dst, len(signDomain)+len(space)+r.headSize()+len(payload)+signatureSize)
	dst = append(dst, signDomain...)
	dst = append(dst, space[:]...)
	dst = r.appendHead(dst)
	return append(dst, payload[:]...)
}
