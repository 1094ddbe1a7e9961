package record

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// The standard library is the twin: one key and one message have one
// signature.
func TestSignaturesAreThoseOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		v, err := Sign(testSpace, key, Record{
			Kind: Entry, Time: 1, Lane: 1, Seq: 1, Path: "/a", Payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := ed25519.Sign(key, v.appendMessage(nil, testSpace)); !bytes.Equal(v.Signature[:], want) {
			t.Errorf("%x, want %x", v.Signature, want)
		}
	})
}

func TestSignKeepsNothingOfTheCaller(t *testing.T) {
	payload := []byte("payload")
	replaces := someReplaces(2)
	v, err := Sign(testSpace, testKey(0), Record{Kind: Doc, Time: 1, Lane: 1, Seq: 1, Path: "/a", Replaces: replaces, Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	payload[0] = 'X'
	replaces[0].Number = 99
	if !bytes.Equal(v.Append(nil), v.Bytes) {
		t.Error("changing the arguments changed the record")
	}
	again, err := Verify(testSpace, v.Bytes)
	if err != nil || again.ID != v.ID {
		t.Errorf("%v, %v", again, err)
	}
}

func TestSignRefusesWhatDecodeWould(t *testing.T) {
	own := LaneTag(Public(testKey(0)), 1)
	for _, r := range []Record{
		{},
		{Kind: Doc, Time: 1, Lane: 1, Seq: 1, Path: "/a", Replaces: []Replaced{{own, 1}}},
		{Kind: Entry, Time: 1, Lane: 1, Seq: 1, Path: "/a", Payload: make([]byte, MaxPayload+1)},
		{Kind: Entry, Time: 1, Lane: 1, Seq: 1, Path: "a"},
		{Kind: Control, Time: 1, Path: "/"},
		{Kind: Doc, Time: 1, Lane: 1, Seq: 1, Path: "/a", Replaces: someReplaces(65)},
	} {
		if v, err := Sign(testSpace, testKey(0), r); v != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestRestoreIsVerifyWithoutTheSignature(t *testing.T) {
	b := signedRecords(t, 1, 1)[0]
	verified, err := Verify(testSpace, b)
	if err != nil {
		t.Fatal(err)
	}
	restored, err := Restore(testSpace, b)
	if err != nil || restored.ID != verified.ID {
		t.Errorf("restored as %v, %v", restored, err)
	}
	if _, err := Restore(testSpace, b[:50]); !errors.Is(err, ErrMalformed) {
		t.Errorf("half a record: %v", err)
	}
}

func TestNamesReadBack(t *testing.T) {
	id := ID(hashOf("name"))
	if got, err := ParseID(id.String()); got != id || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseSpaceID(id.String()); got != SpaceID(id) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseKey(id.String()); got != Key(id) || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", id.String()[1:], id.String() + "00", "zz" + id.String()[2:]} {
		if _, err := ParseID(s); err == nil {
			t.Errorf("ParseID(%q) has no error", s)
		}
	}
	if low, high := (ID{1}), (ID{2}); low.Compare(high) >= 0 || high.Compare(low) <= 0 || low.Compare(low) != 0 {
		t.Error("IDs are ordered as numbers")
	}
	if low, high := (Key{1}), (Key{2}); low.Compare(high) >= 0 || high.Compare(low) <= 0 || low.Compare(low) != 0 {
		t.Error("keys are ordered by their bytes")
	}
	for r := Reader; r <= Admin; r++ {
		if got, err := ParseRole(r.String()); got != r || err != nil {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	if _, err := ParseRole("owner"); err == nil {
		t.Error("owner is no role")
	}
}
