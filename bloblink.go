package anabranch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"anabranch/blob"
	"anabranch/internal/fetch"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// blobProtocol moves content, on streams of its own, so that no content ever
// stands before a record.
const blobProtocol = "/anabranch/blobs/1"

const (
	blobSends   = 512     // frames that wait for a peer that does not read; more end the stream
	blobMostSet = 4 << 20 // groups: a peer's offer of a part of more than 64 GiB is not read
	relayIDs    = 1 << 31 // from here on, requests are on behalf of others
)

// blobLink is the stream on which this replica asks one peer about one
// space's content.
type blobLink struct {
	f          *fetcher
	peer       fetch.Peer
	cancel     context.CancelFunc
	sends      chan []byte
	done       chan struct{} // closed when the stream has ended
	joined     bool          // the loop was told; owned by the loop
	goroutines sync.WaitGroup
	used       atomic.Int64 // when something was last asked, unix seconds
	relays     atomic.Uint32

	mu       sync.Mutex // guards what follows
	incoming map[uint32]*incoming
	ended    bool
	vias     map[blob.Name]bool // asked of it because of an answer to a question
}

// incoming is a slice on its way.
type incoming struct {
	request fetch.Request
	decoder *blob.Decoder
	out     []byte
	partial *store.Partial
	raw     []byte           // of a relay: the slice as it came
	relayed chan relayResult // cap 1; nil if it is not one
	failed  bool
}

type relayResult struct {
	slice []byte
	how   fetch.Outcome
}

// pieces are buffers for requests of the usual size.
var pieces = sync.Pool{New: func() any { return new(pieceBuffer) }}

type pieceBuffer [8 * blob.GroupBytes]byte

func openBlobLink(ctx context.Context, f *fetcher, device mesh.Key) *blobLink {
	ctx, cancel := context.WithCancel(ctx)
	l := &blobLink{
		f: f, peer: fetch.Peer(device), cancel: cancel, sends: make(chan []byte, blobSends), done: make(chan struct{}),
		incoming: map[uint32]*incoming{}, vias: map[blob.Name]bool{},
	}
	l.used.Store(time.Now().Unix())
	l.goroutines.Go(func() {
		defer close(l.done)
		defer cancel()
		if err := l.run(ctx); err != nil && ctx.Err() == nil {
			f.space.replica.log.Debug("blob stream ended", "peer", record.Key(device), "err", err)
		}
		l.abandon()
		f.tell()
		poke(f.space.replica.pokes)
	})
	return l
}

func (l *blobLink) stop() { l.cancel() }

