package reconcile

import "fmt"

// cursor is an index as the engine reads it: mostly forwards. Positions
// given to seek never go back within a message, so that a cursor may start
// from where it is; all other methods take any position.
type cursor interface {
	len() int

	// rewind allows seek to begin again.
	rewind()

	// seek is Index.LowerBound, where from is known not to be above it.
	seek(from int, b *Bound) (int, error)

	// expect says at which positions, none of them an end of the index,
	// fingerprints and bounds will be asked for next. A cursor may use it
	// to wait for memory once and not at each of them.
	expect(edges []int)

	// fingerprint digests [begin, end). It is quickest when begin is the
	// end of the call before.
	fingerprint(begin, end int) (Fingerprint, error)

	// between is the shortest bound between the items at i-1 and i.
	between(i int) (Bound, error)

	// at is the item at position i.
	at(i int) (Item, error)

	// ids appends the IDs of [begin, end) to dst, 32 bytes each.
	ids(dst []byte, begin, end int) ([]byte, error)
}

// cursors holds one cursor of each kind, so that an engine which is used
// again for the same kind of index allocates none.
type cursors struct {
	hash   *hasher
	vector vectorCursor
	tree   treeCursor
	index  indexCursor
}

// over returns a cursor at the beginning of ix. With freeze, what is written
// to a Tree later is not seen.
func (c *cursors) over(ix Index, freeze bool) cursor {
	switch ix := ix.(type) {
	case *Vector:
		c.vector = vectorCursor{v: ix, hash: c.hash}
		return &c.vector
	case *Tree:
		if freeze {
			ix.edit.Store(nil)
		}
		c.tree.hash = c.hash
		c.tree.reset(ix)
		return &c.tree
	}
	c.index = indexCursor{ix: ix, hash: c.hash}
	c.index.prefix, _ = ix.(PrefixSummer)
	return &c.index
}

// vectorCursor remembers the sum up to where the last fingerprint ended.
type vectorCursor struct {
	v    *Vector
	hash *hasher
	pos  int
	sum  Sum // of items[:pos]

	touched uint64 // so that what expect reads is not left out
}

func (c *vectorCursor) len() int { return len(c.v.items) }

func (c *vectorCursor) rewind() {}

func (c *vectorCursor) seek(from int, b *Bound) (int, error) {
	at := gallop(c.v.items, from, b)
	if next := 2*at - from; next > 0 && next < len(c.v.items) { // ranges are about equal
		c.expect([]int{next})
	}
	return at, nil
}

// gallop is the first position in items, from or above, that is not below
// b: O(log of the distance).
func gallop(items []Item, from int, b *Bound) int {
	step := 8
	for from+step <= len(items) && items[from+step-1].below(b) {
		from += step
		step *= 2
	}
	to := min(from+step, len(items))
	for from < to {
		mid := int(uint(from+to) / 2)
		if items[mid].below(b) {
			from = mid + 1
		} else {
			to = mid
		}
	}
	return from
}

func (c *vectorCursor) expect(edges []int) {
	x := c.touched
	for _, i := range edges {
		x ^= c.v.sums[nearestSum(i, len(c.v.sums))][0] ^ c.v.items[i-1].Time ^ c.v.items[i].Time
	}
	c.touched = x
}

// briefRange is the size up to which a range is summed up item by item: no more
// than what is read to get at its ends.
const briefRange = 4

func (c *vectorCursor) fingerprint(begin, end int) (Fingerprint, error) {
	var sum Sum
	if end-begin <= briefRange {
		sum.addItems(c.v.items[begin:end])
		return c.hash.fingerprint(&sum, end-begin), nil
	}
	before := c.sum
	if begin != c.pos {
		before = c.v.sumTo(begin)
	}
	c.pos, c.sum = end, c.v.sumTo(end)
	sum = c.sum
	sum.SubSum(before)
	return c.hash.fingerprint(&sum, end-begin), nil
}

func (c *vectorCursor) between(i int) (Bound, error) {
	return boundBetween(&c.v.items[i-1], &c.v.items[i]), nil
}

func (c *vectorCursor) at(i int) (Item, error) { return c.v.items[i], nil }

func (c *vectorCursor) ids(dst []byte, begin, end int) ([]byte, error) {
	for i := begin; i < end; i++ {
		dst = append(dst, c.v.items[i].ID[:]...)
	}
	return dst, nil
}

// indexCursor reads any index. It trusts it with nothing that could make
// the engine panic or run for ever.
type indexCursor struct {
	ix     Index
	hash   *hasher
	prefix PrefixSummer // nil if ix is none
	pos    int          // where the last fingerprint ended
	sum    Sum          // up to there
}

func (c *indexCursor) len() int { return c.ix.Len() }

func (c *indexCursor) rewind() {}

func (c *indexCursor) seek(from int, b *Bound) (int, error) {
	at, err := c.ix.LowerBound(*b)
	if err != nil {
		return 0, err
	}
	if at < from || at > c.ix.Len() {
		return 0, fmt.Errorf("reconcile: index answers bound at time %d with position %d, after %d of %d", b.Time, at, from, c.ix.Len())
	}
	return at, nil
}

func (c *indexCursor) expect([]int) {}

func (c *indexCursor) fingerprint(begin, end int) (Fingerprint, error) {
	if c.prefix == nil {
		return c.ix.Fingerprint(begin, end)
	}
	before, err := c.sum, error(nil)
	if begin != c.pos {
		if before, err = c.prefix.SumTo(begin); err != nil {
			return Fingerprint{}, err
		}
	}
	sum, err := c.prefix.SumTo(end)
	if err != nil {
		return Fingerprint{}, err
	}
	c.pos, c.sum = end, sum
	sum.SubSum(before)
	return c.hash.fingerprint(&sum, end-begin), nil
}

func (c *indexCursor) between(i int) (b Bound, err error) {
	p, err := c.ix.At(i - 1)
	if err != nil {
		return b, err
	}
	q, err := c.ix.At(i)
	if err != nil {
		return b, err
	}
	if p.Compare(q) >= 0 {
		return b, fmt.Errorf("reconcile: index is not sorted at position %d", i)
	}
	return boundBetween(&p, &q), nil
}

func (c *indexCursor) at(i int) (Item, error) { return c.ix.At(i) }

func (c *indexCursor) ids(dst []byte, begin, end int) ([]byte, error) {
	n := end - begin
	for x, err := range c.ix.Items(begin, end) {
		if err != nil {
			return dst, err
		}
		if n--; n < 0 {
			break
		}
		dst = append(dst, x.ID[:]...)
	}
	if n != 0 {
		return dst, fmt.Errorf("reconcile: index does not have %d items in [%d, %d)", end-begin, begin, end)
	}
	return dst, nil
}
