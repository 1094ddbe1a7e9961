package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// FrameType is the first byte of a frame; the rest is its body.
type FrameType uint8

// The frames. docs/gossip.md has their bodies.
const (
	RumorFrame    FrameType = 1  // hops 1 ‖ id 32 ‖ payload to the end
	AnnounceFrame FrameType = 2  // hops 1 ‖ id 32 ‖ size varint
	IHaveFrame    FrameType = 3  // one or more of (hops 1 ‖ id 32)
	GraftFrame    FrameType = 4  // ids; may be empty
	PruneFrame    FrameType = 5  // empty
	JoinFrame     FrameType = 6  // empty
	WalkFrame     FrameType = 7  // ttl 1 ‖ peer 32: who joined
	NeighborFrame FrameType = 8  // urgent 1
	AcceptFrame   FrameType = 9  // empty
	DeclineFrame  FrameType = 10 // empty
	LeaveFrame    FrameType = 11 // empty
	ShuffleFrame  FrameType = 12 // ttl 1 ‖ origin 32 ‖ peers
	ShuffledFrame FrameType = 13 // peers
	OfferFrame    FrameType = 14 // ask 1 ‖ ids
	ReplyFrame    FrameType = 15 // count of wanted varint ‖ wanted ids ‖ known ids
)

var frameNames = [...]string{"", "rumor", "announce", "ihave", "graft", "prune", "join", "walk", "neighbor", "accept", "decline", "leave", "shuffle", "shuffled", "offer", "reply"}

// String is the frame's name in docs/gossip.md.
func (t FrameType) String() string {
	if t == 0 || int(t) >= len(frameNames) {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return frameNames[t]
}

var errFrame = errors.New("gossip: malformed frame")

// news is a rumor's ID and how many links it has crossed when it arrives.
type news struct {
	id   ID
	hops uint8
}

// heard is the body of an ihave: hops 1 ‖ id 32, again and again.
type heard []byte

func (h heard) len() int { return len(h) / 33 }

func (h heard) at(i int) news { return news{id: ID(h[33*i+1:]), hops: h[33*i]} }

// message is a frame taken apart. Which fields are used is the kind's.
type message struct {
	kind  FrameType
	rumor Rumor
	hops  uint8
	news  []news     // to be sent
	heard heard      // that came
	ids   [][32]byte // of rumors, or keys of peers
	known []ID
	peer  Peer
	ttl   uint8
	flag  bool // urgent, ask
}

// most is how long its encoding is, or a little less. Rumors are not asked for.
func (m *message) most() int {
	n := 1 + 32*(len(m.ids)+len(m.known)) + 33*len(m.news)
	switch m.kind {
	case WalkFrame, ShuffleFrame:
		n += 1 + 32
	case NeighborFrame, OfferFrame:
		n++
	case ReplyFrame:
		n += 2
	}
	return n
}

// appendTo encodes the message. Every message has one encoding.
func (m *message) appendTo(b []byte) []byte {
	b = append(b, byte(m.kind))
	switch m.kind {
	case RumorFrame:
		b = append(b, m.hops)
		b = append(b, m.rumor.ID[:]...)
		b = append(b, m.rumor.Payload...)
	case AnnounceFrame:
		b = append(b, m.hops)
		b = append(b, m.rumor.ID[:]...)
		b = binary.AppendUvarint(b, m.rumor.Size)
	case IHaveFrame:
		for i := range m.news {
			b = append(b, m.news[i].hops)
			b = append(b, m.news[i].id[:]...)
		}
		b = append(b, m.heard...)
	case WalkFrame:
		b = append(b, m.ttl)
		b = append(b, m.peer[:]...)
	case NeighborFrame:
		b = append(b, flagByte(m.flag))
	case ShuffleFrame:
		b = append(b, m.ttl)
		b = append(b, m.peer[:]...)
		b = appendIDs(b, m.ids)
	case GraftFrame, ShuffledFrame:
		b = appendIDs(b, m.ids)
	case OfferFrame:
		b = append(b, flagByte(m.flag))
		b = appendIDs(b, m.ids)
	case ReplyFrame:
		b = binary.AppendUvarint(b, uint64(len(m.ids)))
		b = appendIDs(b, m.ids)
		b = appendIDs(b, m.known)
	}
	return b
}

func flagByte(f bool) byte {
	if f {
		return 1
	}
	return 0
}

func appendIDs(b []byte, ids [][32]byte) []byte {
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}

// decode takes a frame apart. The payload is b's own bytes. It allocates no
// more than the frame's length.
func decode(b []byte) (m message, err error) {
	if len(b) == 0 || len(b) > MaxFrame {
		return m, errFrame
	}
	r := reader{b: b[1:]}
	m.kind = FrameType(b[0])
	switch m.kind {
	case RumorFrame:
		m.hops = r.byte(255)
		r.copy(m.rumor.ID[:])
		m.rumor.Payload = r.rest(MaxPayload)
	case AnnounceFrame:
		m.hops = r.byte(255)
		r.copy(m.rumor.ID[:])
		m.rumor.Size = r.uvarint(MaxPayload+1, MaxAnnouncement)
	case IHaveFrame:
		n := len(r.b) / 33
		if n == 0 || n > MaxIDs {
			return m, errFrame
		}
		m.heard = heard(r.rest(33 * n))
	case GraftFrame:
		m.ids = r.ids(len(r.b)/32, MaxGrafts)
	case WalkFrame:
		m.ttl = r.byte(MaxTTL)
		r.copy(m.peer[:])
	case NeighborFrame:
		m.flag = r.byte(1) == 1
	case ShuffleFrame:
		m.ttl = r.byte(MaxTTL)
		r.copy(m.peer[:])
		m.ids = r.ids(len(r.b)/32, MaxPeers)
	case ShuffledFrame:
		m.ids = r.ids(len(r.b)/32, MaxPeers)
	case OfferFrame:
		m.flag = r.byte(1) == 1
		m.ids = r.ids(len(r.b)/32, MaxIDs)
		if !m.flag && len(m.ids) == 0 {
			return m, errFrame
		}
	case ReplyFrame:
		n := r.uvarint(0, MaxIDs)
		m.ids = r.ids(int(n), MaxIDs)
		m.known = r.ids(len(r.b)/32, MaxIDs-len(m.ids))
		if len(m.ids)+len(m.known) == 0 {
			return m, errFrame
		}
	case PruneFrame, JoinFrame, AcceptFrame, DeclineFrame, LeaveFrame:
	default:
		return m, errFrame
	}
	if r.bad || len(r.b) > 0 {
		return m, errFrame
	}
	return m, nil
}

// reader takes a body apart; bad stays once set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) copy(dst []byte) {
	if len(r.b) < len(dst) {
		r.bad = true
		return
	}
	copy(dst, r.b)
	r.b = r.b[len(dst):]
}

