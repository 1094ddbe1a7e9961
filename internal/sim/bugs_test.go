package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var bugsFlag = flag.String("bugs", "", "plant the bugs of testdata/bugs whose names match, and demand that each is caught")

// bug is a fault that is planted: a text of a file that is replaced by
// another when a test binary is built. Ordinary builds know nothing of it.
type bug struct {
	name, what, file, command, caught string
	worlds, size                      int
	old, new                          string
}

func bugs(t *testing.T) (all []bug) {
	t.Helper()
	names, err := filepath.Glob("testdata/bugs/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil || len(a.Files) != 2 {
			t.Fatalf("%s: %d files, %v", name, len(a.Files), err)
		}
		b := bug{
			name: strings.TrimSuffix(filepath.Base(name), ".txtar"),
			old:  strings.TrimSuffix(string(a.Files[0].Data), "\n"), new: strings.TrimSuffix(string(a.Files[1].Data), "\n"),
		}
		for line := range strings.Lines(string(a.Comment)) {
			line = strings.TrimSpace(line)
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "file":
				b.file = value
			case "command":
				b.command = value
			case "caught by":
				b.caught = value
			case "worlds":
				if _, err := fmt.Sscanf(value, "%d of %d", &b.worlds, &b.size); err != nil {
					t.Fatalf("%s: %s", name, line)
				}
			default:
				b.what = strings.TrimPrefix(line, "# ")
			}
		}
		all = append(all, b)
	}
	return all
}

// TestBugsApply: the texts that the planted bugs replace are there, once, so
// that the bugs do not rot.
func TestBugsApply(t *testing.T) {
	all := bugs(t)
	if len(all) < 15 {
		t.Errorf("%d bugs", len(all))
	}
	for _, b := range all {
		src, err := os.ReadFile(filepath.Join("../..", b.file))
		if err != nil {
			t.Error(err)
		} else if n := strings.Count(string(src), b.old); n != 1 {
			t.Errorf("%s: its text is %d times in %s", b.name, n, b.file)
		}
	}
}

// TestBugsAreCaught plants one bug after the other and demands that the suite
// catches it within its budget of worlds. It builds a test binary for each.
func TestBugsAreCaught(t *testing.T) {
	if *bugsFlag == "" {
		t.Skip("builds a binary for each bug: -bugs . plants them all")
	}
	match, err := regexp.Compile(*bugsFlag)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bugs(t) {
		if match.MatchString(b.name) {
			t.Run(b.name, func(t *testing.T) { b.hunt(t) })
		}
	}
}

var sawCheck = regexp.MustCompile(`(C\d+) at [^\n]*`)

func (b *bug) hunt(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	real := filepath.Join(root, b.file)
	src, err := os.ReadFile(real)
	if err != nil {
		t.Fatal(err)
	}
	planted := filepath.Join(dir, "planted.go")
	if err := os.WriteFile(planted, []byte(strings.Replace(string(src), b.old, b.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay := filepath.Join(dir, "overlay.json")
	j, _ := json.Marshal(map[string]map[string]string{"Replace": {real: planted}})
	if err := os.WriteFile(overlay, j, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var run *exec.Cmd
	if b.command != "" {
		args := strings.Fields(b.command)
		run = exec.Command(args[0], append([]string{args[1], "-vet=off", "-overlay", overlay}, args[2:]...)...)
		run.Dir = root
	} else {
		bin := filepath.Join(dir, "sim.test")
		build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, "./internal/sim")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("it does not build: %v\n%s", err, out)
		}
		began = time.Now()
		run = exec.Command(bin, "-test.run", "TestWorlds$", "-test.timeout", "300s", "-first",
			"-worlds", fmt.Sprint(b.worlds), "-size", fmt.Sprint(b.size))
	}
	out, err := run.CombinedOutput()
	if err == nil {
		t.Fatalf("not caught: %s", b.what)
	}
	how := b.command
	if m := sawCheck.FindString(string(out)); m != "" {
		how = m
	} else if b.command == "" {
		how = firstLine(string(out), "panic")
	}
	tried := ""
	if m := regexp.MustCompile(`world \d+ of the batch`).FindString(string(out)); m != "" {
		tried = ", " + m
	}
	t.Logf("%s | %s | caught in %v%s: %.160s", b.name, b.what, time.Since(began).Round(100*time.Millisecond), tried, how)
	if check := sawCheck.FindStringSubmatch(string(out)); b.caught != "" && (check == nil || !strings.Contains(b.caught, check[1])) {
		t.Logf("%s was expected", b.caught)
	}
}

func firstLine(s, with string) string {
	for line := range strings.Lines(s) {
		if strings.Contains(line, with) {
			return strings.TrimSpace(line)
		}
	}
	return "no word"
}
