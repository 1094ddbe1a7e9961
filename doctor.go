package anabranch

import (
	"slices"
	"time"

	"anabranch/record"
)

// KnownAddrs are the addresses ("ip:port") that are remembered of a device,
// the last that worked first.
func (r *Replica) KnownAddrs(device record.Key) []string {
	return slices.Clone(r.storedAddrs(device))
}

// LastFailure is the newest reason why a session with a device did not end
// well in some space, and when; nil if the last one in each space did, or if
// there was none since the replica was opened. The
// errors of Sync can be matched in it.
func (r *Replica) LastFailure(device record.Key) (at time.Time, err error) {
	p := r.peer(device)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.failed {
		if f.at.After(at) {
			at, err = f.at, f.err
		}
	}
	return at, err
}
