package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"anabranch"
)

// conflictJSON is one path of conflicts --json.
type conflictJSON struct {
	Schema  string       `json:"schema"` // anabranch.conflict/1
	Path    string       `json:"path"`
	Current recordJSON   `json:"current"`
	Others  []recordJSON `json:"others"`
}

func newConflicts(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflicts [PREFIX]",
		Short: "List documents of which several versions stand",
		Long: `Lists every document, at and below a path, of which several versions stand
because one writer had not seen the other's. The newest of them is what "get"
reads. A new put at the path settles it.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, err := checkedPrefix(args)
			if err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				n := 0
				for c, err := range s.Conflicts(cmd.Context(), prefix) {
					if err != nil {
						return err
					}
					n++
					if err := a.conflict(c); err != nil {
						return err
					}
				}
				if n == 0 && !a.json {
					a.say("no conflicts")
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

func (a *app) conflict(c anabranch.Conflict) error {
	if a.json {
		out := conflictJSON{Schema: "anabranch.conflict/1", Path: c.Path, Current: viewRecord(c.Current)}
		for _, v := range c.Others {
			out.Others = append(out.Others, viewRecord(v))
		}
		return a.emit(out)
	}
	if err := a.print("%s", c.Path); err != nil {
		return err
	}
	if err := a.version("current", c.Current); err != nil {
		return err
	}
	for _, v := range c.Others {
		if err := a.version("other", v); err != nil {
			return err
		}
	}
	return nil
}

// version prints one version of a document, below its path.
func (a *app) version(state string, v *anabranch.Record) error {
	r := recordRow(v)
	return a.print("  %-11s  %s  %s  %s  %s", state, r[0], r[2], r[3], r[5])
}

func newHistory(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history PATH",
		Short: "List the versions of the document at a path, newest first",
		Long: `Lists every version of the document at a path that is still held, newest
first: the current one, those in conflict with it, and those that were
replaced. What a device has overwritten itself is swept away after a while.

Of a map, set, counter, flag, log or register, lists who changed what; changes
that their author has folded into one are one line.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := checkedPath(args[0])
			if err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				versions, err := s.History(cmd.Context(), path)
				if err != nil {
					return err
				}
				events, err := s.DocumentHistory(cmd.Context(), path)
				if err != nil {
					return err
				}
				for _, e := range events {
					if err := a.documentPast(e); err != nil {
						return err
					}
				}
				if len(versions)+len(events) == 0 {
					return fmt.Errorf("%w: no version of a document at %q", anabranch.ErrNotFound, path)
				}
				for _, v := range versions {
					if err := a.past(v); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

func (a *app) past(v anabranch.Version) error {
	if a.json {
		out := viewRecord(v.Record)
		out.State = string(v.State)
		return a.emit(out)
	}
	return a.version(string(v.State), v.Record)
}
