package anabranch

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"anabranch/record"
)

// says checks the JSON of the mergeable document at a path, at some replicas.
func (w *world) says(path, want string, spaces ...*Space) {
	w.t.Helper()
	for _, s := range spaces {
		v, err := s.Value(w.ctx, path)
		if err != nil || string(v.JSON) != want {
			w.t.Errorf("%s: %s %v, want %s", path, v.JSON, err, want)
		}
	}
}

func (w *world) ok(errs ...error) {
	w.t.Helper()
	for _, err := range errs {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestDocumentsChangedApartMerge(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.ok(a.Map("/m").Put(w.ctx, raw(`{"name":"Ada","pets":{"cat":1,"dog":2},"tags":[1,2]}`), "ada"),
		a.Set("/s").Add(w.ctx, "milk", "bread"), a.Counter("/c").Add(w.ctx, 5),
		a.Flag("/f").Switch(w.ctx, true), a.Log("/l").Append(w.ctx, []byte("began")), a.Register("/r").Set(w.ctx, []byte("old")))
	w.sync(a, b)
	w.says("/m", `{"ada":{"name":"Ada","pets":{"cat":1,"dog":2},"tags":[1,2]}}`, a, b)

	w.ok(a.Map("/m").Put(w.ctx, "Ada L.", "ada", "name"), a.Map("/m").Delete(w.ctx, "ada", "pets"),
		a.Set("/s").Remove(w.ctx, "milk", "bread"), a.Counter("/c").Reset(w.ctx), a.Flag("/f").Switch(w.ctx, false),
		a.Log("/l").Append(w.ctx, []byte("went on")), a.Register("/r").Set(w.ctx, []byte("a's")))
	w.ok(b.Map("/m").Put(w.ctx, 3, "ada", "pets", "dog"), b.Map("/m").Counter("visits").Add(w.ctx, 2),
		b.Set("/s").Add(w.ctx, "milk"), b.Counter("/c").Add(w.ctx, 2), b.Flag("/f").Switch(w.ctx, true),
		b.Log("/l").Append(w.ctx, []byte(`{"at":"b"}`)), b.Register("/r").Set(w.ctx, []byte("b's")))
	w.sync(a, b)
	w.equal(a, b)
	w.says("/m", `{"ada":{"name":"Ada L.","pets":{"dog":3},"tags":[1,2]},"visits":2}`, a, b)
	w.says("/s", `["milk"]`, a, b)
	w.says("/c", `2`, a, b)
	w.says("/f", `true`, a, b)
	w.says("/l", `["began","went on",{"at":"b"}]`, a, b)
	if v, err := a.Register("/r").Get(w.ctx); err != nil || fmt.Sprintf("%s", v) != "[a's b's]" {
		t.Errorf("the register has %s %v", v, err)
	}
	if got, err := b.Map("/m").Get(w.ctx, "ada", "pets"); err != nil || string(got) != `{"dog":3}` {
		t.Errorf("got %s %v", got, err)
	}
	if keys, err := b.Map("/m").Keys(w.ctx); err != nil || !slices.Equal(keys, []string{"ada", "visits"}) {
		t.Errorf("keys %q %v", keys, err)
	}
	entries, err := a.Log("/l").List(w.ctx)
	if err != nil || len(entries) != 3 || entries[2].Author != b.Author() {
		t.Errorf("entries %v %v", entries, err)
	}
	for name, err := range map[string]error{
		"a key that is not there":   a.Map("/m").Delete(w.ctx, "nobody"),
		"a value that is not there": a.Set("/s").Remove(w.ctx, "beer"),
		"a document of another kind": func() error {
			_, err := a.Counter("/s").Get(w.ctx)
			return err
		}(),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	shown := 0
	for _, err := range a.List(w.ctx, Query{Prefix: "/m"}) {
		w.ok(err)
		shown++
	}
	if shown != 1 {
		t.Errorf("a map is listed %d times", shown)
	}
	if is, err := a.IsText(w.ctx, "/m"); is || err != nil {
		t.Errorf("a map reads as a text: %v", err)
	}
}

func TestMergingAnObjectLeavesOtherKeys(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	m := a.Map("/m")
	w.ok(m.Merge(w.ctx, raw(`{"a":{"x":1,"y":2},"b":[1],"c":"text"}`)), m.Merge(w.ctx, raw(`{"a":{"y":3,"z":{}},"b":{"now":"a map"}}`)))
	w.says("/m", `{"a":{"x":1,"y":3},"b":{"now":"a map"},"c":"text"}`, a)
	w.ok(m.Put(w.ctx, raw(`{"only":12345678901234567890}`), "a"), m.Put(w.ctx, nil, "b"))
	w.says("/m", `{"a":{"only":12345678901234567890},"b":null,"c":"text"}`, a)
	for _, bad := range []string{`[1]`, `{"a":`, `{} {}`, "\"\xff\""} {
		if err := m.Merge(w.ctx, raw(bad)); !errors.Is(err, ErrNotJSON) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAnUpdateIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	stop := errors.New("stop")
	half := func(end error) func(*Update) error {
		return func(u *Update) error {
			if err := u.Set("/tasks").Add(w.ctx, "write"); err != nil {
				return err
			}
			if has, err := u.Set("/tasks").Has(w.ctx, "write"); !has || err != nil {
				t.Errorf("an update does not see itself: %v", err)
			}
			if err := u.Counter("/count").Add(w.ctx, 1); err != nil {
				return err
			}
			return end
		}
	}
	if _, err := a.Update(w.ctx, half(stop)); err != stop {
		t.Fatal(err)
	}
	if _, err := a.Value(w.ctx, "/tasks"); !errors.Is(err, ErrNotFound) {
		t.Errorf("half an update stays: %v", err)
	}
	records, err := a.Update(w.ctx, half(nil))
	if err != nil || len(records) != 2 {
		t.Fatal(records, err)
	}
	w.says("/tasks", `["write"]`, a)
	w.says("/count", `1`, a)
	if err := a.Remove(w.ctx, records[0].ID); !errors.Is(err, ErrNotRemovable) {
		t.Errorf("a part of a document was removed: %v", err)
	}
	// A newer Put stands over it, and what is changed after that begins anew.
	if _, err := a.Put(w.ctx, "/tasks", []byte("a note")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Value(w.ctx, "/tasks"); !errors.Is(err, ErrNotFound) {
		t.Errorf("under a document: %v", err)
	}
	w.ok(a.Set("/tasks").Add(w.ctx, "read"))
	w.says("/tasks", `["read"]`, a)
}

// live counts the live deltas at a path, and their bytes.
func (w *world) live(s *Space, path string) (n, bytes int) {
	w.t.Helper()
	for v, err := range s.List(w.ctx, Query{Prefix: path, Kinds: []record.Kind{record.Delta}, Versions: true}) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
		bytes += len(v.Bytes)
	}
	return n, bytes
}

func TestFoldsShrinkHistoryAndChangeNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	for i := range 100 {
		w.ok(a.Counter("/c").Add(w.ctx, 1), a.Set("/s").Add(w.ctx, fmt.Sprintf("item %03d", i%20)))
		if i == 50 {
			w.sync(a, b)
			w.ok(b.Counter("/c").Reset(w.ctx), b.Set("/s").Remove(w.ctx, "item 007"), b.Set("/s").Add(w.ctx, "b's"))
		}
	}
	for _, path := range []string{"/c", "/s"} {
		if n, bytes := w.live(a, path); n > 17 || bytes > 8000 {
			t.Errorf("%s has %d records of %d bytes", path, n, bytes)
		}
	}
	w.sync(a, b)
	w.equal(a, b)
	w.says("/c", `49`, a, b)
	if values, err := b.Set("/s").List(w.ctx); err != nil || len(values) != 21 {
		t.Errorf("%q %v", values, err) // item 007 was added again by a, who had not seen the removal
	}
}

// A replica that was away for a year, while others edited, deleted, folded and
// swept, comes back with writes of its own that nobody has seen.
func TestAReplicaComesBackAfterAYear(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	clock := func(o *Options) { o.Clock = func() time.Time { return now } }
	a, _ := w.create(w.open("a", clock))
	b := w.join(a, w.open("b", clock), InviteOptions{})
	c := w.join(a, w.open("c", clock), InviteOptions{})
	w.ok(a.Set("/tasks").Add(w.ctx, "old", "older", "kept"), a.Map("/m").Put(w.ctx, raw(`{"x":1,"y":2}`), "k"), a.Counter("/n").Add(w.ctx, 100))
	w.sync(a, b)
	w.ok(c.Set("/tasks").Add(w.ctx, "c's first"))
	w.sync(a, c)
	w.sync(a, b)

	// c goes away, and writes on a plane.
	w.ok(c.Set("/tasks").Add(w.ctx, "from the plane"), c.Counter("/n").Add(w.ctx, 7), c.Map("/m").Put(w.ctx, "new", "k", "z"),
		c.Set("/tasks").Remove(w.ctx, "kept"))

	w.ok(b.Set("/tasks").Remove(w.ctx, "old", "c's first"), b.Map("/m").Delete(w.ctx, "k"), a.Set("/tasks").Remove(w.ctx, "older"), b.Counter("/n").Reset(w.ctx))
	for day := range 365 {
		now = now.Add(24 * time.Hour)
		s := a
		if day%2 == 0 {
			s = b
		}
		name := fmt.Sprintf("task %d", day)
		w.ok(s.Set("/tasks").Add(w.ctx, name), s.Map("/m").Put(w.ctx, day, "today"), s.Counter("/n").Add(w.ctx, 1))
		if day%5 > 0 {
			w.ok(s.Set("/tasks").Remove(w.ctx, name))
		}
		if day%30 == 0 {
			w.sync(a, b)
		}
	}
	w.sync(a, b)
	w.sync(a, c)
	w.sync(b, c)
	w.sync(a, b)
	w.equal(a, b)
	w.equal(a, c)
	w.says("/m", `{"k":{"z":"new"},"today":364}`, a, b, c)
	w.says("/n", `372`, a, b, c)
	values, err := c.Set("/tasks").List(w.ctx)
	w.ok(err)
	for _, gone := range []string{"old", "older", "kept", "c's first", "task 1"} {
		if slices.Contains(values, gone) {
			t.Errorf("%q came back", gone)
		}
	}
	if len(values) != 74 || !slices.Contains(values, "from the plane") || !slices.Contains(values, "task 5") {
		t.Errorf("%d tasks: %q", len(values), values)
	}
	for _, path := range []string{"/tasks", "/m", "/n"} {
		n, bytes := w.live(a, path)
		if n > 60 {
			t.Errorf("%s has %d records", path, n)
		}
		t.Logf("%s: %d records, %d bytes", path, n, bytes)
	}
}

// What must survive when records leave the set, or a store is not the newest
// copy: a join cannot take back, and a number must not be used twice.
func TestWhatMustSurviveInASpace(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(a, rb, InviteOptions{})
	w.ok(a.Set("/s").Add(w.ctx, "mine", "too"))
	w.sync(a, b)
	w.ok(b.Set("/s").Remove(w.ctx, "mine", "too"), b.Set("/s").Add(w.ctx, "vandal"))
	w.sync(a, b)
	w.says("/s", `["vandal"]`, a, b)
	if _, err := a.Revoke(w.ctx, rb.Device(), RevokeOptions{Nothing: true}); err != nil {
		t.Fatal(err)
	}
	w.says("/s", `["mine","too"]`, a)

	// Without its lease a store opens a fresh lane: what it writes is new.
	ra := a.replica
	w.ok(ra.Close())
	again := w.open("a", func(o *Options) { o.LeaseDir = t.TempDir() }).Spaces()[0]
	w.ok(again.Set("/s").Add(w.ctx, "after"), again.Set("/s").Remove(w.ctx, "mine"))
	w.says("/s", `["after","too"]`, again)
	lanes := map[uint64]bool{}
	for v, err := range again.List(w.ctx, Query{Prefix: "/s", Kinds: []record.Kind{record.Delta}, Versions: true}) {
		w.ok(err)
		lanes[v.Lane] = true
	}
	if len(lanes) != 2 {
		t.Errorf("written in %d lanes, want 2", len(lanes))
	}
}
