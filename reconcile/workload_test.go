package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"
)

// The workload of the published figures: n numbered items, of which d
// differ, scattered over all times or the most recent ones. Of these, in
// order, the first, third, ... are only at the responder, the others only
// at the initiator.
func workload(n, d int, recent bool) (mine, theirs []Item) {
	items := make([]Item, n)
	for i := range items {
		items[i] = numbered(i)
	}
	differ := make([]Item, n)
	if recent {
		differ = sorted(items)[n-d:]
	} else {
		type scored struct {
			score uint64
			item  Item
		}
		scores := make([]scored, n)
		for i := range items {
			var b [9]byte
			binary.BigEndian.PutUint64(b[:], uint64(i))
			b[8] = 2
			h := sha256.Sum256(b[:])
			scores[i] = scored{binary.BigEndian.Uint64(h[:]), items[i]}
		}
		slices.SortFunc(scores, func(x, y scored) int {
			if x.score < y.score {
				return -1
			}
			return 1
		})
		differ = differ[:0]
		for _, s := range scores[:d] {
			differ = append(differ, s.item)
		}
		differ = sorted(differ)
	}
	side := map[Item]int{}
	for i, x := range differ {
		side[x] = 1 + i%2
	}
	for _, x := range items {
		if side[x] != 1 {
			mine = append(mine, x)
		}
		if side[x] != 2 {
			theirs = append(theirs, x)
		}
	}
	return mine, theirs
}

// Every implementation that splits like the reference sends these bytes.
func TestTheWireCostsWhatTheReferenceCosts(t *testing.T) {
	for _, c := range []struct {
		d                       int
		recent                  bool
		frame, up, down, rounds int
	}{
		{0, false, 0, 351, 1, 1},
		{1, false, 0, 689, 454, 2},
		{1, true, 0, 685, 450, 2},
		{100, false, 0, 26_739, 14_511, 2},
		{100, true, 0, 1_025, 2_150, 2},
		{10_000, false, 0, 161_888, 166_914, 2},
		{10_000, false, 65_536, 164_290, 179_380, 6},
	} {
		mine, theirs := workload(10_000, c.d, c.recent)
		a, _ := NewVector(mine)
		b := new(Tree)
		b.Insert(theirs...)
		k, err := converse(a, b, c.frame, c.frame, nil)
		if err != nil {
			t.Fatal(err)
		}
		if up, down := k.bytes(); up != c.up || down != c.down || k.rounds() != c.rounds {
			t.Errorf("%+v: %d up, %d down, %d rounds", c, up, down, k.rounds())
		}
	}
}
