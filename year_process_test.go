package anabranch

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const everyDays = 3 // of the year, something is written

// clock is that of a process whose days pass when it is told so.
func (c *child) clock() func() time.Time {
	if os.Getenv(byHand) == "" {
		return nil
	}
	return func() time.Time { return time.Now().Add(time.Duration(c.day.Load()) * 24 * time.Hour) }
}

// age does what the test of a year away wants of a process:
//
//	days FROM TO NAME   lets days pass, with changes, folds and sweeps on each
//	change WHAT         makes one of the changes of someone who is away, or before
//	says                all documents as JSON
func (c *child) age(words []string) (string, error) {
	tasks, notes, count, minutes := c.space.Set("/tasks"), c.space.Map("/notes"), c.space.Counter("/count"), c.space.Text("/minutes")
	write := func(f func(e *TextEdit) error) error {
		if err := minutes.Update(c.ctx, f); err != nil {
			return err
		}
		return minutes.Commit(c.ctx)
	}
	var err error
	do := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	switch strings.Join(words[:min(len(words), 2)], " ") {
	case "change first":
		do(func() error { return tasks.Add(c.ctx, "old", "older", "kept") })
		do(func() error { return notes.Put(c.ctx, json.RawMessage(`{"x":1,"y":2}`), "k") })
		do(func() error { return notes.Text("bio").Set(c.ctx, "a line that goes") })
		do(func() error { return count.Add(c.ctx, 100) })
		do(func() error {
			return write(func(e *TextEdit) error { return e.Insert(0, "A passage that does not stay. ") })
		})
	case "change away":
		do(func() error { return tasks.Add(c.ctx, "from the plane") })
		do(func() error { return tasks.Remove(c.ctx, "kept") })
		do(func() error { return count.Add(c.ctx, 7) })
		do(func() error { return notes.Put(c.ctx, "new", "k", "z") })
		do(func() error {
			return write(func(e *TextEdit) error { return e.Insert(10, "[from the plane]") })
		})
	case "change removals":
		do(func() error { return tasks.Remove(c.ctx, "old", "older") })
		do(func() error { return notes.Delete(c.ctx, "k") })
		do(func() error { return notes.Delete(c.ctx, "bio") })
		do(func() error { return count.Reset(c.ctx) })
		do(func() error { return write(func(e *TextEdit) error { return e.Delete(0, 30) }) })
	case "says":
		var out []string
		for _, path := range []string{"/tasks", "/notes", "/count"} {
			v, err := c.space.Value(c.ctx, path)
			if err != nil {
				return "", err
			}
			out = append(out, string(v.JSON))
		}
		s, err := minutes.Get(c.ctx)
		b, _ := json.Marshal(append(out, s))
		return string(b), err
	default:
		from, to, name := 0, 0, words[3]
		if from, err = strconv.Atoi(words[1]); err == nil {
			to, err = strconv.Atoi(words[2])
		}
		rng := rand.New(rand.NewPCG(uint64(from), 7))
		for day := from; day < to && err == nil; day += everyDays {
			c.day.Store(int64(day))
			task := fmt.Sprintf("%s %d", name, day)
			do(func() error { return tasks.Add(c.ctx, task) })
			if day%5 > 0 {
				do(func() error { return tasks.Remove(c.ctx, task) })
			}
			do(func() error { return notes.Put(c.ctx, day, "today", name) })
			do(func() error { return count.Add(c.ctx, 1) })
			do(func() error {
				return write(func(e *TextEdit) error {
					if n := e.Len(); n > 600 {
						if err := e.Delete(rng.IntN(n-300), 200); err != nil {
							return err
						}
					}
					return e.Insert(rng.IntN(e.Len()+1), task+" was a day. ")
				})
			})
			do(func() error {
				return minutes.use(c.ctx, func(d *textDoc) error { return d.fold(c.ctx) })
			})
			do(func() error { return c.space.sweep(c.ctx) })
		}
		c.day.Store(int64(to))
	}
	return "", err
}

// Real processes: two go on for a year and are killed in it, one is away with
// changes that nobody has seen, of what the others remove, fold, drop and sweep.
func TestAProcessComesBackAfterBeingAwayForAYear(t *testing.T) {
	dir := t.TempDir()
	home := func(name string) string { return filepath.Join(dir, name) }
	a, b, c := start(t, home("a"), byHand+"=1"), start(t, home("b"), byHand+"=1"), start(t, home("c"), byHand+"=1")
	a.do("create")
	b.do("join %s", a.do("invite"))
	c.do("join %s", a.do("invite"))
	a.do("change first")
	b.do("sync %s", a.device)
	c.do("sync %s", a.device)
	c.do("change away")
	c.kill() // its writes were durable

	b.do("change removals")
	for month := range 12 {
		b.do("sync %s", a.device)
		b.do("days %d %d b", month*30+1, month*30+31)
		a.do("days %d %d a", month*30+1, month*30+31)
		if month == 6 {
			b.kill()
			b = start(t, home("b"), byHand+"=1")
		}
	}
	b.do("sync %s", a.device)

	c = start(t, home("c"), byHand+"=1")
	for range 2 {
		c.do("sync %s", a.device)
		b.do("sync %s", a.device)
	}
	roots := []string{a.do("root"), b.do("root"), c.do("root")}
	if roots[0] != roots[1] || roots[0] != roots[2] {
		t.Fatalf("roots differ: %q", roots)
	}
	said := []string{a.do("says"), b.do("says"), c.do("says")}
	if said[0] != said[1] || said[0] != said[2] {
		t.Fatalf("they read differently:\n%s", strings.Join(said, "\n"))
	}
	var documents []string
	if err := json.Unmarshal([]byte(said[0]), &documents); err != nil {
		t.Fatal(err)
	}
	var tasks []string
	if err := json.Unmarshal([]byte(documents[0]), &tasks); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"old", "older", "kept", "a 1", "b 358"} {
		if slices.Contains(tasks, gone) {
			t.Errorf("%q came back", gone)
		}
	}
	days, stay := 0, 1 // from the plane
	for day := 1; day <= 360; day += everyDays {
		days++
		if day%5 == 0 {
			stay += 2
		}
	}
	if len(tasks) != stay || !slices.Contains(tasks, "from the plane") {
		t.Errorf("%d tasks: %q", len(tasks), tasks)
	}
	if want := `{"k":{"z":"new"},"today":{"a":358,"b":358}}`; documents[1] != want {
		t.Errorf("notes %s, want %s", documents[1], want)
	}
	if want := strconv.Itoa(2*days + 7); documents[2] != want {
		t.Errorf("count %s, want %s", documents[2], want)
	}
	if minutes := documents[3]; strings.Count(minutes, "[from the plane]") != 1 || strings.Contains(minutes, "passage") || strings.ContainsRune(minutes, 0) {
		t.Errorf("minutes: %q", minutes)
	}
	for _, p := range []*process{a, b, c} {
		if found := p.do("verify"); found != "0" {
			t.Errorf("%s findings", found)
		}
	}
}
