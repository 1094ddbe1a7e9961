package reconcile

import "iter"

// Union is several indexes as one. It copies nothing but the positions of
// items that are in more than one part; these count once.
type Union struct {
	parts []Index // disjoint
	n     int
}

// NewUnion joins indexes, which must not change while the Union is used. It
// is quick for parts whose items follow one another, such as one index per
// month; parts that interleave are read once, to find the items that they
// share. Fingerprints cost the sum of what they cost in the parts.
func NewUnion(parts ...Index) (*Union, error) {
	u := &Union{}
	for _, p := range parts {
		if p.Len() == 0 {
			continue
		}
		p, err := u.without(p)
		if err != nil {
			return nil, err
		}
		if p.Len() > 0 {
			u.parts = append(u.parts, p)
			u.n += p.Len()
		}
	}
	return u, nil
}

// without returns what of p is in no part yet.
func (u *Union) without(p Index) (Index, error) {
	if u.n == 0 {
		return p, nil
	}
	var ends [4]Item // of p, then of the union
	for i, at := range []struct {
		ix Index
		i  int
	}{{p, 0}, {p, p.Len() - 1}, {u, 0}, {u, u.n - 1}} {
		var err error
		if ends[i], err = at.ix.At(at.i); err != nil {
			return nil, err
		}
	}
	if ends[1].Compare(ends[2]) < 0 || ends[3].Compare(ends[0]) < 0 {
		return p, nil
	}
	next, stop := iter.Pull2(u.Items(0, u.n))
	defer stop()
	mine, err, ok := next()
	var gone []int
	i := 0
	for x, wrong := range p.Items(0, p.Len()) {
		if wrong != nil {
			return nil, wrong
		}
		for ok && err == nil && mine.Compare(x) < 0 {
			mine, err, ok = next()
		}
		if err != nil {
			return nil, err
		}
		if ok && mine == x {
			gone = append(gone, i)
		}
		i++
	}
	if len(gone) == 0 {
		return p, nil
	}
	return newExcept(p, gone)
}

// Len is the number of items.
func (u *Union) Len() int { return u.n }

// place returns how many of the first i items each part has. It costs
// O(k² log n) reads of k parts.
func (u *Union) place(i int) ([]int, error) {
	at := make([]int, len(u.parts))
	// Of r items still to be passed, let every part offer its next r/k, or
	// what it has. The part whose offer ends lowest can pass it: fewer than
	// r items lie below that end.
	for r := i; r > 0; {
		step := max(1, r/len(u.parts))
		best, offer := -1, 0
		var lowest Item
		for k, p := range u.parts {
			n := min(step, p.Len()-at[k])
			if n == 0 {
				continue
			}
			x, err := p.At(at[k] + n - 1)
			if err != nil {
				return nil, err
			}
			if best < 0 || x.Compare(lowest) < 0 {
				best, offer, lowest = k, n, x
			}
		}
		at[best] += offer
		r -= offer
	}
	return at, nil
}

// At is the item at position i.
func (u *Union) At(i int) (least Item, err error) {
	at, err := u.place(i)
	if err != nil {
		return least, err
	}
	found := false
	for k, p := range u.parts {
		if at[k] == p.Len() {
			continue
		}
		x, err := p.At(at[k])
		if err != nil {
			return least, err
		}
		if !found || x.Compare(least) < 0 {
			least, found = x, true
		}
	}
	return least, nil
}

// LowerBound is the first position not below b.
func (u *Union) LowerBound(b Bound) (at int, err error) {
	for _, p := range u.parts {
		i, err := p.LowerBound(b)
		if err != nil {
			return 0, err
		}
		at += i
	}
	return at, nil
}

// Fingerprint digests the items at [begin, end).
func (u *Union) Fingerprint(begin, end int) (Fingerprint, error) {
	sum, err := u.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

// Sum adds up the IDs of the items at [begin, end).
func (u *Union) Sum(begin, end int) (sum Sum, err error) {
	from, err := u.place(begin)
	if err != nil {
		return sum, err
	}
	to, err := u.place(end)
	if err != nil {
		return sum, err
	}
	for k, p := range u.parts {
		s, err := sumOver(p, from[k], to[k])
		if err != nil {
			return sum, err
		}
		sum.AddSum(s)
	}
	return sum, nil
}

// Items yields the items at [begin, end).
func (u *Union) Items(begin, end int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		from, err := u.place(begin)
		var to []int
		if err == nil {
			to, err = u.place(end)
		}
		if err != nil {
			yield(Item{}, err)
			return
		}
		u.merge(from, to, yield)
	}
}

// merge yields the items between two places, in order.
func (u *Union) merge(from, to []int, yield func(Item, error) bool) {
	type head struct {
		item Item
		next func() (Item, error, bool)
	}
	var heads []head
	for k, p := range u.parts {
		if from[k] == to[k] {
			continue
		}
		next, stop := iter.Pull2(p.Items(from[k], to[k]))
		defer stop()
		x, err, ok := next()
		if err != nil {
			yield(x, err)
			return
		}
		if ok {
			heads = append(heads, head{x, next})
		}
	}
	for len(heads) > 0 {
		least := 0
		for k := range heads[1:] {
			if heads[k+1].item.Compare(heads[least].item) < 0 {
				least = k + 1
			}
		}
		h := &heads[least]
		if !yield(h.item, nil) {
			return
		}
		x, err, ok := h.next()
		if err != nil {
			yield(x, err)
			return
		}
		if h.item = x; !ok {
			heads[least] = heads[len(heads)-1]
			heads = heads[:len(heads)-1]
		}
	}
}

// NewDisjoint joins indexes that are known to share no item. It looks at none
// of them: a caller that is wrong finds items twice.
func NewDisjoint(parts ...Index) *Union {
	u := &Union{}
	for _, p := range parts {
		if p.Len() > 0 {
			u.parts = append(u.parts, p)
			u.n += p.Len()
		}
	}
	return u
}
