package sim

import (
	"slices"

	"anabranch/internal/engine"
)

// The frames of a modelled session, in bytes: a hello and a welcome as they
// are, and for a difference what ranges cost in the real one, about.
const (
	helloBytes  = 110
	rangesBytes = 300
	eachBytes   = 40 // an ID in a range or in a list, beside the record
)

// sync begins a session.
func (w *crowd) sync(i, o int32, ours engine.Session) {
	n := &w.nodes[i]
	t := n.tie(o)
	w.result.Sessions++
	if t == nil || !t.up {
		w.at(w.now, func() { w.ended(i, n.life, ours, engine.Unreachable, false) })
		return
	}
	n.talks = append(n.talks, modelled{peer: o, ours: ours})
	w.result.SessionBytes += helloBytes
	if w.apart(i, o) {
		return // nobody answers; the connection ends soon
	}
	w.push(w.near(i, o), happening{to: o, from: i, kind: onAsk, n: uint64(ours)})
}

// ended tells an engine that a session is over.
func (w *crowd) ended(i, life int32, s engine.Session, how engine.Outcome, current bool) {
	n := &w.nodes[i]
	if n.down || n.life != life {
		return
	}
	n.talks = slices.DeleteFunc(n.talks, func(t modelled) bool { return t.ours == s })
	w.step(i, engine.Ended{Session: s, Outcome: how, Current: current, Version: n.version})
}

// end cuts the sessions with a peer whose connection is gone.
func (w *crowd) end(i, o int32) {
	n := &w.nodes[i]
	for _, t := range slices.Clone(n.talks) {
		if t.peer == o {
			w.ended(i, n.life, t.ours, engine.Failed, false)
		}
	}
}

func (n *node) talk(s engine.Session) *modelled {
	for i := range n.talks {
		if n.talks[i].ours == s {
			return &n.talks[i]
		}
	}
	return nil
}

// session takes one step of a session.
func (w *crowd) session(n *node, h *happening) {
	o := &w.nodes[h.from]
	if n.tie(h.from) == nil || w.apart(h.to, h.from) {
		return
	}
	switch h.kind {
	case onAsk:
		n.theirs++
		s := engine.Theirs | engine.Session(n.theirs)
		n.talks = append(n.talks, modelled{peer: h.from, ours: s, theirs: engine.Session(h.n)})
		w.step(h.to, engine.Asked{Session: s, Space: w.space, Peer: w.key(h.from), Equal: n.sum == o.sum && n.count == o.count})
	case onRefused:
		w.ended(h.to, n.life, engine.Session(h.n), engine.Failed, false)
	case onAnswer: // the welcome, at the initiator
		t := n.talk(engine.Session(h.n))
		if t == nil {
			return
		}
		w.step(h.to, engine.Progress{Session: t.ours})
		if t = n.talk(engine.Session(h.n)); t == nil {
			return
		}
		if n.sum == o.sum && n.count == o.count {
			w.ended(h.to, n.life, t.ours, engine.Agreed, true)
			w.push(w.near(h.to, h.from), happening{to: h.from, from: h.to, kind: onData, n: uint64(t.theirs)})
			return
		}
		w.exchange(h.to, h.from, *t)
	case onData: // the end, at the responder
		w.ended(h.to, n.life, engine.Session(h.n), engine.Agreed, n.sum == o.sum)
	}
}

// serve answers a session, or refuses it.
func (w *crowd) serve(i int32, s engine.Session, yes bool) {
	n := &w.nodes[i]
	t := n.talk(s)
	if t == nil {
		return
	}
	if !yes {
		w.push(w.near(i, t.peer), happening{to: t.peer, from: i, kind: onRefused, n: uint64(t.theirs)})
		n.talks = slices.DeleteFunc(n.talks, func(x modelled) bool { return x.ours == s })
		return
	}
	w.result.SessionBytes += helloBytes
	if p := w.nodes[t.peer].talk(t.theirs); p != nil {
		p.theirs = s
	}
	w.push(w.near(i, t.peer), happening{to: t.peer, from: i, kind: onAnswer, n: uint64(t.theirs)})
}

// exchange moves what each lacks of what the other has now: two round trips
// later at the responder, one and a half at the initiator.
func (w *crowd) exchange(i, o int32, t modelled) {
	a, b := &w.nodes[i], &w.nodes[o]
	var toA, toB []int32
	for k := range int32(len(w.updates)) {
		switch {
		case a.has(k) && !b.has(k):
			toB = append(toB, k)
		case !a.has(k) && b.has(k):
			toA = append(toA, k)
		}
	}
	if b.liar {
		toA = nil // whoever alters records sends none that are good
	}
	if a.liar {
		toB = nil
	}
	w.result.SessionBytes += rangesBytes + eachBytes*int64(len(toA)+len(toB))
	for _, k := range append(slices.Clone(toA), toB...) {
		w.result.SessionBytes += int64(len(w.updates[k].body))
		w.result.SessionRecords++
	}
	life, other := a.life, b.life
	alive := func() bool {
		return a.tie(o) != nil && !w.apart(i, o) && a.life == life && b.life == other && !a.down && !b.down
	}
	rtt := 2 * w.near(i, o)
	w.at(w.now+rtt, func() {
		if alive() && a.talk(t.ours) != nil {
			w.receive(i, toA)
			w.ended(i, life, t.ours, engine.Agreed, a.sum == b.sum)
		}
	})
	w.at(w.now+rtt+rtt/2, func() {
		if alive() && b.talk(t.theirs) != nil {
			w.receive(o, toB)
			w.ended(o, other, t.theirs, engine.Agreed, a.sum == b.sum)
		}
	})
}

// receive takes what came in a session.
func (w *crowd) receive(i int32, ks []int32) {
	n := &w.nodes[i]
	in := engine.Committed{Space: w.space}
	for _, k := range ks {
		if n.has(k) {
			continue
		}
		w.take(i, k)
		if len(in.Fresh) < engine.MaxFresh {
			in.Fresh = append(in.Fresh, engine.Fresh{ID: w.updates[k].id})
		} else {
			in.Many = true
		}
	}
	if len(in.Fresh) > 0 {
		in.Version = n.version
		w.step(i, in)
	}
}
