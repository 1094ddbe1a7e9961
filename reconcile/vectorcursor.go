package reconcile

// vectorCursor remembers the sum up to where the last fingerprint ended.
type vectorCursor struct {
	v    *Vector
	hash *hasher
	pos  int        // where the last range ended that was not brief
	sum  Sum        // of items[:pos]
	sums [batch]Sum // of the ranges in hand

	near         int     // how many items the last range had that was not skipped
	time         uint64  // of the last bound that was looked for
	passed, span float64 // items up to there, and their time: of the last thousands
	touched      uint64  // so that what touch reads is not left out
}

func (c *vectorCursor) len() int { return len(c.v.items) }

func (c *vectorCursor) rewind() { c.time, c.passed, c.span = 0, 0, 0 }

// seek looks for the end of a range first where it may be expected. The ranges
// of a split have about as many items as the one before, as the sets are
// nearly equal; what is skipped has as many for its time as the last thousands.
func (c *vectorCursor) seek(from int, ranges []ahead) error {
	items, x := c.v.items, c.touched
	at, time := from, c.time
	for i := range ranges {
		b := &ranges[i].g.upper
		if at = c.guess(at, time, &ranges[i]); at == len(items) {
			break
		}
		time = b.Time
		x ^= items[at].Time
	}
	c.touched = x
	for i := range ranges {
		a := &ranges[i]
		a.begin, a.end = from, len(items)
		if b := &a.g.upper; b.Time != Infinity {
			a.end = near(items, from, c.guess(from, c.time, a), b)
			if a.g.mode != modeSkip {
				c.near = a.end - from
			}
			if c.time > 0 {
				c.passed += float64(a.end - from)
				c.span += float64(b.Time - c.time)
			}
			c.time = b.Time
			if c.passed > 8192 {
				c.passed, c.span = c.passed/2, c.span/2
			}
		}
		from = a.end
	}
	return nil
}

// guess is where a range may end that begins at a position and a time.
func (c *vectorCursor) guess(from int, time uint64, a *ahead) int {
	most := len(c.v.items) - from
	if a.g.mode != modeSkip {
		return from + min(c.near, most)
	}
	n := float64(a.g.upper.Time-time) * c.passed / max(c.span, 1)
	if n < float64(most) {
		most = int(n)
	}
	return from + most
}

// near is gallop, beginning at a guess that is not below from.
func near(items []Item, from, guess int, b *Bound) int {
	if guess == from || items[guess-1].below(b) {
		return gallopBy(items, guess, 1, b)
	}
	// The item at guess-1 is not below b.
	step := 1
	to := guess - 1
	for to-step >= from && !items[to-step].below(b) {
		to -= step
		step *= 2
	}
	return between(items, max(from, to-step+1), to, b)
}

// gallop is the first position in items, from or above, that is not below
// b: O(log of the distance).
func gallop(items []Item, from int, b *Bound) int { return gallopBy(items, from, 8, b) }

func gallopBy(items []Item, from, step int, b *Bound) int {
	for from+step <= len(items) && items[from+step-1].below(b) {
		from += step
		step *= 2
	}
	return between(items, from, min(from+step, len(items)), b)
}

// between is the first position from from to to that is not below b, where
// all before from are below it and the one at to is not.
func between(items []Item, from, to int, b *Bound) int {
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

// briefRange is the size up to which a range is summed up item by item: no more
// than what is read to get at its ends.
const briefRange = 4

func (c *vectorCursor) fingerprints(spans []span, out []Fingerprint) error {
	c.touch(spans)
	sums := c.sums[:len(spans)]
	pos, to := c.pos, c.sum
	for i, s := range spans {
		if s.end-s.begin <= briefRange {
			sums[i] = Sum{}
			sums[i].addItems(c.v.items[s.begin:s.end])
			continue
		}
		before := to
		if s.begin != pos {
			before = c.v.sumTo(s.begin)
		}
		pos, to = s.end, c.v.sumTo(s.end)
		sums[i] = to
		sums[i].SubSum(before)
	}
	c.pos, c.sum = pos, to
	c.hash.fingerprints(sums, spans, out)
	return nil
}

// touch reads what summing up will need, one end after the other, so that
// waiting for the memory of all takes as long as for that of one.
func (c *vectorCursor) touch(spans []span) {
	x := c.touched
	for _, s := range spans {
		if i := s.end; i > 0 && i < len(c.v.items) {
			k := nearestSum(i, len(c.v.sums))
			x ^= c.v.sums[k][0] ^ c.v.items[i-1].Time ^ c.v.items[i].Time
		}
	}
	c.touched = x
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
