package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
	"anabranch/record"
)

// randomContent is n bytes that repeat for a seed.
func randomContent(n int, seed uint64) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func putBlob(t testing.TB, sp *Space, content []byte) (blob.Name, func()) {
	t.Helper()
	w := sp.store.NewBlob()
	defer w.Abort()
	if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	name, release, err := w.Commit(ctx, sp)
	if err != nil {
		t.Fatal(err)
	}
	return name, release
}

func refDraft(path string, name blob.Name) Draft {
	return Draft{Kind: record.Doc, Path: path, Blob: true, Payload: blob.Ref{Name: name}.Encode()}
}

func readBlob(t testing.TB, sp *Space, name blob.Name) []byte {
	t.Helper()
	f, err := sp.Blob(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, int64(name.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// transfer moves a span from one space's content to a partial of another.
func transfer(from *Blob, to *Partial, span blob.Span) error {
	begin, end := span.Bytes(from.Name())
	out := make([]byte, end-begin)
	d, err := blob.NewDecoder(from.Name(), span, out, nil)
	if err != nil {
		return err
	}
	if err := from.Slice(span, 5000, d.Feed); err != nil {
		return err
	}
	_, err = to.Put(span, out, d.Parents())
	return err
}

// What was put reads the same, small or large, after opening again too, and
// is there once.
func TestBlobsArePutOnce(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{FS: fs, smallBlob: 20 << 10}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	grant(t, sp, 1, record.Writer, "/")
	want := map[blob.Name][]byte{}
	for i, n := range []int{0, 1, 16 << 10, 20 << 10, 20<<10 + 1, 100 << 10, 1 << 20, 3<<20 + 12345} {
		c := randomContent(n, 1)
		name, release := putBlob(t, sp, c)
		if name != blob.Sum(c) {
			t.Fatalf("%d bytes are called %s", n, name)
		}
		again, release2 := putBlob(t, sp, c)
		if again != name {
			t.Fatal("another name the second time")
		}
		if _, err := sp.Write(ctx, key(1), 1, refDraft(fmt.Sprintf("/%d", i), name), refDraft(fmt.Sprintf("/again%d", i), name)); err != nil {
			t.Fatal(err)
		}
		release()
		release2()
		want[name] = c
	}
	check := func(sp *Space) {
		t.Helper()
		var sum int64
		for name, c := range want {
			if !bytes.Equal(readBlob(t, sp, name), c) {
				t.Fatalf("%s reads otherwise", name)
			}
			sum += int64(len(c))
		}
		if kept, _ := sp.store.BlobBytes(); kept != sum {
			t.Errorf("%d bytes are kept, want %d", kept, sum)
		}
		if found, err := sp.VerifyBlobs(ctx, nil); err != nil || len(found) > 0 {
			t.Fatalf("verify: %v, %v", found, err)
		}
		n := 0
		for b, err := range snapshot(t, sp).BlobsNamed() {
			if n++; err != nil || len(b.By) != 2 {
				t.Fatalf("%s is named by %d, %v", b.Name, len(b.By), err)
			}
		}
		if n != len(want) {
			t.Errorf("%d are named", n)
		}
	}
	check(sp)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open("store", o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp, _ = s.Space(sp.ID())
	check(sp)
	files, err := fs.List("store/blobs")
	if err != nil || len(files) != 8 {
		t.Errorf("%d files: %v, %v", len(files), files, err)
	}
	verifyClean(t, sp)
}

// A space gives nothing out because of another, and each can have it.
func TestSpacesDoNotSeeEachOthersBlobs(t *testing.T) {
	s, a := memoryStore(t, Options{smallBlob: 1})
	b, err := s.Create(ctx, genesis(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	c := randomContent(100_000, 2)
	name, release := putBlob(t, a, c)
	defer release()
	if _, err := b.Blob(name); !errors.Is(err, ErrNotHere) {
		t.Fatalf("the other space: %v", err)
	}
	from, err := a.Blob(name)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	p, err := b.FetchBlob(name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Len() != 0 {
		t.Fatal("groups of another space count")
	}
	if err := transfer(from, p, name.Whole()); err != nil {
		t.Fatal(err)
	}
	if err := p.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readBlob(t, b, name), c) {
		t.Fatal("it reads otherwise")
	}
	if kept, _ := s.BlobBytes(); kept != int64(len(c)) {
		t.Errorf("%d bytes are kept", kept)
	}
	if names, _ := s.blobs.fs.List(s.blobs.dir); len(names) != 2 {
		t.Errorf("files: %v", names)
	}
}

// A fetch that ends anywhere goes on with what was there, whatever became of
// the bytes meanwhile.
func TestFetchesGoOn(t *testing.T) {
	_, from := memoryStore(t, Options{smallBlob: 1})
	c := randomContent(50*blob.GroupBytes+77, 3)
	name, release := putBlob(t, from, c)
	defer release()
	source, err := from.Blob(name)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	fs := vfs.NewMem()
	rng := rand.New(rand.NewPCG(3, 3))
	o := Options{FS: fs, smallBlob: 1}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	sp := createSpace(t, s)
	want := blob.NewSet(name)
	for round := 0; !want.Full(); round++ {
		p, err := sp.FetchBlob(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Len() != want.Len() {
			t.Fatalf("round %d: %d groups are there, want %d", round, p.Len(), want.Len())
		}
		for range 3 {
			begin := rng.Uint64N(name.Groups())
			span := blob.Span{Begin: begin, End: min(name.Groups(), begin+1+rng.Uint64N(9))}
			if err := transfer(source, p, span); err != nil {
				t.Fatal(err)
			}
			want.Add(span)
		}
		part, err := sp.Blob(name)
		if err != nil || part.Whole() != want.Full() {
			t.Fatalf("open in part: %v", err)
		}
		if at, ok := want.NextMissing(0); ok {
			if _, err := part.ReadAt(make([]byte, 1), int64(at*blob.GroupBytes)); !errors.Is(err, ErrNotHere) {
				t.Fatalf("what is missing reads: %v", err)
			}
			if err := part.Slice(name.Whole(), 999, func([]byte) error { return nil }); !errors.Is(err, ErrNotHere) {
				t.Fatalf("what is missing is sent: %v", err)
			}
		}
		part.Close()
		if round == 2 && p.Len() > 0 { // a group rots on the disk
			at, _ := want.NextPresent(0)
			p.content.WriteAt([]byte{^c[at*blob.GroupBytes]}, int64(at*blob.GroupBytes))
			want.Remove(blob.Span{Begin: at, End: at + 1})
		}
		if want.Full() {
			open, err := sp.Blob(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Finish(ctx); err != nil {
				t.Fatal(err)
			}
			// Who had it open in part finds out that it must be opened again.
			if _, err := open.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrNotHere) {
				t.Fatalf("reading on after the fetch: %v", err)
			}
			if err := open.Slice(name.Whole(), 999, func([]byte) error { return nil }); !errors.Is(err, ErrNotHere) {
				t.Fatalf("serving on after the fetch: %v", err)
			}
			open.Close()
			break
		}
		if round%2 == 0 {
			p.Close()
			continue
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open("store", o); err != nil {
			t.Fatal(err)
		}
		sp, _ = s.Space(sp.ID())
	}
	defer s.Close()
	if !bytes.Equal(readBlob(t, sp, name), c) {
		t.Fatal("it reads otherwise")
	}
	if kept, _ := s.BlobBytes(); kept != int64(len(c)) {
		t.Errorf("%d bytes are kept", kept)
	}
}

// Content goes when no record of any space has named it for the window, and
// not before.
func TestBlobsGoWithTheirRecords(t *testing.T) {
	at := &clock{time.Unix(1000, 0)}
	s, a := memoryStore(t, Options{smallBlob: 10, TrashAge: time.Hour, Now: at.Now})
	b, err := s.Create(ctx, genesis(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	grant(t, a, 1, record.Writer, "/")
	grant(t, b, 1, record.Writer, "/")
	collect := func(removed int) {
		t.Helper()
		got, err := s.CollectBlobs(ctx, false)
		if err != nil || got.Removed != removed {
			t.Fatalf("%+v, %v; want %d removed", got, err, removed)
		}
	}
	for _, n := range []int{5, 100_000} {
		c := randomContent(n, 4)
		var ids []record.ID
		name, release := putBlob(t, a, c)
		for _, sp := range []*Space{a, b} {
			if sp == b {
				_, again := putBlob(t, b, c)
				again()
			}
			rs, err := sp.Write(ctx, key(1), 1, Draft{Kind: record.Entry, Path: "/x", Blob: true, Payload: blob.Ref{Name: name}.Encode()})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, rs[0].ID)
		}
		release()
		collect(0)
		if err := a.Remove(ctx, key(1), 2, ids[0]); err != nil {
			t.Fatal(err)
		}
		at.now = at.now.Add(2 * time.Hour)
		collect(0) // b names it
		if err := b.Remove(ctx, key(1), 2, ids[1]); err != nil {
			t.Fatal(err)
		}
		collect(0) // the window begins
		at.now = at.now.Add(59 * time.Minute)
		collect(0)
		reading, err := b.Blob(name)
		if err != nil {
			t.Fatal(err)
		}
		at.now = at.now.Add(time.Hour)
		collect(0) // somebody reads it
		reading.Close()
		collect(1)
		if _, err := b.Blob(name); !errors.Is(err, ErrNotHere) {
			t.Fatalf("after it was removed: %v", err)
		}
	}
	if kept, _ := s.BlobBytes(); kept != 0 {
		t.Errorf("%d bytes are kept", kept)
	}
	if names, _ := s.blobs.fs.List(s.blobs.dir); len(names) != 0 {
		t.Errorf("files: %v", names)
	}
}

// The content of a dropped space goes too, and another's stays.
func TestBlobsOfADroppedSpaceGo(t *testing.T) {
	s, a := memoryStore(t, Options{smallBlob: 10})
	b, err := s.Create(ctx, genesis(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	grant(t, a, 1, record.Writer, "/")
	grant(t, b, 1, record.Writer, "/")
	own, common := randomContent(50_000, 5), randomContent(60_000, 6)
	for _, sp := range []*Space{a, b} {
		name, release := putBlob(t, sp, common)
		if _, err := sp.Write(ctx, key(1), 1, refDraft("/common", name)); err != nil {
			t.Fatal(err)
		}
		release()
	}
	name, release := putBlob(t, b, own)
	if _, err := b.Write(ctx, key(1), 1, refDraft("/own", name)); err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := b.FetchBlob(blob.Sum(randomContent(99_999, 7))); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(ctx, b.ID()); err != nil {
		t.Fatal(err)
	}
	s.blobs.closeAll()
	got, err := s.CollectBlobs(ctx, true)
	if err != nil || got.Removed != 1 || got.Kept != 1 || got.Partial != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !bytes.Equal(readBlob(t, a, blob.Sum(common)), common) {
		t.Fatal("the other space's content reads otherwise")
	}
	if names, _ := s.blobs.fs.List(s.blobs.dir); len(names) != 2 {
		t.Errorf("files: %v", names)
	}
}

func TestBlobQuota(t *testing.T) {
	s, sp := memoryStore(t, Options{smallBlob: 10, BlobBytes: 3 << 20})
	_, release := putBlob(t, sp, randomContent(2<<20, 8))
	release()
	w := s.NewBlob()
	_, err := io.Copy(w, bytes.NewReader(randomContent(4<<20, 9)))
	if err == nil {
		_, _, err = w.Commit(ctx, sp)
	}
	w.Abort()
	if !errors.Is(err, ErrQuota) {
		t.Fatalf("put beyond the quota: %v", err)
	}
	if _, err := sp.FetchBlob(blob.Name{Size: 2 << 20}); !errors.Is(err, ErrQuota) {
		t.Fatalf("fetch beyond the quota: %v", err)
	}
	p, err := sp.FetchBlob(blob.Name{Size: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	p.Drop()
	if kept, room := s.BlobBytes(); kept != 2<<20 || room != 1<<20 {
		t.Errorf("%d kept, room for %d", kept, room)
	}
	if names, _ := s.blobs.fs.List(s.blobs.dir); len(names) != 2 {
		t.Errorf("files: %v", names)
	}
}

// Verify names content that is not what it was, and it can be had again.
func TestDamagedBlobsAreFound(t *testing.T) {
	rest := map[string]uint64{"flipped": 6, "cut": 3, "tree": 5} // of 7 groups: those that still match the name
	for seed, harm := range slices.Repeat([]string{"flipped", "cut", "gone", "tree", "row"}, 2) {
		fs := vfs.NewMem()
		s, err := Open("store", Options{FS: fs, smallBlob: 10})
		if err != nil {
			t.Fatal(err)
		}
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		c := randomContent(100_000, 10)
		if harm == "row" {
			c = c[:9]
		}
		name, release := putBlob(t, sp, c)
		if _, err := sp.Write(ctx, key(1), 1, refDraft("/x", name)); err != nil {
			t.Fatal(err)
		}
		release()
		file := "store/blobs/" + name.String()
		overwrite := func(file string, off int64) {
			f, err := fs.OpenReadWrite(file, vfs.WriteCategoryUnspecified)
			if err == nil {
				_, err = f.WriteAt([]byte{1, 2, 3, 4, 5}, off)
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		switch harm {
		case "flipped":
			overwrite(file, 77_777)
		case "tree":
			overwrite(file+".tree", 70)
		case "gone":
			fs.Remove(file)
		case "cut":
			f, _ := fs.Create(file, vfs.WriteCategoryUnspecified)
			f.Write(bytes.Clone(c[:50_000])) // a vfs.File may change what it is given, and under the race detector does
			f.Close()
		case "row":
			err := s.do(ctx, 0, func(x *commit) error { x.tx.set(blobKey(tableBlobValue, name), []byte("123456789")); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		found, err := sp.VerifyBlobs(ctx, nil)
		if err != nil || len(found) != 1 || found[0].Key != name.String() {
			t.Fatalf("%s: %v, %v", harm, found, err)
		}
		if seed%2 == 0 {
			err = s.ForgetBlob(ctx, name)
		} else {
			err = sp.DoubtBlob(ctx, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sp.Blob(name); !errors.Is(err, ErrNotHere) {
			t.Fatalf("%s: after it was forgotten: %v", harm, err)
		}
		p, err := sp.FetchBlob(name) // what is right of it is kept by the one, not by the other
		if err != nil {
			t.Fatal(err)
		}
		if n, want := p.Len(), rest[harm]; seed%2 == 0 && n != 0 || seed%2 == 1 && n != want {
			t.Fatalf("%s: %d groups are kept, want %d", harm, n, want)
		}
		p.Drop()
		again, release := putBlob(t, sp, c)
		release()
		if again != name {
			t.Fatalf("%s: another name the second time", harm)
		}
		if !bytes.Equal(readBlob(t, sp, name), c) {
			t.Fatal("it reads otherwise")
		}
		s.Close()
	}
}

// A backup has the content that its rows know.
func TestBackupHasBlobs(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open("store", Options{FS: fs, smallBlob: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := createSpace(t, s)
	grant(t, sp, 1, record.Writer, "/")
	var names []blob.Name
	for i, n := range []int{9, 50, 70_000} {
		name, release := putBlob(t, sp, randomContent(n, 11))
		if _, err := sp.Write(ctx, key(1), 1, refDraft(fmt.Sprintf("/%d", i), name)); err != nil {
			t.Fatal(err)
		}
		release()
		names = append(names, name)
	}
	if err := s.Backup(ctx, "copy", nil); err != nil {
		t.Fatal(err)
	}
	copied, err := Open("copy", Options{FS: fs, smallBlob: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	again, _ := copied.Space(sp.ID())
	for _, name := range names {
		if !bytes.Equal(readBlob(t, again, name), readBlob(t, sp, name)) {
			t.Errorf("%s reads otherwise", name)
		}
	}
	if found, err := again.VerifyBlobs(ctx, nil); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// Whatever a record says, a file name is hexadecimal digits and a number.
func TestBlobFileNames(t *testing.T) {
	for _, text := range []string{"", "x", "../../etc/passwd-1", strings.Repeat("a", 64) + "-01", strings.Repeat("A", 64) + "-1",
		strings.Repeat("a", 64) + "-1/../x", strings.Repeat("a", 64) + "--1", strings.Repeat("a", 64) + "-281474976710657"} {
		if _, err := blob.ParseName(text); err == nil {
			t.Errorf("%q is a name", text)
		}
		if _, err := parsePart("00000001-" + text); err == nil {
			t.Errorf("%q is a part", text)
		}
	}
	k := partKey{7, blob.Sum([]byte("x"))}
	if got, err := parsePart(strings.TrimSuffix(k.file(), partSuffix)); err != nil || got != k {
		t.Errorf("%v, %v", got, err)
	}
}

// What came since a version is told as BlobsNamed tells all.
func TestBlobsSinceAreThoseNamed(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		grant(t, sp, 1, record.Writer, "/")
		var before uint64
		for i := range 4 {
			for _, named := range []bool{true, false} {
				d := Draft{Kind: record.Doc, Path: fmt.Sprintf("/%d/%v", i, named), Payload: []byte("text")}
				if named {
					d.Blob, d.Payload = true, blob.Ref{Name: blob.Name{Size: uint64(i) + 1}}.Encode()
				}
				if _, err := sp.Write(t.Context(), key(1), 1, d); err != nil {
					t.Fatal(err)
				}
			}
			v := snapshot(t, sp)
			if left, err := v.LeftSince(before); left || err != nil {
				t.Errorf("somebody left: %v, %v", left, err)
			}
			var got []NamedBlob
			for b, err := range v.BlobsSince(before) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, b)
			}
			if len(got) != 1 || got[0].Size != uint64(i)+1 || len(got[0].By) != 1 || got[0].By[0] != v.Version()-1 {
				t.Errorf("since %d: %+v", before, got)
			}
			before = v.Version()
		}
	})
}
