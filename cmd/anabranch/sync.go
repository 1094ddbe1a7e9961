package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// sessionsAtOnce bounds how many members sync speaks to at a time.
const sessionsAtOnce = 8

// syncJSON is one session of sync --json.
type syncJSON struct {
	Schema     string   `json:"schema"` // anabranch.sync/1
	Space      string   `json:"space"`
	Peer       string   `json:"peer"`
	InSync     bool     `json:"in_sync"` // the roots were compared and equal
	Error      string   `json:"error,omitempty"`
	Exit       int      `json:"exit"` // what this session alone would end with
	Method     string   `json:"method,omitempty"`
	Rounds     int      `json:"rounds"`
	Received   flowJSON `json:"received"`
	Sent       flowJSON `json:"sent"`
	Held       int      `json:"held"`
	Root       string   `json:"root,omitempty"`
	Records    uint64   `json:"records"` // under the root
	DurationMs int64    `json:"duration_ms"`
}

// flowJSON is what went one way, in bytes of frames.
type flowJSON struct {
	Records  int   `json:"records"`
	Payload  int64 `json:"payload_bytes"`  // records as they crossed
	Overhead int64 `json:"overhead_bytes"` // everything else
}

// syncSummaryJSON ends sync --json: all sessions together.
type syncSummaryJSON struct {
	Schema   string  `json:"schema"`         // anabranch.sync-summary/1
	Type     string  `json:"type"`           // summary
	Method   string  `json:"method"`         // of the sessions; mixed if they differ
	Rounds   int     `json:"rounds"`         // of all
	Overhead int64   `json:"overhead_bytes"` // of frames both ways, less the canonical length of the records that crossed
	Payload  int64   `json:"payload_bytes"`  // that length
	Wire     int64   `json:"wire_bytes"`     // of frames both ways
	Sent     int     `json:"sent"`           // records
	Received int     `json:"received"`
	Root     string  `json:"root"`      // held here at the end
	PeerRoot *string `json:"peer_root"` // held by every peer, at the end of its session; null if not known, or not one
	InSync   bool    `json:"in_sync"`   // every peer was found to hold root
}

func (t *syncSummaryJSON) add(r anabranch.Report) {
	switch method := string(r.Method); {
	case t.Method == "" || method == "":
		t.Method = cmp.Or(t.Method, method)
	case t.Method != method:
		t.Method = "mixed"
	}
	t.Rounds += r.Rounds
	t.Wire += r.BytesIn + r.BytesOut
	t.Payload += r.RecordBytesIn + r.RecordBytesOut
	t.Overhead = t.Wire - t.Payload
	t.Sent += r.RecordsOut
	t.Received += r.RecordsIn
}

// theirs is the root that a peer held at the end of a session; empty if that
// is not known.
func theirs(r anabranch.Report, err error) string {
	var differ *anabranch.RootsDifferError
	switch {
	case err == nil:
		return anabranch.Root(r.Root).String()
	case errors.As(err, &differ):
		return anabranch.Root(differ.Theirs).String()
	}
	return ""
}

// summarise prints the last line of sync --json.
func (a *app) summarise(ctx context.Context, s *anabranch.Space, t syncSummaryJSON, roots []string) error {
	root, _, err := s.Root(ctx)
	if err != nil {
		return err
	}
	t.Schema, t.Type, t.Root = "anabranch.sync-summary/1", "summary", root.String()
	if slices.Sort(roots); roots[0] == roots[len(roots)-1] {
		t.PeerRoot = orNull(roots[0])
	}
	t.InSync = t.PeerRoot != nil && *t.PeerRoot == t.Root
	return a.emit(t)
}

