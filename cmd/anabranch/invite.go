package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// inviteJSON is what invite --json prints. The ticket is a secret until it
// is used.
type inviteJSON struct {
	Schema  string   `json:"schema"` // anabranch.invite/1
	Ticket  string   `json:"ticket"`
	Space   string   `json:"space"`
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	Area    string   `json:"area"`
	Expires string   `json:"expires"`
	Inviter string   `json:"inviter"`
	Addrs   []string `json:"addrs"`
}

func newInvite(a *app) *cobra.Command {
	var roleName, area string
	var addrs []string
	var code bool
	ttl := span(24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "Make a ticket that admits one device to a space",
		Long: `Prints a ticket, alone, on standard output. It admits one device, once, and
is a secret until then: send it by a way that only the other person reads. On
a terminal, or with --qr, the same ticket is drawn as a QR code on standard
error, for a camera.
The other device runs "anabranch join" and has to reach this one, so
"anabranch up" must be running here by then.

A device that was revoked can be invited again.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := record.ParseRole(roleName)
			if err != nil {
				return usage("--role %q is none of reader, writer, admin", roleName)
			}
			if _, err := checkedPath(area); err != nil {
				return fmt.Errorf("--area: %w", err)
			}
			if err := checkedAddrs("addr", addrs); err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				t, err := s.Invite(cmd.Context(), anabranch.InviteOptions{Role: r, Area: area, TTL: time.Duration(ttl), Addrs: addrs})
				if err != nil {
					return err
				}
				return a.invited(s, t, r, area, code || a.shown && !a.json)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&roleName, "role", "writer", "what the device may do: reader, writer or admin")
	flags.StringVar(&area, "area", "/", "the `path` below which it may write, or as an admin invite")
	flags.Var(&ttl, "ttl", "how long the ticket can be used")
	flags.StringSliceVar(&addrs, "addr", nil, "the `ip:port` at which this device will be reached (may be repeated; default: where it listened last)")
	flags.BoolVar(&code, "qr", false, "draw the ticket as a QR code, not only on a terminal")
	return a.inSpace(cmd)
}

func (a *app) invited(s *anabranch.Space, t anabranch.Ticket, r record.Role, area string, code bool) error {
	if a.json {
		if code {
			if err := a.draw(t); err != nil {
				return err
			}
		}
		return a.emit(inviteJSON{
			Schema:  "anabranch.invite/1",
			Ticket:  t.String(),
			Space:   s.ID().String(),
			Name:    s.Name(),
			Role:    r.String(),
			Area:    area,
			Expires: stamp(t.Expires),
			Inviter: t.Inviter.String(),
			Addrs:   t.Addrs,
		})
	}
	what := fmt.Sprintf("as %s", role(r))
	if area != "/" {
		what += " below " + area
	}
	a.say("this ticket admits one device to %q %s, until %s", s.Name(), what, clock(t.Expires))
	if len(t.Addrs) == 0 {
		a.say("warning: it holds no address at which to find this device; give one with --addr ip:port")
	} else {
		a.say("it finds this device at %s; keep \"anabranch up\" running here until the other device has joined", strings.Join(t.Addrs, ", "))
	}
	if code {
		if err := a.draw(t); err != nil {
			return err
		}
	}
	if err := a.print("%s", t); err != nil {
		return err
	}
	a.say("on the other device run \"anabranch join\" and paste it; whoever has it first is in, so keep it secret")
	return nil
}

// draw shows a ticket to a camera: in upper case, which makes a smaller code.
func (a *app) draw(t anabranch.Ticket) error {
	drawing, err := drawQR(strings.ToUpper(t.String()), a.colour)
	if err == nil {
		a.sayRaw(strings.TrimSuffix(drawing, "\n"))
	}
	return err
}
