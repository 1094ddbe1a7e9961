package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"anabranch"
)

// demoGossip is what the demo's last part measures.
type demoGossip struct {
	Replicas       int     `json:"replicas"`
	Writes         int     `json:"writes"`
	MedianMs       float64 `json:"median_ms"` // from the call of Put until all read it
	MostMs         float64 `json:"most_ms"`
	CopiesPerWrite float64 `json:"copies_per_record"` // received as a rumor, for each that was new
	Sessions       uint64  `json:"sessions"`          // that it took meanwhile
	Eager          int     `json:"eager"`             // links, each seen from both ends, on which rumors go at once
	Links          int     `json:"links"`             // likewise, in all
}

const (
	gossipReplicas = 5
	gossipWrites   = 40
	gossipWait     = 20 * time.Second
)

// gossip starts five replicas that nobody tells when to sync, and times how
// long what one of them writes takes to all others.
func (d *demo) gossip(ctx context.Context, dir string) (_ demoGossip, err error) {
	d.say("\n4. Five replicas, and nobody says when to sync\n\n")
	var all []demoSite
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.replica.Close())
		}
	}()
	for i := range gossipReplicas {
		site := demoSite{name: fmt.Sprint("gossip-", i)}
		site.replica, err = anabranch.Open(ctx, filepath.Join(dir, site.name), anabranch.Options{
			LeaseDir: filepath.Join(dir, "lease"),
			Listen:   []string{"127.0.0.1:0"},
		})
		if err != nil {
			return demoGossip{}, err
		}
		all = append(all, site)
		if i == 0 {
			all[0].space, _, err = site.replica.CreateSpace(ctx, "news")
		} else {
			var ticket anabranch.Ticket
			if ticket, err = all[0].space.Invite(ctx, anabranch.InviteOptions{}); err == nil {
				all[i].space, err = site.replica.Join(ctx, ticket, "news")
			}
		}
		if err != nil {
			return demoGossip{}, err
		}
	}
	met := func() bool {
		return !slices.ContainsFunc(all, func(s demoSite) bool { return s.replica.Spread().Neighbors < gossipReplicas-1 })
	}
	if err := until(ctx, met); err != nil {
		return demoGossip{}, fmt.Errorf("the five have not met: %w", err)
	}
	d.say("   One invites four; notes tell them each other's addresses, and all are connected.\n")
	before := spreadOf(all)
	var took []time.Duration
	for i := range gossipWrites {
		path := fmt.Sprintf("/news/%02d", i)
		began := time.Now()
		if _, err := all[i%gossipReplicas].space.Put(ctx, path, demoText(i)); err != nil {
			return demoGossip{}, err
		}
		everywhere := func() bool {
			return !slices.ContainsFunc(all, func(s demoSite) bool {
				_, err := s.space.Get(ctx, path)
				return err != nil
			})
		}
		if err := until(ctx, everywhere); err != nil {
			return demoGossip{}, fmt.Errorf("%s has not come to all: %w", path, err)
		}
		took = append(took, time.Since(began))
	}
	after := spreadOf(all)
	slices.Sort(took)
	g := demoGossip{
		Replicas:       gossipReplicas,
		Writes:         gossipWrites,
		MedianMs:       float64(took[len(took)/2].Microseconds()) / 1000,
		MostMs:         float64(took[len(took)-1].Microseconds()) / 1000,
		CopiesPerWrite: float64(after.Copies-before.Copies) / float64(max(1, after.Accepted-before.Accepted)),
		Sessions:       after.Sessions - before.Sessions,
		Eager:          after.Eager,
		Links:          after.Neighbors,
	}
	d.say("   %d records, written in turn: on all five after %.1f ms (median; %.1f ms at most).\n", g.Writes, g.MedianMs, g.MostMs)
	d.say("   %.2f copies of each record crossed a link for each replica that lacked it;\n", g.CopiesPerWrite)
	d.say("   %d of the %d ends of links are on the tree now, and the others only announce.\n", g.Eager, g.Links)
	return g, nil
}

func spreadOf(all []demoSite) (sum anabranch.SpreadStats) {
	for _, s := range all {
		st := s.replica.Spread()
		sum.Accepted += st.Accepted
		sum.Copies += st.Copies
		sum.Sessions += st.Sessions
		sum.Eager += st.Eager
		sum.Neighbors += st.Neighbors
	}
	return sum
}

// until waits for something to come true.
func until(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, gossipWait)
	defer cancel()
	for !ok() {
		select {
		case <-time.After(200 * time.Microsecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
