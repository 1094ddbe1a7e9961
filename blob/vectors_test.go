package blob

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"lukechampine.com/blake3"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json")

// vectors is testdata/vectors.json. The content of a vector of n bytes is
// byte i = i mod 251, as in the vectors of BLAKE3.
type vectors struct {
	About   string        `json:"about"`
	Blobs   []blobVector  `json:"blobs"`
	Slices  []sliceVector `json:"slices"`
	Refs    []refVector   `json:"refs"`
	Refused []refVector   `json:"refused"`
}

type blobVector struct {
	Size    int    `json:"size"`
	Hash    string `json:"hash"`
	Parents string `json:"parents"` // the file of them, post-order
}

type sliceVector struct {
	Size   int    `json:"size"`
	Begin  uint64 `json:"begin"`
	End    uint64 `json:"end"`
	Bytes  int    `json:"bytes"`
	Digest string `json:"digest"` // BLAKE3 of the slice
	Parts  string `json:"parts"`  // p and g, with the index of each
}

type refVector struct {
	What    string `json:"what"`
	Payload string `json:"payload"`
	Name    string `json:"name,omitempty"`
	Mode    uint16 `json:"mode,omitempty"`
	Media   string `json:"media,omitempty"`
}

func counted(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func parts(name Name, span Span) string {
	var out []string
	Walk(name, span, func(p Part) bool {
		kind := "p"
		if p.Group {
			kind = "g"
		}
		out = append(out, kind+itoa(p.Index))
		return true
	})
	return strings.Join(out, " ")
}

func itoa(n uint64) string { b, _ := json.Marshal(n); return string(b) }

func TestVectors(t *testing.T) {
	const file = "testdata/vectors.json"
	if *update {
		v := vectors{About: "content of n bytes: byte i is i mod 251; hexadecimal; see docs/blob.md"}
		for _, n := range []int{0, 1, 1024, 1025, 16384, 16385, 32768, 32769, 65536, 102400, 250000} {
			name, pairs := build(counted(n))
			v.Blobs = append(v.Blobs, blobVector{n, name.Hash.String(), hex.EncodeToString(pairs)})
		}
		for _, s := range []sliceVector{{Size: 1, End: 1}, {Size: 16385, Begin: 1, End: 2}, {Size: 102400, Begin: 0, End: 7}, {Size: 102400, Begin: 2, End: 5}, {Size: 250000, Begin: 15, End: 16}, {Size: 250000, Begin: 6, End: 11}} {
			c := counted(s.Size)
			name, pairs := build(c)
			b := slice(t, name, c, pairs, Span{s.Begin, s.End})
			sum := blake3.Sum256(b)
			s.Bytes, s.Digest, s.Parts = len(b), hex.EncodeToString(sum[:]), parts(name, Span{s.Begin, s.End})
			v.Slices = append(v.Slices, s)
		}
		photo := Ref{Sum(counted(250000)), 0o644, "image/jpeg"}
		for _, r := range []Ref{photo, {Name: Sum(nil)}, {Name: Sum(counted(70000)), Mode: 0o755}} {
			v.Refs = append(v.Refs, refVector{"", hex.EncodeToString(r.Encode()), r.Name.String(), r.Mode, r.MediaType})
		}
		good := photo.Encode()
		bad := func(what string, change func(b []byte) []byte) {
			v.Refused = append(v.Refused, refVector{What: what, Payload: hex.EncodeToString(change(bytes.Clone(good)))})
		}
		bad("empty", func(b []byte) []byte { return nil })
		bad("cut short", func(b []byte) []byte { return b[:43] })
		bad("version 2", func(b []byte) []byte { b[0] = 2; return b })
		bad("a size above 2^48", func(b []byte) []byte { b[33] = 1; return b })
		bad("the set-user-id bit", func(b []byte) []byte { b[41] |= 8; return b })
		bad("a byte behind the media type", func(b []byte) []byte { return append(b, 0) })
		bad("a media type cut short", func(b []byte) []byte { return b[:len(b)-1] })
		bad("a media type in upper case", func(b []byte) []byte { b[len(b)-1] = 'G'; return b })
		bad("a media type without a slash", func(b []byte) []byte { b[49] = 'x'; return b })
		bad("a media type with a parameter", func(b []byte) []byte { b[len(b)-1] = ';'; return b })
		out, err := json.MarshalIndent(v, "", " ")
		if err == nil {
			err = os.WriteFile(file, append(out, '\n'), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	var v vectors
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Blobs) == 0 || len(v.Slices) == 0 || len(v.Refs) == 0 || len(v.Refused) == 0 {
		t.Fatal("vectors are missing")
	}
	for _, want := range v.Blobs {
		name, pairs := build(counted(want.Size))
		if name.Hash.String() != want.Hash || hex.EncodeToString(pairs) != want.Parents {
			t.Errorf("%d bytes: %v", want.Size, name)
		}
	}
	for _, want := range v.Slices {
		c := counted(want.Size)
		name, pairs := build(c)
		b := slice(t, name, c, pairs, Span{want.Begin, want.End})
		sum := blake3.Sum256(b)
		if len(b) != want.Bytes || hex.EncodeToString(sum[:]) != want.Digest || parts(name, Span{want.Begin, want.End}) != want.Parts {
			t.Errorf("%d bytes, groups %d to %d: %x", want.Size, want.Begin, want.End, sum)
		}
	}
	for _, want := range v.Refs {
		payload, _ := hex.DecodeString(want.Payload)
		r, err := DecodeRef(payload)
		if err != nil || r.Name.String() != want.Name || r.Mode != want.Mode || r.MediaType != want.Media || !bytes.Equal(r.Encode(), payload) {
			t.Errorf("%s: %+v, %v", want.Payload, r, err)
		}
	}
	for _, want := range v.Refused {
		payload, err := hex.DecodeString(want.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeRef(payload); !errors.Is(err, ErrRef) {
			t.Errorf("%s is accepted: %v", want.What, err)
		}
	}
}
