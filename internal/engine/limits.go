package engine

import (
	"math"
	"time"
)

const never = time.Duration(math.MaxInt64)

// Limits of the protocol: a peer past one of them is charged.
const (
	MaxFrame    = 64<<10 + 16 // any frame: a gossip frame and its channel
	MaxChannels = 256         // spaces that one peer may open on its stream
	MaxNote     = 4 << 10     // a note, header and signature included
	MaxNoteAge  = 7 * 24 * time.Hour

	framesPerSecond = 64 // opens, closes and notes of one peer; ten seconds' burst
)

// Our own bounds, of no concern to a peer.
const (
	// MaxFresh is how many records of one commit become rumors. Of more, a
	// session carries them cheaper.
	MaxFresh = 64

	rumorsOwn    = 256              // own records a second that become rumors, and a second's burst
	meshMembers  = 9                // members of a space, Self included, up to which all are dialled
	maxLinks     = 32               // connections, beyond which idle ones are hung up
	maxSessions  = 64               // of peers, running or waiting
	maxEach      = 8                // of one peer
	maxBegun     = 4                // begun here in one space
	maxHeld      = 256              // undecided rumors of one space
	maxHeldBytes = 1 << 20          // and their bytes
	maxAnnounced = 1024             // announced records awaited in one space
	maxForgotten = 1024             // peers remembered that are not connected
	maxNotes     = 1 << 20          // bytes of notes of one space
	maxKinds     = 4                // notes of one key
	notesOnOpen  = 64               // notes told to a peer that opens a channel
	charges      = 3                // within banFor, before a ban
	banFor       = 10 * time.Minute // how long
	futureNote   = 10 * time.Minute // that a note may be ahead of the clock

	answerWait = time.Second            // an unanswered session keeps others waiting
	glance     = 150 * time.Millisecond // in which it should be answered
	stallWait  = 5 * time.Second        // and one on which nothing moves
	serveWait  = 20 * time.Second
	redialMost = 30 * time.Second
	redialMin  = time.Second
	greet      = 100 * time.Millisecond // how long the larger key lets the smaller begin
	yield      = 500 * time.Millisecond // and dial
	again      = 200 * time.Millisecond // least time between sessions begun with one peer in one space
	reopenWait = 10 * time.Second       // for a space to be opened by the peer too
	dialWait   = 30 * time.Second       // a Dial without answer has failed
	spread     = 5 * time.Second        // in which first anti-entropy falls due
)
