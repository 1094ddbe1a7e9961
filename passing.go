package anabranch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"anabranch/internal/mesh"
	"anabranch/record"
)

// When attestations are exchanged after a session: once a space has been
// quiet for a moment, so that a burst of writes is attested once, and at the
// latest after attestMost. Of two devices the one with the smaller key
// begins; the other one does if it has not.
const (
	attestAfter = 2 * time.Second
	attestMost  = 10 * time.Second
	attestSpare = 5 * time.Second
)

// knows lists the newest attestations of others than the peer, as both sides
// of an exchange compare them: each leaves out its own and the other's.
func (s *Space) knows(peer record.Key) []known {
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	if s.loadWitness() != nil {
		return nil
	}
	view, err := s.rows.Snapshot()
	if err != nil {
		return nil
	}
	defer view.Close()
	theirs := authorsOf(view, peer)
	var out []known
	for author, x := range s.witness.others {
		if !slices.Contains(theirs, author) && len(view.State().GrantsOf(author)) > 0 {
			out = append(out, known{attestTag(author), x.attestation.Time})
		}
	}
	slices.SortFunc(out, func(a, b known) int {
		return cmp.Or(cmp.Compare(b.time, a.time), bytes.Compare(a.author[:], b.author[:]))
	})
	return out[:min(len(out), maxPassed)]
}

// newerTags are the authors of whom one list has something newer than another.
func newerTags(of, than []known) []authorTag {
	have := map[authorTag]uint64{}
	for _, k := range than {
		have[k.author] = k.time
	}
	var out []authorTag
	for _, k := range of {
		if k.time > have[k.author] && len(out) < maxPassed {
			out = append(out, k.author)
		}
	}
	return out
}

// newer are the attestations in the first list that the second one lacks.
func (s *Space) newer(here, there []known) []*Attestation {
	tags := newerTags(here, there)
	return s.of(func(k known) bool { return slices.Contains(tags, k.author) })
}

// of are the attestations of others that are chosen, at most maxPassed.
func (s *Space) of(choose func(known) bool) []*Attestation {
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	var out []*Attestation
	for author, x := range s.witness.others {
		if choose(known{attestTag(author), x.attestation.Time}) {
			out = append(out, x.attestation)
		}
	}
	slices.SortFunc(out, func(a, b *Attestation) int { return a.Author.Compare(b.Author) })
	return out[:min(len(out), maxPassed)]
}

// tell notes that a device was told what is held here at a root, and what is
// known of others.
func (s *Space) tell(device record.Key, root Root) {
	now := telling{root, [8]byte(digestOf(s.knows(device)))}
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	if s.witness.told != nil {
		s.witness.told[device] = now
	}
}

// hasTold reports whether another exchange would say the same again.
func (s *Space) hasTold(device record.Key, root Root) bool {
	now := telling{root, [8]byte(digestOf(s.knows(device)))}
	s.witness.mu.Lock()
	defer s.witness.mu.Unlock()
	told, ok := s.witness.told[device]
	return ok && told == now
}

// due is an exchange that a session has made worth while.
type due struct {
	space  *Space
	device record.Key
}

// agreedWith asks for an exchange after a session that ended with equal roots.
func (r *Replica) agreedWith(s *Space, device record.Key) {
	if r.options.Manual {
		return // what is exchanged then, Sync does at once
	}
	select {
	case r.exchanges <- due{s, device}:
	default: // many wait: it comes with the next session
	}
}

// tendExchanges makes the exchanges that are due. An idle mesh stays idle: at
// a root that both have told each other there is none.
func (r *Replica) tendExchanges() {
	type times struct{ first, at time.Time }
	waiting := map[due]times{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case d := <-r.exchanges:
			now := time.Now()
			t := waiting[d]
			if t.first.IsZero() {
				t.first = now
			}
			t.at = now.Add(attestAfter)
			if last := t.first.Add(attestMost); t.at.After(last) {
				t.at = last
			}
			if self := r.Device(); bytes.Compare(self[:], d.device[:]) > 0 {
				t.at = t.at.Add(attestSpare)
			}
			waiting[d] = t
		case <-timer.C:
		case <-r.ctx.Done():
			return
		}
		next := time.Hour
		for d, t := range waiting {
			if wait := time.Until(t.at); wait > 0 {
				next = min(next, wait)
				continue
			}
			delete(waiting, d)
			r.exchangeNow(r.ctx, d, false)
		}
		timer.Reset(next)
	}
}

// exchangeNow makes an exchange. Unless asked to, it makes none that would
// tell the peer nothing: if that has something to tell, it comes itself.
func (r *Replica) exchangeNow(ctx context.Context, d due, asked bool) {
	p := r.peer(d.device)
	root := p.agreement(d.space.ID()).Root
	if d.space.rows.Dropped() || !asked && d.space.hasTold(d.device, root) {
		return
	}
	if _, ok := r.connection(d.device); !ok && !asked {
		return // it has gone: the next session makes it due again
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	switch _, err := d.space.exchange(ctx, d.device); {
	case err == nil, errors.Is(err, errOtherSet), errors.Is(err, ErrCaught), errors.Is(err, context.Canceled):
	case errors.Is(err, mesh.ErrRefused): // a version that does not attest
		d.space.tell(d.device, root)
	default:
		r.log.Debug("attestations not exchanged", "space", d.space.ID(), "peer", d.device, "err", err)
	}
}
