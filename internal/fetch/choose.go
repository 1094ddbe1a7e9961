package fetch

import (
	"time"

	"anabranch/blob"
)

// active is how many wants are looked at, from the front of the queue. One
// that nobody has makes room for the next after a while.
func (m *Machine) active() []*want {
	n := min(len(m.queue), m.o.Active)
	for i := 0; i < n; i++ {
		w := m.queue[i]
		if w.since.IsZero() {
			w.since = m.now
		}
		if len(m.queue) > n && m.now.Sub(w.since) > patientFor && w.urge.Len() == 0 && !w.urgent && !m.anybody(w) {
			w.since = time.Time{}
			copy(m.queue[i:], m.queue[i+1:])
			m.queue[len(m.queue)-1] = w
			if w = m.queue[i]; w.since.IsZero() {
				w.since = m.now
			}
		}
	}
	return m.queue[:n]
}

// anybody reports whether a peer that is here has, or may have, some of it.
func (m *Machine) anybody(w *want) bool {
	for _, p := range m.order {
		s := m.peers[p]
		if !s.present || w.liars[p] || m.now.Before(s.rest) || m.now.Before(s.barred) {
			continue
		}
		if f := s.offers[w.name]; f == nil || !f.answered || f.whole || f.set != nil {
			return true
		}
	}
	return false
}

// fill asks and gets as much as there is room for.
func (m *Machine) fill() {
	active := m.active()
	m.ask(active)
	for {
		gave := false
		for _, p := range m.order {
			s := m.peers[p]
			if s.usable(m.now) && len(s.out) < s.window && !m.silent(s) {
				gave = m.give(s, active) || gave
			}
		}
		if !gave {
			break
		}
	}
	m.crowd(active)
}

func (s *source) usable(now time.Time) bool {
	return s.present && !s.cut && !now.Before(s.rest) && !now.Before(s.barred)
}

// silent reports whether a peer owes something and has sent nothing for long.
func (m *Machine) silent(s *source) bool {
	return len(s.out) > 0 && m.now.Sub(s.heard) >= m.o.Patience/4
}

func (m *Machine) ask(active []*want) {
	for _, p := range m.order {
		s := m.peers[p]
		if !s.present || s.cut {
			continue
		}
		var names []blob.Name
		for _, w := range active {
			if w.done || w.liars[p] {
				continue
			}
			f := s.offer(w.name)
			if f.whole && !f.routed || f.asked && !f.answered || f.answered && m.now.Before(f.again) {
				continue
			}
			if f.routed && f.whole {
				continue
			}
			f.asked, f.answered = true, false
			if names = append(names, w.name); len(names) == MaxAsk {
				m.do(Ask{p, names})
				names = nil
			}
		}
		if len(names) > 0 {
			m.do(Ask{p, names})
		}
	}
}

// give asks a peer for one piece: of what a reader waits for, else of the
// first want that it has something of.
func (m *Machine) give(s *source, active []*want) bool {
	for _, w := range active {
		if w.done || w.liars[s.peer] {
			continue
		}
		f := s.offers[w.name]
		if f == nil || !f.whole && f.set == nil {
			continue
		}
		span, ok := m.pick(w, f)
		if !ok {
			continue
		}
		w.claimed.Add(span)
		m.request++
		if len(s.out) == 0 {
			s.heard = m.now
		}
		s.out = append(s.out, &piece{request: m.request, want: w, span: span, at: m.now})
		m.do(Get{s.peer, m.request, w.name, span})
		return true
	}
	return false
}

// pick is the next span of a want that a peer has.
func (m *Machine) pick(w *want, f *offer) (blob.Span, bool) {
	last := w.name.Groups() - 1
	if !w.proven {
		span := blob.Span{Begin: last, End: last + 1}
		return span, !w.claimed.Has(last) && f.has(span)
	}
	if w.urge.Len() > 0 {
		if span, ok := m.within(w, f, w.urge.Begin, w.urge.End); ok {
			return span, true
		}
	}
	return m.within(w, f, 0, last+1)
}

// within is the first groups from begin on, below end, that nobody was asked
// for and the peer has, as many as one piece holds and none beyond the next
// multiple of that: neighbours share their parents.
func (m *Machine) within(w *want, f *offer, begin, end uint64) (blob.Span, bool) {
	for at := begin; at < end; {
		var ok bool
		if at, ok = w.claimed.NextMissing(at); !ok || at >= end {
			return blob.Span{}, false
		}
		if !f.whole && !f.set.Has(at) {
			if at, ok = f.set.NextPresent(at); !ok {
				return blob.Span{}, false
			}
			continue
		}
		stop := min(end, (at/m.o.PieceGroups+1)*m.o.PieceGroups)
		span := blob.Span{Begin: at, End: at + 1}
		for span.End < stop && !w.claimed.Has(span.End) && (f.whole || f.set.Has(span.End)) {
			span.End++
		}
		return span, true
	}
	return blob.Span{}, false
}

// crowd asks beyond the connected peers about what none of them has.
func (m *Machine) crowd(active []*want) {
	for _, w := range active {
		if w.done || m.now.Before(w.crowdAt) || m.anybody(w) || !m.anyPeer() {
			continue
		}
		w.crowdAt = m.now.Add(min(crowdMost, crowdAgain<<min(w.crowds, 6)))
		w.crowds++
		m.do(Crowd{w.name})
	}
}

func (m *Machine) anyPeer() bool {
	for _, s := range m.peers {
		if s.present {
			return true
		}
	}
	return false
}

// Progress is what the machine knows of a want.
type Progress struct {
	Name    blob.Name
	Have    uint64 // groups
	Sources []Peer // who have some of it, ascending
	Asking  int    // requests that are out
}

// Progress reports on a content that is wanted; false if it is not.
func (m *Machine) Progress(name blob.Name) (Progress, bool) {
	w := m.wants[name]
	if w == nil {
		return Progress{}, false
	}
	out := Progress{Name: name, Have: w.have.Len()}
	for _, p := range m.order {
		s := m.peers[p]
		if f := s.offers[name]; f != nil && (f.whole || f.set != nil) {
			out.Sources = append(out.Sources, p)
		}
		for _, x := range s.out {
			if x.want == w {
				out.Asking++
			}
		}
	}
	return out, true
}

// Wanted are the names of everything that is wanted, in order.
func (m *Machine) Wanted() []blob.Name {
	out := make([]blob.Name, len(m.queue))
	for i, w := range m.queue {
		out[i] = w.name
	}
	return out
}
