package gossip

import "time"

// Limits of the protocol. A peer past one of them is charged, so another
// implementation has to keep them too.
const (
	MaxPayload      = 4 << 10  // a rumor's content; what is larger is announced
	MaxFrame        = 64 << 10 // any frame
	MaxAnnouncement = 1 << 40  // the size that an announcement may name
	MaxIDs          = 256      // in one ihave, offer or reply
	MaxGrafts       = 64       // IDs in one graft
	MaxPeers        = 32       // keys in one shuffle
	MaxTTL          = 6        // steps of a walk through the overlay
)

// Rates that a peer may reach on one link. A sender keeps to rate and a
// second's burst; a receiver allows ten times the burst, because a link that
// stalls delivers its backlog at once, drops what is above and charges Flood.
const (
	ihavesPerSecond  = 10   // frames, of up to MaxIDs
	graftsPerSecond  = 64   // IDs
	rumorsPerSecond  = 1024 // payloads and announcements
	overlayPerSecond = 32   // frames of membership and of mongering
	stallSeconds     = 10
)

// Our own bounds, of no concern to a peer. At each of them a rumor is
// dropped, and anti-entropy brings the record.
const (
	maxLazy      = 4 * MaxIDs // IDs waiting to be announced on one link
	maxWants     = 4096       // announced IDs awaited, by the peer that announced first
	maxAnnouncer = 8          // peers remembered for one awaited ID
	maxOpen      = 256        // rumors delivered and not yet judged, by sender
	maxHeld      = 256        // undecided rumors, by sender
	maxHeldBytes = 1 << 20    // and their bytes
	maxLately    = 1024       // contents that came by other means lately
	maxHot       = 4096       // rumors being mongered
	maxShunned   = 256        // peers kept out after a charge
	mostPatience = 3          // times GraftAfter, at most, that the tree is waited for
	spareActive  = 2          // neighbours taken beyond those sought
	walkPassive  = 3          // the step at which a walk leaves a key in a passive view
	shuffleLive  = 3          // own neighbours in a shuffle
	shuffleIdle  = 4          // passive keys in a shuffle
)

const (
	housekeeping  = 10 * time.Second
	connectWait   = 15 * time.Second // a Connect without answer has failed
	askWait       = 5 * time.Second  // a neighbor request without answer is declined
	shunTime      = 10 * time.Minute
	holdTime      = 2 * time.Minute
	latelyTime    = 10 * time.Second // that a rumor of what has come is still forwarded
	lastGraftWait = time.Second      // after the last announcer was asked
	graftMemory   = time.Second
	graftPause    = 250 * time.Millisecond // where a link's rate is used up
	fetchWait     = 2 * time.Second
	seekFirst     = 500 * time.Millisecond // between attempts to find a neighbour, doubling
	seekLast      = 30 * time.Second
)

// bucket bounds a rate: it is the time at which everything spent so far is
// paid for.
type bucket time.Duration

// take spends n at a rate per second, unless that is more than seconds ahead.
func (b *bucket) take(now time.Duration, n, rate int, seconds time.Duration) bool {
	paid := max(time.Duration(*b), now) + time.Duration(n)*time.Second/time.Duration(rate)
	if paid > now+seconds*time.Second {
		return false
	}
	*b = bucket(paid)
	return true
}

// free is when one more can be spent.
func (b bucket) free(rate int, seconds time.Duration) time.Duration {
	return time.Duration(b) + time.Second/time.Duration(rate) - seconds*time.Second
}
