package attest

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// Why something that was signed, or a file, is refused.
var (
	// ErrEncoding is wrapped when bytes are not in their one spelling.
	ErrEncoding = errors.New("attest: malformed")
	// ErrSignature is wrapped when an attestation is not its author's.
	ErrSignature = errors.New("attest: signature does not hold")
	// ErrFalse is wrapped when what is shown does not follow from it.
	ErrFalse = errors.New("attest: shows nothing")
)

const (
	version = 1
	domain  = "anabranch attestation 1"

	sigSize = 64

	flagAnswer = 1

	// maxQuery bounds an encoded query: a page of authors, more than any use has.
	maxQuery = 64 << 10
)

// Attestation is what a device says that it held of one space at one moment.
// Two attestations of one author and log cannot both be true if they disagree
// at one Size, or if the one with the greater Size has the smaller Time.
type Attestation struct {
	Space  record.SpaceID
	Author record.Key    // the device's key in this space
	Time   uint64        // microseconds since 1970; never goes back within a log
	Count  uint64        // IDs in the trie
	Trie   merkle.Digest // of the whole set: members, standing control, sweeps
	Log    uint64        // names the log among its author's, at random; a restored home begins another
	Size   uint64        // leaves in the log, the newest being that of Count and Trie
	Head   [32]byte      // tree hash of the log at that size (RFC 6962, 2.1)
	Answer *Answer       // nil, or what was asked for

	Signature [sigSize]byte
}

// Answer is the part of an attestation that somebody asked for: what the set
// of one query was at that moment.
type Answer struct {
	Nonce [16]byte // the asker's, so that no older answer does
	Query space.Query
	Count uint64        // IDs in the query's trie
	Trie  merkle.Digest // see docs/root.md for what a query's root covers
	Body  [32]byte      // SHA-256 of the body sent with it, so that a false body is signed too
}

// Root is the root of the whole space that the attestation speaks of.
func (a *Attestation) Root() merkle.Digest {
	return merkle.Root(a.Space, nil, a.Count, a.Trie)
}

// QueryRoot is the root of the answer's query. There is none without one.
func (a *Attestation) QueryRoot() merkle.Digest {
	return merkle.Root(a.Space, a.Answer.Query.Encode(), a.Answer.Count, a.Answer.Trie)
}

// Leaf is the entry of the device's log that Count and Trie stand for. An
// attestation that says again what its log said last adds none, so its Time
// may be later than its leaf's and is not in it.
func (a *Attestation) Leaf() []byte {
	return append(binary.BigEndian.AppendUint64(nil, a.Count), a.Trie[:]...)
}

// Sign sets author and signature.
func (a *Attestation) Sign(key ed25519.PrivateKey) {
	a.Author = record.Public(key)
	copy(a.Signature[:], ed25519.Sign(key, append([]byte(domain), a.message()...)))
}

// message is the encoding without the signature:
//
//	version 1 ‖ flags 1 ‖ space 32 ‖ author 32 ‖ time 8 ‖ count 8 ‖ trie 32 ‖
//	log 8 ‖ size 8 ‖ head 32
//
// and, with flag 1,
//
//	nonce 16 ‖ length 4 ‖ query ‖ count 8 ‖ trie 32 ‖ SHA-256 of the body 32
func (a *Attestation) message() []byte {
	b := make([]byte, 0, 226)
	b = append(b, version, 0)
	b = append(b, a.Space[:]...)
	b = append(b, a.Author[:]...)
	b = binary.BigEndian.AppendUint64(b, a.Time)
	b = binary.BigEndian.AppendUint64(b, a.Count)
	b = append(b, a.Trie[:]...)
	b = binary.BigEndian.AppendUint64(b, a.Log)
	b = binary.BigEndian.AppendUint64(b, a.Size)
	b = append(b, a.Head[:]...)
	if x := a.Answer; x != nil {
		b[1] |= flagAnswer
		q := x.Query.Encode()
		b = append(b, x.Nonce[:]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(q)))
		b = append(b, q...)
		b = binary.BigEndian.AppendUint64(b, x.Count)
		b = append(b, x.Trie[:]...)
		b = append(b, x.Body[:]...)
	}
	return b
}

// Encode returns the attestation's one encoding: its message and the
// signature, 226 bytes if it answers nothing.
func (a *Attestation) Encode() []byte { return append(a.message(), a.Signature[:]...) }

// Decode reads an attestation and checks its signature. Whether the author
// is of the space, it cannot know. Errors wrap ErrEncoding or ErrSignature.
func Decode(b []byte) (*Attestation, error) {
	r := reader{rest: b}
	a := &Attestation{}
	if v := r.byte(); v != version {
		return nil, fmt.Errorf("%w attestation: version %d", ErrEncoding, v)
	}
	flags := r.byte()
	if flags&^flagAnswer != 0 {
		return nil, fmt.Errorf("%w attestation: flags %#x", ErrEncoding, flags)
	}
	a.Space, a.Author = record.SpaceID(r.hash()), record.Key(r.hash())
	a.Time, a.Count, a.Trie = r.uint64(), r.uint64(), r.hash()
	a.Log, a.Size, a.Head = r.uint64(), r.uint64(), r.hash()
	if flags&flagAnswer != 0 {
		x := &Answer{}
		copy(x.Nonce[:], r.take(len(x.Nonce)))
		q, err := space.DecodeQuery(r.block(maxQuery))
		if err != nil {
			return nil, fmt.Errorf("%w attestation: %w", ErrEncoding, err)
		}
		x.Query, x.Count, x.Trie, x.Body = q, r.uint64(), r.hash(), r.hash()
		a.Answer = x
	}
	copy(a.Signature[:], r.take(sigSize))
	if err := r.end("attestation"); err != nil {
		return nil, err
	}
	return a, a.verify()
}

// verify checks what no honest device signs, and the signature.
func (a *Attestation) verify() error {
	switch {
	case a.Size == 0 || a.Size > 1<<62:
		return fmt.Errorf("%w attestation: a log of %d leaves", ErrEncoding, a.Size)
	case a.Time == 0 || a.Time >= 1<<53:
		return fmt.Errorf("%w attestation: time %d", ErrEncoding, a.Time)
	case (a.Count == 0) != (a.Trie == merkle.Digest{}):
		return fmt.Errorf("%w attestation: %d records under %x", ErrEncoding, a.Count, a.Trie)
	}
	if !record.VerifyMessage(a.Author, append([]byte(domain), a.message()...), a.Signature) {
		return fmt.Errorf("%w: attestation by %v", ErrSignature, a.Author)
	}
	return nil
}
