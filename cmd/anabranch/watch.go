package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// changeJSON is one line of watch --json: a record entered the set, or left
// it.
type changeJSON struct {
	Schema  string      `json:"schema"` // anabranch.change/1
	Space   string      `json:"space"`
	Version uint64      `json:"version"` // --from this goes on after the line; a line may come twice then, none is left out
	Change  string      `json:"change"`  // entered or left
	ID      string      `json:"id"`
	Record  *recordJSON `json:"record,omitempty"` // of entered
}

func newWatch(a *app) *cobra.Command {
	var from int64
	var once bool
	var listen []string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print what enters and leaves a space, as it happens",
		Long: `Prints a line for every record that enters or leaves a space, until Ctrl-C:
what this device writes, what others send, what is swept or revoked. --from
VERSION begins after that version of this replica, --from 0 with everything
that is held; --json has the version to go on from with each line.

Where no "anabranch up" runs on this home, this command does its work too.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from < -1 {
				return usage("--from %d is no version", from)
			}
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			ctx := cmd.Context()
			o := anabranch.Options{Listen: listen, NoNetwork: once}
			a.endless = !once
			return a.with(ctx, false, o, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				if a.shared == nil && !once {
					stop, err := a.serve(ctx, r)
					if err != nil {
						return err
					}
					defer stop()
				}
				version, err := s.Version(ctx)
				if err != nil {
					return err
				}
				if once && from < 0 {
					from = 0
				}
				if from < 0 {
					from = int64(version)
					a.say("watching %q from version %d on; Ctrl-C ends it", s.Name(), version)
				}
				err = a.watch(ctx, s, uint64(from), version, once)
				if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
					if cause := context.Cause(ctx); cause == errUpStops {
						return cause
					}
					return nil // Ctrl-C is how it is meant to end
				}
				return err
			})
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&from, "from", -1, "begin after this `version`; 0: with everything (default: now)")
	flags.Lookup("from").DefValue = "-1"
	flags.BoolVar(&once, "once", false, "print what there is, and do not wait for more")
	listenFlag(cmd, &listen)
	return a.inSpace(cmd)
}

// watch prints what happens after a version; with once, up to a version.
func (a *app) watch(ctx context.Context, s *anabranch.Space, after, until uint64, once bool) error {
	if once && after >= until {
		return nil
	}
	for c, err := range s.Watch(ctx, after) {
		if err != nil {
			return err
		}
		left := len(c.Entered) + len(c.Left)
		line := func(out changeJSON, v *anabranch.Record) error {
			if left--; left == 0 {
				after = c.Version
			}
			out.Schema, out.Space, out.Version = "anabranch.change/1", s.ID().String(), after
			return a.changed(out, v)
		}
		for _, v := range c.Entered {
			view := viewRecord(v)
			if err := line(changeJSON{Change: "entered", ID: v.ID.String(), Record: &view}, v); err != nil {
				return err
			}
		}
		for _, id := range c.Left {
			if err := line(changeJSON{Change: "left", ID: id.String()}, nil); err != nil {
				return err
			}
		}
		if err := a.flush(); err != nil {
			return err
		}
		if once && c.Version >= until {
			return nil
		}
	}
	return nil
}

// changed prints one change.
func (a *app) changed(c changeJSON, v *anabranch.Record) error {
	switch {
	case a.json:
		return a.emit(c)
	case v == nil:
		return a.print("- %s  left     %s", clock(time.Now()), c.ID)
	}
	r := recordRow(v)
	what := r[5]
	if !v.Data() {
		what = fmt.Sprintf("(%s)", bytesText(int64(len(v.Payload))))
	}
	return a.print("+ %s  %-7s  %s  %s  %s  %s", r[0], r[1], r[2], r[3], r[4], what)
}
