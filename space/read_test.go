package space_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"anabranch/internal/model"
	"anabranch/record"
	"anabranch/space"
)

// readSlowly is the reading of a path straight from the law: every document
// against every other.
func readSlowly(docs []*record.Verified, now uint64, forkedFrom func(record.Key, uint64) uint32) (read *record.Verified, absent bool, conflicts, replaced map[record.ID]bool) {
	conflicts, replaced = make(map[record.ID]bool), make(map[record.ID]bool)
	for _, r := range docs {
		if read == nil || r.Time > read.Time || r.Time == read.Time && r.ID.Compare(read.ID) > 0 {
			read = r
		}
	}
	for _, x := range docs {
		if x == read {
			continue
		}
		superseded := false
		for _, y := range docs {
			if y.Author == x.Author && y.Lane == x.Lane && y.Seq > x.Seq {
				superseded = true
			}
			for _, e := range y.Replaces {
				if y != x && e.Lane == record.LaneTag(x.Author, x.Lane) && e.Number >= x.Seq {
					superseded = true
				}
			}
		}
		if f := forkedFrom(x.Author, x.Lane); f != 0 && x.Seq >= f {
			superseded = false
		}
		if superseded {
			replaced[x.ID] = true
		} else {
			conflicts[x.ID] = true
		}
	}
	return read, read == nil || read.Deleted || read.Expires != 0 && read.Expires <= now, conflicts, replaced
}

func TestReadIsTheLaw(t *testing.T) {
	for s := range uint64(3000) {
		rng := rand.New(rand.NewPCG(s, 0x4EAD))
		u := model.NewUniverse(nil, record.BlockNumbers)
		var docs []*record.Verified
		for range rng.IntN(7) {
			author, lane := model.Key(rng.IntN(3)), uint64(1+rng.IntN(2))
			x := record.Record{Kind: record.Doc, Time: 1 + rng.Uint64N(6), Lane: lane, Seq: 1 + rng.Uint32N(5), Path: "/p", Deleted: rng.IntN(6) == 0}
			if rng.IntN(6) == 0 {
				x.Expires = x.Time + 1 + rng.Uint64N(5)
			}
			seen := make(map[record.Tag]bool)
			for range rng.IntN(3) {
				a, l := model.Key(rng.IntN(3)), uint64(1+rng.IntN(2))
				if tag := record.LaneTag(a, l); (a != author || l != lane) && !seen[tag] {
					seen[tag] = true
					x.Replaces = append(x.Replaces, record.Replaced{Lane: tag, Number: 1 + rng.Uint32N(5)})
				}
			}
			slices.SortFunc(x.Replaces, func(a, b record.Replaced) int { return slices.Compare(a.Lane[:], b.Lane[:]) })
			if r := u.Make(author, x).Verified; !slices.Contains(docs, r) {
				docs = append(docs, r)
			}
		}
		forkedFrom := func(author record.Key, lane uint64) uint32 {
			return uint32((uint64(author[0])*7 + lane*3 + s) % 9 / 2)
		}
		read, absent, conflicts, replaced := readSlowly(docs, 5, forkedFrom)
		got := space.Read(docs, 5, forkedFrom)
		if got.Doc != read || got.Absent != absent || !sameIDs(got.Conflicts, conflicts) || !sameIDs(got.Replaced, replaced) {
			t.Fatalf("seed %d: %+v\n%s", s, got, u.Describe())
		}
	}
}

func sameIDs(got []*record.Verified, want map[record.ID]bool) bool {
	for i, r := range got {
		if !want[r.ID] || i > 0 && got[i-1].Time < r.Time {
			return false
		}
	}
	return len(got) == len(want)
}

func TestReadOfNothingIsAbsent(t *testing.T) {
	if got := space.Read(nil, 1, nil); !got.Absent || got.Doc != nil {
		t.Errorf("got %+v", got)
	}
}
