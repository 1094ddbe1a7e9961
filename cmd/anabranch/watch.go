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
	Schema string      `json:"schema"` // anabranch.change/1
	Space  string      `json:"space"`
	Cursor string      `json:"cursor"` // --from this goes on after the line; a line may come twice then, none is left out
	Change string      `json:"change"` // entered or left
	ID     string      `json:"id"`
	Record *recordJSON `json:"record,omitempty"` // of entered
}

func newWatch(a *app) *cobra.Command {
	var from string
	var once bool
	var listen []string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print what enters and leaves a space, as it happens",
		Long: `Prints a line for every record that enters or leaves a space, until Ctrl-C:
what this device writes, what others send, what is swept or revoked. --from
CURSOR begins there, --from 0 with everything that is held; --json has the
cursor to go on from with each line. A cursor is of this replica alone: that
of another one, or of before this one was restored, is refused.

Where no "anabranch up" runs on this home, this command does its work too.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var at anabranch.Cursor
			if from != "" {
				var err error
				if at, err = anabranch.ParseCursor(from); err != nil {
					return usage("--from %q is no cursor: 0, or what --json gave", from)
				}
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
				now, err := s.Cursor(ctx)
				if err != nil {
					return err
				}
				if !once && from == "" {
					at = now
					a.say("watching %q from now on; Ctrl-C ends it", s.Name())
				}
				err = a.watch(ctx, s, at, now, once)
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
	flags.StringVar(&from, "from", "", "begin after this `cursor`; 0: with everything (default: now)")
	flags.BoolVar(&once, "once", false, "print what there is, and do not wait for more")
	listenFlag(cmd, &listen)
	return a.inSpace(cmd)
}

// watch prints what happens after a cursor; with once, up to another.
func (a *app) watch(ctx context.Context, s *anabranch.Space, after, until anabranch.Cursor, once bool) error {
	if once && after == until {
		return nil
	}
	for c, err := range s.Watch(ctx, after) {
		if err != nil {
			return err
		}
		left := len(c.Entered) + len(c.Left)
		line := func(out changeJSON, v *anabranch.Record) error {
			if left--; left == 0 {
				after = c.Cursor
			}
			out.Schema, out.Space, out.Cursor = "anabranch.change/1", s.ID().String(), after.String()
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
		if once && c.Cursor.Version >= until.Version {
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
