package anabranch

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// peer is what this replica knows of another member's device.
type peer struct {
	device  record.Key
	arrived chan struct{} // cap 1: the peer has opened a stream for its frames
	traffic traffic

	mu       sync.Mutex // guards all below
	agreed   map[record.SpaceID]agreement
	parted   map[record.SpaceID]parted
	failed   map[record.SpaceID]failure // the last session there that did not end well, if none has since
	blocked  time.Time                  // no sessions before this: the peer sent what is wrong for everyone
	charge   string                     // what it was charged with last
	syncing  map[record.SpaceID]int     // sessions whose stream is open
	hurried  time.Time                  // when a new place last made us forget the back-off
	heard    []heardAddr                // on the local network, newest first
	noted    []string                   // where it says, in a note, that it can be reached
	wired    bool                       // it has its goroutine for frames
	wire     *wire                      // nil unless frames go both ways
	fresh    mesh.Stream                // for frames, and not in use yet
	greeting mesh.Stream                // likewise, and its hellos are on their way
}

// poke asks a goroutine to look again, without waiting.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *Replica) wakePeers() { poke(r.pokes) }

// tendPeers tells the engine who is connected and who is a member, and keeps
// a goroutine going for the frames of every connected member.
func (r *Replica) tendPeers() {
	for {
		changed := r.host.Changed()
		r.refreshReaders()
		r.linking.Lock()
		r.tellConnections()
		r.linking.Unlock()
		r.wires()
		select {
		case <-changed:
		case <-r.pokes:
		case <-r.ctx.Done():
			return
		}
	}
}

// tellConnections reports who has come and who has gone; r.linking is held,
// so that what the engine hears of connections is as old as it is late: a
// dial that has failed must not take back one that the peer made meanwhile.
func (r *Replica) tellConnections() {
	before, now := r.connected, map[mesh.Key]mesh.PeerInfo{}
	r.connected = now
	for _, info := range r.host.Peers() {
		now[info.Key] = info
		was, ok := before[info.Key]
		if ok && !was.Since.Equal(info.Since) {
			r.tell(engine.PeerDown{Peer: info.Key}) // it went and came back
			r.peer(record.Key(info.Key)).restart()
		}
		if !ok || !was.Since.Equal(info.Since) {
			r.tell(connectionUp(info))
		}
		if !ok {
			r.options.OnEvent(Event{Kind: Connected, Device: record.Key(info.Key), Addr: info.Addr})
		}
	}
	for key := range before {
		if _, ok := now[key]; !ok {
			r.tell(engine.PeerDown{Peer: key})
			r.peer(record.Key(key)).restart()
			r.options.OnEvent(Event{Kind: Disconnected, Device: record.Key(key)})
		}
	}
}

// dialled tells the engine what came of a dial: whether there is a connection
// now, whoever made it.
func (r *Replica) dialled(p *peer) bool {
	r.linking.Lock()
	defer r.linking.Unlock()
	r.tellConnections()
	info, ok := r.connected[mesh.Key(p.device)]
	if ok {
		r.tell(connectionUp(info)) // it asked
	} else {
		r.tell(engine.PeerDown{Peer: engine.Peer(p.device)})
	}
	return ok
}

// peerLocked finds or makes a peer; r.mu is held.
func (r *Replica) peerLocked(device record.Key) *peer {
	p := r.peers[device]
	if p == nil {
		p = &peer{
			device:  device,
			agreed:  map[record.SpaceID]agreement{},
			parted:  map[record.SpaceID]parted{},
			failed:  map[record.SpaceID]failure{},
			syncing: map[record.SpaceID]int{},
			arrived: make(chan struct{}, 1),
		}
		r.peers[device] = p
	}
	return p
}

func (r *Replica) peer(device record.Key) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peerLocked(device)
}

func (p *peer) blockedUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

func (r *Replica) connection(device record.Key) (mesh.PeerInfo, bool) {
	if r.host == nil {
		return mesh.PeerInfo{}, false
	}
	for _, info := range r.host.Peers() {
		if record.Key(info.Key) == device {
			return info, true
		}
	}
	return mesh.PeerInfo{}, false
}

// whyUnreachable turns an error of a dial into the reason that status shows.
func whyFailed(err error) string {
	var open *mesh.OpenError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, mesh.ErrRefused):
		return "it refuses this device"
	case errors.Is(err, mesh.ErrWrongPeer):
		return "another device answers at its address"
	case errors.As(err, &open) && len(open.Attempts) == 0:
		return "no address of it is known"
	case errors.Is(err, mesh.ErrUnreachable):
		return "no answer at " + open.Attempts[0].Addr + more(len(open.Attempts)-1)
	}
	return err.Error()
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return " and " + strconv.Itoa(n) + " more"
}
