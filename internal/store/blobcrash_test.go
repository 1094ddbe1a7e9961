package store

import (
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
	"anabranch/record"
)

var blobCuts = flag.Int("blobcuts", 40, "simulated power cuts of TestPowerCutsOverBlobs")

// blobLife is a workload over content, and what it was promised.
type blobLife struct {
	sp     *Space
	source *Space // has all of pool
	pool   []blob.Name
	bytes  map[blob.Name][]byte
	rng    *rand.Rand

	mu      sync.Mutex
	put     map[record.ID]blob.Name // acknowledged, and not asked to be removed
	fetched map[blob.Name]bool      // Finish was acknowledged, and a record in put or wanted names it
	wanted  map[record.ID]blob.Name // records whose content was not put with them
}

func (l *blobLife) step(now uint64) error {
	name := l.pool[l.rng.IntN(len(l.pool))]
	draft := Draft{Kind: record.Entry, Path: "/x", Blob: true, Payload: blob.Ref{Name: name}.Encode()}
	switch n := l.rng.IntN(10); {
	case n < 4: // put, then the record
		w := l.sp.store.NewBlob()
		defer w.Abort()
		if _, err := w.Write(l.bytes[name]); err != nil {
			return err
		}
		_, release, err := w.Commit(ctx, l.sp)
		if err != nil {
			return err
		}
		defer release()
		rs, err := l.sp.Write(ctx, key(6), now, draft)
		if err != nil {
			return err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.put[rs[0].ID] = name
	case n < 8: // a record comes first, and its content is fetched, or a part of it
		rs, err := l.sp.Write(ctx, key(6), now, draft)
		if err != nil {
			return err
		}
		l.mu.Lock()
		l.wanted[rs[0].ID] = name
		l.mu.Unlock()
		return l.fetch(name)
	case n < 9: // some records go
		l.mu.Lock()
		var ids []record.ID
		for id, named := range l.put {
			if named == name {
				ids = append(ids, id)
				delete(l.put, id)
			}
		}
		for id, named := range l.wanted {
			if named == name {
				ids = append(ids, id)
				delete(l.wanted, id)
			}
		}
		delete(l.fetched, name)
		l.mu.Unlock()
		if len(ids) > 0 {
			return l.sp.Remove(ctx, key(6), now, ids...)
		}
	default:
		_, err := l.sp.store.CollectBlobs(ctx, true)
		return err
	}
	return nil
}

func (l *blobLife) fetch(name blob.Name) error {
	from, err := l.source.Blob(name)
	if err != nil {
		return err
	}
	defer from.Close()
	p, err := l.sp.FetchBlob(name)
	if err != nil {
		return err
	}
	defer p.Close()
	for i := range name.Groups() {
		if !p.Has(blob.Span{Begin: i, End: i + 1}) && l.rng.IntN(20) > 0 {
			if err := transfer(from, p, blob.Span{Begin: i, End: i + 1}); err != nil {
				return err
			}
		}
	}
	if !p.Full() {
		return nil
	}
	if err := p.Finish(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetched[name] = true
	return nil
}

// blobCut lives for a while, cuts the power, and looks at what the disk holds.
func blobCut(t *testing.T, seed uint64, percent int, source *Space, pool []blob.Name, bytes map[blob.Name][]byte) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(percent)))
	disk := vfs.NewCrashableMem()
	o := Options{FS: disk, MemTableBytes: 16 << 10, CacheBytes: 1 << 20, smallBlob: 2000}
	s, err := Open("store", o)
	if err != nil {
		t.Fatal(err)
	}
	l := &blobLife{
		sp: createSpace(t, s), source: source, pool: pool, bytes: bytes, rng: rand.New(rand.NewPCG(seed, 5)),
		put: map[record.ID]blob.Name{}, fetched: map[blob.Name]bool{}, wanted: map[record.ID]blob.Name{},
	}
	grant(t, l.sp, 6, record.Writer, "/")
	var enough atomic.Bool
	living := make(chan error, 1)
	go func() {
		for now := uint64(1); now < 40 && !enough.Load(); now++ {
			if err := l.step(now); err != nil {
				living <- err
				return
			}
		}
		living <- nil
	}()
	time.Sleep(time.Duration(1+rng.IntN(12)) * time.Millisecond)
	l.mu.Lock()
	put, fetched := map[record.ID]blob.Name{}, map[blob.Name]bool{}
	for id, name := range l.put {
		put[id] = name
	}
	for name := range l.fetched {
		fetched[name] = true
	}
	clone := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
	l.mu.Unlock() // nothing was removed between what was promised and the cut
	enough.Store(true)
	if err := <-living; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = clone
	s, err = Open("store", o)
	if err != nil {
		t.Fatalf("seed %d, %d %%: %v", seed, percent, err)
	}
	defer s.Close()
	sp, _ := s.Space(l.sp.ID())
	v := snapshot(t, sp)
	defer v.Close()
	for id, name := range put {
		if r, err := v.Get(id); err != nil || !r.Blob {
			t.Errorf("record %v was acknowledged: %v", id, err)
		}
		checkWhole(t, sp, name, bytes[name])
	}
	for name := range fetched {
		checkWhole(t, sp, name, bytes[name])
	}
	if found, err := sp.VerifyBlobs(ctx, nil); err != nil || len(found) > 0 {
		t.Errorf("verify: %v, %v", found, err)
	}
	// What is left of a fetch is sound, and goes on to its end.
	named := map[string]bool{}
	for b, err := range v.BlobsNamed() {
		if err != nil {
			t.Fatal(err)
		}
		if has, err := sp.HasBlob(b.Name); err != nil {
			t.Fatal(err)
		} else if !has {
			l.sp = sp
			for range 50 {
				if err := l.fetch(b.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		checkWhole(t, sp, b.Name, bytes[b.Name])
		named[b.Name.String()] = true
	}
	// Nothing is orphaned for ever.
	if _, err := s.CollectBlobs(ctx, true); err != nil {
		t.Fatal(err)
	}
	files, err := clone.List("store/blobs")
	if err != nil && !oserrNotExist(err) {
		t.Fatal(err)
	}
	for _, file := range files {
		if !named[strings.TrimSuffix(file, treeSuffix)] {
			t.Errorf("%s is left", file)
		}
	}
	if t.Failed() {
		t.Fatalf("seed %d, %d %%", seed, percent)
	}
}

func checkWhole(t *testing.T, sp *Space, name blob.Name, want []byte) {
	t.Helper()
	f, err := sp.Blob(name)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer f.Close()
	got := make([]byte, len(want))
	if n, err := f.ReadAt(got, 0); n != len(want) || len(want) > 0 && err != nil || string(got) != string(want) {
		t.Errorf("%s reads otherwise: %d bytes, %v", name, n, err)
	}
}

// oserrNotExist: the folder is made with the first file.
func oserrNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// TestPowerCutsOverBlobs: in put, fetch and removal, no acknowledged record
// lacks its content, nothing false is believed, and nothing is left for ever.
func TestPowerCutsOverBlobs(t *testing.T) {
	_, source := memoryStore(t, Options{smallBlob: 2000})
	var pool []blob.Name
	bytes := map[blob.Name][]byte{}
	for i, n := range []int{10, 1999, 2001, blob.GroupBytes, 2 * blob.GroupBytes, 3*blob.GroupBytes + 5, 5 * blob.GroupBytes} {
		c := randomContent(n, uint64(i))
		name, _ := putBlob(t, source, c)
		pool, bytes[name] = append(pool, name), c
	}
	rounds := uint64(*blobCuts+4) / 5
	if testing.Short() {
		rounds = 2
	}
	for _, percent := range []int{0, 10, 50, 90, 100} {
		for seed := range rounds {
			blobCut(t, seed, percent, source, pool, bytes)
		}
	}
}
