package anabranch

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"anabranch/blob"
	"anabranch/internal/engine"
	"anabranch/internal/fetch"
	"anabranch/internal/store"
	"anabranch/record"
)

// Limits of the shell around fetches.
const (
	blobInputs    = 256                    // that wait for the loop; full means that streams are not read
	blobLook      = 250 * time.Millisecond // least time between looks at what records have come
	blobRelink    = time.Second            // before a stream that broke is opened again; doubles
	blobRelinkTop = 30 * time.Second
	blobIdle      = time.Minute // a stream on which nothing is asked is closed
	blobRetry     = 10 * time.Second
	blobCollect   = time.Hour
)

// fetcher is the shell around one space's fetch.Machine: one loop owns the
// machine and the router; streams have goroutines of their own, which check
// and write what arrives.
type fetcher struct {
	space  *Space
	ruling sync.Mutex // held while the policy is changed
	inputs chan fetch.Input
	calls  chan func() // run by the loop
	look   chan struct{}
	ended  chan struct{} // closed when the loop has ended, or never began

	// Owned by the loop:
	machine  *fetch.Machine
	router   *fetch.Router
	links    map[fetch.Peer]*blobLink
	backoff  map[fetch.Peer]relink
	partials map[blob.Name]*store.Partial
	seen     uint64             // version up to which records were looked at
	paths    map[blob.Name]bool // wanted because of the policy
	readers  map[blob.Name]int  // files that are open and had to wait for it
	looked   time.Time
	replies  map[fetch.QuestionID]func(fetch.Frame)
	finishes sync.WaitGroup

	mu       sync.Mutex // guards what follows
	news     chan struct{}
	running  bool
	liars    map[record.Key]int
	got      int64 // bytes checked and written since the replica was opened
	sent     int64
	twice    int64 // of got: those that were here already
	failure  error // why something that is wanted is not fetched
	progress map[blob.Name]fetch.Progress
}

type relink struct {
	after time.Time
	wait  time.Duration
}

func newFetcher(s *Space) *fetcher {
	return &fetcher{
		space: s, inputs: make(chan fetch.Input, blobInputs), calls: make(chan func(), 64), look: make(chan struct{}, 1),
		ended: make(chan struct{}), news: make(chan struct{}), liars: map[record.Key]int{},
		machine:  fetch.New(s.replica.options.blobFetch),
		router:   fetch.NewRouter(),
		links:    map[fetch.Peer]*blobLink{},
		backoff:  map[fetch.Peer]relink{},
		partials: map[blob.Name]*store.Partial{},
		paths:    map[blob.Name]bool{},
		readers:  map[blob.Name]int{},
		replies:  map[fetch.QuestionID]func(fetch.Frame){},
	}
}

// begin starts the loop. Who asks for content from now on waits for it, also
// while the loop is not yet there.
func (f *fetcher) begin() {
	f.mu.Lock()
	f.running = true
	f.mu.Unlock()
	f.space.replica.wg.Go(f.run)
}

// run is the loop. It ends with the replica, or when the space is left.
func (f *fetcher) run() {
	r := f.space.replica
	ctx, cancel := context.WithCancel(r.ctx)
	defer func() {
		cancel()
		close(f.ended)
		f.mu.Lock()
		f.running = false
		f.mu.Unlock()
		for _, l := range f.links {
			l.stop()
		}
		for _, l := range f.links {
			l.goroutines.Wait()
		}
		f.finishes.Wait()
		for _, p := range f.partials {
			p.Close()
		}
	}()
	f.resume()
	tick := time.NewTicker(blobLook)
	defer tick.Stop()
	for {
		changed, peers := f.space.rows.Changed(), r.host.Changed()
		if time.Since(f.looked) >= blobLook {
			if !f.lookForWork() {
				return
			}
		}
		f.tendLinks(ctx)
		select {
		case in := <-f.inputs:
			f.step(ctx, in)
			for more := true; more; {
				select {
				case in := <-f.inputs:
					f.step(ctx, in)
				default:
					more = false
				}
			}
		case call := <-f.calls:
			call()
		case <-f.look:
			f.seen, f.looked = 0, time.Time{}
		case <-changed:
		case <-peers:
		case <-tick.C:
			f.step(ctx, fetch.Tick{})
			f.report()
		case <-ctx.Done():
			return
		}
	}
}

