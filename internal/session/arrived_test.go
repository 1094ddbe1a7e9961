package session

import (
	"math/rand/v2"
	"testing"

	"anabranch/record"
)

// TestArrivedIsASet compares it with a map, with IDs that begin alike.
func TestArrivedIsASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var a arrived
	set := make(map[record.ID]uint64)
	for range 20_000 {
		r := &record.Verified{Record: record.Record{Time: rng.Uint64()}}
		r.ID[0], r.ID[7], r.ID[8], r.ID[31] = byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())%4, byte(rng.Uint32())%8
		_, want := set[r.ID]
		if a.has(r.ID) != want {
			t.Fatalf("%v: has is %v", r.ID, !want)
		}
		if !want {
			set[r.ID] = r.Time
			a.add(r)
		}
	}
	items, ids := a.items(), a.ids()
	if len(a.clash) == 0 || a.len() != len(set) || len(items) != len(set) || len(ids) != len(set) {
		t.Fatalf("%d, %d and %d of %d, %d alike", a.len(), len(items), len(ids), len(set), len(a.clash))
	}
	for i, x := range items {
		if time, ok := set[x.ID]; !ok || time != x.Time || ids[i] != x.ID {
			t.Fatalf("item %d is %v", i, x)
		}
		delete(set, x.ID)
	}
}
