package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/blob"
)

// findingJSON is one thing that verify found wrong.
type findingJSON struct {
	Schema string `json:"schema"` // anabranch.finding/1
	Space  string `json:"space"`
	Table  string `json:"table"` // of the store; "memory" for what is derived
	Key    string `json:"key"`   // of the row, in hex
	Reason string `json:"reason"`
}

// verifyJSON ends verify --json for one space.
type verifyJSON struct {
	Schema   string `json:"schema"` // anabranch.verify/1
	Space    string `json:"space"`
	Name     string `json:"name"`
	Records  uint64 `json:"records"` // members, by the rebuild
	Root     string `json:"root"`    // by the rebuild
	Read     uint64 `json:"read"`    // members whose bytes were read
	Held     uint64 `json:"held"`
	Trash    uint64 `json:"trash"`
	Findings int    `json:"findings"`
	OK       bool   `json:"ok"`
}

func newVerify(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check every record held here, and rebuild every order and the root",
		Long: `Re-hashes every record of every space held here, or of the one that --space
names, checks its signature, rebuilds every order, count and root from the
bytes, and says exactly what is wrong. Exits 17 if anything is.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				spaces, err := a.chosen(r)
				if err != nil {
					return err
				}
				wrong := 0
				for _, s := range spaces {
					line := a.progress("records checked")
					report, err := s.Verify(cmd.Context(), func(done, total uint64) { line.show(int(done), int(total)) })
					line.end()
					if err != nil {
						return err
					}
					wrong += len(report.Findings) + report.More
					if err := a.verified(s, report); err != nil {
						return err
					}
				}
				if wrong > 0 {
					return fmt.Errorf("%w: %s", anabranch.ErrDamaged, count(wrong, "finding", "findings"))
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

func (a *app) verified(s *anabranch.Space, report *anabranch.VerifyReport) error {
	for _, f := range report.Findings {
		if a.json {
			if err := a.emit(findingJSON{"anabranch.finding/1", s.ID().String(), f.Table, f.Key, plainText(f.Reason)}); err != nil {
				return err
			}
		} else if err := a.print("%s: %s", s.Name(), plainText(f.String())); err != nil {
			return err
		}
	}
	for _, f := range report.Findings {
		if _, err := blob.ParseName(f.Key); err == nil && f.Table == "blob" {
			a.say(`hint: "anabranch blob refetch %s" fetches the damaged part of this content again`, f.Key)
		}
	}
	wrong := len(report.Findings) + report.More
	switch {
	case a.json:
		return a.emit(verifyJSON{
			Schema:   "anabranch.verify/1",
			Space:    s.ID().String(),
			Name:     s.Name(),
			Records:  report.Count,
			Root:     anabranch.Root(report.Root).String(),
			Read:     report.Records,
			Held:     report.Held,
			Trash:    report.Trash,
			Findings: wrong,
			OK:       wrong == 0,
		})
	case report.More > 0:
		return a.print("%s: and %d more", s.Name(), report.More)
	case wrong == 0:
		return a.print("%s: nothing wrong with %s, root %s", s.Name(), records(report.Count), anabranch.Root(report.Root))
	}
	return nil
}
