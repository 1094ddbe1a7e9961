package main

import (
	"context"
	"fmt"
	"strings"

	"anabranch"
	"anabranch/record"
)

// planJSON is what one session of sync --plan --json would be.
type planJSON struct {
	Schema   string         `json:"schema"` // anabranch.plan/1
	Space    string         `json:"space"`
	Peer     string         `json:"peer"`
	Error    string         `json:"error,omitempty"`
	Exit     int            `json:"exit"`
	Equal    bool           `json:"equal"`            // the roots were compared and are equal
	Method   string         `json:"method,omitempty"` // that the peer would choose
	Differ   int            `json:"differ"`           // records that one side alone holds, by estimate
	Overhead uint64         `json:"overhead_bytes"`   // of frames beside records, by estimate
	Weighed  []expectedJSON `json:"weighed"`          // what the methods would take that it had the choice of
	Control  bool           `json:"control_differs"`  // control records are compared first, and may change the estimate
	Sweeps   bool           `json:"sweeps_differ"`
	Records  uint64         `json:"records"`      // under root
	Theirs   uint64         `json:"peer_records"` // under peer_root
	Root     string         `json:"root,omitempty"`
	PeerRoot string         `json:"peer_root,omitempty"`
}

type expectedJSON struct {
	Method   string `json:"method"`
	Overhead uint64 `json:"overhead_bytes"`
}

// planAll asks each device what a session would do, several at a time, and
// prints the answers in the order of the devices.
func (a *app) planAll(ctx context.Context, s *anabranch.Space, targets []record.Key) error {
	outcomes, wait := severally(targets, func(k record.Key) (anabranch.Plan, error) { return s.Plan(ctx, k) })
	defer wait()
	var errs []error
	for i, k := range targets {
		o := <-outcomes[i]
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := a.planned(s, k, o.value, o.err); err != nil {
			return err
		}
		errs = append(errs, o.err)
	}
	return severalError(errs)
}

// planned prints what one session would be.
func (a *app) planned(s *anabranch.Space, k record.Key, p anabranch.Plan, err error) error {
	if err != nil {
		a.say("error: no plan with %s: %s", short(k), lookedAt(k, err))
		if h := hint(err); h != "" {
			a.say("hint: %s", h)
		}
	}
	switch {
	case a.json:
		return a.emit(viewPlan(s, k, p, err))
	case err != nil:
		return nil
	case p.Equal():
		return a.print("nothing to do with %s: both hold %s, root %s", short(k), records(p.Here), anabranch.Root(p.Root))
	}
	if err := a.print("with %s: about %s, found by %s in about %s beside the records", short(k), count(p.Differ, "record differs", "records differ"), p.Method, bytesText(int64(p.Bytes))); err != nil {
		return err
	}
	if err := a.print("  here %s, there %s", records(p.Here), records(p.There)); err != nil {
		return err
	}
	if rest := weighed(p); rest != "" {
		if err := a.print("  instead of %s", rest); err != nil {
			return err
		}
	}
	switch {
	case p.Control:
		return a.print("  control records differ and are compared first, which may change the rest")
	case p.Sweeps:
		return a.print("  what was removed differs and is compared first, which may change the rest")
	}
	return nil
}

// weighed lists the methods that would have taken more.
func weighed(p anabranch.Plan) string {
	var out []string
	for _, e := range p.Options {
		if e.Method != p.Method {
			out = append(out, fmt.Sprintf("%s in %s", e.Method, bytesText(int64(e.Bytes))))
		}
	}
	return strings.Join(out, ", ")
}

func viewPlan(s *anabranch.Space, k record.Key, p anabranch.Plan, err error) planJSON {
	out := planJSON{Schema: "anabranch.plan/1", Space: s.ID().String(), Peer: k.String(), Weighed: []expectedJSON{}}
	if err != nil {
		out.Error, out.Exit = lookedAt(k, err), exitCode(err)
		return out
	}
	out.Equal, out.Method, out.Differ, out.Overhead = p.Equal(), string(p.Method), p.Differ, p.Bytes
	for _, e := range p.Options {
		out.Weighed = append(out.Weighed, expectedJSON{string(e.Method), e.Bytes})
	}
	out.Control, out.Sweeps, out.Records, out.Theirs = p.Control, p.Sweeps, p.Here, p.There
	out.Root, out.PeerRoot = anabranch.Root(p.Root).String(), anabranch.Root(p.PeerRoot).String()
	return out
}

// lookedAt is an error of a look at a device that is named already.
func lookedAt(k record.Key, err error) string {
	return strings.TrimPrefix(plain(err), "look at "+short(k)+": ")
}
