package engine

import (
	"slices"
	"time"
)

// session is one that runs, or a peer's that waits.
type session struct {
	number   Session
	space    *space
	peer     *peer
	theirs   bool // begun by the peer
	own      bool // begun here by the engine
	waiting  bool
	answered bool
	began    time.Duration // or asked for
	moved    time.Duration // the last sign of life
}

// holds reports whether others should wait for it: it may be moving records.
func (r *session) holds(now time.Duration) bool { return !r.waiting && now < r.until() }

// until is when it stops to hold, unless something moves.
func (r *session) until() time.Duration {
	if r.answered || r.theirs {
		return r.moved + stallWait
	}
	return r.began + answerWait
}

// glance is until when an answer should have come.
func (r *session) glance() time.Duration { return r.began + max(glance, 2*r.peer.rtt) }

func (e *Engine) add(r *session) {
	r.began, r.moved = e.now, e.now
	e.sessions[r.number] = r
	r.space.running = append(r.space.running, r)
	r.peer.running++
	e.changed = true
}

func (e *Engine) drop(r *session) {
	delete(e.sessions, r.number)
	r.space.running = slices.DeleteFunc(r.space.running, func(t *session) bool { return t == r })
	r.peer.running--
	if r.theirs {
		e.theirs--
		r.peer.inside--
	}
	e.changed = true
}

// asked takes a session of a peer.
func (e *Engine) asked(in Asked) {
	s := e.space(in.Space)
	if s == nil || e.sessions[in.Session] != nil || in.Session&Theirs == 0 || !s.has(in.Peer) {
		e.emit(Refuse{in.Session})
		return
	}
	p := e.peer(in.Peer)
	if p.banned > e.now || p.inside >= maxEach || e.theirs >= maxSessions || !e.online {
		e.emit(Refuse{in.Session})
		e.forget(p)
		return
	}
	r := &session{number: in.Session, space: s, peer: p, theirs: true, waiting: true}
	e.theirs++
	p.inside++
	e.add(r)
	if in.Equal || e.mayServe(r) {
		e.serve(r)
		return
	}
	e.stats.Waited++
}

// mayServe reports whether a peer's session need not wait, or no longer.
//
// One that was answered, or that a peer began, moves on by itself. One that
// we began and that was not answered may wait at the peer, whose own waits
// elsewhere: in such a chain only peers with larger keys wait for long, so it
// ends; others wait as long as an answer takes.
func (e *Engine) mayServe(r *session) bool {
	if e.now >= r.began+serveWait {
		return true
	}
	for _, t := range r.space.running {
		if !t.holds(e.now) {
			continue
		}
		if t.answered || t.theirs || compare(r.peer.key, e.o.Self) > 0 || t.peer != r.peer && e.now < t.glance() {
			return false
		}
	}
	return true
}

func (e *Engine) serve(r *session) {
	r.waiting, r.began, r.moved = false, e.now, e.now
	e.stats.Served++
	e.changed = true
	e.emit(Serve{r.number})
}

func (e *Engine) began(in Began) {
	s := e.space(in.Space)
	if s == nil || e.sessions[in.Session] != nil || in.Session&Theirs == 0 || len(s.running) >= maxSessions {
		return
	}
	e.add(&session{number: in.Session, space: s, peer: e.peer(in.Peer)})
}

func (e *Engine) progress(number Session) {
	if r := e.sessions[number]; r != nil && !r.waiting {
		r.answered, r.moved = true, e.now
		e.changed = true
	}
}

// ended takes a session off the books, and says when the next is due.
func (e *Engine) ended(in Ended) {
	r := e.sessions[in.Session]
	if r == nil {
		return
	}
	p, s := r.peer, r.space
	e.drop(r)
	if in.Charge {
		e.charge(p.key, s.id, Broken, ID{})
	}
	if r.waiting || s.gone {
		e.forget(p)
		return
	}
	e.settleAnnounced(r)
	if b := p.bond(s); b != nil {
		e.reschedule(b, r, in)
	}
	e.forget(p)
}

// reschedule says when the next session with a peer is due.
func (e *Engine) reschedule(b *bond, r *session, in Ended) {
	b.notBefore = e.now + again
	switch in.Outcome {
	case Agreed:
		b.fails = 0
		if b.wantedAt <= r.began { // what was asked for since may not be in it
			b.dueAt = never
		}
		if e.o.SyncInterval > 0 {
			b.antiAt = e.now + e.vary(e.o.SyncInterval)
		}
		b.stirred = !in.Current
		b.stirredAt = e.now
		if in.Current {
			b.version = max(b.version, in.Version)
		}
	case Moved:
		e.want(b, Stirred, e.now+e.o.backoff(b))
	default:
		if !r.own && b.dueAt == never {
			e.want(b, Connected, e.now+redialMin) // what the peer began has failed: look ourselves
			return
		}
		if r.own {
			b.dueAt = min(b.dueAt, e.now)
			b.notBefore = e.now + e.vary(e.o.backoff(b))
		}
	}
}

// backoff is longer each time, from one second to thirty.
func (o *Options) backoff(b *bond) time.Duration {
	d := min(redialMin<<min(b.fails, 10), redialMost)
	b.fails++
	return d
}

// want makes a session due at the time, unless one is earlier.
func (e *Engine) want(b *bond, why Why, at time.Duration) {
	if at < b.dueAt {
		b.dueAt, b.why, b.wantedAt = at, why, e.now
		e.changed = true
	}
}

// missed makes a session due at once: with the peer, or where it is not
// connected with somebody who is.
func (e *Engine) missed(s *space, key Peer) {
	var from []*bond
	for _, p := range e.order {
		if b := p.bond(s); b != nil {
			if p.key == key {
				e.want(b, Missing, e.now)
				return
			}
			from = append(from, b)
		}
	}
	if len(from) > 0 {
		e.want(from[e.rand.IntN(len(from))], Missing, e.now)
	}
}

