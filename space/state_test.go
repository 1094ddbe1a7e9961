package space_test

import (
	"slices"
	"testing"

	"anabranch/internal/model"
	"anabranch/record"
	"anabranch/space"
)

// small is a space with a root key and a writer, for tests about sweeps.
func small() (*model.Universe, *space.State, *model.Record) {
	u := model.NewUniverse([]record.Key{model.Key(0)}, record.BlockNumbers)
	body := record.ControlBody{Type: record.GrantType, Grant: &record.Grant{Author: model.Key(1), Device: model.Key(9), Role: record.Writer}}
	grant := u.Make(model.Key(0), record.Record{Kind: record.Control, Time: 1, Path: "/", Payload: body.Payload()})
	s := space.NewState(u.Roots)
	s.Insert(grant.Verified)
	return u, s, grant
}

func sweep(u *model.Universe, block uint32, bits []byte, area string) *record.Verified {
	return u.Make(model.Key(1), record.Record{Kind: record.Sweep, Time: 2, Lane: 7, Seq: block, Path: area, Payload: bits}).Verified
}

func TestSweptUnionIsWhereANewSweepStarts(t *testing.T) {
	u, s, _ := small()
	if got := s.SweptUnion(model.Key(1), 7, "/a", 1); len(got.Bits) != 512 || got.Whole() || got.Has(4097) {
		t.Fatalf("a union of nothing has %d bytes", len(got.Bits))
	}
	s.Insert(sweep(u, 1, []byte{1}, "/a"), sweep(u, 1, []byte{0, 4}, "/a"), sweep(u, 1, []byte{2}, "/b"))
	got := s.SweptUnion(model.Key(1), 7, "/a", 1)
	for n, want := range map[uint32]bool{4097: true, 4098: false, 4107: true, 4108: false, 1: false} {
		if got.Has(n) != want {
			t.Errorf("number %d: %v", n, got.Has(n))
		}
	}
	for n, want := range map[uint32]bool{4097: true, 4098: true, 4099: false, 1: false} {
		if s.Swept(model.Key(1), 7, n) != want || s.Swept(model.Key(1), 8, n) {
			t.Errorf("number %d swept: %v", n, !want)
		}
	}
	s.Insert(sweep(u, 2, nil, "/a"))
	if got := s.SweptUnion(model.Key(1), 7, "/a", 0); !got.Has(1) || !got.Has(4096) {
		t.Errorf("a whole sweep is not in the union of a block below it")
	}
}

func TestASweepSelectsOnlyWhatIsNew(t *testing.T) {
	u, s, _ := small()
	s.Insert(sweep(u, 1, []byte{0x07}, "/a"))
	got := s.Insert(sweep(u, 1, []byte{0x3F, 0x80}, "/a")).Selectors
	want := []space.Span{{First: 4100, Last: 4102}, {First: 4112, Last: 4112}}
	if len(got) != 1 || len(got[0].Numbers) != 2 || got[0].Numbers[0] != want[0] || got[0].Numbers[1] != want[1] {
		t.Errorf("selected %+v", got)
	}
	if got := s.Insert(sweep(u, 1, []byte{0x03}, "/a")); len(got.Selectors)+len(got.Entered) > 0 {
		t.Errorf("a redundant sweep changes %+v", got)
	}
	got = s.Insert(sweep(u, record.MaxBlock, nil, "/a")).Selectors
	if len(got) != 1 || got[0].Numbers[0] != (space.Span{First: 1, Last: 1<<32 - 1}) {
		t.Errorf("every number there can be: %+v", got)
	}
}

