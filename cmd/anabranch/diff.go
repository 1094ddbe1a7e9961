package main

import (
	"context"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// diffJSON is a record that one side alone holds.
type diffJSON struct {
	Schema string `json:"schema"` // anabranch.diff/1
	Side   string `json:"side"`   // that holds it: here or there
	ID     string `json:"id"`
	Kind   string `json:"kind,omitempty"` // this and what follows: of records held here
	Path   string `json:"path,omitempty"`
	Time   string `json:"time,omitempty"`
	Author string `json:"author,omitempty"`
	Size   *int   `json:"size,omitempty"`
}

// diffSummaryJSON ends diff --json.
type diffSummaryJSON struct {
	Schema   string `json:"schema"` // anabranch.diff-summary/1
	Type     string `json:"type"`   // summary
	Space    string `json:"space"`
	Peer     string `json:"peer"`
	Equal    bool   `json:"equal"` // the roots were compared and are equal
	Here     int    `json:"here"`  // records that the peer lacks
	There    int    `json:"there"` // records that are lacking here
	Rounds   int    `json:"rounds"`
	Wire     int64  `json:"wire_bytes"` // of frames both ways
	Records  uint64 `json:"records"`    // under root
	Theirs   uint64 `json:"peer_records"`
	Root     string `json:"root"`
	PeerRoot string `json:"peer_root"`
}

func newDiff(a *app) *cobra.Command {
	var peers []string
	cmd := &cobra.Command{
		Use:   "diff DEVICE",
		Short: "List what this device and another one lack of each other",
		Long: `Compares what is held here with what a member's device holds, and moves no
record. Each record that one side alone holds is a line: "here" with ID and
path, or "there" with its ID, which is all that is known of it before a sync.
Control records and sweeps are records too. Exits 0 if the roots are equal, 4
if they differ.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			anyone, named, err := splitPeers(peers)
			if err != nil {
				return err
			}
			o := anabranch.Options{Peers: anyone, Manual: true, DialOnly: true}
			return a.with(cmd.Context(), false, o, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				targets, err := a.reachable(cmd.Context(), r, s, args, anyone, named)
				if err != nil {
					return err
				}
				return a.diff(cmd.Context(), s, targets[0])
			})
		},
	}
	peerFlags(cmd, &peers)
	a.completes(cmd, a.deviceNames)
	return a.inSpace(cmd)
}

// diff prints what both sides hold alone.
func (a *app) diff(ctx context.Context, s *anabranch.Space, k record.Key) error {
	d, err := s.Diff(ctx, k)
	if err != nil {
		return err
	}
	for _, x := range d.Lacks {
		if err := a.here(x); err != nil {
			return err
		}
	}
	for _, id := range d.Has {
		if a.json {
			err = a.emit(diffJSON{Schema: "anabranch.diff/1", Side: "there", ID: id.String()})
		} else {
			err = a.print("there  %s", id)
		}
		if err != nil {
			return err
		}
	}
	if a.json {
		err = a.emit(diffSummaryJSON{
			Schema: "anabranch.diff-summary/1", Type: "summary", Space: s.ID().String(), Peer: k.String(), Equal: d.Equal(),
			Here: len(d.Lacks), There: len(d.Has), Rounds: d.Rounds, Wire: d.Bytes, Records: d.Here, Theirs: d.There,
			Root: anabranch.Root(d.Root).String(), PeerRoot: anabranch.Root(d.PeerRoot).String(),
		})
	} else if d.Equal() {
		err = a.print("nothing differs from %s: both hold %s, root %s", short(k), records(d.Here), anabranch.Root(d.Root))
	} else {
		a.say("%s lacks %s that %s here, and has %s that %s not: %s, %s of frames",
			short(k), records(len(d.Lacks)), are(len(d.Lacks)), records(len(d.Has)), are(len(d.Has)),
			count(d.Rounds, "round", "rounds"), bytesText(d.Bytes))
	}
	if err == nil && !d.Equal() {
		err = &saidError{exitDiffer}
	}
	return err
}

// here prints a record that only this side holds.
func (a *app) here(x anabranch.Stray) error {
	if !a.json {
		return a.print("here   %s  %s", x.ID, x.Path)
	}
	out := diffJSON{Schema: "anabranch.diff/1", Side: "here", ID: x.ID.String()}
	if x.Path != "" {
		out.Kind, out.Path, out.Time, out.Author, out.Size = x.Kind.String(), x.Path, stamp(microTime(x.Time)), x.Author.String(), &x.Size
	}
	return a.emit(out)
}

func are(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}
