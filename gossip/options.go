package gossip

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Mode is how rumors spread. All replicas of a space use one.
type Mode uint8

// The modes. In the last three each replica contacts one member a round.
const (
	Tree     Mode = iota // Plumtree over HyParView
	Push                 // who has hot rumors offers them
	Pull                 // everyone asks for hot rumors
	PushPull             // everyone offers its own and asks
)

// String names the mode.
func (m Mode) String() string {
	names := [...]string{"tree", "push", "pull", "push-pull"}
	if int(m) >= len(names) {
		return "unknown"
	}
	return names[m]
}

// Options configures New. Self and Rand are required; the zero value of
// everything else means the default, which is the project's.
type Options struct {
	Self Peer
	// Rand is the machine's own from now on. With the same seed and the
	// same inputs at the same times a machine gives the same outputs.
	Rand *rand.Rand
	Mode Mode

	// MeshPeers is how many known peers are all taken as neighbours.
	// Default 8.
	MeshPeers int
	// ActivePeers is how many neighbours there are above that, and
	// PassivePeers how many others are remembered. Default 6 and 36.
	ActivePeers, PassivePeers int
	// Shuffle is the mean time between exchanges of passive peers. Default
	// 60s; the actual times vary by half of it.
	Shuffle time.Duration

	// LazyDelay is how long IDs wait for others to be announced with.
	// Default 5ms.
	LazyDelay time.Duration
	// GraftAfter is how long an announced rumor is awaited on the tree, or
	// two round trips if that is more, and GraftNext how long the next
	// announcer waits for the one before it, or one round trip. Default
	// 200ms and 100ms.
	GraftAfter, GraftNext time.Duration
	// Shorter is how many hops an announcer must be nearer than the parent
	// to take its place in the tree. Default 7.
	Shorter int

	// CacheBytes and CacheAge bound the rumors kept for others. Default
	// 16 MiB and 60s.
	CacheBytes int
	CacheAge   time.Duration
	// SeenIDs is how many IDs one of two generations remembers. Default
	// 32 768: 3 MB for both.
	SeenIDs int

	// Round is the time between contacts in the modes Push, Pull and
	// PushPull, at multiples of it. Default 1s.
	Round time.Duration
	// Counter is after how many useless contacts a replica no longer mongers
	// a rumor; in Pull and PushPull, after how many useless rounds in a row.
	// 0 means that it mongers until the rumor leaves the cache.
	Counter int
}

func (o *Options) validate() error {
	var errs []error
	positive := func(name string, v, def int) int {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %d", name, v))
		}
		if v == 0 {
			return def
		}
		return v
	}
	lasting := func(name string, v, def time.Duration) time.Duration {
		if v < 0 {
			errs = append(errs, fmt.Errorf("%s is negative: %v", name, v))
		}
		if v == 0 {
			return def
		}
		return v
	}
	if o.Rand == nil {
		errs = append(errs, errors.New("no Rand"))
	}
	if o.Mode > PushPull {
		errs = append(errs, fmt.Errorf("the mode is unknown: %d", o.Mode))
	}
	o.MeshPeers = positive("MeshPeers", o.MeshPeers, 8)
	o.ActivePeers = positive("ActivePeers", o.ActivePeers, 6)
	o.PassivePeers = positive("PassivePeers", o.PassivePeers, 36)
	o.Shuffle = lasting("Shuffle", o.Shuffle, time.Minute)
	o.LazyDelay = lasting("LazyDelay", o.LazyDelay, 5*time.Millisecond)
	o.GraftAfter = lasting("GraftAfter", o.GraftAfter, 200*time.Millisecond)
	o.GraftNext = lasting("GraftNext", o.GraftNext, 100*time.Millisecond)
	o.Shorter = positive("Shorter", o.Shorter, 7)
	o.CacheBytes = positive("CacheBytes", o.CacheBytes, 16<<20)
	o.CacheAge = lasting("CacheAge", o.CacheAge, time.Minute)
	o.SeenIDs = positive("SeenIDs", o.SeenIDs, 32<<10)
	o.Round = lasting("Round", o.Round, time.Second)
	o.Counter = positive("Counter", o.Counter, 0)
	if len(errs) > 0 {
		return fmt.Errorf("gossip: options: %w", errors.Join(errs...))
	}
	return nil
}
