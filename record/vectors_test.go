package record

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors; read the diff as a change of the protocol")

// The vector files hold one JSON object per line. docs/record.md describes
// them for other implementations, docs/verify_vectors.py reads them.

// recordVector is a line of records.jsonl: a record that holds.
type recordVector struct {
	About         string           `json:"about"`
	Space         string           `json:"space"`
	Kind          uint8            `json:"kind"`
	Deleted       bool             `json:"deleted,omitempty"`
	Blob          bool             `json:"blob,omitempty"`
	Time          uint64           `json:"time"`
	Lane          uint64           `json:"lane,string"` // 64 bits: more than some JSON readers keep
	Seq           uint32           `json:"seq"`
	Author        string           `json:"author"`
	Expires       uint64           `json:"expires,omitempty"`
	Replaces      []replacedVector `json:"replaces,omitempty"`
	Path          string           `json:"path"`
	PayloadLen    int              `json:"payloadLen"`
	PayloadSHA256 string           `json:"payloadSha256"`
	Control       *controlVector   `json:"control,omitempty"`
	Signature     string           `json:"signature"`
	ID            string           `json:"id"`
	Bytes         string           `json:"bytes"`
}

type replacedVector struct {
	Lane   string `json:"lane"`
	Number uint32 `json:"number"`
}

type controlVector struct {
	Type   uint8  `json:"type"`
	Under  string `json:"under"`
	Author string `json:"author,omitempty"` // grant
	Device string `json:"device,omitempty"`
	Role   uint8  `json:"role,omitempty"`
	Random string `json:"random,omitempty"`
	Target string `json:"target,omitempty"` // seal
	SealID string `json:"sealId,omitempty"`
	Part   uint16 `json:"part,omitempty"`
	Parts  uint16 `json:"parts,omitempty"`
	Listed int    `json:"listed,omitempty"`
	Body   string `json:"body,omitempty"` // label, unknown
}

// refusedVector is a line of refused.jsonl: bytes that hold in no space, or
// not in this one. Each breaks one rule only; the signatures of malformed
// ones hold, so that a reader who forgets the rule accepts them.
type refusedVector struct {
	About string `json:"about"`
	Space string `json:"space"`
	Error string `json:"error"`           // malformed or signature
	Field string `json:"field,omitempty"` // of a malformed one
	Bytes string `json:"bytes"`
}

func describe(t testing.TB, about string, space SpaceID, v *Verified) recordVector {
	t.Helper()
	payload := sha256.Sum256(v.Payload)
	out := recordVector{
		About: about, Space: space.String(), Kind: uint8(v.Kind), Deleted: v.Deleted, Blob: v.Blob,
		Time: v.Time, Lane: v.Lane, Seq: v.Seq, Author: v.Author.String(), Expires: v.Expires, Path: v.Path,
		PayloadLen: len(v.Payload), PayloadSHA256: hex.EncodeToString(payload[:]),
		Signature: hex.EncodeToString(v.Signature[:]), ID: v.ID.String(), Bytes: hex.EncodeToString(v.Bytes),
	}
	for _, r := range v.Replaces {
		out.Replaces = append(out.Replaces, replacedVector{hex.EncodeToString(r.Lane[:]), r.Number})
	}
	if v.Kind != Control {
		return out
	}
	c, err := ParseControl(v.Payload)
	if err != nil {
		t.Fatal(err)
	}
	out.Control = &controlVector{Type: uint8(c.Type), Under: c.Under.String(), Body: hex.EncodeToString(c.Label)}
	if g := c.Grant; g != nil {
		out.Control.Author, out.Control.Device = g.Author.String(), g.Device.String()
		out.Control.Role, out.Control.Random = uint8(g.Role), hex.EncodeToString(g.Random[:])
	}
	if s := c.Seal; s != nil {
		out.Control.Target, out.Control.SealID = s.Target.String(), hex.EncodeToString(s.SealID[:])
		out.Control.Part, out.Control.Parts, out.Control.Listed = s.Part, s.Parts, len(s.List)
	}
	return out
}

