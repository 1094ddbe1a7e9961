package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
)

// tiny makes blocks, cuts and checkpoints so small that a few records divide,
// join and write them all the time, and leaves next to nothing in memory.
func tiny(o Options) Options {
	o.blocks, o.cut, o.checkpoint = blockSize{most: 8, kids: 4}, 2*merkle.LeafIDs, 5
	if o.CacheBytes == 0 {
		o.CacheBytes = 1 << 20
	}
	return o
}

// rowsOfItems is a memory engine with the rows that derived values read.
type rowsOfItems struct{ *memory }

func (r rowsOfItems) change(items []reconcile.Item, sign int) {
	var batch []change
	for _, x := range items {
		value := u64(nil, 1)
		if sign < 0 {
			value = nil
		}
		batch = append(batch, change{timeKey(tableTime, 1, x.Time, x.ID), value}, change{idKey(tableID, 1, x.ID), value})
	}
	r.commit(batch)
}

// randomItems have few times and IDs that share long prefixes.
func randomItems(rng *rand.Rand, n int) []reconcile.Item {
	out := make([]reconcile.Item, n)
	for i := range out {
		out[i].Time = 1 + rng.Uint64N(50)
		for j := range out[i].ID {
			out[i].ID[j] = byte(rng.Uint32())
		}
		if rng.IntN(3) == 0 {
			copy(out[i].ID[:], "the same five")
		}
	}
	return out
}

// sameAsSet compares index and trie of a state with those of a plain set.
func sameAsSet(t *testing.T, rows scanner, st *state, set map[reconcile.Item]struct{}, rng *rand.Rand) {
	t.Helper()
	var items []reconcile.Item
	var tree merkle.Tree
	for x := range set {
		items = append(items, x)
		tree.Insert(x.ID)
	}
	vector, err := reconcile.NewVector(items)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(items, reconcile.Item.Compare)
	ix, n := newBlockIndex(rows, 1, st.blocks), len(items)
	if ix.Len() != n || st.cuts.count() != n {
		t.Fatalf("%d and %d items are counted, %d are there", ix.Len(), st.cuts.count(), n)
	}
	i := 0
	for x, err := range ix.Items(0, n) {
		if err != nil || x != items[i] {
			t.Fatalf("item %d: %v, %v", i, x, err)
		}
		i++
	}
	for range 8 {
		begin, end := rng.IntN(n+1), rng.IntN(n+1)
		begin, end = min(begin, end), max(begin, end)
		got, err := ix.Fingerprint(begin, end)
		if want, _ := vector.Fingerprint(begin, end); err != nil || got != want {
			t.Fatalf("fingerprint [%d, %d) of %d: %x, %v; want %x", begin, end, n, got, err, want)
		}
		if begin < n {
			if x, err := ix.At(begin); err != nil || x != items[begin] {
				t.Fatalf("item %d: %v, %v", begin, x, err)
			}
		}
		b := reconcile.Bound{Time: rng.Uint64N(52)}
		if begin < n && rng.IntN(2) == 0 {
			b = reconcile.BoundAt(items[begin])
		}
		at, err := ix.LowerBound(b)
		if want, _ := vector.LowerBound(b); err != nil || at != want {
			t.Fatalf("bound %v: %d, %v; want %d", b, at, err, want)
		}
	}
	src := newCutSource(rows, 1, st.cuts)
	for _, prefix := range []merkle.ID{{}, randomItems(rng, 1)[0].ID} {
		for _, depth := range []int{0, rng.IntN(12), rng.IntN(257)} {
			count, digest, err := src.Subtree(prefix, depth)
			if c, d, _ := tree.Subtree(prefix, depth); err != nil || c != count || d != digest {
				t.Fatalf("subtree %x of %d bits: %d %x, %v; want %d %x", prefix, depth, count, digest, err, c, d)
			}
			ids, err := src.IDs(prefix, depth)
			if want, _ := tree.IDs(prefix, depth); err != nil || !slices.Equal(ids, want) {
				t.Fatalf("IDs below %d bits of %x: %x, %v; want %x", depth, prefix, ids, err, want)
			}
		}
	}
	var prefixes []uint64
	all, _ := tree.IDs(merkle.ID{}, 0)
	for i := range 60 {
		p := rng.Uint64()
		if i < len(all) {
			p = binary.BigEndian.Uint64(all[rng.IntN(len(all))][:])
		}
		prefixes = append(prefixes, p)
	}
	slices.Sort(prefixes)
	for _, depth := range []int{9, 20, 64} {
		some := slices.CompactFunc(slices.Clone(prefixes), func(a, b uint64) bool { return a>>(64-depth) == b>>(64-depth) })
		ids, ends, err := merkle.Find(src, some, depth)
		want, at, _ := merkle.Find(&tree, some, depth)
		if err != nil || !slices.Equal(ids, want) || !slices.Equal(ends, at) {
			t.Fatalf("%d IDs found below %d prefixes of %d bits, there are %d, %v", len(ids), len(some), depth, len(want), err)
		}
	}
}

