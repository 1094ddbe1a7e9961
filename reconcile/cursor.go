package reconcile

import "fmt"

// cursor is an index as the engine reads it: mostly forwards. Positions
// given to seek never go back within a message, so that a cursor may start
// from where it is; all other methods take any position.
type cursor interface {
	len() int

	// rewind allows seek to begin again.
	rewind()

	// seek finds the positions that some ranges cover, a batch at most, of
	// which the first begins at from.
	seek(from int, ranges []ahead) error

	// fingerprints digests some spans, a batch at most. It is quickest when
	// each begins at the end of the one before.
	fingerprints(spans []span, out []Fingerprint) error

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

// indexCursor reads any index. It trusts it with nothing that could make
// the engine panic or run for ever.
type indexCursor struct {
	ix     Index
	hash   *hasher
	prefix PrefixSummer // nil if ix is none
	pos    int          // where the last fingerprint ended
	sum    Sum          // up to there
	sums   [batch]Sum
}

func (c *indexCursor) len() int { return c.ix.Len() }

func (c *indexCursor) rewind() {}

func (c *indexCursor) seek(from int, ranges []ahead) (err error) {
	for i := range ranges {
		a := &ranges[i]
		a.begin, a.end = from, c.ix.Len()
		if b := &a.g.upper; b.Time != Infinity {
			if a.end, err = c.ix.LowerBound(*b); err != nil {
				return err
			}
			if a.end < from || a.end > c.ix.Len() {
				return fmt.Errorf("reconcile: index answers bound at time %d with position %d, after %d of %d", b.Time, a.end, from, c.ix.Len())
			}
		}
		from = a.end
	}
	return nil
}

func (c *indexCursor) fingerprints(spans []span, out []Fingerprint) (err error) {
	if c.prefix == nil {
		for i, s := range spans {
			if out[i], err = c.ix.Fingerprint(s.begin, s.end); err != nil {
				return err
			}
		}
		return nil
	}
	sums := c.sums[:len(spans)]
	for i, s := range spans {
		before := c.sum
		if s.begin != c.pos {
			if before, err = c.prefix.SumTo(s.begin); err != nil {
				return err
			}
		}
		if c.sum, err = c.prefix.SumTo(s.end); err != nil {
			return err
		}
		c.pos = s.end
		sums[i] = c.sum
		sums[i].SubSum(before)
	}
	c.hash.fingerprints(sums, spans, out)
	return nil
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
