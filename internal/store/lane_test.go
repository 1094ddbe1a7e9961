package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"anabranch/record"
)

// writer opens a store with a lease, writes one entry, and says in which lane
// and at what number.
func writeEntry(t testing.TB, sp *Space) *record.Verified {
	t.Helper()
	rs, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	return rs[0]
}

func openLeased(t testing.TB, dir, leases string) (*Store, *Space) {
	t.Helper()
	s, err := Open(dir, Options{LeaseDir: leases})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, createSpace(t, s)
}

func TestLeaseKeepsTheLane(t *testing.T) {
	if _, ok := whereIs(t.TempDir()); !ok {
		t.Skip("no identity of a directory here")
	}
	dir, leases := t.TempDir(), t.TempDir()
	s, sp := openLeased(t, dir, leases)
	grant(t, sp, 1, record.Writer, "/")
	first := writeEntry(t, sp)
	generation, err := sp.Generation()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.Close()
		s, sp = openLeased(t, dir, leases)
		next := writeEntry(t, sp)
		if next.Lane != first.Lane || next.Seq != uint32(i+2) {
			t.Fatalf("restart %d: lane %d number %d, then lane %d number %d", i, first.Lane, i+1, next.Lane, next.Seq)
		}
	}
	if g, _ := sp.Generation(); g != generation {
		t.Fatal("the generation changed")
	}
	// A failed write of a request must not move the lane.
	if _, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/e"}, Draft{Kind: record.Entry, Path: "bad"}); err == nil {
		t.Fatal("a bad path was written")
	}
	if next := writeEntry(t, sp); next.Seq != 5 {
		t.Fatalf("number %d after a refused request", next.Seq)
	}
	s.Close()
}

func TestFreshLanes(t *testing.T) {
	tests := []struct {
		name string
		// spoil turns a closed store with two entries, of which backup holds
		// the first, into the one that is opened next.
		spoil func(t *testing.T, dir, backup, leases string) (string, string)
	}{
		{"no lease", func(t *testing.T, dir, _, leases string) (string, string) { return dir, t.TempDir() }},
		{"no lease directory", func(t *testing.T, dir, _, leases string) (string, string) { return dir, "" }},
		{"a clone", func(t *testing.T, dir, _, leases string) (string, string) {
			clone := filepath.Join(t.TempDir(), "clone")
			copyDir(t, dir, clone)
			return clone, leases
		}},
		{"an old copy restored", func(t *testing.T, dir, backup, leases string) (string, string) {
			replaceDir(t, backup, dir)
			return dir, leases
		}},
		{"a torn lease", func(t *testing.T, dir, _, leases string) (string, string) {
			names, err := filepath.Glob(filepath.Join(leases, "*.lease"))
			if err != nil || len(names) != 1 {
				t.Fatalf("%v %v", names, err)
			}
			b, err := os.ReadFile(names[0])
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-40] ^= 1
			if err := os.WriteFile(names[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			return dir, leases
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir, leases := t.TempDir(), t.TempDir()
			s, sp := openLeased(t, dir, leases)
			grant(t, sp, 1, record.Writer, "/")
			first := writeEntry(t, sp)
			generation, _ := sp.Generation()
			s.Close()
			backup := filepath.Join(t.TempDir(), "backup")
			copyDir(t, dir, backup)
			s, sp = openLeased(t, dir, leases)
			second := writeEntry(t, sp)
			s.Close()
			dir, leases = test.spoil(t, dir, backup, leases)
			s, sp = openLeased(t, dir, leases)
			defer s.Close()
			third := writeEntry(t, sp)
			if third.Lane == first.Lane || third.Lane == second.Lane || third.Seq != 1 {
				t.Fatalf("lane %d number %d after lane %d number %d", third.Lane, third.Seq, second.Lane, second.Seq)
			}
			if g, _ := sp.Generation(); g == generation {
				t.Fatal("the generation did not change")
			}
			verifyClean(t, sp)
		})
	}
}

// TestLaneIsLeft: what arrives shows that another copy writes in our lane.
func TestLaneIsLeft(t *testing.T) {
	dots := func(bits ...byte) []byte { return bits }
	tests := []struct {
		name string
		left bool
		make func(lane uint64) record.Record
	}{
		{"a number above the highest", true, func(lane uint64) record.Record {
			return record.Record{Kind: record.Entry, Time: 1, Lane: lane, Seq: 9, Path: "/x"}
		}},
		{"a second ID on a dot", true, func(lane uint64) record.Record {
			return record.Record{Kind: record.Entry, Time: 7, Lane: lane, Seq: 1, Path: "/x"}
		}},
		{"a swept bit", true, func(lane uint64) record.Record {
			return record.Record{Kind: record.Sweep, Time: 1, Lane: lane, Path: "/", Payload: dots(4)}
		}},
		{"a sweep of what was swept here", false, func(lane uint64) record.Record {
			return record.Record{Kind: record.Sweep, Time: 1, Lane: lane, Path: "/", Payload: dots(1)}
		}},
		{"another lane", false, func(lane uint64) record.Record {
			return record.Record{Kind: record.Entry, Time: 1, Lane: lane + 1, Seq: 9, Path: "/x"}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, sp := memoryStore(t, Options{})
			grant(t, sp, 1, record.Writer, "/")
			swept := writeEntry(t, sp)
			last := writeEntry(t, sp)
			if test.name != "a second ID on a dot" {
				if err := sp.Remove(ctx, key(1), 1, swept.ID); err != nil {
					t.Fatal(err)
				}
			}
			commitOne(t, sp, swept) // an own record that comes back proves nothing
			commitOne(t, sp, sign(t, sp, 1, test.make(last.Lane)))
			next := writeEntry(t, sp)
			if left := next.Lane != last.Lane; left != test.left {
				t.Fatalf("lane %d number %d, then lane %d number %d", last.Lane, last.Seq, next.Lane, next.Seq)
			}
			verifyClean(t, sp)
		})
	}
}

// TestNothingIsWrittenAtASweptNumber: a sweep of a whole block covers numbers
// that do not exist yet.
func TestNothingIsWrittenAtASweptNumber(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	rs, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/e"})
	if err != nil {
		t.Fatal(err)
	}
	commitOne(t, sp, sign(t, sp, 1, record.Record{Kind: record.Sweep, Time: 1, Lane: rs[0].Lane, Path: "/"}))
	if _, err := snapshot(t, sp).Get(rs[0].ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("%v", err)
	}
	if next := writeEntry(t, sp); next.Lane == rs[0].Lane {
		t.Fatal("written under a sweep")
	}
}
