package session

import "anabranch/record"

// Input is what the shell tells a session: one of Start, Frame, Verified,
// Committed, Drained, Closed.
type Input interface{ input() }

// Start begins the conversation. It is the first input.
type Start struct{}

// Frame is one frame from the peer, without its length prefix. The session
// does not keep Bytes.
type Frame struct{ Bytes []byte }

// Verified answers the Verify before it: same length, and exactly one of
// Records[i] and Errs[i] set, as record.VerifyBatch returns them.
type Verified struct {
	Records []*record.Verified
	Errs    []error
}

// Committed answers the Commit before it: the records are durable, or Err
// says why not, which ends the session without a charge. View is the state
// after the commit; it may be nil unless control records were committed.
type Committed struct {
	View View
	Err  error
}

// Drained says that every frame output so far is on its way and the link
// takes more. Records are produced a few frames ahead of it, no further.
type Drained struct{}

// Closed says that the link is gone. Err may be nil.
type Closed struct{ Err error }

func (Start) input()     {}
func (Frame) input()     {}
func (Verified) input()  {}
func (Committed) input() {}
func (Drained) input()   {}
func (Closed) input()    {}

// Output is what the shell must do: one of Send, Verify, Commit, Done, Fail.
// Outputs are to be begun in order. After Done or Fail nothing follows, and
// frames output before a Done are to be flushed before the link is closed.
type Output interface{ output() }

// Send puts one frame on the link, with its length before it. The frame is
// the shell's.
type Send struct{ Frame []byte }

// Verify asks for the signatures of canonical records to be checked in the
// session's space. There is at most one unanswered Verify.
type Verify struct{ Batch [][]byte }

// Commit asks for records to be made durable. There is at most one
// unanswered Commit. Completes is set on the last one of a session, which
// applies the sweeps: both sides hold everything.
type Commit struct {
	Records   []*record.Verified
	Completes bool
}

// Done ends a session: both sides computed the same root.
type Done struct{ Report Report }

// Fail ends a session. What had arrived and was good is committed. Charge
// says that the peer broke the protocol; an honest peer on a bad link, or a
// fault of our own, does not set it.
type Fail struct {
	Err    error
	Charge bool
	Report Report
}

func (Send) output()   {}
func (Verify) output() {}
func (Commit) output() {}
func (Done) output()   {}
func (Fail) output()   {}
