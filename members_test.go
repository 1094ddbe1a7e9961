package anabranch

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"anabranch/internal/session"
	"anabranch/record"
)

func TestARevokedDeviceWritesNoMore(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	rb, rc, rd := w.open("b"), w.open("c"), w.open("d")
	b := w.join(s, rb, InviteOptions{})
	c := w.join(s, rc, InviteOptions{})
	d := w.join(s, rd, InviteOptions{Role: record.Reader})
	for i := range 50 {
		w.put(b, fmt.Sprintf("/b/%d", i), "before")
	}
	w.sync(b, s)
	w.sync(s, c)

	// b goes on in secret: later records, and some dated long before.
	late := w.put(b, "/b/late", "after")
	old, err := record.Sign(b.ID(), b.author(), record.Record{
		Kind: record.Entry, Time: 1, Lane: 99, Seq: 1, Path: "/b/back-dated", Payload: []byte("I was always here"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.rows.Commit(w.ctx, []*Record{old}); err != nil {
		t.Fatal(err)
	}
	w.know(b, c)
	w.know(b, d)

	revoked, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if revoked.Listed != 50 || revoked.Grants != 1 {
		t.Errorf("revoked %d grants, %d records listed; want 1 and 50", revoked.Grants, revoked.Listed)
	}

	// c meets b first, which has not been told, and learns of the seal after.
	w.sync(c, b)
	if _, err := c.Record(w.ctx, late.ID); err != nil {
		t.Errorf("c should have believed b so far: %v", err)
	}
	w.sync(c, s)
	w.sync(d, s)
	w.equal(s, c, d)
	for _, side := range []*Space{s, c, d} {
		for _, id := range []record.ID{late.ID, old.ID} {
			if _, err := side.Record(w.ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("a record of the revoked device is in the set: %v", err)
			}
		}
		if got := w.text(side, "/b/7"); got != "before" {
			t.Errorf("a listed record reads %q", got)
		}
	}
	// It can no longer read: neither by calling nor by being called.
	if _, err := b.Sync(w.ctx, a.Device()); !errors.Is(err, ErrRefused) {
		t.Errorf("the revoked device calls: %v", err)
	}
	if _, err := c.Sync(w.ctx, rb.Device()); !errors.Is(err, ErrNotMember) {
		t.Errorf("the revoked device is called: %v", err)
	}
	members, err := c.Members(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		if m.Revoked != (m.Device == rb.Device()) {
			t.Errorf("member %v: revoked %v", m.Device, m.Revoked)
		}
	}
}

func TestTheFirstDeviceIsRevokedWithTheRootKey(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, key := w.create(a)
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{Role: record.Admin})
	w.put(s, "/a", "from the first device")
	w.sync(s, b)
	var above *NotAncestorError
	if _, err := b.Revoke(w.ctx, a.Device(), RevokeOptions{}); !errors.As(err, &above) {
		t.Errorf("an admin below revoked the first device: %v", err)
	}
	text := key.String()
	parsed, err := ParseRecoveryKey(strings.ToUpper(text[:20]) + " " + text[20:] + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRecoveryKey(text[:len(text)-1] + "a"); err == nil && text[len(text)-1] != 'a' {
		t.Error("a mistyped recovery key was accepted")
	}
	if _, err := b.Revoke(w.ctx, a.Device(), RevokeOptions{RootKey: &parsed}); err != nil {
		t.Fatal(err)
	}
	if got := w.text(b, "/a"); got != "from the first device" {
		t.Errorf("listed record reads %q", got)
	}
	// The grant that the first device gave b is listed, so b stands.
	w.put(b, "/b", "still here")
	if _, err := s.Sync(w.ctx, rb.Device()); !errors.Is(err, ErrRefused) {
		t.Errorf("the first device calls: %v", err)
	}
}

func TestAlsoInvitedTakesThoseBelow(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb, rc := w.open("b"), w.open("c")
	b := w.join(s, rb, InviteOptions{Role: record.Admin})
	c := w.join(b, rc, InviteOptions{})
	w.put(c, "/c", "kept")
	w.sync(c, b)
	w.sync(b, s)
	got, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{AlsoInvited: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.Grants != 2 || len(got.Devices) != 2 {
		t.Errorf("revoked %d grants of %d devices, want 2 of 2", got.Grants, len(got.Devices))
	}
	if text := w.text(s, "/c"); text != "kept" {
		t.Errorf("listed record reads %q", text)
	}
	view, err := s.snapshot(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if view.State().MayRead(rc.Device()) {
		t.Error("the invited device may still read")
	}
}

func TestWhatAVandalSweptReturnsWhereItWasListed(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	c := w.join(s, w.open("c"), InviteOptions{})
	var ids []record.ID
	for i := range 20 {
		v, err := b.Append(w.ctx, "/log", fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	w.sync(b, s)
	w.sync(s, c)
	// a seals b listing what it holds now; at the same time b sweeps it all,
	// and c learns of the sweep before the seal.
	if err := b.Remove(w.ctx, ids...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sync(c, b)
	if _, err := c.Record(w.ctx, ids[0]); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the sweep did not work at c: %v", err)
	}
	w.sync(c, s)
	w.equal(s, c)
	for _, side := range []*Space{s, c} {
		for _, id := range ids {
			if _, err := side.Record(w.ctx, id); err != nil {
				t.Fatalf("what was listed did not return: %v", err)
			}
		}
	}
}

func TestRolesAndAreasBoundWhatIsWritten(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	reader := w.join(s, w.open("r"), InviteOptions{Role: record.Reader})
	writer := w.join(s, w.open("w"), InviteOptions{Area: "/w"})
	if _, err := reader.Put(w.ctx, "/x", nil); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("a reader writes: %v", err)
	}
	if _, err := writer.Put(w.ctx, "/x", nil); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("outside the area: %v", err)
	}
	if _, err := writer.Put(w.ctx, "/w/x", nil); err != nil {
		t.Errorf("inside the area: %v", err)
	}
	if _, err := writer.Invite(w.ctx, InviteOptions{}); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("a writer invites: %v", err)
	}
	// A record that its author had no right to write is held and not passed on.
	stranger := ed25519.NewKeyFromSeed(make([]byte, 32))
	v, err := record.Sign(s.ID(), stranger, record.Record{Kind: record.Doc, Time: 5, Lane: 1, Seq: 1, Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	before := w.root(s)
	if _, err := s.rows.Commit(w.ctx, []*Record{v}); err != nil {
		t.Fatal(err)
	}
	st, err := s.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if w.root(s) != before || st.Held != 1 {
		t.Errorf("held %d, root moved: %v", st.Held, w.root(s) != before)
	}
	w.sync(s, writer)
	w.equal(s, writer)
}

func TestTicketsAreUsedOnceAndOnlyAsMade(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	s, _ := w.create(w.open("a", func(o *Options) { o.Clock = func() time.Time { return now } }))
	ticket, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseTicket(" " + strings.ToUpper(ticket.String()[:40]) + "\n" + ticket.String()[40:])
	if err != nil || parsed.String() != ticket.String() {
		t.Fatalf("the ticket's text reads back as %v, %v", parsed, err)
	}
	text := ticket.String()
	for i := len(ticketPrefix); i < len(text); i++ {
		altered := []byte(text)
		if altered[i] = 'a'; text[i] == 'a' {
			altered[i] = 'b'
		}
		if _, err := ParseTicket(string(altered)); !errors.Is(err, ErrTicket) {
			t.Fatalf("altered at %d: %v", i, err)
		}
	}
	forged := ticket
	forged.secret[3] ^= 1
	if _, err := w.open("forger").Join(w.ctx, forged, "x"); !errors.Is(err, ErrTicket) {
		t.Errorf("another secret: %v", err)
	}
	if _, err := s.replica.Join(w.ctx, ticket, "x"); !errors.Is(err, ErrTicket) {
		t.Errorf("the inviter's own: %v", err)
	}
	if _, err := w.open("b").Join(w.ctx, ticket, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.open("c").Join(w.ctx, ticket, "x"); !errors.Is(err, ErrTicket) {
		t.Errorf("used already: %v", err)
	}
	stale, err := s.Invite(w.ctx, InviteOptions{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	stale.Expires = now.Add(time.Hour) // as a joiner with a slow clock sees it
	now = now.Add(2 * time.Minute)
	if _, err := w.open("d").Join(w.ctx, stale, "x"); !errors.Is(err, ErrTicket) {
		t.Errorf("expired: %v", err)
	}
}

func TestAStrangerGetsNothing(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	x := w.open("x")
	other, _ := w.create(x)
	if err := x.AddPeer(w.ctx, a.Device(), a.Addrs()...); err != nil {
		t.Fatal(err)
	}
	// x forges the one thing it can: a grant of its own space that names a.
	if _, err := other.rows.Issue(w.ctx, other.author(), 1<<40, "/", newGrant(grantID(t, other), record.Key{9}, a.Device(), record.Reader)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Sync(w.ctx, a.Device()); !errors.Is(err, ErrRefused) {
		t.Errorf("a stranger calls: %v", err)
	}
	// A member of one space learns nothing of another.
	b := w.open("b")
	w.join(s, b, InviteOptions{})
	secret, _, err := a.CreateSpace(w.ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.spaceOf(helloFor(secret.ID(), b, a), b.Device()); got != nil {
		t.Error("a member of another space was let in by its tag")
	}
	if got := a.spaceOf(helloFor(s.ID(), b, a), b.Device()); got != s {
		t.Error("a member was not let in")
	}
}

func TestTimeFarAheadIsNamedAndTheEndOfTimeStopsAPath(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	sign := func(r record.Record) *Record {
		v, err := record.Sign(b.ID(), b.author(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.rows.Commit(w.ctx, []*Record{v}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	year2200 := uint64(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())
	sign(record.Record{Kind: record.Doc, Time: year2200, Lane: 7, Seq: 1, Path: "/far", Payload: []byte("2200")})
	last := sign(record.Record{Kind: record.Doc, Time: record.MaxTime, Lane: 7, Seq: 2, Path: "/end", Payload: []byte("end")})
	w.sync(b, s)
	w.equal(s, b)
	st, err := s.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Future) != 2 || st.Future[0].Author != b.Author() {
		t.Errorf("status names %d records of the future", len(st.Future))
	}
	if v := w.put(s, "/far", "later still"); v.Time != year2200+1 {
		t.Errorf("written at %d, want one microsecond after the newest", v.Time)
	}
	if w.text(s, "/far") != "later still" || w.put(s, "/near", "now").Time > year2200 {
		t.Error("a record of 2200 dragged more than its own path")
	}
	var end *TimeExhaustedError
	if _, err := s.Put(w.ctx, "/end", nil); !errors.As(err, &end) {
		t.Fatalf("after the end of time: %v", err)
	}
	if end.Path != "/end" || end.Record != last.ID || end.Author != b.Author() {
		t.Errorf("the error names %q, %v, %v", end.Path, end.Record, end.Author)
	}
	// The cure is a seal that does not list it.
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{Nothing: true}); err != nil {
		t.Fatal(err)
	}
	w.put(s, "/end", "again")
}

func TestTwoRecordsWithOneDotAreBothKeptAndShown(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	b := w.join(s, w.open("b"), InviteOptions{})
	for _, side := range []struct {
		*Space
		text string
	}{{s, "one"}, {b, "two"}} {
		v, err := record.Sign(s.ID(), s.author(), record.Record{Kind: record.Entry, Time: 9, Lane: 5, Seq: 1, Path: "/fork", Payload: []byte(side.text)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := side.rows.Commit(w.ctx, []*Record{v}); err != nil {
			t.Fatal(err)
		}
	}
	w.sync(s, b)
	w.equal(s, b)
	for _, side := range []*Space{s, b} {
		n := 0
		for _, err := range side.List(w.ctx, Query{Prefix: "/fork"}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		st, err := side.Status(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n != 2 || len(st.Forks) != 1 {
			t.Errorf("%d records and %d forks shown, want 2 and 1", n, len(st.Forks))
		}
	}
}

func TestAGenesisWithAnUnknownRuleIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	genesis := genesisWithRule(t, 42)
	_, err := a.store.Create(w.ctx, genesis)
	var unknown *UnknownRuleError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "42") {
		t.Errorf("unknown rule: %v", err)
	}
}

func TestADeviceInvitedAgainWritesUnderAFreshKey(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	w.put(b, "/b", "first life")
	w.sync(b, s)
	first := b.Author()
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := rb.Join(w.ctx, ticket, "again")
	if err != nil {
		t.Fatal(err)
	}
	w.sync(again, s)
	if again.Author() == first {
		t.Error("the old author key is in use again")
	}
	w.put(again, "/b", "second life")
	w.sync(again, s)
	w.equal(s, again)
	if got := w.text(s, "/b"); got != "second life" {
		t.Errorf("reads %q", got)
	}
}

func grantID(t *testing.T, s *Space) record.ID {
	t.Helper()
	g, err := s.issuer("/")
	if err != nil {
		t.Fatal(err)
	}
	return g.ID
}

func helloFor(id record.SpaceID, from, to *Replica) session.Hello {
	h := session.Hello{Nonce: [session.NonceSize]byte{1, 2, 3}}
	h.Tag = session.Tag(id, from.Device(), to.Device(), h.Nonce)
	return h
}

func genesisWithRule(t *testing.T, rule byte) []byte {
	t.Helper()
	key := newKey()
	b := append([]byte{1, 1}, key.Public().(ed25519.PublicKey)...)
	b = append(b, make([]byte, 16)...)
	b = append(b, 1, rule, 0, 0)
	return append(b, ed25519.Sign(key, append([]byte("anabranch genesis 1"), b...))...)
}
