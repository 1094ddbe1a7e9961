package anabranch

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/store"
	"anabranch/record"
)

// Replica is one open store and its place in the mesh. It is safe for use
// by several goroutines. Close it.
type Replica struct {
	options Options
	log     *slog.Logger
	keys    *keyring
	tickets *invitations
	device  ed25519.PrivateKey
	store   *store.Store
	host    mesh.Host // nil with NoNetwork
	loop    *loop     // nil likewise
	cursors [16]byte  // secret under which peers are given cursors

	ctx       context.Context // ends when Close begins; goroutines of the replica only
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	pokes     chan struct{}                    // cap 1: the members or the connections may be others now
	asked     *gate                            // sessions, looks and questions of peers
	exchanges chan due                         // cap 64; when full, an exchange comes with the next session
	joins     *gate                            // devices that come with tickets
	joinMu    sync.Mutex                       // held while a ticket is being used
	making    sync.Mutex                       // held while a space comes to be here: its name, keys and rows are one thing
	reading   sync.Mutex                       // held while the member lists are read anew
	told      map[record.SpaceID][]engine.Peer // the members that the engine knows of; guarded by reading
	linking   sync.Mutex                       // held while the engine is told of connections
	connected map[mesh.Key]mesh.PeerInfo       // those that it knows of; guarded by linking
	fetched   *gate                            // streams about content
	watched   *gate                            // texts that peers watch
	pacers    [2]pacer                         // of content, in and out

	watch     *mesh.Watch     // nil if nobody looks around
	discovery *mesh.Discovery // nil likewise

	mu      sync.Mutex                        // guards all below
	known   map[int64]map[mesh.Tag]record.Key // members' tags, by epoch
	closed  bool
	online  bool
	readers map[record.Key]bool // devices that may read some space here
	spaces  map[record.SpaceID]*Space
	peers   map[record.Key]*peer
	calling map[record.Key]int // strangers we dial on purpose, by a ticket
	running map[*conversation]bool
}

// Open opens the replica below dir, making it on first use, and starts to
// accept and dial members. The context bounds the opening alone.
//
// Errors worth matching: ErrLocked, ErrNewer, ErrDamaged, ErrPassphraseNeeded,
// ErrPassphrase. Opening reads
// every ID once: about a second for a million records.
func Open(ctx context.Context, dir string, o Options) (*Replica, error) {
	if err := o.validate(dir); err != nil {
		return nil, err
	}
	if err := makePrivate(dir); err != nil {
		return nil, fmt.Errorf("anabranch: home: %w", err)
	}
	keys, err := openKeyring(o.StateDir)
	if err != nil {
		return nil, fmt.Errorf("anabranch: keys: %w", err)
	}
	if err := makePrivate(o.LeaseDir); err != nil {
		return nil, fmt.Errorf("anabranch: lease: %w", err)
	}
	// The store's lock comes before the device key, so that two processes
	// that make a home at once cannot both make a key.
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{
		HeldBytes: o.HeldBytes,
		BlobBytes: o.BlobBytes,
		TrashAge:  o.TrashAge,
		LeaseDir:  o.LeaseDir,
		Now:       o.Clock,
		Logger:    o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("anabranch: open %s: %w", dir, err)
	}
	if err := keys.unlock(o.Passphrase); err != nil {
		return nil, errors.Join(fmt.Errorf("anabranch: keys: %w", err), st.Close())
	}
	device, err := keys.device()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("anabranch: device key: %w", err), st.Close())
	}
	r := &Replica{
		options:   o,
		log:       o.Logger,
		keys:      keys,
		device:    device,
		store:     st,
		online:    true,
		pokes:     make(chan struct{}, 1),
		asked:     newGate(maxIncomingEach, maxIncoming),
		exchanges: make(chan due, 64),
		joins:     newGate(maxJoins, maxJoins), // a stranger has as many names as it likes
		fetched:   newGate(blobServesEach, blobServes),
		watched:   newGate(liveEach, liveServes),
		spaces:    map[record.SpaceID]*Space{},
		peers:     map[record.Key]*peer{},
		calling:   map[record.Key]int{},
		running:   map[*conversation]bool{},
	}
	rand.Read(r.cursors[:])
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, sp := range st.Spaces() {
		if _, err := r.attach(sp); err != nil {
			r.cancel()
			return nil, errors.Join(err, r.release())
		}
	}
	if r.tickets, err = openInvitations(keys, o.Clock()); err != nil {
		r.cancel()
		return nil, errors.Join(fmt.Errorf("anabranch: tickets: %w", err), r.release())
	}
	if err := r.finishLeft(ctx); err != nil && !errors.Is(err, ErrFull) { // then the next opening does it
		r.cancel()
		return nil, errors.Join(fmt.Errorf("anabranch: keys of a space that was left: %w", err), r.release())
	}
	r.refreshReaders()
	if !o.NoNetwork {
		if err := r.listen(); err != nil {
			r.cancel()
			return nil, errors.Join(err, r.release())
		}
	}
	if r.host != nil {
		r.wg.Go(r.decide)
		r.wg.Go(r.judgeRumors)
		r.refreshReaders()
	}
	r.mu.Lock()
	for _, s := range r.spaces {
		r.wg.Go(s.tending())
	}
	r.mu.Unlock()
	if r.host != nil {
		r.wg.Go(r.tendPeers)
		r.wg.Go(r.tendExchanges)
		r.wg.Go(r.tendBlobs)
		r.lookAround()
	}
	return r, nil
}

