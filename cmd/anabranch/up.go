package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// maxUnsaid bounds the events that wait to be printed. When a slow terminal
// lets them pile up, further ones are counted and left out: they are news,
// not data.
const maxUnsaid = 1024

func newUp(a *app) *cobra.Command {
	var listen, peers []string
	var limit span
	var quota, rate string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Keep every space in step with its members until Ctrl-C",
		Long: `Accepts and dials the members of every space held here, and keeps all of them
in step, until Ctrl-C. Says on standard error, a line each, what happens; with
--json, as one object a line on standard output.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			anyone, named, err := splitPeers(peers)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if limit > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, time.Duration(limit))
				defer cancel()
			}
			// A signal, or the limit, is how up is meant to end.
			a.endless = true
			news := make(chan anabranch.Event, maxUnsaid)
			var lost atomic.Int64
			bytes, err := parseSize(quota)
			if err != nil {
				return err
			}
			each, err := parseSize(rate)
			if err != nil {
				return err
			}
			o := anabranch.Options{Listen: listen, Peers: anyone, BlobBytes: int64(bytes), BlobRate: int64(each), OnEvent: func(e anabranch.Event) {
				select {
				case news <- e:
				default:
					lost.Add(1)
				}
			}}
			err = a.with(ctx, false, o, func(r *anabranch.Replica) error {
				if len(r.Spaces()) == 0 {
					return fmt.Errorf("%w: there are none yet", anabranch.ErrNoSpace)
				}
				if err := a.addPeers(ctx, r, named); err != nil {
					return err
				}
				stop, err := a.serve(ctx, r)
				if err != nil {
					return err
				}
				defer stop()
				go giveBackMemory(ctx) // ends with the context, soon before this process
				return a.narrate(ctx, r, news, &lost)
			})
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil // it ended before everything was up
			}
			return err
		},
	}
	listenFlag(cmd, &listen)
	peerFlags(cmd, &peers)
	cmd.Flags().StringVar(&quota, "blob-quota", "0", "keep at most this `size` of content beside the records, such as 20G; 0: as much as there is room for")
	cmd.Flags().StringVar(&rate, "blob-rate", "0", "move at most this `size` of it a second each way, such as 500k; 0: as fast as it goes")
	cmd.Flags().Var(&limit, "for", "stop by itself after this time")
	return cmd
}

// addPeers keeps the addresses of named devices, which are members of any
// space here.
func (a *app) addPeers(ctx context.Context, r *anabranch.Replica, named []namedPeer) error {
	if len(named) == 0 {
		return nil
	}
	var members []anabranch.Member
	for _, s := range r.Spaces() {
		more, err := s.Members(ctx)
		if err != nil {
			return err
		}
		members = append(members, more...)
	}
	for _, p := range named {
		device, err := findDevice(members, p.device)
		if err != nil {
			return err
		}
		if err := r.AddPeer(ctx, device, p.addr); err != nil {
			return err
		}
	}
	return nil
}

// narrate says what happens until the context ends or the disk fails.
func (a *app) narrate(ctx context.Context, r *anabranch.Replica, news <-chan anabranch.Event, lost *atomic.Int64) error {
	names := make([]string, len(r.Spaces()))
	for i, s := range r.Spaces() {
		names[i] = fmt.Sprintf("%q", s.Name())
	}
	err := a.happened(event{Event: "listening", Device: r.Device().String(), Addrs: r.Addrs()},
		fmt.Sprintf("device %s is up with %s, listening at %s; Ctrl-C ends it", short(r.Device()), strings.Join(names, ", "), strings.Join(r.Addrs(), ", ")))
	if err != nil {
		return err
	}
	var n narrator
	tick := time.NewTicker(settling / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return a.happened(event{Event: "stopped"}, "stopping")
		case <-r.Failed():
			return fmt.Errorf("%w: nothing more is written", anabranch.ErrFailed)
		case e := <-news:
			if what, ok := n.tell(time.Now(), e); ok {
				if err := a.happened(what, what.words(a.peerName(ctx, r, what.Peer))); err != nil {
					return err
				}
			}
		case now := <-tick.C:
			for _, what := range n.overdue(now) {
				if err := a.happened(what, what.words(a.peerName(ctx, r, what.Peer))); err != nil {
					return err
				}
			}
		}
		if k := lost.Swap(0); k > 0 {
			what := event{Event: "unsaid", Repeated: int(k)}
			if err := a.happened(what, what.words(a.peerName(ctx, r, what.Peer))); err != nil {
				return err
			}
		}
	}
}

// peerName is the beginning of a device's key and what it is called.
func (a *app) peerName(ctx context.Context, r *anabranch.Replica, device string) string {
	if a.json || device == "" {
		return ""
	}
	for _, s := range r.Spaces() {
		members, err := s.Members(ctx)
		if err != nil {
			break
		}
		for _, m := range members {
			if m.Device.String() == device && m.Petname+m.Label != "" {
				return device[:shortLen] + " " + called(m.Petname, m.Label)
			}
		}
	}
	return device[:shortLen]
}

// happened prints one event: a line of words, or an object.
func (a *app) happened(e event, words string) error {
	if !a.json {
		a.say("%s", words)
		return nil
	}
	e.Schema, e.Time = "anabranch.event/1", stamp(time.Now())
	return errors.Join(a.emit(e), a.flush())
}
