package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// waitJSON is what wait --json prints, also when time is up.
type waitJSON struct {
	Schema     string         `json:"schema"` // anabranch.wait/1
	Space      string         `json:"space"`
	Converged  bool           `json:"converged"`
	Root       string         `json:"root"`
	Records    uint64         `json:"records"` // under the root
	DurationMs int64          `json:"duration_ms"`
	Peers      []waitPeerJSON `json:"peers"`
}

type waitPeerJSON struct {
	Device string `json:"device"`
	InSync bool   `json:"in_sync"` // the roots were compared since the command began, and equal
	Reason string `json:"reason,omitempty"`
}

func newWait(a *app) *cobra.Command {
	var converged, blobs bool
	var with, listen []string
	var timeout span
	cmd := &cobra.Command{
		Use:   "wait --converged | --blobs",
		Short: "Wait until other devices hold exactly what is held here",
		Long: `Runs sessions with every other member of a space, or with those named by
--with, until the root of each was compared with the root here and is equal,
and exits 0 then. With --blobs, waits until the content that records name is
here too, as far as this device wants it. What was compared before does not count. Exits 4 when
--timeout is over; without it, waits until Ctrl-C.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !converged && !blobs {
				return usage("wait for what? --converged, --blobs or both")
			}
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			o := anabranch.Options{Listen: listen, Manual: true}
			return a.with(cmd.Context(), false, o, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				members, err := s.Members(cmd.Context())
				if err != nil {
					return err
				}
				var devices []record.Key
				for _, name := range with {
					device, err := findDevice(members, name)
					if err != nil {
						return err
					}
					devices = append(devices, device)
				}
				ctx := cmd.Context()
				if timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout))
					defer cancel()
				}
				began := time.Now()
				if !converged {
					defer a.meeting(ctx, s, devices)()
					return a.waitBlobs(ctx, s, time.Since(began))
				}
				c, err := s.Converge(ctx, devices...)
				if err != nil && (!errors.Is(err, context.DeadlineExceeded) || cmd.Context().Err() != nil) {
					return err
				}
				if err == nil && blobs {
					if err := a.waitBlobs(ctx, s, time.Since(began)); err != nil {
						return err
					}
				}
				return a.waited(s, c, time.Since(began), err)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&converged, "converged", false, "wait until all hold the same")
	flags.BoolVar(&blobs, "blobs", false, "wait until all content that this device wants is here")
	flags.StringSliceVar(&with, "with", nil, "only this `device`, not every member (may be repeated)")
	flags.Var(&timeout, "timeout", "give up after this time")
	listenFlag(cmd, &listen)
	cmd.RegisterFlagCompletionFunc("with", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.deviceNames(cmd), cobra.ShellCompDirectiveNoFileComp
	})
	return a.inSpace(cmd)
}

// waited says what came of it; late is the error of a time that is up.
func (a *app) waited(s *anabranch.Space, c anabranch.Convergence, took time.Duration, late error) error {
	out := waitJSON{
		Schema: "anabranch.wait/1", Space: s.ID().String(), Converged: late == nil,
		Root: c.Root.String(), Records: c.Count, DurationMs: took.Milliseconds(), Peers: []waitPeerJSON{},
	}
	for _, p := range c.Peers {
		peer := waitPeerJSON{Device: p.Device.String(), InSync: p.Agreed}
		if !p.Agreed {
			peer.Reason = "it was not reached in this time, or the session with it had not ended"
			if p.Err != nil {
				peer.Reason = whyNot(p.Device, p.Err)
			}
			a.say("not in sync with %s: %s", short(p.Device), peer.Reason)
		}
		out.Peers = append(out.Peers, peer)
	}
	switch {
	case a.json:
		if err := a.emit(out); err != nil {
			return err
		}
	case late == nil:
		if err := a.print("in sync with %s: all hold %s, root %s", all(len(c.Peers)), records(c.Count), c.Root); err != nil {
			return err
		}
	}
	if late != nil {
		a.say("error: not converged after %s", spanText(took))
		a.say(`hint: "anabranch status" and "anabranch doctor" say more`)
		return &saidError{exitDiffer}
	}
	return nil
}
