package store

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// Figure is one measurement.
type Figure struct {
	Name  string
	Value float64
	Unit  string
}

// BenchOptions configures Bench. The zero value is ready to use.
type BenchOptions struct {
	Dir      string        // on the disk to be measured; what is left there by an earlier run, as by an Only of ingest, is used again
	Records  int           // default 100 000
	Authors  int           // default 20
	PutTime  time.Duration // for each number of callers; default 2 s
	Cache    int64         // Options.CacheBytes
	Removals int           // entries removed by sweeps; default a tenth of Records, at most 100 000
	Only     []string      // of BenchSteps; empty: all
	Log      func(string)  // told what happens; may be nil
}

// BenchSteps are the parts of Bench, in their order.
var BenchSteps = []string{"sign", "ingest", "compact", "open", "read", "sessions", "puts", "remove", "more"}

// benchPayload makes a record of 200 bytes: 125 of header and signature, a
// path of 17.
const benchPayload = 58

// Bench measures a store of its own: ingest of records that arrive, opening,
// fingerprint, root, proof, puts by 1, 16 and 256 callers, removal by sweeps,
// ingest on top of all that, bytes on disk and in memory for each record.
// Figures are told as they come.
//
// Signing the records comes first, is not part of any figure, and leaves a
// file of signatures: the rest of each record follows from its number.
func Bench(ctx context.Context, o BenchOptions, each func(Figure)) error {
	if o.Records <= 0 {
		o.Records = 100_000
	}
	if o.Authors <= 0 {
		o.Authors = 20
	}
	if o.PutTime <= 0 {
		o.PutTime = 2 * time.Second
	}
	if o.Removals <= 0 {
		o.Removals = min(o.Records/10, 100_000)
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	b := &bench{BenchOptions: o, each: each, dir: filepath.Join(o.Dir, "store"), raw: filepath.Join(o.Dir, "signatures")}
	for i := range o.Authors + 1 {
		seed := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(seed, uint64(i)+1)
		b.keys = append(b.keys, ed25519.NewKeyFromSeed(seed))
	}
	var err error
	if b.genesis, err = space.NewGenesis(b.keys[0], nil, [16]byte{1}); err != nil {
		return err
	}
	for i, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{fmt.Sprintf("signing %d records, which is not timed", o.Records), b.generate},
		{"ingest", b.ingest},
		{"compaction", b.compact},
		{"open", b.open},
		{"read", b.read},
		{"20 sessions beside 10 000 records a second", b.sessions},
		{"puts", b.puts},
		{"removal", b.remove},
		{"signing more records and ingesting them", b.more},
	} {
		if len(o.Only) > 0 && !slices.Contains(o.Only, BenchSteps[i]) {
			continue
		}
		o.Log(step.name)
		if i > 1 {
			err = b.reopen()
		}
		if err == nil {
			err = step.run(ctx)
		}
		if err != nil {
			if b.store != nil {
				b.store.Close()
			}
			return fmt.Errorf("bench: %s: %w", step.name, err)
		}
	}
	if b.store == nil {
		return nil
	}
	return b.store.Close()
}

type bench struct {
	BenchOptions
	each     func(Figure)
	dir, raw string
	keys     []ed25519.PrivateKey // the first is the root key
	genesis  *space.Genesis
	store    *Store
	space    *Space
}

func (b *bench) figure(name string, value float64, unit string) { b.each(Figure{name, value, unit}) }

// reopen opens the store that an earlier run has left, if it is not open.
func (b *bench) reopen() error {
	if b.store != nil {
		return nil
	}
	var err error
	if b.store, err = Open(b.dir, Options{CacheBytes: b.Cache}); err != nil {
		return err
	}
	var ok bool
	if b.space, ok = b.store.Space(b.genesis.ID()); !ok {
		return errors.New("nothing was ingested here")
	}
	return nil
}

