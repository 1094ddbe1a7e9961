package anabranch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"anabranch/internal/store"
	"anabranch/record"
)

// Loss is what leaving a space would lose, as far as is known here. What
// another device holds is known from the last time both had the same root;
// what it has done since is not.
type Loss struct {
	Records   uint64 // members of the set that no other member's device is known to hold
	Own       uint64 // of those, the ones written by this device
	Held      uint64 // records whose authority is unknown here, in no root
	OnlyCopy  bool   // no other device is a member
	LastAdmin bool   // no other device can invite or revoke, and there are others
	Unusable  bool   // the space has a rule that is not known: what it holds cannot be judged
}

// Any reports whether something is lost that cannot be had again from others.
func (l Loss) Any() bool { return l.Records > 0 || l.OnlyCopy || l.LastAdmin || l.Unusable }

// String says it in words.
func (l Loss) String() string {
	var out []string
	switch {
	case l.Unusable:
		out = append(out, "a space that this version cannot read, with all it holds")
	case l.OnlyCopy:
		out = append(out, "the only copy, with "+countOf(l.Records, "record"))
	case l.Records > 0:
		out = append(out, countOf(l.Records, "record")+" that no other device is known to hold, "+ofThem(l.Own, l.Records)+" of them written here")
	}
	if l.LastAdmin {
		out = append(out, "the only admin, without whom nobody can be invited, and revoked only with the recovery key")
	}
	if l.Held > 0 && len(out) > 0 {
		out = append(out, countOf(l.Held, "record")+" held back")
	}
	return strings.Join(out, "; ")
}

func countOf(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func ofThem(n, all uint64) string {
	switch n {
	case all:
		return "all"
	case 0:
		return "none"
	}
	return fmt.Sprint(n)
}

// LossError says that a space was not left, because something would be lost.
type LossError struct {
	Name string
	Loss Loss
}

func (e *LossError) Error() string {
	return fmt.Sprintf("anabranch: leaving %q would lose %v", e.Name, e.Loss)
}

// LeaveOptions configures Leave.
type LeaveOptions struct {
	// Force leaves whatever is lost.
	Force bool
}

// Leave forgets a space: its records, what waits outside of the set, this
// device's author keys and tickets there, and what is remembered of devices
// that are in no other space here. Sessions about it end, and its members are
// refused from then on; they are told nothing else, and hold what they hold.
// It is done whole or not at all, also if the power goes. Invited again, this
// device comes back under a new author key, in a fresh lane.
//
// Without Force it is a *LossError if something would be lost; the Loss is
// returned either way. ErrNoSpace if it is not here.
func (r *Replica) Leave(ctx context.Context, id record.SpaceID, o LeaveOptions) (Loss, error) {
	r.making.Lock()
	defer r.making.Unlock()
	r.mu.Lock()
	s := r.spaces[id]
	r.mu.Unlock()
	loss, name := Loss{Unusable: true}, id.String()[:8]
	if s != nil {
		var err error
		if loss, err = s.Loss(ctx); err != nil {
			return Loss{}, err
		}
		name = s.Name()
	} else if r.store.Unusable()[id] == nil {
		return Loss{}, fmt.Errorf("%w: %v", ErrNoSpace, id)
	}
	if loss.Any() && !o.Force {
		return loss, &LossError{Name: name, Loss: loss}
	}
	facts, err := r.factsOf(id, s)
	if err != nil {
		return loss, fmt.Errorf("anabranch: leave: %w", named(err))
	}
	// The keys are files of their own: should the power go before they are,
	// the next opening finds the note.
	facts = append(facts, store.FactOp{Key: leftFact(id), Value: []byte{1}})
	ctx = context.WithoutCancel(ctx) // from here on it is done whole
	if err := r.store.Drop(ctx, id, facts...); err != nil {
		return loss, fmt.Errorf("anabranch: leave: %w", named(err))
	}
	if s != nil {
		r.detach(s)
	}
	if err := r.finishLeaving(ctx, id); err != nil {
		return loss, fmt.Errorf("anabranch: %q is left, its keys are not removed yet: %w", name, err)
	}
	return loss, nil
}

// Loss is what leaving the space now would lose.
//
// Cost: it reads what entered since another device last held the same.
func (s *Space) Loss(ctx context.Context) (Loss, error) {
	view, err := s.snapshot(ctx)
	if err != nil {
		return Loss{}, err
	}
	defer view.Close()
	root, err := view.Root()
	if err != nil {
		return Loss{}, err
	}
	state := view.State()
	out := Loss{Held: uint64(view.HeldStats().Held), OnlyCopy: true}
	var mine, theirs bool // admins
	known := uint64(0)    // the version up to which others hold everything
	for _, g := range state.Members() {
		admin := g.Role == record.Admin && g.Area == "/"
		switch {
		case g.Sealed:
			continue
		case g.Device == s.replica.Device():
			mine = mine || admin
			continue
		}
		out.OnlyCopy = false
		theirs = theirs || admin
		last := s.lastAgreement(g.Device)
		if last.Root == Root(root) {
			known = view.Version()
		}
		known = max(known, last.upTo())
	}
	out.LastAdmin = mine && !theirs && !out.OnlyCopy
	own := map[record.Key]bool{}
	for _, key := range s.keys() {
		own[record.Public(key)] = true
	}
	for a, err := range view.Since(known) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return Loss{}, fmt.Errorf("anabranch: leave: %w", err)
		}
		if a.Record == nil {
			continue
		}
		out.Records++
		if own[a.Record.Author] {
			out.Own++
		}
	}
	return out, nil
}

