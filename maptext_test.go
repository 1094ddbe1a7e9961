package anabranch

import (
	"errors"
	"strings"
	"testing"

	"anabranch/crdt"
	"anabranch/crdt/text"
)

func TestTextsInMapsMergeAndAreDeletedWithTheirKey(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	note := func(s *Space) MapText { return s.Map("/m").Map("notes").Text("ada", "bio") }
	w.ok(note(a).Set(w.ctx, "Ada wrote programs."), a.Map("/m").Put(w.ctx, 1815, "notes", "ada", "born"))
	w.sync(a, b)
	w.ok(note(a).Insert(w.ctx, 10, "the first "), note(b).Set(w.ctx, "Ada Lovelace wrote programs."), note(b).Insert(w.ctx, 28, " 漢"))
	w.sync(a, b)
	w.says("/m", `{"notes":{"ada":{"bio":"Ada Lovelace wrote the first programs. 漢","born":1815}}}`, a, b)

	// One deletes the key above, the other types meanwhile: that stays, alone.
	w.ok(a.Map("/m").Delete(w.ctx, "notes", "ada"), note(b).Insert(w.ctx, 0, "[b] "))
	w.says("/m", `{}`, a)
	w.sync(a, b)
	w.equal(a, b)
	w.says("/m", `{"notes":{"ada":{"bio":"[b] "}}}`, a, b)
	w.ok(note(a).Insert(w.ctx, 4, "again"))
	w.sync(a, b)
	w.says("/m", `{"notes":{"ada":{"bio":"[b] again"}}}`, a, b)
	w.ok(a.Map("/m").Delete(w.ctx, "notes"))
	w.sync(a, b)
	w.says("/m", `{}`, a, b)
	if _, err := note(b).Get(w.ctx); !errors.Is(err, ErrNotFound) {
		t.Errorf("a text that is deleted reads: %v", err)
	}
	var outside *text.RangeError
	if err := note(b).Insert(w.ctx, 7, "x"); !errors.As(err, &outside) {
		t.Errorf("outside: %v", err)
	}
	if err := a.Map("/m").Text().Set(w.ctx, "x"); !errors.Is(err, crdt.ErrRange) {
		t.Errorf("without a key: %v", err)
	}

	// One that takes several parts, in an Update that sees it.
	long := strings.Repeat("0123456789 ", 10_000)
	_, err := a.Update(w.ctx, func(u *Update) error {
		if err := u.Map("/m").Text("long").Set(w.ctx, long); err != nil {
			return err
		}
		return u.Map("/m").Text("long").Insert(w.ctx, 0, "> ")
	})
	w.ok(err)
	w.sync(a, b)
	if got, err := b.Map("/m").Text("long").Get(w.ctx); err != nil || got != "> "+long {
		t.Errorf("%d bytes %v", len(got), err)
	}
	for range 40 { // folded with all else
		w.ok(note(a).Insert(w.ctx, 0, "x"))
	}
	if got, err := note(a).Get(w.ctx); err != nil || got != strings.Repeat("x", 40) {
		t.Errorf("%q %v", got, err)
	}
	if n, _ := w.live(a, "/m"); n > 30 {
		t.Errorf("%d records", n)
	}
}