// generate writes the signatures of all records to a file.
func (b *bench) generate(ctx context.Context) error {
	if info, err := os.Stat(b.raw); err == nil && info.Size() == int64(b.Records)*ed25519.SignatureSize {
		return nil
	}
	id := b.genesis.ID()
	file, err := os.Create(b.raw + ".part")
	if err != nil {
		return err
	}
	defer file.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	const part = 4096
	out := make([][ed25519.SignatureSize]byte, part)
	for begin := 0; begin < b.Records; begin += part {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(part, b.Records-begin)
		var next atomic.Int64
		var failed atomic.Pointer[error]
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for k := int(next.Add(1)) - 1; k < n; k = int(next.Add(1)) - 1 {
					v, err := record.Sign(id, b.keys[1+(begin+k)%b.Authors], b.record(begin+k))
					if err != nil {
						failed.Store(&err)
						return
					}
					out[k] = v.Signature
				}
			})
		}
		workers.Wait()
		if err := failed.Load(); err != nil {
			return *err
		}
		for i := range out[:n] {
			w.Write(out[i][:])
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(b.raw+".part", b.raw)
}

// record is the i-th: authors in turn, a path of its own, a millisecond apart,
// a payload that does not compress.
func (b *bench) record(i int) record.Record {
	author := i % b.Authors
	payload := make([]byte, benchPayload)
	rng := rand.NewChaCha8([32]byte{1: byte(i), 2: byte(i >> 8), 3: byte(i >> 16), 4: byte(i >> 24)})
	rng.Read(payload)
	return record.Record{
		Kind: record.Doc, Time: 1_700_000_000_000_000 + uint64(i)*1000, Author: record.Public(b.keys[1+author]), Lane: 1, Seq: uint32(i/b.Authors) + 1,
		Path: fmt.Sprintf("/n/%04d/%09d", author, i), Payload: payload,
	}
}

func (b *bench) records() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		file, err := os.Open(b.raw)
		if err != nil {
			yield(nil, err)
			return
		}
		defer file.Close()
		in := bufio.NewReaderSize(file, 1<<20)
		for i := range b.Records {
			r := b.record(i)
			if _, err := io.ReadFull(in, r.Signature[:]); err != nil {
				yield(nil, err)
				return
			}
			if !yield(r.Append(nil), nil) {
				return
			}
		}
	}
}

func (b *bench) ingest(ctx context.Context) error {
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	var err error
	if b.store, err = Open(b.dir, Options{CacheBytes: b.Cache}); err != nil {
		return err
	}
	if b.space, err = b.store.Create(ctx, b.genesis.Encode()); err != nil {
		return err
	}
	for _, k := range b.keys[1:] {
		_, err := b.space.Issue(ctx, b.keys[0], 1, "/", record.ControlBody{Type: record.GrantType, Grant: &record.Grant{
			Author: record.Public(k), Device: record.Public(k), Role: record.Writer,
		}})
		if err != nil {
			return err
		}
	}
	start, cpu := time.Now(), processTime()
	got, err := b.space.Load(ctx, b.records(), nil, nil)
	if err != nil {
		return err
	}
	if got.Added != b.Records {
		return fmt.Errorf("%+v instead of %d added", got, b.Records)
	}
	took, used := time.Since(start), processTime()-cpu
	b.figure("ingest", float64(b.Records)/took.Seconds(), "records/s")
	b.figure("ingest, processor time", float64(used.Nanoseconds())/1000/float64(b.Records), "µs/record")
	return nil
}

// open closes and opens the store five times.
func (b *bench) open(ctx context.Context) error {
	var times []time.Duration
	for range 5 {
		if err := b.store.Close(); err != nil {
			return err
		}
		b.store, b.space = nil, nil
		start := time.Now()
		s, err := Open(b.dir, Options{CacheBytes: b.Cache})
		if err != nil {
			return err
		}
		times = append(times, time.Since(start))
		b.store = s
		b.space, _ = s.Space(b.genesis.ID())
	}
	b.figure("open, median of five", float64(middle(times, 50).Microseconds())/1000, "ms")
	v, err := b.space.Snapshot()
	if err != nil {
		return err
	}
	start := time.Now()
	_, err = v.Root()
	v.Close()
	if err != nil {
		return err
	}
	b.figure("first root after opening", float64(time.Since(start).Microseconds())/1000, "ms")
	b.figure("memory, index", float64(b.space.state.blocks.memory())/float64(b.Records), "B/record")
	b.figure("memory, root", float64(b.space.state.cuts.root.memory())/float64(b.Records), "B/record")
	return nil
}

// middle is a percentile.
func middle(times []time.Duration, percent int) time.Duration {
	slices.Sort(times)
	return times[(len(times)-1)*percent/100]
}

