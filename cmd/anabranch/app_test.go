package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"anabranch"
	"anabranch/record"
)

// inProcess runs one command line in this process and returns what it wrote.
func inProcess(ctx context.Context, a *app, args ...string) (code int, stdout, stderr string) {
	var out, words bytes.Buffer
	a.stdout, a.stderr = &out, &words
	if a.stdin == nil {
		a.stdin = strings.NewReader("")
	}
	code = a.run(ctx, args)
	return code, out.String(), words.String()
}

// home makes a home with a space, for commands that run in this process.
func home(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("ANABRANCH_SPACE", "")
	dir := filepath.Join(t.TempDir(), "home")
	if code, _, words := inProcess(t.Context(), &app{}, "--home", dir, "space", "create", "notes"); code != exitOK {
		t.Fatalf("exit %d: %s", code, words)
	}
	return dir
}

func TestGetOnATerminalShowsWhatCanBeShown(t *testing.T) {
	dir := home(t)
	put := func(path, value string) {
		t.Helper()
		if code, _, words := inProcess(t.Context(), &app{stdin: strings.NewReader(value)}, "--home", dir, "put", path); code != exitOK {
			t.Fatalf("exit %d: %s", code, words)
		}
	}
	put("/text", "two\nlines\twith a tab")
	put("/ansi", "\x1b]0;title\a\xff\u202e\r")
	put("/empty", "")
	for _, c := range []struct{ path, flag, want, note string }{
		{"/text", "--raw=false", "two\nlines\twith a tab\n", ""},
		{"/ansi", "--raw=false", `\x1b]0;title\a\xff\u202e\r` + "\n", "are escaped here"},
		{"/ansi", "--raw", "\x1b]0;title\a\xff\u202e\r", ""},
		{"/empty", "--raw=false", "\n", "the document is empty"},
	} {
		code, out, words := inProcess(t.Context(), &app{terminal: true}, "--home", dir, "get", c.path, c.flag)
		if code != exitOK || out != c.want {
			t.Errorf("get %s %s: exit %d, %q, want %q", c.path, c.flag, code, out, c.want)
		}
		if c.note == "" && words != "" || !strings.Contains(words, c.note) {
			t.Errorf("get %s %s says %q, want %q", c.path, c.flag, words, c.note)
		}
	}
}

func TestAnInterruptedCommandEnds(t *testing.T) {
	dir := home(t)
	waiting, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	code, _, words := inProcess(ctx, &app{stdin: waiting, asking: true}, "--home", dir, "put", "/x")
	if code != exitInterrupted || !strings.Contains(words, "end it with Ctrl-D") || !strings.Contains(words, "error: interrupted") {
		t.Errorf("exit %d: %s", code, words)
	}
}

func TestAClosedPipeEndsACommandQuietly(t *testing.T) {
	dir := home(t)
	if code, _, words := inProcess(t.Context(), &app{}, "--home", dir, "put", "/x", "y"); code != exitOK {
		t.Fatalf("exit %d: %s", code, words)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	var words bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: w, stderr: &words}
	if code := a.run(t.Context(), []string{"--home", dir, "list"}); code != exitFailed || words.Len() > 0 {
		t.Errorf("exit %d: %s", code, words.String())
	}
}

