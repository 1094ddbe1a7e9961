package main

import (
	"github.com/spf13/cobra"

	"anabranch"
)

// backupJSON is what backup --json and restore --json print.
type backupJSON struct {
	Schema string            `json:"schema"` // anabranch.backup/1, anabranch.restore/1
	Dir    string            `json:"dir"`
	Made   string            `json:"made"`
	Device string            `json:"device"`
	Files  int               `json:"files"`
	Bytes  int64             `json:"bytes"`
	Spaces []backupSpaceJSON `json:"spaces"`
}

type backupSpaceJSON struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Records uint64 `json:"records"`
	Root    string `json:"root"`
}

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy this replica, records and keys, as it is now",
		Long: `Copies this replica into a folder that is empty or does not exist: all spaces,
what only this replica knows, and its keys, as they are at one moment; "up"
goes on meanwhile. manifest.json lists what is inside. Whoever has the folder
can be this device: keep it as safe as the device itself.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.path(args[0])
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				line := a.progress("rows copied")
				m, err := r.Backup(cmd.Context(), dir, func(n uint64) { line.show(int(n), 0) })
				line.end()
				if err != nil {
					return err
				}
				return a.backedUp("anabranch.backup/1", args[0], m, "keep it as safe as this device: whoever has it can be this device")
			})
		},
	}
}

func newRestore(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "restore DIR",
		Short: "Make a home from a backup",
		Long: `Makes a home from what "anabranch backup" wrote: the device as it was then.
The home must be empty or absent. Every file is compared with the manifest,
and if one differs, nothing is left behind.

What the device wrote later comes back from its peers; it writes on in fresh
lanes, so that no number is used twice. The device must not go on elsewhere:
if it was lost, revoke it instead and join anew.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			home, state, err := a.directories()
			if err != nil {
				return err
			}
			m, err := anabranch.Restore(cmd.Context(), a.path(args[0]), home, anabranch.RestoreOptions{StateDir: state})
			if err != nil {
				return err
			}
			return a.backedUp("anabranch.restore/1", args[0], m, `"anabranch sync" or "anabranch up" brings back what was written after the backup`)
		},
	}
}

// backedUp says what a backup holds.
func (a *app) backedUp(schema, dir string, m anabranch.Manifest, advice string) error {
	out := backupJSON{Schema: schema, Dir: dir, Made: m.Made, Device: m.Device, Files: len(m.Files), Spaces: []backupSpaceJSON{}}
	for _, f := range m.Files {
		out.Bytes += f.Size
	}
	for _, s := range m.Spaces {
		out.Spaces = append(out.Spaces, backupSpaceJSON(s))
	}
	if a.json {
		return a.emit(out)
	}
	for _, s := range m.Spaces {
		if err := a.print("%s: %s, root %s", s.Name, records(s.Records), s.Root); err != nil {
			return err
		}
	}
	a.say("%s, %s, of %s", files(out.Files), bytesText(out.Bytes), m.Made)
	a.say("%s", advice)
	return nil
}