// resume goes on with what was begun before this process was.
func (f *fetcher) resume() {
	for _, name := range f.space.rows.BegunBlobs() {
		if has, err := f.space.rows.HasBlob(name); err != nil || has {
			continue // what is left goes with the next collection
		}
		if p, err := f.space.rows.FetchBlob(name); err == nil {
			f.partials[name] = p
		}
	}
}

// lookForWork finds out what records that came since the last look name.
// false: the space is gone.
func (f *fetcher) lookForWork() bool {
	s := f.space
	f.looked = time.Now()
	view, err := s.rows.Snapshot()
	if err != nil {
		return errors.Is(err, store.ErrFull)
	}
	defer view.Close()
	if view.Version() == f.seen {
		return true
	}
	rules, err := s.BlobPolicy()
	if err != nil {
		f.note(err)
	}
	if f.seen == 0 || !view.Complete(f.seen) {
		for b, err := range view.BlobsNamed() {
			if err != nil {
				f.note(err)
				break
			}
			f.consider(view, rules, b.Name, b.By)
		}
	} else {
		for b, err := range view.BlobsSince(f.seen) {
			if err != nil {
				f.note(err)
				break
			}
			f.consider(view, rules, b.Name, b.By)
		}
		left, err := view.LeftSince(f.seen)
		if err != nil {
			f.note(err)
		}
		if left {
			for _, name := range f.machine.Wanted() {
				if named, err := view.NamesBlob(name); err == nil && !named {
					f.unwant(name)
				}
			}
		}
	}
	f.seen = view.Version()
	return true
}

// consider wants a content if the policy says so for one of the documents
// that name it, and a reader sees that document.
func (f *fetcher) consider(view *store.Snapshot, rules []BlobRule, name blob.Name, by []uint64) {
	has, err := f.space.rows.HasBlob(name)
	if err != nil || has {
		return
	}
	now := f.space.replica.now()
	for _, n := range by {
		v, err := view.Arrived(n)
		if err != nil || !ruleFor(rules, v.Path).fetches(name.Size) {
			continue
		}
		if v.Kind == record.Doc {
			reading, err := view.Resolve(v.Path, now)
			current := err == nil && reading.Doc != nil && reading.Doc.ID == v.ID && !reading.Absent
			if !current && !slices.ContainsFunc(reading.Conflicts, func(c *Record) bool { return c.ID == v.ID }) {
				continue
			}
		}
		f.paths[name] = true
		f.want(name, false)
		return
	}
	if f.paths[name] && f.seen == 0 && f.readers[name] == 0 { // the rules have changed
		f.unwant(name)
	}
}

func (f *fetcher) want(name blob.Name, urgent bool) {
	p := f.partials[name]
	if p == nil && f.space.rows.Begun(name) { // what is there is not asked for again
		var err error
		if p, err = f.space.rows.FetchBlob(name); err != nil {
			f.note(err)
			p = nil
		} else {
			f.partials[name] = p
		}
	}
	var have *blob.Set
	if p != nil {
		have = p.Set()
	}
	f.step(f.space.replica.ctx, fetch.Want{Name: name, Have: have, Urgent: urgent})
}

func (f *fetcher) unwant(name blob.Name) {
	delete(f.paths, name)
	f.step(f.space.replica.ctx, fetch.Unwant{Name: name})
	if p := f.partials[name]; p != nil {
		delete(f.partials, name)
		p.Close() // what was begun goes with the next collection
	}
}

func (f *fetcher) step(ctx context.Context, in fetch.Input) {
	for _, out := range f.machine.Step(time.Now(), in) {
		switch out := out.(type) {
		case fetch.Ask:
			f.send(out.Peer, fetch.Names(out.Names))
		case fetch.Get:
			f.get(out)
		case fetch.Cut:
			if l := f.links[out.Peer]; l != nil {
				f.space.replica.log.Info("a peer that sends nothing is left alone for a while", "space", f.space.ID(), "peer", record.Key(out.Peer))
				l.stop()
			}
		case fetch.Blame:
			f.blame(out)
		case fetch.Crowd:
			f.askCrowd(out.Name)
		case fetch.Done:
			f.finish(ctx, out.Name)
		}
	}
	f.tell()
}

