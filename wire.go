package anabranch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// Beside the streams of sessions there is a pair of streams between two
// connected members, one each way, for the engine's frames: fresh records as
// rumors, and notes. Each begins with
//
//	version 1 (= 1) | bytes of the largest frame that its sender takes 4
//
// A member that does not offer the protocol is kept in step by sessions.
const (
	gossipProtocol = "/anabranch/gossip/1"
	wireVersion    = 1

	wireQueue = 256 // frames that wait for the link; more are dropped, and sessions repair it
	wireFirst = 500 * time.Millisecond
	wireMost  = time.Minute
)

// wire is what a connected peer's frames go through.
type wire struct {
	out, in mesh.Stream
	queue   chan []byte // cap wireQueue; when it is full frames are dropped
}

func (w *wire) reset() {
	w.out.Reset()
	w.in.Reset()
}

// send queues a frame for the peer, or drops it.
func (p *peer) send(frame []byte) {
	p.mu.Lock()
	w := p.wire
	p.mu.Unlock()
	if w == nil {
		return
	}
	select {
	case w.queue <- frame:
	default:
	}
}

// dial makes a connection with a member, by opening the stream that gossip
// needs anyway.
func (r *Replica) dial(p *peer) {
	down := engine.PeerDown{Peer: engine.Peer(p.device)}
	addrs := r.addrsOf(p.device)
	if _, ok := r.connection(p.device); !ok && len(addrs) == 0 {
		r.tell(down)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(ctx, mesh.Key(p.device), addrs, gossipProtocol)
	if err == nil {
		p.keepOut(stream)
	}
	if info, ok := r.connection(p.device); ok {
		r.tell(connectionUp(info))
		r.wakePeers()
		return
	}
	if err != nil && r.ctx.Err() == nil {
		for _, s := range r.all() {
			if s.mayRead(p.device) {
				s.ended(p, Report{}, false, err)
			}
		}
	}
	r.tell(down)
}

// keepOut leaves a stream that dial has opened for tendWire.
func (p *peer) keepOut(stream mesh.Stream) {
	p.mu.Lock()
	old := p.out
	p.out = stream
	p.mu.Unlock()
	if old != nil {
		old.Reset()
	}
}

// serveWire takes the stream on which a peer sends its frames.
func (r *Replica) serveWire(stream mesh.Stream) {
	p := r.peer(record.Key(stream.Peer()))
	p.mu.Lock()
	old := p.in
	p.in = stream
	if p.wire != nil {
		p.wire.reset() // the peer begins anew, and so do we
	}
	arrived := p.arrived
	p.mu.Unlock()
	if old != nil {
		old.Reset()
	}
	poke(arrived)
	r.wakePeers()
}

// wires starts a goroutine for every connected member that lacks one.
func (r *Replica) wires() {
	if r.options.Manual {
		return
	}
	for _, info := range r.host.Peers() {
		device := record.Key(info.Key)
		if !r.isReader(device) {
			continue
		}
		p := r.peer(device)
		p.mu.Lock()
		start := !p.wired
		p.wired = true
		p.mu.Unlock()
		if start {
			r.wg.Go(func() { r.tendWire(p) })
		}
	}
}

// tendWire keeps a pair of streams with a peer while it is connected.
func (r *Replica) tendWire(p *peer) {
	pause := wireFirst
	for r.ctx.Err() == nil {
		if _, ok := r.connection(p.device); !ok || !r.isReader(p.device) {
			break
		}
		began := time.Now()
		err := r.runWire(p)
		if time.Since(began) > time.Minute {
			pause = wireFirst
		}
		if r.ctx.Err() != nil {
			break
		}
		r.log.Debug("no stream for rumors", "peer", p.device, "err", err)
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
			pause = min(2*pause, wireMost)
		case <-p.arrived:
			pause = wireFirst
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
	p.mu.Lock()
	p.wired = false
	for _, stream := range []mesh.Stream{p.out, p.in} {
		if stream != nil {
			stream.Reset()
		}
	}
	p.out, p.in = nil, nil
	p.mu.Unlock()
	if _, ok := r.connection(p.device); ok && r.ctx.Err() == nil {
		r.wakePeers() // it came back meanwhile
	}
}

var errNoWire = errors.New("anabranch: the peer has opened no stream for rumors")

// runWire opens our stream, waits for the peer's, and moves frames until one
// of the two ends.
func (r *Replica) runWire(p *peer) error {
	out, err := r.openWire(p)
	if err != nil {
		return err
	}
	w := &wire{out: out, queue: make(chan []byte, wireQueue)}
	defer out.Reset()
	if w.in, err = r.awaitWire(p); err != nil {
		return err
	}
	defer w.in.Reset()
	stop := context.AfterFunc(r.ctx, w.reset)
	defer stop()
	if err := w.in.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	limit, err := readWireHello(w.in)
	if err != nil {
		return err
	}
	if err := w.in.SetDeadline(time.Time{}); err != nil {
		return err
	}
	limit = min(limit, r.options.FrameBytes)
	p.mu.Lock()
	if p.in != nil { // a newer one came
		p.mu.Unlock()
		return errNoWire
	}
	p.wire = w
	p.mu.Unlock()
	r.tell(engine.StreamUp{Peer: engine.Peer(p.device)})
	quit, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for {
			select {
			case frame := <-w.queue:
				if len(frame) > limit {
					continue // it would end the stream
				}
				if w.out.WriteFrame(frame) != nil {
					w.reset()
					return
				}
			case <-quit:
				return
			}
		}
	}()
	for {
		var frame []byte
		if frame, err = w.in.ReadFrame(); err != nil {
			break
		}
		r.tell(engine.Frame{Peer: engine.Peer(p.device), Bytes: frame})
	}
	p.mu.Lock()
	p.wire = nil
	p.mu.Unlock()
	w.reset()
	close(quit)
	<-written
	r.tell(engine.StreamDown{Peer: engine.Peer(p.device)})
	return err
}

// openWire opens the stream on which we send.
func (r *Replica) openWire(p *peer) (mesh.Stream, error) {
	p.mu.Lock()
	stream := p.out
	p.out = nil
	p.mu.Unlock()
	if stream == nil {
		ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
		defer cancel()
		var err error
		if stream, err = r.host.Open(ctx, mesh.Key(p.device), nil, gossipProtocol); err != nil {
			return nil, err
		}
	}
	hello := binary.BigEndian.AppendUint32([]byte{wireVersion}, uint32(r.options.FrameBytes))
	if err := stream.WriteFrame(hello); err != nil {
		stream.Reset()
		return nil, err
	}
	return stream, nil
}

// awaitWire waits for the stream on which the peer sends.
func (r *Replica) awaitWire(p *peer) (mesh.Stream, error) {
	timer := time.NewTimer(dialTimeout)
	defer timer.Stop()
	for {
		p.mu.Lock()
		in := p.in
		p.in = nil
		p.mu.Unlock()
		if in != nil {
			return in, nil
		}
		select {
		case <-p.arrived:
		case <-timer.C:
			return nil, errNoWire
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		}
	}
}

// readWireHello reads how large the peer's frames may be.
func readWireHello(in mesh.Stream) (int, error) {
	b, err := in.ReadFrame()
	if err != nil {
		return 0, err
	}
	return parseWireHello(b)
}

func parseWireHello(b []byte) (int, error) {
	if len(b) < 5 || b[0] != wireVersion { // later versions may say more
		return 0, fmt.Errorf("%w: a stream for rumors begins with %d bytes", ErrIncompatible, len(b))
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n < minFrameBytes || n > maxFrameBytes {
		return 0, fmt.Errorf("%w: frames of %d bytes", ErrIncompatible, n)
	}
	return int(n), nil
}
