package store

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
	"anabranch/space"
)

var worldPaths = []string{"/a", "/a/b", "/a-b", "/c", "/"}

// world is a pool of records of a small space: grants over areas, seals that
// list some of what there is, several lanes per author, forks, sweeps.
func world(t testing.TB, sp *Space, rng *rand.Rand, seals bool) []*record.Verified {
	t.Helper()
	pick := func() string { return worldPaths[rng.IntN(len(worldPaths))] }
	control := func(n int, area string, body record.ControlBody) *record.Verified {
		return sign(t, sp, n, record.Record{Kind: record.Control, Time: 1 + rng.Uint64N(20), Path: area, Payload: body.Payload()})
	}
	var pool, grants []*record.Verified
	holder := map[record.ID]int{}
	add := func(r *record.Verified, n int) {
		pool = append(pool, r)
		grants = append(grants, r)
		holder[r.ID] = n
	}
	admin := control(rootKey, "/", grantBody(record.ID{}, 1, record.Admin, byte(rng.Uint32())))
	add(admin, 1)
	for n := 1; n <= 4; n++ {
		for range 1 + rng.IntN(2) {
			role := record.Role(1 + rng.IntN(3))
			if rng.IntN(3) == 0 {
				add(control(1, pick(), grantBody(admin.ID, n, role, byte(rng.Uint32()))), n)
			} else {
				add(control(rootKey, pick(), grantBody(record.ID{}, n, role, byte(rng.Uint32()))), n)
			}
		}
	}
	for n := 1; n <= 4; n++ {
		for range 1 + rng.IntN(2) {
			lane := 1 + rng.Uint64N(3)
			high := uint32(3 + rng.IntN(6))
			for seq := uint32(1); seq <= high; seq++ {
				copies := 1
				if rng.IntN(8) == 0 {
					copies = 2 // a fork
				}
				for range copies {
					r := record.Record{Kind: []record.Kind{record.Entry, record.Doc, record.Doc, record.Delta, 9}[rng.IntN(5)],
						Time: 1 + rng.Uint64N(60), Lane: lane, Seq: seq, Path: pick(), Payload: []byte{byte(rng.Uint32())}}
					if r.Kind == record.Doc && rng.IntN(3) == 0 {
						r.Replaces = []record.Replaced{{Lane: record.LaneTag(pub(7), 7), Number: 1 + rng.Uint32N(9)}}
					}
					pool = append(pool, sign(t, sp, n, r))
				}
			}
			for range rng.IntN(3) {
				bits := make([]byte, 1)
				for bits[0] == 0 {
					bits[0] = byte(rng.Uint32())
				}
				if rng.IntN(10) == 0 {
					bits = nil
				}
				pool = append(pool, sign(t, sp, n, record.Record{Kind: record.Sweep, Time: 1 + rng.Uint64N(60), Lane: lane, Path: pick(), Payload: bits}))
			}
		}
	}
	for range 2 {
		if !seals {
			break
		}
		var list []record.ID
		for _, r := range pool {
			if rng.IntN(2) == 0 {
				list = append(list, r.ID)
			}
		}
		target := grants[rng.IntN(len(grants))]
		body := sealBody(record.ID{}, target.ID, list...)
		body.Seal.SealID[3] = byte(rng.Uint32())
		pool = append(pool, control(rootKey, "/", body))
		if rng.IntN(2) == 0 { // let the key in again
			add(control(rootKey, pick(), grantBody(record.ID{}, holder[target.ID], record.Writer, byte(rng.Uint32()))), holder[target.ID])
		}
	}
	rng.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	return pool
}