// tell wakes whoever waits for content.
func (f *fetcher) tell() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fetcher) send(p fetch.Peer, frame fetch.Frame) {
	if l := f.links[p]; l != nil {
		l.send(frame)
	}
}

// get asks for a span, into a partial that is made now if need be.
func (f *fetcher) get(out fetch.Get) {
	p := f.partials[out.Name]
	if p == nil {
		var err error
		if p, err = f.space.rows.FetchBlob(out.Name); err != nil {
			f.note(err)
			f.later(fetch.Ended{Peer: out.Peer, Request: out.Request, How: fetch.Unkept})
			f.again(out.Name)
			return
		}
		f.partials[out.Name] = p
	}
	l := f.links[out.Peer]
	if l == nil || !l.request(fetch.Request{ID: out.Request, Name: out.Name, Span: out.Span}, p) {
		f.later(fetch.Ended{Peer: out.Peer, Request: out.Request, How: fetch.Absent})
	}
}

// later is an input from the loop itself.
func (f *fetcher) later(in fetch.Input) {
	select {
	case f.inputs <- in:
	default:
		f.finishes.Go(func() {
			select {
			case f.inputs <- in:
			case <-f.space.replica.ctx.Done():
			}
		})
	}
}

// again looks at a content anew after a while: what kept it may have passed.
func (f *fetcher) again(name blob.Name) {
	policy := f.paths[name]
	f.finishes.Go(func() {
		select {
		case <-time.After(blobRetry):
			f.call(func() {
				if has, err := f.space.rows.HasBlob(name); err == nil && !has && (policy || f.readers[name] > 0) {
					f.want(name, false)
				}
			})
		case <-f.space.replica.ctx.Done():
		}
	})
}

// call runs something in the loop; false if there is none.
func (f *fetcher) call(fn func()) bool {
	select {
	case f.calls <- fn:
		return true
	case <-f.ended:
		return false
	case <-f.space.replica.ctx.Done():
		return false
	}
}

func (f *fetcher) blame(out fetch.Blame) {
	r, device := f.space.replica, record.Key(out.Peer)
	f.mu.Lock()
	f.liars[device]++
	f.mu.Unlock()
	r.log.Warn("a peer sent what is not of the content it was asked for", "space", f.space.ID(), "peer", device, "blob", out.Name)
	f.space.caught(device)
	if l := f.links[out.Peer]; l != nil && l.routed(out.Name) {
		f.router.Lost(out.Name, out.Peer)
	}
}

// caught charges a peer with content that is false, or with what breaks the
// protocol of content: it counts like every other charge.
func (s *Space) caught(device record.Key) {
	s.replica.tell(engine.Caught{Peer: engine.Peer(device), Space: s.ID(), Reason: engine.Content})
}

func (f *fetcher) askCrowd(name blob.Name) {
	var id fetch.QuestionID
	rand.Read(id[:])
	q := f.router.Own(time.Now(), id, name)
	for _, l := range f.links {
		l.send(q)
	}
}

// finish makes a content that is all here durable, beside the loop.
func (f *fetcher) finish(ctx context.Context, name blob.Name) {
	p := f.partials[name]
	delete(f.partials, name)
	policy := f.paths[name]
	delete(f.paths, name)
	if p == nil {
		return
	}
	f.finishes.Go(func() {
		err := p.Finish(ctx)
		if err != nil && ctx.Err() == nil {
			f.note(err)
			f.space.replica.log.Warn("content not kept", "space", f.space.ID(), "blob", name, "err", err)
			f.call(func() {
				f.partials[name] = p
				f.paths[name] = policy
				f.again(name)
			})
		}
		f.tell()
	})
}

func (f *fetcher) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failure = err
}

// report publishes what the machine knows, for status.
func (f *fetcher) report() {
	out := map[blob.Name]fetch.Progress{}
	for _, name := range f.machine.Wanted() {
		if len(out) == 1000 {
			break
		}
		if p, ok := f.machine.Progress(name); ok {
			out[name] = p
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.progress = out
}

// lookAgain has everything considered anew.
func (f *fetcher) lookAgain() { poke(f.look) }
