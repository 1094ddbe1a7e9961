package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"anabranch"
	"anabranch/record"
)

// TestWhatUpSays is a transcript: what happened, and what is said of it.
func TestWhatUpSays(t *testing.T) {
	at := pair{record.SpaceID{1}, record.Key{2}}
	begin := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	well := func(moved int) event { return event{Event: "synced", Received: moved} }
	wrong := func(reason string) event { return event{Event: "failed", Reason: reason} }
	n := narrator{told: map[pair]told{}}
	for _, step := range []struct {
		after time.Duration // since the beginning
		e     event         // none: time passes
		want  string        // said, "" for nothing
	}{
		{0, wrong("refused"), ""},                           // a failure waits
		{time.Second, well(3), "synced"},                    // and is made good
		{5 * time.Second, event{}, ""},                      //
		{10 * time.Second, well(0), ""},                     // nothing moved: no news
		{11 * time.Second, wrong("cut"), ""},                // of a session beside it
		{20 * time.Second, well(1), "synced"},               //
		{30 * time.Second, wrong("unreachable"), ""},        //
		{31 * time.Second, wrong("unreachable"), ""},        //
		{33 * time.Second, event{}, "failed unreachable 0"}, // said once
		{40 * time.Second, wrong("unreachable"), ""},        //
		{43 * time.Second, event{}, ""},                     // the same: counted
		{50 * time.Second, wrong("refused"), ""},            //
		{53 * time.Second, event{}, "failed refused 0"},     // another reason
		{60 * time.Second, wrong("refused"), ""},            //
		{63 * time.Second, event{}, ""},                     //
		{120 * time.Second, wrong("refused"), ""},           //
		{123 * time.Second, event{}, "failed refused 1"},    // a minute later, with those unsaid
		{130 * time.Second, well(0), "synced"},              // well again: news
	} {
		now := begin.Add(step.after)
		var said []string
		if step.e.Event != "" {
			if e, ok := n.session(now, at, step.e); ok {
				said = append(said, e.Event)
			}
		}
		for _, e := range n.overdue(now) {
			said = append(said, fmt.Sprint(e.Event, " ", e.Reason, " ", e.Repeated))
		}
		if got := strings.Join(said, ", "); got != step.want {
			t.Errorf("after %v: says %q, want %q", step.after, got, step.want)
		}
	}
}

func TestTheVerdictNeverRoundsUp(t *testing.T) {
	root := anabranch.Root{1}
	peer := func(state anabranch.State, agreed anabranch.Root) anabranch.PeerStatus {
		p := anabranch.PeerStatus{State: state, AgreedOn: agreed}
		if agreed != (anabranch.Root{}) {
			p.AgreedAt = time.Now()
		}
		return p
	}
	for _, c := range []struct {
		peers []anabranch.PeerStatus
		want  string
	}{
		{nil, "This is the only copy"},
		{[]anabranch.PeerStatus{peer(anabranch.InSync, root)}, "In sync with the other device."},
		{[]anabranch.PeerStatus{peer(anabranch.InSync, root), peer(anabranch.Offline, root)}, "Nothing has changed here since all 2 other devices"},
		{[]anabranch.PeerStatus{peer(anabranch.InSync, root), peer(anabranch.Unknown, anabranch.Root{})}, "Not known to be in sync: 1 of 2"},
		{[]anabranch.PeerStatus{peer(anabranch.Ahead, anabranch.Root{2})}, "Not known to be in sync: 0 of 1"},
		{[]anabranch.PeerStatus{peer(anabranch.InSync, root), peer(anabranch.Blocked, root)}, "Something is wrong with 000000000000"},
	} {
		st := standing{SpaceStatus: anabranch.SpaceStatus{Root: root, Peers: c.peers}, role: "admin"}
		if got := st.verdict(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%v: %q, want %q", c.peers, got, c.want)
		}
		st.role = ""
		if got := st.verdict(); !strings.Contains(got, "no member now") {
			t.Errorf("%v: %q", c.peers, got)
		}
	}
}
