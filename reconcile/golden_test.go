package reconcile

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata; read the diff as a protocol change")

// golden compares what the code says with a file of vectors.
func golden[T any](t *testing.T, name string, got T) {
	t.Helper()
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", " ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), want) {
		t.Errorf("%s differs from what is computed:\n%s", path, buf.Bytes())
	}
}

func hexes(ids []ID) []string {
	s := []string{}
	for _, id := range ids {
		s = append(s, hex.EncodeToString(id[:]))
	}
	slices.Sort(s)
	return s
}

func TestGoldenFingerprints(t *testing.T) {
	ones := func(from, to int) (id ID) {
		for i := from; i < to; i++ {
			id[i] = 0xff
		}
		return id
	}
	type vector struct {
		Name        string
		IDs         []string
		Fingerprint string
	}
	var out []vector
	for _, v := range []struct {
		name string
		ids  []ID
	}{
		{"no IDs", nil},
		{"one ID of zeros: the count is part of it", []ID{{}}},
		{"one uniform ID", []ID{numbered(0).ID}},
		{"two uniform IDs", []ID{numbered(0).ID, numbered(1).ID}},
		{"carry through all limbs: 2^256-1 plus 1 is 0", []ID{ones(0, 32), {0: 1}}},
		{"carry out of the first 32-bit limb only", []ID{ones(0, 4), {0: 1}}},
		{"carry out of the first 64-bit limb only", []ID{ones(0, 8), {0: 1}}},
		{"carry into a limb of ones whose own ID limb is all ones too", []ID{ones(0, 16), ones(8, 16), {0: 1}}},
		{"sum of three maxima wraps twice", []ID{ones(0, 32), ones(0, 31), ones(1, 32)}},
	} {
		var items []Item
		var sum Sum
		for _, id := range v.ids {
			items = append(items, Item{ID: id})
			sum.Add(&id)
		}
		fp := sum.Fingerprint(len(v.ids))
		if fp != slowFingerprint(items) {
			t.Errorf("%s: the definition says %x", v.name, slowFingerprint(items))
		}
		for _, id := range v.ids {
			sum.Sub(&id)
		}
		if sum != (Sum{}) {
			t.Errorf("%s: taking all away leaves %v", v.name, sum)
		}
		out = append(out, vector{v.name, hexes(v.ids), hex.EncodeToString(fp[:])})
	}
	golden(t, "fingerprints.json", out)
}

func TestGoldenBounds(t *testing.T) {
	type vector struct {
		Name         string
		PreviousTime uint64 // of the bound before, in the message
		Below, Above struct {
			Time uint64
			ID   string
		}
		Bound string
	}
	var out []vector
	for _, v := range []struct {
		name     string
		previous uint64
		p, q     Item
	}{
		{"times differ: no prefix", 0, Item{10, ID{9}}, Item{11, ID{3}}},
		{"times differ, same time as the bound before", 11, Item{10, ID{9}}, Item{11, ID{3}}},
		{"first byte differs", 0, Item{10, ID{9}}, Item{10, ID{10}}},
		{"second byte differs, time of two digits", 0, Item{1000, ID{9, 1}}, Item{1000, ID{9, 2}}},
		{"last byte differs", 0, Item{10, ID{31: 1}}, Item{10, ID{31: 2}}},
		{"greatest time there is", 0, Item{5, ID{}}, Item{Infinity - 1, ID{}}},
		{"greatest time, one step from the bound before", Infinity - 2, Item{5, ID{}}, Item{Infinity - 1, ID{}}},
		{"time 2^31, after which some implementations fail", 0, Item{1 << 30, ID{}}, Item{1 << 31, ID{}}},
	} {
		b := boundBetween(&v.p, &v.q)
		if v.p.Compare(b.Item()) >= 0 || v.q.Compare(b.Item()) < 0 {
			t.Errorf("%s: %v does not separate", v.name, b)
		}
		w := writer{time: v.previous}
		w.header(&b, modeSkip)
		x := vector{Name: v.name, PreviousTime: v.previous, Bound: hex.EncodeToString(w.buf[:len(w.buf)-1])}
		x.Below.Time, x.Below.ID = v.p.Time, hex.EncodeToString(v.p.ID[:])
		x.Above.Time, x.Above.ID = v.q.Time, hex.EncodeToString(v.q.ID[:])
		out = append(out, x)
	}
	golden(t, "bounds.json", out)
}

