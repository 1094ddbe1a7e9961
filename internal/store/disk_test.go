package store

import (
	"errors"
	"math/rand/v2"
	"testing"

	"anabranch/record"
)

// TestADiskInMemoryKeepsWhatIsDurable: a cut forgets a batch whose sync was
// not awaited and nothing else; a copy is a store of its own; a full disk
// refuses what adds; and a seed gives the same lanes again.
func TestADiskInMemoryKeepsWhatIsDurable(t *testing.T) {
	play := func(seed uint64) uint64 {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := NewDisk()
		s, err := OpenOn(d, Options{Random: rng.Uint64})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := OpenOn(d, Options{}); !errors.Is(err, ErrLocked) {
			t.Fatalf("a second store: %v", err)
		}
		sp := createSpace(t, s)
		grant(t, sp, 6, record.Writer, "/")
		rs, err := sp.Write(ctx, key(6), 1, Draft{Kind: record.Entry, Path: "/a"})
		if err != nil {
			t.Fatal(err)
		}
		backup := d.Copy()
		d.SetFull(true)
		if _, err := sp.Write(ctx, key(6), 2, Draft{Kind: record.Entry, Path: "/b"}); !errors.Is(err, ErrFull) {
			t.Fatalf("a full disk: %v", err)
		}
		d.SetFull(false)
		if _, err := sp.Write(ctx, key(6), 2, Draft{Kind: record.Entry, Path: "/b"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.engine.apply([]change{{[]byte{0x7F}, []byte("not awaited")}}); err != nil {
			t.Fatal(err)
		}
		d.Cut()
		if _, err := sp.Write(ctx, key(6), 3, Draft{Kind: record.Entry, Path: "/late"}); err != nil {
			t.Fatal(err)
		}
		s.Close()
		lanes := map[uint64]bool{}
		for disk, want := range map[*Disk]uint64{d: 3, backup: 2} {
			again, err := OpenOn(disk, Options{Random: rng.Uint64})
			if err != nil {
				t.Fatal(err)
			}
			sp2, ok := again.Space(sp.id)
			if !ok {
				t.Fatal("the space is gone")
			}
			if b, _ := again.engine.get([]byte{0x7F}); b != nil {
				t.Error("what was not awaited is there")
			}
			v := snapshot(t, sp2)
			if v.Count() != want {
				t.Errorf("%d members, want %d", v.Count(), want)
			}
			v.Close()
			verifyClean(t, sp2)
			more, err := sp2.Write(ctx, key(6), 9, Draft{Kind: record.Entry, Path: "/c"})
			if err != nil {
				t.Fatal(err)
			}
			lanes[more[0].Lane] = true
			again.Close()
		}
		lanes[rs[0].Lane] = true
		if len(lanes) != 3 {
			t.Errorf("%d lanes, want three", len(lanes))
		}
		return rs[0].Lane
	}
	if a, b := play(1), play(1); a != b {
		t.Errorf("one seed, two lanes: %x and %x", a, b)
	}
	if play(1) == play(2) {
		t.Error("two seeds, one lane")
	}
}
