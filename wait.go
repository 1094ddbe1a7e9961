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
	Agreed bool  // it held Root too, in a session that began after the call
	Err    error // why not, of the last session
}

// Limits of Converge.
const (
	convergeAtOnce = 8 // sessions at a time
	convergeLeast  = 100 * time.Millisecond
	convergeMost   = 2 * time.Second
)

// Converge runs sessions until every one of some devices, by default of all
// other members, was found to hold the root that is held here. Only its own
// sessions count, which all begin after the call, so what was agreed on before
// is never taken for the present. It goes on until the context ends and returns
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
	found := findings{}
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
		behind, err := s.convergence(ctx, targets, found)
		if err != nil || behind.done() {
			return behind, err
		}
		s.syncBehind(ctx, behind, found)
		// Even when the context has ended: what was found out is told.
		now, err := s.convergence(context.WithoutCancel(ctx), targets, found)
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

// findings are what the last session of a call with each device has found.
type findings map[record.Key]finding

type finding struct {
	root Root
	err  error
}

// convergence compares what was found with what is held.
func (s *Space) convergence(ctx context.Context, targets []record.Key, found findings) (Convergence, error) {
	root, n, err := s.Root(ctx)
	if err != nil {
		return Convergence{}, err
	}
	out := Convergence{Root: root, Count: n}
	for _, device := range targets {
		last, any := found[device]
		c := Converging{Device: device, Agreed: any && last.err == nil && last.root == root}
		if !c.Agreed {
			c.Err = last.err
		}
		out.Peers = append(out.Peers, c)
	}
	return out, nil
}

func (c Convergence) done() bool {
	return !slices.ContainsFunc(c.Peers, func(p Converging) bool { return !p.Agreed })
}

// syncBehind runs one session with each device that does not agree yet.
func (s *Space) syncBehind(ctx context.Context, c Convergence, found findings) {
	var mu sync.Mutex // guards found
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
			report, err := s.Sync(ctx, p.Device)
			if err != nil && ctx.Err() != nil {
				return // the last reason that is the peer's own stands
			}
			mu.Lock()
			defer mu.Unlock()
			found[p.Device] = finding{root: report.Root, err: err}
		})
	}
}
