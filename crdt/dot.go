package crdt

import "fmt"

// MaxNumber is the highest number that an event may have, so that number and
// count arithmetic in 32 bits cannot overflow.
const MaxNumber = 1<<31 - 1

// Dot names one event: the n-th of a lane, n >= 1. The zero Dot names none.
type Dot struct {
	Lane   uint64
	Number uint32
}

// IsZero reports whether the dot names no event.
func (d Dot) IsZero() bool { return d == Dot{} }

// Compare orders dots by lane, then number: -1, 0 or 1.
func (d Dot) Compare(e Dot) int {
	switch {
	case d.Lane < e.Lane, d.Lane == e.Lane && d.Number < e.Number:
		return -1
	case d == e:
		return 0
	}
	return 1
}

// String writes a dot for people, as lane:number with the lane in hexadecimal.
func (d Dot) String() string { return fmt.Sprintf("%x:%d", d.Lane, d.Number) }
