package anabranch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anabranch/blob"
	"anabranch/internal/engine"
	"anabranch/internal/fetch"
	"anabranch/internal/mesh"
	"anabranch/internal/session"
	"anabranch/internal/store"
	"anabranch/record"
)

func randomBytes(n int, seed uint64) []byte {
	b := make([]byte, n+8)
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := 0; i < n; i += 8 {
		w := rng.Uint64()
		for j := range 8 {
			b[i+j] = byte(w >> (8 * j))
		}
	}
	return b[:n]
}

func (w *world) putFile(s *Space, path string, content []byte) BlobName {
	w.t.Helper()
	v, err := s.PutFile(w.ctx, path, bytes.NewReader(content), PutOptions{Mode: 0o644})
	if err != nil {
		w.t.Fatal(err)
	}
	ref, ok := BlobOf(v)
	if ok != (len(content) > record.MaxPayload) {
		w.t.Fatalf("%d bytes are a blob: %v", len(content), ok)
	}
	return ref.Name
}

// whole waits until a space has content, and checks it.
func (w *world) whole(s *Space, path string, content []byte) {
	w.t.Helper()
	f, err := s.OpenFile(w.ctx, path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	ref, _ := f.Ref()
	w.until("the content is here", func() bool {
		has, err := s.rows.HasBlob(ref.Name)
		return err == nil && has
	})
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, content) {
		w.t.Fatalf("%s reads otherwise: %d bytes, %v", path, len(got), err)
	}
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for !ok() {
		select {
		case <-w.ctx.Done():
			w.t.Fatalf("it never happened that %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Content follows its record, whatever its size; none is revealed to a space
// that does not name it.
func TestContentFollowsItsRecord(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	want := map[string][]byte{}
	for i, n := range []int{0, 1000, record.MaxPayload, record.MaxPayload + 1, 200_000, 300_000, 2_000_001} {
		path := fmt.Sprintf("/f/%d", i)
		want[path] = randomBytes(n, 1)
		w.putFile(a, path, want[path])
	}
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	for path, content := range want {
		if len(content) > record.MaxPayload {
			w.whole(b, path, content)
		} else if w.text(b, path) != string(content) {
			t.Errorf("%s reads otherwise", path)
		}
	}
	w.equal(a, b)
}

// What the policy leaves where it is is fetched as it is read, from where it
// is read, and nothing else of it.
func TestContentIsFetchedAsItIsRead(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	rb := w.open("b")
	content := randomBytes(40<<20, 2)
	b := w.join(a, rb, InviteOptions{Role: record.Writer})
	if err := b.SetBlobRule(w.ctx, BlobRule{Prefix: "/film", Mode: BlobsOnDemand}); err != nil {
		t.Fatal(err)
	}
	name := w.putFile(a, "/film/x", content)
	small := randomBytes(70_000, 3)
	w.putFile(a, "/other", small)
	w.sync(b, a)
	w.whole(b, "/other", small)
	if _, err := b.rows.Blob(name); err == nil {
		t.Fatal("it was fetched unasked")
	}
	f, err := b.OpenFile(w.ctx, "/film/x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(-1000, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	tail, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(tail, content[len(content)-1000:]) {
		t.Fatalf("the end reads otherwise: %d bytes, %v", len(tail), err)
	}
	if has, _ := b.rows.HasBlob(name); has {
		t.Error("all of it was fetched before its end could be read")
	}
	// Closed, nothing more of it comes, and what came is not asked for again.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.until("it is wanted no more", func() bool {
		wanted := make(chan int, 1)
		b.blobs.call(func() { wanted <- len(b.blobs.machine.Wanted()) })
		return <-wanted == 0
	})
	// Pinned, it comes whole.
	if err := b.SetBlobRule(w.ctx, BlobRule{Prefix: "/film", Mode: BlobsPinned}); err != nil {
		t.Fatal(err)
	}
	w.whole(b, "/film/x", content)
	if st, err := b.BlobStatus(w.ctx); err != nil || st.Twice > 0 {
		t.Errorf("%d bytes came twice, %v", st.Twice, err)
	}
}

// Without anybody to fetch from, reading says that the content is missing.
func TestMissingContentIsSaidToBe(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	if err := b.SetBlobRule(w.ctx, BlobRule{Prefix: "/", Mode: BlobsOnDemand}); err != nil {
		t.Fatal(err)
	}
	w.putFile(a, "/x", randomBytes(100_000, 4))
	w.sync(b, a)
	if err := b.replica.Close(); err != nil {
		t.Fatal(err)
	}
	alone := w.open("b", func(o *Options) { o.NoNetwork = true })
	s, err := alone.Space("")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenFile(w.ctx, "/x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 10)); !errors.Is(err, ErrContentMissing) {
		t.Errorf("read: %v", err)
	}
}

// chain makes replicas of which only neighbours can reach each other, with a
// record on all whose content only the last one has.
func (w *world) chain(n int, extra func(all []*Space)) ([]*Space, []byte) {
	w.t.Helper()
	first, _ := w.create(w.open("0"))
	all := []*Space{first}
	for i := 1; i < n; i++ {
		s := w.join(all[i-1], w.open(fmt.Sprint(i)), InviteOptions{Role: record.Admin})
		all = append(all, s)
	}
	for _, s := range all {
		if err := s.SetBlobRule(w.ctx, BlobRule{Prefix: "/", Mode: BlobsOnDemand}); err != nil {
			w.t.Fatal(err)
		}
	}
	content := randomBytes(3_000_000, 5)
	w.putFile(all[n-1], "/far", content)
	for range 2 {
		for i := n - 1; i > 0; i-- {
			w.sync(all[i-1], all[i])
		}
		for i := 1; i < n; i++ {
			w.sync(all[i], all[i-1])
		}
	}
	if extra != nil {
		extra(all)
	}
	return all, content
}

// The question goes from member to member, and the content comes back the
// same way, checked at each, kept at none.
func TestTheCrowdIsAsked(t *testing.T) {
	for _, shape := range []string{"chain", "cycle", "dead end"} {
		t.Run(shape, func(t *testing.T) {
			w := newWorld(t)
			all, content := w.chain(5, func(all []*Space) {
				switch shape {
				case "cycle":
					w.sync(all[1], all[3])
					w.sync(all[0], all[2])
				case "dead end":
					for i := range 2 {
						s := w.join(all[1], w.open(fmt.Sprint("end", i)), InviteOptions{Role: record.Reader})
						if err := s.SetBlobRule(w.ctx, BlobRule{Prefix: "/", Mode: BlobsOnDemand}); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
			for i, s := range all {
				if n := len(s.replica.host.Peers()); n > 4 || shape == "chain" && n > 2 {
					t.Fatalf("%d is connected to %d", i, n)
				}
			}
			f, err := all[0].OpenFile(w.ctx, "/far")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := io.ReadAll(f)
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("it reads otherwise: %d bytes, %v", len(got), err)
			}
			ref, _ := f.Ref()
			for i, s := range all[1:4] {
				if _, err := s.rows.Blob(ref.Name); err == nil {
					t.Errorf("replica %d has kept some of it", i+1)
				}
			}
		})
	}
}

// Three have it: one lies about every tenth group, one says that it has it and
// sends nothing. It comes whole, and the liar is named.
func TestLiarsAndStallersDoNotKeepContentAway(t *testing.T) {
	w := newWorld(t)
	fast := func(o *Options) { o.blobFetch = fetch.Options{Patience: 400 * time.Millisecond} }
	a, _ := w.create(w.open("a"))
	content := randomBytes(8<<20, 6)
	name := w.putFile(a, "/x", content)
	liar := w.join(a, w.open("liar"), InviteOptions{Role: record.Admin})
	w.whole(liar, "/x", content)
	staller := w.join(a, w.open("staller"), InviteOptions{Role: record.Admin})

	file, err := os.OpenFile(filepath.Join(w.dir, "liar", "store", "blobs", name.String()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := int64(3); i < int64(name.Groups()); i += 10 {
		if _, err := file.WriteAt([]byte{^content[i*blob.GroupBytes]}, i*blob.GroupBytes); err != nil {
			t.Fatal(err)
		}
	}
	file.Close()
	staller.replica.host.Handle(blobProtocol, func(s mesh.Stream) {
		defer s.Reset()
		if _, err := s.ReadFrame(); err != nil || s.WriteFrame(fetch.Welcome{}.Append(nil)) != nil {
			return
		}
		for {
			b, err := s.ReadFrame()
			if err != nil {
				return
			}
			if names, ok := must(fetch.Decode(b, 0)).(fetch.Names); ok {
				for _, n := range names {
					s.WriteFrame(fetch.Offer{Name: n, Whole: true}.Append(nil))
				}
			}
		}
	})
	b := w.open("b", fast)
	s := w.join(a, b, InviteOptions{Role: record.Writer})
	for _, other := range []*Space{liar, staller} {
		w.sync(other, a)
		w.sync(s, other)
	}
	w.whole(s, "/x", content)
	s.blobs.mu.Lock()
	lies := s.blobs.liars[liar.replica.Device()]
	others := len(s.blobs.liars)
	s.blobs.mu.Unlock()
	if lies == 0 || others != 1 {
		t.Errorf("the liar was named %d times, %d are named", lies, others)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Hostile peers about content: each is refused at once, and what breaks the
// protocol is charged.
func TestHostileAboutContent(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	name := w.putFile(a, "/x", randomBytes(500_000, 7))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Writer})
	secret, _ := w.create2(a.replica, "other")
	hidden := w.putFile(secret, "/secret", randomBytes(300_000, 8))
	faults := func() (n uint64) {
		a.replica.ask(func(e *engine.Engine) { n = e.Stats().Charges })
		return n
	}
	open := func() mesh.Stream {
		s, err := b.replica.host.Open(w.ctx, mesh.Key(a.replica.Device()), a.replica.Addrs(), blobProtocol)
		if err != nil {
			t.Fatal(err)
		}
		var hello fetch.Hello
		hello.Tag = session.Tag(b.ID(), b.replica.Device(), a.replica.Device(), hello.Nonce)
		if err := s.WriteFrame(hello.Append(nil)); err != nil {
			t.Fatal(err)
		}
		if first, err := s.ReadFrame(); err != nil || len(first) != 1 {
			t.Fatalf("no welcome: %v", err)
		}
		return s
	}
	// A space that the peer does not know, or does not name: a reset, no word.
	s, err := b.replica.host.Open(w.ctx, mesh.Key(a.replica.Device()), a.replica.Addrs(), blobProtocol)
	if err != nil {
		t.Fatal(err)
	}
	s.WriteFrame(fetch.Hello{Tag: [16]byte{1}}.Append(nil))
	if _, err := s.ReadFrame(); err == nil {
		t.Error("a stranger to the space is answered")
	}
	// Content of another space, and what no record names: absent, both alike.
	s = open()
	for _, n := range []blob.Name{hidden, blob.Sum([]byte("nothing")), {Hash: name.Hash, Size: name.Size + 1}} {
		s.WriteFrame(fetch.Names{n}.Append(nil))
		if f := must(fetch.Decode(must(s.ReadFrame()), 1<<20)); f != fetch.Frame(fetch.Offer{Name: n}) {
			t.Errorf("%s is offered: %+v", n, f)
		}
		s.WriteFrame(fetch.Request{ID: 1, Name: n, Span: blob.Span{Begin: 0, End: 1}}.Append(nil))
		if f := must(fetch.Decode(must(s.ReadFrame()), 1<<20)); f != fetch.Frame(fetch.End{ID: 1, How: fetch.Absent}) {
			t.Errorf("%s is given: %+v", n, f)
		}
	}
	if faults() != 0 {
		t.Error("asking is charged")
	}
	for range blobStrikes {
		if s.WriteFrame(fetch.Request{ID: 1, Name: hidden, Span: blob.Span{Begin: 0, End: 1}}.Append(nil)) != nil {
			break
		}
	}
	w.until("asking again and again is charged", func() bool { return faults() == 1 })
	// A range that runs backwards.
	s = open()
	s.WriteFrame(fetch.Request{ID: 1, Name: name, Span: blob.Span{Begin: 5, End: 3}}.Append(nil))
	if _, err := s.ReadFrame(); err == nil {
		t.Error("a range that runs backwards is answered")
	}
	w.until("a malformed frame is charged", func() bool { return faults() == 2 })
	// The third time within ten minutes closes the door, as it does for every
	// other charge.
	open().WriteFrame(fetch.Data{ID: 1, Bytes: []byte("unasked")}.Append(nil))
	w.until("a third charge has the peer left alone", func() bool {
		return time.Now().Before(a.replica.peer(b.replica.Device()).blockedUntil())
	})
	if _, err := b.Sync(w.ctx, a.replica.Device()); err == nil {
		t.Error("a session is served all the same")
	}
}

// create2 makes another space on a replica.
func (w *world) create2(r *Replica, name string) (*Space, RecoveryKey) {
	w.t.Helper()
	s, key, err := r.CreateSpace(w.ctx, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, key
}

// A record that names content with another size, or that does not exist,
// costs one request and no room.
func TestFalseNamesCostLittle(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	real := w.putFile(a, "/real", randomBytes(400_000, 9))
	b := w.join(a, w.open("b", func(o *Options) { o.blobFetch = fetch.Options{Patience: 400 * time.Millisecond} }), InviteOptions{Role: record.Writer})
	false1 := BlobName{Hash: real.Hash, Size: 1 << 47}
	a.blobs.call(func() {}) // the loop runs
	draft := store.Draft{Kind: record.Doc, Path: "/false", Blob: true, Payload: BlobRef{Name: false1}.Encode()}
	if _, err := a.rows.Write(w.ctx, a.author(), a.replica.now(), draft); err != nil {
		t.Fatal(err)
	}
	// A liar that says it has it, and sends the real content's groups.
	a.replica.host.Handle(blobProtocol, func(s mesh.Stream) {
		defer s.Reset()
		if _, err := s.ReadFrame(); err != nil || s.WriteFrame(fetch.Welcome{}.Append(nil)) != nil {
			return
		}
		for {
			b, err := s.ReadFrame()
			if err != nil {
				return
			}
			switch f := must(fetch.Decode(b, 1<<20)).(type) {
			case fetch.Names:
				for _, n := range f {
					s.WriteFrame(fetch.Offer{Name: n, Whole: true}.Append(nil))
				}
			case fetch.Request:
				s.WriteFrame(fetch.Data{ID: f.ID, Bytes: make([]byte, 1000)}.Append(nil))
				s.WriteFrame(fetch.End{ID: f.ID}.Append(nil))
			}
		}
	})
	w.sync(b, a)
	w.until("the trouble is said", func() bool {
		st, err := b.BlobStatus(w.ctx)
		return err == nil && (st.Problem != nil || len(st.Liars) > 0)
	})
	if kept, _ := b.replica.store.BlobBytes(); kept > 1<<20 {
		t.Errorf("%d bytes are set aside for it", kept)
	}
}
