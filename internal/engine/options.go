package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"anabranch/gossip"
)

// Options configures New. Self and Rand are required.
type Options struct {
	Self Peer
	// Rand is the engine's own from now on, and its gossip machines'. With
	// the same seed and the same inputs at the same times an engine gives
	// the same outputs.
	Rand *rand.Rand
	// SyncInterval is the mean time between anti-entropy sessions: with each
	// connected peer in a space of up to nine members, with one member drawn
	// from the list above. Actual times vary by half of it. Default 30s;
	// negative turns them off.
	SyncInterval time.Duration
	// Settle is how long a space must be quiet before connected peers are
	// asked whether they have the same now, and SettleMost how long they are
	// asked at the latest. Default 300ms and 2s; negative turns it off.
	// Where more than eight peers are connected, anti-entropy does it alone.
	Settle, SettleMost time.Duration
	// Gossip is how rumors spread. Self and Rand in it are ignored.
	Gossip gossip.Options
	// Manual begins no session and dials nobody, and spreads no rumor;
	// peers are answered.
	Manual bool
}

func (o *Options) validate() error {
	var errs []error
	if o.Rand == nil {
		errs = append(errs, errors.New("no Rand"))
	}
	if o.SyncInterval == 0 {
		o.SyncInterval = 30 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 300 * time.Millisecond
	}
	if o.SettleMost == 0 {
		o.SettleMost = 2 * time.Second
	}
	if o.Settle > 0 && o.SettleMost < o.Settle {
		errs = append(errs, fmt.Errorf("SettleMost %v is below Settle %v", o.SettleMost, o.Settle))
	}
	o.Gossip.Self, o.Gossip.Rand = o.Self, o.Rand
	if o.Rand != nil {
		if _, err := gossip.New(o.Gossip); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("engine: options: %w", errors.Join(errs...))
	}
	return nil
}
