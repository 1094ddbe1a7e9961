package store

import (
	"testing"

	"anabranch/record"
	"anabranch/space"
)

func TestOutsideFindsByAnyPrefix(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	entry := func(n int, seq uint32) *record.Verified {
		return sign(t, sp, n, record.Record{Kind: record.Entry, Time: 1, Lane: 1, Seq: seq, Path: "/x"})
	}
	want := map[record.ID]Verdict{}
	for seq := range uint32(40) {
		member, held := entry(1, seq+1), entry(2, seq+1)
		commitOne(t, sp, member, held)
		want[held.ID] = space.Held
		if seq%2 == 0 {
			want[member.ID] = space.Dead
		}
	}
	before := snapshot(t, sp)
	for id, where := range want {
		n, err := before.Arrival(id)
		if err != nil || (n != 0) != (where == space.Dead) {
			t.Fatalf("arrival %d, %v of a record that is %v", n, err, where)
		}
		if where == space.Dead {
			r, err := before.Get(id)
			if err != nil {
				t.Fatal(err)
			}
			bits := make([]byte, r.Seq/8+1)
			bits[(r.Seq-1)/8] |= 1 << ((r.Seq - 1) % 8)
			commitOne(t, sp, sign(t, sp, 1, record.Record{Kind: record.Sweep, Time: 2, Lane: 1, Path: "/", Seq: 0, Payload: trimZeros(bits)}))
		}
	}
	v := snapshot(t, sp)
	for _, n := range []int{0, 1, 3, 4, 8, 11, 16, 256} {
		for id := range want {
			got := map[record.ID]Verdict{}
			for o, err := range v.Outside(id, n) {
				if err != nil {
					t.Fatal(err)
				}
				got[o.Record.ID] = o.Where
			}
			for other, where := range want {
				if common(id, other) >= n && got[other] != where {
					t.Fatalf("%d bits of %v: %v is %v, want %v", n, id, other, got[other], where)
				}
				if common(id, other) < n && got[other] != 0 {
					t.Fatalf("%d bits of %v: %v is found", n, id, other)
				}
			}
			for range v.Outside(id, n) {
				break // ending early is no error
			}
		}
	}
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return b
}
