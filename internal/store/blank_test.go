package store

import (
	"fmt"
	"sync"
	"testing"

	"anabranch/record"
)

// A filter may say of a path that it was there, never that it was not.
func TestFilterForgetsNoPath(t *testing.T) {
	f := newFilter(20_000)
	f.ready.Store(true)
	path := func(i int) []byte { return fmt.Appendf(nil, "/p/%d", i) }
	var group sync.WaitGroup
	for part := range 4 {
		group.Go(func() {
			for i := part; i < 20_000; i += 4 {
				f.note(path(i))
			}
		})
	}
	group.Wait()
	wrong := 0
	for i := range 40_000 {
		switch lacks := f.lacks(path(i)); {
		case i < 20_000 && (lacks || f.note(path(i))):
			t.Fatalf("%s is forgotten", path(i))
		case i >= 20_000 && !lacks:
			wrong++
		}
	}
	if wrong > 400 {
		t.Errorf("%d of 20 000 other paths seem to be there", wrong)
	}
}

// What is written at a path follows what was there, whether that came before
// the filter, while it was filled, or after.
func TestWritesFollowWhatStoodThere(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		grant(t, sp, 2, record.Writer, "/")
		write := func(author, begin, end int, now uint64) (out []*record.Verified) {
			for ; begin < end; begin += 100 {
				var ds []Draft
				for i := begin; i < begin+100; i++ {
					ds = append(ds, Draft{Kind: record.Doc, Path: fmt.Sprintf("/p/%d", i)})
				}
				rs, err := sp.Write(t.Context(), key(author), now, ds...)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, rs...)
			}
			return out
		}
		first := write(1, 0, 3*filterMisses, 1000)
		s.tasks.Wait()
		if _, many := s.engine.(gatherer); many && (sp.blanks.filter == nil || !sp.blanks.filter.ready.Load() || !sp.blanks.has("/never")) {
			t.Error("no filter was made")
		}
		first = append(first, write(1, 3*filterMisses, 4*filterMisses, 1000)...)
		for i, r := range write(2, 0, 4*filterMisses, 1) {
			if r.Time <= first[i].Time || len(r.Replaces) != 1 || r.Replaces[0].Number != first[i].Seq {
				t.Fatalf("%s: time %d after %d, replaces %v", r.Path, r.Time, first[i].Time, r.Replaces)
			}
		}
		verifyClean(t, sp)
	})
}