func (l *blobLink) run(ctx context.Context) error {
	r := l.f.space.replica
	device := record.Key(l.peer)
	dialing, stop := context.WithTimeout(ctx, dialTimeout)
	stream, err := r.host.Open(dialing, mesh.Key(l.peer), r.addrsOf(device), blobProtocol)
	stop()
	if err != nil {
		return err
	}
	defer stream.Reset()
	defer context.AfterFunc(ctx, stream.Reset)()
	var hello fetch.Hello
	var nonce [session.NonceSize]byte
	rand.Read(nonce[:])
	hello.Nonce = nonce
	hello.Tag = session.Tag(l.f.space.ID(), r.Device(), device, nonce)
	if err := stream.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if err := stream.WriteFrame(hello.Append(nil)); err != nil {
		return err
	}
	first, err := stream.ReadFrame()
	if err != nil {
		return err
	}
	if frame, err := fetch.Decode(first, 0); err != nil || frame != (fetch.Welcome{}) {
		return fmt.Errorf("%w: no welcome", fetch.ErrFrame)
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if !l.f.call(func() { l.joined = true; l.f.step(ctx, fetch.Joined{Peer: l.peer}) }) {
		return ErrClosed
	}
	var writing sync.WaitGroup
	defer writing.Wait()
	defer l.cancel()
	writing.Go(func() {
		defer stream.Reset()
		idle := time.NewTicker(blobIdle / 4)
		defer idle.Stop()
		for {
			select {
			case b := <-l.sends:
				if stream.WriteFrame(b) != nil {
					return
				}
			case <-idle.C:
				if time.Since(time.Unix(l.used.Load(), 0)) > blobIdle {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		b, err := stream.ReadFrame()
		if err != nil {
			return err
		}
		if err := l.take(b); err != nil {
			if errors.Is(err, fetch.ErrFrame) {
				r.log.Warn("a peer breaks the protocol of blobs", "peer", device, "err", err)
				l.f.space.caught(device)
			}
			return err
		}
	}
}

// send queues a frame. A peer that does not read loses its stream.
func (l *blobLink) send(frame fetch.Frame) bool {
	l.used.Store(time.Now().Unix())
	select {
	case l.sends <- frame.Append(nil):
		return true
	default:
		l.stop()
		return false
	}
}

// request asks for a span.
func (l *blobLink) request(q fetch.Request, p *store.Partial) bool {
	return l.begin(&incoming{request: q, partial: p})
}

func (l *blobLink) begin(in *incoming) bool {
	q := in.request
	begin, end := q.Span.Bytes(q.Name)
	if n := end - begin; n <= uint64(len(pieceBuffer{})) {
		in.out = pieces.Get().(*pieceBuffer)[:n]
	} else {
		in.out = make([]byte, n)
	}
	var err error
	if in.decoder, err = blob.NewDecoder(q.Name, q.Span, in.out, nil); err != nil {
		return false
	}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.incoming[q.ID] = in
	l.mu.Unlock()
	return l.send(q)
}

// relay gets a span on behalf of another peer: the slice, checked.
func (l *blobLink) relay(ctx context.Context, name blob.Name, span blob.Span) ([]byte, fetch.Outcome) {
	in := &incoming{relayed: make(chan relayResult, 1)}
	in.request = fetch.Request{ID: relayIDs + l.relays.Add(1)%relayIDs, Name: name, Span: span}
	if !l.begin(in) {
		return nil, fetch.Absent
	}
	select {
	case got := <-in.relayed:
		return got.slice, got.how
	case <-l.done:
	case <-ctx.Done():
	}
	return nil, fetch.Absent
}

func (l *blobLink) routed(name blob.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vias[name]
}

// take handles one frame of the peer.
func (l *blobLink) take(b []byte) error {
	frame, err := fetch.Decode(b, blobMostSet)
	if err != nil {
		return err
	}
	switch frame := frame.(type) {
	case fetch.Offer:
		l.mu.Lock()
		routed := l.vias[frame.Name]
		l.mu.Unlock()
		if routed && !frame.Whole && frame.Set == nil {
			return nil // it said before that it can get it
		}
		return l.tell(fetch.Offered{Peer: l.peer, Name: frame.Name, Set: frame.Set, Whole: frame.Whole})
	case fetch.Data:
		return l.data(frame)
	case fetch.End:
		return l.end(frame.ID, frame.How)
	case fetch.AnswerTo:
		l.f.call(func() { l.f.answered(l, frame.ID) })
		return nil
	}
	return fmt.Errorf("%w: a %T from who answers", fetch.ErrFrame, frame)
}

func (l *blobLink) tell(in fetch.Input) error {
	select {
	case l.f.inputs <- in:
		return nil
	case <-l.f.ended:
		return ErrClosed
	case <-l.f.space.replica.ctx.Done():
		return ErrClosed
	}
}

func (l *blobLink) data(frame fetch.Data) error {
	l.mu.Lock()
	in := l.incoming[frame.ID]
	l.mu.Unlock()
	if in == nil || in.failed {
		return nil // of a request that has ended here
	}
	if in.relayed != nil {
		if total, _ := blob.SliceBytes(in.request.Name, in.request.Span); uint64(len(in.raw)+len(frame.Bytes)) <= total {
			in.raw = append(in.raw, frame.Bytes...)
		}
	}
	l.f.space.replica.pace(len(frame.Bytes), false)
	if err := in.decoder.Feed(frame.Bytes); err != nil {
		in.failed = true
		if err := l.keep(in); err != nil {
			return l.end(frame.ID, fetch.Unkept)
		}
		return l.end(frame.ID, fetch.False)
	}
	if in.decoder.Done() {
		how := fetch.Served
		if err := l.keep(in); err != nil {
			l.f.note(err)
			how = fetch.Unkept
		}
		return l.end(frame.ID, how)
	}
	return nil
}

// keep writes what is checked.
func (l *blobLink) keep(in *incoming) error {
	checked := in.decoder.Checked()
	if in.partial == nil || checked.Begin == checked.End {
		return nil
	}
	begin, end := checked.Bytes(in.request.Name)
	fresh, err := in.partial.Put(checked, in.out[:end-begin], in.decoder.Parents())
	if err != nil {
		return err
	}
	again := int64(checked.Len()-fresh) * blob.GroupBytes
	l.f.mu.Lock()
	l.f.got += int64(end - begin)
	l.f.twice += again
	l.f.mu.Unlock()
	return l.tell(fetch.Arrived{Peer: l.peer, Request: in.request.ID, Span: checked})
}

// end takes a request off the list and tells whoever asked.
func (l *blobLink) end(id uint32, how fetch.Outcome) error {
	l.mu.Lock()
	in := l.incoming[id]
	delete(l.incoming, id)
	l.mu.Unlock()
	if in == nil {
		return nil
	}
	if how == fetch.Served && !in.decoder.Done() {
		how = fetch.Absent // it says so, and it is not
	}
	if cap(in.out) == len(pieceBuffer{}) {
		pieces.Put((*pieceBuffer)(in.out[:cap(in.out)]))
	}
	in.out = nil
	if in.relayed != nil {
		in.relayed <- relayResult{in.raw, how}
		return nil
	}
	return l.tell(fetch.Ended{Peer: l.peer, Request: id, How: how})
}

// abandon keeps what had come when the stream broke.
func (l *blobLink) abandon() {
	l.mu.Lock()
	l.ended = true
	all := l.incoming
	l.incoming = map[uint32]*incoming{}
	l.mu.Unlock()
	for _, in := range all {
		if in.relayed != nil {
			in.relayed <- relayResult{nil, fetch.Absent}
		} else if !in.failed {
			if err := l.keep(in); err != nil && !errors.Is(err, ErrClosed) {
				l.f.note(err)
			}
		}
	}
}
