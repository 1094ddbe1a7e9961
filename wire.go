package anabranch

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"anabranch/internal/engine"
	"anabranch/internal/mesh"
	"anabranch/record"
)

// Beside the streams of sessions there is one between two connected members,
// opened by the smaller key, for the engine's frames both ways: fresh records
// as rumors, and notes. Each side begins with
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
	stream mesh.Stream
	queue  chan []byte // cap wireQueue; when it is full frames are dropped
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
		p.traffic.dropped.Add(1)
	}
}

// restart ends the stream for frames, so that a new one is opened.
func (p *peer) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wire != nil {
		p.wire.stream.Reset()
	}
	if p.greeting != nil {
		p.greeting.Reset()
	}
}

// dial makes a connection with a member, by opening the stream that gossip
// needs anyway.
func (r *Replica) dial(p *peer) {
	addrs := r.addrsOf(p.device)
	if _, ok := r.connection(p.device); !ok && len(addrs) == 0 {
		r.dialled(p)
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
	defer cancel()
	stream, err := r.host.Open(ctx, mesh.Key(p.device), addrs, gossipProtocol)
	switch {
	case err != nil:
	case r.opens(p.device) && !r.options.noGossip:
		r.leaveStream(p, stream)
	default:
		stream.Reset()
	}
	if r.dialled(p) {
		r.wakePeers()
	} else if err != nil && r.ctx.Err() == nil {
		for _, s := range r.all() {
			if s.mayRead(p.device) {
				s.ended(p, Report{}, false, err)
			}
		}
	}
}

// leaveStream gives a stream to the goroutine that tends the peer's, if it was
// opened by the smaller key. The other side's only made the connection.
//
// The newest wins, also over one whose hellos are on their way: where a dial
// and a wire open one each at a time, the two sides may have taken different
// ones first, and would wait for each other's hello.
func (r *Replica) leaveStream(p *peer, stream mesh.Stream) {
	p.mu.Lock()
	old := p.fresh
	p.fresh = stream
	if p.wire != nil {
		p.wire.stream.Reset() // whoever opened it begins anew
	}
	if p.greeting != nil {
		p.greeting.Reset()
	}
	p.mu.Unlock()
	if old != nil {
		old.Reset()
	}
	poke(p.arrived)
}

// opens reports whether it is this device that opens streams to another.
func (r *Replica) opens(device record.Key) bool { return r.Device().Compare(device) < 0 }

// serveWire takes the stream for frames that a peer has opened.
func (r *Replica) serveWire(stream mesh.Stream) {
	p := r.peer(record.Key(stream.Peer()))
	if r.opens(p.device) {
		stream.Reset() // it came to make the connection
	} else {
		r.leaveStream(p, stream)
	}
	r.wakePeers()
}

// wires starts a goroutine for every connected member that lacks one.
func (r *Replica) wires() {
	if r.options.Manual || r.options.noGossip {
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
	if p.fresh != nil {
		p.fresh.Reset()
	}
	p.fresh = nil
	p.mu.Unlock()
	if _, ok := r.connection(p.device); ok && r.ctx.Err() == nil {
		r.wakePeers() // it came back meanwhile
	}
}

// runWire has a stream opened, or waits for the peer to open one, and moves
// frames until it ends.
func (r *Replica) runWire(p *peer) error {
	stream, err := r.awaitStream(p)
	if err != nil {
		return err
	}
	defer stream.Reset()
	p.mu.Lock()
	p.greeting = stream
	if p.fresh != nil { // a newer one came
		stream.Reset()
	}
	p.mu.Unlock()
	w, limit, err := r.greet(stream)
	p.mu.Lock()
	p.greeting = nil
	p.mu.Unlock()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(r.ctx, stream.Reset)
	defer stop()
	if !r.wired(p, w) {
		return mesh.ErrConnLost
	}
	quit, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for {
			select {
			case frame := <-w.queue:
				if len(frame) > limit {
					continue // it would end the stream
				}
				if stream.WriteFrame(frame) != nil {
					stream.Reset()
					return
				}
				p.traffic.frame(&p.traffic.bytesOut, &p.traffic.rumorsOut, frame)
			case <-quit:
				return
			}
		}
	}()
	for {
		var frame []byte
		if frame, err = stream.ReadFrame(); err != nil {
			break
		}
		p.traffic.frame(&p.traffic.bytesIn, &p.traffic.rumorsIn, frame)
		r.tell(engine.Frame{Peer: engine.Peer(p.device), Bytes: frame})
	}
	p.mu.Lock()
	p.wire = nil
	p.mu.Unlock()
	stream.Reset()
	close(quit)
	<-written
	r.tell(engine.StreamDown{Peer: engine.Peer(p.device)})
	return err
}

// wired tells the engine that frames go both ways, unless the connection is
// gone.
func (r *Replica) wired(p *peer, w *wire) bool {
	r.linking.Lock()
	defer r.linking.Unlock()
	r.tellConnections() // the connection may be news, too
	if _, ok := r.connected[mesh.Key(p.device)]; !ok {
		return false
	}
	p.mu.Lock()
	p.wire = w
	if p.fresh != nil { // a newer one came
		w.stream.Reset()
	}
	p.mu.Unlock()
	r.tell(engine.StreamUp{Peer: engine.Peer(p.device)})
	return true
}

// greet exchanges hellos, and tells how large frames may be.
func (r *Replica) greet(stream mesh.Stream) (*wire, int, error) {
	stop := context.AfterFunc(r.ctx, stream.Reset)
	defer stop()
	if err := stream.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, 0, err
	}
	hello := binary.BigEndian.AppendUint32([]byte{wireVersion}, uint32(r.options.FrameBytes))
	if err := stream.WriteFrame(hello); err != nil {
		return nil, 0, err
	}
	limit, err := readWireHello(stream)
	if err != nil {
		return nil, 0, err
	}
	w := &wire{stream: stream, queue: make(chan []byte, wireQueue)}
	return w, min(limit, r.options.FrameBytes), stream.SetDeadline(time.Time{})
}

// awaitStream opens the stream, or waits for the peer to open it for as long
// as it is connected.
func (r *Replica) awaitStream(p *peer) (mesh.Stream, error) {
	for {
		p.mu.Lock()
		stream := p.fresh
		p.fresh = nil
		p.mu.Unlock()
		if stream != nil {
			return stream, nil
		}
		if r.opens(p.device) {
			ctx, cancel := context.WithTimeout(r.ctx, dialTimeout)
			defer cancel()
			return r.host.Open(ctx, mesh.Key(p.device), nil, gossipProtocol)
		}
		changed := r.host.Changed()
		if _, ok := r.connection(p.device); !ok {
			return nil, mesh.ErrConnLost
		}
		select {
		case <-p.arrived:
		case <-changed:
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
