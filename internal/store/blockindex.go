package store

import (
	"iter"
	"sync"

	"anabranch/reconcile"
)

// blockIndex is the reconcile.Index of a snapshot: counts and sums from
// blocks, items from the rows, or from memory where they were read before.
// It may be used by several goroutines.
type blockIndex struct {
	rows   scanner
	space  uint32
	blocks *blocks
	n      int

	mu   sync.Mutex // guards last and have
	last spot       // the block read last
	have []reconcile.Item
}

func newBlockIndex(rows scanner, space uint32, b *blocks) *blockIndex {
	return &blockIndex{rows: rows, space: space, blocks: b, n: b.count()}
}

// keepItems is the size of a range up to which its blocks are kept in memory
// when they are read: a longer scan would only drive out the others.
const keepItems = 64 << 10

// read is a blockReader: the items of a block from its rows.
func readBlock(rows scanner, space uint32, p *spot) ([]reconcile.Item, error) {
	s := span{timeKey(tableTime, space, p.lo.Time, p.lo.ID), nil}
	if s.hi = successor(tableKey(tableTime, space, 0)); !p.open {
		s.hi = timeKey(tableTime, space, p.hi.Time, p.hi.ID)
	}
	items := make([]reconcile.Item, 0, max(0, p.count))
	err := rows.scan([]span{s}, func(_ int, key, value []byte) error {
		if len(key) != 45 || len(value) != 8 {
			return damagedRow(key, "layout")
		}
		if len(items) == cap(items) {
			return damagedRow(key, "one more row than the %d that are counted from %x on", p.count, s.lo[1:])
		}
		items = append(items, reconcile.Item{Time: beU64(key[5:]), ID: reconcile.ID(key[13:])})
		return nil
	})
	if err == nil && len(items) != p.count {
		err = damagedRow(s.lo, "%d rows from here on, %d are counted", len(items), p.count)
	}
	return items, err
}

// items are those of a block.
func (x *blockIndex) items(p *spot, keep bool) ([]reconcile.Item, error) {
	if items := x.blocks.warm.get(p.content); items != nil {
		return items, nil
	}
	items, err := readBlock(x.rows, x.space, p)
	if err == nil && keep {
		x.blocks.warm.put(p.content, items)
	}
	return items, err
}

// block is the block of an item at a position below Len.
func (x *blockIndex) block(i int) (spot, []reconcile.Item, error) {
	x.mu.Lock()
	p, items := x.last, x.have
	x.mu.Unlock()
	if i >= p.at && i < p.at+len(items) {
		return p, items, nil
	}
	p = x.blocks.position(i)
	items, err := x.items(&p, true)
	if err == nil {
		x.mu.Lock()
		x.last, x.have = p, items
		x.mu.Unlock()
	}
	return p, items, err
}

// Len is the number of members.
func (x *blockIndex) Len() int { return x.n }

// At is the item at position i.
func (x *blockIndex) At(i int) (reconcile.Item, error) {
	p, items, err := x.block(i)
	if err != nil {
		return reconcile.Item{}, err
	}
	return items[i-p.at], nil
}

// LowerBound is the first position not below b.
func (x *blockIndex) LowerBound(b reconcile.Bound) (int, error) {
	if x.n == 0 {
		return 0, nil
	}
	at := b.Item()
	x.mu.Lock()
	p, items := x.last, x.have
	x.mu.Unlock()
	if len(items) > 0 && items[0].Compare(at) <= 0 && items[len(items)-1].Compare(at) >= 0 {
		return p.at + lowerBound(items, at), nil
	}
	p = x.blocks.search(at)
	if p.count == 0 {
		return p.at, nil
	}
	items, err := x.items(&p, true)
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	x.last, x.have = p, items
	x.mu.Unlock()
	return p.at + lowerBound(items, at), nil
}

// Fingerprint digests the items at [begin, end).
func (x *blockIndex) Fingerprint(begin, end int) (reconcile.Fingerprint, error) {
	sum, err := x.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

// Sum adds up the IDs of the items at [begin, end).
func (x *blockIndex) Sum(begin, end int) (reconcile.Sum, error) {
	sum, err := x.SumTo(end)
	if err != nil {
		return sum, err
	}
	below, err := x.SumTo(begin)
	sum.SubSum(below)
	return sum, err
}

// SumTo adds up the IDs of the first i items.
func (x *blockIndex) SumTo(i int) (sum reconcile.Sum, err error) {
	if i == 0 {
		return sum, nil
	}
	p := x.blocks.position(i)
	switch n := i - p.at; {
	case n == 0:
		return p.before, nil
	case n == p.count:
		p.before.AddSum(p.sum)
		return p.before, nil
	}
	p, items, err := x.block(i)
	if err != nil {
		return sum, err
	}
	sum, n := p.before, i-p.at
	if n <= len(items)/2 {
		for j := range items[:n] {
			sum.Add(&items[j].ID)
		}
		return sum, nil
	}
	sum.AddSum(p.sum)
	for j := range items[n:] {
		sum.Sub(&items[n+j].ID)
	}
	return sum, nil
}

// Items yields the items at [begin, end) in order.
func (x *blockIndex) Items(begin, end int) iter.Seq2[reconcile.Item, error] {
	return func(yield func(reconcile.Item, error) bool) {
		keep := end-begin <= keepItems
		for i := begin; i < end; {
			p := x.blocks.position(i)
			items, err := x.items(&p, keep)
			if err != nil {
				yield(reconcile.Item{}, err)
				return
			}
			for _, item := range items[i-p.at : min(len(items), end-p.at)] {
				if !yield(item, nil) {
					return
				}
			}
			i = p.at + len(items)
		}
	}
}
