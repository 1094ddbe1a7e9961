package record

import (
	"strings"
	"unicode/utf8"
)

// CheckPath reports whether a path is well formed: "/", or components each
// preceded by "/", valid UTF-8, none of them empty, "." or "..", without
// bytes below 0x20 or 0x7F. At most MaxPath bytes. Nothing is normalised.
func CheckPath(path string) error {
	if path == "" || len(path) > MaxPath {
		return malformed("path", "%d bytes, 1 to %d are allowed", len(path), MaxPath)
	}
	if path[0] != '/' {
		return malformed("path", "does not begin with /")
	}
	for i := 0; i < len(path); i++ {
		if path[i] < 0x20 || path[i] == 0x7F {
			return malformed("path", "control byte 0x%02x at %d", path[i], i)
		}
	}
	if !utf8.ValidString(path) {
		return malformed("path", "not valid UTF-8")
	}
	if path == "/" {
		return nil
	}
	for rest := path[1:]; ; {
		component, after, more := strings.Cut(rest, "/")
		switch component {
		case "":
			return malformed("path", "empty component")
		case ".", "..":
			return malformed("path", "component %q", component)
		}
		if !more {
			return nil
		}
		rest = after
	}
}

// Covers reports whether a path lies at or below an area. Whole components
// are compared: "/a" covers "/a" and "/a/b" and not "/ab".
func Covers(area, path string) bool {
	if area == "/" {
		return true
	}
	if !strings.HasPrefix(path, area) {
		return false
	}
	return len(path) == len(area) || path[len(area)] == '/'
}
