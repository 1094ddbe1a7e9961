package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestDocsRunAsTheyStand makes a script of the console blocks of a page and
// runs it: a line after "$ " is a command, what follows is all that it
// prints. An up runs until the next "^C". IDs, times and the like may differ.
func TestDocsRunAsTheyStand(t *testing.T) {
	for _, page := range []string{"tutorial.md", "tutorial-agents.md", "howto-revoke.md", "howto-backup.md", "howto-lost-device.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		script, n := scriptOf(string(text))
		if n < 5 {
			t.Fatalf("%s has %d commands", page, n)
		}
		file := filepath.Join(t.TempDir(), strings.TrimSuffix(page, ".md")+".txtar")
		if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		p := scripts()
		p.Dir, p.Files, p.UpdateScripts = "", []string{file}, false
		testscript.Run(t, p)
	}
}

// scriptOf is a page as a script, and how many commands it has.
func scriptOf(page string) (string, int) {
	// A port that is the same each time up runs, as the usual one is.
	var b, files strings.Builder
	b.WriteString("env ANABRANCH_HOME=\nenv ANABRANCH_DEVICE_NAME=\nfreeport ANABRANCH_LISTEN\n")
	commands, inside, wanted := 0, false, false
	compare := func() {
		if wanted {
			fmt.Fprintf(&b, "mask stdout got\nmask want%d wanted\ncmp got wanted\n", commands)
		}
		wanted = false
	}
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		switch command, is := strings.CutPrefix(line, "$ "); {
		case line == "```console":
			inside = true
		case line == "```":
			compare()
			inside = false
		case !inside:
		case line == "^C":
			compare()
			b.WriteString("down UP\n")
		case is && strings.HasSuffix(command, " up"):
			compare()
			fmt.Fprintf(&b, "up UP %s\n", strings.TrimPrefix(command, "anabranch "))
		case is:
			compare()
			commands++
			wanted = true
			if strings.Contains(command, "$CABIN") {
				b.WriteString("exec anabranch --home cabin members --json\nfield CABIN device\n")
			}
			fmt.Fprintf(&b, "exec sh -c '(%s) 2>&1'\n", strings.ReplaceAll(command, "'", "''"))
			fmt.Fprintf(&files, "-- want%d --\n", commands)
		default:
			files.WriteString(line + "\n")
		}
	}
	return b.String() + files.String(), commands
}
