package anabranch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"anabranch/crdt"
	"anabranch/crdt/text"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/record"
)

// seen is what a goroutine that listens has heard last.
type seen struct {
	mu     sync.Mutex
	text   string
	people []TextPerson
	typed  int // changes of the preview that were being typed
}

func (s *seen) get() (string, []TextPerson) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, s.people
}

// watches listens to a text until the test ends.
func (w *world) watches(s *Space, path string) *seen {
	out := new(seen)
	ctx, cancel := context.WithCancel(w.ctx)
	var listening sync.WaitGroup
	w.t.Cleanup(func() { cancel(); listening.Wait() })
	listening.Go(func() {
		for people, err := range s.Text(path).Presence(ctx) {
			if err != nil {
				return
			}
			out.mu.Lock()
			out.people = people
			out.mu.Unlock()
		}
	})
	listening.Go(func() {
		var shown []rune
		for c, err := range s.Text(path).Preview(ctx) {
			if err != nil {
				return
			}
			for _, p := range c.Patches {
				shown = []rune(string(shown[:p.Pos]) + p.Text + string(shown[p.Pos+p.Delete:]))
			}
			out.mu.Lock()
			out.text = string(shown)
			if c.Origin == TextTyping {
				out.typed++
			}
			out.mu.Unlock()
		}
	})
	return out
}

