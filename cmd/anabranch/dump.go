package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"anabranch"
)

func newDump(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dump [FILE | -]",
		Short: "Write a whole space as lines of JSON",
		Long: `Writes every record of a space as a line of JSON, after a line that names the
space and before one with the count and the root. "anabranch load" reads it
here or anywhere, and verifies every signature. Without FILE, or with -, it
goes to standard output. Keys are not in it, nor what only this replica knows.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				line := a.progress("records written")
				show := func(n uint64) { line.show(int(n), 0) }
				if len(args) == 0 || args[0] == "-" {
					_, err := s.Dump(cmd.Context(), a.output(), show)
					line.end()
					return err
				}
				name := a.path(args[0])
				f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if errors.Is(err, os.ErrExist) {
					return usage("%s exists already, and is not overwritten", args[0])
				}
				if err != nil {
					return err
				}
				report, err := s.Dump(cmd.Context(), f, show)
				line.end()
				if err == nil {
					err = f.Sync()
				}
				if err = errors.Join(err, f.Close()); err != nil {
					return errors.Join(err, os.Remove(name))
				}
				a.say("%s in %s, root %s", records(report.Records), args[0], report.Root)
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

// loadJSON is what load --json prints.
type loadJSON struct {
	Schema  string `json:"schema"` // anabranch.load/1
	Space   string `json:"space"`
	Name    string `json:"name"`
	Made    bool   `json:"made"`
	Records uint64 `json:"records"`
	Added   int    `json:"added"`
	Known   int    `json:"known"`
	Dead    int    `json:"dead"`
	Held    int    `json:"held"`
	Root    string `json:"root"` // of the dump
	Equal   bool   `json:"equal"`
}

func newLoad(a *app) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "load [FILE | -]",
		Short: "Read a dump into its space, or make the space of it",
		Long: `Reads a dump, verifies every signature, and adds what is not here yet to the
space that it is of, which is made if it is not here. Nothing is removed. A
dump of another space than --space names is refused, and so is one that was
cut off or altered; what was read before that shows is kept, since every
record stands for itself. A space that is made by it can be read; to write in
it, this device must be invited.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), true, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				o := anabranch.LoadOptions{Name: name}
				if a.space != "" {
					var err error
					if o.Into, err = r.Space(a.space); err != nil {
						return err
					}
				}
				from := a.stdin
				if len(args) == 1 && args[0] != "-" {
					f, err := os.Open(a.path(args[0]))
					if err != nil {
						return err
					}
					defer f.Close()
					from = f
				}
				return a.load(cmd, r, from, o)
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "this replica's own `name` for a space that is made")
	return a.inSpace(cmd)
}

func (a *app) load(cmd *cobra.Command, r *anabranch.Replica, from io.Reader, o anabranch.LoadOptions) error {
	line := a.progress("records read")
	o.Progress = func(n uint64) { line.show(int(n), 0) }
	type outcome struct {
		space  *anabranch.Space
		report anabranch.LoadReport
	}
	got, err := await(cmd.Context(), func() (outcome, error) {
		s, report, err := r.Load(cmd.Context(), from, o)
		return outcome{s, report}, err
	})
	line.end()
	if err != nil {
		if n := got.report.Added; n > 0 {
			a.say("%s added before this went wrong, and stay", count(n, "record was", "records were"))
		}
		return err
	}
	s, report := got.space, got.report
	if a.json {
		return a.emit(loadJSON{
			Schema: "anabranch.load/1", Space: s.ID().String(), Name: s.Name(), Made: report.Made,
			Records: report.Records, Added: report.Added, Known: report.Known, Dead: report.Dead, Held: report.Held,
			Root: report.Root.String(), Equal: report.Equal,
		})
	}
	if err := a.print("%s: %s, %d added, %d known", s.Name(), records(report.Records), report.Added, report.Known); err != nil {
		return err
	}
	if report.Dead > 0 {
		a.say("note: %s had been removed by their author meanwhile", records(report.Dead))
	}
	if report.Held > 0 {
		a.say("note: %s held back, their authority is unknown here", records(report.Held))
	}
	if report.Made {
		a.say("space %q is made; to write in it, this device must be invited", s.Name())
	}
	if report.Equal {
		a.say("both are equal now, root %s", report.Root)
	} else {
		a.say("the space holds more than the dump, or other records: the roots differ")
	}
	return nil
}
