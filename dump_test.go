package anabranch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"anabranch/record"
)

// dump is a space's dump, by lines.
func (w *world) dump(s *Space) []string {
	w.t.Helper()
	var b bytes.Buffer
	if _, err := s.Dump(w.ctx, &b, nil); err != nil {
		w.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func (w *world) load(r *Replica, lines []string, o LoadOptions) (*Space, LoadReport, error) {
	return r.Load(w.ctx, strings.NewReader(strings.Join(lines, "\n")), o)
}

// busy is a space with every kind of member: two authors, old versions,
// deletions, sweeps, a revocation.
func (w *world) busy() *Space {
	w.t.Helper()
	a, key := w.create(w.open("a"))
	rb := w.open("b")
	b := w.join(a, rb, InviteOptions{})
	for i := range 300 {
		s := a
		if i%3 == 0 {
			s = b
		}
		if i%25 == 0 {
			w.put(s, "/n/same\u202e\U000e0001\u0085", fmt.Sprint(i))
		} else if _, err := s.Append(w.ctx, fmt.Sprintf("/n/%d", i), []byte("<entry> & \u202e")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sync(a, b)
	for _, s := range []*Space{a, b} {
		if err := s.sweep(w.ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sync(a, b)
	if _, err := a.Revoke(w.ctx, rb.Device(), RevokeOptions{RootKey: &key}); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func TestADumpIsTheWholeSpace(t *testing.T) {
	w := newWorld(t)
	s := w.busy()
	lines := w.dump(s)
	_, n, err := s.Root(w.ctx)
	if err != nil || len(lines) != int(n)+2 {
		t.Fatalf("%d lines for %d records, %v", len(lines), n, err)
	}
	for i, l := range lines {
		if strings.ContainsFunc(l, func(c rune) bool { return !strconv.IsPrint(c) }) {
			t.Fatalf("line %d would act on a terminal", i+1)
		}
		if !json.Valid([]byte(l)) {
			t.Fatalf("line %d is no JSON", i+1)
		}
	}
	c := w.open("c")
	made, report, err := w.load(c, lines, LoadOptions{Name: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Made || !report.Equal || report.Records != n || report.Added != int(n) || report.Held+report.Dead > 0 || made.Name() != "copy" {
		t.Errorf("%+v", report)
	}
	w.equal(s, made)
	again, report, err := w.load(c, lines, LoadOptions{})
	if err != nil || again != made || report.Made || report.Known != int(n) || report.Added > 0 || !report.Equal {
		t.Errorf("%+v, %v", report, err)
	}
	// A space that has more keeps it.
	w.put(s, "/more", "text")
	if _, report, err = w.load(s.replica, lines, LoadOptions{Into: s}); err != nil || report.Equal {
		t.Errorf("%+v, %v", report, err)
	}
	if w.text(s, "/more") != "text" {
		t.Error("a load took something away")
	}
	if _, err := made.Put(w.ctx, "/x", nil); !errors.Is(err, ErrNotAuthorised) {
		t.Errorf("a device that was never invited writes: %v", err)
	}
}

func TestADumpThatIsNotWholeIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	for i := range 5 {
		w.put(s, fmt.Sprint("/", i), "text")
	}
	other, _, err := a.CreateSpace(w.ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	lines := w.dump(s)
	foreign := w.dump(other)
	edit := func(n int, from, to string) []string {
		out := append([]string{}, lines...)
		if out[n] = strings.Replace(out[n], from, to, 1); out[n] == lines[n] {
			t.Fatalf("line %d has no %q", n, from)
		}
		return out
	}
	var l dumpLine
	if err := json.Unmarshal([]byte(lines[3]), &l); err != nil {
		t.Fatal(err)
	}
	l.Record[len(l.Record)-1] ^= 1
	forged, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	last := len(lines) - 1
	for _, c := range []struct {
		name  string
		lines []string
		want  error
	}{
		{"nothing", nil, ErrDump},
		{"some text", []string{"hello"}, ErrDump},
		{"no header", lines[1:], ErrDump},
		{"the end alone", lines[last:], ErrDump},
		{"a newer schema", edit(0, "dump/1", "dump/2"), ErrIncompatible},
		{"another space's name", edit(0, s.ID().String(), other.ID().String()), ErrDump},
		{"an unknown field in the header", edit(0, `"space"`, `"x":1,"space"`), ErrDump},
		{"an unknown field", edit(3, `"kind"`, `"x":1,"kind"`), ErrDump},
		{"cut off", lines[:last], ErrDump},
		{"cut off in a line", append(append([]string{}, lines[:last-1]...), lines[last-1][:40]), ErrDump},
		{"a record missing", append(append([]string{}, lines[:3]...), lines[4:]...), ErrDump},
		{"a record twice", append(append([]string{}, lines[:4]...), lines[3:]...), ErrDump},
		{"a forged record", append(append(append([]string{}, lines[:3]...), string(forged)), lines[4:]...), ErrDump},
		{"words that differ", edit(3, `"path":"/`, `"path":"/x`), ErrDump},
		{"another space's record", append(append([]string{}, lines[:3]...), foreign[1:]...), record.ErrSignature},
		{"another root", edit(last, `"root":"`, `"root":"0`), ErrDump},
		{"more after the end", append(append([]string{}, lines...), lines[3]), ErrDump},
		{"a line without end", append(append([]string{}, lines[:3]...), strings.Repeat("x", maxDumpLine+1)), ErrDump},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.open(c.name)
			if _, _, err := w.load(r, c.lines, LoadOptions{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			for _, made := range r.Spaces() {
				if report, err := made.Verify(w.ctx, nil); err != nil || len(report.Findings) > 0 {
					t.Errorf("left behind: %v, %v", report, err)
				}
			}
		})
	}
	if _, _, err := w.load(a, lines, LoadOptions{Into: other}); !errors.Is(err, ErrWrongSpace) {
		t.Errorf("into another space: %v", err)
	}
	if _, _, err := w.load(w.open("c"), lines, LoadOptions{Name: "a/b"}); err == nil {
		t.Error("a name that no space may have was taken")
	}
}

func TestADamagedDumpIsRefusedAndNeverHalfTrusted(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	for i := range 5 {
		w.put(s, fmt.Sprint("/", i), "text")
	}
	good := []byte(strings.Join(w.dump(s), "\n"))
	to := w.open("b")
	rnd := rand.New(rand.NewPCG(7, 7))
	for range 300 {
		b := bytes.Clone(good)
		at := rnd.IntN(len(b))
		switch rnd.IntN(4) {
		case 0:
			b[at] ^= byte(1 + rnd.IntN(255))
		case 1:
			b = b[:at]
		case 2:
			b = append(b[:at], b[min(len(b), at+1+rnd.IntN(200)):]...)
		case 3:
			b = append(b[:at:at], append(bytes.Clone(b[rnd.IntN(at+1):at]), b[at:]...)...)
		}
		if _, report, err := to.Load(w.ctx, bytes.NewReader(b), LoadOptions{}); err == nil && report.Root != w.root(s) {
			t.Fatalf("taken: %q", b)
		}
	}
	for _, made := range to.Spaces() {
		if report, err := made.Verify(w.ctx, nil); err != nil || len(report.Findings) > 0 {
			t.Fatal(report, err)
		}
	}
}
