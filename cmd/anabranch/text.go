package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"anabranch"
)

// maxText bounds a text that is read whole from standard input or a file.
const maxText = 16 << 20

// textJSON is a text as a command has left or found it.
type textJSON struct {
	Schema  string `json:"schema"` // anabranch.text/1
	Path    string `json:"path"`
	Text    string `json:"text"`
	Runes   int    `json:"runes"`
	Version string `json:"version"`
	Waiting int    `json:"waiting"` // records that speak of characters which are not here
	Forked  int    `json:"forked"`  // lanes that say two things of one character
}

// textEventJSON is one record of a text's history.
type textEventJSON struct {
	Schema   string `json:"schema"` // anabranch.text-event/1
	ID       string `json:"id"`
	Time     string `json:"time"`
	Author   string `json:"author"`
	Version  string `json:"version"`
	Inserted int    `json:"inserted"`
	Deleted  int    `json:"deleted"`
	Folds    int    `json:"folds"` // records that this one stands for; 0: none
	Waits    bool   `json:"waits"`
	Forked   bool   `json:"forked"` // its lane says two things of one character
	Refused  bool   `json:"refused"`
}

// textPatchJSON is one change between two versions of a text.
type textPatchJSON struct {
	Schema   string `json:"schema"` // anabranch.text-patch/1
	Pos      int    `json:"pos"`
	Deleted  string `json:"deleted"`
	Inserted string `json:"inserted"`
}

func newText(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "text",
		Short: "Read and edit texts that several people write at once",
		Long: `A text is plain text at a path that merges: what several devices type into it,
together or apart, stands in it afterwards. Positions count characters from 0.

An edit is durable when the command ends. Where the path holds a document, an
edit makes a text of it.`,
		Args: func(_ *cobra.Command, args []string) error {
			return usage(`what about the text? "get PATH", "edit PATH", "insert", "delete", "set", "history", "diff", "keep", "kept", "undo", "redo" or "watch"`)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newTextGet(a), newTextEdit(a), newTextInsert(a), newTextDelete(a), newTextSet(a),
		newTextHistory(a), newTextDiff(a), newTextKeep(a), newTextKept(a), newTextTurn(a, false), newTextTurn(a, true), newTextWatch(a))
	return cmd
}

// onText runs f on the text at a path, and commits what it did.
func (a *app) onText(ctx context.Context, name string, f func(*anabranch.Space, *anabranch.Text) error) error {
	where, err := checkedPath(name)
	if err != nil {
		return err
	}
	return a.offline(ctx, func(s *anabranch.Space) error {
		t := s.Text(where)
		if err := f(s, t); err != nil {
			return err
		}
		return t.Commit(ctx)
	})
}

// editing is onText for an edit; with --json it prints what came of it.
func (a *app) editing(ctx context.Context, name string, f func(*anabranch.Text) error) error {
	return a.onText(ctx, name, func(_ *anabranch.Space, t *anabranch.Text) error {
		if err := f(t); err != nil || !a.json {
			return err
		}
		return a.textFound(ctx, t)
	})
}

func (a *app) textFound(ctx context.Context, t *anabranch.Text) error {
	content, version, err := t.GetVersion(ctx)
	if err != nil {
		return err
	}
	pending, err := t.Pending(ctx)
	if err != nil {
		return err
	}
	return a.emit(textJSON{
		Schema: "anabranch.text/1", Path: t.Path(), Text: content, Runes: utf8.RuneCountInString(content),
		Version: version.String(), Waiting: pending.Waiting, Forked: len(pending.Forked),
	})
}

// textPrinted writes a text as get does a document, and says what is odd.
func (a *app) textPrinted(ctx context.Context, t *anabranch.Text, raw bool) error {
	if a.json {
		return a.textFound(ctx, t)
	}
	content, err := t.Get(ctx)
	if err != nil {
		return err
	}
	if err := a.payload([]byte(content), raw); err != nil {
		return err
	}
	pending, err := t.Pending(ctx)
	if err != nil {
		return err
	}
	if n := pending.Waiting; n > 0 {
		a.say("note: %s of this text speak of characters that have not arrived: %d are missing", records(n), len(pending.Missing))
	}
	if len(pending.Forked) > 0 {
		a.say("note: a device wrote two different things under one number, as a copy of its files would: the one that reads is the same everywhere")
	}
	return nil
}

