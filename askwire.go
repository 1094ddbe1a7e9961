package anabranch

import (
	"encoding/binary"
	"errors"
	"fmt"

	"anabranch/attest"
	"anabranch/internal/session"
	"anabranch/record"
	"anabranch/space"
)

// The ask protocol, on streams of its own beside sessions. Whoever opens the
// stream writes one frame:
//
//	version 1 | nonce 16 | tag 16 | kind 1 | ...
//	  exchange   compact attestation 124 | digest of what is known of others 8
//	  query      nonce 16 | log 8 | size 8 | query
//
// The tag names the space as in a session's hello. The answer begins with a
// status; after it
//
//	exchange   compact attestation 124, and if the digests differ
//	           n 2 | n x (author tag 8 | time 8)
//	query      n 1 | n hashes of 32 | length 4 of the attestation | attestation
//	           | length 4 of the body, which follows in as many frames as it takes
//
// After a list in an exchange the opener sends what the other side lacks and
// asks for what it lacks itself: n 2 | n x (length 4 | attestation) | m 2 |
// m x author tag 8; and the other side answers with n 2 | n x (length 4 |
// attestation). See docs/proofs.md.
const (
	askProtocol = "/anabranch/ask/1"
	askVersion  = 1

	askExchange = 1
	askQuery    = 2

	answerOK       = 0
	answerRefused  = 1 // no such space here, or not for this device
	answerTooLong  = 2 // narrow the question
	answerOtherSet = 3 // the compact attestation is not of the set held here: send it whole
	answerFailed   = 4
)

// compactSize is an attestation without what both sides know: space, author,
// count and trie.
const compactSize = 8 + 8 + 8 + 32 + 4 + 64

// logPlace is how far a log was known.
type logPlace struct{ Log, Size uint64 }

func askHead(id record.SpaceID, self, peer record.Key, nonce [session.NonceSize]byte, kind byte) []byte {
	tag := session.Tag(id, self, peer, nonce)
	b := append([]byte{askVersion}, nonce[:]...)
	return append(append(b, tag[:]...), kind)
}

const askHeadSize = 1 + session.NonceSize + 16 + 1

// compact writes an attestation for somebody who holds the same set.
func compact(a *Attestation) []byte {
	root := a.Root()
	b := binary.BigEndian.AppendUint64(nil, a.Time)
	b = binary.BigEndian.AppendUint64(b, a.Log)
	b = binary.BigEndian.AppendUint64(b, a.Size)
	b = append(b, a.Head[:]...)
	b = append(b, root[:4]...)
	return append(b, a.Signature[:]...)
}

var errOtherSet = errors.New("anabranch: the attestation is of another set")

// expand is the reverse of compact: own is an attestation of the set held
// here, authors the keys by which the peer may have signed. errOtherSet if it
// is not a statement about that set.
func expand(b []byte, own *Attestation, authors []record.Key) (*Attestation, error) {
	if len(b) != compactSize {
		return nil, fmt.Errorf("anabranch: ask: a compact attestation of %d bytes", len(b))
	}
	root := own.Root()
	if string(b[56:60]) != string(root[:4]) {
		return nil, errOtherSet
	}
	a := &Attestation{
		Space: own.Space, Count: own.Count, Trie: own.Trie,
		Time: binary.BigEndian.Uint64(b), Log: binary.BigEndian.Uint64(b[8:]), Size: binary.BigEndian.Uint64(b[16:]),
		Head: [32]byte(b[24:56]), Signature: [64]byte(b[60:]),
	}
	for _, author := range authors {
		a.Author = author
		if whole, err := attest.Decode(a.Encode()); err == nil {
			return whole, nil
		}
	}
	return nil, errOtherSet
}

// authorTag names an author in a list among the members of one space.
type authorTag [8]byte

func attestTag(author record.Key) authorTag { return authorTag(author[:]) }

// known is when the newest attestation of somebody was made.
type known struct {
	author authorTag
	time   uint64
}

func appendKnown(b []byte, list []known) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
	for _, k := range list {
		b = binary.BigEndian.AppendUint64(append(b, k.author[:]...), k.time)
	}
	return b
}

var errAskEncoding = errors.New("anabranch: ask: malformed frame")

func takeKnown(b []byte) (list []known, err error) {
	if len(b) < 2 || len(b) != 2+16*int(binary.BigEndian.Uint16(b)) {
		return nil, fmt.Errorf("%w: a list in %d bytes", errAskEncoding, len(b))
	}
	for b = b[2:]; len(b) > 0; b = b[16:] {
		list = append(list, known{authorTag(b[:8]), binary.BigEndian.Uint64(b[8:16])})
	}
	return list, nil
}

func appendAttestations(b []byte, list []*Attestation) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(list)))
	for _, a := range list {
		e := a.Encode()
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
	}
	return b
}

// takeAttestations reads and verifies a list from the front of a frame.
func takeAttestations(b []byte) (list []*Attestation, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%w: no list", errAskEncoding)
	}
	n, b := int(binary.BigEndian.Uint16(b)), b[2:]
	for ; n > 0; n-- {
		if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, nil, fmt.Errorf("%w: %d attestations more in %d bytes", errAskEncoding, n, len(b))
		}
		size := int(binary.BigEndian.Uint32(b))
		a, err := attest.Decode(b[4 : 4+size])
		if err != nil {
			return nil, nil, err
		}
		list, b = append(list, a), b[4+size:]
	}
	return list, b, nil
}

// question is what a query frame asks.
type question struct {
	nonce [16]byte
	since logPlace
	query space.Query
}

func (q question) encode() []byte {
	b := append([]byte(nil), q.nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, q.since.Log)
	b = binary.BigEndian.AppendUint64(b, q.since.Size)
	return append(b, q.query.Encode()...)
}

func takeQuestion(b []byte) (q question, err error) {
	if len(b) < 32 {
		return q, fmt.Errorf("%w: a question of %d bytes", errAskEncoding, len(b))
	}
	q.nonce = [16]byte(b)
	q.since = logPlace{binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:])}
	q.query, err = space.DecodeQuery(b[32:])
	return q, err
}
