package anabranch

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anabranch/internal/mesh"
)

// world is replicas over one in-memory network.
type world struct {
	t       *testing.T
	ctx     context.Context
	network *mesh.Network
	dir     string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return &world{t: t, ctx: ctx, network: mesh.NewNetwork(), dir: t.TempDir()}
}

// open opens a replica that syncs when told to.
func (w *world) open(name string, change ...func(*Options)) *Replica {
	w.t.Helper()
	o := Options{
		LeaseDir: filepath.Join(w.dir, "lease"),
		Manual:   true,
		host: func(key mesh.Key, gate func(mesh.Key, string) bool) (mesh.Host, error) {
			return w.network.Host(key, gate), nil
		},
	}
	for _, f := range change {
		f(&o)
	}
	r, err := Open(w.ctx, filepath.Join(w.dir, name), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			w.t.Errorf("close %s: %v", name, err)
		}
	})
	return r
}

func (w *world) create(r *Replica) (*Space, RecoveryKey) {
	w.t.Helper()
	s, key, err := r.CreateSpace(w.ctx, "notes")
	if err != nil {
		w.t.Fatal(err)
	}
	return s, key
}

func (w *world) join(from *Space, r *Replica, o InviteOptions) *Space {
	w.t.Helper()
	ticket, err := from.Invite(w.ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := r.Join(w.ctx, ticket, "notes")
	if err != nil {
		w.t.Fatal(err)
	}
	w.sync(s, from)
	return s
}

func (w *world) sync(a, b *Space) Report {
	w.t.Helper()
	w.know(a, b)
	report, err := a.Sync(w.ctx, b.replica.Device())
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// know tells two replicas each other's addresses.
func (w *world) know(a, b *Space) {
	w.t.Helper()
	for _, x := range [][2]*Replica{{a.replica, b.replica}, {b.replica, a.replica}} {
		if err := x[0].AddPeer(w.ctx, x[1].Device(), x[1].Addrs()...); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) put(s *Space, path, text string) *Record {
	w.t.Helper()
	v, err := s.Put(w.ctx, path, []byte(text))
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) text(s *Space, path string) string {
	w.t.Helper()
	doc, err := s.Get(w.ctx, path)
	if errors.Is(err, ErrNotFound) {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return string(doc.Payload)
}

func (w *world) root(s *Space) Root {
	w.t.Helper()
	root, _, err := s.Root(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return root
}

func (w *world) equal(spaces ...*Space) {
	w.t.Helper()
	for _, s := range spaces[1:] {
		if a, b := w.root(spaces[0]), w.root(s); a != b {
			w.t.Fatalf("roots differ: %v and %v", a, b)
		}
	}
	for _, s := range spaces {
		report, err := s.Verify(w.ctx, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(report.Findings) > 0 {
			w.t.Fatalf("verify: %v", report.Findings)
		}
	}
}

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

func TestEqualRootsEndASessionInOneRoundTrip(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	for i := range 20 {
		w.put(s, fmt.Sprintf("/n/%d", i), "text")
	}
	b := w.join(s, w.open("b"), InviteOptions{})
	report := w.sync(b, s)
	if report.Rounds != 1 || report.BytesIn+report.BytesOut > 200 || report.Method != "equal" {
		t.Errorf("%d rounds, %d bytes, method %s; want one round and at most 200 bytes", report.Rounds, report.BytesIn+report.BytesOut, report.Method)
	}
	t.Logf("equal again: %d round trip, %d bytes of frames", report.Rounds, report.BytesIn+report.BytesOut)
	w.equal(s, b)
}

func TestACutCostsOnlyWhatWasLeft(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	rb := w.open("b")
	b := w.join(s, rb, InviteOptions{})
	const total = 4000
	for i := 0; i < total; i += 500 {
		var writes []Write
		for k := range 500 {
			writes = append(writes, Write{Op: OpAppend, Path: fmt.Sprintf("/n/%d", i+k), Payload: make([]byte, 300)})
		}
		if _, err := s.Batch(w.ctx, writes...); err != nil {
			t.Fatal(err)
		}
	}
	w.network.CutAfter(mesh.Key(a.Device()), mesh.Key(rb.Device()), 700_000)
	if _, err := b.Sync(w.ctx, a.Device()); err == nil {
		t.Fatal("a cut session ended well")
	}
	_, before, err := b.Root(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.network.Heal()
	report := w.sync(b, s)
	got := int(before) - 4 // the two grants and their labels were there before
	t.Logf("%d records before the cut, %d after it, %d in all", got, report.RecordsIn, total)
	if got < 500 || got+report.RecordsIn != total {
		t.Errorf("%d records before the cut and %d after it, want %d together", got, report.RecordsIn, total)
	}
	w.equal(s, b)
}

func TestLiveWritesOnBothSidesDuringSessions(t *testing.T) {
	w := newWorld(t)
	live := func(o *Options) { o.Manual, o.SyncInterval = false, time.Second }
	a := w.open("a", live)
	s, _ := w.create(a)
	b := w.join(s, w.open("b", live), InviteOptions{})
	var writers sync.WaitGroup
	for _, side := range []*Space{s, b} {
		writers.Go(func() {
			for i := range 300 {
				if _, err := side.Put(w.ctx, fmt.Sprintf("/n/%d", i%40), fmt.Appendf(nil, "%v %d", side.Author(), i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	w.eventually(func() bool { return w.root(s) == w.root(b) })
	w.equal(s, b)
	for i := range 40 {
		path := fmt.Sprintf("/n/%d", i)
		if w.text(s, path) != w.text(b, path) {
			t.Errorf("%s reads %q and %q", path, w.text(s, path), w.text(b, path))
		}
	}
}

func (w *world) eventually(ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("did not come true in 20 s")
		}
	}
}

func TestAWriteReachesAConnectedPeerWithoutBeingAsked(t *testing.T) {
	w := newWorld(t)
	live := func(o *Options) { o.Manual = false }
	s, _ := w.create(w.open("a", live))
	b := w.join(s, w.open("b", live), InviteOptions{})
	c := w.join(s, w.open("c", live), InviteOptions{})
	w.put(b, "/from-b", "hello") // c knows only a
	w.eventually(func() bool { return w.text(c, "/from-b") == "hello" && w.text(s, "/from-b") == "hello" })
	w.eventually(func() bool { return w.root(s) == w.root(c) && w.root(s) == w.root(b) })
	w.eventually(func() bool {
		st, err := s.Status(w.ctx)
		return err == nil && !slices.ContainsFunc(st.Peers, func(p PeerStatus) bool { return p.State != InSync })
	})
}

func TestAConflictIsShownUntilSomebodySettlesIt(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	b := w.join(s, w.open("b"), InviteOptions{})
	w.put(s, "/seen", "by a")
	w.put(s, "/both", "first")
	w.sync(s, b)
	w.put(b, "/seen", "by b, who had read a's") // no conflict
	w.put(s, "/both", "a's")
	w.put(b, "/both", "b's")
	w.sync(s, b)
	w.equal(s, b)
	for _, side := range []*Space{s, b} {
		var paths []string
		for c, err := range side.Conflicts(w.ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, c.Path)
		}
		if !slices.Equal(paths, []string{"/both"}) {
			t.Errorf("conflicts at %v, want /both alone", paths)
		}
	}
	w.put(s, "/both", "settled")
	w.sync(s, b)
	for c := range b.Conflicts(w.ctx, "") {
		t.Errorf("%s is still in conflict", c.Path)
	}
	if got := w.text(b, "/both"); got != "settled" {
		t.Errorf("reads %q", got)
	}
}

func TestADeletedDocumentStaysGoneAfterItsRecordsWereSwept(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	b := w.join(s, w.open("b"), InviteOptions{})
	c := w.join(s, w.open("c"), InviteOptions{})
	for i := range 30 {
		w.put(s, fmt.Sprintf("/n/%d", i), "here")
	}
	w.sync(s, b)
	w.sync(s, c)
	for i := range 30 {
		if _, err := s.Delete(w.ctx, fmt.Sprintf("/n/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweep(w.ctx); err != nil {
		t.Fatal(err)
	}
	w.sync(s, b)
	w.sync(b, c) // c, long away, meets b
	w.sync(c, s)
	w.equal(s, b, c)
	for i := range 30 {
		if got := w.text(c, fmt.Sprintf("/n/%d", i)); got != "" {
			t.Errorf("/n/%d came back as %q", i, got)
		}
	}
}

func TestWatchMissesNothing(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	start, err := s.Cursor(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	const total = 500
	go func() {
		for i := range total {
			if _, err := s.Append(w.ctx, "/log", fmt.Append(nil, i)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var seen []string
	last := start.Version
	for c, err := range s.Watch(w.ctx, start) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Cursor.Version <= last {
			t.Fatalf("version %d after %d", c.Cursor.Version, last)
		}
		last = c.Cursor.Version
		for _, v := range c.Entered {
			seen = append(seen, string(v.Payload))
		}
		if len(seen) >= total {
			break
		}
	}
	for i, text := range seen {
		if text != fmt.Sprint(i) {
			t.Fatalf("entry %d is %q", i, text)
		}
	}
}

func TestSpacesAreToldApartByNameAndByID(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	if _, err := r.Space(""); !errors.Is(err, ErrNoSpace) {
		t.Errorf("no space: %v", err)
	}
	s, _ := w.create(r)
	if got, err := r.Space(""); err != nil || got != s {
		t.Errorf("the only one: %v", err)
	}
	if _, _, err := r.CreateSpace(w.ctx, "notes"); !errors.Is(err, ErrNameTaken) {
		t.Errorf("same name again: %v", err)
	}
	if _, _, err := r.CreateSpace(w.ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Space(""); !errors.Is(err, ErrNoSpace) {
		t.Errorf("one of two: %v", err)
	}
	if got, err := r.Space(s.ID().String()[:10]); err != nil || got != s {
		t.Errorf("by ID: %v", err)
	}
}

func TestAReplicaReopensAsItWas(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	s, _ := w.create(r)
	w.put(s, "/a", "1")
	root, device, author := w.root(s), r.Device(), s.Author()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(w.ctx, "/a", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	r = w.open("a")
	s, err := r.Space("notes")
	if err != nil {
		t.Fatal(err)
	}
	if w.root(s) != root || r.Device() != device || s.Author() != author {
		t.Error("reopened with another root, device or author")
	}
	if _, err := Open(w.ctx, filepath.Join(w.dir, "a"), Options{LeaseDir: filepath.Join(w.dir, "lease"), NoNetwork: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

func TestOptionsReportEveryMistakeAtOnce(t *testing.T) {
	_, err := Open(context.Background(), "", Options{FrameBytes: 1, HeldBytes: -1, Listen: []string{"nowhere"}})
	for _, part := range []string{"home", "frame bytes", "held bytes", "nowhere"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: nothing about %q", err, part)
		}
	}
}
