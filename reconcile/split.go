package reconcile

import (
	"encoding/binary"
	"fmt"
)

// Split says into what a side cuts a range whose fingerprints differ. It is
// a choice of each side alone: every Split reconciles with every other, and
// with any implementation of V1.
type Split uint8

const (
	// Reference sends what the reference implementations send, byte for
	// byte: 16 ranges, and lists below 32 items.
	Reference Split = iota

	// Balanced takes as a rule as many rounds as Reference, and down to a
	// third of the bytes. An initiator with few items in a range sends fingerprints of
	// three to five of them rather than all IDs; a responder answers a list
	// with only what it holds beyond it, where it can say where that lies.
	Balanced

	// Latency is Balanced with 64 ranges: two rounds for a million items,
	// more bytes for few differences.
	Latency

	// Bandwidth is Balanced with 8 ranges, and short lists at the responder
	// too: if both sides take it, the fewest bytes, in a round or two more.
	Bandwidth
)

func (s Split) String() string {
	if int(s) < len(plans) {
		return plans[s].name
	}
	return fmt.Sprintf("Split(%d)", uint8(s))
}

// plan is what a Split means.
type plan struct {
	name    string
	buckets int  // fingerprints that replace a mismatching one
	list    int  // a range with fewer items is sent as a list
	lean    bool // no list where less will do
	jitter  bool // boundaries move from one conversation to the next
	exact   bool // a closing fingerprint digests what it claims
}

var plans = [...]plan{
	Reference: {name: "reference", buckets: 16, list: 32},
	Balanced:  {name: "balanced", buckets: 16, list: 32, lean: true, jitter: true, exact: true},
	Latency:   {name: "latency", buckets: 64, list: 32, lean: true, jitter: true, exact: true},
	Bandwidth: {name: "bandwidth", buckets: 8, list: 12, lean: true, jitter: true, exact: true},
}

const (
	leanItems = 4 // mean size of the groups that a lean initiator sends instead
	leanLeast = 3 // a range with fewer items is a list all the same

	// jitterPart is the part of a range by which a boundary moves at most.
	// It is small, so that ranges stay about equal and no round is added,
	// and yet larger than the ranges which the next split makes.
	jitterPart = 16

	maxParts = 64 // of any split

	// maxRange is the most that a fingerprint takes on the wire: a split of
	// a whole plan must fit into the least frame.
	maxRange = maxVarint + 1 + 32 + 1 + 16
)

// fit returns the plan for frames of a size: every split must fit into an
// empty one, or it could never be sent.
func (p plan) fit(frameBytes int) plan {
	if frameBytes != 0 {
		p.buckets = max(2, min(p.buckets, (frameBytes-frameReserve-1)/maxRange))
	}
	return p
}

// cut returns into how many ranges n mismatching items are split, or 0 for
// one list.
func (p *plan) cut(n int, initiator, opening bool) int {
	switch {
	case n >= p.list && p.exact:
		return min(p.buckets, n/leanItems)
	case n >= p.list:
		return p.buckets
	case p.lean && initiator && !opening && n >= leanLeast:
		return max(2, (n+leanItems-1)/leanItems)
	}
	return 0
}

// jitter is a small pseudorandom generator: SplitMix64. Where boundaries
// fall need not be secret for the result to be right, only to keep items
// planted by somebody else from sharing a range for ever.
type jitter uint64

func (j *jitter) begin(seed uint64, set Fingerprint) {
	*j = jitter(seed ^ binary.LittleEndian.Uint64(set[:]))
}

// below returns a number in [0, n).
func (j *jitter) below(n int) int {
	*j += 0x9e3779b97f4a7c15
	z := uint64(*j)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}
