package anabranch

import (
	crand "crypto/rand"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"anabranch/gossip"
	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// loop is the engine's only caller. Everything that happens to a replica's
// network goes through its queue, and whatever the engine answers is begun
// here: nothing in it waits for a peer or for the disk.
type loop struct {
	engine *engine.Engine     // owned by the loop's goroutine
	inputs chan engine.Input  // cap maxInputs; full means that senders wait, so streams push back
	judges chan engine.Output // cap maxJudging; full means that a rumor is lost
	asks   chan func(*engine.Engine)
	began  time.Time

	mu     sync.Mutex // guards all below
	asking map[engine.Session]chan bool
	theirs engine.Session
}

// Bounds of the shell around the engine.
const (
	maxInputs  = 1024 // that wait for the engine
	maxJudging = 1024 // rumors and notes that wait to be judged; more are lost, and come by sessions
)

func (r *Replica) newLoop() (*loop, error) {
	var seed [32]byte
	crand.Read(seed[:])
	e, err := engine.New(engine.Options{
		Self:         engine.Peer(r.Device()),
		Rand:         rand.New(rand.NewChaCha8(seed)),
		SyncInterval: r.options.SyncInterval,
		Manual:       r.options.Manual,
	})
	if err != nil {
		return nil, err
	}
	return &loop{
		engine: e,
		inputs: make(chan engine.Input, maxInputs),
		judges: make(chan engine.Output, maxJudging),
		asks:   make(chan func(*engine.Engine)),
		began:  time.Now(),
		asking: map[engine.Session]chan bool{},
	}, nil
}

// tell gives the engine an input, and waits while it has too many.
func (r *Replica) tell(in engine.Input) {
	if r.loop == nil {
		return
	}
	select {
	case r.loop.inputs <- in:
	case <-r.ctx.Done():
	}
}

// decide runs the engine until the replica closes.
func (r *Replica) decide() {
	l := r.loop
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var late []engine.Input // what performing an output has answered at once
	for {
		var in engine.Input = engine.Tick{}
		if len(late) > 0 {
			in, late = late[0], late[1:]
		} else {
			timer.Reset(min(time.Hour, max(0, l.engine.Next()-time.Since(l.began))))
			select {
			case in = <-l.inputs:
			case <-timer.C:
			case look := <-l.asks:
				look(l.engine)
				continue
			case <-r.ctx.Done():
				return
			}
		}
		for _, out := range l.engine.Step(time.Since(l.began), in) {
			if answer := r.perform(out); answer != nil {
				late = append(late, answer)
			}
		}
	}
}

// perform begins what the engine asks for. It may answer at once.
func (r *Replica) perform(out engine.Output) engine.Input {
	switch out := out.(type) {
	case engine.Dial:
		p := r.peer(record.Key(out.Peer))
		r.wg.Go(func() { r.dial(p) })
	case engine.Hangup:
		r.wg.Go(func() { r.host.Disconnect(out.Peer) })
	case engine.Send:
		r.peer(record.Key(out.Peer)).send(out.Frame)
	case engine.Judge:
		if out.Bytes != nil {
			r.peer(record.Key(out.From)).traffic.judged.Add(1)
		}
		select {
		case r.loop.judges <- out:
		default:
			return engine.Judged{Space: out.Space, ID: out.ID, Verdict: gossip.Lost}
		}
	case engine.JudgeNote:
		select {
		case r.loop.judges <- out:
		default: // it is passed on again some day
		}
	case engine.Sync:
		s := r.spaceByID(out.Space)
		if s == nil {
			return engine.Ended{Session: out.Session, Outcome: engine.Failed}
		}
		p := r.peer(record.Key(out.Peer))
		r.wg.Go(func() {
			if _, err := s.session(r.ctx, p, out.Session); err != nil && r.ctx.Err() == nil {
				r.log.Info("session ended early", "space", s.ID(), "peer", p.device, "why", out.Why, "err", err)
			}
		})
	case engine.Serve:
		r.loop.answer(out.Session, true)
	case engine.Refuse:
		r.loop.answer(out.Session, false)
	case engine.Charge:
		r.charged(out)
	}
	return nil
}

// ask looks into the engine, in its goroutine.
func (r *Replica) ask(look func(*engine.Engine)) {
	if r.loop == nil {
		return
	}
	done := make(chan struct{})
	select {
	case r.loop.asks <- func(e *engine.Engine) { defer close(done); look(e) }:
		<-done
	case <-r.ctx.Done():
	}
}

// foreign is a number for a session that the engine did not ask for.
func (l *loop) foreign() engine.Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.theirs++
	return engine.Theirs | l.theirs
}