// repeat times a step and tells the median.
func (b *bench) repeat(name string, times int, step func(i int) error) error {
	taken := make([]time.Duration, times)
	for i := range taken {
		start := time.Now()
		if err := step(i); err != nil {
			return err
		}
		taken[i] = time.Since(start)
	}
	b.figure(name, float64(middle(taken, 50).Nanoseconds())/1000, "µs")
	b.figure(name+", p99", float64(middle(taken, 99).Nanoseconds())/1000, "µs")
	return nil
}

// benchWarm is how many fingerprints come before those that are timed.
const benchWarm = 5000

func (b *bench) read(ctx context.Context) error {
	v, err := b.space.Snapshot()
	if err != nil {
		return err
	}
	defer v.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	n := int(v.Count())
	if _, err := v.Root(); err != nil {
		return err
	}
	index, trie := v.Index(), v.Trie()
	for range benchWarm {
		if _, err := index.Fingerprint(0, rng.IntN(n)); err != nil {
			return err
		}
	}
	if err := b.repeat("fingerprint of a random range", 1000, func(int) error {
		x, y := rng.IntN(n), rng.IntN(n)
		_, err := index.Fingerprint(min(x, y), max(x, y))
		return err
	}); err != nil {
		return err
	}
	if err := b.repeat("item at a position", 1000, func(int) error {
		_, err := index.At(rng.IntN(n))
		return err
	}); err != nil {
		return err
	}
	ids := make([]record.ID, 1000)
	for i := range ids {
		item, err := index.At(rng.IntN(n))
		if err != nil {
			return err
		}
		ids[i] = item.ID
	}
	sizes := make([]int, len(ids))
	if err := b.repeat("proof", len(ids), func(i int) error {
		p, err := merkle.Prove(trie, ids[i])
		sizes[i] = len(p.Encode())
		return err
	}); err != nil {
		return err
	}
	slices.Sort(sizes)
	b.figure("proof, size", float64(sizes[len(sizes)/2]), "B")
	b.figure("proof, longest", float64(sizes[len(sizes)-1]), "B")
	if err := b.repeat("record by ID", len(ids), func(i int) error {
		_, err := v.Get(ids[i])
		return err
	}); err != nil {
		return err
	}
	author := b.keys[1]
	var fresh []time.Duration
	for i := range 200 {
		if _, err := b.space.Write(ctx, author, benchNow, Draft{Kind: record.Entry, Path: fmt.Sprintf("/fresh/%d", i), Payload: make([]byte, benchPayload)}); err != nil {
			return err
		}
		now, err := b.space.Snapshot()
		if err != nil {
			return err
		}
		start := time.Now()
		_, err = now.Root()
		fresh = append(fresh, time.Since(start))
		now.Close()
		if err != nil {
			return err
		}
	}
	b.figure("root after one more record", float64(middle(fresh, 50).Nanoseconds())/1000, "µs")
	return nil
}

// sessions commits 100 records every 10 ms while 20 goroutines do what a
// session asks of a snapshot. Each commit must be answered before the next is
// due, or the rate is lower than it says.
func (b *bench) sessions(ctx context.Context) error {
	const readers, batch, every = 20, 100, 10 * time.Millisecond
	batches := int(b.PutTime / every)
	id := b.genesis.ID()
	lane := rand.Uint64() | 1
	raw := make([][]*record.Verified, batches)
	for i := range raw {
		for k := range batch {
			v, err := record.Sign(id, b.keys[1], record.Record{
				Kind: record.Entry, Time: benchNow, Lane: lane, Seq: uint32(i*batch+k) + 1, Path: "/arriving", Payload: make([]byte, benchPayload),
			})
			if err != nil {
				return err
			}
			raw[i] = append(raw[i], v)
		}
	}
	before, err := b.space.Snapshot()
	if err != nil {
		return err
	}
	defer before.Close()
	done := make(chan struct{})
	var roots atomic.Int64
	var mu sync.Mutex // guards told
	told := make(map[uint64]answers)
	failures := make(chan error, readers)
	for range readers {
		go func() {
			for {
				select {
				case <-done:
					failures <- nil
					return
				default:
				}
				version, got, err := b.session()
				mu.Lock()
				if was, ok := told[version]; err == nil && ok && was != got {
					err = fmt.Errorf("two answers at version %d: %x and %x", version, was, got)
				}
				told[version] = got
				mu.Unlock()
				if err != nil {
					failures <- err
					return
				}
				roots.Add(1)
			}
		}()
	}
	var times []time.Duration
	var versions []uint64
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed error
	for _, rs := range raw {
		<-tick.C
		begin := time.Now()
		res, err := b.space.Commit(ctx, rs)
		if err != nil {
			failed = err
			break
		}
		versions = append(versions, res.Version)
		times = append(times, time.Since(begin))
	}
	took := time.Since(start)
	close(done)
	for range readers {
		if err := <-failures; failed == nil {
			failed = err
		}
	}
	if failed != nil || len(times) == 0 {
		return failed
	}
	b.figure("20 sessions beside commits: arriving", float64(batch*len(times))/took.Seconds(), "records/s")
	b.figure("20 sessions beside commits: commit, p50", float64(middle(times, 50).Microseconds())/1000, "ms")
	b.figure("20 sessions beside commits: commit, p99", float64(middle(times, 99).Microseconds())/1000, "ms")
	b.figure("20 sessions beside commits: roots", float64(roots.Load())/took.Seconds(), "roots/s")
	return b.checkSessions(before, raw[:len(times)], versions, told)
}

