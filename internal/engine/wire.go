package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"anabranch/gossip"
	"anabranch/record"
)

// A frame of the stream beside the sessions is
//
//	1 open    channel 1 | nonce 8 | tag 16
//	2 close   channel 1
//	3 rumors  channel 1 | one frame of package gossip
//	4 note    channel 1 | one note
//
// Each side numbers the spaces that it speaks of as it likes, and names one
// by the first 16 bytes of HMAC-SHA256 under the space's ID over a label, its
// own key, the other's and the nonce: who does not know the space learns
// nothing. A space is spoken of once both sides have opened it. A tag that
// matches nothing is kept: the space may come to be known here.
//
// A note is
//
//	version 1 (= 1) | kind 1 | device 32 | time 8, µs since 1970 | body | signature 64
//
// signed by the device over "anabranch note 1", the space's ID and all that
// precedes the signature; at most 4 096 bytes in all.

const (
	frameOpen   = 1
	frameClose  = 2
	frameRumors = 3
	frameNote   = 4

	nonceSize = 8
	tagSize   = 16
	openSize  = 2 + nonceSize + tagSize

	noteHead      = 1 + 1 + 32 + 8
	noteSignature = 64
	openLabel     = "anabranch gossip open 1"
	noteLabel     = "anabranch note 1"
)

var (
	errFrame = errors.New("engine: malformed frame")
	// ErrNote is what ParseNote returns, wrapped with the reason.
	ErrNote = errors.New("engine: malformed note")
)

// frame is one decoded frame.
type frame struct {
	kind    byte
	channel uint8
	nonce   [nonceSize]byte
	tag     [tagSize]byte
	body    []byte // of rumors and notes
}

func decode(b []byte) (frame, error) {
	if len(b) < 2 || len(b) > MaxFrame {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, len(b))
	}
	f := frame{kind: b[0], channel: b[1]}
	rest := b[2:]
	switch f.kind {
	case frameOpen:
		if len(b) != openSize {
			return frame{}, fmt.Errorf("%w: an open of %d bytes", errFrame, len(b))
		}
		copy(f.nonce[:], rest)
		copy(f.tag[:], rest[nonceSize:])
	case frameClose:
		if len(rest) != 0 {
			return frame{}, fmt.Errorf("%w: a close of %d bytes", errFrame, len(b))
		}
	case frameRumors:
		if len(rest) == 0 {
			return frame{}, fmt.Errorf("%w: no rumors", errFrame)
		}
		f.body = rest
	case frameNote:
		if _, err := ParseNote(rest); err != nil {
			return frame{}, err
		}
		f.body = rest
	default:
		return frame{}, fmt.Errorf("%w: type %d", errFrame, f.kind)
	}
	return f, nil
}

// IsRumor reports whether a frame of the stream is a rumor, whole.
func IsRumor(b []byte) bool {
	return len(b) > 2 && b[0] == frameRumors && gossip.FrameType(b[2]) == gossip.RumorFrame
}

func (f frame) encode() []byte {
	n := 2 + len(f.body)
	if f.kind == frameOpen {
		n += nonceSize + tagSize
	}
	b := make([]byte, 2, n)
	b[0], b[1] = f.kind, f.channel
	if f.kind == frameOpen {
		b = append(b, f.nonce[:]...)
		b = append(b, f.tag[:]...)
	}
	return append(b, f.body...)
}

// tagOf is HMAC-SHA256 (RFC 2104), written out for a key and a message of
// known lengths: an engine does it for every space and peer that come.
func tagOf(space record.SpaceID, from, to Peer, nonce [nonceSize]byte) [tagSize]byte {
	const block = sha256.BlockSize
	var inner [block + len(openLabel) + 2*32 + nonceSize]byte
	var outer [block + sha256.Size]byte
	for i := range block {
		inner[i], outer[i] = 0x36, 0x5c
		if i < len(space) {
			inner[i] ^= space[i]
			outer[i] ^= space[i]
		}
	}
	m := append(inner[:block], openLabel...)
	m = append(append(append(m, from[:]...), to[:]...), nonce[:]...)
	sum := sha256.Sum256(m)
	copy(outer[block:], sum[:])
	sum = sha256.Sum256(outer[:])
	return [tagSize]byte(sum[:])
}

// ParsedNote is what a note says. Body is part of the note's bytes.
type ParsedNote struct {
	Kind   uint8
	Device Peer
	Time   uint64 // µs since 1970
	Body   []byte
}

// ParseNote takes a note apart. It does not check the signature.
func ParseNote(b []byte) (ParsedNote, error) {
	switch {
	case len(b) < noteHead+noteSignature:
		return ParsedNote{}, fmt.Errorf("%w: cut off at %d bytes", ErrNote, len(b))
	case len(b) > MaxNote:
		return ParsedNote{}, fmt.Errorf("%w: %d bytes, at most %d", ErrNote, len(b), MaxNote)
	case b[0] != 1:
		return ParsedNote{}, fmt.Errorf("%w: version %d", ErrNote, b[0])
	}
	n := ParsedNote{Kind: b[1], Time: binary.BigEndian.Uint64(b[34:]), Body: b[noteHead : len(b)-noteSignature]}
	copy(n.Device[:], b[2:])
	if n.Kind == 0 || n.Time == 0 || n.Time >= 1<<53 {
		return ParsedNote{}, fmt.Errorf("%w: kind %d at %d µs", ErrNote, n.Kind, n.Time)
	}
	return n, nil
}

// AppendNote appends the part of a note that is signed and no signature.
func AppendNote(dst []byte, n ParsedNote) []byte {
	dst = append(dst, 1, n.Kind)
	dst = append(dst, n.Device[:]...)
	dst = binary.BigEndian.AppendUint64(dst, n.Time)
	return append(dst, n.Body...)
}

// NoteMessage is what a note's signature is over, for a note with or without
// it: unsigned is all before the signature.
func NoteMessage(space record.SpaceID, unsigned []byte) []byte {
	m := append([]byte(noteLabel), space[:]...)
	return append(m, unsigned...)
}

// SplitNote cuts a well-formed note into what is signed and the signature.
func SplitNote(b []byte) (unsigned []byte, signature [64]byte) {
	n := len(b) - noteSignature
	return b[:n], [64]byte(b[n:])
}