func (r *reader) byte(most byte) byte {
	var b [1]byte
	r.copy(b[:])
	r.bad = r.bad || b[0] > most
	return b[0]
}

func (r *reader) rest(most int) []byte {
	b := r.b
	r.bad = r.bad || len(b) > most
	r.b = nil
	return b[:len(b):len(b)]
}

// uvarint reads a little-endian base-128 number in its shortest form.
func (r *reader) uvarint(least, most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 || v < least || v > most {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) ids(n, most int) [][32]byte {
	if r.bad || n > most || n > len(r.b)/32 {
		r.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	ids := make([][32]byte, n)
	for i := range ids {
		r.copy(ids[i][:])
	}
	return ids
}

// Describe says in a line what a frame is, for logs and transcripts. IDs and
// keys are cut to three bytes.
func Describe(frame []byte) string {
	m, err := decode(frame)
	if err != nil {
		return err.Error()
	}
	s := m.kind.String()
	switch m.kind {
	case RumorFrame:
		s += fmt.Sprintf(" %x hop %d (%d bytes)", m.rumor.ID[:3], m.hops, len(m.rumor.Payload))
	case AnnounceFrame:
		s += fmt.Sprintf(" %x hop %d (%d bytes to be fetched)", m.rumor.ID[:3], m.hops, m.rumor.Size)
	case IHaveFrame:
		for i := range m.heard.len() {
			n := m.heard.at(i)
			s += fmt.Sprintf(" %x hop %d", n.id[:3], n.hops)
		}
	case WalkFrame:
		s += fmt.Sprintf(" for %x, %d steps left", m.peer[:3], m.ttl)
	case NeighborFrame:
		if m.flag {
			s += ", urgent"
		}
	case ShuffleFrame:
		s += fmt.Sprintf(" by %x, %d steps left:%s", m.peer[:3], m.ttl, describeIDs(m.ids))
	case GraftFrame, ShuffledFrame:
		s += describeIDs(m.ids)
	case OfferFrame:
		s += describeIDs(m.ids)
		if m.flag {
			s += ", and what is yours?"
		}
	case ReplyFrame:
		s += " wanted" + describeIDs(m.ids) + " known" + describeIDs(m.known)
	}
	return s
}

func describeIDs(ids [][32]byte) string {
	var s strings.Builder
	for i := range ids {
		fmt.Fprintf(&s, " %x", ids[i][:3])
	}
	return s.String()
}