// answers is what a session found at a version.
type answers struct {
	root  merkle.Digest
	whole reconcile.Fingerprint
}

// checkSessions compares what sessions were told with a set in memory to which
// the same batches were added: every one of them, for up to a million records.
func (b *bench) checkSessions(before *Snapshot, raw [][]*record.Verified, versions []uint64, told map[uint64]answers) error {
	n := before.index.Len()
	if n > 2_000_000 {
		b.Log("the roots of the sessions were compared with each other only")
		return nil
	}
	var tree merkle.Tree
	var sum reconcile.Sum
	ids := make([]merkle.ID, 0, n)
	for x, err := range before.index.Items(0, n) {
		if err != nil {
			return err
		}
		ids = append(ids, x.ID)
		sum.Add(&x.ID)
	}
	tree.Insert(ids...)
	exact := 0
	check := func(version uint64) error {
		got, ok := told[version]
		if !ok {
			return nil
		}
		want := answers{merkle.Root(b.space.id, nil, uint64(tree.Count()), tree.Hash()), sum.Fingerprint(tree.Count())}
		if got != want {
			return fmt.Errorf("a session at version %d found %x, the set has %x", version, got, want)
		}
		exact++
		return nil
	}
	if err := check(before.Version()); err != nil {
		return err
	}
	for i, rs := range raw {
		for _, r := range rs {
			tree.Insert(r.ID)
			id := merkle.ID(r.ID)
			sum.Add(&id)
		}
		if err := check(versions[i]); err != nil {
			return err
		}
	}
	if exact != len(told) {
		return fmt.Errorf("%d of %d versions that sessions saw were never committed", len(told)-exact, len(told))
	}
	b.figure("20 sessions beside commits: versions checked against a set", float64(exact), "")
	return nil
}

// session reads a snapshot as a session does, at a session's pace.
func (b *bench) session() (version uint64, got answers, err error) {
	v, err := b.space.Snapshot()
	if err != nil {
		return 0, got, err
	}
	defer v.Close()
	if got.root, err = v.Root(); err != nil {
		return 0, got, err
	}
	n := v.Index().Len()
	for i := range 16 {
		if _, err := v.Index().Fingerprint(n*i/16, n*(i+1)/16); err != nil {
			return 0, got, err
		}
	}
	if got.whole, err = v.Index().Fingerprint(0, n); err != nil {
		return 0, got, err
	}
	for _, err := range v.List(Query{Order: Newest, Limit: 20}) {
		if err != nil {
			return 0, got, err
		}
	}
	time.Sleep(20 * time.Millisecond) // the link
	return v.Version(), got, nil
}

// benchNow is a clock after every record that was ingested.
const benchNow = 1_800_000_000_000_000

