package anabranch

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/record"
	"anabranch/space"
)

// follow asks every connected member what goes on in the text.
func (l *liveText) follow(ctx context.Context) {
	r := l.space.replica
	if r.host == nil {
		return
	}
	type end struct {
		device record.Key
		lasted time.Duration
		err    error
	}
	type pause struct {
		length time.Duration
		until  time.Time
		since  time.Time // of the connection that it concerns
	}
	ended := make(chan end)
	links, pauses := map[record.Key]time.Time{}, map[record.Key]pause{}
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		changed := r.host.Changed()
		next := time.Now().Add(liveLook)
		for _, info := range r.host.Peers() {
			device := record.Key(info.Key)
			until := pauses[device].until
			if !pauses[device].since.Equal(info.Since) {
				until = time.Time{} // it went and came back
			}
			_, here := links[device]
			switch blocked := r.peer(device).blockedUntil(); {
			case here || len(links) >= textPeople:
				continue
			case time.Now().Before(until) || time.Now().Before(blocked):
				if until.Before(blocked) {
					until = blocked
				}
				if until.Before(next) {
					next = until
				}
				continue
			case !l.space.mayRead(device):
				continue
			}
			links[device] = info.Since
			asking.Go(func() {
				began := time.Now()
				err := l.ask(ctx, device)
				select {
				case ended <- end{device, time.Since(began), err}:
				case <-ctx.Done():
				}
			})
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case e := <-ended:
			p := pause{length: min(2*pauses[e.device].length, wireMost), since: links[e.device]}
			delete(links, e.device)
			switch {
			case errors.Is(e.err, mesh.ErrRefused): // a version that has no such streams
				p.length = wireMost
			case e.lasted > liveAgain || p.length == 0:
				p.length = liveRetry
			}
			p.until = time.Now().Add(p.length)
			pauses[e.device] = p
			r.log.Debug("a text is not heard from a peer any more", "space", l.space.ID(), "peer", e.device, "err", e.err)
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// ask hears what goes on in the text on one device, until the stream ends.
func (l *liveText) ask(ctx context.Context, device record.Key) error {
	r := l.space.replica
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(dialing, mesh.Key(device), nil, liveProtocol)
	if err != nil {
		return err
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, stream.Reset)()
	if err := stream.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	var nonce [session.NonceSize]byte
	rand.Read(nonce[:])
	if err := stream.WriteFrame(liveHello(l.space.ID(), r.Device(), device, nonce, l.path)); err != nil {
		return err
	}
	var last *liveState
	defer func() { l.put(device, last, nil) }()
	tokens, filled := float64(liveBurst), time.Now()
	for {
		b, err := stream.ReadFrame()
		if err != nil {
			return err
		}
		now := time.Now()
		tokens, filled = min(liveBurst, tokens+liveRate*now.Sub(filled).Seconds()), now
		if tokens--; tokens < 0 {
			err = errLiveFlood
		}
		state, wrong := decodeLive(b)
		if err = errors.Join(err, wrong); err != nil {
			l.charge(device, err)
			return err
		}
		if ok, err := l.admit(device, state); err != nil || !ok {
			return errors.Join(err, ErrNotMember)
		}
		if !l.put(device, last, state) {
			return errLiveAnother
		}
		last = state
		if err := stream.SetDeadline(now.Add(liveExpiry)); err != nil {
			return err
		}
	}
}

var (
	errLiveFlood   = errors.New("anabranch: too many frames of a text that is watched")
	errLiveAnother = errors.New("anabranch: the text is heard on another stream")
)

// charge notes that a device breaks the protocol.
func (l *liveText) charge(device record.Key, err error) {
	r := l.space.replica
	r.log.Warn("a peer breaks the protocol of texts that are watched", "space", l.space.ID(), "peer", device, "err", err)
	why := engine.Malformed
	if errors.Is(err, errLiveFlood) {
		why = engine.Flood
	}
	r.tell(engine.Caught{Peer: engine.Peer(device), Space: l.space.ID(), Reason: why})
}

// admit checks what a device says by what is known of it now: it may read the
// space, and types in a lane of its own where it may write. What it types is
// left out of the state otherwise: the grant may be on its way.
func (l *liveText) admit(device record.Key, state *liveState) (member bool, err error) {
	view, err := l.space.rows.Snapshot()
	if err != nil {
		return false, err
	}
	defer view.Close()
	if !view.State().MayRead(device) {
		return false, nil
	}
	if state.types {
		v := &record.Verified{Record: record.Record{Kind: record.Delta, Path: l.path, Author: state.author, Lane: state.lane, Seq: 1}}
		if !slices.Contains(authorsOf(view, device), state.author) || view.State().Judge(v) == space.Held {
			state.types, state.deltas = false, nil
		}
	}
	return true, nil
}

// serveLive tells a member that watches a text what goes on in it here.
func (r *Replica) serveLive(stream mesh.Stream, device record.Key) {
	defer stream.Reset()
	if stream.SetDeadline(time.Now().Add(dialTimeout)) != nil {
		return
	}
	first, err := stream.ReadFrame()
	if err != nil || time.Now().Before(r.peer(device).blockedUntil()) {
		return
	}
	hello, path, err := takeLiveHello(first)
	if err != nil {
		return
	}
	s := r.spaceOf(hello, device)
	if s == nil {
		return // a stranger to all spaces here learns nothing
	}
	d, err := s.acquire(path)
	if err != nil {
		return
	}
	defer s.texts.release(d)
	l := s.holdLive(path)
	defer l.drop()
	ctx, cancel := context.WithCancel(r.ctx)
	defer context.AfterFunc(ctx, stream.Reset)()
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	reading.Go(func() {
		defer cancel()
		if _, err := stream.ReadFrame(); err == nil {
			l.charge(device, errLiveFrame) // nothing more is said there
		}
	})
	l.serve(ctx, d, device, stream)
}

func (l *liveText) serve(ctx context.Context, d *textDoc, device record.Key, stream mesh.Stream) {
	feed := &textFeed{deaf: true, signal: make(chan struct{}, 1)}
	l.attend(feed.signal, true)
	defer l.attend(feed.signal, false)
	d.feed(feed, true)
	defer d.feed(feed, false)
	var last []byte
	var said time.Time
	for {
		now := time.Now()
		if b := l.state(d); !bytes.Equal(b, last) || now.Sub(said) >= liveAgain {
			if !l.space.mayRead(device) {
				return
			}
			if stream.SetDeadline(now.Add(liveExpiry)) != nil || stream.WriteFrame(b) != nil {
				return
			}
			last, said = b, now
			select {
			case <-time.After(liveSpacing):
			case <-ctx.Done():
				return
			}
		}
		timer := time.NewTimer(time.Until(said.Add(liveAgain)))
		select {
		case <-feed.signal:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// attend has a channel told when the presence here changes.
func (l *liveText) attend(signal chan struct{}, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if on {
		l.wakes[signal] = true
	} else {
		delete(l.wakes, signal)
	}
}

// state is what goes on here, as a frame.
func (l *liveText) state(d *textDoc) []byte {
	var s liveState
	l.mu.Lock()
	if l.own != nil {
		s.here, s.who = true, *l.own
	}
	l.mu.Unlock()
	d.mu.Lock()
	if d.doc != nil && d.lane != 0 && d.dirty() {
		s.types, s.author, s.lane, s.deltas = true, d.author, d.lane, d.volatile()
	}
	d.mu.Unlock()
	return s.encode()
}
