package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

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
// ID and bytes. The error is a *FieldError when a field breaks the format.
func Sign(space SpaceID, key stded25519.PrivateKey, r Record) (*Verified, error) {
	r.Author = Public(key)
	if err := r.Check(); err != nil {
		return nil, err
	}
	message := r.message(space)
	copy(r.Signature[:], stded25519.Sign(key, message))
	return seal(r, message, r.Append(make([]byte, 0, r.Size()))), nil
}

// Verify decodes b and checks its signature in a space. The result keeps b,
// which must not change afterwards. Errors wrap ErrMalformed or ErrSignature.
func Verify(space SpaceID, b []byte) (*Verified, error) {
	r, err := Decode(b)
	if err != nil {
		return nil, err
	}
	message := r.message(space)
	if !verify(&r, message) {
		return nil, fmt.Errorf("%w: author %v", ErrSignature, r.Author)
	}
	return seal(r, message, b), nil
}

// Restore decodes b and computes its ID without checking the signature: for
// bytes that were verified before they were stored.
func Restore(space SpaceID, b []byte) (*Verified, error) {
	r, err := Decode(b)
	if err != nil {
		return nil, err
	}
	return seal(r, r.message(space), b), nil
}

func verify(r *Record, message []byte) bool {
	return ed25519.VerifyWithOptions(r.Author[:], message, r.Signature[:], zip215)
}

func seal(r Record, message, b []byte) *Verified {
	v := &Verified{Record: r, Bytes: b}
	h := sha256.New()
	h.Write(message)
	h.Write(r.Signature[:])
	h.Sum(v.ID[:0])
	return v
}

// message is what the signature covers.
func (r *Record) message(space SpaceID) []byte {
	payload := sha256.Sum256(r.Payload)
	b := make([]byte, 0, len(signDomain)+len(space)+r.headSize()+len(payload))
	b = append(b, signDomain...)
	b = append(b, space[:]...)
	b = r.appendHead(b)
	return append(b, payload[:]...)
}

// VerifyMessage reports whether a signature holds over any message, under
// the one predicate (ZIP-215).
func VerifyMessage(key Key, message []byte, signature [64]byte) bool {
	return ed25519.VerifyWithOptions(key[:], message, signature[:], zip215)
}