func (b *bench) puts(ctx context.Context) error {
	author := b.keys[1]
	for _, callers := range []int{1, 16, 256} {
		var group sync.WaitGroup
		times := make([][]time.Duration, callers)
		failures := make([]error, callers)
		start, cpu := time.Now(), processTime()
		for c := range callers {
			group.Go(func() {
				for i := 0; time.Since(start) < b.PutTime; i++ {
					begin := time.Now()
					_, err := b.space.Write(ctx, author, benchNow, Draft{
						Kind: record.Doc, Path: fmt.Sprintf("/put/%d/%d/%d", callers, c, i), Payload: make([]byte, benchPayload),
					})
					if err != nil {
						failures[c] = err
						return
					}
					times[c] = append(times[c], time.Since(begin))
				}
			})
		}
		group.Wait()
		took, used := time.Since(start), processTime()-cpu
		for _, err := range failures {
			if err != nil {
				return err
			}
		}
		all := slices.Concat(times...)
		name := fmt.Sprintf("puts, callers: %d", callers)
		b.figure(name, float64(len(all))/took.Seconds(), "puts/s")
		b.figure(name+", p50", float64(middle(all, 50).Microseconds())/1000, "ms")
		b.figure(name+", p99", float64(middle(all, 99).Microseconds())/1000, "ms")
		b.figure(name+", processor time", float64(used.Nanoseconds())/1000/float64(len(all)), "µs/put")
	}
	return nil
}

// remove writes entries and removes all of them.
func (b *bench) remove(ctx context.Context) error {
	author := b.keys[1]
	var ids []record.ID
	for len(ids) < b.Removals {
		drafts := make([]Draft, min(1000, b.Removals-len(ids)))
		for i := range drafts {
			drafts[i] = Draft{Kind: record.Entry, Path: "/log", Payload: make([]byte, benchPayload)}
		}
		rs, err := b.space.Write(ctx, author, benchNow, drafts...)
		if err != nil {
			return err
		}
		for _, r := range rs {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	start := time.Now()
	if err := b.space.Remove(ctx, author, benchNow, ids...); err != nil {
		return err
	}
	b.figure(fmt.Sprintf("removal of %d by sweeps", len(ids)), float64(time.Since(start).Microseconds())/float64(len(ids)), "µs/record")
	return nil
}

// more ingests a tenth as many records again, a million at most, on top of all
// that is there. Signing them is not timed.
func (b *bench) more(ctx context.Context) error {
	n, lane := min(b.Records/10, 1_000_000), rand.Uint64()|1
	raw := make([][]byte, n)
	failures := make([]error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for w := range failures {
		workers.Go(func() {
			for i := w; i < n; i += len(failures) {
				r := b.record(b.Records + i)
				r.Lane, r.Seq, r.Path = lane, uint32(i/b.Authors)+1, fmt.Sprintf("/m/%016x/%09d", lane, i)
				v, err := record.Sign(b.space.id, b.keys[1+(b.Records+i)%b.Authors], r)
				if err != nil {
					failures[w] = err
					return
				}
				raw[i] = v.Bytes
			}
		})
	}
	workers.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	start := time.Now()
	got, err := b.space.Load(ctx, func(yield func([]byte, error) bool) {
		for _, r := range raw {
			if !yield(r, nil) {
				return
			}
		}
	}, nil, nil)
	if err != nil {
		return err
	}
	if got.Added != n {
		return fmt.Errorf("%+v instead of %d added", got, n)
	}
	b.figure(fmt.Sprintf("ingest of %d more", n), float64(n)/time.Since(start).Seconds(), "records/s")
	return nil
}

// compact tells what the tables take, before and after all background work.
func (b *bench) compact(ctx context.Context) error {
	before, after, err := b.store.Compact(ctx)
	if err == nil && after > 0 {
		b.figure("disk, after ingest", float64(before)/float64(b.Records), "B/record")
		b.figure("disk, compacted", float64(after)/float64(b.Records), "B/record")
	}
	return err
}

// memory is what the nodes take, slack included.
func (b *blocks) memory() int {
	if b.root == nil {
		return 0
	}
	return b.root.memory()
}

func (n *blockNode) memory() int {
	size := int(unsafe.Sizeof(*n)) + cap(n.kids)*int(unsafe.Sizeof(blockKid{}))
	for _, k := range n.kids {
		if k.node != nil {
			size += k.node.memory()
		}
	}
	return size
}

func (p *cutPair) memory() int {
	size := 112 // the allocator's size for a pair of 104 bytes
	for i := range p.half {
		if q := p.half[i].halves.Load(); q != nil {
			size += q.memory()
		}
	}
	return size
}