// stored reads everything a space keeps, straight from the tables.
func stored(t testing.TB, sp *Space) (members, held, trash map[record.ID]*record.Verified) {
	t.Helper()
	read := func(table byte, skip int) map[record.ID]*record.Verified {
		out := make(map[record.ID]*record.Verified)
		lo := tableKey(table, sp.number, 0)
		err := each(sp.store.engine, lo, successor(lo), func(x row) error {
			r, err := record.Verify(sp.id, x.value[skip:])
			if err != nil {
				return err
			}
			out[r.ID] = r
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	return read(tableArrival, 0), read(tableHeld, 8), read(tableTrash, 8)
}

func sameIDs(t testing.TB, what string, got, want map[record.ID]*record.Verified) {
	t.Helper()
	for id, r := range want {
		if got[id] == nil {
			t.Fatalf("%s lacks the %v %v", what, r.Kind, id)
		}
	}
	for id, r := range got {
		if want[id] == nil {
			t.Fatalf("%s has the %v %v", what, r.Kind, id)
		}
	}
}

// checkStored checks a space against the law evaluated over what it stores,
// and, while nothing is sealed, over everything it was ever given.
func checkStored(t testing.TB, sp *Space, given map[record.ID]*record.Verified, sealed bool) {
	t.Helper()
	members, held, trash := stored(t, sp)
	known := maps.Clone(members)
	maps.Copy(known, held)
	maps.Copy(known, trash)
	wantMembers, wantHeld, wantDead := lawOf(sp, known)
	sameIDs(t, "the set", members, wantMembers)
	sameIDs(t, "the held records", held, wantHeld)
	sameIDs(t, "the trash", trash, wantDead)
	if !sealed {
		all, _, _ := lawOf(sp, given)
		sameIDs(t, "the set, by the law", members, all)
	}
	v := snapshot(t, sp)
	defer v.Close()
	checkSet(t, v, members)
	verifyClean(t, sp)
}

// history runs one random history: records that arrive in any order and
// number, and local writes, sweeps and removals between them.
func history(t *testing.T, s *Store, rng *rand.Rand, reopen func() *Store) {
	sp := createSpace(t, s)
	const me = 6
	grant(t, sp, me, record.Writer, "/")
	given := make(map[record.ID]*record.Verified)
	collect := func(rs ...*record.Verified) {
		for _, r := range rs {
			given[r.ID] = r
		}
	}
	collect(snapshot(t, sp).State().Control()...)
	sealed := rng.IntN(2) == 0
	pool := world(t, sp, rng, sealed)
	var entries []record.ID
	for now := uint64(1); len(pool) > 0; now++ {
		switch rng.IntN(8) {
		case 0, 1, 2:
			n := 1 + rng.IntN(min(12, len(pool)))
			batch := slices.Clone(pool[:n])
			if rng.IntN(2) == 0 {
				batch = append(batch, batch[rng.IntN(n)])
			}
			res, err := sp.Commit(ctx, batch)
			if err != nil {
				t.Fatal(err)
			}
			if res.Verdicts[n-1] == Known && len(batch) == n {
				t.Fatalf("a fresh record is known: %+v", res)
			}
			collect(batch...)
			pool = pool[n:]
		case 3, 4, 5:
			path := worldPaths[rng.IntN(len(worldPaths))]
			drafts := []Draft{{Kind: record.Doc, Path: path, Payload: []byte{byte(now)}, Deleted: rng.IntN(3) == 0}}
			if rng.IntN(2) == 0 {
				drafts = append(drafts, Draft{Kind: record.Entry, Path: path, Payload: []byte{byte(now)}})
			}
			before, err := snapshot(t, sp).Docs(path)
			if err != nil {
				t.Fatal(err)
			}
			rs, err := sp.Write(ctx, key(me), now, drafts...)
			if err != nil {
				t.Fatal(err)
			}
			checkWritten(t, rs[0], before)
			if len(rs) > 1 {
				entries = append(entries, rs[1].ID)
			}
			collect(rs...)
		case 6:
			if _, err := sp.Sweep(ctx, key(me), now); err != nil {
				t.Fatal(err)
			}
			collect(snapshot(t, sp).State().Sweeps()...)
		case 7:
			if len(entries) > 0 {
				i := rng.IntN(len(entries))
				if err := sp.Remove(ctx, key(me), now, entries[i]); err != nil {
					t.Fatal(err)
				}
				entries = slices.Delete(entries, i, i+1)
				collect(snapshot(t, sp).State().Sweeps()...)
			} else if reopen != nil {
				s = reopen()
				sp, _ = s.Space(sp.id)
			}
		}
		if rng.IntN(4) == 0 {
			checkStored(t, sp, given, sealed)
		}
	}
	checkStored(t, sp, given, sealed)
	if reopen != nil {
		before := snapshot(t, sp).state
		sp, _ = reopen().Space(sp.id)
		after := snapshot(t, sp).state
		if a, b := *before, *after; a.stats != b.stats || a.version != b.version || a.pending != b.pending || a.others != b.others {
			t.Fatalf("reopened: %+v, then %+v", a, b)
		}
		checkStored(t, sp, given, sealed)
	}
}

// checkWritten: what is written replaces, or is later in its own lane than,
// every doc that was live at its path.
func checkWritten(t *testing.T, r *record.Verified, before []*record.Verified) {
	t.Helper()
	for _, d := range before {
		if d.Time >= r.Time {
			t.Fatalf("time %d at %s, a live doc has %d", r.Time, r.Path, d.Time)
		}
		tag := record.LaneTag(d.Author, d.Lane)
		covered := d.Author == r.Author && d.Lane == r.Lane && d.Seq < r.Seq
		for _, e := range r.Replaces {
			covered = covered || e.Lane == tag && e.Number >= d.Seq
		}
		if !covered {
			t.Fatalf("the doc written at %s does not replace %v", r.Path, d.ID)
		}
	}
}

func TestRandomHistories(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 8
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("memory/%d", seed), func(t *testing.T) {
			s, err := OpenMemory(tiny(Options{departures: 5}))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			history(t, s, rand.New(rand.NewPCG(seed, 1)), nil)
		})
		t.Run(fmt.Sprintf("disk/%d", seed), func(t *testing.T) {
			o := tiny(Options{FS: vfs.NewMem(), MemTableBytes: 64 << 10, departures: 20})
			s, err := Open("store", o)
			if err != nil {
				t.Fatal(err)
			}
			reopen := func() *Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open("store", o); err != nil {
					t.Fatal(err)
				}
				return s
			}
			history(t, s, rand.New(rand.NewPCG(seed, 1)), reopen)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFilterForetells compares a filtered snapshot with the space after the
// same sweeps were committed.
func TestFilterForetells(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s, err := OpenMemory(tiny(Options{}))
		if err != nil {
			t.Fatal(err)
		}
		sp := createSpace(t, s)
		var sweeps, rest []*record.Verified
		for _, r := range world(t, sp, rng, seed%2 == 0) {
			if r.Kind == record.Sweep && rng.IntN(3) > 0 {
				sweeps = append(sweeps, r)
			} else {
				rest = append(rest, r)
			}
		}
		if _, err := sp.Commit(ctx, rest); err != nil {
			t.Fatal(err)
		}
		v := snapshot(t, sp)
		half, err := v.Filter(sweeps[:len(sweeps)/2])
		if err != nil {
			t.Fatal(err)
		}
		f, err := half.Filter(sweeps)
		if err != nil {
			t.Fatal(err)
		}
		root, _ := v.Root()
		if _, err := sp.Commit(ctx, sweeps); err != nil {
			t.Fatal(err)
		}
		if again, _ := v.Root(); again != root {
			t.Fatal("filtering changed the snapshot below")
		}
		after := membersOf(t, snapshot(t, sp))
		checkSet(t, f, after)
		half.Close()
		f.Close()
		s.Close()
	}
}

func TestUnknownRuleIsListed(t *testing.T) {
	o := Options{FS: vfs.NewMem()}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	good := createSpace(t, s)
	g := &space.Genesis{Roots: []record.Key{pub(rootKey)}, Rules: []space.Rule{{Type: 9}}}
	b := g.Encode()
	body := b[:len(b)-64]
	copy(g.Signature[:], ed25519.Sign(key(rootKey), append([]byte("anabranch genesis 1"), body...)))
	var unknown *space.UnknownRuleError
	if _, err := s.Create(ctx, g.Encode()); !errors.As(err, &unknown) {
		t.Fatalf("create: %v", err)
	}
	// As if a newer version had created it.
	err = s.do(ctx, 0, func(c *commit) error {
		id := g.ID()
		c.tx.set(spaceRow(7), append(id[:], g.Encode()...))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if s, err = Open("store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Unusable()[g.ID()]; !errors.As(err, &unknown) {
		t.Fatalf("unusable: %v", s.Unusable())
	}
	if spaces := s.Spaces(); len(spaces) != 1 || spaces[0].ID() != good.ID() {
		t.Fatalf("usable: %v", spaces)
	}
	if _, err := s.Create(ctx, genesis(t, 2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(ctx, g.ID()); err != nil || len(s.Unusable()) != 0 {
		t.Fatalf("dropped: %v, %v", err, s.Unusable())
	}
	if b, err := s.engine.get(spaceRow(7)); b != nil || err != nil {
		t.Fatalf("its row is left: %v", err)
	}
}
