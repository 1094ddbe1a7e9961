package engine

import (
	"time"

	"anabranch/gossip"
	"anabranch/record"
)

// Peer is another replica's device key, ID a record's.
type (
	Peer = gossip.Peer
	ID   = gossip.ID
)

// Session numbers one session. Those of Sync count up from 1; for Asked and
// Began the shell chooses, with the bit Theirs set.
type Session uint64

// Theirs is set in the numbers of sessions that the engine did not begin.
const Theirs Session = 1 << 63

// Input is what the shell tells an engine: one of Joined, Left, Online,
// PeerUp, PeerDown, Found, StreamUp, StreamDown, Frame, Committed, Judged,
// Asked, Began, Progress, Ended, Note, NoteJudged, Tick.
type Input interface{ input() }

// Joined says that a space is held here, or that its members changed: the
// devices that may read it, ascending and distinct. Where Self is not among
// them, peers are answered and nothing is begun. The engine keeps the slice
// and shares it: a new list is a new slice. A connected peer that was on a
// list and is on none any more is hung up.
type Joined struct {
	Space   record.SpaceID
	Members []Peer
}

// Left says that a space is no longer held here.
type Left struct{ Space record.SpaceID }

// Online turns dialling and sessions on and off. An engine begins online.
type Online struct{ On bool }

// PeerUp says that a connection stands, whoever opened it, and tells what
// kind it is. A second one updates that.
type PeerUp struct {
	Peer  Peer
	Class gossip.Class
	RTT   time.Duration // 0 if unknown
}

// PeerDown says that the last connection is gone, or that a Dial failed.
type PeerDown struct{ Peer Peer }

// Found says that the peer may be reachable now: it has a new address, or the
// network changed. What was learned from failures is forgotten. Nobody may be
// in Peer, which means everyone.
type Found struct{ Peer Peer }

// StreamUp says that frames can be sent to the peer and come from it. It
// comes after PeerUp and before the peer's first Frame.
type StreamUp struct{ Peer Peer }

// StreamDown says that the stream of frames is gone. PeerDown implies it.
type StreamDown struct{ Peer Peer }

// Frame is one frame of the stream. The engine keeps Bytes. A *Frame does as
// well, and is not kept.
type Frame struct {
	Peer  Peer
	Bytes []byte
}

// Fresh is a record that entered the set.
type Fresh struct {
	ID    ID
	Bytes []byte // canonical; of records that are not Own it may be nil
	// Own says that it was written here and is to be spread. Sweeps and
	// what came by a session are not.
	Own bool
}

// Committed says that a space changed here, durably: Fresh entered, and
// others may have left. A record that came as a rumor may be among them, or
// not.
type Committed struct {
	Space record.SpaceID
	// Version is the store's after it: see Ended. 0 means that it is not known.
	Version uint64
	Fresh   []Fresh
	// Many says that not all records that entered are in Fresh: the peers
	// are told by sessions, at once. So they are of more than MaxFresh own.
	Many bool
	// Control says that control records were among them: what was undecided
	// may be decided now.
	Control bool
}

// Judged answers a Judge, once for each.
type Judged struct {
	Space   record.SpaceID
	ID      ID
	Verdict gossip.Verdict
}

// Asked says that a peer began a session about a space. Equal says that its
// hello named the root that is held here.
type Asked struct {
	Session Session
	Space   record.SpaceID
	Peer    Peer
	Equal   bool
}

// Began says that the shell itself began a session, because somebody asked
// for one.
type Began struct {
	Session Session
	Space   record.SpaceID
	Peer    Peer
}

// Progress says that a frame of the peer came: after the first, and at most
// once a second.
type Progress struct{ Session Session }

// Outcome is how a session ended.
type Outcome uint8

// The outcomes.
const (
	Agreed      Outcome = 1 + iota // both computed the same root
	Moved                          // something wanted died meanwhile, or roots differ because both moved: again
	Failed                         // it was cut, refused, or ended in an error
	Unreachable                    // the peer could not be reached
)

// Ended says how a session ended, also one that was refused after Asked or
// whose stream failed while it waited.
type Ended struct {
	Session Session
	Outcome Outcome
	// Current says, of an Agreed one, that the root agreed on is the one
	// held here now, at Version.
	Current bool
	Version uint64
	// Charge says that the peer broke the protocol.
	Charge bool
}

// Note is soft state of this replica, to be passed on: see ParseNote. A
// newer one of the same key and kind replaces it. Age is how old it is now.
type Note struct {
	Space record.SpaceID
	Bytes []byte
	Age   time.Duration
}

