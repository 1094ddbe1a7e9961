package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
)

// raw is a record's bytes in parts, for spelling out what Append never would.
type raw struct {
	header   [headerSize]byte
	expires  []byte
	replaces []byte
	path     []byte
	payload  []byte
	keep     bool // leave pathLen and payloadLen in the header as they are
}

func rawOf(r Record) *raw {
	r.Author = Public(testKey(0))
	b := r.Append(nil)
	w := &raw{header: [headerSize]byte(b), path: []byte(r.Path), payload: r.Payload}
	if r.Expires != 0 {
		w.expires = binary.BigEndian.AppendUint64(nil, r.Expires)
	}
	if len(r.Replaces) > 0 {
		at := headerSize + len(w.expires)
		w.replaces = b[at : at+1+12*len(r.Replaces)]
	}
	return w
}

// sign is the encoding with a signature that holds over what stands there.
func (w *raw) sign() []byte {
	if !w.keep {
		binary.BigEndian.PutUint16(w.header[3:], uint16(len(w.path)))
		binary.BigEndian.PutUint32(w.header[5:], uint32(len(w.payload)))
	}
	head := slices.Concat(w.header[:], w.expires, w.replaces, w.path)
	payload := sha256.Sum256(w.payload)
	signature := stded25519.Sign(testKey(0), slices.Concat([]byte(signDomain), testSpace[:], head, payload[:]))
	return slices.Concat(head, w.payload, signature)
}

func (w *raw) uint64At(at int, v uint64) *raw {
	binary.BigEndian.PutUint64(w.header[at:], v)
	return w
}

func (w *raw) uint32At(at int, v uint32) *raw {
	binary.BigEndian.PutUint32(w.header[at:], v)
	return w
}

func (w *raw) flag(bit byte) *raw {
	w.header[2] |= bit
	return w
}

const (
	timeAt = 9
	laneAt = 17
	seqAt  = 25
)

// refusedCases are the lines of refused.jsonl.
func refusedCases(t testing.TB) []refusedVector {
	var out []refusedVector
	refuse := func(field string, b []byte, about string, args ...any) {
		out = append(out, refusedVector{fmt.Sprintf(about, args...), testSpace.String(), "malformed", field, hex.EncodeToString(b)})
	}
	refuseHeaders(refuse)
	refuseLengths(refuse)
	refuseReplaces(refuse)
	refusePaths(refuse)
	refuseSweeps(refuse)
	refuseControl(refuse)
	return append(out, refusedSignatures(t)...)
}

type refuseCase func(field string, b []byte, about string, args ...any)

// A fresh raw of each kind per case: cases change it.
func rawDoc() *raw {
	return rawOf(Record{Kind: Doc, Time: vectorTime, Lane: 5, Seq: 1, Path: "/a/b", Payload: []byte("text")})
}

func rawEntry() *raw {
	return rawOf(Record{Kind: Entry, Time: vectorTime, Lane: 5, Seq: 1, Path: "/a/b", Payload: []byte("text")})
}

func rawSweep(bits ...byte) *raw {
	return rawOf(Record{Kind: Sweep, Time: vectorTime, Lane: 5, Seq: 0, Path: "/a", Payload: bits})
}

func rawControl(payload []byte) *raw {
	return rawOf(Record{Kind: Control, Time: vectorTime, Path: "/a", Payload: payload})
}

func rawLabel() *raw { return rawControl((&ControlBody{Type: LabelType}).Payload()) }

