package anabranch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/session"
	"anabranch/record"
)

// Who is in a text, and what is being typed there, goes from a device to the
// members connected with it that ask: on a stream for each text that they
// watch, beside sessions. Nothing of it is stored, passed on, or part of a root.
// Whoever watches opens the stream and writes one frame,
//
//	version 1 (= 1) | nonce 16 | tag 16 | path
//
// whose tag names the space as in a session's hello. The answer is a frame
// at once, one each time something has changed, and one at least every
// 20 s. Each says all there is at that moment:
//
//	flags 1   1 somebody is here, 2 with a place, 4 types
//	here      length 1 | name
//	place     caret: length 1, anchor | mark: length 1, anchor
//	types     author 32 | lane 8 | deltas: length, bytes, of that lane in this order
//
// with anchors, deltas and numbers as in docs/crdt.md. The deltas are what is
// in no record yet; a burst that does not fit in a frame has none, and comes as
// a record. Nobody is at a place who is not here. A frame has at most 4 096 bytes.
const (
	liveProtocol = "/anabranch/live/1"
	liveVersion  = 1

	liveHere   = 1
	livePlaced = 2
	liveTypes  = 4

	liveFrame = minFrameBytes // whatever a peer has chosen, it takes those
	liveHead  = 1 + session.NonceSize + 16
)

var errLiveFrame = errors.New("anabranch: malformed frame of a text that is watched")

// maxPresenceName bounds the name that somebody goes by, in bytes.
const maxPresenceName = 64

// presenceName is a name as it may be shown: one line of printable characters,
// at most 64 bytes of them, none that changes the direction of what follows.
func presenceName(s string) string {
	s = strings.Map(func(c rune) rune {
		switch {
		case c == utf8.RuneError:
			return -1
		case unicode.IsSpace(c):
			return ' '
		case unicode.IsPrint(c):
			return c
		}
		return -1
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxPresenceName {
		end := maxPresenceName
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = strings.TrimRight(s[:end], " ")
	}
	return s
}

// liveState is what one frame says.
type liveState struct {
	here   bool
	who    TextPresence
	types  bool
	author record.Key
	lane   uint64
	deltas [][]byte
}

func (s *liveState) encode() []byte {
	b := []byte{0}
	if s.here {
		b[0] |= liveHere
		b = append(append(b, byte(len(s.who.Name))), s.who.Name...)
	}
	if s.here && s.who.Placed {
		b[0] |= livePlaced
		for _, a := range []text.Anchor{s.who.Caret, s.who.Mark} {
			e := a.AppendTo(nil)
			b = append(append(b, byte(len(e))), e...)
		}
	}
	if s.types {
		b[0] |= liveTypes
		b = append(b, s.author[:]...)
		b = binary.BigEndian.AppendUint64(b, s.lane)
		plain := len(b)
		for _, d := range s.deltas {
			b = append(crdt.AppendUvarint(b, uint64(len(d))), d...)
		}
		if len(b) > liveFrame {
			b = b[:plain]
		}
	}
	return b
}

// decodeLive reads what encode wrote and nothing else. The state's deltas are
// part of b. Whether they are deltas is not looked at.
func decodeLive(b []byte) (*liveState, error) {
	wrong := func(what string) (*liveState, error) { return nil, fmt.Errorf("%w: %s", errLiveFrame, what) }
	if len(b) == 0 || len(b) > liveFrame {
		return wrong("its length")
	}
	flags, rest := b[0], b[1:]
	if flags&^(liveHere|livePlaced|liveTypes) != 0 || flags&livePlaced != 0 && flags&liveHere == 0 {
		return wrong("its flags")
	}
	s := &liveState{here: flags&liveHere != 0, types: flags&liveTypes != 0}
	short := func() ([]byte, bool) {
		if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
			return nil, false
		}
		part := rest[1 : 1+int(rest[0])]
		rest = rest[1+len(part):]
		return part, true
	}
	if s.here {
		name, ok := short()
		if s.who.Name = string(name); !ok || presenceName(s.who.Name) != s.who.Name {
			return wrong("a name")
		}
	}
	if flags&livePlaced != 0 {
		s.who.Placed = true
		for _, a := range []*text.Anchor{&s.who.Caret, &s.who.Mark} {
			part, ok := short()
			if !ok {
				return wrong("an anchor")
			}
			var err error
			if *a, err = text.DecodeAnchor(part); err != nil {
				return wrong("an anchor")
			}
		}
	}
	if s.types {
		if len(rest) < 40 {
			return wrong("who types")
		}
		s.author, s.lane, rest = record.Key(rest[:32]), binary.BigEndian.Uint64(rest[32:]), rest[40:]
		if s.lane == 0 {
			return wrong("a lane")
		}
		for len(rest) > 0 {
			n, k := crdt.Uvarint(rest)
			if k == 0 || n == 0 || n > uint64(len(rest)-k) {
				return wrong("a delta")
			}
			s.deltas = append(s.deltas, rest[k:k+int(n)])
			rest = rest[k+int(n):]
		}
	}
	if len(rest) > 0 {
		return wrong("bytes behind it")
	}
	return s, nil
}

// liveHello asks a device for what is going on in a text.
func liveHello(id record.SpaceID, self, peer record.Key, nonce [session.NonceSize]byte, path string) []byte {
	tag := session.Tag(id, self, peer, nonce)
	b := append([]byte{liveVersion}, nonce[:]...)
	return append(append(b, tag[:]...), path...)
}

func takeLiveHello(b []byte) (hello session.Hello, path string, err error) {
	if len(b) < liveHead || b[0] != liveVersion {
		return hello, "", errLiveFrame
	}
	hello.Nonce = [session.NonceSize]byte(b[1:])
	copy(hello.Tag[:], b[1+session.NonceSize:])
	path = string(b[liveHead:])
	if err := record.CheckPath(path); err != nil {
		return hello, "", fmt.Errorf("%w: %w", errLiveFrame, err)
	}
	return hello, path, nil
}
