package session

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"anabranch/record"
)

// anyRecord draws a well-formed record, unsigned.
func anyRecord(t *rapid.T, authors []record.Key) record.Record {
	r := record.Record{
		Kind:   record.Kind(rapid.SampledFrom([]int{1, 1, 2, 2, 3, 4, 5, 6, 255}).Draw(t, "kind")),
		Time:   rapid.Uint64Range(1, record.MaxTime).Draw(t, "time"),
		Lane:   rapid.Uint64Range(1, 5).Draw(t, "lane"),
		Seq:    rapid.Uint32Range(1, 1<<32-1).Draw(t, "seq"),
		Author: rapid.SampledFrom(authors).Draw(t, "author"),
		Path:   rapid.SampledFrom([]string{"/", "/a", "/a/b", "/a/bc", "/é/x", "/a/b/c/d"}).Draw(t, "path"),
	}
	copy(r.Signature[:], rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "signature"))
	switch r.Kind {
	case record.Control:
		r.Lane, r.Seq = 0, 0
		r.Payload = append(make([]byte, 33), "label"...)
		r.Payload[0] = byte(record.LabelType)
	case record.Sweep:
		r.Seq %= record.MaxBlock + 1
		r.Payload = []byte{0, 7}
	default:
		r.Payload = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload")
		r.Blob = rapid.Bool().Draw(t, "blob")
		if rapid.Bool().Draw(t, "expires") && r.Time < record.MaxTime {
			r.Expires = rapid.Uint64Range(r.Time+1, record.MaxTime).Draw(t, "expiry")
		}
	}
	if r.Kind == record.Doc {
		r.Deleted = rapid.Bool().Draw(t, "deleted")
		for i := range rapid.IntRange(0, 3).Draw(t, "replaces") {
			r.Replaces = append(r.Replaces, record.Replaced{Lane: record.Tag{byte(i)}, Number: uint32(i + 1)})
		}
	}
	return r
}

func TestAStreamCutAnywhereGivesTheSameRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		authors := []record.Key{{1}, {2}, {3}}
		var e encoder
		var stream []byte
		var want [][]byte
		for range rapid.IntRange(1, 30).Draw(t, "records") {
			r := anyRecord(t, authors)
			stream = e.append(stream, &r)
			want = append(want, r.Append(nil))
		}
		var d decoder
		var got [][]byte
		cuts := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "cuts"), 0))
		for rest := stream; len(rest) > 0; {
			n := 1 + cuts.IntN(min(len(rest), 500))
			records, err := d.write(rest[:n])
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, records...)
			rest = rest[n:]
		}
		if len(got) != len(want) || d.pending() {
			t.Fatalf("%d records of %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("record %d:\n%x\n%x", i, got[i], want[i])
			}
		}
	})
}

// TestTheTableOfLanesGoesRound has more lanes than slots.
func TestTheTableOfLanesGoesRound(t *testing.T) {
	var e encoder
	var d decoder
	for i := range uint32(5 * laneSlots) {
		lane := uint64(i%(laneSlots+7)) + 1
		if i > 3*laneSlots {
			lane = uint64(i%3) + 1
		}
		r := record.Record{Kind: record.Entry, Time: 5, Lane: lane, Seq: i + 1, Author: record.Key{1}, Path: "/"}
		got, err := d.write(e.append(nil, &r))
		if err != nil || len(got) != 1 || !bytes.Equal(got[0], r.Append(nil)) {
			t.Fatalf("record %d: %v", i, err)
		}
		if len(e.lanes.keys) > laneSlots || len(d.lanes.slots) != len(e.lanes.slots) {
			t.Fatalf("%d lanes", len(e.lanes.keys))
		}
	}
}

func TestAStreamSavesWhatRepeats(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 1000)
	var e encoder
	coded, canonical, content := 0, 0, 0
	for _, r := range rs {
		coded += len(e.append(nil, &r.Record))
		canonical += len(r.Bytes)
		content += len(r.Payload)
	}
	t.Logf("%.1f bytes a record, canonical %.1f, payload %.1f", float64(coded)/1000, float64(canonical)/1000, float64(content)/1000)
	if coded-content > 75*1000 {
		t.Errorf("%d bytes a record beside the payload", (coded-content)/1000)
	}
}

