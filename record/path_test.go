package record

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// wellFormedPath is the rule of the specification as one expression, the
// slow twin of CheckPath. Valid UTF-8 is asked for separately.
var wellFormedPath = regexp.MustCompile(`^(/|(/[^/\x00-\x1f\x7f]+)+)$`)

func checkPathTwin(path string) bool {
	if len(path) > 1024 || !utf8.ValidString(path) || !wellFormedPath.MatchString(path) {
		return false
	}
	for _, c := range strings.Split(path, "/") {
		if c == "." || c == ".." {
			return false
		}
	}
	return true
}

func FuzzPath(f *testing.F) {
	for _, c := range recordCases() {
		f.Add(c.record.Path, "/notes")
	}
	for _, p := range []string{"", "a", "//", "/a/", "/./b", "/a/..", "/\x7f", "/\xff", "/a\nb"} {
		f.Add(p, "/a")
	}
	f.Fuzz(func(t *testing.T, path, area string) {
		if got, want := CheckPath(path) == nil, checkPathTwin(path); got != want {
			t.Fatalf("CheckPath(%q) accepts: %v, the rule: %v", path, got, want)
		}
		if checkPathTwin(path) && checkPathTwin(area) {
			if got, want := Covers(area, path), coversTwin(area, path); got != want {
				t.Fatalf("Covers(%q, %q) = %v", area, path, got)
			}
		}
	})
}

func components(path string) []string {
	if path == "/" {
		return nil
	}
	return strings.Split(path, "/")[1:]
}

func coversTwin(area, path string) bool {
	a, p := components(area), components(path)
	if len(a) > len(p) {
		return false
	}
	for i := range a {
		if a[i] != p[i] {
			return false
		}
	}
	return true
}

func TestCoversIsAPartialOrder(t *testing.T) {
	path := rapid.StringMatching(`/|(/[ab]{1,2}){1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := path.Draw(t, "a"), path.Draw(t, "b"), path.Draw(t, "c")
		if Covers(a, b) != coversTwin(a, b) {
			t.Fatalf("Covers(%q, %q) = %v", a, b, Covers(a, b))
		}
		if !Covers(a, a) || !Covers("/", a) || Covers(a, b) && Covers(b, a) && a != b || Covers(a, b) && Covers(b, c) && !Covers(a, c) {
			t.Fatalf("not a partial order: %q %q %q", a, b, c)
		}
	})
}
