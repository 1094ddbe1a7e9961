package anabranch

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
)

// parted is what the last session that told something has told of how a peer
// and this replica differ, if none has ended well since.
type parted struct {
	At     time.Time
	State  State  // Diverged or Incompatible; empty: the counts tell
	Reason string // of that

	Compared         bool // the counts are known
	Missing, Surplus uint64
	Version          uint64 // of this store then
}

// partedBy is what a failed session tells; false if nothing.
func partedBy(err error, report Report, version uint64) (parted, bool) {
	out := parted{At: time.Now(), Version: version}
	var differ *RootsDifferError
	switch {
	case errors.As(err, &differ):
		out.State = Diverged
		out.Reason = fmt.Sprintf("the last session ended with %s here and %d there", countOf(differ.OurCount, "record"), differ.TheirCount)
	case errors.Is(err, ErrIncompatible):
		out.State, out.Reason = Incompatible, "it speaks another version"
	case report.Compared:
		out.Compared, out.Missing, out.Surplus = true, uint64(report.Missing), uint64(report.Surplus)
		out.Reason = "the last session was cut short"
	default:
		return parted{}, false
	}
	return out, true
}

func partedFact(id record.SpaceID, device record.Key) string {
	return "parted/" + id.String() + "/" + device.String()
}

// storedParted is what was known when the process before this one ended.
func (r *Replica) storedParted(id record.SpaceID, device record.Key) parted {
	b, ok, err := r.store.Fact(partedFact(id, device))
	var p parted
	if err != nil || !ok || json.Unmarshal(b, &p) != nil {
		return parted{}
	}
	return p
}

// acquaintance is all that is known of a peer in one space.
type acquaintance struct {
	last      agreement
	compared  bool // in this process
	parted    parted
	failed    failure
	blocked   bool
	syncing   bool
	live      *Report // of the session that is going on; nil: none has told yet
	info      mesh.PeerInfo
	connected bool
}

func (s *Space) acquaintance(device record.Key) acquaintance {
	r := s.replica
	p := r.peer(device)
	before, known := r.storedAgreement(s.ID(), device)
	then := r.storedParted(s.ID(), device)
	var out acquaintance
	out.info, out.connected = r.connection(device)
	if report, ok := s.Underway(device); ok {
		out.live = &report
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out.last, out.compared = p.agreed[s.ID()]
	out.parted = p.parted[s.ID()]
	if !out.compared && known {
		out.last = before
	}
	if out.parted.At.IsZero() && then.At.After(out.last.At) {
		out.parted = then
	}
	out.failed = p.failed[s.ID()]
	out.blocked = time.Now().Before(p.blocked)
	out.syncing = p.syncing[s.ID()] > 0
	return out
}

// state decides the one word.
func (k *acquaintance) state(root Root) (State, string) {
	why := whyFailed(k.failed.err)
	switch {
	case k.blocked:
		reason := "it sent what is wrong for everyone"
		if k.failed.err != nil {
			reason += ": " + k.failed.err.Error()
		}
		return Blocked, reason
	case k.syncing:
		return Syncing, ""
	case k.parted.State != "":
		return k.parted.State, k.parted.Reason
	case !k.connected:
		return Offline, why
	case k.failed.err == nil && k.compared && k.last.Root == root:
		return InSync, ""
	case k.parted.Compared && k.parted.Missing > 0 && k.parted.Surplus > 0:
		return Diverged, k.parted.Reason
	case k.parted.Compared && k.parted.Missing > 0:
		return Behind, k.parted.Reason
	case k.parted.Compared && k.parted.Surplus > 0:
		return Ahead, k.parted.Reason
	case k.failed.err != nil, !k.compared:
		return Unknown, why
	}
	return Ahead, ""
}

// counts are what is known to be missing on either side; nil if nothing is.
func (k *acquaintance) counts(view *store.Snapshot, state State, root Root) (missing, surplus *uint64, err error) {
	number := func(n uint64) *uint64 { return &n }
	since := func(version, before uint64) (*uint64, error) {
		n, err := view.Entered(version)
		return number(before + n), err
	}
	switch {
	case state == Syncing && k.live != nil && k.live.Compared:
		return number(uint64(k.live.Missing)), number(uint64(k.live.Surplus)), nil
	case state == Syncing, k.parted.State != "":
		return nil, nil, nil
	case state == InSync:
		return number(0), number(0), nil
	case k.parted.Compared:
		surplus, err = since(k.parted.Version, k.parted.Surplus)
		return number(k.parted.Missing), surplus, err
	case k.last.At.IsZero():
		return nil, nil, nil
	case k.last.Root == root:
		return nil, number(0), nil
	}
	surplus, err = since(k.last.upTo(), 0)
	return nil, surplus, err
}

func (s *Space) peerStatus(view *store.Snapshot, device record.Key, role record.Role, root Root) (PeerStatus, error) {
	k := s.acquaintance(device)
	out := PeerStatus{
		Device:    device,
		Role:      role,
		Addr:      k.info.Addr,
		Inbound:   k.info.Inbound,
		Transport: string(k.info.Transport),
		RTT:       k.info.RTT,
		AgreedAt:  k.last.At,
		AgreedOn:  k.last.Root,
		Last:      k.last.Report,
		Traffic:   s.replica.peer(device).traffic.total(),
	}
	if k.failed.err != nil {
		out.LastError, out.FailedAt = k.failed.err.Error(), k.failed.at
	}
	out.State, out.Reason = k.state(root)
	var err error
	out.Missing, out.Surplus, err = k.counts(view, out.State, root)
	return out, err
}

// Underway is what the session with a device that is going on in this space
// has done so far; false if there is none. Of two, it is the one that has
// moved more.
func (s *Space) Underway(device record.Key) (Report, bool) {
	r := s.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *Report
	found := false
	for c := range r.running {
		if c.space != s || c.peer.device != device {
			continue
		}
		found = true
		if report := c.live.Load(); report != nil && (best == nil || report.BytesIn+report.BytesOut > best.BytesIn+best.BytesOut) {
			best = report
		}
	}
	if best == nil {
		return Report{}, found
	}
	return *best, true
}

// liveEvery is how often a session says how far it is.
const liveEvery = 100 * time.Millisecond

// tell makes the session's report visible to others, now and then.
func (c *conversation) tell(now time.Time) {
	if now.Sub(c.told) < liveEvery {
		return
	}
	c.told = now
	report := c.session.Report()
	c.live.Store(&report)
}
