package anabranch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"anabranch/internal/mesh"
	"anabranch/record"
)

func TestASpaceThatFailsDoesNotKeepOthersWaiting(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex // guards failed
	failed := false
	live := func(o *Options) {
		o.Manual = false
		o.OnEvent = func(e Event) {
			mu.Lock()
			defer mu.Unlock()
			failed = failed || e.Kind == Failed
		}
	}
	ra, rb := w.open("a", live), w.open("b", func(o *Options) { o.Manual = false })
	a, b := w.pair(ra, rb)
	ra.SetOnline(false)
	if _, err := b[0].Revoke(w.ctx, ra.Device(), RevokeOptions{}); err != nil {
		t.Fatal(err)
	}
	w.put(a[0], "/late", "by a device that does not know of its revocation")
	w.put(a[1], "/new", "text")
	ra.SetOnline(true)
	w.eventually(func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failed
	})
	w.put(a[1], "/newer", "text")
	w.eventually(func() bool { return w.text(b[1], "/new") == "text" && w.text(b[1], "/newer") == "text" })
}

func TestOnePeerCannotTakeEveryPlace(t *testing.T) {
	w := newWorld(t)
	a, rb, rc := w.open("a"), w.open("b"), w.open("c")
	s, _ := w.create(a)
	b := w.join(s, rb, InviteOptions{Role: record.Reader})
	c := w.join(s, rc, InviteOptions{})
	var streams []mesh.Stream
	for range maxIncoming + 10 { // and says nothing on any
		stream, err := rb.host.Open(w.ctx, mesh.Key(a.Device()), a.Addrs(), syncProtocol)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Reset()
		streams = append(streams, stream)
	}
	taken := func(its, all int) bool {
		b, everybody := a.asked.places(rb.Device())
		return b == its && everybody == all
	}
	w.eventually(func() bool { return taken(maxIncomingEach, maxIncomingEach) })
	for range 5 {
		w.sync(c, s)
	}
	w.eventually(func() bool { return taken(maxIncomingEach, maxIncomingEach) }) // those of c have ended
	if _, err := b.Sync(w.ctx, a.Device()); err == nil {
		t.Error("a peer got a place more than its share")
	}
	for _, stream := range streams {
		stream.Reset()
	}
	w.eventually(func() bool { return taken(0, 0) })
	w.sync(b, s)
}

func TestAnAnnouncementReplayedFromManyPlacesHurriesOnce(t *testing.T) {
	w := newWorld(t)
	a := w.open("a", func(o *Options) { o.Peers = []string{"192.0.2.77:4471"} })
	s, _ := w.create(a)
	rb := w.open("b")
	w.join(s, rb, InviteOptions{})
	p := a.peer(rb.Device())
	hurried, last := 0, time.Time{}
	for i := range 50 {
		a.heard(mesh.Key(rb.Device()), fmt.Sprintf("192.0.2.66:%d", 1000+i))
		p.mu.Lock()
		if at := p.hurried; !at.Equal(last) {
			hurried, last = hurried+1, at
		}
		p.mu.Unlock()
	}
	if hurried > 1 {
		t.Errorf("back-off was forgotten %d times", hurried)
	}
	addrs := a.addrsOf(rb.Device())
	if !slices.Equal(addrs[:len(rb.Addrs())], rb.Addrs()) {
		t.Errorf("%q are tried, and not first what has proved its key, %q", addrs, rb.Addrs())
	}
	if !slices.Contains(addrs, "192.0.2.77:4471") {
		t.Errorf("%q are tried, and not what the options name", addrs)
	}
}

func TestJoinsAtOnceKeepEveryKey(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	for k := range 3 {
		rb := w.open(fmt.Sprint("b", k))
		var joining sync.WaitGroup
		for range maxJoins {
			ticket, err := s.Invite(w.ctx, InviteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			joining.Go(func() {
				if _, err := rb.Join(w.ctx, ticket, ""); err != nil {
					t.Error(err)
				}
			})
		}
		joining.Wait()
		spaces := rb.Spaces()
		if len(spaces) != 1 {
			t.Fatalf("%d spaces, want one", len(spaces))
		}
		onDisk, err := rb.keys.authors(s.ID())
		if err != nil {
			t.Fatal(err)
		}
		if inUse := spaces[0].keys(); len(onDisk) != maxJoins || len(inUse) != maxJoins {
			t.Errorf("%d keys on disk and %d in use after %d joins", len(onDisk), len(inUse), maxJoins)
		}
		w.put(spaces[0], "/x", "text")
		w.eventually(func() bool {
			_, asking := a.joins.places(rb.Device())
			return asking == 0
		})
	}
}

func TestManyAtOnceMakeOneSpaceOfAName(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	errs := make([]error, 6)
	var making sync.WaitGroup
	for i := range errs {
		making.Go(func() { _, _, errs[i] = r.CreateSpace(w.ctx, "same") })
	}
	making.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else if !errors.Is(err, ErrNameTaken) {
			t.Error(err)
		}
	}
	if made != 1 || len(r.Spaces()) != 1 {
		t.Errorf("%d were told that they made it, and there are %d", made, len(r.Spaces()))
	}
}

// watched is a context that tells when somebody begins to wait for its end.
type watched struct {
	context.Context
	look func()
}

func (c watched) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

func TestAMakingThatIsCancelledLeavesNoHalfSpace(t *testing.T) {
	w := newWorld(t)
	r := w.open("a", func(o *Options) { o.DeviceName = "attic" })
	made := 0
	for n := range 10 {
		ctx, cancel := context.WithCancel(w.ctx)
		looks := 0
		if n == 0 {
			cancel()
		}
		_, _, err := r.CreateSpace(watched{ctx, func() {
			if looks++; looks >= n {
				cancel()
			}
		}}, fmt.Sprint(n))
		cancel()
		if err == nil {
			made++
		} else if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if made == 10 {
		t.Error("what was cancelled before it began was made")
	}
	stored := r.store.Spaces()
	if len(stored) != made || len(r.Spaces()) != made {
		t.Errorf("%d were made, and there are %d, of which %d are known", made, len(stored), len(r.Spaces()))
	}
	for _, rows := range stored {
		authors, err := r.keys.authors(rows.ID())
		if err != nil || len(authors) != 1 {
			t.Errorf("a space has %d keys, %v", len(authors), err)
		}
		if name, ok, err := r.store.Fact(nameFact(rows.ID())); err != nil || !ok || len(name) == 0 {
			t.Errorf("a space has no name: %v", err)
		}
		if s, err := r.Space(rows.ID().String()); err == nil {
			w.put(s, "/x", "text")
		}
	}
}

func TestANegativeSweepDelaySweepsNothing(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a", func(o *Options) { o.SweepDelay = -1 }))
	writes := make([]Write, sweepBacklog+1)
	for i := range writes {
		writes[i] = Write{Op: OpPut, Path: fmt.Sprintf("/n/%d", i), Payload: []byte("x")}
	}
	for range 2 {
		if _, err := s.Batch(w.ctx, writes...); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	st, err := s.Status(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if st.ToSweep != len(writes) || st.Sweeps != 0 {
		t.Errorf("%d wait to be swept and %d sweeps were written, want %d and none", st.ToSweep, st.Sweeps, len(writes))
	}
}
