package main

import (
	"os"

	"github.com/spf13/cobra"

	"anabranch"
)

// pathsJSON is what paths --json prints.
type pathsJSON struct {
	Schema string `json:"schema"` // anabranch.paths/1
	Home   string `json:"home"`   // records
	Keys   string `json:"keys"`   // of the device and its authors
	Lease  string `json:"lease"`
	Socket string `json:"socket"` // of a running up
}

func newPaths(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "paths",
		Short: "Say where records, keys and the rest are kept",
		Args:  takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			home, state, err := a.directories()
			if err != nil {
				return err
			}
			p := pathsJSON{"anabranch.paths/1", home, state, anabranch.RuntimeDir(), socketName(home)}
			if a.json {
				return a.emit(p)
			}
			rows := [][]string{
				{"records", p.Home, "back this up"},
				{"keys", p.Keys, "secret; a copy of them is no backup but a second device"},
				{"lease", p.Lease, "must not be copied"},
				{"socket", p.Socket, "of a running up"},
			}
			for _, row := range rows {
				if _, err := os.Lstat(row[1]); err != nil {
					row[2] += " (not there now)"
				}
			}
			return a.rows(rows)
		},
	}
}
