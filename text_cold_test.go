package anabranch

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A text of 1 MB, written in 500 records and closed, is read by another process.
// -v says how long that took it: opening the store, and then the text.
func TestATextOpensInAFreshProcess(t *testing.T) {
	const size, child = 1 << 20, "ANABRANCH_TEST_COLD_TEXT"
	ctx := context.Background()
	if dir := os.Getenv(child); dir != "" {
		begin := time.Now()
		r, err := Open(ctx, dir, Options{NoNetwork: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		opened := time.Now()
		s, err := r.Space("notes")
		if err != nil {
			t.Fatal(err)
		}
		content, err := s.Text("/t").Get(ctx)
		if err != nil || len(content) != size {
			t.Fatal(len(content), err)
		}
		t.Logf("store %v, text %v, together %v", opened.Sub(begin), time.Since(opened), time.Since(begin))
		return
	}
	dir := t.TempDir()
	r, err := Open(ctx, dir, Options{NoNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := r.CreateSpace(ctx, "notes")
	if err != nil {
		t.Fatal(err)
	}
	x := s.Text("/t")
	piece := strings.Repeat("All work and no play makes a dull page. ", 64)[:2048]
	for at := 0; at < size; at += len(piece) {
		if err := x.Update(ctx, func(e *TextEdit) error { return e.Insert(at/2, piece) }); err != nil {
			t.Fatal(err)
		}
		if err := x.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), child+"="+dir)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "together") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
