package anabranch

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"anabranch/record"
)

var sizesFlag = flag.String("sizes", "small", "how much history TestStoresShrink makes: small, or full (some minutes)")

// TestStoresShrink: what a store weighs after long histories, against what is
// live in it and against all that was ever written.
func TestStoresShrink(t *testing.T) {
	full := *sizesFlag == "full"
	t.Run("text", func(t *testing.T) {
		days := 120
		if full {
			days = 365
		}
		textForAYear(t, days)
	})
	t.Run("set", func(t *testing.T) {
		changes, live := 20_000, 2000
		if full {
			changes, live = 1_000_000, 20_000
		}
		setOfMany(t, changes, live)
	})
	t.Run("documents", func(t *testing.T) {
		documents, times := 200, 20
		if full {
			documents, times = 10_000, 100
		}
		documentsOverwritten(t, documents, times)
	})
}

// weigh says what a space's records and its store's tables weigh.
func (w *world) weigh(s *Space, what string, live, written int) {
	w.t.Helper()
	n, bytes := 0, 0
	for v, err := range s.List(w.ctx, Query{Kinds: []record.Kind{record.Doc, record.Delta, record.Sweep}, Versions: true}) {
		w.ok(err)
		n++
		bytes += len(v.Bytes)
	}
	before, disk, err := s.replica.store.Compact(w.ctx)
	w.ok(err)
	parts, err := s.replica.store.Holdings()
	w.ok(err)
	w.t.Logf("%s: before compaction %d bytes on disk; after it %v", what, before, parts)
	w.t.Logf("%s: %d bytes live; %d records of %d bytes (%.2f times), %d on disk (%.2f times); all that was written: %d bytes (%.1f times)",
		what, live, n, bytes, float64(bytes)/float64(live), disk, float64(disk)/float64(live), written, float64(written)/float64(live))
	if bytes > 3*live {
		w.t.Errorf("%s: records of %d bytes for %d that are live", what, bytes, live)
	}
}

func largeWorld(t *testing.T, now *time.Time, n int) (*world, []*Space) {
	w := newWorld(t)
	w.ctx = t.Context()
	clock := func(o *Options) { o.Clock = func() time.Time { return *now } }
	a, _ := w.create(w.open("a", clock))
	spaces := []*Space{a}
	for i := 1; i < n; i++ {
		spaces = append(spaces, w.join(a, w.open(string(rune('a'+i)), clock), InviteOptions{}))
	}
	return w, spaces
}

func (w *world) meet(spaces []*Space) {
	w.t.Helper()
	for range 2 {
		for _, s := range spaces[1:] {
			w.sync(spaces[0], s)
		}
	}
}

// textForAYear is one text that three authors edit daily: each writes a
// paragraph, and rewrites half of another.
func textForAYear(t *testing.T, days int) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	w, spaces := largeWorld(t, &now, 3)
	rng := rand.New(rand.NewPCG(3, 365))
	words := strings.Fields("the meeting was moved again and nobody wrote down where it is now so whoever reads this should ask the others before noon about rooms keys coffee and the list of open questions")
	prose := func(n int) string {
		var b strings.Builder
		for b.Len() < n {
			b.WriteString(words[rng.IntN(len(words))] + " ")
		}
		return b.String()
	}
	written := 0
	for day := range days {
		for _, s := range spaces {
			now = now.Add(8 * time.Hour)
			w.typing(s, "/minutes", func(e *TextEdit) error {
				if n := e.Len(); n > 2000 {
					pos := rng.IntN(n - 200)
					if err := e.Delete(pos, 150); err != nil {
						return err
					}
					if err := e.Insert(pos, prose(100)); err != nil {
						return err
					}
				}
				return e.Insert(rng.IntN(e.Len()+1), prose(150))
			})
			last, err := s.Text("/minutes").History(w.ctx, 1)
			w.ok(err)
			written += len(last[0].Bytes)
			w.fold(s, "/minutes")
		}
		if day%7 == 0 {
			w.meet(spaces)
		}
	}
	w.meet(spaces)
	content, err := spaces[0].Text("/minutes").Get(w.ctx)
	w.ok(err)
	w.weigh(spaces[0], "a text that three edit daily", len(content), written)
}

// setOfMany is a set to which three authors add, and from which they remove
// what any of them added.
func setOfMany(t *testing.T, changes, live int) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	w, spaces := largeWorld(t, &now, 3)
	rng := rand.New(rand.NewPCG(4, 1))
	const batch = 100
	written, added := 0, 0
	state := func() (n int) {
		values, err := spaces[0].Set("/s").List(w.ctx)
		w.ok(err)
		for _, v := range values {
			n += len(v)
		}
		return n
	}
	rounds := changes / batch / 2
	week := max(20, rounds/52)
	for i := range rounds {
		s := spaces[i%3]
		now = now.Add(365 * 24 * time.Hour / time.Duration(rounds))
		records, err := s.Update(w.ctx, func(u *Update) error {
			values := make([]string, batch)
			for k := range values {
				values[k] = fmt.Sprintf("task %08d: ask about it again", added+k)
			}
			return u.Set("/s").Add(w.ctx, values...)
		})
		w.ok(err)
		for _, v := range records {
			written += len(v.Bytes)
		}
		added += batch
		if i%week == week-1 || i == rounds-1 {
			w.meet(spaces)
			s := spaces[rng.IntN(3)]
			values, err := s.Set("/s").List(w.ctx)
			w.ok(err)
			rng.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
			for len(values) > live {
				n := min(batch, len(values)-live)
				records, err := s.Update(w.ctx, func(u *Update) error { return u.Set("/s").Remove(w.ctx, values[:n]...) })
				w.ok(err)
				for _, v := range records {
					written += len(v.Bytes)
				}
				values = values[n:]
			}
		}
	}
	// A month later each has said something more, and what was removed meanwhile is old.
	for range 2 {
		now = now.Add(31 * 24 * time.Hour)
		w.meet(spaces)
		for i, s := range spaces {
			for k := range foldTier {
				w.ok(s.Set("/s").Add(w.ctx, fmt.Sprintf("late %d %d", i, k)))
			}
		}
		w.meet(spaces)
	}
	t.Logf("%d adds and %d removals", added, added-live)
	w.weigh(spaces[0], "a set", state(), written)
}

// documentsOverwritten are documents that one author writes again and again.
func documentsOverwritten(t *testing.T, documents, times int) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	w, spaces := largeWorld(t, &now, 1)
	rng := rand.NewChaCha8([32]byte{5})
	s, written := spaces[0], 0
	for range times {
		now = now.Add(365 * 24 * time.Hour / time.Duration(times))
		for begin := 0; begin < documents; begin += 500 {
			var writes []Write
			for i := begin; i < min(documents, begin+500); i++ {
				payload := make([]byte, 500)
				rng.Read(payload) // nothing that could be compressed
				writes = append(writes, Write{Op: OpPut, Path: fmt.Sprintf("/notes/%05d", i), Payload: payload})
			}
			records, err := s.Batch(w.ctx, writes...)
			w.ok(err)
			for _, v := range records {
				written += len(v.Bytes)
			}
		}
		w.ok(s.sweep(w.ctx))
	}
	w.weigh(s, "documents overwritten", documents*500, written)
}
