package record

import (
	stded25519 "crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

type recordCase struct {
	about  string
	key    stded25519.PrivateKey
	record Record
}

// hashOf makes deterministic bytes for identifiers in the vectors.
func hashOf(text string) [32]byte { return sha256.Sum256([]byte("anabranch vector " + text)) }

const vectorTime = 1_767_225_600_000_000 // 2026-01-01T00:00:00Z

// someReplaces is a vector of n entries, ascending.
func someReplaces(n int) []Replaced {
	out := make([]Replaced, n)
	for i := range out {
		out[i] = Replaced{Lane: LaneTag(Public(testKey(100+i)), uint64(i+1)), Number: uint32(i + 1)}
	}
	slices.SortFunc(out, func(a, b Replaced) int { return slices.Compare(a.Lane[:], b.Lane[:]) })
	return out
}

func somePrefixes(n int) []Prefix {
	out := make([]Prefix, n)
	for i := range out {
		id := ID(hashOf(fmt.Sprint("listed ", i)))
		out[i] = id.Prefix()
	}
	slices.SortFunc(out, func(a, b Prefix) int { return slices.Compare(a[:], b[:]) })
	return out
}

// recordCases are the records of records.jsonl, before they are signed.
func recordCases() []recordCase {
	var out []recordCase
	add := func(r Record, about string, args ...any) {
		out = append(out, recordCase{fmt.Sprintf(about, args...), testKey(len(out) % 3), r})
	}
	plain := func(k Kind) Record {
		return Record{Kind: k, Time: vectorTime, Lane: 0x0123456789abcdef, Seq: 1, Path: "/notes/plan", Payload: []byte("Rejoin downstream.\n")}
	}
	for _, k := range []Kind{Entry, Doc, Delta, 6, 255} {
		for flags := range 16 {
			r := plain(k)
			r.Deleted = flags&flagDeleted != 0
			r.Blob = flags&flagBlob != 0
			if flags&flagExpires != 0 {
				r.Expires = vectorTime + 86_400_000_000
			}
			if flags&flagReplaces != 0 {
				r.Replaces = someReplaces(3)
			}
			if k != Doc && flags&(flagDeleted|flagReplaces) != 0 {
				continue
			}
			add(r, "%v, flags %d", k, flags)
		}
	}
	addBounds(add, plain)
	addPaths(add, plain)
	addSweeps(add)
	addControl(add)
	return out
}

type addCase func(r Record, about string, args ...any)

func addBounds(add addCase, plain func(Kind) Record) {
	add(Record{Kind: Entry, Time: 1, Lane: 1, Seq: 1, Path: "/"}, "the smallest record: 126 bytes")
	add(Record{
		Kind: Doc, Blob: true, Time: MaxTime - 1, Expires: MaxTime, Lane: math.MaxUint64, Seq: math.MaxUint32,
		Replaces: someReplaces(64), Path: "/" + strings.Repeat("p", MaxPath-1), Payload: slices.Repeat([]byte{0xa5}, MaxPayload),
	}, "the largest record: 67462 bytes")
	r := plain(Entry)
	r.Time = MaxTime
	add(r, "the last moment of time")
	r = plain(Entry)
	r.Expires = r.Time + 1
	add(r, "expires a microsecond later")
	r = plain(Doc)
	r.Payload = nil
	r.Deleted = true
	add(r, "a deletion without payload")
	r = plain(Doc)
	r.Replaces = someReplaces(1)
	add(r, "replaces 1")
	r.Replaces = someReplaces(64)
	add(r, "replaces 64")
	r.Replaces = []Replaced{{Tag{}, 1}, {Tag{255, 255, 255, 255, 255, 255, 255, 255}, math.MaxUint32}}
	add(r, "replaces the lowest and the highest tag")
}

func addPaths(add addCase, plain func(Kind) Record) {
	for _, p := range []string{
		"/", "/a", "/...", "/.a/..b/c.", "/with space/ leading", "/Straße/日本語/🌊",
		"/caf\u00e9", "/cafe\u0301", "/\u0080\u009f", "/\ufeff\ufffd\uffff", "/\U0010ffff", "/back\\slash/<&>\"'", "/~%2F",
	} {
		r := plain(Doc)
		r.Path = p
		add(r, "path %+q", p)
	}
}

func addSweeps(add addCase) {
	sweep := func(block uint32, bits []byte, about string) {
		add(Record{Kind: Sweep, Time: vectorTime, Lane: 9, Seq: block, Path: "/notes", Payload: bits}, "%s", about)
	}
	sweep(0, []byte{1}, "sweep of number 1")
	sweep(0, []byte{0, 0x80}, "sweep of number 16")
	sweep(3, append(make([]byte, 511), 0x80), "sweep of number 16384, the last of block 3")
	sweep(2, slices.Repeat([]byte{0xff}, 512), "sweep of all of block 2")
	sweep(0, nil, "sweep of numbers 1 to 4096, whole")
	sweep(7, nil, "sweep of numbers 1 to 32768, whole")
	sweep(MaxBlock, []byte{1}, "sweep of number 4294963201 in the last block")
	sweep(MaxBlock, nil, "sweep of the whole lane")
}

func addControl(add addCase) {
	control := func(c ControlBody, about string, args ...any) {
		add(Record{Kind: Control, Time: vectorTime, Path: "/team", Payload: c.Payload()}, about, args...)
	}
	under := ID(hashOf("issuer's grant"))
	device := Key(hashOf("device"))
	random := [16]byte(device[16:])
	for role := Reader; role <= Admin; role++ {
		control(ControlBody{Grant: &Grant{Author: Public(testKey(5)), Device: device, Role: role, Random: random}}, "grant of %v by a root key", role)
	}
	control(ControlBody{Under: under, Grant: &Grant{Author: Public(testKey(6)), Device: device, Role: Writer, Random: random}}, "grant under a grant")
	target := ID(hashOf("target"))
	sealID := [16]byte(target[16:])
	control(ControlBody{Seal: &Seal{Target: target, SealID: sealID, Part: 1, Parts: 1}}, "seal that lists nothing")
	list := somePrefixes(7)
	for i, part := range [][]Prefix{list[:3], list[3:6], list[6:]} {
		control(ControlBody{Under: under, Seal: &Seal{Target: target, SealID: sealID, Part: uint16(i + 1), Parts: 3, List: part}}, "seal, part %d of 3", i+1)
	}
	control(ControlBody{Seal: &Seal{Target: target, SealID: sealID, Part: math.MaxUint16, Parts: math.MaxUint16, List: somePrefixes(1)}}, "seal, part 65535 of 65535")
	control(ControlBody{Seal: &Seal{Target: target, SealID: sealID, Part: 1, Parts: 1, List: somePrefixes(MaxSealList)}}, "seal that lists 4000")
	control(ControlBody{Type: LabelType}, "empty label")
	control(ControlBody{Type: LabelType, Under: under, Label: []byte("kitchen tablet \xff")}, "label of free bytes")
	control(ControlBody{Type: 0}, "unknown control type 0")
	control(ControlBody{Type: 4, Under: under, Label: binary.BigEndian.AppendUint64(nil, 42)}, "unknown control type 4")
	control(ControlBody{Type: 255, Label: make([]byte, MaxPayload-controlHead)}, "unknown control type 255, largest payload")
}