// textVersion is the version that an argument names: one that was kept under
// that name; a record's ID, for the state when it was the newest; or what
// --json prints as version.
func textVersion(ctx context.Context, t *anabranch.Text, name string) (anabranch.TextVersion, error) {
	kept, err := t.Kept(ctx)
	if err != nil {
		return anabranch.TextVersion{}, err
	}
	for _, k := range kept {
		if k.Name == name {
			return k.Version, nil
		}
	}
	if checkID(name) == nil {
		events, err := t.History(ctx, 0)
		if err != nil {
			return anabranch.TextVersion{}, err
		}
		var found []anabranch.TextVersion
		for _, e := range events {
			if strings.HasPrefix(e.ID.String(), strings.ToLower(name)) {
				found = append(found, e.Version)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return anabranch.TextVersion{}, fmt.Errorf("%w: %d records of %s begin with %s, give more of it", anabranch.ErrAmbiguous, len(found), t.Path(), name)
		}
	}
	v, err := anabranch.ParseTextVersion(name)
	if err != nil {
		return v, fmt.Errorf("%w: no version %q of %s: it is the ID of one of its records, see \"anabranch text history\"", anabranch.ErrNotFound, name, t.Path())
	}
	return v, nil
}

func newTextGet(a *app) *cobra.Command {
	var at string
	var raw, begin bool
	cmd := &cobra.Command{
		Use:   "get PATH [--at VERSION]",
		Short: "Read a text, as it is or as it was",
		Long: `Writes the text at a path to standard output. With --at, as it was: VERSION is
the ID of one of its records, for the state when that was the newest, the name
of one that "text keep" has kept, or the version that --json shows.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.onText(ctx, args[0], func(s *anabranch.Space, t *anabranch.Text) error {
				if at == "" {
					err := a.textPrinted(ctx, t, raw)
					if begin && errors.Is(err, anabranch.ErrNotFound) {
						return a.textBegins(ctx, s, t.Path())
					}
					return err
				}
				v, err := textVersion(ctx, t, at)
				if err != nil {
					return err
				}
				content, err := t.At(ctx, v)
				if err != nil {
					return err
				}
				if a.json {
					return a.emit(textJSON{Schema: "anabranch.text/1", Path: t.Path(), Text: content, Runes: utf8.RuneCountInString(content), Version: v.String()})
				}
				return a.payload([]byte(content), raw)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the `version` to read")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes as they are to a terminal, too")
	cmd.Flags().BoolVar(&begin, "begin", false, "where there is no text, what an edit would begin with")
	cmd.Flags().MarkHidden("begin")
	return a.inSpace(cmd)
}

// textBegins prints what an edit of a path that is no text begins with.
func (a *app) textBegins(ctx context.Context, s *anabranch.Space, name string) error {
	doc, err := s.Get(ctx, name)
	content := ""
	switch {
	case err == nil && (doc.Blob || !utf8.Valid(doc.Payload)):
		return fmt.Errorf("%w: the document at %q", anabranch.ErrNotText, name)
	case err == nil:
		content = string(doc.Payload)
	case !errors.Is(err, anabranch.ErrNotFound):
		return err
	}
	return a.emit(textJSON{Schema: "anabranch.text/1", Path: name, Text: content, Runes: utf8.RuneCountInString(content)})
}

// position is an argument that counts characters, or "end".
func position(arg string, length int) (int, error) {
	if arg == "end" {
		return length, nil
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 {
		return 0, usage(`%q is no position: a number of characters from 0, or "end"`, arg)
	}
	return n, nil
}

func newTextInsert(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "insert PATH POSITION [VALUE | -]",
		Short: "Insert something into a text",
		Long: `Inserts something in front of the character at a position, counted from 0, or
at the "end". The value is the third argument, or standard input when that is -
or missing.`,
		Args: takes(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := position(args[1], 0); err != nil {
				return err
			}
			value, err := a.textValue(cmd.Context(), args[2:])
			if err != nil {
				return err
			}
			return a.editing(cmd.Context(), args[0], func(t *anabranch.Text) error {
				return t.Update(cmd.Context(), func(e *anabranch.TextEdit) error {
					at, err := position(args[1], e.Len())
					if err != nil {
						return err
					}
					return e.Insert(at, value)
				})
			})
		},
	}
	return a.inSpace(cmd)
}

// textValue is the argument, or all of standard input.
func (a *app) textValue(ctx context.Context, args []string) (string, error) {
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	if a.asking {
		a.say("type the text and end it with Ctrl-D:")
	}
	b, err := a.read(ctx, maxText)
	if err == nil && len(b) > maxText {
		err = usage("the text is larger than %d bytes", maxText)
	}
	return string(b), err
}

func newTextDelete(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete PATH POSITION COUNT",
		Short: "Delete characters of a text",
		Long:  `Deletes COUNT characters from a position on, counted from 0; "end" as COUNT is all of them.`,
		Args:  takes(3, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := position(args[1], 0)
			if err != nil {
				return err
			}
			if _, err := position(args[2], 0); err != nil {
				return err
			}
			return a.editing(cmd.Context(), args[0], func(t *anabranch.Text) error {
				return t.Update(cmd.Context(), func(e *anabranch.TextEdit) error {
					n, err := position(args[2], max(0, e.Len()-at))
					if err != nil {
						return err
					}
					return e.Delete(at, n)
				})
			})
		},
	}
	return a.inSpace(cmd)
}

func newTextSet(a *app) *cobra.Command {
	var base string
	cmd := &cobra.Command{
		Use:   "set PATH [VALUE | -] [--base VERSION]",
		Short: "Make a text read as given, by the smallest edit",
		Long: `Makes a text read as given, and edits only what differs. With --base, the value
was made of that version: what others have written since stays. The value is
the second argument, or standard input when that is - or missing.`,
		Args: takes(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			value, err := a.textValue(ctx, args[1:])
			if err != nil {
				return err
			}
			return a.editing(ctx, args[0], func(t *anabranch.Text) error {
				if base == "" {
					return t.Update(ctx, func(e *anabranch.TextEdit) error { return e.Set(value) })
				}
				v, err := textVersion(ctx, t, base)
				if err != nil {
					return err
				}
				return t.Merge(ctx, v, value)
			})
		},
	}
	cmd.Flags().StringVar(&base, "base", "", "the `version` that the value was made of")
	return a.inSpace(cmd)
}

func newTextHistory(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "history PATH [--limit N]",
		Short: "List the records that a text is made of, newest first",
		Long: `Lists the records that a text is made of, newest first: when, who, how many
characters came and went, and the ID that "text get --at" and "text diff" take.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onText(cmd.Context(), args[0], func(_ *anabranch.Space, t *anabranch.Text) error {
				events, err := t.History(cmd.Context(), limit)
				if err != nil {
					return err
				}
				if len(events) == 0 {
					return fmt.Errorf("%w: no text at %q", anabranch.ErrNotFound, t.Path())
				}
				for i := range events {
					if err := a.textEvent(events[len(events)-1-i]); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "only the newest `N`")
	return a.inSpace(cmd)
}

func (a *app) textEvent(e anabranch.TextEvent) error {
	if a.json {
		return a.emit(textEventJSON{
			Schema: "anabranch.text-event/1", ID: e.ID.String(), Time: stamp(microTime(e.Time)), Author: e.Author.String(),
			Version: e.Version.String(), Inserted: e.Inserted, Deleted: e.Deleted, Folds: e.Folds, Waits: e.Waits, Forked: e.Forked, Refused: e.Refused,
		})
	}
	odd := ""
	switch {
	case e.Forked && e.Refused:
		odd = "  (a second thing under one number: does not count)"
	case e.Forked:
		odd = "  (one of two things under one number, or beside them)"
	case e.Refused:
		odd = "  (does not count)"
	case e.Waits:
		odd = "  (waits for others)"
	case e.Folds > 0:
		odd = fmt.Sprintf("  (stands for %s)", records(e.Folds))
	}
	return a.print("%s  %s  %s  +%d -%d%s", clock(microTime(e.Time)), short(e.Author), e.ID, e.Inserted, e.Deleted, odd)
}

func newTextDiff(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff PATH [FROM [TO]]",
		Short: "Show what changed between two versions of a text",
		Long: `Shows what changed between two versions of a text, a change a line: where, what
went and what came. FROM is by default the version before the newest record, TO
the newest. A version is the ID of a record, see "text history".`,
		Args: takes(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.onText(ctx, args[0], func(_ *anabranch.Space, t *anabranch.Text) error {
				var ends [2]anabranch.TextVersion
				events, err := t.History(ctx, 2)
				if err != nil {
					return err
				}
				if len(events) == 0 {
					return fmt.Errorf("%w: no text at %q", anabranch.ErrNotFound, t.Path())
				}
				ends[1] = events[len(events)-1].Version
				if len(events) == 2 {
					ends[0] = events[0].Version
				}
				for i, name := range args[1:] {
					if ends[i], err = textVersion(ctx, t, name); err != nil {
						return err
					}
				}
				return a.textDiff(ctx, t, ends[0], ends[1])
			})
		},
	}
	return a.inSpace(cmd)
}

func (a *app) textDiff(ctx context.Context, t *anabranch.Text, from, to anabranch.TextVersion) error {
	old, err := t.At(ctx, from)
	if err != nil {
		return err
	}
	patches, err := t.Diff(ctx, from, to)
	if err != nil {
		return err
	}
	have := []rune(old)
	at, shift := 0, 0 // in have; what the patches before inserted, less what they deleted
	for _, p := range patches {
		at = p.Pos - shift
		gone := string(have[at : at+p.Delete])
		shift += utf8.RuneCountInString(p.Text) - p.Delete
		if a.json {
			if err := a.emit(textPatchJSON{Schema: "anabranch.text-patch/1", Pos: p.Pos, Deleted: gone, Inserted: p.Text}); err != nil {
				return err
			}
			continue
		}
		line := fmt.Sprintf("%d:", p.Pos)
		if gone != "" {
			line += " -" + strconv.Quote(gone)
		}
		if p.Text != "" {
			line += " +" + strconv.Quote(p.Text)
		}
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func newTextTurn(a *app, redo bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undo PATH",
		Short: "Take back this device's last edit of a text",
		Long: `Takes back this device's last edit of a text that was not taken back yet. What
others have written since stays. 1 if there is none.`,
		Args: takes(1, 1),
	}
	if redo {
		cmd.Use, cmd.Short = "redo PATH", "Take back this device's last undo in a text"
		cmd.Long = `Takes back this device's last undo in a text, if it has edited nothing since. 1
if there is none.`
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.editing(cmd.Context(), args[0], func(t *anabranch.Text) error {
			turn := t.Undo
			if redo {
				turn = t.Redo
			}
			done, err := turn(cmd.Context())
			if err == nil && !done {
				err = fmt.Errorf("%w: nothing to %s in %q by this device", anabranch.ErrNotFound, cmd.Name(), t.Path())
			}
			return err
		})
	}
	return a.inSpace(cmd)
}

func newTextEdit(a *app) *cobra.Command {
	cmd := runsHere(&cobra.Command{
		Use:   "edit PATH",
		Short: "Edit a text in $VISUAL or $EDITOR",
		Long: `Opens the text in $VISUAL, else $EDITOR, else vi, and writes what was changed
there when the editor ends. What others write meanwhile stays. While an
"anabranch up" runs, others see that this device is in the text; see "text watch".`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := checkedPath(args[0])
			if err != nil {
				return err
			}
			return a.textEdit(cmd.Context(), where)
		},
	})
	return a.inSpace(cmd)
}

// nested runs another command of this program, inside a running up if there is
// one, and returns what it prints.
func (a *app) nested(ctx context.Context, stdin io.Reader, args ...string) ([]byte, error) {
	var out bytes.Buffer
	b := &app{stdin: stdin, stdout: &out, stderr: a.stderr, shown: a.shown, colour: a.colour}
	args = append(args, "--json")
	for _, f := range []struct{ name, value string }{{"--home", a.home}, {"--space", a.space}, {"--passphrase-file", a.passphraseFile}} {
		if f.value != "" {
			args = append(args, f.name+"="+f.value)
		}
	}
	if code := b.run(ctx, args); code != exitOK {
		return nil, &saidError{code}
	}
	return out.Bytes(), nil
}

func (a *app) textEdit(ctx context.Context, where string) error {
	b, err := a.nested(ctx, strings.NewReader(""), "text", "get", where, "--begin")
	if err != nil {
		return err
	}
	var before textJSON
	if err := json.Unmarshal(b, &before); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "anabranch-edit-")
	if err != nil {
		return err
	}
	name := path.Base(where)
	if name == "/" || strings.HasPrefix(name, "-") {
		name = "text"
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(before.Text), 0o600); err != nil {
		return err
	}
	editor := os.Getenv("VISUAL")
	if editor == "" {
		editor = os.Getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
	}
	run := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", file)
	run.Stdin, run.Stdout, run.Stderr = a.stdin, a.stdout, a.stderr
	left := a.inTextMeanwhile(ctx, where)
	err = run.Run()
	if others := left(); len(others) > 0 {
		a.say("note: here meanwhile: %s; what they wrote stays", escape(strings.Join(others, ", ")))
	}
	if err != nil {
		return fmt.Errorf("the editor (%s) failed, and nothing was written; what it left is in %s: %w", editor, file, err)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read what was edited: %w", err)
	}
	if string(after) == before.Text {
		a.say("nothing was changed")
		return os.RemoveAll(dir)
	}
	args := []string{"text", "set", where, "-"}
	if before.Version != "" {
		args = append(args, "--base="+before.Version)
	}
	if b, err = a.nested(ctx, bytes.NewReader(after), args...); err != nil {
		a.say("hint: what was edited is in %s", file)
		return err
	}
	if a.json {
		if _, err := a.output().Write(b); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}
