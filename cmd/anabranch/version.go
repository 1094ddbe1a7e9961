package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"anabranch/record"
)

// release is the version of this program; a release build sets it.
var release = "dev"

// versionJSON is what version --json prints.
type versionJSON struct {
	Schema   string `json:"schema"` // anabranch.version/1
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a changed tree
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Record   int    `json:"record"` // version of the record format
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := built()
			if a.json {
				return a.emit(v)
			}
			commit := ""
			if v.Commit != "" {
				commit = " (" + v.Commit[:min(len(v.Commit), shortLen)]
				if v.Modified {
					commit += ", modified"
				}
				commit += ")"
			}
			return a.print("anabranch %s%s, record format %d, %s, %s", v.Version, commit, v.Record, v.Go, v.Platform)
		},
	}
}

func built() versionJSON {
	v := versionJSON{
		Schema:   "anabranch.version/1",
		Version:  release,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Record:   record.Version,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
