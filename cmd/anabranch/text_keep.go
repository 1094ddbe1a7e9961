package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"anabranch"
)

// textKeptJSON is a version of a text that stays readable on this device.
type textKeptJSON struct {
	Schema  string `json:"schema"` // anabranch.text-kept/1
	Path    string `json:"path"`
	Name    string `json:"name"`
	Time    string `json:"time"`
	Version string `json:"version"`
}

func (a *app) textKept(t *anabranch.Text, k anabranch.KeptVersion) error {
	if a.json {
		return a.emit(textKeptJSON{"anabranch.text-kept/1", t.Path(), k.Name, stamp(microTime(k.Time)), k.Version.String()})
	}
	return a.print("%s  %s", clock(microTime(k.Time)), k.Name)
}

func newTextKeep(a *app) *cobra.Command {
	var at string
	var forget bool
	cmd := &cobra.Command{
		Use:   "keep PATH NAME [--at VERSION]",
		Short: "Keep a version of a text readable on this device",
		Long: `Keeps the text as it is, or with --at as it was, under a name on this device.
"text get --at NAME" reads it for good; versions that nobody keeps are readable
as long as their records are: older ones are folded to one in time. With
--forget it is not kept any more.`,
		Args: takes(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, name := cmd.Context(), args[1]
			if forget && at != "" {
				return usage("--forget takes no --at")
			}
			return a.onText(ctx, args[0], func(_ *anabranch.Space, t *anabranch.Text) error {
				if forget {
					return t.Unkeep(ctx, name)
				}
				_, v, err := t.GetVersion(ctx)
				if err == nil && at != "" {
					v, err = textVersion(ctx, t, at)
				}
				if err != nil {
					return err
				}
				if err := t.Keep(ctx, name, v); err != nil || !a.json {
					return err
				}
				kept, err := t.Kept(ctx)
				for _, k := range kept {
					if k.Name == name {
						return a.textKept(t, k)
					}
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the `version` to keep")
	cmd.Flags().BoolVar(&forget, "forget", false, "do not keep it any more")
	return a.inSpace(cmd)
}

func newTextKept(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kept PATH",
		Short: "List the versions of a text that this device keeps",
		Args:  takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.onText(cmd.Context(), args[0], func(_ *anabranch.Space, t *anabranch.Text) error {
				kept, err := t.Kept(cmd.Context())
				if err != nil {
					return err
				}
				if len(kept) == 0 {
					return fmt.Errorf("%w: no version of %q is kept", anabranch.ErrNotFound, t.Path())
				}
				for _, k := range kept {
					if err := a.textKept(t, k); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}
