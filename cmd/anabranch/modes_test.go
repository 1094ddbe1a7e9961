package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEveryCommandRunsInScriptsInEachMode: each command is run with --json,
// which the scripts hold against its schema, in a home where an up runs and
// in one where none does.
func TestEveryCommandRunsInScriptsInEachMode(t *testing.T) {
	root := (&app{}).command()
	root.InitDefaultCompletionCmd()
	ran := map[string]map[bool]bool{} // by command and whether an up ran
	plain := map[string]bool{}        // run without --json
	pages, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range scriptCommands(string(b)) {
			found, rest, err := root.Find(c.args)
			if err != nil {
				continue // what the script wants to be refused
			}
			name := found.CommandPath()
			if slices.Contains(c.args, "--json") || slices.Contains(rest, "--json") {
				if ran[name] == nil {
					ran[name] = map[bool]bool{}
				}
				ran[name][c.up] = true
			}
			plain[name] = true
		}
	}
	for _, c := range commandTree(root) {
		name := c.CommandPath()
		switch {
		case !c.HasParent() || c.HasSubCommands():
		case c.Name() == "man" || c.Parent().Name() == "completion":
			if !plain[name] {
				t.Errorf("no script runs %q", name)
			}
		default:
			if !ran[name][false] {
				t.Errorf("no script runs %q with --json where no up runs", name)
			}
			if c.Annotations[here] == "" && !ran[name][true] {
				t.Errorf("no script runs %q with --json where an up runs", name)
			}
		}
	}
}

// scripted is one run of the program in a script.
type scripted struct {
	args []string
	up   bool // one runs in its home
}

// scriptCommands reads a script as far as needed to know which homes have a
// running up.
func scriptCommands(page string) []scripted {
	script, _, _ := strings.Cut(page, "\n-- ")
	var out []scripted
	home := ""
	ups := map[string]string{} // homes, by the name of their up
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		for len(words) > 0 && strings.HasPrefix(words[0], "[") {
			words = words[1:]
		}
		if len(words) > 1 && words[0] == "!" && strings.HasSuffix(words[len(words)-1], "&") {
			words = words[1:] // runs until it is stopped
		}
		if len(words) < 2 {
			continue
		}
		at := func(args []string) string {
			if i := slices.Index(args, "--home"); i >= 0 && i+1 < len(args) {
				return args[i+1]
			}
			return home
		}
		switch words[0] {
		case "env":
			if v, ok := strings.CutPrefix(words[1], "ANABRANCH_HOME="); ok {
				home = v
			}
		case "up":
			ups[words[1]] = at(words[2:])
			out = append(out, scripted{args: append(words[2:], "--json")})
		case "down":
			delete(ups, words[1])
		case "exec", "exits":
			i := slices.Index(words, "anabranch")
			if i < 0 || i > 2 {
				continue
			}
			args := words[i+1:]
			running := false
			for _, h := range ups {
				running = running || h == at(args)
			}
			out = append(out, scripted{args, running})
		}
	}
	return out
}
