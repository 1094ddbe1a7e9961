package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// verdict is what a check comes to. What could not be looked at is unknown,
// never bad.
type verdict string

const (
	good    verdict = "ok"
	bad     verdict = "bad"
	unknown verdict = "unknown"
)

// outcome is a verdict, what it rests on, and what to do where there is
// something.
type outcome struct {
	verdict  verdict
	evidence string
	fix      string
}

func fine(format string, args ...any) outcome {
	return outcome{verdict: good, evidence: fmt.Sprintf(format, args...)}
}

func wrong(fix, format string, args ...any) outcome {
	return outcome{verdict: bad, evidence: fmt.Sprintf(format, args...), fix: fix}
}

func unclear(fix, format string, args ...any) outcome {
	return outcome{verdict: unknown, evidence: fmt.Sprintf(format, args...), fix: fix}
}

// check is one question about this machine and home.
type check struct {
	id   string
	look func(*facts) outcome
}

// spaceCheck is one question about a space.
type spaceCheck struct {
	id   string
	look func(*facts, *spaceFacts) outcome
}

// checkJSON is one check of doctor --json.
type checkJSON struct {
	Schema   string `json:"schema"` // anabranch.check/1
	ID       string `json:"id"`
	Space    string `json:"space,omitempty"` // local name
	Verdict  string `json:"verdict"`         // ok, bad or unknown
	Evidence string `json:"evidence"`
	Fix      string `json:"fix,omitempty"`
}

// doctorJSON ends doctor --json.
type doctorJSON struct {
	Schema  string `json:"schema"` // anabranch.doctor/1
	OK      int    `json:"ok"`
	Bad     int    `json:"bad"`
	Unknown int    `json:"unknown"`
}

func newDoctor(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to do about it",
		Long: `Runs a list of checks on this machine, home and every space, each with a
verdict, what it rests on, and what to do. "unknown" is what could not be
looked at: much of what concerns other devices while no "anabranch up" runs.
It changes nothing and opens no connection. Exits 1 if anything is bad.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := a.gather(cmd.Context())
			if f.interrupted != nil {
				return f.interrupted
			}
			return a.diagnose(f, all)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "show what is well, too")
	return cmd
}

// diagnose runs the checks and prints what came of them.
func (a *app) diagnose(f *facts, all bool) error {
	tally := map[verdict]int{}
	for _, c := range checks {
		o := c.look(f)
		tally[o.verdict]++
		if err := a.checked(c.id, "", o, all); err != nil {
			return err
		}
	}
	for _, s := range f.spaces {
		for _, c := range spaceChecks {
			o := c.look(f, s)
			tally[o.verdict]++
			if err := a.checked(c.id, s.Name, o, all); err != nil {
				return err
			}
		}
	}
	if a.json {
		if err := a.emit(doctorJSON{"anabranch.doctor/1", tally[good], tally[bad], tally[unknown]}); err != nil {
			return err
		}
	} else {
		line := fmt.Sprintf("%s: %d ok, %d bad, %d unknown", count(tally[good]+tally[bad]+tally[unknown], "check", "checks"), tally[good], tally[bad], tally[unknown])
		if !all {
			line += "; --all shows every one"
		}
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	if tally[bad] > 0 {
		return &saidError{exitFailed}
	}
	return nil
}

// checked prints one check.
func (a *app) checked(id, space string, o outcome, all bool) error {
	o.evidence, o.fix = plainText(o.evidence), plainText(o.fix)
	if a.json {
		return a.emit(checkJSON{"anabranch.check/1", id, space, string(o.verdict), o.evidence, o.fix})
	}
	if o.verdict == good && !all {
		return nil
	}
	if space != "" {
		id += fmt.Sprintf(" (%s)", space)
	}
	if err := a.print("%-8s %s: %s", o.verdict, id, o.evidence); err != nil {
		return err
	}
	if o.fix != "" {
		return a.print("%s to do: %s", strings.Repeat(" ", 8), o.fix)
	}
	return nil
}
