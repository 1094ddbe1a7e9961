package anabranch

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"time"

	"anabranch/record"
)

// agreement is the last time both sides held the same root.
type agreement struct {
	Root   Root
	Count  uint64
	At     time.Time
	Report Report
	// Version is the one of this store at which it held Root; 0 if it had
	// moved on before that was looked at.
	Version uint64

	stored bool // read from the store, and not of this process
}

// failure is why the last session in a space did not end well.
type failure struct {
	err error
	at  time.Time
}

func (p *peer) agreement(id record.SpaceID) agreement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agreed[id]
}

// Event is something that happened with a peer.
type Event struct {
	Kind   EventKind
	Device record.Key
	Addr   string // of Connected
	Space  *Space // of Synced, Failed and Joined
	Report Report // of Synced, and as far as it got of Failed
	Err    error  // of Failed
	Words  string // of Joined: what the other device shows too
}

// EventKind says what happened.
type EventKind string

const (
	Connected    EventKind = "connected"
	Disconnected EventKind = "disconnected"
	Synced       EventKind = "synced" // a session ended with equal roots
	Failed       EventKind = "failed" // a session did not
	Joined       EventKind = "joined" // a device used a ticket of this one
)

// ended notes how a session with a peer went.
func (s *Space) ended(p *peer, report Report, charge bool, err error) {
	r := s.replica
	p.traffic.session(report, err)
	version, same := s.versionOf(report)
	p.mu.Lock()
	event := Event{Kind: Synced, Device: p.device, Space: s, Report: report, Err: named(err)}
	if err != nil {
		event.Kind = Failed
	}
	switch {
	case s.rows.Dropped(): // nothing is kept of it
	case err != nil:
		p.failed[s.ID()] = failure{err: event.Err, at: time.Now()}
		if told, ok := partedBy(event.Err, report, version); ok {
			p.parted[s.ID()] = told
		}
	default:
		delete(p.failed, s.ID())
		delete(p.parted, s.ID())
		agreed := agreement{Root: report.Root, Count: report.Count, At: time.Now(), Report: report}
		if same {
			agreed.Version = version
		}
		p.agreed[s.ID()] = agreed
	}
	p.mu.Unlock()
	if charge {
		r.log.Warn("peer sent what is wrong for everyone", "peer", p.device, "err", err)
	}
	r.options.OnEvent(event)
	if err == nil {
		r.agreedWith(s, p.device)
	}
}

// versionOf is the present version of this store, and whether it holds what a
// session agreed on.
func (s *Space) versionOf(report Report) (version uint64, same bool) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return 0, false
	}
	defer view.Close()
	root, err := view.Root()
	return view.Version(), err == nil && root == report.Root
}

// upTo is a version of this store up to which the peer held everything that
// is still here.
func (a agreement) upTo() uint64 { return max(a.Version, a.Report.Version) }

// saveAgreements keeps what was last agreed on with whom, and what sessions
// have told that failed since, so that status can tell after a restart. They are facts of the past and never stand for a
// comparison: a peer counts as in sync only while the root is the same.
func (r *Replica) saveAgreements(ctx context.Context) error {
	r.mu.Lock()
	peers := make([]*peer, 0, len(r.peers))
	for _, p := range r.peers {
		peers = append(peers, p)
	}
	r.mu.Unlock()
	var errs []error
	keep := func(key string, value any) {
		b, err := json.Marshal(value)
		if err == nil {
			err = r.store.SetFact(ctx, key, b)
		}
		errs = append(errs, err)
	}
	for _, p := range peers {
		p.mu.Lock()
		agreed, told := maps.Clone(p.agreed), maps.Clone(p.parted)
		p.mu.Unlock()
		for id, a := range agreed {
			if !a.stored {
				keep(agreedFact(id, p.device), a)
			}
		}
		for id, t := range told { // an older one is not asked for again
			keep(partedFact(id, p.device), t)
		}
	}
	return errors.Join(errs...)
}

func agreedFact(id record.SpaceID, device record.Key) string {
	return "agreed/" + id.String() + "/" + device.String()
}

// storedAgreement is what was agreed on before this process began.
func (r *Replica) storedAgreement(id record.SpaceID, device record.Key) (agreement, bool) {
	b, ok, err := r.store.Fact(agreedFact(id, device))
	a := agreement{stored: true}
	if err != nil || !ok || json.Unmarshal(b, &a) != nil {
		return agreement{}, false
	}
	return a, true
}
