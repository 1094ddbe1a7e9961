package engine

import (
	"encoding/binary"
	"slices"
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

func (e *Engine) streamUp(key Peer) {
	p := e.peers.find(key)
	if p == nil || p.link != up || p.banned > e.now || e.o.Manual {
		return
	}
	e.streamDown(p) // a new stream knows nothing of the channels before
	p.stream = true
	for _, b := range p.bonds {
		e.open(p, b.space)
	}
}

func (e *Engine) streamDown(p *peer) {
	for _, b := range p.bonds {
		e.silence(p, b)
	}
	p.stream, p.opened, p.heard = false, nil, nil
}

// silence takes a peer out of a space's gossip.
func (e *Engine) silence(p *peer, b *bond) {
	if b.told {
		b.told = false
		e.tell(b.space, gossip.PeerDown{Peer: p.key})
	}
}

// open says that we speak of a space with a peer.
func (e *Engine) open(p *peer, s *space) {
	if !p.stream || s.mute || slices.Contains(p.opened, s) {
		return
	}
	i := slices.Index(p.opened, nil)
	if i < 0 {
		if len(p.opened) == MaxChannels {
			return // sessions have to do
		}
		i = len(p.opened)
		p.opened = append(p.opened, nil)
	}
	p.opened[i] = s
	e.sayOpen(p, s, uint8(i))
	e.meet(p, s)
}

func (e *Engine) sayOpen(p *peer, s *space, number uint8) {
	if b := p.bond(s); b != nil {
		b.openAt = e.now
	}
	e.changed = true
	f := frame{kind: frameOpen, channel: number}
	binary.BigEndian.PutUint64(f.nonce[:], e.rand.Uint64())
	f.tag = tagOf(s.id, e.o.Self, p.key, f.nonce)
	e.emit(Send{p.key, f.encode()})
}

// reopen repeats an open that the peer has not answered: one of the two may
// have been lost.
func (e *Engine) reopen(p *peer) {
	if p.banned > e.now {
		return
	}
	for _, b := range p.bonds {
		if at, ok := p.reopens(b); ok && at <= e.now {
			e.sayOpen(p, b.space, uint8(slices.Index(p.opened, b.space)))
		}
	}
}

func (p *peer) reopens(b *bond) (time.Duration, bool) {
	if !p.stream || b.told || !slices.Contains(p.opened, b.space) {
		return 0, false
	}
	return b.openAt + reopenWait, true
}

// match finds the space that the peer means.
func (e *Engine) match(p *peer, h *heard) {
	if h.space != nil {
		return
	}
	for _, b := range p.bonds {
		if tagOf(b.space.id, p.key, e.o.Self, h.nonce) == h.tag {
			h.space = b.space
			e.meet(p, b.space)
			return
		}
	}
}

// meet begins gossip in a space that both have opened.
func (e *Engine) meet(p *peer, s *space) {
	b := p.bond(s)
	if b == nil || b.told {
		return
	}
	ours := slices.Index(p.opened, s)
	theirs := slices.ContainsFunc(p.heard, func(h heard) bool { return h.space == s })
	if ours < 0 || !theirs {
		return
	}
	b.channel, b.told = uint8(ours), true
	e.tell(s, gossip.PeerUp{Peer: p.key, Class: p.class, RTT: p.rtt})
	e.tellNotes(p, b)
}

// channelTo is where frames of a space go to a peer, if anywhere.
func (e *Engine) channelTo(key Peer, s *space) (number uint8, ok bool) {
	if p := e.peers.find(key); p != nil {
		if b := p.bond(s); b != nil {
			return b.channel, b.told
		}
	}
	return 0, false
}

// frame takes one frame of the stream.
func (e *Engine) frame(key Peer, b []byte) {
	p := e.peers.find(key)
	if p == nil || !p.stream || p.banned > e.now {
		return
	}
	f, err := decode(b)
	if err != nil {
		e.charge(key, record.SpaceID{}, Malformed, ID{})
		return
	}
	if f.kind == frameRumors {
		if s := p.spaceOf(f.channel); s != nil {
			if b := p.bond(s); b != nil && b.told {
				e.rumors = gossip.Frame{Peer: key, Bytes: f.body}
				e.tell(s, &e.rumors)
			}
		}
		return
	}
	if !p.frames.take(e.now, 1, framesPerSecond, 10) {
		e.stats.Dropped++
		e.charge(key, record.SpaceID{}, Flood, ID{})
		return
	}
	switch f.kind {
	case frameOpen:
		if s := p.spaceOf(f.channel); s != nil {
			// It opens again: ours may have been lost.
			if b, i := p.bond(s), slices.Index(p.opened, s); b != nil && i >= 0 && b.openAt+reopenWait/2 <= e.now {
				defer e.sayOpen(p, s, uint8(i))
			}
		}
		p.unhear(e, f.channel)
		p.heard = append(p.heard, heard{number: f.channel, nonce: f.nonce, tag: f.tag})
		e.match(p, &p.heard[len(p.heard)-1])
	case frameClose:
		p.unhear(e, f.channel)
	case frameNote:
		if s := p.spaceOf(f.channel); s != nil {
			e.noteFrom(p, s, f.body)
		}
	}
}

// spaceOf is what the peer's channel is about.
func (p *peer) spaceOf(number uint8) *space {
	for i := range p.heard {
		if p.heard[i].number == number {
			return p.heard[i].space
		}
	}
	return nil
}

// unhear ends a channel of the peer's.
func (p *peer) unhear(e *Engine, number uint8) {
	i := slices.IndexFunc(p.heard, func(h heard) bool { return h.number == number })
	if i < 0 {
		return
	}
	s := p.heard[i].space
	p.heard = slices.Delete(p.heard, i, i+1)
	if s == nil || slices.ContainsFunc(p.heard, func(h heard) bool { return h.space == s }) {
		return
	}
	if b := p.bond(s); b != nil {
		e.silence(p, b)
	}
}
