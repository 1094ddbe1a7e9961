package store

import (
	"errors"
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
	tail uint64 // content of the block of which the end was read last
}

func newBlockIndex(rows scanner, space uint32, b *blocks) *blockIndex {
	return &blockIndex{rows: rows, space: space, blocks: b, n: b.count()}
}

// keepItems is the size of a range up to which its blocks are kept in memory
// when they are read: a longer scan would only drive out the others.
const keepItems = 64 << 10

// beyond is how many more items than were asked for are read along: the next
// question is often about the neighbour.
const beyond = 4

// readBlock reads the items of a block from its rows, all of them, or those
// before enough says that there are enough, and some more: about so many.
// All of them must have the sum that is known; the row after them is not
// looked for, as of an old snapshot any number of younger ones may come first.
func readBlock(rows scanner, space uint32, p *spot, about int, enough func(n int, x *reconcile.Item) bool) ([]reconcile.Item, error) {
	s := span{lo: timeKey(tableTime, space, p.lo.Time, p.lo.ID)}
	if s.hi = successor(tableKey(tableTime, space, 0)); !p.open {
		s.hi = timeKey(tableTime, space, p.hi.Time, p.hi.ID)
	}
	items, more := make([]reconcile.Item, 0, max(0, min(about, p.count))), -1
	err := rows.scan([]span{s}, func(_ int, key, value []byte) error {
		if len(key) != 45 || len(value) != 8 {
			return damagedRow(key, "layout")
		}
		items = append(items, reconcile.Item{Time: beU64(key[5:]), ID: reconcile.ID(key[13:])})
		switch {
		case len(items) == p.count:
			return errEnough
		case enough == nil:
		case more < 0 && enough(len(items), &items[len(items)-1]):
			more = beyond
		case more > 0:
			more--
		}
		if more == 0 {
			return errEnough
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return nil, err
	case len(items) < p.count && err == nil:
		return nil, damagedRow(s.lo, "%d rows from here on, %d are counted", len(items), p.count)
	case len(items) == p.count && sumOf(items) != p.sum:
		return nil, damagedRow(s.lo, "the %d rows from here on are others than those that are counted", len(items))
	}
	return items, nil
}

func sumOf(items []reconcile.Item) (sum reconcile.Sum) {
	for i := range items {
		sum.Add(&items[i].ID)
	}
	return sum
}

// items are all those of a block, from memory or from the rows.
func (x *blockIndex) items(p *spot, keep bool) ([]reconcile.Item, error) {
	return x.some(p, keep, p.count, nil)
}

// some is items, at least up to where enough says so.
func (x *blockIndex) some(p *spot, keep bool, about int, enough func(n int, x *reconcile.Item) bool) ([]reconcile.Item, error) {
	if items := x.blocks.warm.read(p.content); items != nil {
		return items, nil
	}
	items, err := readBlock(x.rows, x.space, p, about, enough)
	if err == nil && keep {
		x.blocks.warm.keep(p.content, items)
	}
	return items, err
}

// answer are the items of a block that hold the answer to one question, about
// so many as enough says. In a space that fits into memory all of the block is
// read, and kept. Otherwise it is all read when somebody asks again: there
// will be more questions.
//
// What the caller remembers of the block is all that is needed when it is the
// whole: the rows of an old snapshot lie among those that came since, so that
// reading them again may cost any number of rows.
func (x *blockIndex) answer(p *spot, about int, enough func(n int, x *reconcile.Item) bool) (items []reconcile.Item, err error) {
	last, have := x.remembered()
	again := len(have) > 0 && last.content == p.content || x.endRead(p)
	switch {
	case last.content == p.content && len(have) == p.count:
		return have, nil
	case x.n <= x.blocks.warm.most:
		items, err = x.items(p, true)
	case again:
		items, err = x.items(p, false)
	default:
		items, err = x.some(p, false, about, enough)
	}
	if err == nil {
		x.remember(*p, items)
	}
	return items, err
}

// backwards says that a question about position i is best answered from the
// end of its block: it is nearer, nobody has asked about the block a moment
// ago, and the space does not fit into memory. Of the last block of all the
// end may lie behind any number of rows that came since.
func (x *blockIndex) backwards(p *spot, i int) bool {
	if p.open || x.n <= x.blocks.warm.most || 2*(i-p.at) <= p.count || x.endRead(p) {
		return false
	}
	last, have := x.remembered()
	return (len(have) == 0 || last.content != p.content) && x.blocks.warm.read(p.content) == nil
}

func (x *blockIndex) endRead(p *spot) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.tail == p.content
}

// lastOf reads the last n items of a block that has an end, ascending.
func (x *blockIndex) lastOf(p *spot, n int) ([]reconcile.Item, error) {
	s := span{lo: timeKey(tableTime, x.space, p.lo.Time, p.lo.ID), hi: timeKey(tableTime, x.space, p.hi.Time, p.hi.ID), down: true}
	items := make([]reconcile.Item, n)
	left := n
	err := x.rows.scan([]span{s}, func(_ int, key, value []byte) error {
		if len(key) != 45 || len(value) != 8 {
			return damagedRow(key, "layout")
		}
		left--
		items[left] = reconcile.Item{Time: beU64(key[5:]), ID: reconcile.ID(key[13:])}
		if left == 0 {
			return errEnough
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, errEnough):
		return nil, err
	case left > 0:
		return nil, damagedRow(s.lo, "%d rows from here on, %d are counted", n-left, p.count)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tail = p.content
	return items, nil
}

// remember keeps the block that was read last, or the beginning of it.
func (x *blockIndex) remember(p spot, items []reconcile.Item) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last, x.have = p, items
}

func (x *blockIndex) remembered() (spot, []reconcile.Item) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last, x.have
}

// upTo is the block of the item at a position below Len, and its items up to
// that one at least.
func (x *blockIndex) upTo(i int) (spot, []reconcile.Item, error) {
	p, items := x.remembered()
	if i >= p.at && i < p.at+len(items) {
		return p, items, nil
	}
	p = x.blocks.position(i)
	items, err := x.answer(&p, i-p.at+1+beyond, func(n int, _ *reconcile.Item) bool { return n > i-p.at })
	return p, items, err
}

// Len is the number of members.
func (x *blockIndex) Len() int { return x.n }

// At is the item at position i.
func (x *blockIndex) At(i int) (reconcile.Item, error) {
	if p := x.blocks.position(i); x.backwards(&p, i) {
		items, err := x.lastOf(&p, p.at+p.count-i)
		if err != nil {
			return reconcile.Item{}, err
		}
		return items[0], nil
	}
	p, items, err := x.upTo(i)
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
	p, items := x.remembered()
	if len(items) > 0 && items[0].Compare(at) <= 0 && items[len(items)-1].Compare(at) >= 0 {
		return p.at + lowerBound(items, at), nil
	}
	p = x.blocks.search(at)
	if p.count == 0 || at.Compare(p.lo) <= 0 {
		return p.at, nil
	}
	items, err := x.answer(&p, p.count, func(_ int, x *reconcile.Item) bool { return x.Compare(at) >= 0 })
	if err != nil {
		return 0, err
	}
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
	case x.backwards(&p, i):
		items, err := x.lastOf(&p, p.count-n)
		if err != nil {
			return sum, err
		}
		sum = p.before
		sum.AddSum(p.sum)
		for j := range items {
			sum.Sub(&items[j].ID)
		}
		return sum, nil
	}
	p, items, err := x.upTo(i)
	if err != nil {
		return sum, err
	}
	sum, n := p.before, i-p.at
	if n <= len(items)/2 || len(items) < p.count {
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
