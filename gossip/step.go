package gossip

import "time"

// ID names a rumor's content, and never two contents: a record's hash.
type ID = [32]byte

// Peer is another replica: its device key.
type Peer = [32]byte

// Rumor is what spreads. Payload is its content; or Payload is nil and Size
// announces that many bytes, which whoever wants them fetches by other means.
type Rumor struct {
	ID      ID
	Payload []byte
	Size    uint64 // above MaxPayload in an announcement, else 0
}

// bytes is what keeping the rumor costs, about.
func (r Rumor) bytes() int { return 64 + len(r.Payload) }

// Class is what kind of link leads to a peer.
type Class uint8

// The classes. A Relay (or metered) link starts lazy: rumors are announced
// on it and cross it when asked for, until the tree needs it.
const (
	Direct Class = iota
	LAN
	Relay
)

// Input is what the caller tells a machine: one of Members, PeerUp,
// PeerDown, Frame, Publish, Learned, Judged, Tick.
type Input interface{ input() }

// Members is the list of all who may take part, Self among them or not,
// ascending and distinct. The machine keeps the slice, and shares it: a new
// list is a new slice. Without one, partners are those whom links and
// neighbours have named, and nobody is kept out.
type Members struct{ Peers []Peer }

// PeerUp says that a link to the peer is up, whoever opened it. RTT may be 0
// if unknown. A second PeerUp updates class and RTT.
type PeerUp struct {
	Peer  Peer
	Class Class
	RTT   time.Duration
}

// PeerDown says that the link is gone, or that a Connect failed.
type PeerDown struct{ Peer Peer }

// Frame is one frame from an authenticated peer. The machine keeps Bytes, and
// they must not change afterwards. A *Frame does as well, and is not kept:
// whoever takes very many frames can use one for all.
type Frame struct {
	Peer  Peer
	Bytes []byte
}

// Publish spreads a rumor of this replica's own, judged already. Content
// above MaxPayload is announced. The machine keeps Payload.
type Publish struct{ Rumor Rumor }

// Learned says that this replica has the content by other means, such as a
// session. Nothing is announced; a rumor of it that comes within the next ten
// seconds is delivered, and forwarded when it is Known.
type Learned struct{ ID ID }

// Judged answers a Deliver, and again later if the Verdict was Undecided.
type Judged struct {
	ID      ID
	Verdict Verdict
}

// Tick says that the time of Next has come, or nothing at all.
type Tick struct{}

func (Members) input()  {}
func (PeerUp) input()   {}
func (PeerDown) input() {}
func (Frame) input()    {}
func (Publish) input()  {}
func (Learned) input()  {}
func (Judged) input()   {}
func (Tick) input()     {}

// Verdict is what the caller thinks of a rumor.
type Verdict uint8

// The verdicts.
const (
	Accepted  Verdict = 1 + iota // good, and durable here: forward it
	Known                        // good, byte for byte what was here before: not forwarded unless Learned just now
	Rejected                     // wrong for everyone: charge who sent it
	Undecided                    // not to be judged yet: hold it
	Lost                         // could not be had, or is of no interest: forget it; nobody is to blame
)

// Output is what the caller must do, in order: one of Send, Deliver, Connect,
// Close, Charge, Missed.
type Output interface{ output() }

// Send puts a frame on the link to the peer. Where there is none, which
// happens in the modes of mongering and with the answer to a shuffle, the
// caller dials or drops it. The frame may be shared with other Sends: it is
// to be read only. If a link's queue is full, frames may be dropped.
type Send struct {
	Peer  Peer
	Frame []byte
}

// Deliver asks for a rumor to be judged; the answer is Judged. From has the
// content of what is only announced.
type Deliver struct {
	Rumor Rumor
	From  Peer
}

// Connect asks for a link to a member. The answer is PeerUp or PeerDown.
type Connect struct{ Peer Peer }

// Close says that gossip has no more use for the link: closing it is the
// caller's choice. After a Charge other than Flood it follows at once, and
// whatever the peer says later is ignored.
type Close struct{ Peer Peer }

// Charge says that the peer did what no honest peer does. ID is zero unless
// the reason is about a rumor.
type Charge struct {
	Peer   Peer
	Reason Reason
	ID     ID
}

// Missed says that a rumor was announced by the peer and could not be had
// from anyone: time for a session with it.
type Missed struct {
	ID   ID
	Peer Peer
}

func (Send) output()    {}
func (Deliver) output() {}
func (Connect) output() {}
func (Close) output()   {}
func (Charge) output()  {}
func (Missed) output()  {}

// Reason is why a peer is charged.
type Reason uint8

// The reasons. All but Flood mean that the peer is shunned for ten minutes.
const (
	Malformed Reason = 1 + iota // a frame that no implementation sends
	Invalid                     // a rumor that was rejected
	Conflict                    // other content under the ID of an accepted rumor
	Flood                       // above a rate of the protocol; the frame was dropped
)

// String names the reason for logs.
func (r Reason) String() string {
	names := [...]string{"", "malformed", "invalid", "conflict", "flood"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

// String names the verdict.
func (v Verdict) String() string {
	names := [...]string{"", "accepted", "known", "rejected", "undecided", "lost"}
	if int(v) >= len(names) {
		return "unknown"
	}
	return names[v]
}
