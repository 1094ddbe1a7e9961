package anabranch

import (
	"errors"
	"strings"
	"testing"

	"anabranch/record"
)

func TestBothEndsOfAJoinShowTheSameWordsAndNames(t *testing.T) {
	w := newWorld(t)
	var words []string
	a := w.open("a", func(o *Options) {
		o.DeviceName = "attic"
		o.OnEvent = func(e Event) {
			if e.Kind == Joined {
				words = append(words, e.Words)
			}
		}
	})
	s, _ := w.create(a)
	ticket, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rb := w.open("b", func(o *Options) { o.DeviceName = "boat" })
	b, err := rb.Join(w.ctx, ticket, "")
	if err != nil {
		t.Fatal(err)
	}
	w.sync(b, s)
	if len(words) != 1 || words[0] != ticket.Words(rb.Device()) || len(strings.Fields(words[0])) != 4 {
		t.Errorf("the inviter shows %q, the joiner %q", words, ticket.Words(rb.Device()))
	}
	if ticket.Words(a.Device()) == words[0] {
		t.Error("another device would show the same words")
	}
	names := func(side *Space) string {
		members, err := side.Members(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, m := range members {
			out = append(out, m.Label)
		}
		return strings.Join(out, " ")
	}
	if names(s) != "attic boat" || names(b) != "attic boat" {
		t.Errorf("members are called %q here and %q there", names(s), names(b))
	}
	if err := s.Label(w.ctx, rb.Device(), "barge"); err != nil {
		t.Fatal(err)
	}
	if err := s.Label(w.ctx, rb.Device(), "bar\x1b[31mge"); err == nil {
		t.Error("a name that moves terminals was accepted")
	}
	if err := b.Label(w.ctx, rb.Device(), "flagship"); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("a writer renames a device for everybody: %v", err)
	}
	w.sync(b, s)
	if names(b) != "attic barge" {
		t.Errorf("after a rename members are called %q", names(b))
	}
	if err := rb.SetPetname(w.ctx, a.Device(), "home"); err != nil {
		t.Fatal(err)
	}
	if rb.Petname(a.Device()) != "home" || a.Petname(a.Device()) != "" {
		t.Error("a petname is this replica's own")
	}
	if err := rb.Forget(w.ctx, a.Device()); err != nil || rb.Petname(a.Device()) != "" || len(rb.storedAddrs(a.Device())) != 0 {
		t.Errorf("forgotten: %v, %q, %v", err, rb.Petname(a.Device()), rb.storedAddrs(a.Device()))
	}
	w.equal(s, b)
}

func TestALabelThatNobodyShouldSeeIsNotShown(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a", func(o *Options) { o.DeviceName = "attic" }))
	issuer, err := s.issuer("/")
	if err != nil {
		t.Fatal(err)
	}
	body := newLabel(issuer.ID, s.replica.Device(), "\x1b]0;owned\x07")
	if _, err := s.rows.Issue(w.ctx, s.author(), s.replica.now(), "/", body); err != nil {
		t.Fatal(err)
	}
	members, err := s.Members(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if members[0].Label != "attic" || members[0].Device == (record.Key{}) {
		t.Errorf("shown as %q", members[0].Label)
	}
}
