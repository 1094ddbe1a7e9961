package anabranch

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"anabranch/crdt/text"
	"anabranch/record"
)

// TextPresence is what somebody says of themselves in a text.
type TextPresence struct {
	Name        string      // what they want to be called: printable, at most 64 bytes; nobody has verified it
	Placed      bool        // Caret and Mark say where they are
	Caret, Mark text.Anchor // Mark is the other end of a selection, Caret if nothing is selected
}

// TextPerson is somebody who is in a text on another device.
type TextPerson struct {
	Device record.Key // proved by the connection
	TextPresence
	Typing bool // something that is in no record yet
}

// textPeople bounds the devices that are heard about one text.
const textPeople = 64

// SetPresence says to the connected members that watch the text that somebody
// is here, until it is called with nil or the replica closes: it is in no record
// and in no root, and nobody keeps it. A name is made printable and cut to 64
// bytes. There is one for each text and replica.
func (t *Text) SetPresence(p *TextPresence) error {
	if err := record.CheckPath(t.path); err != nil {
		return err
	}
	if t.space.replica.ctx.Err() != nil {
		return ErrClosed
	}
	if p != nil {
		own := *p
		own.Name = presenceName(p.Name)
		p = &own
	}
	l := t.space.holdLive(t.path)
	defer l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case p != nil && l.own == nil:
		t.space.holdLive(t.path)
	case p == nil && l.own != nil:
		defer l.drop()
	}
	l.own = p
	l.wake()
	return nil
}

// Presence yields who else is in the text, on devices of members that are
// connected with this one, by device: at once, and again each time that changes,
// until the context ends; its error comes last. At most 64 devices are heard.
// Whoever has not been heard for 45 s is gone. While it runs, those devices
// learn that this one watches the text.
func (t *Text) Presence(ctx context.Context) iter.Seq2[[]TextPerson, error] {
	return func(yield func([]TextPerson, error) bool) {
		changed := make(chan struct{}, 1)
		l, err := t.listen(changed)
		if err != nil {
			yield(nil, err)
			return
		}
		defer l.unlisten(changed)
		var last []TextPerson
		for first := true; ; first = false {
			if people := l.list(); first || !slices.Equal(people, last) {
				last = people
				if !yield(slices.Clone(people), nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-t.space.replica.ctx.Done():
				yield(nil, ErrClosed)
				return
			}
		}
	}
}

// lives is what goes on in the texts of a space and is never stored.
type lives struct {
	mu    sync.Mutex           // guards texts and their refs
	texts map[string]*liveText // by path
}

// liveText is what goes on in one text.
type liveText struct {
	space *Space
	path  string
	refs  int // guarded by lives.mu

	mu        sync.Mutex // guards all below
	own       *TextPresence
	people    map[record.Key]*liveState
	wakes     map[chan struct{}]bool // cap 1 each: something is different
	listeners int
	stop      context.CancelFunc // of what asks peers, while somebody listens
}

// holdLive is what goes on in a text, until it is dropped.
func (s *Space) holdLive(path string) *liveText {
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	l := s.live.texts[path]
	if l == nil {
		l = &liveText{space: s, path: path, people: map[record.Key]*liveState{}, wakes: map[chan struct{}]bool{}}
		if s.live.texts == nil {
			s.live.texts = map[string]*liveText{}
		}
		s.live.texts[path] = l
	}
	l.refs++
	return l
}

func (l *liveText) drop() {
	all := &l.space.live
	all.mu.Lock()
	defer all.mu.Unlock()
	if l.refs--; l.refs == 0 {
		delete(all.texts, l.path)
	}
}

// wake tells everybody that something is different; l.mu is held.
func (l *liveText) wake() {
	for c := range l.wakes {
		poke(c)
	}
}

// listen begins to hear from peers.
func (t *Text) listen(changed chan struct{}) (*liveText, error) {
	if err := record.CheckPath(t.path); err != nil {
		return nil, err
	}
	l := t.space.holdLive(t.path)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listeners == 0 {
		ctx, stop := context.WithCancel(t.space.replica.ctx)
		if !t.space.replica.goes(func() { l.follow(ctx) }) {
			stop()
			l.drop()
			return nil, ErrClosed
		}
		l.stop = stop
	}
	l.listeners++
	l.wakes[changed] = true
	return l, nil
}

func (l *liveText) unlisten(changed chan struct{}) {
	defer l.drop()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wakes, changed)
	if l.listeners--; l.listeners == 0 {
		l.stop()
		clear(l.people)
	}
}

// list is who is there, by device.
func (l *liveText) list() []TextPerson {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []TextPerson
	for device, s := range l.people {
		if s.here || s.types {
			out = append(out, TextPerson{Device: device, TextPresence: s.who, Typing: s.types})
		}
	}
	slices.SortFunc(out, func(a, b TextPerson) int { return a.Device.Compare(b.Device) })
	return out
}

// typing is what others type.
func (l *liveText) typing() map[record.Key]*liveState {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := maps.Clone(l.people)
	maps.DeleteFunc(out, func(_ record.Key, s *liveState) bool { return !s.types })
	return out
}

// put notes what a device said last; nil: nothing any more. before is what it
// said before that: if somebody else has replaced it, nothing is noted.
func (l *liveText) put(device record.Key, before, now *liveState) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.people[device] != before || l.listeners == 0 {
		return false
	}
	if now == nil {
		delete(l.people, device)
	} else {
		l.people[device] = now
	}
	l.wake()
	return true
}

// goes runs f in a goroutine that Close waits for; false once Close has begun.
func (r *Replica) goes(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(f)
	return true
}

// Times and bounds of what is never stored.
const (
	liveSpacing = 40 * time.Millisecond // between two frames of a text to a peer
	liveAgain   = 20 * time.Second      // a frame is said again: whoever said it is still there
	liveExpiry  = 45 * time.Second      // nothing came: nobody is there
	liveRate    = 50                    // frames of a text that a peer may send in a second; more are charged
	liveBurst   = 200
	liveRetry   = time.Second // before a peer is asked again, doubled each time up to wireMost
	liveLook    = 30 * time.Second
	liveServes  = 256 // streams that are served at a time
	liveEach    = 16  // of one device
)
