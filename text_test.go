package anabranch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"anabranch/crdt/text"
	"anabranch/record"
)

func (w *world) typed(s *Space, path string, f func(*TextEdit) error) {
	w.t.Helper()
	if err := s.Text(path).Update(w.ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) insert(s *Space, path string, pos int, what string) {
	w.t.Helper()
	w.typed(s, path, func(e *TextEdit) error { return e.Insert(pos, what) })
}

func (w *world) commit(s *Space, path string) {
	w.t.Helper()
	if err := s.Text(path).Commit(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

// reads checks what a path says to each of some replicas.
func (w *world) reads(path, want string, spaces ...*Space) {
	w.t.Helper()
	for _, s := range spaces {
		got, err := s.Text(path).Get(w.ctx)
		if err != nil || got != want {
			w.t.Errorf("%s: %q %v, want %q", s.replica.Device(), got, err, want)
		}
	}
}

func TestTextsTypedApartMerge(t *testing.T) {
	w := newWorld(t)
	ra, rb := w.open("a"), w.open("b")
	a, _ := w.create(ra)
	b := w.join(a, rb, InviteOptions{})
	if _, err := a.Text("/t").Get(w.ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("a text that nobody wrote: %v", err)
	}
	w.insert(a, "/t", 0, "one two three")
	w.commit(a, "/t")
	w.sync(a, b)
	w.reads("/t", "one two three", a, b)
	w.typed(a, "/t", func(e *TextEdit) error { return e.Set("one 2 three") })
	w.typed(b, "/t", func(e *TextEdit) error { return e.Set("one two three, four") })
	w.commit(a, "/t")
	w.commit(b, "/t")
	w.sync(a, b)
	w.equal(a, b)
	w.reads("/t", "one 2 three, four", a, b)

	// Undo takes back this author's step alone, also in a later run.
	if err := rb.Close(); err != nil {
		t.Fatal(err)
	}
	b = w.open("b").Spaces()[0]
	if done, err := b.Text("/t").Undo(w.ctx); !done || err != nil {
		t.Fatal(done, err)
	}
	w.commit(b, "/t")
	w.sync(a, b)
	w.reads("/t", "one 2 three", a, b)
	if done, err := b.Text("/t").Undo(w.ctx); done || err != nil {
		t.Fatal("undid what another author typed", err)
	}
	if done, err := b.Text("/t").Redo(w.ctx); !done || err != nil {
		t.Fatal(done, err)
	}
	w.reads("/t", "one 2 three, four", b)
}

func TestAnUpdateThatFailsLeavesNothing(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.insert(s, "/t", 0, "kept")
	wrong := errors.New("wrong")
	err := s.Text("/t").Update(w.ctx, func(e *TextEdit) error {
		e.Insert(4, " lost")
		e.Delete(0, 2)
		return wrong
	})
	if !errors.Is(err, wrong) {
		t.Fatal(err)
	}
	w.reads("/t", "kept", s)
	if done, _ := s.Text("/t").Redo(w.ctx); done {
		t.Error("redid what was taken back")
	}
	if _, err := s.replica.Space("notes"); err != nil {
		t.Fatal(err)
	}
	if err := s.Text("no slash").Update(w.ctx, func(*TextEdit) error { return nil }); err == nil {
		t.Error("a path without a slash was taken")
	}
}

func TestReadersTypeNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Reader})
	w.insert(a, "/t", 0, "read me")
	w.commit(a, "/t")
	w.sync(a, b)
	w.reads("/t", "read me", b)
	err := b.Text("/t").Update(w.ctx, func(e *TextEdit) error { return e.Insert(0, "x") })
	if !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("a reader typed: %v", err)
	}
	w.reads("/t", "read me", b)
}

// crash forgets a document as the end of the process would.
func crash(s *Space) {
	s.texts.mu.Lock()
	defer s.texts.mu.Unlock()
	for path, d := range s.texts.docs {
		d.mu.Lock()
		d.wait()
		d.unsent = nil
		d.doc.Sent()
		d.mu.Unlock()
		delete(s.texts.docs, path)
	}
}