func (r *Replica) listen() error {
	// A peer may call before the host is ours to use: it waits a moment.
	ready := make(chan struct{})
	defer close(ready)
	after := func(serve func(mesh.Stream)) func(mesh.Stream) {
		return func(stream mesh.Stream) {
			<-ready
			serve(stream)
		}
	}
	handlers := map[string]func(mesh.Stream){
		syncProtocol: after(r.asked.admit(r.serveSync)),
		lookProtocol: after(r.asked.admit(r.answering("look", r.show))),
		askProtocol:  after(r.asked.admit(r.answering("question", r.answer))),
		joinProtocol: after(r.joins.admit(r.serveJoin)),
		blobProtocol: after(r.fetched.admit(r.serveBlobs)),
		liveProtocol: after(r.watched.admit(r.serveLive)),
	}
	if !r.options.Manual && !r.options.noGossip {
		handlers[gossipProtocol] = after(r.serveWire)
	}
	if r.options.DialOnly {
		for protocol := range handlers {
			handlers[protocol] = mesh.Stream.Reset
		}
	}
	host, err := r.newHost(handlers)
	if err != nil {
		return fmt.Errorf("anabranch: listen: %w", err)
	}
	r.host = host
	if r.loop, err = r.newLoop(); err != nil {
		return err
	}
	r.rememberListen(host.Addrs())
	return nil
}

func (r *Replica) newHost(handlers map[string]func(mesh.Stream)) (mesh.Host, error) {
	if r.options.host != nil {
		host, err := r.options.host(mesh.Key(r.Device()), r.admits)
		if err != nil {
			return nil, err
		}
		for protocol, serve := range handlers {
			host.Handle(protocol, serve)
		}
		return host, nil
	}
	return mesh.New(mesh.Options{
		Key:        r.device,
		Listen:     r.options.Listen,
		Gate:       r.admits,
		Handlers:   handlers,
		FrameBytes: r.options.FrameBytes,
		Logger:     r.log,
	})
}

// Close ends every session, writes what was typed into texts, sweeps what waits to be swept, and closes the
// store. Records that a session had committed stay.
func (r *Replica) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	return r.release()
}

