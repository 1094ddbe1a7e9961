package text

import (
	"errors"
	"fmt"

	"anabranch/crdt"
)

var (
	// ErrReadOnly: the document was made without a lane to write in.
	ErrReadOnly = errors.New("text: the document has no lane to write in")
	// ErrNotUTF8: a text to insert is not valid UTF-8.
	ErrNotUTF8 = errors.New("text: not UTF-8")
	// ErrFull: the lane has no numbers left.
	ErrFull = errors.New("text: the lane has no numbers left")
	// ErrOpenBurst: local edits wait to be flushed.
	ErrOpenBurst = errors.New("text: local edits are not flushed yet")
	// ErrParkFull: a delta must wait for others, and too many do already. The
	// document is as before; give it the delta again once some were released.
	ErrParkFull = errors.New("text: too many deltas wait for others")
)

// RangeError says that positions are outside the document.
type RangeError struct {
	Begin, End, Length int
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("text: no range [%d, %d) in a text of length %d", e.Begin, e.End, e.Length)
}

// FormatError says that bytes are not the encoding of anything. They are wrong
// for everyone, always.
type FormatError struct {
	What   string // delta, state, anchor
	Reason string
}

func (e *FormatError) Error() string { return "text: malformed " + e.What + ": " + e.Reason }

// ForkError says that a delta holds another character for a dot that is taken:
// its lane equivocates. Which one counts must not depend on arrival: make the
// document again with Build.
type ForkError struct {
	Dot crdt.Dot
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("text: two characters at %v", e.Dot)
}