// TestStreamsThatAreRefused changes the coding of one record, which follows
// another, in every way that is not it.
func TestStreamsThatAreRefused(t *testing.T) {
	first := record.Record{Kind: record.Entry, Time: 5, Lane: 3, Seq: 1, Author: record.Key{1}, Path: "/ab", Payload: []byte("x")}
	lane := append(append([]byte{0}, first.Author[:]...), 0, 0, 0, 0, 0, 0, 0, 3)
	other := append(append([]byte{0}, 2), make([]byte, 39)...)
	path := []byte{3, 0} // as before
	for name, test := range map[string]struct {
		says string
		body [][]byte
	}{
		"a good one":                {"", [][]byte{{0}, {1}, {0}, {0}, path}},
		"a good one of a new lane":  {"", [][]byte{{0}, other, {4}, {0}, path}},
		"shape of tomorrow":         {"shape", [][]byte{{4}, {1}, {0}, {0}, path}},
		"kind that is not new":      {"kind spelled out", [][]byte{{1, 1}, {1}, {0}, {0}, path}},
		"flags of 0":                {"flags 0x00", [][]byte{{2, 0}, {1}, {0}, {0}, path}},
		"flags of tomorrow":         {"flags 0x10", [][]byte{{2, 16}, {1}, {0}, {0}, path}},
		"a slot that is empty":      {"lane 1 of 1", [][]byte{{0}, {2}, {0}, {0}, path}},
		"a slot out of range":       {"is above 1024", [][]byte{{0}, {0xFF, 0x7F}, {0}, {0}, path}},
		"a lane that is known":      {"lane spelled out", [][]byte{{0}, lane, {0}, {0}, path}},
		"number below 0":            {"number -1", [][]byte{{0}, {1}, {5}, {0}, path}},
		"number above 32 bits":      {"is above", [][]byte{{0}, {1}, {0xFF, 0xFF, 0xFF, 0xFF, 0x7F}, {0}, path}},
		"time below 0":              {"time -1", [][]byte{{0}, {1}, {0}, {11}, path}},
		"time above 53 bits":        {"time", [][]byte{{0}, {1}, {0}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20}, path}},
		"time in a longer spelling": {"shortest form", [][]byte{{0}, {1}, {0}, {0x80, 0}, path}},
		"replaces of 0 entries":     {"replaces of 0", [][]byte{{2, 8}, {1}, {0}, {0}, {0}, path}},
		"replaces of 65 entries":    {"replaces of 65", [][]byte{{2, 8}, {1}, {0}, {0}, {65}, path}},
		"replaces cut off":          {"replaces of 30", [][]byte{{2, 8}, {1}, {0}, {0}, {30}, path}},
		"shares more than there is": {"is above 3", [][]byte{{0}, {1}, {0}, {0}, {4, 0}}},
		"shares more than it says":  {"shares more", [][]byte{{0}, {1}, {0}, {0}, {1, 1, 'a'}}},
		"a path that is cut off":    {"a path of", [][]byte{{0}, {1}, {0}, {0}, {0, 0x80, 2}}},
		"a path too long":           {"is above 1024", [][]byte{{0}, {1}, {0}, {0}, {0, 0x81, 8}}},
	} {
		t.Run(name, func(t *testing.T) {
			var e encoder
			var d decoder
			if _, err := d.write(e.append(nil, &first)); err != nil {
				t.Fatal(err)
			}
			body := bytes.Join(append(test.body, make([]byte, 64)), nil)
			got, err := d.write(append([]byte{byte(len(body))}, body...))
			switch {
			case test.says == "" && (err != nil || len(got) != 1):
				t.Errorf("%d records, %v", len(got), err)
			case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)):
				t.Errorf("%v", err)
			}
		})
	}
	for name, piece := range map[string][]byte{
		"too short":    {69},
		"too long":     {0xFF, 0xFF, 0x7F},
		"long-winded":  {0x80, 0},
		"without end":  bytes.Repeat([]byte{0xFF}, 11),
		"no signature": append([]byte{70, 2, 2}, make([]byte, 69)...),
	} {
		var d decoder
		if got, err := d.write(piece); err == nil {
			t.Errorf("length %s: %d records", name, len(got))
		}
	}
}

// FuzzBatch: what the decoder accepts encodes to the same stream.
func FuzzBatch(f *testing.F) {
	w := newWorld()
	var e encoder
	var b []byte
	for _, r := range append(w.entries(w.root, 1, 3), w.grant(keyOf("ada"), record.Writer, 3), w.sweep(w.root, 1, 3, 9)) {
		b = e.append(b, &r.Record)
	}
	f.Add(b, 7)
	f.Add([]byte{}, 1)
	f.Add([]byte{0xFF, 0xFF, 0x03}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		if cut < 1 {
			cut = 1
		}
		var d decoder
		var got [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			records, err := d.write(rest[:n])
			got = append(got, records...)
			if err != nil {
				return
			}
			rest = rest[n:]
		}
		if len(d.buf) > maxCoded+10 {
			t.Fatalf("%d bytes kept", len(d.buf))
		}
		var e encoder
		var again []byte
		for _, raw := range got {
			r, err := record.Decode(raw)
			if err != nil {
				return // the verifier's business
			}
			again = e.append(again, &r)
		}
		if done := stream[:len(stream)-len(d.buf)]; !bytes.Equal(again, done) {
			t.Fatalf("encodes to\n%x, came as\n%x", again, done)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	w := newWorld()
	rs := w.entries(w.root, 1, 500)
	var size int64
	for _, r := range rs {
		size += int64(len(r.Bytes))
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(size)
		var buf []byte
		for b.Loop() {
			var e encoder
			buf = buf[:0]
			for _, r := range rs {
				buf = e.append(buf, &r.Record)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(size)
		var e encoder
		var buf []byte
		for _, r := range rs {
			buf = e.append(buf, &r.Record)
		}
		for b.Loop() {
			var d decoder
			if got, err := d.write(buf); err != nil || len(got) != len(rs) {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
	})
}
