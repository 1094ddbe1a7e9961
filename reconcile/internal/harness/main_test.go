package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// said runs one side over a script and returns its lines.
func said(t *testing.T, limit, script string) string {
	t.Helper()
	var out bytes.Buffer
	if err := serve(strings.NewReader(script), &out, limit); err != nil {
		t.Fatalf("%v, after %q", err, out.String())
	}
	return out.String()
}

func items(from, to int) string {
	var s strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&s, "item,%d,%x\n", 100+i/3, sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	return s.String() + "seal\n"
}

// The driver of the suite keeps two processes; here every turn replays the
// side from its beginning, which gives the same lines.
func TestTwoSidesComeToTheEnd(t *testing.T) {
	for _, limit := range []string{"", "4096"} {
		mine, theirs := items(0, 900), items(50, 1000)
		mine += "initiate\n"
		have, need := map[string]bool{}, map[string]bool{}
		for turn := 0; ; turn++ {
			if turn == 100 {
				t.Fatal("no end")
			}
			lines := strings.Split(strings.TrimSpace(said(t, limit, mine)), "\n")
			last := lines[len(lines)-1]
			for _, line := range lines {
				switch word, id, _ := strings.Cut(line, ","); word {
				case "have":
					have[id] = true
				case "need":
					need[id] = true
				}
			}
			if last == "done" {
				break
			}
			answers := strings.Split(strings.TrimSpace(said(t, limit, theirs+last+"\n")), "\n")
			mine += answers[len(answers)-1] + "\n"
		}
		if len(have) != 50 || len(need) != 100 {
			t.Errorf("limit %q: %d have, %d need", limit, len(have), len(need))
		}
	}
}

func TestOtherVersionsAreAnswered(t *testing.T) {
	script := items(0, 1) + "\nmsg,62aabbccddeeff\nmsg,6100000200\n"
	lines := strings.Split(said(t, "", script), "\n")
	if lines[0] != "msg,61" || !strings.HasPrefix(lines[1], "msg,610000020") {
		t.Errorf("%q", lines)
	}
}

func TestNonsenseEndsIt(t *testing.T) {
	for _, script := range []string{
		"hello\n", "initiate\n", "msg,61\n", "item,1,ab\nseal\n", "item,x," + strings.Repeat("00", 32) + "\n",
		"item,1," + strings.Repeat("zz", 32) + "\n", "seal\nseal\n", "seal\nitem,1," + strings.Repeat("00", 32) + "\n",
		"seal\nmsg,6\n", "seal\nmsg,ff\n", "seal\nmsg,\n", "seal\ninitiate\ninitiate\n", "seal\ninitiate\nmsg,62\n",
	} {
		if err := serve(strings.NewReader(script), new(bytes.Buffer), ""); err == nil {
			t.Errorf("%q is accepted", script)
		}
	}
	if err := serve(strings.NewReader(""), new(bytes.Buffer), "x"); err == nil {
		t.Error("a limit that is no number")
	}
	if err := serve(strings.NewReader("seal\ninitiate\n"), new(bytes.Buffer), "100"); err == nil {
		t.Error("a limit below 4096")
	}
}
