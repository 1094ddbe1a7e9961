package main

import (
	"bytes"
	"testing"
	"time"

	"anabranch"
)

func TestProgressIsCountsOnly(t *testing.T) {
	for _, c := range []struct {
		sessions []anabranch.Report
		want     string
	}{
		{nil, ""},
		{[]anabranch.Report{{}}, "comparing"},
		{[]anabranch.Report{{RecordsIn: 3}}, "received 3 records, comparing"},
		{[]anabranch.Report{{RecordsIn: 3, Compared: true, Missing: 97}}, "received 3 of 100 records"},
		{[]anabranch.Report{{RecordsIn: 3, RecordsOut: 1, Compared: true, Missing: 97}}, "received 3 of 100 records, sent 1 record"},
		{[]anabranch.Report{{RecordsOut: 1, Compared: true, Surplus: 1}, {RecordsOut: 7, Compared: true}}, "sent 8 of 9 records"},
		{[]anabranch.Report{{RecordsOut: 1, Compared: true, Surplus: 1}, {RecordsIn: 7}}, "received 7 records, sent 1 record, comparing"},
		{[]anabranch.Report{{Compared: true}}, ""},
	} {
		if got := soFar(c.sessions); got != c.want {
			t.Errorf("%+v: %q, want %q", c.sessions, got, c.want)
		}
	}
}

// TestProgressOnATerminalAndElsewhere: one line that is drawn again, whole
// lines, or nothing.
func TestProgressOnATerminalAndElsewhere(t *testing.T) {
	for _, c := range []struct {
		app  app
		want string
	}{
		{app{shown: true}, "\r5 of 10 files\x1b[K\r7 of 10 files\x1b[K\r\x1b[K"},
		{app{}, "anabranch: 5 of 10 files\nanabranch: 7 of 10 files\n"},
		{app{shown: true, quiet: true}, ""},
		{app{quiet: true}, ""},
	} {
		var words bytes.Buffer
		c.app.stdout, c.app.stderr = &words, &words
		line := c.app.progress("files")
		line.show(1, 10) // too early
		for _, n := range []int{5, 7} {
			line.last = time.Now().Add(-time.Minute)
			line.show(n, 10)
			line.show(n+1, 10) // too early
		}
		line.end()
		if words.String() != c.want {
			t.Errorf("shown %v, quiet %v: %q, want %q", c.app.shown, c.app.quiet, words.String(), c.want)
		}
	}
}
