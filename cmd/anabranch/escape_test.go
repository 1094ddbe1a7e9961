package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWhatActsOnATerminalIsEscaped(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain /päth/日本", "plain /päth/日本"},
		{`C:\x1b`, `C:\x1b`},
		{"\x1b[31mred\x1b]0;title\a", `\x1b[31mred\x1b]0;title\a`},
		{"over\rwritten\nline\x00", `over\rwritten\nline\x00`},
		{"\u009b31m", `\u009b31m`},         // CSI as one character
		{"gnp.\u202egnp", `gnp.\u202egnp`}, // right-to-left override
		{"a\u2066b\u200bc\ufeff", `a\u2066b\u200bc\ufeff`},
		{"\xff\xfe ok", `\xff\xfe ok`},
		{"\ufffd", "\ufffd"},
		{"\U000e0041", `\U000e0041`}, // a tag character
	} {
		if got := escape(c.in); got != c.want {
			t.Errorf("escape(%q) = %s, want %s", c.in, got, c.want)
		}
	}
	if got := escapeText("a\n\tb\x1b"); got != "a\n\tb\\x1b" {
		t.Errorf("escapeText = %q", got)
	}
}

func TestEscapedStringsCanBeShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		shown := escape(s)
		if !printable(shown, "") || !utf8.ValidString(shown) {
			t.Fatalf("%q is shown as %q", s, shown)
		}
		if escape(shown) != shown {
			t.Fatalf("escaping %q again changes it", shown)
		}
	})
}

func TestEscapedJSONMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text") + "\u202e\u009b\U000e0041\x7f"
		b, err := json.Marshal(map[string]string{"text": s})
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]string
		escaped := escapeJSON(b)
		if !printable(string(escaped), "") {
			t.Fatalf("cannot be shown: %q", escaped)
		}
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(escaped, &got); err != nil {
			t.Fatal(err)
		}
		if got["text"] != want["text"] || !strings.HasPrefix(string(escaped), `{"text":`) {
			t.Fatalf("%q became %q", want, got)
		}
	})
}