// golden reads a vector file, after writing it first under -update, and fails
// when it does not hold exactly what the code makes today.
func golden[T any](t *testing.T, name string, made []T) []T {
	t.Helper()
	file := filepath.Join("testdata", "vectors", name)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, v := range made {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./record -update writes it)", err)
	}
	if !bytes.Equal(stored, text.Bytes()) {
		t.Errorf("%s differs from what this code makes: a change of the protocol", name)
	}
	return readVectors[T](t, bytes.NewReader(stored))
}

func readVectors[T any](t testing.TB, r io.Reader) []T {
	t.Helper()
	var out []T
	dec := json.NewDecoder(bufio.NewReader(r))
	dec.DisallowUnknownFields()
	for {
		var v T
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
}

func TestRecordVectors(t *testing.T) {
	var made []recordVector
	for _, c := range recordCases() {
		v, err := Sign(testSpace, c.key, c.record)
		if err != nil {
			t.Fatalf("%s: %v", c.about, err)
		}
		made = append(made, describe(t, c.about, testSpace, v))
	}
	vectors := golden(t, "records.jsonl", made)
	var batch [][]byte
	for _, want := range vectors {
		space, err := ParseSpaceID(want.Space)
		if err != nil {
			t.Fatal(err)
		}
		b := unhex(t, want.Bytes)
		v, err := Verify(space, b)
		if err != nil {
			t.Errorf("%s: %v", want.About, err)
			continue
		}
		if got := describe(t, want.About, space, v); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: reads as\n%+v, not\n%+v", want.About, got, want)
		}
		if !bytes.Equal(v.Append(nil), b) || v.Size() != len(b) {
			t.Errorf("%s: is encoded in another way", want.About)
		}
		batch = append(batch, b)
	}
	requireSame(t, testSpace, batch)
	t.Logf("%d records", len(vectors))
}

func TestRefusedVectors(t *testing.T) {
	vectors := golden(t, "refused.jsonl", refusedCases(t))
	malformed := 0
	for _, want := range vectors {
		space, err := ParseSpaceID(want.Space)
		if err != nil {
			t.Fatal(err)
		}
		b := unhex(t, want.Bytes)
		_, err = Verify(space, b)
		var field *FieldError
		switch {
		case want.Error == "signature":
			if !errors.Is(err, ErrSignature) || errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", want.About, err)
			}
		case !errors.As(err, &field) || !errors.Is(err, ErrMalformed) || field.Reason == "":
			t.Errorf("%s: %v", want.About, err)
		case field.Field != want.Field:
			t.Errorf("%s: blames %s, not %s: %v", want.About, field.Field, want.Field, err)
		default:
			malformed++
		}
		requireSame(t, space, [][]byte{b})
	}
	t.Logf("%d malformed, %d with a wrong signature", malformed, len(vectors)-malformed)
}

func TestSignatureVectors(t *testing.T) {
	vectors := golden(t, "signatures.jsonl", signatureCases(t))
	e := newEquation(0)
	var terms []signatureVector
	for _, v := range vectors {
		key, message, signature := v.bytes(t)
		if got := VerifyMessage(key, message, signature); got != v.Valid {
			t.Errorf("%s: alone %v", v.About, got)
		}
		if e.add(key, message, &signature) {
			terms = append(terms, v)
		} else if v.Valid {
			t.Errorf("%s: refused by the equation", v.About)
		}
	}
	e.weigh()
	valid := 0
	for i, v := range terms {
		if v.Valid {
			valid++
		}
		if e.sum(i, i+1).IsSmallOrder() != v.Valid {
			t.Errorf("%s: the equation disagrees", v.About)
		}
	}
	if e.sum(0, len(terms)).IsSmallOrder() {
		t.Error("the equation of all holds in spite of wrong ones")
	}
	if !e.sum(0, 196).IsSmallOrder() {
		t.Error("the equation of the 196 of small order does not hold")
	}
	t.Logf("%d valid, %d not", valid, len(vectors)-valid)
}
