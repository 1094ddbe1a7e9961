package store

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/merkle"
	"anabranch/record"
	"anabranch/space"
)

// engines runs a test on both engines.
func engines(t *testing.T, fn func(t *testing.T, s *Store)) {
	t.Run("disk", func(t *testing.T) {
		s, err := Open(t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		fn(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("memory", func(t *testing.T) {
		s, err := OpenMemory(Options{})
		if err != nil {
			t.Fatal(err)
		}
		fn(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestWriteReadOverwriteSweep(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		var last *record.Verified
		for i := range 5 {
			rs, err := sp.Write(ctx, key(1), 100, Draft{Kind: record.Doc, Path: "/a", Payload: []byte{byte(i)}})
			if err != nil {
				t.Fatal(err)
			}
			last = rs[0]
			if last.Time != uint64(100+i) || last.Seq != uint32(i+1) || len(last.Replaces) != 0 {
				t.Fatalf("write %d: time %d, number %d, replaces %v", i, last.Time, last.Seq, last.Replaces)
			}
		}
		reading, err := snapshot(t, sp).Resolve("/a", 1000)
		if err != nil || reading.Doc == nil || reading.Doc.ID != last.ID || len(reading.Conflicts) != 0 || len(reading.Replaced) != 4 {
			t.Fatalf("reading %+v, %v", reading, err)
		}
		if sp.PendingKills() != 4 {
			t.Fatalf("%d pending kills", sp.PendingKills())
		}
		verifyClean(t, sp)
		killed, err := sp.Sweep(ctx, key(1), 200)
		if err != nil || killed != 4 || sp.PendingKills() != 0 {
			t.Fatalf("killed %d, %d pending, %v", killed, sp.PendingKills(), err)
		}
		v := snapshot(t, sp)
		if v.Count() != 3 || v.HeldStats().Trash != 4 { // grant, doc, sweep
			t.Fatalf("count %d, %+v", v.Count(), v.HeldStats())
		}
		docs, err := v.Docs("/a")
		if err != nil || len(docs) != 1 || docs[0].ID != last.ID {
			t.Fatalf("docs %v, %v", docs, err)
		}
		verifyClean(t, sp)
	})
}

func TestWriteWithoutAuthorityLeavesNothing(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/mine")
		before := snapshot(t, sp)
		_, err := sp.Write(ctx, key(1), 100, Draft{Kind: record.Entry, Path: "/mine/x"}, Draft{Kind: record.Entry, Path: "/theirs"})
		if !errors.Is(err, ErrNotAuthorised) {
			t.Fatalf("error %v", err)
		}
		if _, err := sp.Issue(ctx, key(2), 100, "/", grantBody(record.ID{}, 3, record.Writer, 0)); !errors.Is(err, ErrNotAuthorised) {
			t.Fatalf("error %v", err)
		}
		after := snapshot(t, sp)
		if after.Version() != before.Version() || after.HeldStats().Held != 0 {
			t.Fatalf("version %d, then %d; %+v", before.Version(), after.Version(), after.HeldStats())
		}
		verifyClean(t, sp)
	})
}

func TestRemoveEntry(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		rs, err := sp.Write(ctx, key(1), 100, Draft{Kind: record.Entry, Path: "/log"}, Draft{Kind: record.Doc, Path: "/doc"})
		if err != nil {
			t.Fatal(err)
		}
		if err := sp.Remove(ctx, key(1), 200, rs[1].ID); !errors.Is(err, ErrNotRemovable) {
			t.Fatalf("a doc: %v", err)
		}
		if err := sp.Remove(ctx, key(1), 200, rs[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := sp.Remove(ctx, key(1), 200, rs[0].ID); !errors.Is(err, ErrNotFound) {
			t.Fatalf("again: %v", err)
		}
		if _, err := snapshot(t, sp).Get(rs[0].ID); !errors.Is(err, ErrNotFound) {
			t.Fatalf("get: %v", err)
		}
		res, err := sp.Commit(ctx, rs)
		if err != nil || res.Verdicts[0] != space.Dead || res.Verdicts[1] != Known {
			t.Fatalf("%+v, %v", res, err)
		}
		verifyClean(t, sp)
	})
}

func TestFacts(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		for _, k := range []string{"a/1", "a/2", "b"} {
			if err := s.SetFact(ctx, k, []byte(k)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SetFact(ctx, "a/2", nil); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Fact("a/1"); err != nil || !ok || string(v) != "a/1" {
			t.Fatalf("%q %v %v", v, ok, err)
		}
		if m, err := s.Facts("a/"); err != nil || len(m) != 1 {
			t.Fatalf("%v %v", m, err)
		}
		sp := createSpace(t, s)
		g := grantBody(record.ID{}, 1, record.Writer, 0)
		if _, err := sp.IssueWithFacts(ctx, key(rootKey), 1, "/", []FactOp{{Key: "b", Value: []byte("used"), Check: true}}, g); !errors.Is(err, ErrFactChanged) {
			t.Fatalf("%v", err)
		}
		if snapshot(t, sp).Count() != 0 {
			t.Fatal("a refused request left a grant")
		}
		if _, err := sp.IssueWithFact(ctx, key(rootKey), 1, "/", "b", []byte("used"), g); err != nil {
			t.Fatal(err)
		}
		if v, _, _ := s.Fact("b"); string(v) != "used" {
			t.Fatalf("%q", v)
		}
	})
}

func TestClosedAndCancelled(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := s.SetFact(done, "x", []byte("y")); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		v := snapshot(t, sp)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Docs("/"); !errors.Is(err, ErrClosed) {
			t.Fatalf("%v", err)
		}
		if _, err := sp.Snapshot(); !errors.Is(err, ErrClosed) {
			t.Fatalf("%v", err)
		}
		if err := s.SetFact(ctx, "x", nil); !errors.Is(err, ErrClosed) {
			t.Fatalf("%v", err)
		}
	})
}

// TestMembersAreThoseOfGet asks for members, dead records and strangers
// together, in any order and twice.
func TestMembersAreThoseOfGet(t *testing.T) {
	s, err := Open("store", tiny(Options{FS: vfs.NewMem()}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	grant(t, sp, 6, record.Writer, "/")
	ids := []record.ID{{1}, {}}
	for i := range 20 {
		rs, err := sp.Write(ctx, key(6), uint64(i), Draft{Kind: record.Entry, Path: "/log"}, Draft{Kind: record.Doc, Path: "/doc"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, rs[0].ID, rs[1].ID, rs[0].ID)
	}
	sweeps, err := sp.Sweep(ctx, key(6), 30)
	if err != nil || sweeps == 0 {
		t.Fatal(sweeps, err)
	}
	v := snapshot(t, sp)
	got, err := v.Members(ids)
	if err != nil {
		t.Fatal(err)
	}
	n := v.Index().Len()
	for _, place := range [][2]int{{0, n}, {n / 3, n / 2}, {n - 1, n}, {n, n}} {
		rs, err := v.MembersAt(place[0], place[1])
		if err != nil || len(rs) != place[1]-place[0] {
			t.Fatalf("positions %v: %d records, %v", place, len(rs), err)
		}
		for i, r := range rs {
			if x, err := v.Index().At(place[0] + i); err != nil || x.ID != merkle.ID(r.ID) {
				t.Fatalf("position %d: %v, %v", place[0]+i, r.ID, err)
			}
		}
	}
	members, gone := 0, 0
	for i, id := range ids {
		want, err := v.Get(id)
		switch {
		case errors.Is(err, ErrNotFound) && got[i] == nil:
			gone++
		case err == nil && got[i] != nil && string(got[i].Bytes) == string(want.Bytes) && got[i].ID == id:
			members++
		default:
			t.Errorf("%v: %v and %v, %v", id, got[i], want, err)
		}
	}
	if members < 40 || gone < 20 {
		t.Errorf("%d members, %d gone", members, gone)
	}
}
