package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escape makes a string safe to show: control characters (ANSI sequences and
// line breaks with them), invisible and direction-changing ones, and bytes
// that are no UTF-8 become \n, \x1b, \u202e and the like. What can be
// printed is left alone, backslashes too: --json is the exact form.
func escape(s string) string { return escapeBut(s, "") }

// escapeText escapes like escape but keeps tabs and line breaks: for showing
// a text as a whole.
func escapeText(s string) string { return escapeBut(s, "\n\t") }

func escapeBut(s, keep string) string {
	if printable(s, keep) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		switch {
		case c == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(c), strings.ContainsRune(keep, c):
			b.WriteString(s[:n])
		default:
			q := strconv.QuoteRuneToASCII(c)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// printable reports whether a string is UTF-8 that may be shown as it is.
func printable(s, keep string) bool {
	for i, c := range s {
		if c == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		}
		if !strconv.IsPrint(c) && !strings.ContainsRune(keep, c) {
			return false
		}
	}
	return true
}

// escapeJSON writes what a terminal would act on as \u escapes. The text
// means the same: such characters stand in strings only.
func escapeJSON(b []byte) []byte {
	if printable(string(b), "\n") {
		return b
	}
	var out []byte
	for _, c := range string(b) {
		switch {
		case strconv.IsPrint(c) || c == '\n':
			out = utf8.AppendRune(out, c)
		case c > 0xFFFF:
			c -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xD800+c>>10, 0xDC00+c&0x3FF)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return out
}
