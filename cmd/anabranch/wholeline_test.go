package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"anabranch/record"
)

var wholeLine = flag.Bool("whole-line", false, "run TestTheWholeLine: Go's own sources through three homes")

// device is one home and what a user of it does.
type device struct {
	t             *testing.T
	program, home string
	up            *background
}

func (d *device) run(args ...string) string {
	d.t.Helper()
	return runProgram(d.t, d.program, append([]string{"--home", d.home}, args...)...)
}

// start brings it up at a free port, and dials the others.
func (d *device) start(peers ...*device) {
	d.t.Helper()
	args := []string{"--listen", "127.0.0.1:0"}
	for _, p := range peers {
		args = append(args, "--peer", p.status().Device+"@"+p.addr())
	}
	d.up = startUp(d.t, d.program, d.home, args...)
}

// addr is where an up that runs listens.
func (d *device) addr() string {
	d.t.Helper()
	var in inviteJSON
	d.json(&in, "invite", "--ttl", "1m")
	return in.Addrs[0]
}

func (d *device) json(to any, args ...string) {
	d.t.Helper()
	if err := json.Unmarshal([]byte(d.run(append(args, "--json")...)), to); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) status() statusJSON {
	d.t.Helper()
	var s statusJSON
	d.json(&s, "status")
	return s
}

// together waits until each holds what the others do, and wants equal roots
// and the state in_sync of all.
func together(t *testing.T, devices ...*device) string {
	t.Helper()
	for _, d := range devices {
		d.run("wait", "--converged", "--timeout", "2m")
	}
	var root string
	for _, d := range devices {
		s := d.status()
		if root == "" {
			root = s.Root
		}
		if s.Root != root || len(s.Peers) != len(devices)-1 {
			t.Fatalf("%s: root %s with %d peers, another has %s", d.home, s.Root, len(s.Peers), root)
		}
		for _, p := range s.Peers {
			if p.State != "in_sync" {
				t.Errorf("%s: peer %s is %s", d.home, p.Device, p.State)
			}
		}
	}
	return root
}

