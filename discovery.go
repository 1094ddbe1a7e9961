package anabranch

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// Devices of one local network find each other by tags that change every
// ten minutes and that only members can compute or recognise: an HMAC of the
// device's key under a key made from the genesis. Whoever listens learns
// that some device here runs anabranch, and not which, nor in which spaces.
//
// What is heard is a hint: anybody can replay a packet from an address of
// their own, so it is remembered only when a connection has proved the key.

const (
	heardFor   = 10 * time.Minute
	mostHeard  = 4                // addresses of one device
	hurryLeast = 30 * time.Second // between two that make us forget the back-off
)

// heardAddr is where a device says it is.
type heardAddr struct {
	addr string
	at   time.Time
}

// lookAround starts to look for members on the local network, and to watch
// for changes of our own addresses. A replica on loopback alone does neither.
func (r *Replica) lookAround() {
	if r.options.NoDiscovery || r.options.Manual || r.options.host != nil {
		return
	}
	var port uint16
	for _, a := range r.host.Addrs() {
		if ap, err := netip.ParseAddrPort(a); err == nil && !ap.Addr().IsLoopback() {
			port = ap.Port()
			break
		}
	}
	if port == 0 {
		return
	}
	var err error
	r.discovery, err = mesh.Discover(mesh.DiscoverOptions{
		Port:   port,
		Tags:   r.tags,
		Match:  r.matchTag,
		Found:  r.heard,
		Logger: r.log,
	})
	if err != nil {
		r.log.Warn("members on this network are not looked for", "err", err)
	}
	r.watch = mesh.WatchNetwork(r.networkChanged)
}

// stopLooking ends what lookAround began.
func (r *Replica) stopLooking() {
	if r.watch != nil {
		r.watch.Close()
	}
	if r.discovery != nil {
		r.discovery.Close()
	}
}

// networkChanged redials at once: an address that failed may answer now.
func (r *Replica) networkChanged() {
	r.host.Probe()
	if r.discovery != nil {
		r.discovery.Refresh()
	}
	r.rememberListen(r.host.Addrs())
	r.tell(engine.Found{})
	r.sayWhere()
}

// heard notes where a member says it is.
func (r *Replica) heard(key mesh.Key, addr string) {
	p := r.peer(record.Key(key))
	p.mu.Lock()
	before := len(p.heard)
	p.heard = slices.DeleteFunc(p.heard, func(h heardAddr) bool { return h.addr == addr })
	fresh := len(p.heard) == before
	p.heard = slices.Insert(p.heard, 0, heardAddr{addr: addr, at: time.Now()})
	p.heard = p.heard[:min(len(p.heard), mostHeard)]
	hurry := fresh && time.Since(p.hurried) >= hurryLeast
	if hurry {
		p.hurried = time.Now()
	}
	p.mu.Unlock()
	if hurry {
		r.tell(engine.Found{Peer: key})
	}
}

// heardAddrs are the places where a device was heard of late.
func (p *peer) heardAddrs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var addrs []string
	for _, h := range p.heard {
		if time.Since(h.at) < heardFor {
			addrs = append(addrs, h.addr)
		}
	}
	return addrs
}

// notedAddrs are the places where a device says it is.
func (p *peer) notedAddrs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.noted
}

// tagKey is what members of a space make tags with. It is made from the
// genesis, whose random bytes are shown nowhere, unlike the space's ID.
func (s *Space) tagKey() []byte {
	key, err := hkdf.Key(sha256.New, s.rows.Genesis().Encode(), nil, "anabranch discovery 1", 32)
	if err != nil {
		panic("anabranch: hkdf of 32 bytes failed") // only for lengths above 255 hashes
	}
	return key
}

func tagOf(key []byte, device record.Key, epoch int64) mesh.Tag {
	h := hmac.New(sha256.New, key)
	h.Write(device[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(epoch)))
	return mesh.Tag(h.Sum(nil))
}

// tags are what this device announces: one for each space that it may read.
func (r *Replica) tags(epoch int64) []mesh.Tag {
	if !r.Online() {
		return nil
	}
	var out []mesh.Tag
	for _, s := range r.all() {
		if s.mayRead(r.Device()) {
			out = append(out, tagOf(s.tagKey(), r.Device(), epoch))
		}
	}
	return out
}

// matchTag finds the member that a tag stands for.
func (r *Replica) matchTag(tag mesh.Tag, epoch int64) (mesh.Key, bool) {
	r.mu.Lock()
	known, ok := r.known[epoch]
	r.mu.Unlock()
	if !ok {
		known = r.learnTags(epoch)
	}
	device, ok := known[tag]
	return mesh.Key(device), ok
}

// learnTags computes the tags of every member for one epoch.
func (r *Replica) learnTags(epoch int64) map[mesh.Tag]record.Key {
	known := map[mesh.Tag]record.Key{}
	for _, s := range r.all() {
		view, err := s.rows.Snapshot()
		if err != nil {
			continue
		}
		key := s.tagKey()
		for device := range readersOf(view) {
			if device != r.Device() {
				known[tagOf(key, device, epoch)] = device
			}
		}
		view.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) > 4 { // three are in use at a time
		clear(r.known)
	}
	if r.known == nil {
		r.known = map[int64]map[mesh.Tag]record.Key{}
	}
	r.known[epoch] = known
	return known
}
