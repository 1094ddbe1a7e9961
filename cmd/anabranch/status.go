package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/record"
)

// statusJSON is one space of status --json.
type statusJSON struct {
	Schema    string       `json:"schema"` // anabranch.status/1
	Name      string       `json:"name"`
	ID        string       `json:"id"`
	Device    string       `json:"device"`
	Author    string       `json:"author"`
	Role      string       `json:"role,omitempty"` // of this device; absent: it is no member now
	Version   uint64       `json:"version"`        // local commit counter
	Root      string       `json:"root"`
	Records   uint64       `json:"records"` // under the root
	Control   uint64       `json:"control"`
	Sweeps    uint64       `json:"sweeps"`
	Members   int          `json:"members"` // devices, this one included
	Held      uint64       `json:"held"`
	HeldBytes int64        `json:"held_bytes"`
	Trash     uint64       `json:"trash"`
	ToSweep   int          `json:"to_sweep"`
	Forks     int          `json:"forks"`
	Future    []futureJSON `json:"future,omitempty"`
	Peers     []peerJSON   `json:"peers"`
	Disk      string       `json:"disk,omitempty"` // why nothing can be written now: it is full; absent: it is not
	Blobs     blobsJSON    `json:"blobs"`
	Verdict   string       `json:"verdict"`
}

type futureJSON struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Time   string `json:"time"`
	Author string `json:"author"`
}

// peerJSON is another member as seen from here. What is not known is null.
type peerJSON struct {
	Device    string  `json:"device"`
	Name      string  `json:"name"` // this replica's own name for it, or else its label; empty: none
	Label     string  `json:"label,omitempty"`
	Petname   string  `json:"petname,omitempty"`
	Role      string  `json:"role"`
	State     string  `json:"state"`     // in_sync, syncing, behind, ahead, diverged, blocked, incompatible, offline, unknown
	Root      *string `json:"root"`      // that both held when they last agreed
	AgreedAt  *string `json:"agreed_at"` // when that was
	Missing   *uint64 `json:"missing"`   // records that it has and this device lacks
	Surplus   *uint64 `json:"surplus"`   // the reverse
	Path      *string `json:"path"`      // address of the connection
	Reason    *string `json:"reason"`    // of a state that is not as it should be
	LastError string  `json:"last_error,omitempty"`
	FailedAt  string  `json:"failed_at,omitempty"`

	Traffic *trafficJSON `json:"traffic,omitempty"` // since this replica was opened; absent: there was none

	Attested *attestedJSON `json:"attested"` // the newest that it signed about what it held; null: nothing is known
	Caught   *string       `json:"caught"`   // what it signed falsely; "prove --against" has the evidence
}

// trafficJSON is what went to and fro, in all spaces.
type trafficJSON struct {
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
	Sessions   uint64 `json:"sessions"`   // that ended well
	RumorsIn   uint64 `json:"rumors_in"`  // fresh records that came, not in a session
	RumorsOut  uint64 `json:"rumors_out"` // and went
	Duplicates uint64 `json:"duplicates"` // of those that came: were here already
	Dropped    uint64 `json:"dropped"`    // frames that found the peer's queue full
}

// attestedJSON is a device's signed word, from itself or passed on.
type attestedJSON struct {
	At     string `json:"at"`
	Root   string `json:"root"`
	Count  uint64 `json:"count"`
	Equals bool   `json:"equals"` // the root is that of this replica now
	Then   bool   `json:"then"`   // it was, when this came
}

