package main

import (
	"fmt"
	"time"

	"anabranch"
	"anabranch/record"
)

// event is something that up says. Which fields are set depends on Event:
// listening (device, addrs), joined (space, peer, addr, words), connected, disconnected (peer, addr), synced
// (space, peer, received, sent, root, records), failed (space, peer, received,
// sent, reason, repeated), stopped, unsaid (repeated).
type event struct {
	Schema   string   `json:"schema"` // anabranch.event/1
	Time     string   `json:"time"`
	Event    string   `json:"event"`
	Device   string   `json:"device,omitempty"`
	Addrs    []string `json:"addrs,omitempty"`
	Space    string   `json:"space,omitempty"` // local name
	Peer     string   `json:"peer,omitempty"`
	Addr     string   `json:"addr,omitempty"`
	Received int      `json:"received,omitempty"`
	Sent     int      `json:"sent,omitempty"`
	Root     string   `json:"root,omitempty"`
	Records  uint64   `json:"records,omitempty"` // under the root
	Words    string   `json:"words,omitempty"`   // which the device that joined shows too
	Reason   string   `json:"reason,omitempty"`
	Repeated int      `json:"repeated,omitempty"` // failures, or events, that went unsaid

	moved string // of synced, in words
}

// words are an event for people; peer is how to call the device it is about.
func (e event) words(peer string) string {
	switch e.Event {
	case "connected":
		return fmt.Sprintf("%s connected (%s)", peer, e.Addr)
	case "joined":
		return fmt.Sprintf("%q joined by %s (%s); it shows the words %s", e.Space, peer, e.Addr, e.Words)
	case "disconnected":
		return fmt.Sprintf("%s disconnected", peer)
	case "synced":
		return fmt.Sprintf("%q in sync with %s: %s, root %s; %s", e.Space, peer, records(e.Records), e.Root[:shortLen], e.moved)
	case "failed":
		if e.Repeated > 0 {
			return fmt.Sprintf("%q not in sync with %s: %s (%d more times since)", e.Space, peer, e.Reason, e.Repeated)
		}
		return fmt.Sprintf("%q not in sync with %s: %s", e.Space, peer, e.Reason)
	case "unsaid":
		return fmt.Sprintf("%s came too fast to be shown", count(e.Repeated, "event", "events"))
	}
	return e.Event
}

const (
	// sameFailure is how long a failure of one peer goes unsaid after the
	// same one was said.
	sameFailure = time.Minute
	// settling is how long a failure waits to be said. Both sides may begin a
	// session at once, or one of them leave when it has what it came for:
	// what is proven by a session just before or after is no failure.
	settling = 2 * time.Second
)

// narrator turns what happened into what is said of it. The zero value has
// said nothing.
type narrator struct {
	addrs map[record.Key]string // of peers that are connected
	told  map[pair]told
}

type pair struct {
	space  record.SpaceID
	device record.Key
}

// told is what was said last about one peer in one space.
type told struct {
	agreed  time.Time // of the last session that ended well, if none failed since
	root    string    // of that
	reason  string    // of the last failure said, if no session ended well since
	at      time.Time // of that
	unsaid  int       // failures since, for the same reason
	waiting *event    // a failure that waits to be said
	since   time.Time // of that
}

// tell says what to print about an event, if anything: a session that moved
// nothing is news only if it is the first that ended well, or the first since
// one failed, or if both hold something else than last time: what came as
// rumors meanwhile is proven by it.
func (n *narrator) tell(now time.Time, e anabranch.Event) (event, bool) {
	if n.told == nil {
		n.told, n.addrs = map[pair]told{}, map[record.Key]string{}
	}
	out := event{Event: string(e.Kind), Peer: e.Device.String(), Addr: e.Addr}
	switch e.Kind {
	case anabranch.Joined:
		out.Space, out.Words = e.Space.Name(), e.Words
		return out, true
	case anabranch.Connected:
		n.addrs[e.Device] = e.Addr
		return out, true
	case anabranch.Disconnected:
		out.Addr = n.addrs[e.Device]
		delete(n.addrs, e.Device)
		return out, true
	case anabranch.Synced, anabranch.Failed:
	default:
		return event{}, false
	}
	out.Space, out.Received, out.Sent = e.Space.Name(), e.Report.RecordsIn, e.Report.RecordsOut
	out.moved = movedBriefly(e.Report)
	if e.Kind == anabranch.Synced {
		out.Root, out.Records = anabranch.Root(e.Report.Root).String(), e.Report.Count
	} else {
		out.Reason = plain(e.Err)
	}
	return n.session(now, pair{e.Space.ID(), e.Device}, out)
}

// session is tell for the end of a session.
func (n *narrator) session(now time.Time, at pair, e event) (event, bool) {
	last := n.told[at]
	if e.Event == string(anabranch.Synced) {
		n.told[at] = told{agreed: now, root: e.Root}
		return e, last.agreed.IsZero() || e.Received+e.Sent > 0 || e.Root != last.root
	}
	if now.Sub(last.agreed) < settling || last.waiting != nil {
		return event{}, false
	}
	last.waiting, last.since = &e, now
	n.told[at] = last
	return event{}, false
}

// overdue are the failures that no session has made good in time, in no
// order. A failure that goes on for the same reason is said once a minute.
func (n *narrator) overdue(now time.Time) []event {
	var out []event
	for at, last := range n.told {
		if last.waiting == nil || now.Sub(last.since) < settling {
			continue
		}
		e := *last.waiting
		last.waiting = nil
		if e.Reason == last.reason && now.Sub(last.at) < sameFailure {
			last.unsaid++
		} else {
			if e.Reason == last.reason {
				e.Repeated = last.unsaid
			}
			last = told{reason: e.Reason, at: now}
			out = append(out, e)
		}
		n.told[at] = last
	}
	return out
}