// mayServe has the engine say whether a peer's session may go on, and when.
func (r *Replica) mayServe(number engine.Session, s *Space, p *peer, equal bool) bool {
	l := r.loop
	r.reading.Lock()
	listed := slices.Contains(r.told[s.ID()], engine.Peer(p.device))
	r.reading.Unlock()
	if !listed {
		r.refreshReaders() // a grant may have come this moment
	}
	answer := make(chan bool, 1)
	l.mu.Lock()
	l.asking[number] = answer
	l.mu.Unlock()
	r.tell(engine.Asked{Session: number, Space: s.ID(), Peer: engine.Peer(p.device), Equal: equal})
	select {
	case ok := <-answer:
		return ok
	case <-r.ctx.Done():
		return false
	}
}

func (l *loop) answer(number engine.Session, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if answer := l.asking[number]; answer != nil {
		answer <- ok
		delete(l.asking, number)
	}
}

// charged notes that a peer did what no honest peer does.
func (r *Replica) charged(out engine.Charge) {
	p := r.peer(record.Key(out.Peer))
	r.log.Warn("peer is charged", "peer", p.device, "reason", out.Reason, "record", record.ID(out.ID), "ban", out.Ban)
	if out.Reason == engine.Flood {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.charge = out.Reason.String()
	if out.Ban > 0 {
		p.blocked = time.Now().Add(out.Ban)
	}
}

// spaceByID is a space that is held here, nil if it is not.
func (r *Replica) spaceByID(id record.SpaceID) *Space {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spaces[id]
}

// tellMembers gives the engine the lists of members that have changed since
// it was told; r.reading is held.
func (r *Replica) tellMembers(lists map[record.SpaceID][]engine.Peer) {
	if r.loop == nil {
		return
	}
	if r.told == nil {
		r.told = map[record.SpaceID][]engine.Peer{}
	}
	for id := range r.told {
		if _, here := lists[id]; !here {
			delete(r.told, id)
			r.tell(engine.Left{Space: id})
		}
	}
	for id, members := range lists {
		before, known := r.told[id]
		if known && slices.Equal(before, members) {
			continue
		}
		r.told[id] = members
		r.tell(engine.Joined{Space: id, Members: members})
		if !known {
			r.sayWhereIn(id)
		}
	}
}

// changes tells the engine what has entered a space since a version, and
// returns the version now.
func (s *Space) changes(since uint64) uint64 {
	r := s.replica
	if r.loop == nil {
		return 0
	}
	view, err := s.rows.Snapshot()
	if err != nil {
		return since
	}
	defer view.Close()
	in := engine.Committed{Space: s.ID(), Version: view.Version()}
	switch {
	case in.Version == since:
		return since
	case in.Version-since > maxNamed:
		in.Many, in.Control = true, true
	default:
		own := map[record.Key]bool{}
		for _, key := range s.keys() {
			own[record.Public(key)] = true
		}
		for a, err := range view.Since(since) {
			switch {
			case err != nil:
				in.Many, in.Control = true, true
			case a.Record != nil:
				v := a.Record
				mine := own[v.Author] && v.Kind != record.Sweep
				fresh := engine.Fresh{ID: engine.ID(v.ID), Own: mine}
				if mine {
					fresh.Bytes = v.Bytes
				}
				in.Fresh = append(in.Fresh, fresh)
				in.Control = in.Control || v.Kind == record.Control
			}
		}
	}
	r.tell(in)
	if in.Control {
		r.wakePeers() // the members may be others now
	}
	return in.Version
}

// maxNamed is how many changes are looked at one by one. More came by a
// session or a bulk load, and travel on by sessions.
const maxNamed = 512

// connectionUp is what the engine is told of a connection.
func connectionUp(info mesh.PeerInfo) engine.Input {
	return engine.PeerUp{Peer: info.Key, RTT: info.RTT}
}
