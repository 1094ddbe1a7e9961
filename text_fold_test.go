package anabranch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/record"
)

func (w *world) fold(s *Space, path string) {
	w.t.Helper()
	if err := s.Text(path).use(w.ctx, func(d *textDoc) error { return d.fold(w.ctx) }); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) typing(s *Space, path string, f func(e *TextEdit) error) TextVersion {
	w.t.Helper()
	t := s.Text(path)
	w.ok(t.Update(w.ctx, f))
	v, err := t.Version(w.ctx)
	w.ok(err)
	return v
}

// A text is edited for a year by two, while a third is away who has typed into
// what they delete, fold and drop.
func TestATextIsFoldedAndWhoWasAwayForAYearMerges(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	clock := func(o *Options) { o.Clock = func() time.Time { return now } }
	a, _ := w.create(w.open("a", clock))
	b := w.join(a, w.open("b", clock), InviteOptions{})
	c := w.join(a, w.open("c", clock), InviteOptions{})
	rng := rand.New(rand.NewPCG(1, 365))
	first := w.typing(a, "/t", func(e *TextEdit) error { return e.Insert(0, "In the beginning was a passage that does not stay. ") })
	w.sync(a, b)
	w.sync(a, c)

	// c goes away, types into the passage, and behind it.
	w.typing(c, "/t", func(e *TextEdit) error { return e.Insert(20, "[c was here]") })
	w.typing(c, "/t", func(e *TextEdit) error { return e.Insert(e.Len(), "[c, too]") })

	w.typing(b, "/t", func(e *TextEdit) error { return e.Delete(0, 50) })
	var early, recent TextVersion
	recentSays := ""
	for day := range 365 {
		now = now.Add(24 * time.Hour)
		s := []*Space{a, b}[day%2]
		v := w.typing(s, "/t", func(e *TextEdit) error {
			if n := e.Len(); n > 2000 {
				if err := e.Delete(rng.IntN(n-500), 400); err != nil {
					return err
				}
			}
			return e.Insert(rng.IntN(e.Len()+1), fmt.Sprintf("Day %d brought a sentence or two. ", day))
		})
		if day%7 == 0 {
			w.sync(a, b)
		}
		switch day {
		case 40:
			early = v
			w.ok(a.Text("/t").Keep(w.ctx, "day 40", v))
		case 352:
			recent = v
			var err error
			recentSays, err = s.Text("/t").Get(w.ctx)
			w.ok(err)
		}
		w.fold(s, "/t")
	}
	w.sync(a, b)
	n, bytes := w.live(a, "/t")
	says, err := a.Text("/t").Get(w.ctx)
	w.ok(err)
	t.Logf("%d records of %d bytes say %d characters", n, bytes, len(says))
	if n > 110 || bytes > 6*len(says)+110*200 {
		t.Errorf("%d records of %d bytes say %d characters", n, bytes, len(says))
	}
	dropped := 0
	w.ok(a.Text("/t").use(w.ctx, func(d *textDoc) error {
		dropped = d.doc.Dropped()
		return nil
	}))
	if dropped < 1000 {
		t.Errorf("%d characters were dropped", dropped)
	}
	for _, old := range []TextVersion{first, early} {
		if _, err := b.Text("/t").At(w.ctx, old); !errors.Is(err, ErrFolded) {
			t.Errorf("a version from before the window reads: %v", err)
		}
	}
	if kept, err := a.Text("/t").At(w.ctx, early); err != nil || !strings.Contains(kept, "Day 40 brought") {
		t.Errorf("the version that was kept reads %q %v", kept, err)
	}
	if was, err := a.Text("/t").At(w.ctx, recent); err != nil || was != recentSays {
		t.Errorf("a version of the last days reads %q, want %q %v", was, recentSays, err)
	}
	var unknown TextVersion
	unknown.dots.Add(1, 1, 1)
	if _, err := a.Text("/t").At(w.ctx, unknown); !errors.Is(err, ErrTextVersion) {
		t.Errorf("a version that nobody has: %v", err)
	}

	w.sync(c, a)
	w.sync(b, c)
	w.sync(a, b)
	w.equal(a, b)
	w.equal(a, c)
	want, err := a.Text("/t").Get(w.ctx)
	w.ok(err)
	for _, s := range []*Space{b, c} {
		if got, err := s.Text("/t").Get(w.ctx); err != nil || got != want {
			t.Errorf("%q %v, want %q", got, err, want)
		}
	}
	for _, typed := range []string{"[c was here]", "[c, too]"} {
		if strings.Count(want, typed) != 1 {
			t.Errorf("%q is not once in %q", typed, want)
		}
	}
	if strings.Contains(want, "beginning") || strings.ContainsRune(want, 0) {
		t.Errorf("what was dropped is back: %q", want)
	}
	if p, err := c.Text("/t").Pending(w.ctx); err != nil || p.Waiting > 0 || len(p.Forked) > 0 || p.Refused > 0 {
		t.Errorf("pending: %+v %v", p, err)
	}
	w.ok(a.Text("/t").Unkeep(w.ctx, "day 40"))
	if err := a.Text("/t").Unkeep(w.ctx, "day 40"); !errors.Is(err, ErrNotFound) {
		t.Errorf("forgotten twice: %v", err)
	}
}

// A fold made by hand, of records that go on: versions that hold all of it or
// nothing of it can be read, others cannot.
func TestVersionsBesideFolds(t *testing.T) {
	author := record.Key{1}
	d := &textDoc{path: "/t"}
	doc := text.New(laneName(author, 5))
	var all []*record.Verified
	for i := range 6 {
		if err := doc.Insert(doc.Len(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		all = append(all, &record.Verified{ID: record.ID{byte(i)}, Record: record.Record{
			Kind: record.Delta, Author: author, Lane: 5, Seq: uint32(10 * (i + 1)), Path: "/t", Time: uint64(i + 1), Payload: doc.Flush(0)[0],
		}})
	}
	d.doc = doc
	payload, err := d.folded(all, all[1:4], nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := text.ParseFold(payload)
	if err != nil || len(f.Parts) != 1 || len(f.Parts[0].Spans) != 1 || f.Parts[0].Spans[0] != (text.FoldedSpan{First: 20, Last: 40, Records: 3}) {
		t.Fatalf("%+v %v", f, err)
	}
	v := &record.Verified{ID: record.ID{9}, Record: record.Record{Author: author, Lane: 5, Seq: 70, Path: "/t", Time: 9, Payload: payload}}
	if foldedRecords(v) != 3 {
		t.Errorf("%d records folded", foldedRecords(v))
	}
	var dots crdt.Context
	addDots(&dots, v)
	if name := laneName(author, 5); dots.Count(name, 1, 100) != 22 {
		t.Errorf("%v", dots.Spans(name))
	}
	parts, err := textParts(v)
	if err != nil || len(parts) != 1 {
		t.Fatal(err)
	}
	far := text.New(0)
	if _, err := applyParts(far, append(parts, text.Part{Lane: laneName(author, 5), Body: all[0].Payload})); err != nil || far.String() != "0123" {
		t.Errorf("%q %v", far.String(), err)
	}
}
