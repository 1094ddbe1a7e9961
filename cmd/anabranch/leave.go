package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// leaveJSON is what leave --json prints, also when the space was not left.
type leaveJSON struct {
	Schema    string `json:"schema"` // anabranch.leave/1
	Space     string `json:"space"`
	Name      string `json:"name"`    // empty: it was not usable here
	Left      bool   `json:"left"`    // false: something would be lost, see below
	Records   uint64 `json:"records"` // in the set, and no other device is known to hold them
	Own       uint64 `json:"own"`     // of those, written by this device
	Held      uint64 `json:"held"`    // in no root
	OnlyCopy  bool   `json:"only_copy"`
	LastAdmin bool   `json:"last_admin"`
}

func newLeave(a *app) *cobra.Command {
	var o anabranch.LeaveOptions
	cmd := &cobra.Command{
		Use:   "leave SPACE",
		Short: "Forget a space: its records, and this device's keys and tickets in it",
		Long: `Takes a space away from this device: its records, this device's keys and
tickets in it, and what is remembered of devices that are in no other space
here. Other devices keep what they hold, and are refused from then on; to them
this device is a member until somebody revokes it.

If it would lose something, records that no other device is known to hold or
the only admin, it says so and leaves nothing; --force does it all the same.
With a new ticket, "anabranch join" comes back.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				id, name, err := leaving(r, args[0])
				if err != nil {
					return err
				}
				loss, err := r.Leave(cmd.Context(), id, o)
				var lost *anabranch.LossError
				if err != nil && !errors.As(err, &lost) {
					return err
				}
				if a.json {
					return errors.Join(err, a.emit(leaveJSON{
						Schema: "anabranch.leave/1", Space: id.String(), Name: name, Left: err == nil,
						Records: loss.Records, Own: loss.Own, Held: loss.Held, OnlyCopy: loss.OnlyCopy, LastAdmin: loss.LastAdmin,
					}))
				}
				if err != nil {
					return err
				}
				if name == "" {
					name = id.String()[:8]
				}
				return a.print("left %q: its records, and this device's keys in it, are gone from here", name)
			})
		},
	}
	cmd.Flags().BoolVar(&o.Force, "force", false, "leave whatever is lost")
	a.completes(cmd, a.spaceNames)
	return cmd
}

// leaving finds the space to leave: also one that is not usable here, by its
// ID.
func leaving(r *anabranch.Replica, name string) (record.SpaceID, string, error) {
	if name == "" {
		return record.SpaceID{}, "", usage("leave which space? Its name, or eight characters of its ID")
	}
	s, err := r.Space(name)
	if err == nil {
		return s.ID(), s.Name(), nil
	}
	var found []record.SpaceID
	for id := range r.Unusable() {
		if len(name) >= 8 && strings.HasPrefix(id.String(), name) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return record.SpaceID{}, "", err
	case 1:
		return found[0], "", nil
	}
	return record.SpaceID{}, "", fmt.Errorf("%w: %q begins more than one ID", anabranch.ErrAmbiguous, name)
}