func refuseHeaders(refuse refuseCase) {
	for _, v := range []byte{0, 2, 255} {
		w := rawDoc()
		w.header[0] = v
		refuse("version", w.sign(), "version %d", v)
	}
	w := rawDoc()
	w.header[1] = 0
	refuse("kind", w.sign(), "kind 0")
	for bit := 4; bit < 8; bit++ {
		refuse("flags", rawDoc().flag(1<<bit).sign(), "unknown flag bit %d", bit)
	}
	opaque := rawEntry()
	opaque.header[1] = 200
	delta := rawEntry()
	delta.header[1] = byte(Delta)
	for name, w := range (namedRaws{{"entry", rawEntry()}, {"delta", delta}, {"opaque kind", opaque}, {"sweep", rawSweep(1)}, {"control", rawLabel()}}).all {
		refuse("flags", w.flag(flagDeleted).sign(), "deleted on a %s", name)
	}
	opaque = rawEntry()
	opaque.header[1] = 200
	for name, w := range (namedRaws{{"entry", rawEntry()}, {"opaque kind", opaque}, {"sweep", rawSweep(1)}, {"control", rawLabel()}}).all {
		w.replaces = encodeReplaces(someReplaces(1))
		refuse("flags", w.flag(flagReplaces).sign(), "replaces on a %s", name)
	}
	for name, w := range (namedRaws{{"sweep", rawSweep(1)}, {"control", rawLabel()}}).all {
		w.flag(flagExpires).expires = binary.BigEndian.AppendUint64(nil, vectorTime+1)
		refuse("flags", w.sign(), "expires on a %s", name)
	}
	for name, w := range (namedRaws{{"sweep", rawSweep(1)}, {"control", rawLabel()}}).all {
		refuse("flags", w.flag(flagBlob).sign(), "blob on a %s", name)
	}
	refuse("time", rawDoc().uint64At(timeAt, 0).sign(), "time 0")
	refuse("time", rawDoc().uint64At(timeAt, 1<<53).sign(), "time 2^53")
	refuse("time", rawDoc().uint64At(timeAt, 1<<63).sign(), "time 2^63")
	refuse("lane", rawDoc().uint64At(laneAt, 0).sign(), "lane 0")
	refuse("lane", rawSweep(1).uint64At(laneAt, 0).sign(), "lane 0 in a sweep")
	refuse("lane", rawLabel().uint64At(laneAt, 1).sign(), "a lane in a control record")
	refuse("seq", rawDoc().uint32At(seqAt, 0).sign(), "number 0")
	refuse("seq", rawSweep(1).uint32At(seqAt, 1<<20).sign(), "block 2^20")
	refuse("seq", rawLabel().uint32At(seqAt, 1).sign(), "a number in a control record")
	for _, c := range []struct {
		about string
		at    uint64
	}{{"0 under its flag", 0}, {"equal to time", vectorTime}, {"before time", vectorTime - 1}, {"2^53", 1 << 53}} {
		w := rawDoc().flag(flagExpires)
		w.expires = binary.BigEndian.AppendUint64(nil, c.at)
		refuse("expires", w.sign(), "expires %s", c.about)
	}
}

// namedRaws keeps an order that a map would not.
type namedRaws []struct {
	name string
	w    *raw
}

func (s namedRaws) all(yield func(string, *raw) bool) {
	for _, c := range s {
		if !yield(c.name, c.w) {
			return
		}
	}
}

func refuseLengths(refuse refuseCase) {
	whole := rawDoc().sign()
	refuse("length", nil, "no bytes")
	refuse("length", whole[:1], "one byte")
	refuse("length", whole[:headerSize], "a header alone")
	refuse("length", whole[:len(whole)-1], "the last byte missing")
	refuse("length", append(slices.Clone(whole), 0), "a byte too many")
	w := rawDoc()
	w.keep = true
	refuse("length", w.uint32At(5, 3).sign(), "payloadLen one too small")
	w = rawDoc()
	w.keep = true
	refuse("length", w.uint32At(5, 5).sign(), "payloadLen one too large")
	w = rawDoc()
	w.path = nil
	refuse("pathLen", w.sign(), "no path")
	w = rawDoc()
	w.path = []byte("/" + strings.Repeat("p", MaxPath))
	refuse("pathLen", w.sign(), "a path of 1025 bytes")
	w = rawDoc()
	w.payload = make([]byte, MaxPayload+1)
	refuse("payloadLen", w.sign(), "a payload of 65537 bytes")
	w = rawDoc()
	w.keep = true
	refuse("payloadLen", w.uint32At(5, 1<<32-1).sign(), "payloadLen 2^32-1")
	largest := rawOf(Record{
		Kind: Doc, Time: vectorTime, Expires: MaxTime, Lane: 5, Seq: 1, Replaces: someReplaces(64),
		Path: "/" + strings.Repeat("p", MaxPath-1), Payload: make([]byte, MaxPayload),
	})
	refuse("length", append(largest.sign(), 0), "a byte more than the largest record")
	w = rawDoc().flag(flagExpires)
	w.path, w.payload, w.keep = []byte("/"), nil, true
	refuse("expires", w.sign(), "the flag of expires and no room for it")
}

