package anabranch

import (
	"slices"
	"testing"

	"anabranch/internal/mesh"
	"anabranch/record"
)

func TestTagsTellMembersOnly(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	rb := w.open("b")
	w.join(s, rb, InviteOptions{})
	stranger := w.open("x")
	w.create(stranger)

	const epoch = 7
	for _, x := range []struct {
		from, to *Replica
		known    bool
	}{{a, rb, true}, {rb, a, true}, {a, stranger, false}, {stranger, a, false}, {a, a, false}} {
		tags := x.from.tags(epoch)
		if len(tags) != 1 {
			t.Fatalf("%d tags for one space", len(tags))
		}
		key, ok := x.to.matchTag(tags[0], epoch)
		if ok != x.known || ok && record.Key(key) != x.from.Device() {
			t.Errorf("known %v as %v, want %v", ok, record.Key(key), x.known)
		}
		if _, ok := x.to.matchTag(tags[0], epoch+1); ok {
			t.Error("a tag is known in another epoch")
		}
	}
	if a.tags(epoch)[0] == a.tags(epoch + 1)[0] {
		t.Error("a tag does not change")
	}
	if _, err := s.Revoke(w.ctx, rb.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.matchTag(rb.tags(epoch)[0], epoch); ok {
		t.Error("a revoked device is still looked for")
	}
}

func TestWhatIsHeardIsTriedAndNotKept(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	device := record.Key{5}
	for i := range 9 {
		a.heard(mesh.Key(device), []string{"192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3", "192.0.2.4:4", "192.0.2.5:5"}[i%5])
	}
	if got := a.addrsOf(device); !slices.Equal(got, []string{"192.0.2.4:4", "192.0.2.3:3", "192.0.2.2:2", "192.0.2.1:1"}) {
		t.Errorf("tried at %v", got)
	}
	if got := a.storedAddrs(device); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}
