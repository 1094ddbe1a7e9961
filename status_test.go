package anabranch

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// pair is two spaces of b in ascending order of ID, held by a too and in
// sync.
func (w *world) pair(a, b *Replica) (atA, atB [2]*Space) {
	w.t.Helper()
	for _, name := range []string{"one", "two"} {
		if _, _, err := b.CreateSpace(w.ctx, name); err != nil {
			w.t.Fatal(err)
		}
	}
	for i, s := range b.all() {
		ticket, err := s.Invite(w.ctx, InviteOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		if atA[i], err = a.Join(w.ctx, ticket, s.Name()); err != nil {
			w.t.Fatal(err)
		}
		atB[i] = s
		w.sync(atA[i], s)
	}
	return atA, atB
}

// seen is what a space's status says of its only peer.
func (w *world) seen(s *Space) PeerStatus {
	w.t.Helper()
	st, err := s.Status(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(st.Peers) != 1 {
		w.t.Fatalf("%d peers, want one", len(st.Peers))
	}
	return st.Peers[0]
}

func TestAFailedSessionIsNeverInSyncAndTouchesNoOtherSpace(t *testing.T) {
	w := newWorld(t)
	ra, rb := w.open("a"), w.open("b")
	a, b := w.pair(ra, rb)
	for i, s := range a {
		if p := w.seen(s); p.State != InSync || p.LastError != "" {
			t.Fatalf("space %d: %s, %q after a good session", i, p.State, p.LastError)
		}
	}
	// Put out of the first and not told so: the root here stays as agreed.
	if _, err := b[0].Revoke(w.ctx, ra.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sync(a[1], b[1])
	if _, err := a[0].Sync(w.ctx, rb.Device()); err == nil {
		t.Fatal("a session in a space that we were put out of ended well")
	}
	p := w.seen(a[0])
	if p.State != Unknown || p.Reason == "" || p.LastError == "" || p.FailedAt.IsZero() {
		t.Errorf("after a failed session: %s, reason %q, last error %q of %v", p.State, p.Reason, p.LastError, p.FailedAt)
	}
	if p := w.seen(a[1]); p.State != InSync || p.LastError != "" || !p.FailedAt.IsZero() {
		t.Errorf("the other space: %s, last error %q of %v", p.State, p.LastError, p.FailedAt)
	}
	if at, err := ra.LastFailure(rb.Device()); err == nil || at.IsZero() {
		t.Errorf("last failure of the device: %v, %v", err, at)
	}
	w.sync(a[1], b[1])
	if p := w.seen(a[0]); p.State == InSync || p.LastError == "" {
		t.Errorf("a good session in the other space hides the failure here: %s, %q", p.State, p.LastError)
	}
}

func TestDifferingRootsAreNotInSyncUntilTheNextGoodSession(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	w.eventually(func() bool { return w.seen(s).State == InSync })
	s.ended(s.replica.peer(rb.Device()), Report{}, false, &RootsDifferError{})
	if p := w.seen(s); p.State != Diverged || p.LastError == "" || p.Missing != nil || p.Surplus != nil {
		t.Errorf("after differing roots: %s, %q", p.State, p.LastError)
	}
	w.sync(s, b)
	if p := w.seen(s); p.State != InSync || p.LastError != "" {
		t.Errorf("after the next session: %s, %q", p.State, p.LastError)
	}
}

func TestTheNameOfAnErrorDoesNotDependOnChance(t *testing.T) {
	names := []error{ErrClosed, ErrIncompatible, ErrRefused, ErrUnreachable, ErrCut}
	for _, c := range []struct {
		err  error
		want error // nil: none
	}{
		{fmt.Errorf("%w: %w", session.ErrCut, mesh.ErrClosed), ErrClosed},
		{fmt.Errorf("%w: %w", mesh.ErrReset, store.ErrClosed), ErrClosed},
		{fmt.Errorf("%w: %w", session.ErrCut, session.ErrVersion), ErrIncompatible},
		{fmt.Errorf("%w: %w", session.ErrCut, session.ErrRefused), ErrRefused},
		{fmt.Errorf("%w: %w", mesh.ErrConnLost, mesh.ErrUnreachable), ErrUnreachable},
		{&mesh.OpenError{Kind: mesh.ErrRefused, Cause: mesh.ErrConnLost}, ErrRefused},
		{&mesh.OpenError{Kind: mesh.ErrUnreachable, Attempts: []mesh.Attempt{{Addr: "192.0.2.1:1", Err: mesh.ErrRefused}}}, ErrUnreachable},
		{mesh.ErrReset, ErrCut},
		{errors.New("something else"), nil},
	} {
		for range 30 {
			got := named(c.err)
			if !errors.Is(got, c.err) {
				t.Fatalf("%v is lost in its name", c.err)
			}
			for _, name := range names {
				if errors.Is(got, name) != (name == c.want) {
					t.Fatalf("%v: is %q %v, want the name %v alone", c.err, name, errors.Is(got, name), c.want)
				}
			}
		}
	}
}

func TestACursorAheadOfTheStoreIsAnError(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.put(s, "/first", "x") // opens its lane
	cursor, err := s.Cursor(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []uint64{1, 1000} {
		ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
		defer cancel()
		for _, err := range s.Watch(ctx, Cursor{cursor.History, cursor.Version + ahead}) {
			if !errors.Is(err, ErrCursor) {
				t.Errorf("%d ahead: %v, want ErrCursor", ahead, err)
			}
			break
		}
	}
	v := w.put(s, "/next", "x")
	for c, err := range s.Watch(w.ctx, cursor) {
		if err != nil || len(c.Entered) != 1 || c.Entered[0].ID != v.ID {
			t.Errorf("at the newest version: %+v, %v", c, err)
		}
		break
	}
}

func TestABatchMayDeleteWhatItPuts(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	put := Write{Op: OpPut, Path: "/draft", Payload: []byte("1")}
	del := Write{Op: OpDelete, Path: "/draft"}
	if _, err := s.Batch(w.ctx, put, del); err != nil {
		t.Fatal(err)
	}
	if got := w.text(s, "/draft"); got != "" {
		t.Errorf("reads %q", got)
	}
	if _, err := s.Batch(w.ctx, del, put); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted before it is put: %v, want ErrNotFound", err)
	}
	if _, err := s.Batch(w.ctx, Write{Op: OpAppend, Path: "/draft"}, del); !errors.Is(err, ErrNotFound) {
		t.Errorf("an entry is no document to delete: %v, want ErrNotFound", err)
	}
}

func TestAConflictBesideADeletedDocumentCanBeDeleted(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	b := w.join(s, w.open("b"), InviteOptions{})
	w.put(s, "/doc", "first")
	w.sync(s, b)
	w.put(b, "/doc", "b's edit")
	if _, err := s.Delete(w.ctx, "/doc"); err != nil { // later, so it wins
		t.Fatal(err)
	}
	w.sync(s, b)
	conflicts := func() (n int) {
		t.Helper()
		for _, err := range s.Conflicts(w.ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if got := w.text(s, "/doc"); got != "" || conflicts() != 1 {
		t.Fatalf("reads %q with %d conflicts, want nothing with one", got, conflicts())
	}
	if _, err := s.Delete(w.ctx, "/doc"); err != nil {
		t.Errorf("delete with a conflict left: %v", err)
	}
	if conflicts() != 0 {
		t.Error("the conflict is still there")
	}
	if _, err := s.Delete(w.ctx, "/doc"); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete with nothing left: %v, want ErrNotFound", err)
	}
}

func TestEarlierKeysOfADeviceSweepAndRemove(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	rb := w.open("b", func(o *Options) { o.SweepDelay = time.Hour })
	b := w.join(s, rb, InviteOptions{})
	first := b.Author()
	for i := range 5 {
		w.put(b, "/doc", fmt.Sprint(i))
	}
	entry, err := b.Append(w.ctx, "/log", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := s.Append(w.ctx, "/log", []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = rb.Join(w.ctx, ticket, ""); err != nil {
		t.Fatal(err)
	}
	w.sync(b, s)
	if b.Author() == first {
		t.Fatal("invited again, it kept its key")
	}
	w.put(b, "/doc", "under the second key")
	if b.rows.PendingKills() == 0 {
		t.Fatal("nothing waits to be swept")
	}
	if err := b.sweep(w.ctx); err != nil {
		t.Fatal(err)
	}
	if n := b.rows.PendingKills(); n != 0 {
		t.Errorf("%d records of the first key still wait to be swept", n)
	}
	if err := b.Remove(w.ctx, foreign.ID); !errors.Is(err, ErrNotRemovable) {
		t.Errorf("somebody else's entry: %v, want ErrNotRemovable", err)
	}
	if err := b.Remove(w.ctx, entry.ID); err != nil {
		t.Errorf("an entry of the first key: %v", err)
	}
	for _, id := range []record.ID{entry.ID, {1}} {
		if err := b.Remove(w.ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("an entry that is not there: %v, want ErrNotFound", err)
		}
	}
	w.sync(b, s)
	w.equal(s, b)
	if got := w.text(s, "/doc"); got != "under the second key" {
		t.Errorf("reads %q", got)
	}
}
