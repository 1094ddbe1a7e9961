package anabranch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"anabranch/record"
)

// TestWhyNamesTheRule leads records through every way to be in the set or
// outside of it.
func TestWhyNamesTheRule(t *testing.T) {
	w := newWorld(t)
	a, b := w.open("a"), w.open("b")
	as, _ := w.create(a)
	bs := w.join(as, b, InviteOptions{Role: record.Writer, Area: "/b"})
	expect := func(id record.ID, place Place, reason Reason) Why {
		t.Helper()
		found, err := as.Why(w.ctx, id.String()[:20])
		if err != nil || len(found) != 1 {
			t.Fatalf("%d found, %v", len(found), err)
		}
		if found[0].Place != place || found[0].Reason != reason {
			t.Errorf("is %s by %s, want %s by %s", found[0].Place, found[0].Reason, place, reason)
		}
		return found[0]
	}
	// commit hands a record to a as if a peer had sent it.
	commit := func(key ed25519.PrivateKey, r record.Record) *Record {
		t.Helper()
		r.Time = a.now()
		v, err := record.Sign(as.ID(), key, r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := as.rows.Commit(w.ctx, []*Record{v}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	entry := func(path string) record.Record {
		return record.Record{Kind: record.Entry, Lane: 7, Seq: 1, Path: path}
	}

	// In the set.
	first := w.put(as, "/plan", "one")
	why := expect(first.ID, PlaceMember, ByGrant)
	if why.State != Current || why.Reads != first.ID || why.Device != a.Device() || why.Role != "admin" || why.Forked {
		t.Errorf("%+v", why)
	}
	if len(why.Holders) != 0 || len(why.Others) != 1 || why.Others[0].Device != b.Device() {
		t.Errorf("before a session %v hold it, of %v it is not known", why.Holders, why.Others)
	}
	w.sync(as, bs)
	if why := expect(first.ID, PlaceMember, ByGrant); len(why.Holders) != 1 || len(why.Others) != 0 {
		t.Errorf("after a session %v hold it, of %v it is not known", why.Holders, why.Others)
	}
	second := w.put(as, "/plan", "two")
	if why := expect(second.ID, PlaceMember, ByGrant); len(why.Holders) != 0 {
		t.Errorf("what was written since is said to be held by %v", why.Holders)
	}
	if why := expect(first.ID, PlaceMember, ByGrant); why.State != Replaced || why.Reads != second.ID || len(why.Holders) != 1 {
		t.Errorf("%+v", why)
	}
	members, err := as.Members(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	expect(members[0].Grant, PlaceMember, ByRootKey)
	expect(members[1].Grant, PlaceMember, ByGrant)

	// Removed.
	if err := as.sweep(w.ctx); err != nil {
		t.Fatal(err)
	}
	why = expect(first.ID, PlaceDead, Swept)
	if len(why.By) != 1 {
		t.Fatalf("%+v", why)
	}
	small := why.By[0]
	expect(small, PlaceMember, ByGrant)
	found, err := as.Why(w.ctx, "/plan")
	if err != nil || len(found) != 2 || found[0].ID != second.ID || found[1].ID != first.ID {
		t.Errorf("%v, %d at the path", err, len(found))
	}
	w.put(as, "/plan", "three")
	if err := as.sweep(w.ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := as.Why(w.ctx, small.String()); !errors.Is(err, ErrNotFound) {
		t.Errorf("a sweep whose work another one does: %v", err) // it is kept only where a seal lists it
	}

	// Held.
	expect(commit(newKey(), entry("/x")).ID, PlaceHeld, NoGrant)
	why = expect(commit(bs.author(), entry("/x")).ID, PlaceHeld, NotCovered)
	if !slices.Equal(why.Under, []string{"/b"}) {
		t.Errorf("%q", why.Under)
	}
	c := w.open("c")
	cs := w.join(as, c, InviteOptions{Role: record.Reader})
	expect(commit(cs.author(), entry("/x")).ID, PlaceHeld, NotEnough)
	grant := func(under record.ID) record.Record {
		body := newGrant(under, record.Public(newKey()), b.Device(), record.Writer)
		return record.Record{Kind: record.Control, Path: "/", Payload: body.Payload()}
	}
	expect(commit(bs.author(), grant(record.ID{9})).ID, PlaceHeld, UnknownIssuer)
	expect(commit(bs.author(), grant(members[1].Grant)).ID, PlaceHeld, NotEnough)

	// Revoked.
	stays := w.put(bs, "/b/x", "stays")
	w.sync(as, bs)
	if _, err := as.Revoke(w.ctx, b.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	why = expect(stays.ID, PlaceMember, BySealList)
	if len(why.By) != 1 || why.Device != b.Device() {
		t.Errorf("%+v", why)
	}
	late := entry("/b/late")
	late.Seq = 2
	why = expect(commit(bs.author(), late).ID, PlaceHeld, Revoked)
	if len(why.By) != 1 {
		t.Errorf("%+v", why)
	}
	expect(why.By[0], PlaceMember, ByGrant)

	for _, gone := range []string{"ffffffffffff", "/nowhere"} {
		if _, err := as.Why(w.ctx, gone); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	for _, bad := range []string{"", "abc", "zzzz", "/a//b"} {
		if _, err := as.Why(w.ctx, bad); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestConvergeComparesAnew(t *testing.T) {
	w := newWorld(t)
	a, b := w.open("a"), w.open("b")
	as, _ := w.create(a)
	if _, err := as.Converge(w.ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("alone: %v", err)
	}
	bs := w.join(as, b, InviteOptions{})
	w.know(as, bs)
	w.put(bs, "/x", "written there")
	c, err := as.Converge(w.ctx)
	if err != nil || !c.Peers[0].Agreed || w.text(as, "/x") != "written there" {
		t.Errorf("%+v, %v", c, err)
	}
	// What was agreed on before the call is not taken for the present.
	b.SetOnline(false)
	ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel()
	if c, err := as.Converge(ctx); err == nil || c.Peers[0].Agreed || c.Root == (Root{}) {
		t.Errorf("with nobody there: %+v, %v", c, err)
	}
}
