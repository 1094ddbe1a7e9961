package anabranch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

const syncProtocol = "/anabranch/sync/1"

// Report is what one session did, as this side saw it.
type Report = session.Report

// Sync runs one session with a member's device and returns when both sides
// have computed the same root, or with the reason why not. Records that
// arrived before an error are kept.
//
// Errors worth matching: ErrOffline, ErrNotMember, ErrUnreachable,
// ErrRefused, *RootsDifferError.
func (s *Space) Sync(ctx context.Context, device record.Key) (Report, error) {
	r := s.replica
	if r.host == nil || !r.Online() {
		return Report{}, ErrOffline
	}
	if device == r.Device() {
		return Report{}, errors.New("anabranch: sync: that is this device")
	}
	p := r.peer(device)
	number := r.loop.foreign()
	r.tell(engine.Began{Session: number, Space: s.ID(), Peer: engine.Peer(device)})
	report, err := s.session(ctx, p, number)
	if err == nil {
		r.exchangeNow(ctx, due{s, device}, true) // the caller may close the replica next
	}
	return report, err
}

// session is syncWith, and tells the engine how it went.
func (s *Space) session(ctx context.Context, p *peer, number engine.Session) (Report, error) {
	report, charge, err := s.syncWith(ctx, p, number)
	s.told(number, report, charge, err)
	return report, err
}

// told tells the engine how a session ended.
func (s *Space) told(number engine.Session, report Report, charge bool, err error) {
	in := engine.Ended{Session: number, Charge: charge, Outcome: engine.Failed}
	var differ *RootsDifferError
	switch {
	case err == nil:
		in.Outcome = engine.Agreed
		in.Version, in.Current = s.versionOf(report)
	case errors.Is(err, ErrMoved), errors.As(err, &differ):
		in.Outcome = engine.Moved
	case errors.Is(err, ErrUnreachable):
		in.Outcome = engine.Unreachable
	}
	s.replica.tell(in)
}

// syncWith is Sync, retried once when the roots differ: both sides may have
// been judging by what reached one of them in the middle, or two records had
// one name in a keyed list, so that the second time IDs are sent whole.
func (s *Space) syncWith(ctx context.Context, p *peer, number engine.Session) (report Report, charge bool, err error) {
	if !s.replica.isReader(p.device) {
		s.replica.refreshReaders() // a grant may have come this moment
	}
	if !s.mayRead(p.device) {
		return Report{}, false, fmt.Errorf("%w: device %v", ErrNotMember, short(p.device))
	}
	if at := p.blockedUntil(); time.Now().Before(at) {
		return Report{}, false, fmt.Errorf("anabranch: sync: device %v sent what is wrong for everyone and is left alone until %s",
			short(p.device), at.Format(time.TimeOnly))
	}
	plain := false
	for try := 0; try < 2; try++ {
		report, charge, err = s.initiate(ctx, p, number, plain)
		var differ *RootsDifferError
		plain = errors.As(err, &differ)
		if !plain && (err != nil || report.Completed) {
			break
		}
	}
	if err == nil && !report.Completed {
		err = ErrMoved
	}
	if err != nil {
		return report, charge, fmt.Errorf("anabranch: sync with %v: %w", short(p.device), named(err))
	}
	return report, false, nil
}

func (s *Space) mayRead(device record.Key) bool {
	view, err := s.rows.Snapshot()
	if err != nil {
		return false
	}
	defer view.Close()
	return view.State().MayRead(device)
}

func (p *peer) count(id record.SpaceID, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncing[id] += n
}

func (s *Space) initiate(ctx context.Context, p *peer, number engine.Session, plain bool) (Report, bool, error) {
	r := s.replica
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(dialing, mesh.Key(p.device), r.addrsOf(p.device), syncProtocol)
	if err != nil {
		s.ended(p, Report{}, false, err)
		return Report{}, false, err
	}
	p.count(s.ID(), +1)
	defer p.count(s.ID(), -1)
	return s.converse(ctx, p, number, stream, nil, func(view session.View) (*session.Session, error) {
		o := s.sessionOptions(p.device, view)
		o.Plain = plain
		return session.Initiate(o)
	})
}

