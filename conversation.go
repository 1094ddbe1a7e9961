package anabranch

import (
	"context"
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
