package anabranch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
)

// peer is what this replica knows of another member's device.
type peer struct {
	device  record.Key
	arrived chan struct{} // cap 1: the peer has opened a stream for its frames

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

// agreement is the last time both sides held the same root.
type agreement struct {
	Root   Root
	Count  uint64
	At     time.Time
	Report Report
	// Version is the one of this store at which it held Root; 0 if it had
	// moved on before that was looked at.
	Version uint64

	stored bool // read from the store, and not of this process
}

// failure is why the last session in a space did not end well.
type failure struct {
	err error
	at  time.Time
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
	connected := map[mesh.Key]mesh.PeerInfo{}
	for {
		changed := r.host.Changed()
		r.refreshReaders()
		connected = r.tellConnections(connected)
		r.wires()
		select {
		case <-changed:
		case <-r.pokes:
		case <-r.ctx.Done():
			return
		}
	}
}

// tellConnections reports who has come and who has gone.
func (r *Replica) tellConnections(before map[mesh.Key]mesh.PeerInfo) map[mesh.Key]mesh.PeerInfo {
	now := map[mesh.Key]mesh.PeerInfo{}
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
	return now
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

func (p *peer) agreement(id record.SpaceID) agreement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.agreed[id]
}

func (p *peer) blockedUntil() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.blocked
}

// Event is something that happened with a peer.
type Event struct {
	Kind   EventKind
	Device record.Key
	Addr   string // of Connected
	Space  *Space // of Synced, Failed and Joined
	Report Report // of Synced, and as far as it got of Failed
	Err    error  // of Failed
	Words  string // of Joined: what the other device shows too
}

// EventKind says what happened.
type EventKind string

const (
	Connected    EventKind = "connected"
	Disconnected EventKind = "disconnected"
	Synced       EventKind = "synced" // a session ended with equal roots
	Failed       EventKind = "failed" // a session did not
	Joined       EventKind = "joined" // a device used a ticket of this one
)

// ended notes how a session with a peer went.
func (s *Space) ended(p *peer, report Report, charge bool, err error) {
	r := s.replica
	version, same := s.versionOf(report)
	p.mu.Lock()
	event := Event{Kind: Synced, Device: p.device, Space: s, Report: report, Err: named(err)}
	if err != nil {
		event.Kind = Failed
	}
	switch {
	case s.rows.Dropped(): // nothing is kept of it
	case err != nil:
		p.failed[s.ID()] = failure{err: event.Err, at: time.Now()}
		if told, ok := partedBy(event.Err, report, version); ok {
			p.parted[s.ID()] = told
		}
	default:
		delete(p.failed, s.ID())
		delete(p.parted, s.ID())
		agreed := agreement{Root: report.Root, Count: report.Count, At: time.Now(), Report: report}
		if same {
			agreed.Version = version
		}
		p.agreed[s.ID()] = agreed
	}
	p.mu.Unlock()
	if charge {
		r.log.Warn("peer sent what is wrong for everyone", "peer", p.device, "err", err)
	}
	r.options.OnEvent(event)
	if err == nil {
		r.agreedWith(s, p.device)
	}
}

// versionOf is the present version of this store, and whether it holds what a
// session agreed on.
func (s *Space) versionOf(report Report) (version uint64, same bool) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return 0, false
	}
	defer view.Close()
	root, err := view.Root()
	return view.Version(), err == nil && root == report.Root
}

// upTo is a version of this store up to which the peer held everything that
// is still here.
func (a agreement) upTo() uint64 { return max(a.Version, a.Report.Version) }

// saveAgreements keeps what was last agreed on with whom, and what sessions
// have told that failed since, so that status can tell after a restart. They are facts of the past and never stand for a
// comparison: a peer counts as in sync only while the root is the same.
func (r *Replica) saveAgreements(ctx context.Context) error {
	r.mu.Lock()
	peers := make([]*peer, 0, len(r.peers))
	for _, p := range r.peers {
		peers = append(peers, p)
	}
	r.mu.Unlock()
	var errs []error
	keep := func(key string, value any) {
		b, err := json.Marshal(value)
		if err == nil {
			err = r.store.SetFact(ctx, key, b)
		}
		errs = append(errs, err)
	}
	for _, p := range peers {
		p.mu.Lock()
		agreed, told := maps.Clone(p.agreed), maps.Clone(p.parted)
		p.mu.Unlock()
		for id, a := range agreed {
			if !a.stored {
				keep(agreedFact(id, p.device), a)
			}
		}
		for id, t := range told { // an older one is not asked for again
			keep(partedFact(id, p.device), t)
		}
	}
	return errors.Join(errs...)
}