func (s *Space) sessionOptions(peer record.Key, view session.View) session.Options {
	var nonce [session.NonceSize]byte
	rand.Read(nonce[:])
	o := session.Options{
		Space:      s.ID(),
		Self:       s.replica.Device(),
		Peer:       peer,
		Nonce:      nonce,
		FrameBytes: s.replica.options.FrameBytes,
		View:       view,
		Met:        s.replica.peer(peer).met(s.ID()),
	}
	if v, ok := view.(interface{ History() (uint64, error) }); ok {
		if h, err := v.History(); err == nil {
			o.Log = &session.Log{Generation: h, Secret: s.replica.cursors}
		}
	}
	return o
}

// met is what the last good session with a peer is remembered for by the
// next: the root, and how far into its log it has brought us, if all went
// that way.
func (p *peer) met(id record.SpaceID) *session.Met {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.agreed[id]
	if !ok {
		return nil
	}
	m := &session.Met{Root: a.Root}
	if a.Report.RecordsOut == 0 {
		m.Cursor = a.Report.Cursor
	}
	return m
}

// serveSync answers a session that a peer has opened. Which space it speaks
// of is found by its tag; whoever knows none of ours, or may not read it,
// learns nothing.
func (r *Replica) serveSync(stream mesh.Stream, device record.Key) {
	p := r.peer(device)
	if err := stream.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		stream.Reset()
		return
	}
	first, err := stream.ReadFrame()
	if err != nil {
		stream.Reset()
		return
	}
	hello, err := session.ParseHello(first)
	s := r.spaceOf(hello, device)
	if err != nil || s == nil || time.Now().Before(p.blockedUntil()) {
		if stream.WriteFrame(session.Refusal()) != nil {
			stream.Reset()
		}
		stream.Close()
		return
	}
	number := r.loop.foreign()
	root, err := s.rootNow()
	if err != nil || !r.mayServe(number, s, p, root == hello.Root()) {
		stream.Reset()
		return
	}
	p.count(s.ID(), +1)
	defer p.count(s.ID(), -1)
	report, charge, err := s.converse(r.ctx, p, number, stream, first, func(view session.View) (*session.Session, error) {
		return session.Accept(s.sessionOptions(device, view))
	})
	s.told(number, report, charge, err)
	if err != nil && r.ctx.Err() == nil {
		r.log.Info("session of a peer ended early", "space", s.ID(), "peer", device, "err", err)
	}
}

// rootNow is the root that is held here.
func (s *Space) rootNow() ([32]byte, error) {
	view, err := s.rows.Snapshot()
	if err != nil {
		return [32]byte{}, err
	}
	defer view.Close()
	return view.Root()
}

// spaceOf finds the space whose tag a hello carries, among those that the
// device may read.
func (r *Replica) spaceOf(hello session.Hello, device record.Key) *Space {
	for _, s := range r.all() {
		if session.Tag(s.ID(), device, r.Device(), hello.Nonce) == hello.Tag && s.mayRead(device) {
			return s
		}
	}
	return nil
}

// conversation is the shell around one session: it moves frames, verifies,
// commits and keeps the deadlines, and gives the session everything as
// inputs, one at a time.
type conversation struct {
	space   *Space
	peer    *peer
	number  engine.Session
	stream  mesh.Stream
	session *session.Session
	views   views

	told time.Time              // when live was last written
	live atomic.Pointer[Report] // of the session so far

	results chan session.Input // cap 2: from workers, of which there are at most two
	send    chan []byte        // to the writer
	sent    chan error         // from the writer, one for each frame
	pending [][]byte           // frames that wait for the writer; the session bounds them
	writing int                // frames the writer holds
	ended   bool               // nothing more arrives
	moved   time.Time          // when the engine was last told that frames come
	workers sync.WaitGroup

	done *session.Done
	fail *session.Fail
}

