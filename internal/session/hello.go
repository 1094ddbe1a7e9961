package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"anabranch/reconcile"
	"anabranch/record"
)

// NonceSize is the length of a hello's nonce in bytes.
const NonceSize = 8

const (
	helloLabel   = "anabranch session hello 1"
	welcomeLabel = "anabranch session welcome 1"
	namesLabel   = "anabranch session names 1"
	lookLabel    = "anabranch session look 1"
)

// What a hello offers; bits for methods to come are ignored. Ranges are
// always offered. Keyed lists are used when the welcome takes the offer, and
// it does so only when there is something to compare.
const (
	offerRanges = 1 << 0
	offerKeyed  = 1 << 1
	offerSeek   = 1 << 2 // plans are made: an ask follows the state
	offerSame   = 1 << 3 // in a welcome: the digests are those of the hello, and left out
)

// Hello is the first frame of a session:
//
//	type 1 | version 1 | offers 1 | frame bytes varint | nonce 8? | tag 16 | state | ask?
//
// A welcome has a nonce iff it takes keyed lists. An ask, which may be empty,
// follows iff plans are offered; that of a welcome holds a cursor at most.
type Hello struct {
	FrameBytes int
	Keyed      bool
	Nonce      [NonceSize]byte
	Tag        [16]byte

	// Seek offers plans.
	Seek bool

	same  bool
	state state
	ask   *ask
}

// Root is the root that the initiator held when it began.
func (h Hello) Root() [32]byte { return h.state.root }

// ParseHello reads an initiator's first frame, so that the shell can look
// for the space whose Tag it carries before it accepts the session. The
// error wraps ErrVersion or is a *FrameError or an *UnexpectedError.
func ParseHello(frame []byte) (Hello, error) {
	if len(frame) == 0 {
		return Hello{}, &FrameError{Frame: HelloFrame, Reason: "empty"}
	}
	if FrameType(frame[0]) != HelloFrame {
		return Hello{}, &UnexpectedError{Frame: FrameType(frame[0]), Where: "hello"}
	}
	return parseHello(HelloFrame, frame[1:])
}

func parseHello(frame FrameType, body []byte) (Hello, error) {
	r := reader{frame: frame, b: body}
	if v := r.byte(); r.err == nil && v != Version {
		return Hello{}, ErrVersion
	}
	offers := r.byte()
	if r.err == nil && offers&offerRanges == 0 {
		r.fail("no method in common")
	}
	h := Hello{Keyed: offers&offerKeyed != 0}
	h.FrameBytes = int(r.uvarint(MaxFrameBytes))
	if r.err == nil && h.FrameBytes < MinFrameBytes {
		r.fail("frames of %d bytes, at least %d", h.FrameBytes, MinFrameBytes)
	}
	if frame == HelloFrame || h.Keyed {
		r.copy(h.Nonce[:])
	}
	r.copy(h.Tag[:])
	h.Seek = offers&offerSeek != 0
	h.same = offers&offerSame != 0 && frame == WelcomeFrame
	if h.same {
		r.copy(h.state.root[:])
		h.state.count = r.uvarint(1<<63 - 1)
	} else {
		h.state = r.state()
	}
	if h.Seek {
		h.ask = r.ask()
	}
	return h, r.end()
}

// append encodes a hello, or a welcome.
func (h *Hello) append(dst []byte, frame FrameType) []byte {
	offers := byte(offerRanges)
	if h.Keyed {
		offers |= offerKeyed
	}
	if h.Seek {
		offers |= offerSeek
	}
	if h.same {
		offers |= offerSame
	}
	dst = append(dst, byte(frame), Version, offers)
	dst = binary.AppendUvarint(dst, uint64(h.FrameBytes))
	if frame == HelloFrame || h.Keyed {
		dst = append(dst, h.Nonce[:]...)
	}
	dst = append(dst, h.Tag[:]...)
	if h.same {
		dst = h.state.appendTotal(dst)
	} else {
		dst = h.state.append(dst)
	}
	if h.Seek {
		dst = h.ask.append(dst)
	}
	return dst
}

// Tag is how an initiator names a space in its hello: the first 16 bytes of
// HMAC-SHA256 under the space's ID over a label, both device keys and the
// nonce. Who does not know the space learns nothing from it.
func Tag(space record.SpaceID, initiator, responder record.Key, nonce [NonceSize]byte) [16]byte {
	return tag(helloLabel, space, initiator, responder, nonce)
}

func tag(label string, space record.SpaceID, initiator, responder record.Key, nonce [NonceSize]byte) [16]byte {
	m := hmac.New(sha256.New, space[:])
	m.Write([]byte(label))
	m.Write(initiator[:])
	m.Write(responder[:])
	m.Write(nonce[:])
	return [16]byte(m.Sum(nil))
}

// namesKey is the key of keyed lists. Both sides have put a nonce into it, so
// that nobody can have made records whose names under it are equal.
func namesKey(space record.SpaceID, initiator, responder record.Key, first, second [NonceSize]byte) reconcile.Key {
	m := hmac.New(sha256.New, space[:])
	m.Write([]byte(namesLabel))
	m.Write(initiator[:])
	m.Write(responder[:])
	m.Write(first[:])
	m.Write(second[:])
	return reconcile.Key(m.Sum(nil))
}

// Refusal is the frame that answers a hello nobody here will speak to: an
// unknown tag, a device that may not read, a version that is not spoken. It
// is the same for all of them.
func Refusal() []byte { return []byte{byte(RefusedFrame)} }
