package main

import (
	"github.com/spf13/cobra"

	"anabranch"
)

func newGet(a *app) *cobra.Command {
	var text string
	var raw bool
	cmd := &cobra.Command{
		Use:   "get PATH | --id ID",
		Short: "Read the document at a path, or a record by its ID",
		Long: `Writes the document at a path to standard output, byte for byte. On a
terminal, what could act on it is shown escaped, unless --raw is given.

Where several devices wrote without having seen each other's version, the
newest is read, and the others are noted on standard error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if (text == "") != (len(args) == 1) {
				return usage("either one PATH or --id ID")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := func(s *anabranch.Space) (anabranch.Document, error) { return s.Get(cmd.Context(), args[0]) }
			if text != "" {
				if err := checkID(text); err != nil {
					return err
				}
				ask = func(s *anabranch.Space) (anabranch.Document, error) {
					v, err := s.FindRecord(cmd.Context(), text)
					return anabranch.Document{Record: v}, err
				}
			} else if _, err := checkedPath(args[0]); err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				doc, err := ask(s)
				if err != nil {
					return err
				}
				return a.got(doc, raw)
			})
		},
	}
	cmd.Flags().StringVar(&text, "id", "", "read the record with this `ID`, or the one that begins so")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes as they are to a terminal, too")
	return a.inSpace(cmd)
}

func (a *app) got(doc anabranch.Document, raw bool) error {
	if a.json {
		out := viewRecord(doc.Record)
		out.Conflicts = ids(doc.Conflicts)
		return a.emit(out)
	}
	if err := a.payload(doc.Payload, raw); err != nil {
		return err
	}
	if n := len(doc.Conflicts); n > 0 {
		a.say("note: %s of this document, written elsewhere without having seen this one: see \"anabranch history %s\"; a new put settles it",
			count(n, "other version stands", "other versions stand"), doc.Path)
	}
	return nil
}

// payload writes a payload: its bytes, or on a terminal what can be shown.
func (a *app) payload(b []byte, raw bool) error {
	out := a.output()
	if raw || !a.terminal {
		_, err := out.Write(b)
		return err
	}
	text := string(b)
	shown := escapeText(text)
	if _, err := out.WriteString(shown); err != nil {
		return err
	}
	if len(shown) == 0 || shown[len(shown)-1] != '\n' {
		out.WriteByte('\n')
	}
	switch {
	case len(b) == 0:
		a.say("note: the document is empty")
	case shown != text:
		a.say("note: %s, of which some cannot be shown and are escaped here; --raw or a pipe gives them as they are", bytesText(int64(len(b))))
	}
	return nil
}
