package anabranch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
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
