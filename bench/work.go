package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"syscall"
	"time"

	"anabranch/reconcile"
)

// work is one difference to be found: of n items, differ are at one side
// only, scattered over all times or the most recent.
type work struct {
	name   string
	differ int
	recent bool
	frame  int
}

var works = []work{
	{"nothing differs", 0, false, 0},
	{"100 scattered", 100, false, 0},
	{"100 newest", 100, true, 0},
	{"10 000 scattered", 10_000, false, 0},
	{"10 000 scattered, 64 KiB frames", 10_000, false, 65_536},
	{"10 000 newest", 10_000, true, 0},
}

// numbered is item i of the workload.
func numbered(i int) reconcile.Item {
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], uint64(i))
	b[8] = 1
	h := sha256.Sum256(b[:])
	return reconcile.Item{
		Time: 1_600_000_000 + binary.BigEndian.Uint64(h[:])%100_000_000,
		ID:   sha256.Sum256(b[:8]),
	}
}

// universe is n items in the order of their numbers, and how the scattered
// differences are drawn from them.
type universe struct {
	items  []reconcile.Item
	scores []uint64
}

func newUniverse(n int) *universe {
	u := &universe{make([]reconcile.Item, n), make([]uint64, n)}
	for i := range n {
		u.items[i] = numbered(i)
		var b [9]byte
		binary.BigEndian.PutUint64(b[:], uint64(i))
		b[8] = 2
		h := sha256.Sum256(b[:])
		u.scores[i] = binary.BigEndian.Uint64(h[:])
	}
	return u
}

// deal is one difference, and the sets of both sides in each backend that
// has been asked for.
type deal struct {
	mine, theirs []reconcile.Item
	want         result
	built        map[string][2]any
}

func (u *universe) deal(w work) (d deal) {
	d.mine, d.theirs, d.want = u.sides(w)
	d.built = map[string][2]any{}
	return d
}

func (d *deal) sets(e engine) (mine, theirs any) {
	s, ok := d.built[e.backend]
	if !ok {
		s = [2]any{e.build(d.mine), e.build(d.theirs)}
		d.built[e.backend] = s
	}
	return s[0], s[1]
}

// sides deals the items out: of the differing ones, in order, the first,
// third, ... are at the responder only, the others at the initiator only.
func (u *universe) sides(w work) (mine, theirs []reconcile.Item, want result) {
	order := make([]int32, len(u.items))
	for i := range order {
		order[i] = int32(i)
	}
	if w.recent {
		slices.SortFunc(order, func(a, b int32) int { return u.items[b].Compare(u.items[a]) })
	} else {
		slices.SortFunc(order, func(a, b int32) int {
			switch x, y := u.scores[a], u.scores[b]; {
			case x < y:
				return -1
			case x > y:
				return +1
			}
			return 0
		})
	}
	order = order[:w.differ]
	slices.SortFunc(order, func(a, b int32) int { return u.items[a].Compare(u.items[b]) })
	only := make(map[int32]int, w.differ)
	for k, i := range order {
		only[i] = 1 + k%2
		if k%2 == 0 {
			want.need = append(want.need, u.items[i].ID)
		} else {
			want.have = append(want.have, u.items[i].ID)
		}
	}
	mine = make([]reconcile.Item, 0, len(u.items)-len(want.need))
	theirs = make([]reconcile.Item, 0, len(u.items)-len(want.have))
	for i, x := range u.items {
		at := only[int32(i)]
		if at != 1 {
			mine = append(mine, x)
		}
		if at != 2 {
			theirs = append(theirs, x)
		}
	}
	return mine, theirs, want
}

// result is what one conversation found, and its cost.
type result struct {
	have, need   []reconcile.ID
	rounds, wire int // bytes of the protocol, before any hex
}

// check says whether got found what it had to. With frames, IDs may repeat.
func (want result) check(got result) error {
	for _, c := range []struct {
		name      string
		want, got []reconcile.ID
	}{{"have", want.have, got.have}, {"need", want.need, got.need}} {
		a, b := distinct(c.want), distinct(c.got)
		if !slices.Equal(a, b) {
			return fmt.Errorf("%s: %d IDs found, %d are right, or they are others", c.name, len(b), len(a))
		}
	}
	return nil
}

func distinct(ids []reconcile.ID) []reconcile.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b reconcile.ID) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// cpu is what the process has spent, user and system, collector included.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