// filesOf reads a folder: contents by slash path, and how many of them are
// above what one record carries.
func filesOf(t *testing.T, dir string) (small map[string]string, large int) {
	t.Helper()
	small = map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if len(b) > record.MaxPayload {
			large++
		}
		small[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return small, large
}

func sameFiles(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, content := range want {
		if have, ok := got[name]; !ok || have != content {
			t.Errorf("%s: %s is there: %v, with %d bytes, want %d", what, name, ok, len(have), len(content))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s should not be there", what, name)
		}
	}
}

// change applies edits to a folder: nil deletes.
func change(t *testing.T, dir string, edits map[string]*string) {
	t.Helper()
	for name, content := range edits {
		file := filepath.Join(dir, filepath.FromSlash(name))
		var err error
		if content == nil {
			err = os.Remove(file)
		} else if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
			err = os.WriteFile(file, []byte(*content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheWholeLine takes Go's own sources through everything that a user does
// with two machines and a third.
func TestTheWholeLine(t *testing.T) {
	if !*wholeLine {
		t.Skip("a minute of real processes and 11 000 files: run it with -whole-line")
	}
	begin := time.Now()
	step := func(format string, args ...any) {
		t.Helper()
		t.Logf("%5.1f s  %s", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	program := buildProgram(t)
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	named := func(name string) *device {
		return &device{t: t, program: program, home: filepath.Join(dir, name)}
	}
	a, b, c := named("a"), named("b"), named("c")
	step("built")

	a.run("space", "create", "notes")
	a.start()
	small, large := filesOf(t, source)
	var in importJSON
	if err := json.Unmarshal([]byte(a.run("import", source, "--json")), &in); err != nil {
		t.Fatal(err)
	}
	if in.Added != len(small) {
		t.Errorf("%d files imported of %d", in.Added, len(small))
	}
	step("imported %d files, %d of them above 64 KiB", in.Added, large)
	if err := json.Unmarshal([]byte(a.run("import", source, "--json")), &in); err != nil || in.Added+in.Changed != 0 {
		t.Errorf("an unchanged folder writes %d, %v", in.Added+in.Changed, err)
	}

	var ticket inviteJSON
	a.json(&ticket, "invite", "--role", "admin")
	b.run("join", ticket.Ticket, "--name", "notes")
	b.start(a)
	step("joined; both in_sync with root %s", together(t, a, b)[:16])

	b.run("wait", "--blobs", "--timeout", "2m")
	step("all content is there")

	outA, outB := filepath.Join(dir, "folder-a"), filepath.Join(dir, "folder-b")
	for d, out := range map[*device]string{a: outA, b: outB} {
		d.run("export", out)
		got, _ := filesOf(t, out)
		sameFiles(t, "exported by "+filepath.Base(d.home), got, small)
	}
	step("exported on both, every file as it was")

	// Apart.
	a.up.down(t)
	b.up.down(t)
	names := slices.Sorted(maps.Keys(small))
	text := func(s string) *string { return &s }
	editsA, editsB := map[string]*string{}, map[string]*string{}
	var conflicts []string
	for i := range 10 {
		editsA[names[10*i]] = text(fmt.Sprintf("edited by a, %d\n", i))
		editsB[names[10*i+1]] = text(fmt.Sprintf("edited by b, %d\n", i))
		editsA[names[10*i+2]], editsB[names[10*i+3]] = nil, nil
		editsA[names[10*i+4]], editsB[names[10*i+4]] = nil, nil // both delete: nothing to settle
		editsA[fmt.Sprintf("new/a/%d", i)] = text(fmt.Sprintf("added by a, %d\n", i))
		editsB[fmt.Sprintf("new/b/%d", i)] = text(fmt.Sprintf("added by b, %d\n", i))
		if i < 5 {
			both := names[10*i+5]
			editsA[both], editsB[both] = text("what a wrote\n"), text("what b wrote\n")
			conflicts = append(conflicts, "/"+both)
		}
	}
	slices.Sort(conflicts)
	want := maps.Clone(small)
	for _, edits := range []map[string]*string{editsA, editsB} {
		for name, content := range edits {
			if content == nil {
				delete(want, name)
			} else {
				want[name] = *content
			}
		}
	}
	change(t, outA, editsA)
	change(t, outB, editsB)
	a.run("import", outA, "--delete")
	b.run("import", outB, "--delete")
	if a.status().Root == b.status().Root {
		t.Error("equal roots while apart")
	}
	step("apart: %d and %d files edited, added and deleted", len(editsA), len(editsB))

	a.start()
	b.start(a)
	step("rejoined; equal root %s", together(t, a, b)[:16])
	for _, d := range []*device{a, b} {
		var shown []string
		for line := range strings.Lines(d.run("conflicts", "--json")) {
			var k conflictJSON
			if err := json.Unmarshal([]byte(line), &k); err != nil {
				t.Fatal(err)
			}
			shown = append(shown, k.Path)
			versions := []string{*k.Current.Text}
			for _, o := range k.Others {
				versions = append(versions, *o.Text)
			}
			slices.Sort(versions)
			if !slices.Equal(versions, []string{"what a wrote\n", "what b wrote\n"}) {
				t.Errorf("%s has versions %q", k.Path, versions)
			}
		}
		slices.Sort(shown)
		if !slices.Equal(shown, conflicts) {
			t.Errorf("%s shows conflicts at %q, want %q", d.home, shown, conflicts)
		}
		out := d.home + "-after"
		d.run("export", out)
		got, _ := filesOf(t, out)
		for _, path := range conflicts { // either side's may be read
			if name := path[1:]; got[name] == "what a wrote\n" {
				want[name] = got[name]
			} else {
				want[name] = "what b wrote\n"
			}
		}
		sameFiles(t, "after rejoining, "+filepath.Base(d.home), got, want)
	}
	step("%d conflicts shown on both, exactly those; all else as last written", len(conflicts))

	b.json(&ticket, "invite")
	c.run("join", ticket.Ticket, "--name", "notes")
	c.start(b, a)
	step("a third joined through the second; equal root %s", together(t, a, b, c)[:16])
	if members := a.run("members"); !bytes.Contains([]byte(members), []byte(c.status().Device[:12])) {
		t.Errorf("the first does not know the third:\n%s", members)
	}
	out := c.home + "-after"
	c.run("export", out)
	got, _ := filesOf(t, out)
	sameFiles(t, "the third", got, want)
	for _, d := range []*device{a, b, c} {
		d.run("verify")
	}
	step("the third has every file; verify is clean on all")
}