// stir notes that a space has moved here. at once says that no rumor tells
// the others.
func (e *Engine) stir(s *space, version uint64, atOnce bool) {
	s.movedAt = e.now
	e.changed = true
	for _, p := range e.order {
		b := p.bond(s)
		if b == nil || version > 0 && version <= b.version {
			continue
		}
		if !b.stirred {
			b.stirred, b.stirredAt = true, e.now
		}
		if atOnce || !b.told {
			e.want(b, Stirred, e.now)
		}
	}
}

// dueOf is when a session with a peer is due, and why.
func (e *Engine) dueOf(p *peer, b *bond, crowded bool) (time.Duration, Why) {
	at, why := b.dueAt, b.why
	if b.stirred && e.o.Settle > 0 && !crowded {
		stir := min(b.space.movedAt+e.o.Settle, b.stirredAt+e.o.SettleMost)
		if e.yields(p) {
			stir += greet
		}
		if stir < at {
			at, why = stir, Stirred
		}
	}
	if b.space.small() && b.antiAt < at {
		at, why = b.antiAt, AntiEntropy
	}
	if at == never {
		return never, 0
	}
	return max(at, b.notBefore), why
}

// crowd is how many peers are connected in a space.
func (e *Engine) crowd(s *space) int {
	n := 0
	for _, p := range e.order {
		if p.bond(s) != nil {
			n++
		}
	}
	return n
}

// due does everything of links, sessions and notes whose time has come.
func (e *Engine) due() {
	e.dueLinks()
	for _, s := range e.spaces {
		for _, r := range s.running { // serving changes what they are, not which
			if r.waiting && e.mayServe(r) {
				e.serve(r)
			}
		}
		e.dueAnti(s)
		e.expire(s)
	}
	if e.o.Manual || !e.online {
		return
	}
	for _, s := range e.spaces {
		if !s.mute {
			e.dueSessions(s)
		}
	}
}

// dueSessions begins the session that has been due longest, if none that may
// move records is going on.
func (e *Engine) dueSessions(s *space) {
	crowded := e.crowd(s) > meshMembers-1
	for {
		var first *bond
		var with *peer
		var when time.Duration
		var why Why
		for _, p := range e.order {
			b := p.bond(s)
			if b == nil || p.banned > e.now {
				continue
			}
			at, w := e.dueOf(p, b, crowded)
			if at <= e.now && (first == nil || at < when) && !s.runs(p) {
				first, with, when, why = b, p, at, w
			}
		}
		if first == nil || !s.idle(e.now) {
			return
		}
		e.begun++
		first.dueAt, first.antiAt = never, never
		if e.o.SyncInterval > 0 {
			first.antiAt = e.now + e.vary(e.o.SyncInterval)
		}
		e.stats.Begun++
		e.add(&session{number: e.begun, space: s, peer: with, own: true})
		e.emit(Sync{Session: e.begun, Space: s.id, Peer: with.key, Why: why})
	}
}

// runs reports whether a session with the peer is going on or waits.
func (s *space) runs(p *peer) bool {
	return slices.ContainsFunc(s.running, func(r *session) bool { return r.peer == p })
}

// idle reports whether another session may begin.
func (s *space) idle(now time.Duration) bool {
	n := 0
	for _, r := range s.running {
		if r.holds(now) {
			return false
		}
		if !r.theirs {
			n++
		}
	}
	return n < maxBegun
}

// dueAnti draws a partner from the list of members, in a space of many.
func (e *Engine) dueAnti(s *space) {
	if s.antiAt > e.now {
		return
	}
	s.antiAt = e.now + e.vary(e.o.SyncInterval)
	if s.small() || s.mute || e.o.Manual || !e.online {
		return
	}
	for range 8 {
		key := s.members[e.rand.IntN(len(s.members))]
		if key == e.o.Self {
			continue
		}
		p := e.peer(key)
		if p.banned > e.now {
			continue
		}
		if b := p.bond(s); b != nil {
			e.want(b, AntiEntropy, e.now)
			return
		}
		if p.link == down && p.dialAt <= e.now {
			p.once = true // a session follows the connection
		}
		e.forget(p)
		return
	}
}

// next is when something of links, sessions and notes is due.
func (e *Engine) next() time.Duration {
	at := never
	soon := func(t time.Duration) {
		if t > e.now {
			at = min(at, t)
		}
	}
	active := e.online && !e.o.Manual
	for _, p := range e.order {
		switch {
		case p.link == dialing:
			soon(p.dialAt)
		case p.link == down && active && (p.wanted || p.once):
			soon(max(p.dialAt, p.banned))
		case p.link == up:
			for _, b := range p.bonds {
				if t, ok := p.reopens(b); ok {
					soon(t)
				}
			}
		}
	}
	for _, s := range e.spaces {
		held, waits := never, false // until when sessions hold others back
		for _, r := range s.running {
			if r.holds(e.now) {
				held = min(held, r.until())
				if !r.answered && !r.theirs && r.glance() > e.now {
					held = min(held, r.glance())
				}
			}
			if r.waiting {
				waits = true
				soon(r.began + serveWait)
			}
		}
		if waits || held < never {
			soon(held)
		}
		if active && !s.mute {
			crowded := e.crowd(s) > meshMembers-1
			for _, p := range e.order {
				if b := p.bond(s); b != nil && !s.runs(p) {
					t, _ := e.dueOf(p, b, crowded)
					if t < never {
						soon(max(t, p.banned))
					}
				}
			}
			soon(s.antiAt)
		}
		soon(s.expiry())
	}
	return at
}