// unsigned keeps a text from being written by itself.
func unsigned(t *testing.T, s *Space, path string, on bool) {
	t.Helper()
	d, err := s.acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.texts.release(d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retry = time.Time{}
	if on {
		d.retry = time.Now().Add(time.Hour)
	}
}

func (w *world) connected(change ...func(*Options)) (a, b *Space) {
	change = append(change, func(o *Options) { o.Manual = false })
	a, _ = w.create(w.open("a", change...))
	return a, w.join(a, w.open("b", change...), InviteOptions{})
}

func TestWhoIsThereAndWhatIsTypedIsSeenBeforeItIsSigned(t *testing.T) {
	w := newWorld(t)
	a, b := w.connected()
	w.insert(a, "/t", 0, "one three")
	w.commit(a, "/t")
	w.until("the text has come", func() bool { s, _ := b.Text("/t").Get(w.ctx); return s == "one three" })
	here := w.watches(b, "/t")
	caret, err := a.Text("/t").Anchor(w.ctx, 4, text.After)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Text("/t").SetPresence(&TextPresence{Name: " Ada\x1b[31m\u202e\n ", Placed: true, Caret: caret, Mark: caret}); err != nil {
		t.Fatal(err)
	}
	w.until("she is there", func() bool { _, who := here.get(); return len(who) == 1 })
	_, who := here.get()
	want := TextPerson{Device: a.replica.Device(), TextPresence: TextPresence{Name: "Ada[31m", Placed: true, Caret: caret, Mark: caret}}
	if who[0] != want {
		t.Fatalf("%+v, want %+v", who[0], want)
	}
	if at, ok, err := b.Text("/t").Resolve(w.ctx, who[0].Caret); at != 4 || !ok || err != nil {
		t.Fatal(at, ok, err)
	}

	unsigned(t, a, "/t", true)
	before := w.root(b)
	for i, c := range "two " {
		w.insert(a, "/t", 4+i, string(c))
	}
	w.typed(a, "/t", func(e *TextEdit) error { return e.Delete(0, 1) })
	w.until("it is previewed", func() bool { s, who := here.get(); return s == "ne two three" && len(who) == 1 && who[0].Typing })
	w.reads("/t", "one three", b)
	if w.root(b) != before {
		t.Error("what is typed has changed a root")
	}
	w.insert(b, "/t", 0, "> ") // what is typed here meanwhile stands there too
	w.until("both are shown", func() bool { s, _ := here.get(); return s == "> ne two three" })

	unsigned(t, a, "/t", false)
	w.commit(a, "/t")
	w.until("it is a record", func() bool { s, _ := b.Text("/t").Get(w.ctx); return s == "> ne two three" })
	w.until("she types no more", func() bool { _, who := here.get(); return len(who) == 1 && !who[0].Typing })
	if s, _ := here.get(); s != "> ne two three" {
		t.Errorf("the preview reads %q", s)
	}
	if err := a.Text("/t").SetPresence(nil); err != nil {
		t.Fatal(err)
	}
	w.until("she has gone", func() bool { _, who := here.get(); return len(who) == 0 })
	for _, s := range []*Space{a, b} {
		w.until("the roots are equal", func() bool { return w.root(s) == w.root(a) })
	}
}

func TestWhatIsTypedAndNeverSignedGoesAgain(t *testing.T) {
	w := newWorld(t)
	a, b := w.connected(func(o *Options) { o.settle = 200 * time.Millisecond })
	w.insert(a, "/t", 0, "kept")
	w.commit(a, "/t")
	w.until("the text has come", func() bool { s, _ := b.Text("/t").Get(w.ctx); return s == "kept" })
	here := w.watches(b, "/t")
	a.Text("/t").SetPresence(&TextPresence{Name: "Ada"})
	unsigned(t, a, "/t", true)
	w.insert(a, "/t", 4, " and lost")
	w.until("it is previewed", func() bool { s, _ := here.get(); return s == "kept and lost" })
	a.replica.SetOnline(false)
	w.until("it has gone", func() bool { s, who := here.get(); return s == "kept" && len(who) == 0 })
	a.replica.SetOnline(true)
	w.sync(b, a)
	w.until("it is back", func() bool { s, who := here.get(); return s == "kept and lost" && len(who) == 1 })
	unsigned(t, a, "/t", false)
}

// Three people type at random, each with a preview; what it shows in the end is
// the text.
func TestPreviewsEndAsTheText(t *testing.T) {
	w := newWorld(t)
	a, b := w.connected(func(o *Options) { o.settle = 300 * time.Millisecond })
	c := w.join(a, w.open("c", func(o *Options) { o.Manual, o.settle = false, 300*time.Millisecond }), InviteOptions{})
	w.know(b, c)
	spaces := []*Space{a, b, c}
	var shown []*seen
	for _, s := range spaces {
		shown = append(shown, w.watches(s, "/t"))
	}
	rng := rand.New(rand.NewPCG(10, 10))
	for i := range 150 {
		s := spaces[rng.IntN(3)]
		w.typed(s, "/t", func(e *TextEdit) error {
			if n := e.Len(); n > 4 && rng.IntN(3) == 0 {
				return e.Delete(rng.IntN(n-2), 2)
			}
			return e.Insert(rng.IntN(e.Len()+1), fmt.Sprint(i, " "))
		})
		if rng.IntN(12) == 0 {
			if _, err := s.Text("/t").Undo(w.ctx); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
	for _, s := range spaces {
		w.commit(s, "/t")
	}
	w.until("all have the same", func() bool { return w.root(a) == w.root(b) && w.root(b) == w.root(c) })
	want, err := a.Text("/t").Get(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, x := range shown {
		w.until("a preview reads as the text", func() bool { s, _ := x.get(); return s == want })
		typed += x.typed
	}
	if typed == 0 {
		t.Error("nothing was seen while it was typed")
	}
}

func TestHostileAboutWhoIsThere(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Reader})
	secret, _ := w.create2(a.replica, "other")
	secret.Text("/t").SetPresence(&TextPresence{Name: "nobody"})
	w.insert(a, "/t", 0, "text")
	w.commit(a, "/t")
	w.sync(a, b)

	open := func(id record.SpaceID) mesh.Stream {
		s, err := b.replica.host.Open(w.ctx, mesh.Key(a.replica.Device()), a.replica.Addrs(), liveProtocol)
		if err != nil {
			t.Fatal(err)
		}
		s.WriteFrame(liveHello(id, b.replica.Device(), a.replica.Device(), [session.NonceSize]byte{1}, "/t"))
		return s
	}
	// A space that the peer is no member of: a reset, no word.
	s := open(secret.ID())
	if _, err := s.ReadFrame(); err == nil {
		t.Error("a stranger to the space is answered")
	}
	// One that talks where it is to listen.
	faults := func() int { return int(a.replica.Spread().Charges) }
	s = open(a.ID())
	if frame, err := s.ReadFrame(); err != nil || !bytes.Equal(frame, []byte{0}) {
		t.Fatalf("%x %v", frame, err)
	}
	s.WriteFrame([]byte("hello"))
	w.until("talking is charged", func() bool { return faults() == 1 })

	// A device that answers: what it says in others' names is not shown, what
	// nobody says is charged.
	answers := make(chan []byte, 1)
	b.replica.host.Handle(liveProtocol, func(s mesh.Stream) {
		if _, err := s.ReadFrame(); err != nil {
			return
		}
		for frame := range answers {
			if s.WriteFrame(frame) != nil {
				return
			}
		}
	})
	here := w.watches(a, "/t")
	d := text.New(7)
	d.Insert(0, "forged ")
	forged := &liveState{here: true, who: TextPresence{Name: "Eve"}, types: true, author: a.Author(), lane: 9, deltas: d.Flush(0)}
	answers <- forged.encode()
	w.until("she is there", func() bool { _, who := here.get(); return len(who) == 1 })
	text, who := here.get()
	if who[0].Name != "Eve" || who[0].Typing || text != "text" {
		t.Fatalf("%+v types %q", who[0], text)
	}
	forged.author = b.Author() // a reader's
	answers <- forged.encode()
	forged.who.Name = "still Eve"
	answers <- forged.encode()
	w.until("she is renamed", func() bool { _, who := here.get(); return len(who) == 1 && who[0].Name == "still Eve" })
	if text, who := here.get(); who[0].Typing || text != "text" {
		t.Fatalf("%+v types %q", who[0], text)
	}
	answers <- []byte{liveHere, 3, 'a', 0x1b, 'b'}
	w.until("a name that is none is charged, and she is gone", func() bool { _, who := here.get(); return faults() == 2 && len(who) == 0 })
	close(answers)
}

func TestAFloodOfPresenceIsCharged(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{})
	w.sync(a, b)
	b.replica.host.Handle(liveProtocol, func(s mesh.Stream) {
		for i := 0; s.WriteFrame((&liveState{here: true, who: TextPresence{Name: fmt.Sprint(i)}}).encode()) == nil; i++ {
		}
	})
	w.watches(a, "/t")
	w.until("it is charged", func() bool { return a.replica.Spread().Charges > 0 })
}

func TestARevokedDeviceLearnsNothingMore(t *testing.T) {
	w := newWorld(t)
	a, b := w.connected()
	w.sync(a, b)
	here := w.watches(b, "/t")
	a.Text("/t").SetPresence(&TextPresence{Name: "before"})
	w.until("she is there", func() bool { _, who := here.get(); return len(who) == 1 })
	if _, err := a.Revoke(w.ctx, b.replica.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	a.Text("/t").SetPresence(&TextPresence{Name: "after"})
	w.until("she has gone", func() bool { _, who := here.get(); return len(who) == 0 })
}

func TestPresenceOfAPathThatIsNone(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	if err := s.Text("none").SetPresence(&TextPresence{}); err == nil {
		t.Error("a presence at no path")
	}
	for _, err := range s.Text("none").Presence(w.ctx) {
		if err == nil {
			t.Error("somebody is at no path")
		}
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	for people, err := range s.Text("/t").Presence(ctx) {
		if err == nil && len(people) == 0 {
			cancel()
		} else if !errors.Is(err, context.Canceled) {
			t.Error(people, err)
		}
	}
}

// Whatever a peer says of itself is taken or refused, and what is taken is
// written back alike, and shown as it stands.
func FuzzLiveFrames(f *testing.F) {
	f.Add((&liveState{}).encode())
	f.Add((&liveState{here: true, who: TextPresence{Name: "Ada", Placed: true, Caret: text.Anchor{Dot: crdt.Dot{Lane: 3, Number: 300}}}}).encode())
	f.Add((&liveState{types: true, lane: 1, deltas: [][]byte{{1, 2}, {3}}}).encode())
	f.Add([]byte{liveHere, 2, 0xc3, 0x28})
	f.Add(liveHello(record.SpaceID{1}, record.Key{2}, record.Key{3}, [session.NonceSize]byte{}, "/a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeLive(b); err == nil {
			if !bytes.Equal(s.encode(), b) {
				t.Fatalf("%x is written again as %x", b, s.encode())
			}
			if n := s.who.Name; len(n) > maxPresenceName || strings.ContainsAny(n, "\n\x1b\u202e") {
				t.Fatalf("%q is a name", n)
			}
		} else if !errors.Is(err, errLiveFrame) {
			t.Fatal(err)
		}
		if _, path, err := takeLiveHello(b); err == nil && record.CheckPath(path) != nil {
			t.Fatalf("%q is a path", path)
		}
		if n := presenceName(string(b)); presenceName(n) != n || len(n) > maxPresenceName {
			t.Fatalf("%q becomes %q", n, presenceName(n))
		}
	})
}
