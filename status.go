package anabranch

import (
	"context"
	"slices"
	"time"

	"anabranch/internal/store"
	"anabranch/record"
)

// State is how this replica stands to a peer in one space. It never rounds
// up: what has not been compared is not in sync.
type State string

const (
	InSync       State = "in_sync"      // the last session ended well, with the root that is held now
	Syncing      State = "syncing"      // a session is going on
	Behind       State = "behind"       // the peer was found to have what has not arrived
	Ahead        State = "ahead"        // this replica has what the peer is not known to hold
	Diverged     State = "diverged"     // both; or a session ended with different roots, as Reason says then
	Blocked      State = "blocked"      // no session can succeed; Reason says why
	Incompatible State = "incompatible" // it speaks another version
	Offline      State = "offline"      // not connected
	Unknown      State = "unknown"      // never compared, or the last session failed: Reason says why
)

// PeerStatus is a member's device as seen from here.
type PeerStatus struct {
	Device  record.Key
	Label   string // what the device is called in the space: show it quoted
	Petname string // this replica's own name for it
	Role    record.Role
	State   State
	Reason  string // of a state that is not as it should be
	// Missing counts the records that the peer was found to have and that have
	// not arrived; Surplus those held here that it is not known to hold, with
	// what entered since it was last compared. nil: not known.
	Missing, Surplus *uint64
	Addr             string // of the connection; empty if there is none
	Transport        string // of the connection: "quic", "tcp"
	RTT              time.Duration
	Inbound          bool // the peer dialled us
	AgreedAt         time.Time
	AgreedOn         Root
	Last             Report // the last session that ended well
	LastError        string
	FailedAt         time.Time
	Traffic          Traffic
	// Attested is the newest thing the device has signed about what it held,
	// also while it is off; nil if none is known.
	Attested *Attested
	// Caught is evidence that the device signed what cannot be true; or nil.
	Caught *Caught
}

// SpaceStatus is what this replica holds of a space and how it stands to
// every other member.
type SpaceStatus struct {
	Name    string
	ID      record.SpaceID
	Author  record.Key
	Version uint64
	Root    Root
	Count   uint64 // members: live records, standing control, sweeps
	Control uint64
	Sweeps  uint64

	Held          uint64 // records whose authority is unknown here, in no root
	HeldBytes     int64
	Trash         uint64 // killed records still kept, in no root
	Forks         []Fork
	Future        []*Record // dated more than a day ahead of this clock, at most ten, newest first
	ToSweep       int       // superfluous records of this device that wait to be swept
	Peers         []PeerStatus
	MayWrite      bool
	MayAdminister bool
}

// Fork is a number of a lane under which two different records stand: a
// store was restored or cloned unnoticed. Both are members.
type Fork = store.Fork

// Holding is what one part of the store takes on disk.
type Holding = store.Holding

// Holdings is what the parts of this replica's store take on disk, of all
// spaces together, in bytes: records, the orders in which they are found, the
// trash, and what is kept so that opening is fast. Parts that take nothing are
// left out, and so are the files of large content. It reads no records: some
// milliseconds.
func (r *Replica) Holdings() ([]Holding, error) {
	parts, err := r.store.Holdings()
	return parts, named(err)
}

// Status says what is held here. It opens no connection.
func (s *Space) Status(ctx context.Context) (SpaceStatus, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return SpaceStatus{}, err
	}
	defer view.Close()
	root, err := view.Root()
	if err != nil {
		return SpaceStatus{}, err
	}
	state := view.State()
	held := view.HeldStats()
	out := SpaceStatus{
		Name:      s.Name(),
		ID:        s.ID(),
		Author:    s.Author(),
		Version:   view.Version(),
		Root:      Root(root),
		Count:     view.Count(),
		Control:   uint64(len(state.Control())),
		Sweeps:    uint64(len(state.Sweeps())),
		Held:      uint64(held.Held),
		HeldBytes: held.HeldBytes,
		Trash:     uint64(held.Trash),
		ToSweep:   s.rows.PendingKills(),
	}
	if out.Forks, err = view.Forks(); err != nil {
		return SpaceStatus{}, err
	}
	for _, g := range state.GrantsOf(s.Author()) {
		if !g.Sealed {
			out.MayWrite = out.MayWrite || g.Role >= record.Writer
			out.MayAdminister = out.MayAdminister || g.Role == record.Admin
		}
	}
	limit := s.replica.now() + uint64(24*time.Hour/time.Microsecond)
	for v, err := range view.List(store.Query{Order: store.Newest, From: limit, Limit: 10}) {
		if err != nil {
			return SpaceStatus{}, err
		}
		out.Future = append(out.Future, v)
	}
	readers := map[record.Key]record.Role{}
	for _, g := range state.Members() {
		if !g.Sealed && g.Device != s.replica.Device() {
			readers[g.Device] = max(readers[g.Device], g.Role)
		}
	}
	called := labels(state)
	attested, caught, err := s.witnessed(view, Root(root))
	if err != nil {
		return SpaceStatus{}, err
	}
	for device, role := range readers {
		p, err := s.peerStatus(view, device, role, Root(root))
		if err != nil {
			return SpaceStatus{}, err
		}
		p.Label, p.Petname = called[device], s.replica.Petname(device)
		p.Attested, p.Caught = attested[device], caught[device]
		out.Peers = append(out.Peers, p)
	}
	slices.SortFunc(out.Peers, func(a, b PeerStatus) int { return a.Device.Compare(b.Device) })
	return out, nil
}

// VerifyReport is what Verify found: nothing wrong if Findings is empty.
type VerifyReport = store.VerifyReport

// Verify re-hashes every record held here, checks its signature, and
// rebuilds every order, count and root from the bytes; content that lies
// beside the records is hashed too. It runs beside
// everything else: about ten seconds for a million records. progress may be
// nil.
func (s *Space) Verify(ctx context.Context, progress func(done, total uint64)) (*VerifyReport, error) {
	report, err := s.rows.Verify(ctx, progress)
	if err != nil {
		return report, err
	}
	found, err := s.rows.VerifyBlobs(ctx, nil)
	report.Findings = append(report.Findings, found...)
	return report, err
}
