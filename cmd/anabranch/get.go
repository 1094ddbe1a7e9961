package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
	"anabranch/space"
)

func newGet(a *app) *cobra.Command {
	var text, from string
	var raw bool
	var to string
	cmd := &cobra.Command{
		Use:   "get PATH | --id ID",
		Short: "Read the document at a path, or a record by its ID",
		Long: `Writes the document or text at a path to standard output, byte for byte. On a
terminal, what could act on it is shown escaped, unless --raw is given.

Where several devices wrote without having seen each other's version, the
newest is read, and the others are noted on standard error.

With --from, another device is asked. What it answers is checked before it is
shown: it signed that this is what it holds there. Of content above 64 KiB it
says the name, and with which command that is had.

Content above 64 KiB is written as it is read; what of it is not here is
fetched meanwhile, if an up is running.`,
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
			if from != "" {
				if text != "" {
					return usage("--id does not go with --from: another device is asked for a path")
				}
				return a.getFrom(cmd.Context(), from, args[0], raw)
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				if text == "" && to == "" {
					is, err := s.IsText(cmd.Context(), args[0])
					if err != nil {
						return err
					}
					if is {
						return a.textPrinted(cmd.Context(), s.Text(args[0]), raw)
					}
					if is, err = a.isValue(cmd.Context(), s, args[0], raw); is || err != nil {
						return err
					}
				}
				doc, err := ask(s)
				if err != nil {
					return err
				}
				if _, large := anabranch.BlobOf(doc.Record); to != "" || large && !a.json {
					return a.gotLarge(cmd.Context(), s, doc, to, raw)
				}
				return a.got(doc, raw)
			})
		},
	}
	cmd.Flags().StringVar(&text, "id", "", "read the record with this `ID`, or the one that begins so")
	cmd.Flags().StringVar(&from, "from", "", "ask this `device` what it holds there, and check its answer")
	cmd.Flags().StringVarP(&to, "output", "o", "", "write to this `file`, which must not exist")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the bytes as they are to a terminal, too")
	return a.inSpace(cmd)
}

// getFrom reads the document at a path as another device holds it.
func (a *app) getFrom(ctx context.Context, device, path string, raw bool) error {
	q := space.Query{Gte: path, Lte: path + "\x00"} // this path alone
	return a.askDevice(ctx, device, q, func(s *anabranch.Space, answer anabranch.Answer) error {
		var docs []*anabranch.Record
		for _, r := range answer.Records {
			if r.Kind == record.Doc {
				docs = append(docs, r)
			}
		}
		unforked := func(record.Key, uint64) uint32 { return 0 }
		reading := space.Read(docs, uint64(time.Now().UnixMicro()), unforked)
		if reading.Absent {
			return fmt.Errorf("%w: device %s signed that it holds no document at %q", anabranch.ErrNotFound, short(answer.Device), path)
		}
		doc := anabranch.Document{Record: reading.Doc, Conflicts: reading.Conflicts}
		if ref, large := anabranch.BlobOf(doc.Record); large && !a.json {
			a.noteConflicts(doc)
			return a.namedElsewhere(ctx, s, ref, answer.Device, path)
		}
		return a.got(doc, raw)
	})
}

// namedElsewhere says in words what another device holds at a path when that
// is content beside the record: its name, and how it is had.
func (a *app) namedElsewhere(ctx context.Context, s *anabranch.Space, ref anabranch.BlobRef, device record.Key, path string) error {
	if err := a.print("content %s, %s", ref.Name, bytesText(int64(min(ref.Size, math.MaxInt64)))); err != nil {
		return err
	}
	b, err := findContent(ctx, s, ref.Name.String())
	switch {
	case errors.Is(err, anabranch.ErrNotFound):
		a.say(`note: no record here names it yet: "anabranch sync %s" brings the record, "anabranch get %s" the content then`, short(device), path)
	case err != nil:
		return err
	case b.Here:
		a.say(`note: it is here: "anabranch blob get %s" writes it`, ref.Name)
	default:
		a.say(`note: it is not here: "anabranch blob refetch %s" fetches it`, ref.Name)
	}
	return nil
}

// gotLarge writes content that may be of any size.
func (a *app) gotLarge(ctx context.Context, s *anabranch.Space, doc anabranch.Document, to string, raw bool) error {
	f, err := s.OpenContent(ctx, doc)
	if err != nil {
		return err
	}
	defer f.Close()
	if to == "" && a.terminal && !raw {
		return usage("the document has %d bytes, which is much for a terminal: give --output FILE, --raw or a pipe", f.Size())
	}
	if err := a.stream(f, to); err != nil {
		return err
	}
	a.noteConflicts(doc)
	return nil
}

func (a *app) noteConflicts(doc anabranch.Document) {
	if n := len(doc.Conflicts); n > 0 {
		a.say("note: %s of this document, written elsewhere without having seen this one: see \"anabranch history %s\"; a new put settles it",
			count(n, "other version stands", "other versions stand"), doc.Path)
	}
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
	a.noteConflicts(doc)
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
