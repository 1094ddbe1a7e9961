package store

import (
	"math/rand/v2"
	"testing"

	"anabranch/record"
	"anabranch/space"
)

// A lane's records may come in any order, some of them twice and two at one
// number, in any batches, several of which may be one group.
func TestNumbersInAnyOrder(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 4))
		s, err := Open(t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		var rs []*record.Verified
		forked := make(map[uint32]bool)
		add := func(number uint32, payload byte) {
			rs = append(rs, sign(t, sp, 1, record.Record{Kind: record.Entry, Time: 1, Lane: 7, Seq: number, Path: "/x", Payload: []byte{payload}}))
		}
		for number := range uint32(300) {
			if rng.IntN(20) == 0 {
				continue // never written
			}
			add(number+1, 0)
			if rng.IntN(12) == 0 {
				forked[number+1] = true
				add(number+1, 1)
			}
		}
		members := make(map[record.ID]*record.Verified)
		for _, r := range rs {
			members[r.ID] = r
		}
		for range 100 {
			rs = append(rs, rs[rng.IntN(len(rs))])
		}
		rng.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
		known := make(map[record.ID]bool)
		found := make(map[uint32]bool)
		for len(rs) > 0 {
			var batches [][]*record.Verified
			var waits []func() (Result, error)
			for range 1 + rng.IntN(3) {
				n := min(len(rs), 1+rng.IntN(60))
				wait, err := sp.post(ctx, rs[:n])
				if err != nil {
					t.Fatal(err)
				}
				batches, waits, rs = append(batches, rs[:n]), append(waits, wait), rs[n:]
			}
			for i, wait := range waits {
				res, err := wait()
				if err != nil {
					t.Fatal(err)
				}
				for k, r := range batches[i] {
					want := space.Member
					if known[r.ID] {
						want = Known
					}
					if known[r.ID] = true; res.Verdicts[k] != want {
						t.Fatalf("seed %d: number %d is %v, expected %v", seed, r.Seq, res.Verdicts[k], want)
					}
				}
				for _, f := range res.Forks {
					found[f.Number] = true
				}
			}
		}
		for n := range forked {
			if !found[n] {
				t.Errorf("seed %d: the fork at %d was not seen", seed, n)
			}
		}
		if len(found) != len(forked) {
			t.Errorf("seed %d: %d forks of %d", seed, len(found), len(forked))
		}
		v := snapshot(t, sp)
		got := membersOf(t, v)
		for id := range members {
			if got[id] == nil {
				t.Errorf("seed %d: number %d is absent", seed, members[id].Seq)
			}
		}
		verifyClean(t, sp)
		v.Close()
		s.Close()
	}
}

// What is written later has a later time, in batches and out of them, whatever
// the clock says; a path whose records are far ahead drags no other along.
func TestTimesFollowNumbers(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	const now = 1_800_000_000_000_000
	write := func(now uint64, paths ...string) []*record.Verified {
		t.Helper()
		var drafts []Draft
		for _, p := range paths {
			drafts = append(drafts, Draft{Kind: record.Entry, Path: p})
		}
		rs, err := sp.Write(ctx, key(1), now, drafts...)
		if err != nil {
			t.Fatal(err)
		}
		return rs
	}
	all := write(now, "/a", "/b", "/c", "/a")
	all = append(all, write(now-3, "/d", "/e")...)
	all = append(all, write(now+500, "/f", "/a")...)
	for i := 1; i < len(all); i++ {
		if all[i].Seq != all[i-1].Seq+1 || all[i].Time <= all[i-1].Time {
			t.Fatalf("number %d at %d, then number %d at %d", all[i-1].Seq, all[i-1].Time, all[i].Seq, all[i].Time)
		}
	}
	if got := all[len(all)-1].Time; got != now+501 {
		t.Errorf("the last is at %d", got)
	}
	commitOne(t, sp, sign(t, sp, 1, record.Record{Kind: record.Entry, Time: now * 2, Lane: 9, Seq: 1, Path: "/far"}))
	if got := write(now+600, "/far", "/near"); got[0].Time != now*2+1 || got[1].Time != now+600 {
		t.Errorf("times %d and %d", got[0].Time, got[1].Time)
	}
	if got := write(now-2*mostAhead, "/near2"); got[0].Time != now-2*mostAhead {
		t.Errorf("a clock that was put back: %d", got[0].Time)
	}
}
