package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

func newPut(a *app) *cobra.Command {
	return a.writing(anabranch.OpPut, &cobra.Command{
		Use:   "put PATH [VALUE | -]",
		Short: "Write a new version of the document at a path",
		Long: `Writes a new version of the document at a path, and prints the record's ID
once it is durable. The value is the second argument, or standard input when
that is - or missing, or the file that --file names, of any size: above 64 KiB
it lies beside the record, and is durable before the record is.`,
	})
}

func newAppend(a *app) *cobra.Command {
	return a.writing(anabranch.OpAppend, &cobra.Command{
		Use:   "append PATH [VALUE | -]",
		Short: "Add an entry at a path, beside all others there",
		Long: `Adds an entry at a path, beside all others there: entries are never
overwritten. Prints the record's ID once it is durable. The value is the
second argument, or standard input when that is - or missing. At most 64 KiB.`,
	})
}

func (a *app) writing(op anabranch.Op, cmd *cobra.Command) *cobra.Command {
	var expires span
	var file, media string
	cmd.Args = takes(1, 2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := checkedPath(args[0])
		if err != nil {
			return err
		}
		given := len(args) == 2 && args[1] != "-"
		if op == anabranch.OpPut && !given || file != "" || media != "" {
			if given && file != "" {
				return usage("either a value or --file")
			}
			return a.putFile(cmd.Context(), path, args[1:], file, media, time.Duration(expires))
		}
		value, err := a.value(cmd.Context(), args[1:])
		if err != nil {
			return err
		}
		w := anabranch.Write{Op: op, Path: path, Payload: value}
		return a.offline(cmd.Context(), func(s *anabranch.Space) error {
			if expires > 0 {
				w.Expires = time.Now().Add(time.Duration(expires))
			}
			written, err := s.Batch(cmd.Context(), w)
			if err != nil {
				return err
			}
			return a.written(written[0])
		})
	}
	if op == anabranch.OpPut {
		cmd.Flags().StringVar(&file, "file", "", "write the content of this `file`")
		cmd.Flags().StringVar(&media, "type", "", "say that the content is of this media `type`, such as image/jpeg, if it lies beside the record")
	}
	cmd.Flags().Var(&expires, "expires", "read as absent after this time, such as 30m, 24h or 7d")
	return a.inSpace(cmd)
}

// value is the payload to write: the argument, or all of stdin.
func (a *app) value(ctx context.Context, args []string) ([]byte, error) {
	var value []byte
	if len(args) == 1 && args[0] != "-" {
		value = []byte(args[0])
	} else {
		if a.asking {
			a.say("type the value and end it with Ctrl-D:")
		}
		var err error
		if value, err = a.read(ctx, record.MaxPayload); err != nil {
			return nil, err
		}
	}
	if len(value) > record.MaxPayload {
		return nil, usage("the value is larger than %d bytes (64 KiB), the most that one record carries", record.MaxPayload)
	}
	return value, nil
}

// written prints the record that was made.
func (a *app) written(v *anabranch.Record) error {
	if a.json {
		return a.emit(viewRecord(v))
	}
	return a.print("%s", v.ID)
}

// removalJSON is what rm --id --json prints; rm PATH prints the record that
// says so.
type removalJSON struct {
	Schema string `json:"schema"` // anabranch.removal/1
	ID     string `json:"id"`
}

func newRm(a *app) *cobra.Command {
	var text string
	cmd := &cobra.Command{
		Use:   "rm PATH | --id ID",
		Short: "Delete the document at a path, or an entry of this device",
		Long: `Deletes the document at a path: from here on it reads as absent, whoever
wrote it. With --id, removes one entry that this device wrote. What this
device wrote itself leaves no more than a bit behind.`,
		Args: func(_ *cobra.Command, args []string) error {
			if (text == "") != (len(args) == 1) {
				return usage("either one PATH or --id ID")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if text != "" {
				return a.removeEntry(cmd.Context(), text)
			}
			path, err := checkedPath(args[0])
			if err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				v, err := s.Delete(cmd.Context(), path)
				if err != nil {
					return err
				}
				return a.written(v)
			})
		},
	}
	cmd.Flags().StringVar(&text, "id", "", "remove the entry with this `ID`, or the one that begins so")
	return a.inSpace(cmd)
}

func (a *app) removeEntry(ctx context.Context, text string) error {
	if err := checkID(text); err != nil {
		return err
	}
	return a.offline(ctx, func(s *anabranch.Space) error {
		v, err := s.FindRecord(ctx, text)
		if err != nil {
			return err
		}
		if err := s.Remove(ctx, v.ID); err != nil {
			return err
		}
		if a.json {
			return a.emit(removalJSON{Schema: "anabranch.removal/1", ID: v.ID.String()})
		}
		return a.print("%s", v.ID)
	})
}