func newSync(a *app) *cobra.Command {
	var peers, listen []string
	var plan bool
	cmd := &cobra.Command{
		Use:   "sync [DEVICE ...]",
		Short: "Run one session with members of a space, and compare roots",
		Long: `Runs one session with each named device, or with every member, and says what
moved. "In sync" is said only of a device whose root was compared with the
root here and is equal. Exits 0 if that is so for all, 3 for some of them.

With --plan nothing is moved: it says what each session would do, as the other
device would choose, and what it expects that to take. Exits 0 if all of them
answered, 3 if some did.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			anyone, named, err := splitPeers(peers)
			if err != nil {
				return err
			}
			o := anabranch.Options{Listen: listen, Peers: anyone, Manual: true, DialOnly: plan}
			return a.with(cmd.Context(), false, o, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				targets, err := a.reachable(cmd.Context(), r, s, args, anyone, named)
				switch {
				case err != nil:
					return err
				case plan:
					return a.planAll(cmd.Context(), s, targets)
				}
				return a.syncAll(cmd.Context(), s, targets)
			})
		},
	}
	peerFlags(cmd, &peers)
	listenFlag(cmd, &listen)
	cmd.Flags().BoolVar(&plan, "plan", false, "say what would be done, and move nothing")
	a.completes(cmd, a.deviceNames)
	return a.inSpace(cmd)
}

// reachable is targets, and lets a running up look for them at the addresses
// that belong to anyone: its options were set when it began.
func (a *app) reachable(ctx context.Context, r *anabranch.Replica, s *anabranch.Space, args, anyone []string, named []namedPeer) ([]record.Key, error) {
	targets, err := a.targets(ctx, r, s, args, named)
	if err != nil || a.shared == nil {
		return targets, err
	}
	for _, k := range targets {
		if err := r.AddPeer(ctx, k, anyone...); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// targets are the devices to speak to: those named by arguments or by
// --peer DEVICE@, or else every other member. Addresses given are kept.
func (a *app) targets(ctx context.Context, r *anabranch.Replica, s *anabranch.Space, args []string, named []namedPeer) ([]record.Key, error) {
	members, err := s.Members(ctx)
	if err != nil {
		return nil, err
	}
	var out []record.Key
	add := func(k record.Key) {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	for _, prefix := range args {
		k, err := findDevice(members, prefix)
		if err != nil {
			return nil, err
		}
		add(k)
	}
	for _, p := range named {
		k, err := findDevice(members, p.device)
		if err != nil {
			return nil, err
		}
		if err := r.AddPeer(ctx, k, p.addr); err != nil {
			return nil, err
		}
		add(k)
	}
	if len(out) > 0 {
		return out, nil
	}
	for _, m := range members {
		if !m.Self && !m.Revoked {
			add(m.Device)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no other device is a member of %q", anabranch.ErrNotFound, s.Name())
	}
	return out, nil
}

// spoken is what came of speaking to one device.
type spoken[T any] struct {
	value T
	err   error
}

// severally speaks to each device, to sessionsAtOnce at a time, and tells what
// comes of each on a channel of its own. wait returns when all have ended.
func severally[T any](targets []record.Key, speak func(record.Key) (T, error)) (outcomes []chan spoken[T], wait func()) {
	outcomes = make([]chan spoken[T], len(targets))
	tokens := make(chan struct{}, sessionsAtOnce)
	var running sync.WaitGroup
	for i, k := range targets {
		outcomes[i] = make(chan spoken[T], 1)
		running.Go(func() {
			tokens <- struct{}{}
			defer func() { <-tokens }()
			value, err := speak(k)
			outcomes[i] <- spoken[T]{value, err}
		})
	}
	return outcomes, running.Wait
}

// severalError is how a command ends that has said what came of each device:
// as the first that failed if all did, in part if some did.
func severalError(errs []error) error {
	failed := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) < len(errs):
		return &saidError{exitPartial}
	}
	return &saidError{exitCode(failed[0])}
}

// syncAll runs the sessions, several at a time, and prints each in the order
// of the devices.
func (a *app) syncAll(ctx context.Context, s *anabranch.Space, targets []record.Key) error {
	outcomes, wait := severally(targets, func(k record.Key) (anabranch.Report, error) { return s.Sync(ctx, k) })
	defer wait()
	var errs []error
	var total syncSummaryJSON
	var roots []string // of the peers
	for i, k := range targets {
		o := underway(a, s, targets, outcomes[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.synced(s, k, o.value, o.err); err != nil {
			return err
		}
		total.add(o.value)
		roots = append(roots, theirs(o.value, o.err))
		errs = append(errs, o.err)
	}
	if a.json {
		if err := a.summarise(ctx, s, total, roots); err != nil {
			return err
		}
	}
	return severalError(errs)
}

// synced prints what came of one session.
func (a *app) synced(s *anabranch.Space, k record.Key, r anabranch.Report, err error) error {
	if a.json {
		out := syncJSON{
			Schema:     "anabranch.sync/1",
			Space:      s.ID().String(),
			Peer:       k.String(),
			InSync:     err == nil,
			Method:     string(r.Method),
			Rounds:     r.Rounds,
			Received:   flowJSON{r.RecordsIn, r.DataBytesIn, r.OverheadIn()},
			Sent:       flowJSON{r.RecordsOut, r.DataBytesOut, r.OverheadOut()},
			Held:       r.Held,
			Records:    r.Count,
			DurationMs: r.Duration.Milliseconds(),
		}
		if r.Root != [32]byte{} {
			out.Root = anabranch.Root(r.Root).String()
		}
		if err != nil {
			out.Error, out.Exit = whyNot(k, err), exitCode(err)
		}
		if err := a.emit(out); err != nil {
			return err
		}
	} else if err == nil {
		if err := a.print("in sync with %s: both hold %s, root %s", short(k), records(r.Count), anabranch.Root(r.Root)); err != nil {
			return err
		}
		if err := a.print("  %s", moved(r)); err != nil {
			return err
		}
	}
	if err != nil {
		a.say("error: not in sync with %s: %s", short(k), whyNot(k, err))
		if r.RecordsIn+r.RecordsOut > 0 {
			a.say("note: before that, %s", moved(r))
		}
		if h := hint(err); h != "" {
			a.say("hint: %s", h)
		}
	}
	return nil
}

// whyNot is an error of a session with a device that is named already.
func whyNot(k record.Key, err error) string {
	return strings.TrimPrefix(plain(err), "sync with "+short(k)+": ")
}

// moved says what a session did.
func moved(r anabranch.Report) string {
	method := map[string]string{
		"equal":  "the roots were equal from the start",
		"ranges": "differences found by comparing ranges",
		"bulk":   "everything sent, since one side had nothing",
		"cursor": "what was new since the last session was sent from the log",
		"prefix": "differences found in the first cells of a sketch",
		"sketch": "differences found by a sketch",
		"thin":   "differences found by a thin sketch, since one side held nearly all of the other",
		"list":   "differences found by a list of what is new",
	}[string(r.Method)]
	switch {
	case method == "":
		method = string(r.Method)
	case r.Method == "equal" && r.RecordsIn+r.RecordsOut > 0:
		method = "only records of control and sweeps differed"
	case r.Method == "equal" && r.ControlRounds > 0:
		method = "the roots were equal once records of control had been compared"
	}
	out := fmt.Sprintf("received %s (%s and %s overhead), sent %s (%s and %s overhead); %s; %s, %s",
		records(r.RecordsIn), bytesText(r.DataBytesIn), bytesText(r.OverheadIn()),
		records(r.RecordsOut), bytesText(r.DataBytesOut), bytesText(r.OverheadOut()),
		method, count(r.Rounds, "round", "rounds"), spanText(r.Duration.Round(time.Millisecond)))
	return out + heldBack(r)
}

// movedBriefly says it in a few words, for a line among many.
func movedBriefly(r anabranch.Report) string {
	if r.RecordsIn+r.RecordsOut == 0 {
		return "nothing had to move" + heldBack(r)
	}
	return fmt.Sprintf("received %d, sent %d, %s in all", r.RecordsIn, r.RecordsOut, bytesText(r.BytesIn+r.BytesOut)) + heldBack(r)
}

func heldBack(r anabranch.Report) string {
	if r.Held == 0 {
		return ""
	}
	return fmt.Sprintf("; %s held back, their authority is unknown here", records(r.Held))
}