func agreedFact(id record.SpaceID, device record.Key) string {
	return "agreed/" + id.String() + "/" + device.String()
}

// storedAgreement is what was agreed on before this process began.
func (r *Replica) storedAgreement(id record.SpaceID, device record.Key) (agreement, bool) {
	b, ok, err := r.store.Fact(agreedFact(id, device))
	a := agreement{stored: true}
	if err != nil || !ok || json.Unmarshal(b, &a) != nil {
		return agreement{}, false
	}
	return a, true
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

func addrFact(device record.Key) string { return "addrs/" + device.String() }

// AddPeer remembers addresses ("ip:port") of a member's device.
func (r *Replica) AddPeer(ctx context.Context, device record.Key, addrs ...string) error {
	for _, a := range addrs {
		if _, err := netip.ParseAddrPort(a); err != nil {
			return fmt.Errorf("anabranch: address %q is not of the form ip:port", a)
		}
	}
	return r.rememberAddrs(ctx, device, addrs)
}

func (r *Replica) rememberAddrs(ctx context.Context, device record.Key, addrs []string) error {
	known := r.storedAddrs(device)
	merged := slices.Clone(addrs)
	for _, a := range known {
		if !slices.Contains(merged, a) {
			merged = append(merged, a)
		}
	}
	merged = merged[:min(len(merged), maxKnownAddrs)]
	if slices.Equal(merged, known) {
		return nil
	}
	b, err := json.Marshal(merged)
	if err != nil {
		return err
	}
	defer r.tell(engine.Found{Peer: engine.Peer(device)})
	return r.store.SetFact(ctx, addrFact(device), b)
}

func (r *Replica) storedAddrs(device record.Key) []string {
	b, ok, err := r.store.Fact(addrFact(device))
	var addrs []string
	if err != nil || !ok || json.Unmarshal(b, &addrs) != nil {
		return nil
	}
	return addrs
}

// addrsOf are the addresses to try for a device: those that have proved its
// key or came with a ticket, where it was heard on the local network, where
// its notes say it is, and those of Options.Peers.
func (r *Replica) addrsOf(device record.Key) []string {
	addrs := r.storedAddrs(device)
	for _, a := range append(r.peer(device).heardAddrs(), r.peer(device).notedAddrs()...) {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	for _, a := range r.options.Peers {
		if !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

const listenFact = "listen"

// rememberListen keeps the addresses listened on, for tickets that are made
// while nothing runs.
func (r *Replica) rememberListen(addrs []string) {
	b, err := json.Marshal(addrs)
	if err != nil {
		return
	}
	if old, ok, err := r.store.Fact(listenFact); err == nil && ok && string(old) == string(b) {
		return
	}
	if err := r.store.SetFact(r.ctx, listenFact, b); err != nil {
		r.log.Warn("listen addresses not remembered", "err", err)
	}
}

// likelyAddrs are where this replica listened last, or will by default.
func (r *Replica) likelyAddrs() []string {
	b, ok, err := r.store.Fact(listenFact)
	var addrs []string
	if err == nil && ok && json.Unmarshal(b, &addrs) == nil && len(addrs) > 0 {
		return addrs
	}
	for _, listen := range r.options.Listen {
		host, port, err := net.SplitHostPort(listen)
		if err != nil || port == "0" {
			continue
		}
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			addrs = append(addrs, listen)
			continue
		}
		for _, ip := range interfaceIPs() {
			addrs = append(addrs, net.JoinHostPort(ip, port))
		}
	}
	return addrs
}

func interfaceIPs() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var lan, loop []string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.To4() == nil {
			continue
		}
		if n.IP.IsLoopback() {
			loop = append(loop, n.IP.String())
		} else {
			lan = append(lan, n.IP.String())
		}
	}
	return append(lan, loop...)
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