// converse runs one session to its end and closes the stream. first is the
// peer's hello when the peer began.
func (s *Space) converse(ctx context.Context, p *peer, number engine.Session, stream mesh.Stream, first []byte, begin func(session.View) (*session.Session, error)) (Report, bool, error) {
	c := &conversation{
		space:   s,
		peer:    p,
		number:  number,
		stream:  stream,
		results: make(chan session.Input, 2),
		send:    make(chan []byte, 4),
		sent:    make(chan error, 4),
	}
	defer c.views.close()
	view, err := c.view()
	if err == nil {
		c.session, err = begin(view)
	}
	if err != nil {
		stream.Reset()
		return Report{}, false, err
	}
	s.replica.track(c, true)
	defer s.replica.track(c, false)
	if !s.mayRead(p.device) { // revoked since it was let in
		stream.Reset()
		return Report{}, false, fmt.Errorf("%w: device %v", ErrNotMember, short(p.device))
	}
	report, charge, err := c.run(ctx, first)
	if err == nil {
		s.replica.remember(p, stream)
	}
	s.ended(p, report, charge, err)
	return report, charge, err
}

// track keeps a running conversation where a revocation finds it.
func (r *Replica) track(c *conversation, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.running[c] = true
	} else {
		delete(r.running, c)
	}
}

// remember keeps the address at which a peer was reached. One that called us
// over QUIC did so from the port it listens on, unless a router changed it:
// such an address comes after the ones that were dialled.
func (r *Replica) remember(p *peer, stream mesh.Stream) {
	info, ok := r.connection(p.device)
	if !ok || info.Inbound && info.Transport == mesh.TCP {
		return
	}
	addrs := []string{stream.RemoteAddr()}
	if info.Inbound {
		known := r.storedAddrs(p.device)
		if slices.Contains(known, addrs[0]) {
			return
		}
		addrs = append(known[:min(len(known), maxKnownAddrs-1)], addrs[0])
	}
	if err := r.rememberAddrs(r.ctx, p.device, addrs); err != nil && r.ctx.Err() == nil {
		r.log.Warn("address not remembered", "peer", p.device, "err", err)
	}
}

// arrival is a frame, or the end of them.
type arrival struct {
	frame []byte
	err   error
}

func (c *conversation) run(ctx context.Context, first []byte) (Report, bool, error) {
	arrivals := make(chan arrival, 4) // closed after the error that ends it
	quit := make(chan struct{})
	var moving sync.WaitGroup
	stop := context.AfterFunc(ctx, c.stream.Reset)
	defer stop()
	c.alive()
	moving.Go(func() { c.read(arrivals, quit) })
	moving.Go(c.write)

	c.perform(c.session.Step(time.Now(), session.Start{}))
	if first != nil {
		c.perform(c.session.Step(time.Now(), session.Frame{Bytes: first}))
	}
	for c.done == nil && c.fail == nil {
		in := c.next(arrivals)
		now := time.Now()
		c.perform(c.session.Step(now, in))
		c.tell(now)
	}
	c.workers.Wait()
	if c.done != nil || judgedAlike(c.fail.Err) {
		c.flush()
		c.stream.CloseWrite()
		for range arrivals { // until the peer has ended too: closing must not overtake our last frame
		}
	} else {
		c.stream.Reset()
	}
	close(quit)
	close(c.send)
	c.stream.Close()
	for range c.sent { // until the writer has ended
	}
	moving.Wait()
	if c.fail != nil {
		err := c.fail.Err
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return c.fail.Report, c.fail.Charge, err
	}
	return c.done.Report, false, nil
}

// judgedAlike reports whether the peer comes to the same end by our last
// frame: it must get it, or it takes the end for a cut link.
func judgedAlike(err error) bool {
	var differ *session.RootsDifferError
	var unsettled *session.UnsettledError
	return errors.As(err, &differ) || errors.As(err, &unsettled)
}

