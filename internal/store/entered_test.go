package store

import (
	"fmt"
	"testing"

	"anabranch/record"
)

// TestEntered counts against the listing of what came since, at every
// version, with all departures known and with most of them forgotten.
func TestEntered(t *testing.T) {
	for _, departures := range []int{0, 4} {
		_, sp := memoryStore(t, Options{departures: departures})
		grant(t, sp, 1, record.Writer, "/")
		for i := range 40 {
			if _, err := sp.Write(ctx, key(1), uint64(i+1), Draft{Kind: record.Doc, Path: fmt.Sprintf("/%d", i%5)}); err != nil {
				t.Fatal(err)
			}
			if i%10 == 9 {
				if _, err := sp.Sweep(ctx, key(1), uint64(i+1)); err != nil {
					t.Fatal(err)
				}
			}
		}
		v := snapshot(t, sp)
		if forgotten := !v.Complete(1); forgotten != (departures > 0) {
			t.Fatalf("departures forgotten: %v", forgotten)
		}
		for version := range v.Version() + 2 {
			want := uint64(0)
			for a, err := range v.Since(version) {
				if err != nil {
					t.Fatal(err)
				}
				if a.Record != nil {
					want++
				}
			}
			if got, err := v.Entered(version); err != nil || got != want {
				t.Errorf("%d entered after version %d of %d, want %d (%v)", got, version, v.Version(), want, err)
			}
		}
	}
}