func encodeReplaces(entries []Replaced) []byte {
	b := []byte{byte(len(entries))}
	for _, e := range entries {
		b = append(b, e.Lane[:]...)
		b = binary.BigEndian.AppendUint32(b, e.Number)
	}
	return b
}

func refuseReplaces(refuse refuseCase) {
	with := func(entries ...Replaced) []byte {
		w := rawDoc().flag(flagReplaces)
		w.replaces = encodeReplaces(entries)
		return w.sign()
	}
	refuse("replaces", with(), "replaces with no entry")
	refuse("replaces", with(someReplaces(65)...), "replaces with 65 entries")
	refuse("replaces", with(Replaced{Tag{1}, 0}), "replaces up to number 0")
	refuse("replaces", with(Replaced{Tag{2}, 1}, Replaced{Tag{1}, 1}), "replaces descending")
	refuse("replaces", with(Replaced{Tag{1}, 1}, Replaced{Tag{1}, 2}), "replaces one lane twice")
	refuse("replaces", with(Replaced{LaneTag(Public(testKey(0)), 5), 1}), "replaces the writer's own lane")
	w := rawDoc().flag(flagReplaces)
	w.replaces = append([]byte{64}, encodeReplaces(someReplaces(2))[1:]...)
	refuse("replaces", w.sign(), "replaces with 64 entries of which 2 are there")
	w = rawDoc().flag(flagReplaces | flagExpires)
	w.expires = binary.BigEndian.AppendUint64(nil, vectorTime+1)
	w.path, w.payload, w.keep = nil, nil, true
	refuse("replaces", w.sign(), "the flag of replaces and no room for it")
}

func refusePaths(refuse refuseCase) {
	for _, p := range []string{
		"a", "a/b", "//", "/a/", "/a//b", "//a", "/.", "/..", "/a/./b", "/a/../b", "/a/..",
		"/a\x00", "/\x1f", "/a\nb", "/\x7f", "/\x80", "/\xc0\xaf", "/\xed\xa0\x80", "/\xf4\x90\x80\x80", "/\xe2\x82", "/\xff",
	} {
		w := rawDoc()
		w.path = []byte(p)
		refuse("path", w.sign(), "path %+q", p)
	}
}

func refuseSweeps(refuse refuseCase) {
	refuse("sweep", rawSweep(0).sign(), "a sweep of one zero byte")
	refuse("sweep", rawSweep(1, 0).sign(), "a sweep with a trailing zero byte")
	refuse("sweep", rawSweep(slices.Repeat([]byte{1}, 513)...).sign(), "a sweep of 513 bytes")
}