// next waits for what the session is to be told next.
func (c *conversation) next(arrivals <-chan arrival) session.Input {
	for {
		var send chan<- []byte
		var frame []byte
		if len(c.pending) > 0 {
			send, frame = c.send, c.pending[0]
		}
		in := arrivals
		if c.ended || !c.session.Accepts() {
			in = nil // the peer waits: what arrived is not committed yet
		}
		select {
		case result := <-c.results:
			return result
		case send <- frame:
			c.pending[0] = nil
			c.pending = c.pending[1:]
			c.writing++
		case err := <-c.sent:
			if c.writing--; err != nil {
				return session.Closed{Err: err}
			}
			c.alive()
			if c.writing == 0 && len(c.pending) == 0 {
				return session.Drained{}
			}
		case a := <-in:
			if a.err != nil {
				c.ended = true
				if errors.Is(a.err, io.EOF) {
					a.err = nil
				}
				return session.Closed{Err: a.err}
			}
			c.alive()
			if now := time.Now(); now.Sub(c.moved) >= time.Second {
				c.moved = now
				c.space.replica.tell(engine.Progress{Session: c.number})
			}
			return session.Frame{Bytes: a.frame}
		}
	}
}

// alive moves the deadline: the conversation may take long, silence may not.
func (c *conversation) alive() { c.stream.SetDeadline(time.Now().Add(sessionIdle)) }

func (c *conversation) perform(outputs []session.Output) {
	for _, out := range outputs {
		switch out := out.(type) {
		case session.Send:
			c.pending = append(c.pending, out.Frame)
		case session.Verify:
			c.workers.Go(func() {
				records, errs := record.VerifyBatch(c.space.ID(), out.Batch)
				c.results <- session.Verified{Records: records, Errs: errs}
			})
		case session.Commit:
			c.workers.Go(func() { c.results <- c.commit(out) })
		case session.Done:
			c.done = &out
		case session.Fail:
			c.fail = &out
		}
	}
}

// commit makes records durable and takes a view after control records. It is not bound
// to the caller's context: what arrived is kept, even when nobody waits.
func (c *conversation) commit(out session.Commit) session.Committed {
	if _, err := c.space.rows.Commit(context.Background(), out.Records); err != nil {
		return session.Committed{Err: err}
	}
	// Only control records change how the rest is judged.
	if !slices.ContainsFunc(out.Records, func(v *Record) bool { return v.Kind == record.Control }) {
		return session.Committed{}
	}
	view, err := c.view()
	return session.Committed{View: view, Err: err}
}

// read hands on frames in their order, and after the last one the error that
// ended them. The loop takes them as fast as the session accepts them.
func (c *conversation) read(arrivals chan<- arrival, quit <-chan struct{}) {
	defer close(arrivals)
	for {
		b, err := c.stream.ReadFrame()
		select {
		case arrivals <- arrival{frame: b, err: err}:
		case <-quit:
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *conversation) write() {
	defer close(c.sent)
	for b := range c.send {
		c.sent <- c.stream.WriteFrame(b)
	}
}

// flush hands the last frames to the link.
func (c *conversation) flush() {
	for len(c.pending) > 0 || c.writing > 0 {
		var send chan<- []byte
		var frame []byte
		if len(c.pending) > 0 {
			send, frame = c.send, c.pending[0]
		}
		select {
		case send <- frame:
			c.pending = c.pending[1:]
			c.writing++
		case err := <-c.sent:
			if c.writing--; err != nil {
				return
			}
		}
	}
}

// view is a snapshot that the session may read; it is closed with the
// conversation.
func (c *conversation) view() (session.View, error) {
	snap, err := c.space.rows.Snapshot()
	if err != nil {
		return nil, err
	}
	return c.views.keep(snap), nil
}

// views are the snapshots that one session was given.
type views struct {
	mu   sync.Mutex // guards open
	open []*store.Snapshot
}

func (v *views) keep(snap *store.Snapshot) session.View {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open = append(v.open, snap)
	return view{Snapshot: snap, views: v}
}

func (v *views) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, snap := range v.open {
		snap.Close()
	}
	v.open = nil
}

// view is a store's snapshot as a session sees it.
type view struct {
	*store.Snapshot
	views *views
}

func (v view) Root() ([32]byte, error) { return v.Snapshot.Root() }

func (v view) Get(id record.ID) (*record.Verified, error) {
	r, err := v.Snapshot.Get(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %v", session.ErrGone, id)
	}
	return r, err
}

func (v view) Filter(sweeps []*record.Verified) (session.View, error) {
	snap, err := v.Snapshot.Filter(sweeps)
	if err != nil {
		return nil, err
	}
	return v.views.keep(snap), nil
}
