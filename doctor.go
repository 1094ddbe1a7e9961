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

// LastFailure is why the last session with a device did not end well, and
// when; nil if it did, or if there was none since the replica was opened. The
// errors of Sync can be matched in it.
func (r *Replica) LastFailure(device record.Key) (at time.Time, err error) {
	p := r.peer(device)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed, p.lastErr
}