func refuseControl(refuse refuseCase) {
	with := func(payload []byte) []byte { return rawControl(payload).sign() }
	refuse("control", with(nil), "control without payload")
	refuse("control", with((&ControlBody{Type: LabelType}).Payload()[:32]), "control with 31 bytes of under")
	refuse("control", with(make([]byte, 32)), "unknown control type with 31 bytes of under")
	grant := (&ControlBody{Grant: &Grant{Role: Writer}}).Payload()
	refuse("grant", with(grant[:len(grant)-1]), "a grant one byte short")
	refuse("grant", with(append(slices.Clone(grant), 0)), "a grant one byte long")
	for _, role := range []Role{0, 4, 255} {
		refuse("grant", with((&ControlBody{Grant: &Grant{Role: role}}).Payload()), "a grant of role %d", uint8(role))
	}
	seal := func(s Seal) []byte { return with((&ControlBody{Seal: &s}).Payload()) }
	empty := (&ControlBody{Seal: &Seal{Part: 1, Parts: 1}}).Payload()
	cut := (&ControlBody{Seal: &Seal{Part: 1, Parts: 0x0101}}).Payload()
	refuse("seal", with(cut[:len(cut)-1]), "a seal cut off in its number of parts")
	refuse("seal", with(append(slices.Clone(empty), 1)), "a seal with one byte of a prefix")
	refuse("seal", seal(Seal{Part: 0, Parts: 1}), "a seal, part 0 of 1")
	refuse("seal", seal(Seal{Part: 2, Parts: 1}), "a seal, part 2 of 1")
	refuse("seal", seal(Seal{Part: 0, Parts: 0}), "a seal, part 0 of 0")
	refuse("seal", seal(Seal{Part: 1, Parts: 1, List: somePrefixes(MaxSealList + 1)}), "a seal that lists 4001")
	refuse("seal", seal(Seal{Part: 1, Parts: 1, List: []Prefix{{2}, {1}}}), "a seal that lists descending")
	refuse("seal", seal(Seal{Part: 1, Parts: 1, List: []Prefix{{1}, {1}}}), "a seal that lists twice")
}

// refusedSignatures are well formed and hold in no space or not in this one.
func refusedSignatures(t testing.TB) []refusedVector {
	var out []refusedVector
	refuse := func(b []byte, about string) {
		out = append(out, refusedVector{about, testSpace.String(), "signature", "", hex.EncodeToString(b)})
	}
	whole := rawDoc().sign()
	end := len(whole) - signatureSize
	change := func(f func(b, signature []byte)) []byte {
		b := slices.Clone(whole)
		f(b, b[end:])
		return b
	}
	v, err := Sign(SpaceID(hashOf("another space")), testKey(0), mustDecode(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	refuse(v.Bytes, "signed for another space")
	refuse(change(func(b, _ []byte) { b[timeAt+7] ^= 1 }), "time changed")
	refuse(change(func(b, _ []byte) { b[1] = byte(Delta) }), "kind changed")
	refuse(change(func(b, _ []byte) { b[laneAt] ^= 1 }), "lane changed")
	refuse(change(func(b, _ []byte) { b[headerSize+1] = 'z' }), "path changed")
	refuse(change(func(b, _ []byte) { b[end-1] ^= 1 }), "payload changed")
	refuse(change(func(b, _ []byte) { copy(b[29:], publicBytes(1)) }), "another author")
	refuse(change(func(b, _ []byte) { copy(b[29:], notAPoint(t)) }), "the author is no point")
	refuse(change(func(_, s []byte) { copy(s, notAPoint(t)) }), "R is no point")
	refuse(change(func(_, s []byte) { s[0] ^= 1 }), "a bit of R flipped")
	refuse(change(func(_, s []byte) { s[32] ^= 1 }), "a bit of S flipped")
	refuse(change(func(_, s []byte) { copy(s[32:], addOrder(s[32:])) }), "S + L")
	refuse(change(func(_, s []byte) { s[63] |= 0x80 }), "the highest bit of S set")
	refuse(change(func(_, s []byte) { clear(s) }), "a signature of zeros")
	return out
}

func mustDecode(t testing.TB, b []byte) Record {
	t.Helper()
	r, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func publicBytes(key int) []byte {
	k := Public(testKey(key))
	return k[:]
}

// notAPoint is the encoding of the least y above 1 that is on no point.
func notAPoint(t testing.TB) []byte {
	for y := byte(2); y < 50; y++ {
		var p curve.EdwardsPoint
		if b := append([]byte{y}, make([]byte, 31)...); !decompress(&p, b) {
			return b
		}
	}
	t.Fatal("every y is on a point")
	return nil
}
