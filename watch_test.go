package anabranch

import (
	"errors"
	"path/filepath"
	"testing"

	"anabranch/record"
)

func TestCursorsReadAsTheyAreWritten(t *testing.T) {
	for _, c := range []Cursor{{}, {1, 1}, {1<<64 - 1, 1<<64 - 1}, {0, 7}} {
		if got, err := ParseCursor(c.String()); err != nil || got != c {
			t.Errorf("%v reads as %v, %v", c, got, err)
		}
	}
	for _, text := range []string{"", "-", "3", "1-1", "0000000000000001-0", "0000000000000001-01", "000000000000000A-1", "0000000000000001-1 ", "0000000000000001--1"} {
		if c, err := ParseCursor(text); !errors.Is(err, ErrCursor) {
			t.Errorf("%q reads as %v, %v", text, c, err)
		}
	}
}

// refused is how watching from a cursor begins.
func (w *world) refused(s *Space, from Cursor) error {
	w.t.Helper()
	for _, err := range s.Watch(w.ctx, from) {
		return err
	}
	return nil
}

// TestACursorOfAnotherHistoryIsRefused: the number alone would fit.
func TestACursorOfAnotherHistoryIsRefused(t *testing.T) {
	w := newWorld(t)
	ra := w.open("a")
	a, _ := w.create(ra)
	b := w.join(a, w.open("b"), InviteOptions{})
	backup := filepath.Join(w.dir, "backup")
	if _, err := ra.Backup(w.ctx, backup, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		w.put(a, "/a", string(rune('a'+i)))
	}
	at, err := a.Cursor(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	at.Version-- // so that there is something to see
	if err := w.refused(a, at); err != nil {
		t.Fatalf("its own: %v", err)
	}
	w.sync(b, a)
	for range 5 {
		w.put(b, "/b", "more versions")
	}
	if err := w.refused(b, at); !errors.Is(err, ErrCursor) {
		t.Errorf("another replica's: %v", err)
	}
	w.sync(b, a)
	if err := ra.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(w.ctx, backup, filepath.Join(w.dir, "restored"), RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	restored, err := w.open("restored").Space("notes")
	if err != nil {
		t.Fatal(err)
	}
	w.sync(restored, b) // it goes past the version of the cursor without a write of its own
	if v, err := restored.Version(w.ctx); err != nil || v < at.Version {
		t.Fatalf("version %d, %v", v, err)
	}
	if err := w.refused(restored, at); !errors.Is(err, ErrCursor) {
		t.Errorf("of before the restore: %v", err)
	}
}

// TestConvergeCountsItsOwnSessionsOnly: what another session agreed on a
// moment ago, or ends with after the call, is no comparison of this call.
func TestConvergeCountsItsOwnSessionsOnly(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	device := a.replica.Device()
	root := w.root(b)
	// As if a session that began before had just ended.
	b.ended(b.replica.peer(device), Report{Root: root}, false, nil)
	c, err := b.convergence(w.ctx, []record.Key{device}, findings{})
	if err != nil || c.Peers[0].Agreed {
		t.Fatalf("%+v, %v", c, err)
	}
	if c, err = b.Converge(w.ctx); err != nil || !c.Peers[0].Agreed || c.Root != root {
		t.Errorf("%+v, %v", c, err)
	}
}
