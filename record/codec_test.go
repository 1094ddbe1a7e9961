package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// anyRecord draws well-formed records of every kind.
func anyRecord() *rapid.Generator[Record] {
	return rapid.Custom(func(t *rapid.T) Record {
		kind := Kind(rapid.OneOf(rapid.Uint8Range(1, 5), rapid.Uint8Range(1, 255)).Draw(t, "kind"))
		r := Record{
			Kind:   kind,
			Time:   rapid.Uint64Range(1, MaxTime-1).Draw(t, "time"),
			Author: Key(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "author")),
			Path:   anyPath().Draw(t, "path"),
		}
		copy(r.Signature[:], rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "signature"))
		switch kind {
		case Sweep:
			r.Lane = rapid.Uint64Min(1).Draw(t, "lane")
			r.Seq = rapid.Uint32Range(0, MaxBlock).Draw(t, "block")
			if bits := rapid.SliceOfN(rapid.Byte(), 0, maxDotBytes).Draw(t, "bits"); len(bits) > 0 {
				bits[len(bits)-1] |= 1
				r.Payload = bits
			}
			return r
		case Control:
			c := anyControl().Draw(t, "control")
			r.Payload = c.Payload()
			return r
		}
		r.Lane = rapid.Uint64Min(1).Draw(t, "lane")
		r.Seq = rapid.Uint32Min(1).Draw(t, "seq")
		r.Payload = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
		r.Blob = rapid.Bool().Draw(t, "blob")
		if rapid.Bool().Draw(t, "expiring") {
			r.Expires = rapid.Uint64Range(r.Time+1, MaxTime).Draw(t, "expires")
		}
		if kind == Doc {
			r.Deleted = rapid.Bool().Draw(t, "deleted")
			r.Replaces = anyReplaces(LaneTag(r.Author, r.Lane)).Draw(t, "replaces")
		}
		return r
	})
}

func anyPath() *rapid.Generator[string] {
	component := rapid.StringMatching(`[^/\x00-\x1f\x7f]{1,12}`).Filter(func(s string) bool { return s != "." && s != ".." })
	return rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(component, 0, 6).Draw(t, "components"), "/")
	})
}

func anyReplaces(own Tag) *rapid.Generator[[]Replaced] {
	return rapid.Custom(func(t *rapid.T) []Replaced {
		tags := rapid.SliceOfNDistinct(rapid.Uint64(), 0, MaxReplaces, rapid.ID[uint64]).Draw(t, "tags")
		slices.Sort(tags)
		var out []Replaced
		for _, tag := range tags {
			e := Replaced{Number: rapid.Uint32Min(1).Draw(t, "number")}
			binary.BigEndian.PutUint64(e.Lane[:], tag)
			if e.Lane != own {
				out = append(out, e)
			}
		}
		return out
	})
}

func anyControl() *rapid.Generator[ControlBody] {
	id := rapid.Custom(func(t *rapid.T) [32]byte {
		return [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
	})
	return rapid.Custom(func(t *rapid.T) ControlBody {
		c := ControlBody{Type: ControlType(rapid.OneOf(rapid.Uint8Range(0, 4), rapid.Uint8()).Draw(t, "type")), Under: id.Draw(t, "under")}
		random := [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "random"))
		switch c.Type {
		case GrantType:
			c.Grant = &Grant{Author: id.Draw(t, "author"), Device: id.Draw(t, "device"), Role: Role(rapid.Uint8Range(1, 3).Draw(t, "role")), Random: random}
		case SealType:
			parts := rapid.Uint16Min(1).Draw(t, "parts")
			c.Seal = &Seal{Target: id.Draw(t, "target"), SealID: random, Part: rapid.Uint16Range(1, parts).Draw(t, "part"), Parts: parts, List: []Prefix{}}
			for _, n := range rapid.SliceOfNDistinct(rapid.Uint64(), 0, 20, rapid.ID[uint64]).Draw(t, "list") {
				var p Prefix
				binary.BigEndian.PutUint64(p[:], n)
				c.Seal.List = append(c.Seal.List, p)
			}
			slices.SortFunc(c.Seal.List, func(a, b Prefix) int { return bytes.Compare(a[:], b[:]) })
		default:
			c.Label = rapid.SliceOf(rapid.Byte()).Draw(t, "label")
		}
		return c
	})
}

func TestEveryRecordReadsBackAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRecord().Draw(t, "record")
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		b := r.Append([]byte("before"))[len("before"):]
		if len(b) != r.Size() {
			t.Fatalf("Size says %d, there are %d", r.Size(), len(b))
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Payload) == 0 {
			r.Payload, got.Payload = nil, nil
		}
		if !reflect.DeepEqual(got, r) {
			t.Fatalf("reads as\n%+v, not\n%+v", got, r)
		}
	})
}

func TestEveryControlBodyReadsBackAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := anyControl().Draw(t, "control")
		got, err := ParseControl(c.Payload())
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Label) == 0 {
			c.Label, got.Label = nil, nil
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("reads as\n%+v, not\n%+v", got, c)
		}
	})
}

// A grant or seal with a forgotten Type must not become a control record that
// stands and does nothing.
func TestBodyDecidesTheControlType(t *testing.T) {
	for _, c := range []ControlBody{
		{Grant: &Grant{Role: Reader}}, {Type: LabelType, Grant: &Grant{Role: Reader}}, {Seal: &Seal{Part: 1, Parts: 1}},
	} {
		got, err := ParseControl(c.Payload())
		if err != nil || (got.Grant == nil) != (c.Grant == nil) || (got.Seal == nil) != (c.Seal == nil) {
			t.Errorf("%+v reads as %+v, %v", c, got, err)
		}
	}
	c := ControlBody{Type: GrantType}
	if _, err := ParseControl(c.Payload()); !errors.Is(err, ErrMalformed) {
		t.Errorf("a grant type without a grant: %v", err)
	}
}

func TestDecodeDoesNotReadPastThePayload(t *testing.T) {
	b := signedRecords(t, 1, 1)[0]
	r, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if cap(r.Payload) != len(r.Payload) {
		t.Error("an append to the payload would write over the signature")
	}
}

// requireCanonical is what every decoder owes for any input.
func requireCanonical(t *testing.T, b []byte) {
	t.Helper()
	r, err := Decode(b)
	if err != nil {
		var field *FieldError
		if !errors.As(err, &field) || field.Field == "" || field.Reason == "" || !errors.Is(err, ErrMalformed) {
			t.Fatalf("refused without field and reason: %v", err)
		}
		return
	}
	if err := r.Check(); err != nil {
		t.Fatalf("accepted and does not pass Check: %v", err)
	}
	if again := r.Append(nil); !bytes.Equal(again, b) {
		t.Fatalf("accepted\n%x, which is written as\n%x", b, again)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range recordCases() {
		if c.record.Size() < 1500 {
			f.Add(c.record.Append(nil))
		}
	}
	for _, v := range refusedCases(f) {
		if len(v.Bytes) < 3000 {
			f.Add(unhex(f, v.Bytes))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		requireCanonical(t, b)
		// Mutants rarely keep the two lengths right: mend them, so that
		// what lies behind them is reached.
		if len(b) > minSize {
			mended := mendLengths(b)
			requireCanonical(t, mended)
		}
	})
}

// mendLengths rewrites payloadLen to fit what is there.
func mendLengths(b []byte) []byte {
	b = slices.Clone(b)
	rest := len(b) - minSize - int(binary.BigEndian.Uint16(b[3:]))
	if b[2]&flagExpires != 0 {
		rest -= 8
	}
	if at := headerSize + 8*int(b[2]&flagExpires)/flagExpires; b[2]&flagReplaces != 0 && at < len(b) {
		rest -= 1 + 12*int(b[at])
	}
	if rest >= 0 {
		binary.BigEndian.PutUint32(b[5:], uint32(rest))
	}
	return b
}

func FuzzParseControl(f *testing.F) {
	for _, c := range recordCases() {
		if c.record.Kind == Control && len(c.record.Payload) < 1500 {
			f.Add(c.record.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := ParseControl(payload)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if (c.Grant != nil) != (c.Type == GrantType) || (c.Seal != nil) != (c.Type == SealType) {
			t.Fatalf("type %d with %+v", c.Type, c)
		}
		if again := c.Payload(); !bytes.Equal(again, payload) {
			t.Fatalf("accepted\n%x, which is written as\n%x", payload, again)
		}
	})
}