// NoteJudged answers a JudgeNote: the signature holds or not, and Age is how
// old it is by the clock, negative if it is from the future.
type NoteJudged struct {
	Space record.SpaceID
	From  Peer
	Bytes []byte
	Good  bool
	Age   time.Duration
}

// Caught says that the shell caught a peer at what no honest peer does, on a
// stream that the engine does not see: at false content, for one.
type Caught struct {
	Peer   Peer
	Space  record.SpaceID
	Reason Reason
}

// Tick says that the time of Next has come, or nothing at all.
type Tick struct{}

func (Joined) input()     {}
func (Left) input()       {}
func (Online) input()     {}
func (PeerUp) input()     {}
func (PeerDown) input()   {}
func (Found) input()      {}
func (StreamUp) input()   {}
func (StreamDown) input() {}
func (Frame) input()      {}
func (Committed) input()  {}
func (Judged) input()     {}
func (Asked) input()      {}
func (Began) input()      {}
func (Progress) input()   {}
func (Ended) input()      {}
func (Note) input()       {}
func (NoteJudged) input() {}
func (Caught) input()     {}
func (Tick) input()       {}

// Output is what the shell must do, in order: one of Dial, Hangup, Send,
// Judge, Sync, Serve, Refuse, Charge, JudgeNote.
type Output interface{ output() }

// Dial asks for a connection. The answer is PeerUp or PeerDown.
type Dial struct{ Peer Peer }

// Hangup closes the connections with a peer; PeerDown follows.
type Hangup struct{ Peer Peer }

// Send puts a frame on the stream to the peer. It may be shared with other
// Sends: it is to be read only. A full queue drops it.
type Send struct {
	Peer  Peer
	Frame []byte
}

// Judge asks for a rumor to be judged: verified for the space, with the ID
// that it came under, and committed. The answer is Judged: Accepted if it is
// a member now, Known if it was before with just these bytes, or is dead here, Rejected if it is wrong for everyone
// (malformed, a bad signature, another ID, a sweep), Undecided if it is not
// authorised by what is known here, Lost if there was no time for it. If
// Bytes is nil the question is whether a record of this ID is held here:
// Accepted or Lost.
type Judge struct {
	Space record.SpaceID
	From  Peer
	ID    ID
	Bytes []byte
}

// Why is the reason for a session.
type Why uint8

// The reasons.
const (
	Connected   Why = 1 + iota // the peer has just come
	Stirred                    // the space moved here since both agreed
	Missing                    // a rumor was missed, is too large to travel, or undecided
	AntiEntropy                // it was time
)

// String names the reason, for logs.
func (w Why) String() string {
	names := [...]string{"", "connected", "stirred", "missing", "anti-entropy"}
	if int(w) >= len(names) {
		return "unknown"
	}
	return names[w]
}

// Sync asks for a session with a connected peer. The answer is Ended.
type Sync struct {
	Session Session
	Space   record.SpaceID
	Peer    Peer
	Why     Why
}

// Serve answers Asked: go on with the session, from a view taken now.
type Serve struct{ Session Session }

// Refuse answers Asked: the peer has its share, or is left alone. No Ended
// need follow.
type Refuse struct{ Session Session }

// Charge says that a peer did what no honest peer does. If Ban is not zero
// the peer is left alone for so long: nothing of it is served, nothing asked
// for, and a Hangup follows.
type Charge struct {
	Peer   Peer
	Space  record.SpaceID // zero if it is about none
	Reason Reason
	ID     ID // of the rumor, if it is about one
	Ban    time.Duration
}

// JudgeNote asks for a note's signature to be checked. The answer is
// NoteJudged.
type JudgeNote struct {
	Space record.SpaceID
	From  Peer
	Bytes []byte
}

func (Dial) output()      {}
func (Hangup) output()    {}
func (Send) output()      {}
func (Judge) output()     {}
func (Sync) output()      {}
func (Serve) output()     {}
func (Refuse) output()    {}
func (Charge) output()    {}
func (JudgeNote) output() {}

// Reason is why a peer is charged.
type Reason uint8

// The reasons.
const (
	Malformed Reason = 1 + iota // a frame that no implementation sends
	Invalid                     // a rumor that is wrong for everyone
	Conflict                    // other content under a record's ID
	Flood                       // above a rate of the protocol
	Broken                      // a session in which it broke the protocol
	BadNote                     // a note whose signature does not hold
	Content                     // content that is false, or asked for against the rules
)

// String names the reason.
func (r Reason) String() string {
	names := [...]string{"", "malformed", "invalid", "conflict", "flood", "broken", "bad note", "content"}
	if int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}