func (r *Replica) release() error {
	var errs []error
	r.stopLooking()
	if r.host != nil {
		errs = append(errs, r.host.Close())
	}
	r.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, s := range r.all() {
		if err := s.closeTexts(ctx); err != nil && !errors.Is(err, ErrFailed) {
			errs = append(errs, err)
		}
		if err := s.sweep(ctx); err != nil && !errors.Is(err, ErrFailed) {
			errs = append(errs, err)
		}
	}
	if err := r.saveAgreements(ctx); err != nil && !errors.Is(err, ErrFailed) {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, r.store.Close())...)
}

// Device is this replica's network key: its peer ID in the mesh.
func (r *Replica) Device() record.Key { return record.Public(r.device) }

// Addrs are the addresses at which peers can reach this replica, as
// "ip:port"; none with NoNetwork.
func (r *Replica) Addrs() []string {
	if r.host == nil {
		return nil
	}
	return r.host.Addrs()
}

// SetOnline connects or disconnects the replica: offline, it neither
// accepts nor dials, and every connection is closed. A replica opens online.
func (r *Replica) SetOnline(online bool) {
	r.mu.Lock()
	r.online = online
	r.mu.Unlock()
	if r.host == nil {
		return
	}
	r.tell(engine.Online{On: online})
	if !online {
		for _, p := range r.host.Peers() {
			r.host.Disconnect(p.Key)
		}
	}
	r.wakePeers()
}

// Online reports whether the replica accepts and dials peers.
func (r *Replica) Online() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.online && r.host != nil
}

// Spaces are the spaces held here, by name.
func (r *Replica) Spaces() []*Space {
	all := r.all()
	slices.SortFunc(all, func(a, b *Space) int { return strings.Compare(a.Name(), b.Name()) })
	return all
}

// Unusable are the spaces in the store that this version cannot judge, each
// with the reason, a *UnknownRuleError. They are kept as they are.
func (r *Replica) Unusable() map[record.SpaceID]error { return r.store.Unusable() }

// Space finds a space by its local name, or by at least eight hexadecimal
// characters of its ID. An empty name is the only space there is. Errors
// wrap ErrNoSpace and say what there is.
func (r *Replica) Space(name string) (*Space, error) {
	all := r.Spaces()
	if name == "" {
		switch len(all) {
		case 0:
			return nil, fmt.Errorf("%w: there are none yet", ErrNoSpace)
		case 1:
			return all[0], nil
		}
		return nil, fmt.Errorf("%w: there are %d, name one of %s", ErrNoSpace, len(all), quotedNames(all))
	}
	var found []*Space
	for _, s := range all {
		if s.Name() == name {
			return s, nil
		}
		if len(name) >= 8 && strings.HasPrefix(s.ID().String(), name) {
			found = append(found, s)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %q, there are none yet", ErrNoSpace, name)
	}
	return nil, fmt.Errorf("%w: %q, there are %s", ErrNoSpace, name, quotedNames(all))
}

func quotedNames(all []*Space) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = fmt.Sprintf("%q", s.Name())
	}
	return strings.Join(names, ", ")
}

func (r *Replica) all() []*Space {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Space, 0, len(r.spaces))
	for _, s := range r.spaces {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *Space) int { id := b.ID(); return record.ID(a.ID()).Compare(record.ID(id)) })
	return all
}

// now is the clock in microseconds since 1970, as records count it. A clock
// before 1970 counts as its beginning.
func (r *Replica) now() uint64 { return uint64(max(1, r.options.Clock().UnixMicro())) }

// Full is not nil while there is no room on the disk, or less than is kept
// for compaction: reading goes on, writers are answered with it, and writing
// goes on by itself when there is room. It wraps ErrFull.
func (r *Replica) Full() error { return r.store.Full() }

// Failed is closed when the disk failed: nothing more is written, reading
// goes on where it can, and opening the replica again is the way on.
func (r *Replica) Failed() <-chan struct{} { return r.store.Failed() }