// lastAgreement is the last time a device and this one had the same root,
// also before this process began; the zero value if never.
func (s *Space) lastAgreement(device record.Key) agreement {
	last := s.replica.peer(device).agreement(s.ID())
	if last.At.IsZero() {
		last, _ = s.replica.storedAgreement(s.ID(), device)
	}
	return last
}

func leftFact(id record.SpaceID) string { return "left/" + id.String() }

// factsOf are deletions of what is remembered here for the sake of a space,
// and of devices that are in no other one.
func (r *Replica) factsOf(id record.SpaceID, s *Space) ([]store.FactOp, error) {
	ops := []store.FactOp{{Key: nameFact(id)}}
	for _, prefix := range append(witnessFacts(id), "agreed/"+id.String()+"/", "parted/"+id.String()+"/", "files/"+id.String()+"/", textFacts(id), documentFacts(id)) {
		facts, err := r.store.Facts(prefix)
		if err != nil {
			return nil, err
		}
		for key := range facts {
			ops = append(ops, store.FactOp{Key: key})
		}
	}
	if s != nil {
		elsewhere := map[record.Key]bool{}
		var here []record.Key
		for _, other := range r.all() {
			view, err := other.rows.Snapshot()
			if err != nil {
				return nil, err
			}
			for _, g := range view.State().Members() {
				if other == s {
					here = append(here, g.Device)
				} else {
					elsewhere[g.Device] = true
				}
			}
			view.Close()
		}
		for _, device := range here {
			if !elsewhere[device] {
				ops = append(ops, store.FactOp{Key: addrFact(device)}, store.FactOp{Key: petnameFact(device)})
			}
		}
	}
	slices.SortFunc(ops, func(a, b store.FactOp) int { return strings.Compare(a.Key, b.Key) })
	return ops, nil
}

// detach ends everything that goes on about a space that the store has
// dropped. Whoever comes later finds it dropped.
func (r *Replica) detach(s *Space) {
	r.mu.Lock()
	delete(r.spaces, s.ID())
	for c := range r.running {
		if c.space == s {
			c.stream.Reset()
		}
	}
	peers := make([]*peer, 0, len(r.peers))
	for _, p := range r.peers {
		peers = append(peers, p)
	}
	r.mu.Unlock()
	for _, p := range peers {
		p.mu.Lock()
		delete(p.agreed, s.ID())
		delete(p.failed, s.ID())
		delete(p.parted, s.ID())
		p.mu.Unlock()
	}
	r.refreshReaders()
	r.wakePeers()
}

// finishLeaving removes keys and tickets of a space that the store has
// dropped, and the note that says so.
func (r *Replica) finishLeaving(ctx context.Context, id record.SpaceID) error {
	if err := r.keys.dropAuthors(id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.tickets.dropSpace(id); err != nil {
		return err
	}
	return r.store.SetFact(ctx, leftFact(id), nil)
}

// finishLeft goes on where a power cut has ended a Leave. Of a space that has
// come back since, the keys stay.
func (r *Replica) finishLeft(ctx context.Context) error {
	left, err := r.store.Facts("left/")
	if err != nil {
		return err
	}
	for key := range left {
		id, err := record.ParseSpaceID(strings.TrimPrefix(key, "left/"))
		if err != nil {
			return err
		}
		if _, here := r.store.Space(id); here {
			err = r.store.SetFact(ctx, key, nil)
		} else {
			err = r.finishLeaving(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
