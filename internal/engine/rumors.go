package engine

import (
	"slices"
	"time"

	"anabranch/gossip"
)

// judging is a rumor that the shell judges, or one that is undecided.
type judging struct {
	id    ID
	bytes []byte
	from  Peer
	at    time.Duration
	held  bool // it was undecided before
}

// announced is a record that is too large for a rumor: a session brings it.
type announced struct {
	id   ID
	from Peer
	at   time.Duration
}

const (
	holdTime     = 2 * time.Minute // as long as gossip holds
	announceWait = time.Minute
)

// deliver has a rumor judged, or fetched first.
func (e *Engine) deliver(s *space, d gossip.Deliver) {
	id := d.Rumor.ID
	if d.Rumor.Size == 0 {
		s.judge(judging{id: id, bytes: d.Rumor.Payload, from: d.From, at: e.now})
		e.emit(Judge{Space: s.id, From: d.From, ID: id, Bytes: d.Rumor.Payload})
		return
	}
	if len(s.announced) >= maxAnnounced {
		e.stats.Dropped++
		e.tell(s, gossip.Judged{ID: id, Verdict: gossip.Lost})
		return
	}
	s.announced = append(s.announced, announced{id: id, from: d.From, at: e.now})
	e.changed = true
	e.missed(s, d.From)
}

// judge notes that a verdict is awaited, one for each ID.
func (s *space) judge(j judging) {
	if i := s.judged(j.id); i >= 0 {
		s.judging[i] = j
		return
	}
	s.judging = append(s.judging, j)
}

// judged is the place of an ID in judging, or -1.
func (s *space) judged(id ID) int {
	return slices.IndexFunc(s.judging, func(j judging) bool { return j.id == id })
}

// settleAnnounced asks whether what a peer announced has come by a session
// with it.
func (e *Engine) settleAnnounced(r *session) {
	s := r.space
	s.announced = slices.DeleteFunc(s.announced, func(a announced) bool {
		if a.from != r.peer.key || a.at > r.began {
			return false
		}
		e.look(s, a)
		return true
	})
}

// look has the shell look whether an announced record is here.
func (e *Engine) look(s *space, a announced) {
	s.judge(judging{id: a.id, from: a.from, at: e.now})
	e.emit(Judge{Space: s.id, From: a.from, ID: a.id})
}

// expiry is when something that waits for a verdict or a clock is given up.
func (s *space) expiry() time.Duration {
	at := never
	if len(s.held) > 0 {
		at = s.held[0].at + holdTime
	}
	if len(s.announced) > 0 {
		at = min(at, s.announced[0].at+announceWait)
	}
	for _, n := range s.notes {
		at = min(at, n.until)
	}
	return at
}

func (e *Engine) expire(s *space) {
	for len(s.held) > 0 && s.held[0].at+holdTime <= e.now {
		s.heldBytes -= len(s.held[0].bytes)
		s.held = s.held[1:]
	}
	for len(s.announced) > 0 && s.announced[0].at+announceWait <= e.now {
		a := s.announced[0]
		s.announced = s.announced[1:]
		e.look(s, a)
	}
	s.notes = slices.DeleteFunc(s.notes, func(n *noted) bool {
		if n.until > e.now {
			return false
		}
		s.noteBytes -= len(n.bytes)
		return true
	})
}

func (e *Engine) judged(in Judged) {
	s := e.space(in.Space)
	if s == nil {
		return
	}
	i := s.judged(in.ID)
	if i < 0 {
		return
	}
	j, last := s.judging[i], len(s.judging)-1
	s.judging[i] = s.judging[last]
	s.judging[last] = judging{}
	s.judging = s.judging[:last]
	if in.Verdict == gossip.Undecided {
		e.hold(s, j)
	}
	if in.Verdict == gossip.Known && (j.held || j.bytes == nil) {
		in.Verdict = gossip.Accepted // it was held, or fetched: nobody has been told
	}
	e.tell(s, gossip.Judged{ID: in.ID, Verdict: in.Verdict})
}

// hold keeps what nobody here can decide, and asks its sender for what it
// knows: control records first.
func (e *Engine) hold(s *space, j judging) {
	e.changed = true
	e.missed(s, j.from)
	if j.bytes == nil || slices.ContainsFunc(s.held, func(h judging) bool { return h.id == j.id }) {
		return
	}
	if len(s.held) >= maxHeld || s.heldBytes+len(j.bytes) > maxHeldBytes {
		e.stats.Dropped++
		return
	}
	j.at, j.held = e.now, true
	s.held = append(s.held, j)
	s.heldBytes += len(j.bytes)
}

// committed spreads what is new here, and makes sessions due.
func (e *Engine) committed(in Committed) {
	s := e.space(in.Space)
	if s == nil {
		return
	}
	own := 0
	for _, f := range in.Fresh {
		if f.Own {
			own++
		}
	}
	many := in.Many || own > MaxFresh
	for _, f := range in.Fresh {
		switch {
		case e.o.Manual:
		case !f.Own || f.Bytes == nil:
			e.learned(s, f.ID)
		case many || !s.published.take(e.now, 1, rumorsOwn, 1):
			many = true
			e.tell(s, gossip.Learned{ID: f.ID})
		default:
			e.tell(s, gossip.Publish{Rumor: rumorOf(f)})
		}
	}
	e.stir(s, in.Version, many)
	if in.Control {
		held := s.held
		s.held, s.heldBytes = nil, 0
		for _, h := range held {
			s.judge(h)
			e.emit(Judge{Space: s.id, From: h.from, ID: h.id, Bytes: h.bytes})
		}
	}
}

// learned takes a record that came by other means than a rumor, or that has
// become a member now.
func (e *Engine) learned(s *space, id ID) {
	if i := s.judged(id); i >= 0 { // its verdict is on the way, and says more
		if j := s.judging[i]; !j.held && j.bytes != nil {
			e.tell(s, gossip.Learned{ID: id})
		}
		return
	}
	for i, h := range s.held {
		if h.id == id {
			s.heldBytes -= len(h.bytes)
			s.held = slices.Delete(s.held, i, i+1)
			e.tell(s, gossip.Judged{ID: id, Verdict: gossip.Accepted})
			return
		}
	}
	for i, a := range s.announced {
		if a.id == id {
			s.announced = slices.Delete(s.announced, i, i+1)
			e.tell(s, gossip.Judged{ID: id, Verdict: gossip.Accepted})
			return
		}
	}
	e.tell(s, gossip.Learned{ID: id})
}

// rumorOf is a record as it travels: whole, or announced.
func rumorOf(f Fresh) gossip.Rumor {
	if len(f.Bytes) > gossip.MaxPayload {
		return gossip.Rumor{ID: f.ID, Size: uint64(len(f.Bytes))}
	}
	return gossip.Rumor{ID: f.ID, Payload: f.Bytes}
}
