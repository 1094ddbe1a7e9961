package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// deviceJSON is what device name, device petname and forget print.
type deviceJSON struct {
	Schema  string `json:"schema"` // anabranch.device/1
	Device  string `json:"device"`
	Label   string `json:"label,omitempty"`   // device name: what every member sees
	Petname string `json:"petname,omitempty"` // device petname: seen on this device alone
}

func newDevice(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Name devices, for every member or for yourself",
		Args: func(_ *cobra.Command, args []string) error {
			return usage(`what about the device? "name [DEVICE] NAME" or "petname DEVICE NAME"`)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newDeviceName(a), newDevicePetname(a))
	return cmd
}

func newDeviceName(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "name [DEVICE] NAME",
		Short: "Say what a device, or this one, is called in a space",
		Long: `Gives a device, by default this one, a name that every member of the space
sees. It is shown in quotes and names nobody to a command: whoever may give
such names may give any. Only an admin of the whole space can.`,
		Args: takes(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.with(ctx, false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				device, name := r.Device(), args[len(args)-1]
				if len(args) == 2 {
					members, err := s.Members(ctx)
					if err != nil {
						return err
					}
					if device, err = findDevice(members, args[0]); err != nil {
						return err
					}
				}
				err = s.Label(ctx, device, name)
				if errors.Is(err, anabranch.ErrNotAuthorised) {
					return fmt.Errorf("%w: only an admin of the whole space names a device for everybody", anabranch.ErrNotAuthorised)
				}
				if err != nil {
					return err
				}
				if a.json {
					return a.emit(deviceJSON{Schema: "anabranch.device/1", Device: device.String(), Label: name})
				}
				return a.print("%s is called %q in %q; other devices learn of it when they next sync", short(device), name, s.Name())
			})
		},
	}
	a.completes(cmd, a.deviceNames)
	return a.inSpace(cmd)
}

func newDevicePetname(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "petname DEVICE NAME",
		Short: "Give a device a name of your own",
		Long: `Gives a device a name that only this replica knows, and that a command takes
instead of the device's key. An empty NAME takes it away.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.with(ctx, false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				members, err := allMembers(ctx, r)
				if err != nil {
					return err
				}
				device, err := findDevice(members, args[0])
				if err != nil {
					return err
				}
				name := args[1]
				if name != "" && slices.ContainsFunc(members, func(m anabranch.Member) bool { return m.Petname == name && m.Device != device }) {
					return fmt.Errorf("%w: another device is called %q here", anabranch.ErrNameTaken, name)
				}
				if err := r.SetPetname(ctx, device, name); err != nil {
					return err
				}
				switch {
				case a.json:
					return a.emit(deviceJSON{Schema: "anabranch.device/1", Device: device.String(), Petname: name})
				case name == "":
					return a.print("%s has no name of your own now", short(device))
				}
				return a.print("%s is called %s here, and nowhere else", short(device), name)
			})
		},
	}
	a.completes(cmd, a.deviceNames)
	return cmd
}

func newForget(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget DEVICE",
		Short: "Drop what this replica remembers of a device",
		Long: `Drops the name of your own that a device has here, its addresses, and when
both last held the same. It takes no right away: "anabranch revoke" does.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.with(ctx, false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				members, err := allMembers(ctx, r)
				if err != nil {
					return err
				}
				device, err := findDevice(members, args[0])
				if err != nil {
					return err
				}
				if err := r.Forget(ctx, device); err != nil {
					return err
				}
				if a.json {
					return a.emit(deviceJSON{Schema: "anabranch.device/1", Device: device.String()})
				}
				return a.print("forgot the name, the addresses and the last comparisons of %s", short(device))
			})
		},
	}
	a.completes(cmd, a.deviceNames)
	return cmd
}

// allMembers are the grants of every space held here.
func allMembers(ctx context.Context, r *anabranch.Replica) ([]anabranch.Member, error) {
	var out []anabranch.Member
	for _, s := range r.Spaces() {
		members, err := s.Members(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, members...)
	}
	return out, nil
}

// deviceName is the beginning of a device's key, and what it is called.
func deviceName(device record.Key, petname, label string) string {
	if petname+label == "" {
		return short(device)
	}
	return short(device) + " " + called(petname, label)
}
