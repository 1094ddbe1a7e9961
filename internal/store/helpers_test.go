package store

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

var ctx = context.Background()

// key is a private key made from a number.
func key(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, uint64(n)+1)
	return ed25519.NewKeyFromSeed(seed)
}

func pub(n int) record.Key { return record.Public(key(n)) }

const rootKey = 1000

func genesis(t testing.TB, n byte) []byte {
	t.Helper()
	g, err := space.NewGenesis(key(rootKey), nil, [16]byte{n})
	if err != nil {
		t.Fatal(err)
	}
	return g.Encode()
}

func createSpace(t testing.TB, s *Store) *Space {
	t.Helper()
	sp, err := s.Create(ctx, genesis(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	return sp
}

// grantBody lets author n (device n+500) act in an area.
func grantBody(under record.ID, n int, role record.Role, random byte) record.ControlBody {
	return record.ControlBody{Type: record.GrantType, Under: under, Grant: &record.Grant{
		Author: pub(n), Device: pub(n + 500), Role: role, Random: [16]byte{random},
	}}
}

func sealBody(under, target record.ID, list ...record.ID) record.ControlBody {
	prefixes := make([]record.Prefix, len(list))
	for i, id := range list {
		prefixes[i] = id.Prefix()
	}
	slices.SortFunc(prefixes, func(a, b record.Prefix) int { return slices.Compare(a[:], b[:]) })
	return record.ControlBody{Type: record.SealType, Under: under, Seal: &record.Seal{
		Target: target, SealID: [16]byte{1}, Part: 1, Parts: 1, List: slices.Compact(prefixes),
	}}
}

// grant issues a grant by the root key.
func grant(t testing.TB, sp *Space, n int, role record.Role, area string) *record.Verified {
	t.Helper()
	rs, err := sp.Issue(ctx, key(rootKey), 1, area, grantBody(record.ID{}, n, role, 0))
	if err != nil {
		t.Fatal(err)
	}
	return rs[0]
}

func sign(t testing.TB, sp *Space, n int, r record.Record) *record.Verified {
	t.Helper()
	v, err := record.Sign(sp.id, key(n), r)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func snapshot(t testing.TB, sp *Space) *Snapshot {
	t.Helper()
	v, err := sp.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// verifyClean fails the test unless Verify finds nothing.
func verifyClean(t testing.TB, sp *Space) *VerifyReport {
	t.Helper()
	report, err := sp.Verify(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		t.Errorf("verify: %v", f)
	}
	if t.Failed() {
		t.FailNow()
	}
	return report
}

// membersOf reads every member through the listing.
func membersOf(t testing.TB, v *Snapshot) map[record.ID]*record.Verified {
	t.Helper()
	out := make(map[record.ID]*record.Verified)
	for r, err := range v.List(Query{Order: Oldest, Everything: true}) {
		if err != nil {
			t.Fatal(err)
		}
		out[r.ID] = r
	}
	return out
}

// lawOf is what a set of records denotes, evaluated from scratch: the slow
// twin of everything the store keeps.
func lawOf(sp *Space, known map[record.ID]*record.Verified) (members, held, dead map[record.ID]*record.Verified) {
	law := space.NewState(sp.genesis.Roots)
	var rules []*record.Verified
	for _, r := range known {
		if !r.Data() {
			rules = append(rules, r)
		}
	}
	law.Insert(rules...)
	members, held, dead = map[record.ID]*record.Verified{}, map[record.ID]*record.Verified{}, map[record.ID]*record.Verified{}
	for id, r := range known {
		switch law.Judge(r) {
		case space.Member:
			members[id] = r
		case space.Held:
			held[id] = r
		case space.Dead:
			dead[id] = r
		}
	}
	return members, held, dead
}

// checkSet compares every order, count and root of a snapshot with a plain
// set of members. It shares no code with Verify.
func checkSet(t testing.TB, v *Snapshot, want map[record.ID]*record.Verified) {
	t.Helper()
	if v.Count() != uint64(len(want)) {
		t.Fatalf("count %d, want %d", v.Count(), len(want))
	}
	var items []reconcile.Item
	var ids []merkle.ID
	var data []*record.Verified
	for id, r := range want {
		items = append(items, reconcile.Item{Time: r.Time, ID: id})
		ids = append(ids, id)
		if r.Data() {
			data = append(data, r)
		}
		got, err := v.Get(id)
		if err != nil {
			t.Fatalf("get %v %v: %v", r.Kind, id, err)
		}
		if string(got.Bytes) != string(r.Bytes) {
			t.Fatalf("get %v: other bytes", id)
		}
	}
	var trie merkle.Tree
	trie.Insert(ids...)
	root, err := v.Root()
	if err != nil {
		t.Fatal(err)
	}
	if wantRoot := merkle.Root(v.space.id, nil, uint64(len(ids)), trie.Hash()); root != wantRoot {
		t.Fatalf("root %x, want %x", root, wantRoot)
	}
	vector, err := reconcile.NewVector(items)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3; i++ {
		begin, end := len(items)*i/4, len(items)-len(items)*i/5
		a, err := v.Index().Fingerprint(begin, end)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := vector.Fingerprint(begin, end); a != b {
			t.Fatalf("fingerprint [%d, %d) differs", begin, end)
		}
	}
	byTime := func(a, b *record.Verified) int { return item(a).Compare(item(b)) }
	slices.SortFunc(data, byTime)
	checkList(t, v, Query{Order: Oldest}, data)
	slices.Reverse(data)
	checkList(t, v, Query{Order: Newest}, data)
	byPath := make(map[string]map[record.ID]bool)
	for _, r := range data {
		if byPath[r.Path] == nil {
			byPath[r.Path] = make(map[record.ID]bool)
		}
		byPath[r.Path][r.ID] = true
	}
	n, last := 0, ""
	for r, err := range v.List(Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Path < last || !byPath[r.Path][r.ID] {
			t.Fatalf("path order: %s %v", r.Path, r.ID)
		}
		n, last = n+1, r.Path
	}
	if n != len(data) {
		t.Fatalf("path order has %d, want %d", n, len(data))
	}
}

func checkList(t testing.TB, v *Snapshot, q Query, want []*record.Verified) {
	t.Helper()
	i := 0
	for r, err := range v.List(q) {
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(want) || r.ID != want[i].ID {
			t.Fatalf("listing %+v: place %d holds %v", q, i, r.ID)
		}
		i++
	}
	if i != len(want) {
		t.Fatalf("listing %+v: %d records, want %d", q, i, len(want))
	}
}

// within fails the test if fn does not end in time: nothing may hang.
func within(t testing.TB, d time.Duration, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("%s hangs", what)
	}
}
