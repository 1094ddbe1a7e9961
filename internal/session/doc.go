// Package session is one conversation between two replicas about one space:
// from the first hello to a root that both have computed. It is a pure state
// machine. It starts no goroutine, takes no lock, reads no clock and no
// disk but the View it was handed; the shell around it moves frames, checks
// signatures, commits, and keeps the deadlines.
//
//	s, err := session.Initiate(session.Options{…})
//	for in := range inputs {
//		for _, out := range s.Step(time.Now(), in) {
//			perform(out) // Send, Verify, Commit, Done, Fail, in this order
//		}
//	}
//
// The shell begins outputs in their order, and answers Verify and Commit when
// their work is done, in whatever order that comes. It reads frames from the
// link only while Accepts says so, gives Drained each time the queue of frames
// to the peer runs empty, and Closed when the link ends or a deadline of its
// own has passed: a session waits for its peer for ever. It flushes what was
// sent before it closes the link after Done, and closes the views only then.
//
// The conversation is hello, control, sweeps, data. Equal roots end it after
// any of them. Each of the later three brings one set into step and ends
// with a state frame each way:
//
//   - control records, to a fixpoint: what arrives is committed at once, so
//     that both sides judge authority alike before anything else is said;
//   - sweeps, as filters: each side goes on with the view that it will hold
//     once they are applied, so that the dead are neither offered nor fetched;
//   - the rest: what arrives is committed as it arrives and survives a cut.
//
// A session is done only when both sides have computed the same root from
// what they held and what was exchanged; only then are the sweeps applied.
// Anything else is an error, and roots that differ are a *RootsDifferError
// that holds both.
//
// The wire, byte by byte, is in docs/session.md.
package session