// Items in this file are numbers: item i has the ID SHA-256(i as 8 bytes
// big-endian), and the time i / timeStep.
func TestGoldenConversations(t *testing.T) {
	type vector struct {
		Name                           string
		TimeStep                       uint64
		Initiator, Responder           [][2]int // spans [begin, end)
		InitiatorFrame, ResponderFrame int
		Messages                       []string
		Have, Need                     []string
	}
	vectors := []vector{
		{Name: "both empty", TimeStep: 1},
		{Name: "the initiator has nothing", TimeStep: 1, Responder: [][2]int{{0, 3}}},
		{Name: "the responder has nothing", TimeStep: 1, Initiator: [][2]int{{0, 3}}},
		{Name: "lists: fewer than 32 items", TimeStep: 1, Initiator: [][2]int{{0, 20}}, Responder: [][2]int{{5, 31}}},
		{Name: "equal, 32 items: 16 fingerprints, answered by the version alone", TimeStep: 1, Initiator: [][2]int{{0, 32}}, Responder: [][2]int{{0, 32}}},
		{Name: "buckets of unequal size, differences at the ends", TimeStep: 1, Initiator: [][2]int{{1, 50}}, Responder: [][2]int{{0, 49}}},
		{Name: "one time for all: bounds with prefixes", TimeStep: 1000, Initiator: [][2]int{{0, 60}}, Responder: [][2]int{{0, 40}, {41, 60}}},
		{Name: "skips between mismatches are merged", TimeStep: 7, Initiator: [][2]int{{0, 10}, {11, 100}}, Responder: [][2]int{{0, 90}, {91, 100}}},
		{Name: "the responder cuts a list at its frame", TimeStep: 1, Responder: [][2]int{{0, 200}}, ResponderFrame: 4096},
		{Name: "a full list up to infinity is closed all the same", TimeStep: 1, Responder: [][2]int{{0, 122}}, ResponderFrame: 4096},
		{Name: "both frames are limited", TimeStep: 3, Initiator: [][2]int{{0, 150}, {300, 400}}, Responder: [][2]int{{100, 380}}, InitiatorFrame: 4096, ResponderFrame: 4096},
	}
	for i := range vectors {
		v := &vectors[i]
		index := func(spans [][2]int) Index {
			var items []Item
			for _, s := range spans {
				for n := s[0]; n < s[1]; n++ {
					items = append(items, Item{uint64(n) / v.TimeStep, numbered(n).ID})
				}
			}
			ix, err := NewVector(items)
			if err != nil {
				t.Fatal(err)
			}
			return ix
		}
		k, err := converse(index(v.Initiator), index(v.Responder), v.InitiatorFrame, v.ResponderFrame, nil)
		if err != nil {
			t.Fatal(v.Name, err)
		}
		for _, m := range k.messages {
			v.Messages = append(v.Messages, hex.EncodeToString(m))
		}
		v.Have, v.Need = hexes(k.have), hexes(k.need)
	}
	golden(t, "conversations.json", vectors)
}

func TestGoldenHostileMessages(t *testing.T) {
	id := strings.Repeat("ab", 32)
	fp := strings.Repeat("cd", 16)
	type vector struct{ Name, Message, Error string }
	vectors := []vector{
		{Name: "no bytes at all"},
		{Name: "version byte below the space of versions", Message: "5f"},
		{Name: "version byte above the space of versions", Message: "70"},
		{Name: "ends in a bound's time", Message: "6182"},
		{Name: "ends after a bound's time", Message: "6102"},
		{Name: "ends in a prefix", Message: "610202ab"},
		{Name: "ends before the mode", Message: "610200"},
		{Name: "ends in a fingerprint", Message: "61000001" + fp[2:]},
		{Name: "ends before a list's count", Message: "61000002"},
		{Name: "ends in a list", Message: "6100000202" + id + id[2:]},
		{Name: "list of 2^24 IDs and none there", Message: "6100000288808000"},
		{Name: "list of 2^28 IDs and none there", Message: "610000028180808000"},
		{Name: "list of 2^62 IDs and none there", Message: "61000002c08080808080808000"},
		{Name: "list count times 32 is 0 modulo 2^64", Message: "61000002888080808080808000"},
		{Name: "the same ID twice", Message: "6100000203" + id + strings.Repeat("ac", 32) + id},
		{Name: "prefix of 33 bytes", Message: "610221" + id + "ab00"},
		{Name: "prefix of 2^62 bytes", Message: "6102c080808080808080" + "00" + "00"},
		{Name: "prefix at infinity", Message: "610001ab00"},
		{Name: "varint begins with a zero digit", Message: "6180020000"},
		{Name: "varint of 2^64", Message: "6182808080808080808080000000"},
		{Name: "varint of 12 bytes", Message: "6181808080808080808080808080000000"},
		{Name: "mode 3", Message: "61020003"},
		{Name: "mode of two bytes that ends in 1", Message: "6102008101" + fp},
		{Name: "time passes 2^64", Message: "6181ffffffffffffffff7f0000" + "81ffffffffffffffff7f0000"},
		{Name: "time is infinity, not written as 0", Message: "6181ffffffffffffffff7f0000" + "020000" + "020000"},
		{Name: "prefix goes back within one time", Message: "610201ab000101aa00"},
		{Name: "no prefix after a prefix, same time", Message: "610201ab00010000"},
		{Name: "a range after infinity", Message: "61000000020000"},
		{Name: "infinity twice", Message: "61000000000000"},
	}
	full, _ := NewVector([]Item{numbered(1), numbered(2)})
	for i := range vectors {
		v := &vectors[i]
		msg, err := hex.DecodeString(v.Message)
		if err != nil {
			t.Fatal(v.Name, err)
		}
		_, err = Respond(full, msg, Options{})
		var wrong *MessageError
		if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.Offset > len(msg) {
			t.Errorf("%s: responder says %v", v.Name, err)
			continue
		}
		v.Error = err.Error()
		if _, _, err := stepOf(t, msg); err == nil || err.Error() != v.Error {
			t.Errorf("%s: initiator says %v", v.Name, err)
		}
	}
	golden(t, "hostile.json", vectors)
}

func TestVarintsAreTheirOwnInverse(t *testing.T) {
	for shift := range 64 {
		for _, v := range []uint64{1 << shift, 1<<shift - 1, math.MaxUint64 >> shift} {
			b := appendVarint(nil, v)
			r := reader{msg: b}
			if got, err := r.varint("x"); err != nil || got != v || r.at != len(b) || len(b) > maxVarint {
				t.Fatalf("%d: %x, %d, %v", v, b, got, err)
			}
		}
	}
}
