package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// memberJSON is one grant of members --json.
type memberJSON struct {
	Schema    string `json:"schema"` // anabranch.member/1
	Device    string `json:"device"`
	Author    string `json:"author"`
	Label     string `json:"label,omitempty"`   // what it is called in the space
	Petname   string `json:"petname,omitempty"` // this replica's own name for it
	Role      string `json:"role"`
	Area      string `json:"area"`
	Grant     string `json:"grant"`
	InvitedBy string `json:"invited_by,omitempty"` // a device; absent: by the recovery key
	Since     string `json:"since"`
	Revoked   bool   `json:"revoked"`
	Self      bool   `json:"self"`
}

func newMembers(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the devices of a space, with what each may do",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				members, err := s.Members(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.membersJSON(members)
				}
				table := [][]string{{"DEVICE", "NAME", "AUTHOR", "ROLE", "AREA", "SINCE", "NOTE"}}
				for _, m := range members {
					table = append(table, []string{short(m.Device), called(m.Petname, m.Label), short(m.Author), m.Role.String(), m.Area, clock(m.Since), memberNote(m)})
				}
				return a.rows(table)
			})
		},
	}
	return a.inSpace(cmd)
}

func (a *app) membersJSON(members []anabranch.Member) error {
	for _, m := range members {
		out := memberJSON{
			Schema:  "anabranch.member/1",
			Device:  m.Device.String(),
			Author:  m.Author.String(),
			Label:   m.Label,
			Petname: m.Petname,
			Role:    m.Role.String(),
			Area:    m.Area,
			Grant:   m.Grant.String(),
			Since:   stamp(m.Since),
			Revoked: m.Revoked,
			Self:    m.Self,
		}
		if m.InvitedBy != (record.Key{}) {
			out.InvitedBy = m.InvitedBy.String()
		}
		if err := a.emit(out); err != nil {
			return err
		}
	}
	return nil
}

// called is a device's name: this replica's own as it is, or the label that
// the space has for it, quoted, since anybody may have chosen that.
func called(petname, label string) string {
	switch {
	case petname != "":
		return petname
	case label != "":
		return fmt.Sprintf("%q", label)
	}
	return "-"
}

func memberNote(m anabranch.Member) string {
	var notes []string
	if m.Self {
		notes = append(notes, "this device")
	}
	if m.Revoked {
		notes = append(notes, "revoked")
	}
	if m.InvitedBy == (record.Key{}) {
		notes = append(notes, "first device")
	} else {
		notes = append(notes, "invited by "+short(m.InvitedBy))
	}
	return strings.Join(notes, ", ")
}

// revocationJSON is what revoke --json prints.
type revocationJSON struct {
	Schema  string   `json:"schema"` // anabranch.revocation/1
	Devices []string `json:"devices"`
	Grants  int      `json:"grants"`
	Listed  int      `json:"listed"` // records of theirs that stay
}

func newRevoke(a *app) *cobra.Command {
	var keyFile string
	var o anabranch.RevokeOptions
	cmd := &cobra.Command{
		Use:   "revoke DEVICE",
		Short: "Withdraw what a device was granted",
		Long: `Withdraws every grant of a device, named by at least six characters of its
key as "anabranch members" shows it. What it wrote and is held here stays,
unless --nothing is given; what it wrote besides, or will write, is in
nobody's set, however it is dated. Other members refuse the device as soon as
they have heard of it.

Only a device that stands above in the tree of invitations can do this, or
whoever has the recovery key. A lost device keeps what it holds already.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keyFile != "" {
				key, err := a.recoveryKey(cmd.Context(), keyFile)
				if err != nil {
					return err
				}
				o.RootKey = &key
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				members, err := s.Members(cmd.Context())
				if err != nil {
					return err
				}
				device, err := findDevice(members, args[0])
				if err != nil {
					return err
				}
				done, err := s.Revoke(cmd.Context(), device, o)
				if err != nil {
					return err
				}
				return a.revoked(done)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&keyFile, "root-key", "", "sign with the recovery key in this `file`, or on standard input if -")
	flags.BoolVar(&o.AlsoInvited, "also-invited", false, "revoke everybody that the device invited, too")
	flags.BoolVar(&o.Nothing, "nothing", false, "let nothing stay of what the device ever wrote")
	a.completes(cmd, a.deviceNames)
	return a.inSpace(cmd)
}

func (a *app) recoveryKey(ctx context.Context, file string) (anabranch.RecoveryKey, error) {
	const most = 4 << 10
	var text []byte
	var err error
	if file == "-" {
		if a.asking {
			a.say("type the recovery key, then Enter and Ctrl-D:")
		}
		text, err = a.read(ctx, most)
	} else {
		text, err = os.ReadFile(a.path(file))
	}
	if err != nil {
		return anabranch.RecoveryKey{}, fmt.Errorf("recovery key: %w", err)
	}
	return anabranch.ParseRecoveryKey(string(text))
}

func (a *app) revoked(done anabranch.Revocation) error {
	if a.json {
		out := revocationJSON{Schema: "anabranch.revocation/1", Grants: done.Grants, Listed: done.Listed}
		for _, d := range done.Devices {
			out.Devices = append(out.Devices, d.String())
		}
		return a.emit(out)
	}
	for _, d := range done.Devices {
		if err := a.print("revoked %s", d); err != nil {
			return err
		}
	}
	a.say("%s of theirs stay listed here; other devices learn of it when they next sync", records(done.Listed))
	return nil
}