func (w *world) drafted(s *Space, path string) {
	w.t.Helper()
	d, err := s.acquire(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.texts.release(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retry = time.Now().Add(time.Hour) // no record is written by itself
	if err := d.draft(w.ctx); err != nil {
		w.t.Fatal(err)
	}
}

func TestADraftOutlivesACrash(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.insert(s, "/t", 0, "on disk")
	w.commit(s, "/t")
	w.insert(s, "/t", 7, ", typed")
	w.drafted(s, "/t")
	crash(s)
	w.reads("/t", "on disk, typed", s)
	w.commit(s, "/t")
	if done, err := s.Text("/t").Undo(w.ctx); !done || err != nil {
		t.Error("what was recovered cannot be undone", err)
	}
	w.reads("/t", "on disk", s)
	w.commit(s, "/t")
	crash(s)
	w.reads("/t", "on disk", s)

	// The lane is not the one any more in which the draft was typed.
	w.insert(s, "/t", 0, "Still ")
	w.typed(s, "/t", func(e *TextEdit) error { return e.Delete(9, 4) })
	w.drafted(s, "/t")
	lane := s.texts.lane(s.Author())
	if next, err := s.rows.Lane(w.ctx, s.Author(), lane); err != nil || next == lane {
		t.Fatal(next, err)
	}
	crash(s)
	s.texts.left(s.Author(), lane)
	w.reads("/t", "Still on ", s)
	w.commit(s, "/t")
	crash(s)
	w.reads("/t", "Still on ", s)
}

func TestALaneThatIsLeftTakesItsTypingAlong(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.insert(s, "/t", 0, "first")
	w.commit(s, "/t")
	w.insert(s, "/t", 5, " second")
	if _, err := s.rows.Lane(w.ctx, s.Author(), s.texts.lane(s.Author())); err != nil {
		t.Fatal(err)
	}
	w.commit(s, "/t")
	w.insert(s, "/t", 12, " third")
	w.commit(s, "/t")
	w.reads("/t", "first second third", s)
	crash(s)
	w.reads("/t", "first second third", s)
}

func TestSubscribersHoldTheText(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.insert(a, "/t", 0, "begin")
	w.commit(a, "/t")
	w.sync(a, b)
	ctx, stop := context.WithCancel(w.ctx)
	defer stop()
	type seen struct {
		text   string
		change TextChange
	}
	news := make(chan seen, 100)
	ended := make(chan error, 1)
	go func() {
		have := []rune{}
		for c, err := range b.Text("/t").Subscribe(ctx) {
			if err != nil {
				ended <- err
				return
			}
			for _, p := range c.Patches {
				have = slices.Concat(have[:p.Pos], []rune(p.Text), have[p.Pos+p.Delete:])
			}
			news <- seen{string(have), c}
		}
	}()
	wait := func(want string, origin TextOrigin, author record.Key) {
		t.Helper()
		for {
			select {
			case got := <-news:
				if got.text == want {
					if got.change.Origin != origin || got.change.Author != author {
						t.Errorf("%q came by %s of %v, want %s of %v", want, got.change.Origin, got.change.Author, origin, author)
					}
					return
				}
			case <-w.ctx.Done():
				t.Fatalf("never saw %q", want)
			}
		}
	}
	wait("begin", TextWhole, record.Key{})
	w.insert(b, "/t", 5, " here")
	wait("begin here", TextLocal, b.Author())
	w.typed(a, "/t", func(e *TextEdit) error { return e.Set("begun") })
	w.commit(a, "/t")
	w.sync(a, b)
	wait("begun here", TextRemote, a.Author())
	b.Text("/t").Undo(w.ctx)
	wait("begun", TextUndo, b.Author())
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestATextIsRebuiltWhenARecordLeaves(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(a, rb, InviteOptions{})
	w.insert(a, "/t", 0, "good ")
	w.commit(a, "/t")
	w.sync(a, b)
	w.insert(b, "/t", 5, "bad")
	w.typed(b, "/t", func(e *TextEdit) error { return e.Delete(0, 4) })
	w.commit(b, "/t")
	w.sync(a, b)
	w.reads("/t", " bad", a)
	w.insert(a, "/t", 1, "[typed]") // open while the record leaves
	if _, err := a.Revoke(w.ctx, rb.Device(), RevokeOptions{Nothing: true}); err != nil {
		t.Fatal(err)
	}
	w.reads("/t", "good [typed]", a)
	w.commit(a, "/t")
	crash(a)
	w.reads("/t", "good [typed]", a)
	w.insert(a, "/t", 0, "so ")
	w.commit(a, "/t")
	crash(a)
	w.reads("/t", "so good [typed]", a)
}

func TestAForkedLaneReadsAlikeInAnyOrder(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.insert(a, "/t", 0, "base ")
	w.commit(a, "/t")
	w.sync(a, b)
	for i, side := range []*Space{a, b} {
		d := text.New(laneName(a.Author(), 5))
		d.Insert(0, []string{"one", "two"}[i])
		v, err := record.Sign(a.ID(), a.author(), record.Record{Kind: record.Delta, Time: 9, Lane: 5, Seq: 1, Path: "/t", Payload: d.Flush(0)[0]})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := side.rows.Commit(w.ctx, []*Record{v}); err != nil {
			t.Fatal(err)
		}
		if s, err := side.Text("/t").Get(w.ctx); err != nil || !strings.Contains(s, []string{"one", "two"}[i]) {
			t.Fatal(s, err)
		}
	}
	w.insert(b, "/t", 0, ">") // and something is being typed
	w.sync(a, b)
	got, err := b.Text("/t").Get(w.ctx)
	if err != nil || strings.Contains(got, "one") == strings.Contains(got, "two") || !strings.Contains(got, ">") {
		t.Fatalf("%q %v", got, err)
	}
	w.commit(b, "/t")
	w.sync(a, b)
	w.reads("/t", got, a, b)
	for _, s := range []*Space{a, b} {
		p, err := s.Text("/t").Pending(w.ctx)
		if err != nil || len(p.Forked) != 1 {
			t.Error(p, err)
		}
		// History names the two, and the one that does not count, whichever came first.
		events, err := s.Text("/t").History(w.ctx, 0)
		var forked, out []TextEvent
		for _, e := range events {
			if e.Forked {
				forked = append(forked, e)
			}
			if e.Refused {
				out = append(out, e)
			}
		}
		if err != nil || len(forked) != 2 || len(out) != 1 || !out[0].Forked || out[0].Inserted != 0 {
			t.Fatalf("%+v %v", events, err)
		}
		if counts := forked[0]; counts.ID == out[0].ID && forked[1].ID.Compare(out[0].ID) > 0 || counts.ID != out[0].ID && (counts.ID.Compare(out[0].ID) > 0 || counts.Inserted != 3) {
			t.Errorf("of %v and %v, %v does not count", forked[0].ID, forked[1].ID, out[0].ID)
		}
		if st, err := s.Status(w.ctx); err != nil || len(st.Forks) != 1 || st.Forks[0].Number != 1 {
			t.Errorf("%+v %v", st.Forks, err)
		}
	}
	crash(a)
	w.reads("/t", got, a)
}

func TestATextBeginsAsWhatThePathReads(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.put(a, "/t", "a document\n")
	w.sync(a, b)
	for _, s := range []*Space{a, b} { // apart: the words stand there once
		w.typed(s, "/t", func(e *TextEdit) error { return e.Insert(e.Len(), "from "+s.Author().String()[:2]+"\n") })
		w.commit(s, "/t")
		if is, err := s.IsText(w.ctx, "/t"); !is || err != nil {
			t.Error(is, err)
		}
	}
	w.sync(a, b)
	got, err := a.Text("/t").Get(w.ctx)
	if err != nil || strings.Count(got, "a document") != 1 || strings.Count(got, "from ") != 2 {
		t.Fatalf("%q %v", got, err)
	}
	w.reads("/t", got, b)
	if err := a.Text("/t").Seed(w.ctx, "other"); !errors.Is(err, ErrTextExists) {
		t.Error(err)
	}
	if err := a.Text("/t").Seed(w.ctx, "a document\n"); err != nil {
		t.Error(err)
	}

	if _, err := a.Delete(w.ctx, "/t"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Text("/t").Get(w.ctx); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	w.insert(a, "/t", 0, "anew")
	w.commit(a, "/t")
	w.sync(a, b)
	w.reads("/t", "anew", a, b)
	w.put(a, "/t", "\xff")
	if err := a.Text("/t").Update(w.ctx, func(e *TextEdit) error { return nil }); !errors.Is(err, ErrNotText) {
		t.Error(err)
	}
}

func TestVersionsOfATextAreReadAgain(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	x := s.Text("/t")
	var versions []TextVersion
	texts := []string{"one", "one two", "one 2", "1 2"}
	for _, want := range texts {
		w.typed(s, "/t", func(e *TextEdit) error { return e.Set(want) })
		v, err := x.Version(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseTextVersion(v.String())
		if err != nil || !again.Covers(v) || !v.Covers(again) {
			t.Fatal(v, again, err)
		}
		versions = append(versions, again)
	}
	for i, v := range versions {
		if got, err := x.At(w.ctx, v); err != nil || got != texts[i] {
			t.Errorf("version %d: %q %v", i, got, err)
		}
	}
	diff, err := x.Diff(w.ctx, versions[1], versions[3])
	if err != nil || fmt.Sprint(diff) != "[{0 3 1} {2 3 2}]" {
		t.Error(diff, err)
	}
	events, err := x.History(w.ctx, 2)
	if err != nil || len(events) != 2 || events[1].Inserted != 1 || events[1].Deleted != 3 || !events[1].Version.Covers(versions[3]) {
		t.Error(events, err)
	}
	// What somebody made of an old version is merged into the present one.
	if err := x.Merge(w.ctx, versions[1], "one two three"); err != nil {
		t.Fatal(err)
	}
	w.reads("/t", "1 2 three", s)
	if _, err := x.At(w.ctx, TextVersion{}); err != nil {
		t.Error(err)
	}
	var never TextVersion
	never.dots.Add(1, 1, 1)
	if _, err := x.At(w.ctx, never); !errors.Is(err, ErrTextVersion) {
		t.Error(err)
	}
}

func TestASavedTextOpensAsItWas(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	s, _ := w.create(r)
	want := strings.Repeat("a line of some words\n", 10000)
	w.insert(s, "/t", 0, want)
	for i := range 3 {
		w.insert(s, "/t", i, "x")
		w.commit(s, "/t")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = w.open("a")
	s = r.Spaces()[0]
	if b, ok, err := s.replica.store.Fact(textFacts(s.ID()) + factState + "/t"); !ok || err != nil || len(b) < 100 {
		t.Fatal(len(b), ok, err)
	}
	w.reads("/t", "xxx"+want, s)
	w.insert(s, "/t", 3, "y")
	w.commit(s, "/t")
	crash(s)
	w.reads("/t", "xxxy"+want, s)
	// A state that is damaged, or of another copy of the store, says nothing.
	key := textFacts(s.ID()) + factState + "/t"
	b, _, _ := s.replica.store.Fact(key)
	for _, at := range []int{1, 9, 26, len(b) - 1} {
		bad := slices.Clone(b)
		bad[at] ^= 0x55
		if err := s.replica.store.SetFact(w.ctx, key, bad); err != nil {
			t.Fatal(err)
		}
		crash(s)
		w.reads("/t", "xxxy"+want, s)
	}
}

func BenchmarkText(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	r, err := Open(ctx, dir, Options{NoNetwork: true})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	s, _, err := r.CreateSpace(ctx, "notes")
	if err != nil {
		b.Fatal(err)
	}
	words := strings.Repeat("All work and no play makes a dull page. ", 1<<20/40)
	x := s.Text("/t")
	for at := 0; at < len(words); at += 2000 { // some 500 records
		err := x.Update(ctx, func(e *TextEdit) error { return e.Insert(at/2, words[at:min(len(words), at+2000)]) })
		if err == nil {
			err = x.Commit(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	d, _ := s.acquire("/t")
	defer s.texts.release(d)
	b.Run("open", func(b *testing.B) {
		d.mu.Lock()
		err := d.save(ctx)
		d.mu.Unlock()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			d.mu.Lock()
			d.doc = nil
			err := d.bring(ctx)
			d.mu.Unlock()
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for b.Loop() {
			if got, err := x.Get(ctx); err != nil || len(got) < len(words) {
				b.Fatal(len(got), err)
			}
		}
	})
	b.Run("keystroke", func(b *testing.B) {
		at := 1000
		for b.Loop() {
			if err := x.Update(ctx, func(e *TextEdit) error { return e.Insert(at, "k") }); err != nil {
				b.Fatal(err)
			}
			at++
		}
	})
	b.Run("commit", func(b *testing.B) {
		for b.Loop() {
			err := x.Update(ctx, func(e *TextEdit) error { return e.Insert(0, "k") })
			if err == nil {
				err = x.Commit(ctx)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestRandomTextsEndEqual types, commits, syncs, crashes, reopens, leaves lanes
// and takes steps back on three replicas; then all read the same, and the same
// again when nothing but the records is left.
func TestRandomTextsEndEqual(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 10))
		w := newWorld(t)
		names := []string{"a", "b", "c"}
		replicas := []*Replica{w.open("a"), w.open("b"), w.open("c")}
		first, _ := w.create(replicas[0])
		spaces := []*Space{first, w.join(first, replicas[1], InviteOptions{}), w.join(first, replicas[2], InviteOptions{})}
		letters := []rune("abcdefgh é日\n")
		for step := range 120 {
			i := rng.IntN(3)
			s := spaces[i]
			x := s.Text("/t")
			var err error
			switch op := rng.IntN(20); {
			case op < 9:
				err = x.Update(w.ctx, func(e *TextEdit) error {
					if n := e.Len(); n > 0 && rng.IntN(3) == 0 {
						at := rng.IntN(n)
						return e.Delete(at, 1+rng.IntN(min(5, n-at)))
					}
					at := rng.IntN(e.Len() + 1)
					return e.Insert(at, string(letters[rng.IntN(len(letters))])+strings.Repeat("x", rng.IntN(4)))
				})
			case op < 12:
				err = x.Commit(w.ctx)
			case op < 15:
				w.sync(s, spaces[(i+1)%3])
			case op == 15:
				_, err = x.Undo(w.ctx)
			case op == 16:
				_, err = x.Redo(w.ctx)
			case op == 17:
				before, err := x.Get(w.ctx)
				if err != nil {
					continue // nothing typed yet
				}
				w.drafted(s, "/t")
				crash(s)
				w.reads("/t", before, s)
			case op == 18:
				_, err = s.rows.Lane(w.ctx, s.Author(), s.texts.lane(s.Author()))
			default:
				if err := replicas[i].Close(); err != nil {
					t.Fatal(err)
				}
				replicas[i] = w.open(names[i])
				spaces[i] = replicas[i].Spaces()[0]
			}
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
		for _, s := range spaces {
			w.commit(s, "/t")
		}
		for range 2 {
			for i, s := range spaces {
				w.sync(s, spaces[(i+1)%3])
			}
		}
		w.equal(spaces...)
		want, err := first.Text("/t").Get(w.ctx)
		if replicas[0] != first.replica {
			want, err = spaces[0].Text("/t").Get(w.ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.reads("/t", want, spaces...)
		for _, s := range spaces {
			if err := s.replica.store.SetFact(w.ctx, textFacts(s.ID())+factState+"/t", nil); err != nil {
				t.Fatal(err)
			}
			crash(s)
			if p, err := s.Text("/t").Pending(w.ctx); err != nil || p.Waiting+len(p.Forked)+p.Refused > 0 || p.Unsent {
				t.Errorf("seed %d: %+v %v", seed, p, err)
			}
		}
		w.reads("/t", want, spaces...)
	}
}
