package engine

import (
	"slices"
	"time"
)

// noted is a note that is passed on.
type noted struct {
	ParsedNote
	bytes []byte
	until time.Duration
}

// note takes one of this replica's own.
func (e *Engine) note(in Note) {
	s := e.space(in.Space)
	n, err := ParseNote(in.Bytes)
	if s == nil || err != nil || n.Device != e.o.Self {
		return
	}
	e.keep(s, &noted{n, in.Bytes, e.now + MaxNoteAge - in.Age}, Peer{})
}

// noteFrom has a peer's note checked, if it is news.
func (e *Engine) noteFrom(p *peer, s *space, b []byte) {
	n, _ := ParseNote(b) // decode has tried it
	if n.Device == e.o.Self || !s.has(n.Device) || !s.fresher(n) {
		return
	}
	e.emit(JudgeNote{Space: s.id, From: p.key, Bytes: b})
}

func (e *Engine) noteJudged(in NoteJudged) {
	s := e.space(in.Space)
	if s == nil {
		return
	}
	n, err := ParseNote(in.Bytes)
	switch {
	case err != nil:
		return
	case !in.Good:
		e.charge(in.From, s.id, BadNote, ID{})
		return
	case in.Age >= MaxNoteAge, in.Age < -futureNote, !s.has(n.Device), !s.fresher(n):
		return
	}
	e.keep(s, &noted{n, in.Bytes, e.now + MaxNoteAge - max(0, in.Age)}, in.From)
}

// fresher reports whether nothing as new is known of the same key and kind.
func (s *space) fresher(n ParsedNote) bool {
	return !slices.ContainsFunc(s.notes, func(o *noted) bool {
		return o.Device == n.Device && o.Kind == n.Kind && o.Time >= n.Time
	})
}

// keep replaces what is older, and passes the note on.
func (e *Engine) keep(s *space, n *noted, from Peer) {
	kinds := 0
	s.notes = slices.DeleteFunc(s.notes, func(o *noted) bool {
		if o.Device != n.Device {
			return false
		}
		if o.Kind != n.Kind {
			kinds++
			return false
		}
		s.noteBytes -= len(o.bytes)
		return true
	})
	if kinds >= maxKinds || s.noteBytes+len(n.bytes) > maxNotes {
		e.stats.Dropped++
		return
	}
	s.notes = append(s.notes, n)
	s.noteBytes += len(n.bytes)
	e.changed = true
	for _, p := range e.order {
		if b := p.bond(s); b != nil && b.told && p.key != from && p.key != n.Device {
			e.sendNote(p, b, n)
		}
	}
}

func (e *Engine) sendNote(p *peer, b *bond, n *noted) {
	e.emit(Send{p.key, frame{kind: frameNote, channel: b.channel, body: n.bytes}.encode()})
}

// tellNotes tells a peer what is known, of many a random part.
func (e *Engine) tellNotes(p *peer, b *bond) {
	all := b.space.notes
	from := 0
	if len(all) > notesOnOpen {
		from = e.rand.IntN(len(all))
	}
	for i := range min(len(all), notesOnOpen) {
		if n := all[(from+i)%len(all)]; n.Device != p.key {
			e.sendNote(p, b, n)
		}
	}
}

// dropNotes forgets those of who is no member any more.
func (e *Engine) dropNotes(s *space) {
	s.notes = slices.DeleteFunc(s.notes, func(n *noted) bool {
		if n.Device == e.o.Self || s.has(n.Device) {
			return false
		}
		s.noteBytes -= len(n.bytes)
		return true
	})
}