// TestDerivedValuesAreThoseOfTheSet takes states of a random history and
// compares each with its set when later ones were made of it already.
func TestDerivedValuesAreThoseOfTheSet(t *testing.T) {
	for seed := range uint64(24) {
		rng := rand.New(rand.NewPCG(seed, 5))
		o := tiny(Options{CacheBytes: 1 + rng.Int64N(40_000)})
		o.cut += rng.IntN(40)
		s := &Store{options: o, warm: newWarm(o.CacheBytes)}
		engine := rowsOfItems{newMemory()}
		st := new(state)
		st.blank(s)
		set := make(map[reconcile.Item]struct{})
		type moment struct {
			state state
			rows  view
			set   map[reconcile.Item]struct{}
		}
		var before []moment
		for range 30 {
			next := *st
			next.fork()
			in := randomItems(rng, rng.IntN(1+rng.IntN(150)))
			for _, x := range in {
				set[x] = struct{}{}
			}
			engine.change(in, +1)
			next.apply(in, +1)
			var out []reconcile.Item
			if rng.IntN(3) == 0 {
				part := rng.IntN(4)
				for x := range set {
					if rng.IntN(4) <= part {
						out = append(out, x)
						delete(set, x)
					}
				}
				engine.change(out, -1)
				next.apply(out, -1)
			}
			if err := next.tidy(engine, 1); err != nil {
				t.Fatal(err)
			}
			st = &next
			copied := make(map[reconcile.Item]struct{})
			for x := range set {
				copied[x] = struct{}{}
			}
			before = append(before, moment{*st, engine.view(), copied})
			if rng.IntN(2) == 0 {
				m := before[rng.IntN(len(before))]
				sameAsSet(t, m.rows, &m.state, m.set, rng)
			}
			if rng.IntN(4) == 0 { // as if read from a checkpoint
				var again state
				again.blank(s)
				for i, v := range again.values() {
					b := st.values()[i].encode()
					if err := v.decode(b); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(v.encode(), b) {
						t.Fatal("another encoding after decoding")
					}
				}
				sameAsSet(t, engine, &again, set, rng)
				st.blocks, st.cuts = again.blocks, again.cuts
			}
		}
		for _, m := range before {
			sameAsSet(t, m.rows, &m.state, m.set, rng)
		}
		wellFormed(t, st.blocks)
	}
}

// wellFormed checks the shape that settle promises.
func wellFormed(t *testing.T, b *blocks) {
	t.Helper()
	total, small := 0, 0
	b.each(func(p spot) error {
		if total++; p.count > b.size.most || p.count == 0 {
			t.Errorf("a block of %d", p.count)
		}
		return nil
	})
	var walk func(n *blockNode)
	walk = func(n *blockNode) {
		if len(n.kids) > b.size.kids || len(n.kids) == 0 {
			t.Errorf("a node with %d kids", len(n.kids))
		}
		for i, k := range n.kids {
			if k.node != nil {
				walk(k.node)
			} else if i > 0 {
				x, y := int(n.kids[i-1].count), int(k.count)
				if min(x, y) < b.size.few() && x+y <= b.size.joined() {
					small++
				}
			}
		}
	}
	if b.root != nil {
		walk(b.root)
	}
	if small > 1+total/8 { // some were in two nodes when they became small
		t.Errorf("%d of %d blocks could join their neighbours", small, total)
	}
}

// TestSnapshotsOfAllAgesAreReadAtOnce: readers complete one trie from several
// states while the committer writes on.
func TestSnapshotsOfAllAgesAreReadAtOnce(t *testing.T) {
	s, err := Open("store", tiny(Options{FS: vfs.NewMem()}))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	grant(t, sp, 6, record.Writer, "/")
	var readers sync.WaitGroup
	for i := range 60 {
		drafts := make([]Draft, 1+i%17)
		for j := range drafts {
			drafts[j] = Draft{Kind: record.Entry, Path: "/log", Payload: []byte{byte(i), byte(j)}}
		}
		rs, err := sp.Write(ctx, key(6), 1, drafts...)
		if err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if err := sp.Remove(ctx, key(6), 1, rs[0].ID); err != nil {
				t.Fatal(err)
			}
		}
		v := snapshot(t, sp)
		for range 2 {
			readers.Go(func() {
				var tree merkle.Tree
				var sum reconcile.Sum
				n := v.Index().Len()
				for x, err := range v.Index().Items(0, n) {
					if err != nil {
						t.Error(err)
					}
					tree.Insert(x.ID)
					sum.Add(&x.ID)
				}
				if root, err := v.Root(); err != nil || root != merkle.Root(sp.id, nil, uint64(n), tree.Hash()) {
					t.Errorf("version %d: root %x, %v", v.Version(), root, err)
				}
				if f, err := v.Index().Fingerprint(0, n); err != nil || f != sum.Fingerprint(n) {
					t.Errorf("version %d: fingerprint %x, %v", v.Version(), f, err)
				}
			})
		}
	}
	readers.Wait()
}

