package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// joinJSON is what join --json prints.
type joinJSON struct {
	Schema  string `json:"schema"` // anabranch.join/1
	Space   string `json:"space"`
	Name    string `json:"name"`
	Device  string `json:"device"`
	Author  string `json:"author"`
	Inviter string `json:"inviter"`
	Words   string `json:"words"`   // which the inviter shows too
	InSync  bool   `json:"in_sync"` // the roots were compared and equal
	Root    string `json:"root"`
	Records uint64 `json:"records"`
}

func newJoin(a *app) *cobra.Command {
	var name string
	var noWait bool
	var listen []string
	cmd := &cobra.Command{
		Use:   "join [TICKET | -]",
		Short: "Come into a space with a ticket",
		Long: `Uses a ticket from "anabranch invite": asks the device that made it, becomes
a member of its space, and waits until everything is here.

The ticket is best given on standard input, by pasting it or through a pipe:
other users of this machine can see the arguments of a command.`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			text, err := a.ticketText(cmd.Context(), args)
			if err != nil {
				return err
			}
			t, err := anabranch.ParseTicket(text)
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), true, anabranch.Options{Listen: listen, Manual: true}, func(r *anabranch.Replica) error {
				s, err := r.Join(cmd.Context(), t, name)
				if err != nil {
					return err
				}
				return a.joined(cmd.Context(), r, s, t, noWait)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", `what to call the space on this device (default: "space-" and the beginning of its ID)`)
	flags.BoolVar(&noWait, "no-wait", false, "do not wait for the records")
	listenFlag(cmd, &listen)
	return cmd
}

// ticketText takes the ticket from the arguments or from stdin; of a
// terminal, one line.
func (a *app) ticketText(ctx context.Context, args []string) (string, error) {
	const most = 4 << 10
	if len(args) == 1 && args[0] != "-" {
		return args[0], nil
	}
	if a.asking {
		a.say("paste the ticket and press Enter:")
		return await(ctx, func() (string, error) {
			line, err := bufio.NewReader(io.LimitReader(a.stdin, most)).ReadString('\n')
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return line, err
		})
	}
	b, err := a.read(ctx, most)
	return string(b), err
}

// joined waits for the first session and says what it brought.
func (a *app) joined(ctx context.Context, r *anabranch.Replica, s *anabranch.Space, t anabranch.Ticket, noWait bool) error {
	a.say("joined; the space is called %q here, and this device is %s", s.Name(), short(r.Device()))
	a.say("the inviter shows the same words, if nobody stands between: %s", t.Words(r.Device()))
	var failed error
	if !noWait {
		a.say("waiting for the records")
		ended := make(chan error, 1)
		go func() {
			_, err := s.Sync(ctx, t.Inviter)
			ended <- err
		}()
		failed = underway(a, s, []record.Key{t.Inviter}, ended)
		if failed != nil && ctx.Err() != nil {
			return failed
		}
	}
	settled := !noWait && failed == nil
	root, n, err := s.Root(ctx)
	if err != nil {
		return err
	}
	if a.json {
		err := a.emit(joinJSON{
			Schema:  "anabranch.join/1",
			Space:   s.ID().String(),
			Name:    s.Name(),
			Device:  r.Device().String(),
			Author:  s.Author().String(),
			Inviter: t.Inviter.String(),
			Words:   t.Words(r.Device()),
			InSync:  settled,
			Root:    root.String(),
			Records: n,
		})
		if err != nil {
			return err
		}
	} else if settled {
		if err := a.print("in sync with %s: both hold %s, root %s", short(t.Inviter), records(n), root); err != nil {
			return err
		}
	}
	switch {
	case failed != nil:
		a.say("error: the records are not all here yet: %s", plain(failed))
		a.say("hint: this device is a member all the same; \"anabranch sync\" or \"anabranch up\" goes on")
		return &saidError{exitPartial}
	case noWait:
		a.say("the records follow with \"anabranch sync\" or \"anabranch up\"")
	}
	return nil
}