func newStatus(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what is held here and how it stands to every other member",
		Long: `Says for every space, or for the one that --space names, what is held here
and how it stands to every other member, as far as is known without asking:
it opens no connection. What has not been compared is not called in sync.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				spaces, err := a.chosen(r)
				if err != nil {
					return err
				}
				for i, s := range spaces {
					if i > 0 && !a.json {
						if err := a.print(""); err != nil {
							return err
						}
					}
					if err := a.status(cmd.Context(), r, s); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	return a.inSpace(cmd)
}

// standing is a space's status and what this device is in it.
type standing struct {
	anabranch.SpaceStatus
	device  record.Key
	role    string // empty: no member
	members int
	full    error // nothing can be written now
	now     time.Time
	blobs   anabranch.BlobStatus
}

func (a *app) status(ctx context.Context, r *anabranch.Replica, s *anabranch.Space) error {
	st, err := s.Status(ctx)
	if err != nil {
		return err
	}
	members, err := s.Members(ctx)
	if err != nil {
		return err
	}
	at := standing{SpaceStatus: st, device: r.Device(), members: len(st.Peers), full: r.Full(), now: time.Now()}
	best := record.Role(0)
	for _, m := range members {
		if m.Self && !m.Revoked {
			best = max(best, m.Role)
		}
	}
	if best > 0 {
		at.role = best.String()
		at.members++
	}
	if at.blobs, err = s.BlobStatus(ctx); err != nil {
		return err
	}
	if a.json {
		return a.emit(at.json())
	}
	for _, line := range at.lines() {
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func (st standing) json() statusJSON {
	out := statusJSON{
		Schema:    "anabranch.status/1",
		Name:      st.Name,
		ID:        st.ID.String(),
		Device:    st.device.String(),
		Author:    st.Author.String(),
		Role:      st.role,
		Version:   st.Version,
		Root:      st.Root.String(),
		Records:   st.Count,
		Control:   st.Control,
		Sweeps:    st.Sweeps,
		Members:   st.members,
		Held:      st.Held,
		HeldBytes: st.HeldBytes,
		Trash:     st.Trash,
		ToSweep:   st.ToSweep,
		Forks:     len(st.Forks),
		Peers:     []peerJSON{},
		Blobs:     viewBlobs(st.blobs),
		Verdict:   st.verdict(),
	}
	if st.full != nil {
		out.Disk = plain(st.full)
	}
	for _, v := range st.Future {
		out.Future = append(out.Future, futureJSON{v.ID.String(), v.Path, stamp(microTime(v.Time)), v.Author.String()})
	}
	for _, p := range st.Peers {
		view := peerJSON{
			Device:    p.Device.String(),
			Name:      cmp.Or(p.Petname, p.Label),
			Label:     p.Label,
			Petname:   p.Petname,
			Role:      p.Role.String(),
			State:     string(p.State),
			AgreedAt:  orNull(stamp(p.AgreedAt)),
			Path:      orNull(p.Addr),
			Missing:   p.Missing,
			Surplus:   p.Surplus,
			Reason:    orNull(plainText(p.Reason)),
			LastError: plainText(p.LastError),
			FailedAt:  stamp(p.FailedAt),
		}
		if !p.AgreedAt.IsZero() {
			view.Root = orNull(p.AgreedOn.String())
		}
		if at := p.Attested; at != nil {
			view.Attested = &attestedJSON{stamp(at.When()), anabranch.Root(at.Root()).String(), at.Count, at.Equals, at.Equalled}
		}
		if p.Traffic.Any() {
			view.Traffic = &trafficJSON{
				BytesIn: p.Traffic.BytesIn, BytesOut: p.Traffic.BytesOut, Sessions: p.Traffic.Sessions, RumorsIn: p.Traffic.RumorsIn,
				RumorsOut: p.Traffic.RumorsOut, Duplicates: p.Traffic.Duplicates, Dropped: p.Traffic.Dropped,
			}
		}
		if p.Caught != nil {
			view.Caught = orNull(p.Caught.Reason.String())
		}
		out.Peers = append(out.Peers, view)
	}
	return out
}

// orNull is a text that JSON shows as null when there is none.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (st standing) lines() []string {
	as := "no member now"
	if st.role != "" {
		as = st.role
	}
	out := []string{
		fmt.Sprintf("%s  %s", st.Name, st.ID),
		fmt.Sprintf("  root     %s", st.Root),
		fmt.Sprintf("  holds    %s: %d of data, %d of control, %s; version %d",
			records(st.Count), st.Count-st.Control-st.Sweeps, st.Control, count(st.Sweeps, "sweep", "sweeps"), st.Version),
		fmt.Sprintf("  members  %s; this one is %s, %s", devices(st.members), short(st.device), as),
	}
	add := func(label, format string, args ...any) {
		out = append(out, fmt.Sprintf("  %-8s ", label)+fmt.Sprintf(format, args...))
	}
	if st.Held > 0 {
		add("held", "%s (%s) whose authority is unknown here, in no root", records(st.Held), bytesText(st.HeldBytes))
	}
	if st.Trash > 0 {
		add("trash", "%s removed and kept for a while, in no root", records(st.Trash))
	}
	if st.ToSweep > 0 {
		add("to sweep", "%s of this device, superfluous now", records(st.ToSweep))
	}
	if n := len(st.Forks); n > 0 {
		add("forks", "%s stands twice: a store was restored from a backup or cloned; both records are kept", count(n, "number", "numbers"))
	}
	for _, v := range st.Future {
		add("future", "%s by %s is dated %s, %s", v.Path, short(v.Author), clock(microTime(v.Time)), ago(microTime(v.Time), st.now))
	}
	if st.full != nil {
		add("disk", "%s", plain(st.full))
	}
	for _, p := range st.Peers {
		name := short(p.Device)
		if p.Petname+p.Label != "" {
			name += " " + called(p.Petname, p.Label)
		}
		add("peer", "%s, %s: %s", name, p.Role, st.peer(p))
		if at := p.Attested; at != nil && (p.AgreedOn != st.Root || !at.Equals) {
			held := "root " + short(anabranch.Root(at.Root()))
			if at.Equals {
				held = "the root that is held here now"
			}
			add("", "it signed that it held %s %s", held, ago(at.When(), st.now))
		}
		if t := p.Traffic; t.Any() {
			add("", "%s came and %s went: %s; %s here, %d of them needless, and %d there",
				bytesText(int64(t.BytesIn)), bytesText(int64(t.BytesOut)), count(t.Sessions, "session", "sessions"),
				count(t.RumorsIn, "rumor", "rumors"), t.Duplicates, t.RumorsOut)
		}
		if p.Caught != nil {
			add("", "CAUGHT: %s; \"anabranch prove --against %s --out FILE\" writes the evidence", p.Caught.Reason, short(p.Device))
		}
	}
	return append(append(out, blobLines(st.blobs)...), "  "+st.verdict())
}

// stateWords spell the states of a peer; JSON has the states themselves.
var stateWords = map[anabranch.State]string{
	anabranch.InSync:       "in sync",
	anabranch.Syncing:      "syncing",
	anabranch.Behind:       "this device is behind",
	anabranch.Ahead:        "this device is ahead",
	anabranch.Diverged:     "both have what the other lacks",
	anabranch.Blocked:      "blocked",
	anabranch.Incompatible: "incompatible",
	anabranch.Offline:      "offline",
	anabranch.Unknown:      "not known to be in sync",
}

// peer says how another device stands to this one.
func (st standing) peer(p anabranch.PeerStatus) string {
	out := stateWords[p.State]
	switch {
	case p.State == anabranch.Unknown && p.AgreedAt.IsZero() && p.LastError == "":
		out = "not compared yet"
	case p.State == anabranch.Diverged && p.Missing == nil:
		out = "roots differ"
	case out == "":
		out = string(p.State)
	}
	if p.Reason != "" {
		out += " (" + plainText(p.Reason) + ")"
	}
	out += differing(p)
	switch {
	case p.AgreedAt.IsZero() && p.State == anabranch.Syncing:
		return out
	case p.AgreedAt.IsZero():
		return out + "; no comparison with it is known"
	case p.AgreedOn == st.Root:
		return out + "; held the same root " + ago(p.AgreedAt, st.now)
	}
	return out + fmt.Sprintf("; held the same root %s, %s, and something has changed here since", ago(p.AgreedAt, st.now), short(p.AgreedOn))
}

// differing is what is known to be missing on either side.
func differing(p anabranch.PeerStatus) string {
	switch {
	case p.State == anabranch.InSync:
		return ""
	case p.Missing != nil && p.Surplus != nil:
		return fmt.Sprintf("; %s missing here, %d there", records(*p.Missing), *p.Surplus)
	case p.Surplus != nil && *p.Surplus > 0:
		return fmt.Sprintf("; %s here that it is not known to hold", records(*p.Surplus))
	}
	return ""
}

// verdict is the whole in one line. It never rounds up.
func (st standing) verdict() string {
	var same, agreed, syncing int
	var blocked []string
	for _, p := range st.Peers {
		switch {
		case p.State == anabranch.InSync:
			same++
		case p.State == anabranch.Syncing:
			syncing++
		case p.State == anabranch.Blocked || p.State == anabranch.Incompatible:
			blocked = append(blocked, short(p.Device))
		case !p.AgreedAt.IsZero() && p.AgreedOn == st.Root:
			agreed++
		}
	}
	n := len(st.Peers)
	switch {
	case st.role == "":
		return "This device is no member now: what it writes reaches nobody."
	case n == 0:
		return `This is the only copy: no other device is a member yet. "anabranch invite" makes a ticket.`
	case len(blocked) > 0:
		return "Something is wrong with " + strings.Join(blocked, ", ") + ": see above."
	case syncing > 0:
		return fmt.Sprintf("Syncing with %s; in sync with %d of %s.", devices(syncing), same, count(n, "other device", "other devices"))
	case same == n:
		return fmt.Sprintf("In sync with %s.", all(n))
	case agreed+same == n:
		return fmt.Sprintf("Nothing has changed here since %s held the same; what has changed there is not known.", all(n))
	}
	return fmt.Sprintf("Not known to be in sync: %d of %s held what is held here when last compared.", agreed+same, count(n, "other device", "other devices"))
}

func all(n int) string {
	if n == 1 {
		return "the other device"
	}
	return fmt.Sprintf("all %d other devices", n)
}
