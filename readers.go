package anabranch

import (
	"bytes"
	"maps"
	"slices"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
)

// admits is the gate: members may sync, and while a ticket is open anybody
// may try to join, and nothing else.
func (r *Replica) admits(key mesh.Key, protocol string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.online || r.closed {
		return false
	}
	switch protocol {
	case syncProtocol, lookProtocol, gossipProtocol, askProtocol, blobProtocol, liveProtocol:
		return r.readers[record.Key(key)]
	case joinProtocol:
		return r.calling[record.Key(key)] > 0 || r.tickets.admit(record.Key(key), r.options.Clock())
	}
	return false
}

func (r *Replica) isReader(device record.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.readers[device]
}

// callStranger lets us dial a device that is no member yet; what it returns
// ends that.
func (r *Replica) callStranger(device record.Key) func() {
	r.mu.Lock()
	r.calling[device]++
	r.mu.Unlock()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.calling[device]--; r.calling[device] == 0 {
			delete(r.calling, device)
		}
	}
}

// refreshReaders reads the member lists anew, and closes the connection of
// every device that may read no space here; while a ticket is open, only of
// those that could until now, because anybody else may be coming to join.
func (r *Replica) refreshReaders() {
	r.reading.Lock() // a list that was read earlier must not replace a later one
	defer r.reading.Unlock()
	readers := map[record.Key]bool{}
	lists := map[record.SpaceID][]engine.Peer{}
	for _, s := range r.all() {
		view, err := s.rows.Snapshot()
		if err != nil {
			continue
		}
		here := readersOf(view)
		view.Close()
		maps.Copy(readers, here)
		var members []engine.Peer
		for device := range here {
			members = append(members, engine.Peer(device))
		}
		slices.SortFunc(members, func(a, b engine.Peer) int { return bytes.Compare(a[:], b[:]) })
		lists[s.ID()] = members
	}
	r.tellMembers(lists)
	r.mu.Lock()
	before := r.readers
	r.readers = readers
	clear(r.known)
	r.mu.Unlock()
	if r.host == nil {
		return
	}
	r.cutRevoked()
	for _, info := range r.host.Peers() {
		key := record.Key(info.Key)
		revoked := before[key] && !readers[key]
		if revoked || !readers[key] && !r.isCalled(key) && !r.tickets.admit(key, r.options.Clock()) {
			r.host.Disconnect(info.Key)
		}
	}
}

// cutRevoked resets the sessions of devices that may no longer read the
// space they are about.
func (r *Replica) cutRevoked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.running {
		if !c.space.mayRead(c.peer.device) {
			c.stream.Reset()
		}
	}
}

// readersOf are the devices that may read a space.
func readersOf(view *store.Snapshot) map[record.Key]bool {
	readers := map[record.Key]bool{}
	for _, g := range view.State().Members() {
		if !g.Sealed {
			readers[g.Device] = true
		}
	}
	return readers
}

func (r *Replica) isCalled(device record.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calling[device] > 0
}

// Addresses. What worked is remembered as a fact per device, newest first.