// Two sweeps with the same numbers are not the same when a seal lists only one
// of them: the second to arrive may kill what the first could not.
func TestASweepSelectsWhatItsRivalMayNotKill(t *testing.T) {
	for name, bits := range map[string][]byte{"bits": {1}, "whole": nil} {
		u := model.NewUniverse([]record.Key{model.Key(0)}, record.BlockNumbers)
		s := space.NewState(u.Roots)
		issue := func(area string, body record.ControlBody) *record.Verified {
			r := u.Make(model.Key(0), record.Record{Kind: record.Control, Time: 1, Path: area, Payload: body.Payload()}).Verified
			s.Insert(r)
			return r
		}
		writer := record.ControlBody{Type: record.GrantType, Grant: &record.Grant{Author: model.Key(1), Role: record.Writer}}
		issue("/a", writer)
		inB := issue("/b", writer)
		doc := u.Make(model.Key(1), record.Record{Kind: record.Doc, Time: 2, Lane: 7, Seq: 1, Path: "/b/x"}).Verified
		listed := sweep(u, 0, bits, "/")
		other := u.Make(model.Key(1), record.Record{Kind: record.Sweep, Time: 5, Lane: 7, Path: "/", Payload: bits}).Verified
		list := []record.Prefix{doc.ID.Prefix(), listed.ID.Prefix()}
		slices.SortFunc(list, func(a, b record.Prefix) int { return slices.Compare(a[:], b[:]) })
		issue("/", record.ControlBody{Type: record.SealType, Seal: &record.Seal{Target: inB.ID, Part: 1, Parts: 1, List: list}})

		if s.Insert(other); s.Judge(doc) != space.Member {
			t.Errorf("%s: a sweep that the seal does not list killed what it lists", name)
		}
		change := s.Insert(listed)
		if s.Judge(doc) != space.Dead || len(change.Selectors) != 1 || !change.Selectors[0].Covers(&doc.Record) {
			t.Errorf("%s: the listed sweep leaves the document %v and selects %+v", name, s.Judge(doc), change.Selectors)
		}
		if s.Judge(other) != space.Dead {
			t.Errorf("%s: the sweep that counts in less is %v", name, s.Judge(other))
		}
	}
}

func TestASealedMemberReadsNoMore(t *testing.T) {
	u, s, grant := small()
	if !s.MayRead(model.Key(9)) || s.MayRead(model.Key(1)) {
		t.Error("before the seal: the device may read, and a key that is no device may not")
	}
	body := record.ControlBody{Type: record.SealType, Seal: &record.Seal{Target: grant.ID, Part: 1, Parts: 1}}
	change := s.Insert(u.Make(model.Key(0), record.Record{Kind: record.Control, Time: 3, Path: "/", Payload: body.Payload()}).Verified)
	if s.MayRead(model.Key(9)) || !s.GrantsOf(model.Key(1))[0].Sealed || !s.GrantsOfDevice(model.Key(9))[0].Sealed || len(s.Members()) != 1 {
		t.Error("after the seal: the grant stands, sealed, and its device may not read")
	}
	if len(change.Selectors) != 1 || change.Selectors[0].Author != model.Key(1) || change.Selectors[0].Area != "/" {
		t.Errorf("selected %+v", change.Selectors)
	}
}

func BenchmarkJudgeData(b *testing.B) {
	u, s, _ := small()
	for block := range uint32(200) {
		s.Insert(sweep(u, block, []byte{0x55}, "/notes"))
	}
	r := u.Make(model.Key(1), record.Record{Kind: record.Doc, Time: 9, Lane: 7, Seq: 400_002, Path: "/notes/2026/today"}).Verified
	b.ReportAllocs()
	for b.Loop() {
		if s.Judge(r) != space.Member {
			b.Fatal("not a member")
		}
	}
}

// One more grant where a thousand are known: what control costs.
func BenchmarkInsertGrant(b *testing.B) {
	u := model.NewUniverse([]record.Key{model.Key(0)}, record.BlockNumbers)
	s := space.NewState(u.Roots)
	var all []*record.Verified
	for i := range 1000 {
		body := record.ControlBody{Type: record.GrantType, Grant: &record.Grant{Author: record.Key{1, byte(i), byte(i >> 8)}, Role: record.Writer}}
		all = append(all, u.Make(model.Key(0), record.Record{Kind: record.Control, Time: uint64(i + 1), Path: "/", Payload: body.Payload()}).Verified)
	}
	s.Insert(all[1:]...)
	b.ReportAllocs()
	for b.Loop() {
		s.Clone().Insert(all[0])
	}
}

func BenchmarkInsertSweep(b *testing.B) {
	u, s, _ := small()
	for block := range uint32(800) {
		s.Insert(sweep(u, block, []byte{0x55}, "/notes"))
	}
	next := sweep(u, 400, []byte{0x77}, "/notes")
	b.ReportAllocs()
	for b.Loop() {
		s.Clone().Insert(next)
	}
}
