package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// whyJSON explains one record.
type whyJSON struct {
	Schema  string       `json:"schema"` // anabranch.why/1
	Space   string       `json:"space"`
	Record  recordJSON   `json:"record"`
	Device  string       `json:"device,omitempty"` // of its author; absent: no grant of its author is known
	Label   string       `json:"label,omitempty"`
	Petname string       `json:"petname,omitempty"`
	Role    string       `json:"role,omitempty"`
	Place   string       `json:"place"`            // member, held or dead
	Reason  string       `json:"reason"`           // the rule's name
	By      []string     `json:"by,omitempty"`     // IDs of the grants, seals or sweeps that decide
	Words   string       `json:"words"`            // place and reason, for people
	Forked  bool         `json:"forked,omitempty"` // its number may stand twice
	State   string       `json:"state,omitempty"`  // of a document: current, conflicting or replaced
	Reads   string       `json:"reads,omitempty"`  // of a document: the ID of the version that is read
	Expired bool         `json:"expired,omitempty"`
	Caught  string       `json:"caught,omitempty"` // what its author's device signed falsely
	Holders []holderJSON `json:"holders"`          // members that agreed on a root with it in
	Others  []holderJSON `json:"others"`           // members of which that is not known
}

type holderJSON struct {
	Device   string `json:"device"`
	Label    string `json:"label,omitempty"`
	Petname  string `json:"petname,omitempty"`
	AgreedAt string `json:"agreed_at,omitempty"`
	AgreedOn string `json:"agreed_on,omitempty"` // a root
	Caught   string `json:"caught,omitempty"`    // what it signed falsely
}