// TestLargeCutsAreDividedOnce: what a reader found about a large trie is there
// for those who read what was committed meanwhile.
func TestLargeCutsAreDividedOnce(t *testing.T) {
	s, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	grant(t, sp, 6, record.Writer, "/")
	write := func(n int) {
		for range n {
			drafts := make([]Draft, 100)
			for j := range drafts {
				drafts[j] = Draft{Kind: record.Entry, Path: "/log", Payload: []byte{byte(j)}}
			}
			if _, err := sp.Write(ctx, key(6), 1, drafts...); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(manyDivided/100 + 1)
	v := snapshot(t, sp)
	write(1)
	if _, err := v.Root(); err != nil {
		t.Fatal(err)
	}
	within(t, 10*time.Second, "adoption", func() {
		for {
			write(1)
			now := snapshot(t, sp)
			if now.state.cuts.root.half[0].halves.Load() != nil {
				checkSet(t, now, withRules(t, now))
				return
			}
			now.Close()
		}
	})
}

// withRules is membersOf.
func withRules(t testing.TB, v *Snapshot) map[record.ID]*record.Verified {
	t.Helper()
	members, _, _ := stored(t, v.space)
	return members
}

// TestCheckpointIsUsedOrMadeAnew damages each byte of a checkpoint in turn:
// whatever is not what was written is not believed.
func TestCheckpointIsUsedOrMadeAnew(t *testing.T) {
	fs := vfs.NewMem()
	var logged bytes.Buffer
	o := tiny(Options{FS: fs, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	grant(t, sp, 6, record.Writer, "/")
	for i := range 30 {
		if _, err := sp.Write(ctx, key(6), uint64(i), Draft{Kind: record.Entry, Path: "/log"}, Draft{Kind: record.Doc, Path: "/doc"}); err != nil {
			t.Fatal(err)
		}
	}
	snapshot(t, sp).Root()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reopen := func() {
		t.Helper()
		logged.Reset()
		if s, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
		sp, _ = s.Space(sp.id)
	}
	reopen()
	if sp.saved.version == 0 || logged.Len() > 0 {
		t.Fatalf("no checkpoint was used: %s", logged.String())
	}
	var rows []row
	lo := tableKey(tableCheckpoint, sp.number, 0)
	if err := each(s.engine, lo, successor(lo), func(x row) error { rows = append(rows, x); return nil }); err != nil {
		t.Fatal(err)
	}
	verifyClean(t, sp)
	rng := rand.New(rand.NewPCG(1, 9))
	for _, x := range rows {
		for range 6 {
			value := slices.Clone(x.value)
			value[rng.IntN(len(value))] ^= 1 << rng.IntN(8)
			if rng.IntN(4) == 0 {
				value = value[:rng.IntN(len(value))]
			}
			if err := s.engine.commit([]change{{slices.Clone(x.key), value}}); err != nil {
				t.Fatal(err)
			}
			s.options.checkpoint = 1 << 30 // leave it alone
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			reopen()
			if !strings.Contains(logged.String(), "made anew") {
				t.Errorf("a damaged row %x was used", x.key)
			}
			verifyClean(t, sp)
			if err := s.engine.commit([]change{{slices.Clone(x.key), x.value}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.options.checkpoint = 1 << 30
	s.Close()
}

func TestDecodersOfDerivedValuesRefuse(t *testing.T) {
	s := &Store{options: tiny(Options{}), warm: newWarm(0)}
	for _, bad := range [][]byte{{0}, {3, 1}, {1, 1}, {2}, {2, 1, 0}, {0, 2, 1, 2, 1}, bytes.Repeat([]byte{0}, 1000)} {
		if err := (cutsByID{newCuts(64)}).decode(bad); !errors.Is(err, errEncoding) {
			t.Errorf("%x is accepted as a trie: %v", bad, err)
		}
	}
	block := append(make([]byte, 40), 1)
	block = append(block, make([]byte, 32)...)
	for _, bad := range [][]byte{{0}, block[:72], append(make([]byte, 41), make([]byte, 32)...), slices.Concat(block, block)} {
		if err := newBlocks(s.warm, s.options.blocks).decode(bad); !errors.Is(err, errEncoding) {
			t.Errorf("%x is accepted as blocks: %v", bad, err)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	s := &Store{options: tiny(Options{}), warm: newWarm(0)}
	var st state
	st.blank(s)
	st.apply(randomItems(rand.New(rand.NewPCG(1, 1)), 100), +1)
	for _, v := range st.values() {
		f.Add(v.encode())
	}
	batches, _ := st.checkpoint(1, saved{})
	f.Add(batches[len(batches)-1][0].value)
	f.Fuzz(func(t *testing.T, b []byte) {
		var st state
		st.blank(s)
		for _, v := range st.values() {
			if v.decode(b) == nil && len(v.encode()) > len(b)+1 {
				t.Fatal("decoding has added something")
			}
		}
		if h, err := decodeHead(b); err == nil && !bytes.Equal(h.encode(), b) {
			t.Fatal("another encoding after decoding")
		}
	})
}
