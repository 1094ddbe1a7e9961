package text

import (
	"crypto/sha256"
	"encoding/binary"
	"unicode/utf8"

	"anabranch/crdt"
)

// A seed is the text that a document begins with, said in the same words by
// everybody who begins it: its lane is a digest of the seed, so that its
// characters have the same dots everywhere, nobody can say anything else under
// them, and two people who import one file have it once.
//
//	1 byte   0x20 for the first seed of a text, 0x21 for one that goes on from another
//	with 1   the lane (8 bytes, big-endian) and number of the character before
//	text     the rest, UTF-8, at least one rune
const (
	seedVersion = 0x20
	seedGoesOn  = 1
)

// Seeds returns the seeds of a text, each at most limit bytes, or MaxDelta/2 if
// limit is 0 or less: equal for equal arguments. Apply takes them as deltas of
// any lane. An empty text has none; the error is ErrNotUTF8.
func Seeds(s string, limit int) ([][]byte, error) {
	if !utf8.ValidString(s) {
		return nil, ErrNotUTF8
	}
	if limit <= 0 || limit > MaxDelta/2 {
		limit = MaxDelta / 2
	}
	limit = max(limit, 64)
	var out [][]byte
	var last crdt.Dot
	for len(s) > 0 {
		b := []byte{seedVersion}
		if !last.IsZero() {
			b[0] |= seedGoesOn
			b = crdt.AppendUvarint(binary.BigEndian.AppendUint64(b, last.Lane), uint64(last.Number))
		}
		n := min(len(s), limit-len(b))
		for n < len(s) && !utf8.RuneStart(s[n]) {
			n--
		}
		b = append(b, s[:n]...)
		last = crdt.Dot{Lane: seedLane(b), Number: uint32(utf8.RuneCountInString(s[:n]))}
		out = append(out, b)
		s = s[n:]
	}
	return out, nil
}

// IsSeed reports whether a delta looks like a seed.
func IsSeed(delta []byte) bool { return len(delta) > 0 && delta[0]&0xf0 == seedVersion }

func seedLane(seed []byte) uint64 {
	h := sha256.New()
	h.Write([]byte("anabranch seed 1"))
	h.Write(seed)
	return max(1, binary.BigEndian.Uint64(h.Sum(nil)))
}

// fromSeed is a seed as its lane and the delta of it that Apply joins.
func fromSeed(seed []byte) (lane uint64, delta []byte, err error) {
	wrong := func(reason string) (uint64, []byte, error) {
		return 0, nil, malformed("seed: %s", reason)
	}
	if len(seed) > MaxDelta {
		return wrong("too long")
	}
	rest := seed[1:]
	head, parent := byte(deltaVersion|hasRuns), []byte{0}
	var names []byte
	switch seed[0] {
	case seedVersion:
	case seedVersion | seedGoesOn:
		if len(rest) < 9 {
			return wrong("cut off")
		}
		name := binary.BigEndian.Uint64(rest)
		v, k := crdt.Uvarint(rest[8:])
		if k == 0 || v == 0 || v > crdt.MaxNumber || name == 0 {
			return wrong("goes on from no character")
		}
		head |= hasLanes
		names = append([]byte{1}, rest[:8]...)
		parent = append([]byte{1}, rest[8:8+k]...)
		rest = rest[8+k:]
	default:
		return wrong("unknown version")
	}
	n, _, ok := checkBytes(rest)
	if !ok || n == 0 {
		return wrong("no text in UTF-8")
	}
	delta = append([]byte{head}, names...)
	delta = append(delta, 1, 1) // one run, from number 1
	delta = crdt.AppendUvarint(delta, uint64(n)<<1)
	delta = append(append(delta, parent...), rest...)
	return seedLane(seed), delta, nil
}

// SeedEnd is the last character of a seed that Seeds made.
func SeedEnd(seed []byte) crdt.Dot {
	lane, delta, err := fromSeed(seed)
	if err != nil {
		return crdt.Dot{}
	}
	at := 3 // head, first number, one run
	if delta[0]&hasLanes != 0 {
		at += 9
	}
	v, _ := crdt.Uvarint(delta[at:])
	return crdt.Dot{Lane: lane, Number: uint32(v >> 1)}
}
