package text

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"anabranch/crdt"
)

// plain is a delta as it is before it is deflated.
func plain(t testing.TB, body []byte) []byte {
	t.Helper()
	if body[0]&deflated == 0 {
		return body
	}
	in := decoder{b: body, at: 1}
	if err := in.unpack(); err != nil {
		t.Fatal(err)
	}
	return append([]byte{body[0] &^ deflated}, in.raw...)
}

// encodeAgain decodes a delta and writes it anew; ok is false for no delta.
func encodeAgain(t testing.TB, lane uint64, body []byte) (again []byte, ok bool) {
	d := New(0)
	if d.in.decode(d, lane, body) != nil {
		return nil, false
	}
	own := d.laneOf(lane)
	for _, name := range d.in.names {
		d.laneOf(name)
	}
	if err := d.in.decode(d, lane, body); err != nil {
		t.Fatalf("with lanes known: %v", err)
	}
	return d.encode(own, d.in.runs, d.in.claims, d.in.text()), true
}

func seedDeltas(f *testing.F) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 20 {
		d := scribble(f, rng, 1+rng.IntN(60))
		for _, body := range d.Flush(0) {
			f.Add(body)
		}
		e := New(8)
		for _, delta := range d.Since(crdt.Context{}) {
			mustApply(f, e, delta)
		}
		mustInsert(f, e, e.Len()/2, "foreign")
		mustDelete(f, e, 0, e.Len()/2)
		e.EndStep()
		e.Undo()
		for _, body := range e.Flush(0) {
			f.Add(body)
		}
	}
}

func FuzzDeltaHasOneEncoding(f *testing.F) {
	seedDeltas(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		again, ok := encodeAgain(t, 7, body)
		if ok && !bytes.Equal(plain(t, again), plain(t, body)) {
			t.Fatalf("%x is written again as %x", plain(t, body), plain(t, again))
		}
	})
}

func FuzzApplyKeepsTheDocumentWhole(f *testing.F) {
	seedDeltas(f)
	seeds, err := Seeds("what a text begins with, and goes on with: a hundred bytes, so that there are two seeds of it, ö", 64)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range seeds {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := scribble(t, rand.New(rand.NewPCG(9, 9)), 30)
		d.Flush(0)
		for _, lane := range []uint64{7, 8} {
			before, err := d.Save()
			if err != nil {
				t.Fatal(err)
			}
			held := d.Holds(lane, body)
			res, err := d.Apply(lane, body)
			if held != (err == nil && res.Status == Known) {
				t.Fatalf("held %v, and joined: %+v, %v", held, res, err)
			}
			check(t, d)
			after, _ := d.Save()
			var format *FormatError
			var fork *ForkError
			switch {
			case err != nil && !errors.As(err, &format) && !errors.As(err, &fork):
				t.Fatal(err)
			case (err != nil || res.Status == Known) && !bytes.Equal(before, after):
				t.Fatalf("%+v (%v) left a trace", res, err)
			}
			if err == nil {
				if res, err := d.Apply(lane, body); err != nil || res.Status == Applied {
					t.Fatalf("the second time: %+v, %v", res, err)
				}
			}
		}
		roundTrip(t, d)
	})
}

func FuzzStepsAreTakenUpWhole(f *testing.F) {
	for n := range 10 {
		f.Add(scribble(f, rand.New(rand.NewPCG(9, 9)), 5*n).Steps(5))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := scribble(t, rand.New(rand.NewPCG(9, 9)), 30)
		d.Flush(0)
		before := d.Steps(MaxSteps)
		if d.SetSteps(b) != nil {
			if !bytes.Equal(d.Steps(MaxSteps), before) {
				t.Fatal("steps that were refused left a trace")
			}
			return
		}
		again := d.Steps(MaxSteps)
		if err := d.SetSteps(again); err != nil || !bytes.Equal(d.Steps(MaxSteps), again) {
			t.Fatalf("%x: %v", again, err)
		}
		for d.Undo() {
		}
		for d.Redo() {
		}
		d.Flush(0)
		check(t, d)
		roundTrip(t, d)
	})
}

func FuzzStateHasOneEncoding(f *testing.F) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 20 {
		d := scribble(f, rng, 1+rng.IntN(40))
		d.Flush(0)
		b, err := d.Save()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[5:])
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		b := append([]byte{stateVersion, 0, 0, 0, 0}, rest...)
		binary.BigEndian.PutUint32(b[1:], crc32.Checksum(rest, castagnoli))
		d, err := Load(1, b)
		if err != nil {
			return
		}
		in := reader{b: rest}
		var z inflater
		parts := [3]packed{in.part(), in.part(), in.part()}
		c := d.columns()
		for i, got := range [][]byte{c.structure, c.live, c.dead} {
			want, err := parts[i].inflate(&z)
			if err == nil && i < 2 && !bytes.Equal(got, want) {
				t.Fatalf("part %d %x is saved as %x", i, want, got)
			}
		}
		check(t, d)
	})
}
