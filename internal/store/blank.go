package store

import (
	"hash/maphash"
	"sync/atomic"
)

// blanks knows paths of a space at which nothing ever was, so that nobody
// looks for their rows: in a first load that is every path, and each look
// costs a walk through all levels of the engine. It is kept in memory only
// while it pays, and is the committer's.
type blanks struct {
	filter *filter // nil: nothing is known
	paths  int     // for which the last filter was made
	missed int     // looks that found nothing since then
}

const (
	// filterPaths is the least number of paths for which a filter is made, and
	// mostFilterPaths the greatest: 1.5 and 24 MB.
	filterPaths     = 1 << 20
	mostFilterPaths = 1 << 24
	// filterWorth is the part of the members that must have been looked for in
	// vain before it pays to read all paths, and filterMisses the least number.
	filterWorth  = 16
	filterMisses = 1000
)

// filter is a Bloom filter of paths, 12 bits for each in blocks of a cache
// line: about one path in a hundred that is not in it seems to be.
type filter struct {
	seed  maphash.Seed
	words []uint64 // atomic
	room  atomic.Int64
	ready atomic.Bool // every path that has rows is in it
}

func newFilter(paths int) *filter {
	f := &filter{seed: maphash.MakeSeed(), words: make([]uint64, (paths*12+511)/512*8)}
	f.room.Store(int64(paths))
	return f
}

// filterBits are the bits that stand for one path in its block.
const filterBits = 6

func (f *filter) place(path []byte) (block []uint64, bits uint64) {
	h := maphash.Bytes(f.seed, path)
	at := (h >> 32) * uint64(len(f.words)/8) >> 32
	return f.words[at*8 : at*8+8], (h | 1) * 0x9E3779B97F4A7C15
}

// note adds a path, and reports whether it was not there for certain.
func (f *filter) note(path []byte) (fresh bool) {
	block, bits := f.place(path)
	for range filterBits {
		bit := uint64(1) << (bits >> 55 & 63)
		if old := atomic.OrUint64(&block[bits>>61], bit); old&bit == 0 {
			fresh = true
		}
		bits = bits<<9 | bits>>55
	}
	if fresh {
		f.room.Add(-1)
	}
	return fresh && f.ready.Load()
}

// lacks reports that a path was never noted.
func (f *filter) lacks(path []byte) bool {
	if !f.ready.Load() {
		return false
	}
	block, bits := f.place(path)
	for range filterBits {
		if atomic.LoadUint64(&block[bits>>61])&(1<<(bits>>55&63)) == 0 {
			return true
		}
		bits = bits<<9 | bits>>55
	}
	return false
}

// has reports whether nothing was ever at a path, as far as is known.
func (b *blanks) has(path string) bool { return b.filter != nil && b.filter.lacks([]byte(path)) }

// note is told of every path that gets rows, and reports whether it had none
// for certain.
func (b *blanks) note(path string) bool { return b.filter != nil && b.filter.note([]byte(path)) }

// miss is told that a look found nothing.
func (b *blanks) miss() { b.missed++ }

// refresh makes a filter where it would pay, and gives up one that is full.
// The committer calls it between groups, so that the rows of all paths that
// were noted nowhere are in the view.
func (sp *Space) refresh() {
	b := &sp.blanks
	if b.filter != nil && b.filter.room.Load() <= 0 {
		b.filter = nil
	}
	count := sp.ahead.blocks.count()
	size := max(filterPaths, 4*count, 4*b.paths)
	if b.filter != nil || b.missed <= max(filterMisses, count/filterWorth) || b.paths == mostFilterPaths || count > mostFilterPaths/2 {
		return
	}
	if _, ok := sp.store.engine.(gatherer); !ok || sp.store.tasksCtx.Err() != nil {
		return // it looks up as fast as a filter
	}
	f := newFilter(min(size, mostFilterPaths))
	*b = blanks{filter: f, paths: min(size, mostFilterPaths)}
	v := sp.store.share()
	sp.store.tasks.Go(func() {
		defer v.release()
		if sp.fill(f, v) == nil {
			f.ready.Store(true)
		}
	})
}

// fill notes the paths of all rows of a view.
func (sp *Space) fill(f *filter, v *sharedView) error {
	for _, table := range []byte{tablePath, tableVector} {
		lo := tableKey(table, sp.number, 0)
		err := each(v, lo, successor(lo), func(x row) error {
			path := x.key[5:]
			if table == tablePath {
				if len(path) < 18 {
					return damagedRow(x.key, "%d bytes", len(x.key))
				}
				path = path[:len(path)-18] // 00, kind, time and number follow it
			}
			f.note(path)
			if f.room.Load() <= 0 {
				return errEnough
			}
			return sp.store.tasksCtx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}
