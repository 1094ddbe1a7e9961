package anabranch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"anabranch/record"
)

// Convergence says how far Converge came.
type Convergence struct {
	Root  Root   // held here
	Count uint64 // records under it
	Peers []Converging
}

// Converging is one device that Converge compared roots with.
type Converging struct {
	Device record.Key
	Agreed bool  // it held Root too, at a comparison after the call began
	Err    error // why not, of the last session
}

// Limits of Converge.
const (
	convergeAtOnce = 8 // sessions at a time
	convergeLeast  = 100 * time.Millisecond
	convergeMost   = 2 * time.Second
)

// Converge runs sessions until every one of some devices, by default of all
// other members, was found to hold the root that is held here. Only
// comparisons made after the call count, so what was agreed on before is
// never taken for the present. It goes on until the context ends and returns
// the context's error then, with how far it came; others that write all the
// while can keep it from ending.
//
// Errors worth matching: ErrOffline, and ErrNotFound if there is no other
// member.
func (s *Space) Converge(ctx context.Context, devices ...record.Key) (Convergence, error) {
	r := s.replica
	if r.host == nil || !r.Online() {
		return Convergence{}, ErrOffline
	}
	began := time.Now()
	failed := map[record.Key]error{}
	pause := convergeLeast
	for {
		changed := s.rows.Changed()
		targets := devices
		if len(targets) == 0 {
			var err error
			if targets, err = s.others(ctx); err != nil {
				return Convergence{}, err
			}
		}
		behind, err := s.convergence(ctx, began, targets, failed)
		if err != nil || behind.done() {
			return behind, err
		}
		s.syncBehind(ctx, behind, failed)
		// Even when the context has ended: what was found out is told.
		now, err := s.convergence(context.WithoutCancel(ctx), began, targets, failed)
		if err != nil || now.done() {
			return now, err
		}
		timer := time.NewTimer(pause)
		pause = min(2*pause, convergeMost)
		select {
		case <-changed:
			pause = convergeLeast
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return now, ctx.Err()
		}
	}
}

// others are the other devices that may read this space.
func (s *Space) others(ctx context.Context) ([]record.Key, error) {
	members, err := s.Members(ctx)
	if err != nil {
		return nil, err
	}
	var out []record.Key
	for _, m := range members {
		if !m.Self && !m.Revoked && !slices.Contains(out, m.Device) {
			out = append(out, m.Device)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no other device is a member of %q", ErrNotFound, s.Name())
	}
	return out, nil
}

// convergence compares what was agreed on since a time with what is held.
func (s *Space) convergence(ctx context.Context, since time.Time, targets []record.Key, failed map[record.Key]error) (Convergence, error) {
	root, n, err := s.Root(ctx)
	if err != nil {
		return Convergence{}, err
	}
	out := Convergence{Root: root, Count: n}
	for _, device := range targets {
		last := s.replica.peer(device).agreement(s.ID())
		c := Converging{Device: device, Agreed: last.Root == root && !last.At.Before(since)}
		if !c.Agreed {
			c.Err = failed[device]
		}
		out.Peers = append(out.Peers, c)
	}
	return out, nil
}

func (c Convergence) done() bool {
	return !slices.ContainsFunc(c.Peers, func(p Converging) bool { return !p.Agreed })
}

// syncBehind runs one session with each device that does not agree yet.
func (s *Space) syncBehind(ctx context.Context, c Convergence, failed map[record.Key]error) {
	var mu sync.Mutex // guards failed
	var running sync.WaitGroup
	defer running.Wait()
	tokens := make(chan struct{}, convergeAtOnce)
	for _, p := range c.Peers {
		if p.Agreed {
			continue
		}
		tokens <- struct{}{}
		running.Go(func() {
			defer func() { <-tokens }()
			_, err := s.Sync(ctx, p.Device)
			if err != nil && ctx.Err() != nil {
				return // the last reason that is the peer's own stands
			}
			mu.Lock()
			defer mu.Unlock()
			failed[p.Device] = err
		})
	}
}
