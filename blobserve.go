package anabranch

import (
	"context"
	"errors"
	"sync"
	"time"

	"anabranch/blob"
	"anabranch/internal/fetch"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

// Limits of serving content.
const (
	blobServes     = 64               // streams at a time
	blobServesEach = 8                // of one device
	blobRelays     = 8                // spans that one stream may have us get from others at a time
	blobPatience   = 2 * time.Minute  // a stream on which nothing is asked is ended
	blobWriting    = 30 * time.Second // for a peer to take one frame
	blobStrikes    = 32               // spans asked for that were never offered, before that is charged
)

// blobServer answers one peer about one space's content.
type blobServer struct {
	space  *Space
	device record.Key
	stream mesh.Stream
	open   *store.Blob // the content last asked for
	relays chan struct{}
	busy   sync.WaitGroup
	misses int
}

// serveBlobs answers a stream that a peer has opened.
func (r *Replica) serveBlobs(stream mesh.Stream, device record.Key) {
	defer stream.Reset()
	if stream.SetDeadline(time.Now().Add(dialTimeout)) != nil {
		return
	}
	first, err := stream.ReadFrame()
	if err != nil {
		return
	}
	frame, err := fetch.Decode(first, 0)
	hello, ok := frame.(fetch.Hello)
	if err != nil || !ok || time.Now().Before(r.peer(device).blockedUntil()) {
		return // a stranger to all spaces here learns nothing
	}
	s := r.spaceOf(session.Hello{Tag: hello.Tag, Nonce: hello.Nonce}, device)
	if s == nil || stream.WriteFrame(fetch.Welcome{}.Append(nil)) != nil {
		return
	}
	v := &blobServer{space: s, device: device, stream: stream, relays: make(chan struct{}, blobRelays)}
	ctx, cancel := context.WithCancel(r.ctx)
	defer context.AfterFunc(ctx, stream.Reset)()
	defer v.busy.Wait()
	defer cancel()
	err = v.serve(ctx)
	if v.open != nil {
		v.open.Close()
	}
	if errors.Is(err, fetch.ErrFrame) || errors.Is(err, errStrikes) {
		r.log.Warn("a peer breaks the protocol of blobs", "space", s.ID(), "peer", device, "err", err)
		s.caught(device)
	}
}

var errStrikes = errors.New("anabranch: content was asked for again and again that no record names")

func (v *blobServer) serve(ctx context.Context) error {
	for {
		if err := v.stream.SetDeadline(time.Now().Add(blobPatience)); err != nil {
			return err
		}
		b, err := v.stream.ReadFrame()
		if err != nil {
			return err
		}
		frame, err := fetch.Decode(b, 0)
		if err != nil {
			return err
		}
		view, err := v.space.rows.Snapshot()
		if err != nil {
			return err
		}
		if !view.State().MayRead(v.device) { // revoked meanwhile
			view.Close()
			return ErrNotMember
		}
		err = v.answer(ctx, view, frame)
		view.Close()
		if err != nil {
			return err
		}
	}
}

func (v *blobServer) write(frame fetch.Frame) error { return v.stream.WriteFrame(frame.Append(nil)) }

func (v *blobServer) answer(ctx context.Context, view *store.Snapshot, frame fetch.Frame) error {
	switch frame := frame.(type) {
	case fetch.Names:
		for _, name := range frame {
			offer, err := v.offer(view, name)
			if err == nil {
				err = v.write(offer)
			}
			if err != nil {
				return err
			}
		}
		return nil
	case fetch.Request:
		return v.get(ctx, view, frame)
	case fetch.Question:
		return v.question(view, frame)
	}
	return fetch.ErrFrame
}

// offer is what this space has of a content that a record of it names.
func (v *blobServer) offer(view *store.Snapshot, name blob.Name) (fetch.Offer, error) {
	out := fetch.Offer{Name: name}
	named, err := view.NamesBlob(name)
	if err != nil || !named {
		return out, err
	}
	b, err := v.space.rows.Blob(name)
	if err != nil {
		return out, nil // absent, or unreadable: not to be had here
	}
	defer b.Close()
	out.Set = b.Set()
	out.Whole = out.Set == nil || out.Set.Full()
	return out, nil
}

func (v *blobServer) get(ctx context.Context, view *store.Snapshot, q fetch.Request) error {
	end := func(how fetch.Outcome) error { return v.write(fetch.End{ID: q.ID, How: how}) }
	named, err := view.NamesBlob(q.Name)
	if err != nil {
		return err
	}
	if !named {
		if v.misses++; v.misses > blobStrikes {
			return errStrikes
		}
		return end(fetch.Absent)
	}
	if v.open == nil || v.open.Name() != q.Name || !v.open.Has(q.Span) {
		if v.open != nil {
			v.open.Close()
		}
		if v.open, err = v.space.rows.Blob(q.Name); err != nil {
			v.open = nil
		}
	}
	if v.open == nil || !v.open.Has(q.Span) {
		return v.relay(ctx, q)
	}
	r := v.space.replica
	most := r.options.FrameBytes
	frame := make([]byte, 0, most)
	var sent uint64
	total, above := blob.SliceBytes(q.Name, q.Span)
	defer func() { v.space.blobs.count(int64(sent * (total - above) / max(1, total))) }()
	failed := v.open.Slice(q.Span, most-fetch.DataHeader, func(p []byte) error {
		r.pace(len(p), true)
		if err := v.stream.SetDeadline(time.Now().Add(blobWriting)); err != nil {
			return err
		}
		sent += uint64(len(p))
		frame = fetch.Data{ID: q.ID, Bytes: p}.Append(frame[:0])
		return v.stream.WriteFrame(frame)
	})
	if failed == nil {
		return end(fetch.Served)
	}
	if errors.Is(failed, store.ErrDamaged) || errors.Is(failed, store.ErrNotHere) || errors.Is(failed, store.ErrClosed) {
		r.log.Warn("content cannot be read", "space", v.space.ID(), "blob", q.Name, "err", failed)
		v.open.Close()
		v.open = nil
		return end(fetch.Absent)
	}
	return failed
}

// count adds to the content sent, proofs not counted.
func (f *fetcher) count(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent += n
}

// relay gets a span from where the crowd said that it is, beside this
// stream's other work, and passes it on once it is checked.
func (v *blobServer) relay(ctx context.Context, q fetch.Request) error {
	select {
	case v.relays <- struct{}{}:
	default:
		return v.write(fetch.End{ID: q.ID, How: fetch.Busy})
	}
	v.busy.Go(func() {
		defer func() { <-v.relays }()
		slice, how := v.space.blobs.relay(ctx, fetch.Peer(v.device), q.Name, q.Span)
		most := v.space.replica.options.FrameBytes - fetch.DataHeader
		for how == fetch.Served && len(slice) > 0 {
			n := min(len(slice), most)
			v.space.replica.pace(n, true)
			if v.write(fetch.Data{ID: q.ID, Bytes: slice[:n]}) != nil {
				return
			}
			slice = slice[n:]
		}
		if begin, end := q.Span.Bytes(q.Name); how == fetch.Served {
			v.space.blobs.count(int64(end - begin))
		}
		if how == fetch.False {
			how = fetch.Absent // not this replica's lie
		}
		v.write(fetch.End{ID: q.ID, How: min(how, fetch.Busy)})
	})
	return nil
}

// relay finds the way and asks there.
func (f *fetcher) relay(ctx context.Context, from fetch.Peer, name blob.Name, span blob.Span) ([]byte, fetch.Outcome) {
	found := make(chan *blobLink, 1)
	if !f.call(func() {
		next, ok := f.router.Route(time.Now(), name, from)
		if !ok {
			found <- nil
			return
		}
		if f.links[next] == nil {
			f.linkAll(f.space.replica.ctx)
		}
		found <- f.links[next]
	}) {
		return nil, fetch.Absent
	}
	select {
	case l := <-found:
		if l == nil {
			return nil, fetch.Absent
		}
		slice, how := l.relay(ctx, name, span)
		if how == fetch.False {
			f.call(func() { f.blame(fetch.Blame{Peer: l.peer, Name: name}) })
		}
		if how != fetch.Served && how != fetch.Busy {
			f.call(func() { f.router.Lost(name, l.peer) })
		}
		return slice, how
	case <-ctx.Done():
	case <-f.ended:
	}
	return nil, fetch.Absent
}

// question answers whether content is here, or passes the question on.
func (v *blobServer) question(view *store.Snapshot, q fetch.Question) error {
	named, err := view.NamesBlob(q.Name)
	if err != nil {
		return err
	}
	here := false
	if named {
		if here, err = v.space.rows.HasBlob(q.Name); err != nil {
			return err
		}
	}
	from, f := fetch.Peer(v.device), v.space.blobs
	f.call(func() {
		verdict, on := f.router.Heard(time.Now(), from, q, here)
		if verdict == fetch.Ignore || !named { // what no record here names is no business of this space
			return
		}
		reply := func(frame fetch.Frame) {
			v.busy.Go(func() { v.write(frame) })
		}
		if verdict == fetch.Answer {
			reply(fetch.AnswerTo{ID: q.ID})
			return
		}
		f.keepReply(q.ID, reply)
		f.linkAll(f.space.replica.ctx)
		for p, l := range f.links {
			if p != from {
				l.send(on)
			}
		}
	})
	return nil
}

// keepReply remembers whom to tell an answer; few at a time.
func (f *fetcher) keepReply(id fetch.QuestionID, reply func(fetch.Frame)) {
	if len(f.replies) > 1024 {
		clear(f.replies)
	}
	f.replies[id] = reply
}

// answered takes the answer to a question: the content is to be had from that
// peer, which has it or knows the way.
func (f *fetcher) answered(l *blobLink, id fetch.QuestionID) {
	name, _, own, ok := f.router.Answered(time.Now(), l.peer, id)
	if !ok {
		return
	}
	if !own {
		if reply := f.replies[id]; reply != nil {
			delete(f.replies, id)
			reply(fetch.AnswerTo{ID: id})
		}
		return
	}
	l.mu.Lock()
	l.vias[name] = true
	l.mu.Unlock()
	f.step(f.space.replica.ctx, fetch.Offered{Peer: l.peer, Name: name, Whole: true, Routed: true})
}
