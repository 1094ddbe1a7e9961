package anabranch

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anabranch/record"
)

func (w *world) loss(s *Space) Loss {
	w.t.Helper()
	loss, err := s.Loss(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return loss
}

func TestLeavingSaysWhatIsLost(t *testing.T) {
	w := newWorld(t)
	a, b := w.open("a"), w.open("b")
	at, _ := w.create(a)
	w.put(at, "/one", "1")
	if l := w.loss(at); !l.OnlyCopy || l.LastAdmin || l.Records == 0 || l.Own == 0 || !l.Any() {
		t.Errorf("alone: %+v", l)
	}
	bt := w.join(at, b, InviteOptions{})
	if l := w.loss(bt); l.Any() {
		t.Errorf("just joined: %+v", l)
	}
	w.sync(at, bt) // who answers hears last that both are equal
	if l := w.loss(at); l != (Loss{LastAdmin: true}) {
		t.Errorf("the only admin: %+v", l)
	}
	// What came from the other one does not count once something is added.
	w.put(bt, "/two", "2")
	w.put(bt, "/three", "3")
	if l := w.loss(bt); l != (Loss{Records: 2, Own: 2}) {
		t.Errorf("two records ahead: %+v", l)
	}
	_, err := b.Leave(w.ctx, bt.ID(), LeaveOptions{})
	var lost *LossError
	if !errors.As(err, &lost) || lost.Loss.Records != 2 || w.text(bt, "/two") != "2" {
		t.Fatalf("left: %v", err)
	}
	w.sync(bt, at)
	if l := w.loss(bt); l.Any() {
		t.Errorf("in sync: %+v", l)
	}
}

func TestLeaveAndComeBack(t *testing.T) {
	w := newWorld(t)
	a, b := w.open("a"), w.open("b")
	at, _ := w.create(a)
	other, _, err := b.CreateSpace(w.ctx, "mine")
	if err != nil {
		t.Fatal(err)
	}
	w.put(other, "/stays", "x")
	w.put(at, "/one", "1")
	bt := w.join(at, b, InviteOptions{Role: record.Admin})
	first := w.put(bt, "/two", "2")
	if _, err := bt.Invite(w.ctx, InviteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.sync(bt, at)
	ended := make(chan error, 1)
	go func() {
		for _, err := range bt.Watch(w.ctx, Cursor{}) {
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	if _, err := b.Leave(w.ctx, bt.ID(), LeaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrNoSpace) {
		t.Errorf("a watcher ended with %v", err)
	}
	if _, err := b.Space(at.ID().String()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("it is still here: %v", err)
	}
	if _, err := bt.Put(w.ctx, "/late", nil); !errors.Is(err, ErrNoSpace) {
		t.Errorf("a write ended with %v", err)
	}
	if _, err := b.Leave(w.ctx, at.ID(), LeaveOptions{Force: true}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("left twice: %v", err)
	}
	if _, err := at.Sync(w.ctx, b.Device()); !errors.Is(err, ErrRefused) {
		t.Errorf("who has left answers with %v", err)
	}
	facts, err := b.store.Facts("")
	if err != nil {
		t.Fatal(err)
	}
	for key := range facts {
		if strings.Contains(key, at.ID().String()) || strings.Contains(key, a.Device().String()) {
			t.Errorf("the fact %q is left", key)
		}
	}
	keys, err := filepath.Glob(filepath.Join(w.dir, "b", "state", "*"+at.ID().String()+"*"))
	if err != nil || len(keys) != 0 || len(b.tickets.all) != 0 {
		t.Errorf("keys %v, %d tickets, %v", keys, len(b.tickets.all), err)
	}

	ticket, err := at.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	back, err := b.Join(w.ctx, ticket, "notes")
	if err != nil {
		t.Fatal(err)
	}
	w.sync(back, at)
	if w.text(back, "/two") != "2" {
		t.Error("what it wrote before has not come back")
	}
	second := w.put(back, "/three", "3")
	if second.Lane == first.Lane || second.Author == first.Author {
		t.Error("it goes on under the key, or in the lane, of before")
	}
	w.sync(back, at)
	w.equal(at, back)
	if w.text(other, "/stays") != "x" {
		t.Error("another space has lost something")
	}
}

// TestLeaveIsFinishedAtTheNextOpening: the power goes after the store has
// dropped the space, and before its keys are removed.
func TestLeaveIsFinishedAtTheNextOpening(t *testing.T) {
	w := newWorld(t)
	b := w.open("b")
	s, _ := w.create(b)
	if _, err := s.Invite(w.ctx, InviteOptions{}); err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	file := b.keys.authorFile(id)
	key, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	saved := maps.Clone(b.tickets.all)
	if _, err := b.Leave(w.ctx, id, LeaveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	for ticket, inv := range saved {
		if err := b.tickets.put(ticket, inv); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.store.SetFact(context.Background(), leftFact(id), []byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := w.open("b")
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key is left: %v", err)
	}
	if left, err := again.store.Facts("left/"); err != nil || len(left) != 0 || len(again.tickets.all) != 0 {
		t.Errorf("left: %v, %d tickets, %v", left, len(again.tickets.all), err)
	}
}
