package anabranch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/record"
	"anabranch/space"
)

func TestARevocationCutsARunningSession(t *testing.T) {
	w := newWorld(t)
	a, rb := w.open("a"), w.open("b")
	s, _ := w.create(a)
	b := w.join(s, rb, InviteOptions{Role: record.Reader})
	// In another space b stays a member, so the connection stays too.
	other, _, err := a.CreateSpace(w.ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := other.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	atB, err := rb.Join(w.ctx, ticket, "other")
	if err != nil {
		t.Fatal(err)
	}
	secret := w.put(s, "/secret", "not for b")
	w.network.SetDelay(50 * time.Millisecond)
	ended := make(chan error, 1)
	go func() {
		_, err := b.Sync(w.ctx, a.Device())
		ended <- err
	}()
	w.eventually(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.running) > 0
	})
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a session of a device that was revoked meanwhile ended well")
	}
	if _, err := b.Record(w.ctx, secret.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the revoked device got a record after the revocation: %v", err)
	}
	w.network.SetDelay(0)
	if _, ok := a.connection(rb.Device()); !ok {
		t.Error("a member of another space lost its connection")
	}
	w.sync(atB, other)
	w.eventually(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.running) == 0
	})
}

func TestNobodyRevokedGetsASession(t *testing.T) {
	w := newWorld(t)
	a, rb := w.open("a"), w.open("b")
	s, _ := w.create(a)
	w.join(s, rb, InviteOptions{})
	// The gate let it in, and it was revoked before the session began.
	stream, err := a.host.Open(w.ctx, mesh.Key(rb.Device()), rb.Addrs(), syncProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Reset()
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	begin := func(view session.View) (*session.Session, error) {
		return session.Initiate(s.sessionOptions(rb.Device(), view))
	}
	if _, _, err := s.converse(w.ctx, a.peer(rb.Device()), a.loop.foreign(), stream, nil, begin); !errors.Is(err, ErrNotMember) {
		t.Errorf("%v, want ErrNotMember", err)
	}
}

func TestARevocationLosesNothingThatWasHeld(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	const before = 20
	for i := range before {
		w.put(b, fmt.Sprintf("/n/%d", i), "x")
	}
	w.sync(b, s)

	// Whenever the revocation is about to wait for a commit of its own, one
	// more record arrives.
	var members []record.ID
	held := 0
	var seq uint32
	arrive := func() {
		seq++
		v, err := record.Sign(b.ID(), b.author(), record.Record{
			Kind: record.Entry, Time: 1, Lane: 100, Seq: seq, Path: "/live", Payload: []byte("y"),
		})
		if err != nil {
			t.Fatal(err)
		}
		result, err := s.rows.Commit(w.ctx, []*Record{v})
		if err != nil {
			t.Fatal(err)
		}
		if result.Verdicts[0] == space.Member {
			members = append(members, v.ID)
		} else {
			held++
		}
	}
	revoked, err := s.Revoke(watched{w.ctx, arrive}, rb.Device(), RevokeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(members) == 0 || held == 0 {
		t.Fatalf("%d records arrived before the seal and %d after it, want some of each", len(members), held)
	}
	lost := 0
	for _, id := range members {
		if _, err := s.Record(w.ctx, id); errors.Is(err, ErrNotFound) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lost > 0 || revoked.Listed != before+len(members) {
		t.Errorf("%d of %d records that arrived are lost; %d listed, want %d", lost, len(members), revoked.Listed, before+len(members))
	}
	if got := w.text(s, "/n/7"); got != "x" {
		t.Errorf("a listed record reads %q", got)
	}
	w.equal(s)
}
