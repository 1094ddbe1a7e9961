// Package engine decides what one replica does: whom to dial, when to run a
// session and with whom, which sessions of others to answer and when, how
// fresh records go round as rumors, whom to charge and whom to leave alone,
// and which notes to pass on. It is a pure state machine. It starts no
// goroutine, takes no lock, reads no clock and no disk, and verifies nothing:
// the shell does, and tells it.
//
//	e, err := engine.New(engine.Options{Self: device, Rand: seeded})
//	for in := range inputs {
//		for _, out := range e.Step(sinceStart(), in) {
//			perform(out) // Dial, Hangup, Send, Judge, Sync, Serve, Refuse, Charge, ...
//		}
//		wakeAt(e.Next()) // and give Tick then
//	}
//
// There is one engine for all spaces of a replica, and in it a gossip machine
// for each. What the shell does:
//
//  1. Joined for every space, and again when its list of members changed.
//  2. PeerUp and PeerDown for connections, whoever opened them. PeerDown too
//     when a Dial failed. StreamUp when frames can be exchanged with the peer,
//     StreamDown when they no longer can; a peer that speaks sessions only
//     never has one, and is kept in step by sessions alone.
//  3. Committed after every change of a space, whatever caused it, with what
//     entered. Only what is durable is told.
//  4. Judge: check the bytes against the ID and the space, commit, and answer
//     Judged. Accepted only once it is durable.
//  5. Sync: open a session and answer Ended with its outcome; Progress when
//     the peer's first frame came, and at most once a second while frames
//     come. Asked before a session that a peer began is answered, then Serve
//     or Refuse comes back, at once or later; then the same. Whoever syncs
//     without being told so by the engine says Began, so that nothing is
//     fetched twice.
//  6. Send to a queue per peer with a bound. A frame may be dropped when it is
//     full: whatever travels in frames is repaired by sessions.
//
// Gossip is fast and promises nothing; what promises that every record comes
// everywhere is the schedule of sessions: after each connection, with
// connected peers after the space has moved here, after a missed rumor, and
// at a jittered interval with a partner drawn from the signed list of members,
// connected or not.
//
// A session of one space that moves records is the only one of that space at
// that time, so that no two peers are asked for the same ones: the others
// wait, and find equal roots afterwards. A session that stalls loses that
// place, and no wait is for ever, so replicas never wait in a circle.
package engine