func newWhy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why ID | PATH",
		Short: "Say who wrote a record, and why it is in the set or is not",
		Long: `Explains one record, or everything at a path: who wrote it, when, on which
lane; whether it is a member of the set, held back or dead, and by which rule;
what reading makes of it; and which devices are known to hold it, because they
agreed on a root with it in. What is held or in the trash is found too.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			what := args[0]
			if strings.HasPrefix(what, "/") {
				if _, err := checkedPath(what); err != nil {
					return err
				}
			} else if err := checkID(what); err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				found, err := s.Why(cmd.Context(), what)
				if err != nil {
					return err
				}
				for i, w := range found {
					if a.json {
						err = a.emit(viewWhy(s, w))
					} else {
						err = a.explained(w, i > 0)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

func viewWhy(s *anabranch.Space, w anabranch.Why) whyJSON {
	out := whyJSON{
		Schema: "anabranch.why/1", Space: s.ID().String(), Record: viewRecord(w.Record),
		Label: w.Label, Petname: w.Petname, Role: w.Role,
		Place: string(w.Place), Reason: string(w.Reason), Words: whyWords(w), Forked: w.Forked,
		State: string(w.State), Expired: w.Expired,
		Holders: viewHolders(w.Holders), Others: viewHolders(w.Others),
	}
	if w.Device != (record.Key{}) {
		out.Device = w.Device.String()
	}
	if w.Reads != (record.ID{}) {
		out.Reads = w.Reads.String()
	}
	out.Caught = caughtWords(w.Caught)
	for _, id := range w.By {
		out.By = append(out.By, id.String())
	}
	return out
}

func viewHolders(holders []anabranch.Holder) []holderJSON {
	out := []holderJSON{}
	for _, h := range holders {
		view := holderJSON{Device: h.Device.String(), Label: h.Label, Petname: h.Petname, AgreedAt: stamp(h.At)}
		view.Caught = caughtWords(h.Caught)
		if !h.At.IsZero() {
			view.AgreedOn = h.Root.String()
		}
		out = append(out, view)
	}
	return out
}

// caughtWords is what a device was caught at; empty if at nothing.
func caughtWords(c *anabranch.Caught) string {
	if c == nil {
		return ""
	}
	return c.Reason.String()
}

// explained prints why a record is where it is, for people.
func (a *app) explained(w anabranch.Why, more bool) error {
	if more {
		if err := a.print(""); err != nil {
			return err
		}
	}
	for _, line := range whyLines(w, time.Now()) {
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func whyLines(w anabranch.Why, now time.Time) []string {
	by := "an author of whom no grant is known here"
	switch {
	case w.Device != (record.Key{}):
		by = deviceName(w.Device, w.Petname, w.Label) + ", " + w.Role
	case w.Reason == anabranch.ByRootKey:
		by = "a root key of the space"
	}
	out := []string{fmt.Sprintf("%s  %s", w.Path, w.ID)}
	add := func(label, format string, args ...any) {
		out = append(out, fmt.Sprintf("  %-8s ", label)+fmt.Sprintf(format, args...))
	}
	what := w.Kind.String()
	if w.Data() {
		what += " " + preview(w.Record)
	}
	add("is", "%s, %s", what, bytesText(int64(len(w.Payload))))
	add("written", "%s (%s) by %s", clock(microTime(w.Time)), ago(microTime(w.Time), now), by)
	if w.Data() {
		add("number", "%d of lane %d of author %s", w.Seq, w.Lane, short(w.Author))
	} else {
		add("author", "%s", w.Author)
	}
	if w.Forked {
		add("forked", "another record may stand under the same number: its store was restored or cloned; both are kept")
	}
	add(string(w.Place), "%s", whyWords(w))
	switch {
	case w.Expired:
		add("reads", "as absent: it expired %s", clock(microTime(w.Expires)))
	case w.State == anabranch.Current && w.Deleted:
		add("reads", "as absent: this version says that the document is deleted")
	case w.State == anabranch.Current:
		add("reads", "as the document at its path")
	case w.State == anabranch.Conflicting:
		add("reads", "as a conflicting version: neither its writer nor the writer of %s had seen the other's; a new put settles it", short(w.Reads))
	case w.State == anabranch.Replaced:
		add("reads", "as an old version: %s replaced it, or what that replaced", short(w.Reads))
	}
	if w.Caught != nil {
		add("CAUGHT", "%s: %s; \"anabranch prove --against %s --out FILE\" writes the evidence", deviceName(w.Device, w.Petname, w.Label), w.Caught.Reason, short(w.Device))
	}
	if w.Place != anabranch.PlaceMember {
		return out
	}
	for _, h := range w.Holders {
		add("held by", "%s: %s both agreed on a root that includes it", deviceName(h.Device, h.Petname, h.Label), ago(h.At, now))
	}
	for _, h := range w.Others {
		last := "no comparison with it is known"
		if !h.At.IsZero() {
			last = "the last comparison, " + ago(h.At, now) + ", was before this record came here"
		}
		add("unknown", "%s: %s", deviceName(h.Device, h.Petname, h.Label), last)
	}
	if len(w.Holders)+len(w.Others) == 0 {
		add("held by", "this device alone: there is no other member")
	}
	return out
}

// whyWords is the rule that decided, in words.
func whyWords(w anabranch.Why) string {
	by := make([]string, len(w.By))
	for i, id := range w.By {
		by[i] = short(id)
	}
	from := strings.Join(by, ", ")
	switch w.Reason {
	case anabranch.ByRootKey:
		return "a root key of the space signed it"
	case anabranch.ByGrant:
		return "the grant " + from + " of its author covers it, and is not withdrawn"
	case anabranch.BySealList:
		return "its author was revoked since, and the revocation " + from + " lists it as one that stays"
	case anabranch.NoGrant:
		return "no grant of its author is known here; it enters when one arrives"
	case anabranch.NotCovered:
		return "its author may write below " + strings.Join(w.Under, ", ") + " only"
	case anabranch.NotEnough:
		return "its author was never granted the role that this takes"
	case anabranch.Revoked:
		return "its author was revoked by " + from + ", which does not list it"
	case anabranch.UnknownIssuer:
		return "the grant it was issued under is not known here, or does not stand"
	case anabranch.Swept:
		return "its author removed it, by the sweep " + from + "; it stays in the trash for a while"
	case anabranch.Redundant:
		return "the sweep " + from + " does what this one does"
	}
	return "the rules say so by none of the usual ways; please report this"
}