func TestEveryErrorHasItsExitCode(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("anabranch: do: %w", err) }
	for _, c := range []struct {
		err  error
		code int
		hint string // a part of it
	}{
		{errors.New("whatever"), 1, ""},
		{usage("no"), 2, ""},
		{&saidError{exitPartial}, 3, ""},
		{&anabranch.RootsDifferError{}, 4, "anabranch verify"},
		{anabranch.ErrMoved, 4, "again"},
		{anabranch.ErrNoSpace, 10, "anabranch join"},
		{anabranch.ErrLocked, 11, "--home"},
		{anabranch.ErrPassphraseNeeded, 12, "--passphrase-file"},
		{anabranch.ErrPassphrase, 12, "revoke this one"},
		{anabranch.ErrUnreachable, 14, "anabranch up"},
		{anabranch.ErrCut, 14, "again"},
		{anabranch.ErrRefused, 15, "anabranch members"},
		{anabranch.ErrNotMember, 15, "anabranch members"},
		{anabranch.ErrTicket, 15, "anabranch invite"},
		{anabranch.ErrNotAuthorised, 15, "anabranch members"},
		{anabranch.ErrNotRemovable, 15, "anabranch rm PATH"},
		{&anabranch.LossError{}, 15, "--force"},
		{&anabranch.NotAncestorError{}, 15, "--root-key"},
		{&anabranch.NotAncestorError{Above: []record.Key{{0xab}}}, 15, "ab0000000000"},
		{anabranch.ErrNewer, 16, "newer"},
		{anabranch.ErrIncompatible, 16, "version"},
		{&anabranch.UnknownRuleError{Type: 9}, 16, "newer"},
		{anabranch.ErrDamaged, 17, "anabranch verify"},
		{anabranch.ErrFailed, 17, "disk"},
		{errors.Join(anabranch.ErrFailed, &os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}), 18, "free some space"},
		{&os.PathError{Op: "open", Path: "/x", Err: syscall.EROFS}, 18, "writable"},
		{&interruptedError{anabranch.ErrCut}, 130, ""},
		{anabranch.ErrNotFound, 1, ""},
		{anabranch.ErrDump, 1, "anabranch dump"},
		{anabranch.ErrWrongSpace, 1, "--space"},
		{anabranch.ErrBackup, 1, "empty folder"},
		{anabranch.ErrFolder, 1, "anabranch paths"},
		{anabranch.ErrAmbiguous, 1, "more of it"},
		{anabranch.ErrName, 1, "shorter"},
		{anabranch.ErrCursor, 1, "--from 0"},
		{anabranch.ErrFull, 18, "free some space"},
		{&anabranch.TimeExhaustedError{}, 1, "revoke"},
		{anabranch.ErrNameTaken, 1, "another name"},
	} {
		err := wrap(c.err)
		if got := exitCode(err); got != c.code {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.code)
		}
		if h := hint(err); !strings.Contains(h, c.hint) || c.hint == "" && h != "" {
			t.Errorf("%v: hint %q, want %q in it", c.err, h, c.hint)
		}
	}
}

func TestErrorsReadPlainly(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"anabranch: join: mesh: cannot reach x", "join: cannot reach x"},
		{"anabranch: anabranch: not found: no document at \"/a: store: b\"", "not found: no document at \"/a: b\""},
		{"one\ntwo", "one; two"},
	} {
		if got := plainText(c.in); got != c.want {
			t.Errorf("%q reads %q, want %q", c.in, got, c.want)
		}
	}
}

func TestSpansAndMoments(t *testing.T) {
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1h30m": 90 * time.Minute} {
		if got, err := parseSpan(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "0s", "-3h", "soon", "1e9d", "99999d", "9999999h"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	var m moment
	if err := m.Set("2026-05-01T10:00:00Z"); err != nil || !time.Time(m).Equal(time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%v, %v", time.Time(m), err)
	}
	if err := m.Set("2h"); err != nil || time.Since(time.Time(m)).Round(time.Minute) != 2*time.Hour {
		t.Errorf("%v, %v", time.Time(m), err)
	}
}

func TestAKeyIsFoundByItsBeginning(t *testing.T) {
	members := []anabranch.Member{
		{Device: record.Key{0xab, 0xcd, 0xef, 1}}, {Device: record.Key{0xab, 0xcd, 0xef, 2}},
		{Device: record.Key{0x12, 0x34, 0x56}}, {Device: record.Key{0x12, 0x34, 0x56}}, // invited twice
	}
	for prefix, want := range map[string]string{"abcdef": "more than one", "abcdef01": "", "ABCDEF02": "", "123456": "", "654321": "not found", "12345": "six", "zzzzzz": "six"} {
		_, err := findDevice(members, prefix)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", prefix, err, want)
		}
	}
}

func TestBelowFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, d := range []string{in, out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(in, filepath.Join(out, "link")); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{
		in + "/a": true, in + "/not/yet/a": true, in + "/../in/a": true, out + "/link/a": true,
		out + "/a": false, in + "side/a": false, in + "/../a": false, in + "/..a": true,
	} {
		if got := below(file, in); got != want {
			t.Errorf("below(%s) = %v", file, got)
		}
	}
}
