package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
	"anabranch/space"
)

// clock is a clock that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func memoryStore(t testing.TB, o Options) (*Store, *Space) {
	t.Helper()
	s, err := OpenMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, createSpace(t, s)
}

func commitOne(t testing.TB, sp *Space, rs ...*record.Verified) Result {
	t.Helper()
	res, err := sp.Commit(ctx, rs)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestHeldBudget(t *testing.T) {
	_, sp := memoryStore(t, Options{HeldBytes: 2000, OwnAuthors: []record.Key{pub(2)}})
	entry := func(n int, seq uint32, size int) *record.Verified {
		return sign(t, sp, n, record.Record{Kind: record.Entry, Time: 1, Lane: 1, Seq: seq, Path: "/x", Payload: make([]byte, size)})
	}
	own := entry(2, 1, 5000)
	if res := commitOne(t, sp, own, entry(1, 1, 3000)); res.Verdicts[0] != space.Held || res.Verdicts[1] != OverBudget {
		t.Fatalf("%+v", res)
	}
	var others []*record.Verified
	for i := range uint32(10) {
		others = append(others, entry(1, i+1, 373))
	}
	orphan := sign(t, sp, 1, record.Record{Kind: record.Control, Time: 1, Path: "/", Payload: func() []byte {
		b := grantBody(record.ID{9}, 3, record.Writer, 0)
		return b.Payload()
	}()})
	commitOne(t, sp, orphan)
	for _, r := range others {
		commitOne(t, sp, r)
	}
	v := snapshot(t, sp)
	_, held, _ := stored(t, sp)
	if len(held) != 5 || held[own.ID] == nil || v.HeldStats().Held != 5 {
		t.Fatalf("%d held: %+v", len(held), v.HeldStats())
	}
	for _, r := range others[6:] {
		if held[r.ID] == nil {
			t.Fatal("a newer record was evicted before an older one")
		}
	}
	if v.State().Has(orphan.ID) {
		t.Fatal("the law still knows a control record that was evicted")
	}
	verifyClean(t, sp)
	// What is held enters when its authority arrives.
	grant(t, sp, 1, record.Writer, "/")
	grant(t, sp, 2, record.Writer, "/")
	if v := snapshot(t, sp); v.Count() != 7 || v.HeldStats() != (HeldStats{}) {
		t.Fatalf("count %d, %+v", v.Count(), v.HeldStats())
	}
	verifyClean(t, sp)
}

// TestKeepAuthor: an author that becomes the replica's own is not evicted any
// more, and what it has held no longer counts.
func TestKeepAuthor(t *testing.T) {
	_, sp := memoryStore(t, Options{HeldBytes: 2000})
	entry := func(n int, seq uint32) *record.Verified {
		return sign(t, sp, n, record.Record{Kind: record.Entry, Time: 1, Lane: 1, Seq: seq, Path: "/x", Payload: make([]byte, 373)})
	}
	own := []*record.Verified{entry(1, 1), entry(1, 2), entry(1, 3)}
	commitOne(t, sp, own...)
	sp.KeepAuthor(pub(1))
	for i := range uint32(10) {
		commitOne(t, sp, entry(2, i+1))
	}
	_, held, _ := stored(t, sp)
	if len(held) != 3+4 {
		t.Fatalf("%d held", len(held))
	}
	for _, r := range own {
		if held[r.ID] == nil {
			t.Fatal("an own record was evicted")
		}
	}
	verifyClean(t, sp)
}

// TestTrashReturns: a seal that lists a killed record, and not the sweep that
// killed it, brings the record back while the trash has it.
func TestTrashReturns(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	_, sp := memoryStore(t, Options{TrashAge: time.Hour, Now: c.Now})
	g := grant(t, sp, 1, record.Writer, "/")
	rs, err := sp.Write(ctx, key(1), 10, Draft{Kind: record.Entry, Path: "/a"}, Draft{Kind: record.Entry, Path: "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.Remove(ctx, key(1), 10, rs[0].ID, rs[1].ID); err != nil {
		t.Fatal(err)
	}
	if v := snapshot(t, sp); v.HeldStats().Trash != 2 {
		t.Fatalf("%+v", v.HeldStats())
	}
	if _, err := sp.Issue(ctx, key(rootKey), 20, "/", sealBody(record.ID{}, g.ID, rs[0].ID)); err != nil {
		t.Fatal(err)
	}
	v := snapshot(t, sp)
	if _, err := v.Get(rs[0].ID); err != nil {
		t.Fatalf("the listed record: %v", err)
	}
	if _, err := v.Get(rs[1].ID); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the other: %v", err)
	}
	if st := v.HeldStats(); st.Trash != 0 || st.Held != 2 { // the other record, and the sweep
		t.Fatalf("%+v", st)
	}
	verifyClean(t, sp)
}

func TestTrashExpiresUnlessListed(t *testing.T) {
	c := &clock{time.Unix(1000, 0)}
	_, sp := memoryStore(t, Options{TrashAge: time.Hour, Now: c.Now})
	grant(t, sp, 1, record.Writer, "/")
	other := grant(t, sp, 2, record.Writer, "/")
	rs, err := sp.Write(ctx, key(1), 10, Draft{Kind: record.Entry, Path: "/a"}, Draft{Kind: record.Entry, Path: "/b"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.Remove(ctx, key(1), 10, rs[0].ID, rs[1].ID); err != nil {
		t.Fatal(err)
	}
	// Any standing seal that lists a record keeps it.
	if _, err := sp.Issue(ctx, key(rootKey), 20, "/", sealBody(record.ID{}, other.ID, rs[0].ID)); err != nil {
		t.Fatal(err)
	}
	if st := snapshot(t, sp).HeldStats(); st.Trash != 2 || st.Kept != 1 {
		t.Fatalf("%+v", st)
	}
	c.now = c.now.Add(2 * time.Hour)
	grant(t, sp, 3, record.Writer, "/")
	_, _, trash := stored(t, sp)
	if len(trash) != 1 || trash[rs[0].ID] == nil {
		t.Fatalf("%d in the trash", len(trash))
	}
	verifyClean(t, sp)
}

func TestNoTrash(t *testing.T) {
	_, sp := memoryStore(t, Options{TrashAge: -1})
	grant(t, sp, 1, record.Writer, "/")
	rs, err := sp.Write(ctx, key(1), 10, Draft{Kind: record.Entry, Path: "/a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sp.Remove(ctx, key(1), 10, rs[0].ID); err != nil {
		t.Fatal(err)
	}
	if st := snapshot(t, sp).HeldStats(); st != (HeldStats{}) {
		t.Fatalf("%+v", st)
	}
	verifyClean(t, sp)
}

func TestSweepSpares(t *testing.T) {
	doc := func(deleted bool) Draft { return Draft{Kind: record.Doc, Path: "/p", Deleted: deleted} }
	write := func(t *testing.T, sp *Space, n int, d Draft) *record.Verified {
		t.Helper()
		rs, err := sp.Write(ctx, key(n), 10, d)
		if err != nil {
			t.Fatal(err)
		}
		return rs[0]
	}
	sweep := func(t *testing.T, sp *Space, n, want int) {
		t.Helper()
		if got, err := sp.Sweep(ctx, key(n), 10); err != nil || got != want || sp.PendingKills() != 0 {
			t.Fatalf("killed %d, want %d; %d pending; %v", got, want, sp.PendingKills(), err)
		}
		verifyClean(t, sp)
	}
	t.Run("the author's newest while another's is read", func(t *testing.T) {
		_, sp := memoryStore(t, Options{})
		grant(t, sp, 1, record.Writer, "/")
		grant(t, sp, 2, record.Writer, "/")
		old := write(t, sp, 1, doc(false))
		mine := write(t, sp, 1, doc(false))
		write(t, sp, 2, doc(false))
		sweep(t, sp, 1, 1)
		if _, err := snapshot(t, sp).Get(mine.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot(t, sp).Get(old.ID); err == nil {
			t.Fatal("the old version stands")
		}
	})
	t.Run("a delete among others", func(t *testing.T) {
		_, sp := memoryStore(t, Options{})
		grant(t, sp, 1, record.Writer, "/")
		g := grant(t, sp, 2, record.Writer, "/p")
		write(t, sp, 1, doc(false))
		del := write(t, sp, 1, doc(true))
		sweep(t, sp, 1, 1)
		if _, err := snapshot(t, sp).Get(del.ID); err != nil {
			t.Fatal(err)
		}
		// A later doc of the same author hides what the delete hid.
		write(t, sp, 1, doc(false))
		sweep(t, sp, 1, 1)
		del = write(t, sp, 1, doc(true))
		sweep(t, sp, 1, 1)
		// A sealed grant still stands; nothing goes.
		if _, err := sp.Issue(ctx, key(rootKey), 20, "/", sealBody(record.ID{}, g.ID)); err != nil {
			t.Fatal(err)
		}
		sweep(t, sp, 1, 0)
		if _, err := snapshot(t, sp).Get(del.ID); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a delete until the others are gone", func(t *testing.T) {
		_, sp := memoryStore(t, Options{})
		grant(t, sp, 1, record.Writer, "/")
		admin := grant(t, sp, 1, record.Admin, "/")
		if _, err := sp.Issue(ctx, key(1), 2, "/p", grantBody(admin.ID, 2, record.Writer, 0)); err != nil {
			t.Fatal(err)
		}
		write(t, sp, 1, doc(true))
		sweep(t, sp, 1, 0)
		if _, err := sp.Issue(ctx, key(rootKey), 3, "/", sealBody(record.ID{}, admin.ID)); err != nil {
			t.Fatal(err)
		}
		sweep(t, sp, 1, 1)
	})
	t.Run("a delete alone", func(t *testing.T) {
		_, sp := memoryStore(t, Options{})
		grant(t, sp, 1, record.Writer, "/")
		grant(t, sp, 2, record.Writer, "/q")
		grant(t, sp, 3, record.Reader, "/")
		write(t, sp, 1, doc(false))
		write(t, sp, 1, doc(true))
		sweep(t, sp, 1, 2)
		if docs, err := snapshot(t, sp).Docs("/p"); err != nil || len(docs) != 0 {
			t.Fatalf("%d docs, %v", len(docs), err)
		}
	})
	t.Run("a delete over a held doc", func(t *testing.T) {
		_, sp := memoryStore(t, Options{})
		grant(t, sp, 1, record.Writer, "/")
		commitOne(t, sp, sign(t, sp, 2, record.Record{Kind: record.Doc, Time: 1, Lane: 1, Seq: 1, Path: "/p"}))
		write(t, sp, 1, doc(false))
		write(t, sp, 1, doc(true))
		sweep(t, sp, 1, 1)
	})
}

// TestSweepFillsBlocks: a block that is swept whole, with all below it, needs
// no bits.
func TestSweepFillsBlocks(t *testing.T) {
	_, sp := memoryStore(t, Options{TrashAge: -1})
	grant(t, sp, 1, record.Writer, "/")
	const n = 2*record.BlockNumbers + 10
	drafts := make([]Draft, n)
	for i := range drafts {
		drafts[i] = Draft{Kind: record.Entry, Path: "/log"}
	}
	rs, err := sp.Write(ctx, key(1), 1, drafts...)
	if err != nil {
		t.Fatal(err)
	}
	ids := idsOf(rs)
	for part := range slices.Chunk(ids[:n-1], 3000) {
		if err := sp.Remove(ctx, key(1), 1, part...); err != nil {
			t.Fatal(err)
		}
	}
	v := snapshot(t, sp)
	var bytes int
	sweeps := v.State().Sweeps()
	for _, r := range sweeps {
		bytes += len(r.Payload)
	}
	if v.Count() != 2+uint64(len(sweeps)) || len(sweeps) != 2 || bytes != 2 {
		t.Fatalf("count %d, %d sweeps with %d bytes of bits", v.Count(), len(sweeps), bytes)
	}
	if _, err := v.Get(ids[n-1]); err != nil {
		t.Fatal(err)
	}
	verifyClean(t, sp)
}

func TestTimeExhausted(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	grant(t, sp, 2, record.Writer, "/")
	last := sign(t, sp, 2, record.Record{Kind: record.Entry, Time: record.MaxTime, Lane: 1, Seq: 1, Path: "/p"})
	commitOne(t, sp, last)
	_, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Doc, Path: "/p"})
	var exhausted *TimeExhaustedError
	if !errors.As(err, &exhausted) || exhausted.Path != "/p" || exhausted.Record != last.ID || exhausted.Author != pub(2) {
		t.Fatalf("%v", err)
	}
	if _, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Doc, Path: "/p/q"}); err != nil {
		t.Fatal(err)
	}
}

func TestForksAreSeen(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	var rs []*record.Verified
	for seq := uint32(1); seq <= 4; seq++ {
		rs = append(rs, sign(t, sp, 1, record.Record{Kind: record.Entry, Time: 1, Lane: 5, Seq: seq, Path: "/p"}))
	}
	rs = append(rs, sign(t, sp, 1, record.Record{Kind: record.Entry, Time: 2, Lane: 5, Seq: 3, Path: "/p"}))
	res := commitOne(t, sp, rs...)
	want := Fork{pub(1), 5, 3}
	forks, err := snapshot(t, sp).Forks()
	if err != nil || len(forks) != 1 || forks[0] != want || len(res.Forks) != 1 || res.Forks[0] != want {
		t.Fatalf("%v, %v, %v", forks, res.Forks, err)
	}
}

func TestSinceTellsEverything(t *testing.T) {
	_, sp := memoryStore(t, Options{})
	grant(t, sp, 1, record.Writer, "/")
	start := snapshot(t, sp)
	set := membersOf(t, start)
	for i := range 30 {
		if _, err := sp.Write(ctx, key(1), uint64(i), Draft{Kind: record.Doc, Path: "/p"}); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			if _, err := sp.Sweep(ctx, key(1), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	end := snapshot(t, sp)
	number := start.Version()
	for a, err := range end.Since(start.Version()) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Number <= number {
			t.Fatalf("number %d after %d", a.Number, number)
		}
		if number = a.Number; a.Record != nil {
			set[a.Record.ID] = a.Record
		} else {
			delete(set, a.Left)
		}
	}
	sameIDs(t, "the replay", set, membersOf(t, end))
	if !end.Complete(0) || number != end.Version() {
		t.Fatalf("complete %v, last %d of %d", end.Complete(0), number, end.Version())
	}
}

func TestDeparturesAreForgotten(t *testing.T) {
	s, sp := memoryStore(t, Options{departures: 8})
	grant(t, sp, 1, record.Writer, "/")
	for i := range 40 {
		rs, err := sp.Write(ctx, key(1), uint64(i), Draft{Kind: record.Entry, Path: "/p"})
		if err != nil {
			t.Fatal(err)
		}
		if err := sp.Remove(ctx, key(1), 1, rs[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	v := snapshot(t, sp)
	lo := tableKey(tableDeparture, sp.number, 0)
	rows, _, err := s.engine.chunk(lo, successor(lo), 1000)
	if err != nil || len(rows) > 10 || len(rows) < 8 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if v.Complete(0) || !v.Complete(v.Version()) || !v.Complete(v.Version()-8) {
		t.Fatalf("complete %v %v", v.Complete(0), v.Complete(v.Version()-8))
	}
	verifyClean(t, sp)
}

func TestListQueries(t *testing.T) {
	s, err := Open("store", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	grant(t, sp, 1, record.Writer, "/")
	grant(t, sp, 2, record.Writer, "/")
	var all []*record.Verified
	for i := range 60 {
		kinds := []record.Kind{record.Entry, record.Doc, record.Delta}
		rs, err := sp.Write(ctx, key(1+i%2), uint64(10*(i%9)+1), Draft{Kind: kinds[i%3], Path: worldPaths[i%5]})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rs...)
	}
	v := snapshot(t, sp)
	queries := []Query{{}, {Prefix: "/a"}, {Prefix: "/a/b"}, {Prefix: "/"}, {Gte: "/a", Lte: "/a/b"}, {Gte: "/a-b"}, {Lte: "/b"},
		{Authors: []record.Key{pub(2)}}, {Kinds: []record.Kind{record.Doc}}, {From: 20, To: 60}, {Prefix: "/a", From: 20, Authors: []record.Key{pub(1)}},
		{Authors: []record.Key{pub(9)}}}
	for _, q := range queries {
		for _, order := range []Order{Path, Oldest, Newest} {
			for _, limit := range []int{0, 1, 5} {
				q.Order, q.Limit = order, limit
				var want []*record.Verified
				for _, r := range all {
					if q.acceptsRecord(r) {
						want = append(want, r)
					}
				}
				slices.SortFunc(want, func(a, b *record.Verified) int {
					if order == Path && a.Path != b.Path {
						return slices.Compare([]byte(a.Path), []byte(b.Path))
					}
					if order == Path && a.Kind != b.Kind {
						return int(a.Kind) - int(b.Kind)
					}
					return item(a).Compare(item(b))
				})
				if order == Newest {
					slices.Reverse(want)
				}
				if limit > 0 && len(want) > limit {
					want = want[:limit]
				}
				checkList(t, v, q, want)
			}
		}
	}
	n := 0
	for r, err := range v.List(Query{Everything: true, Authors: []record.Key{pub(rootKey)}}) {
		if err != nil || r.Kind != record.Control {
			t.Fatalf("%v %v", r, err)
		}
		n++
	}
	if n != 2 {
		t.Fatalf("%d control records", n)
	}
}
