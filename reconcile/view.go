package reconcile

import (
	"iter"
	"sort"
)

// Summer is what an Index may offer beside its methods: the sum from which
// a fingerprint is made. Sums of parts add up, fingerprints do not, so views
// over an index without it read all items of a range.
type Summer interface {
	// Sum adds up the IDs of the items at positions [begin, end).
	Sum(begin, end int) (Sum, error)
}

// PrefixSummer is what an Index may offer where a sum up to a position is
// half the work of one between two: ranges that follow each other then share
// their ends.
type PrefixSummer interface {
	// SumTo adds up the IDs of the first i items.
	SumTo(i int) (Sum, error)
}

// sumOver is the sum of [begin, end), by whatever way the index offers.
func sumOver(ix Index, begin, end int) (sum Sum, err error) {
	if s, ok := ix.(Summer); ok {
		return s.Sum(begin, end)
	}
	for x, err := range ix.Items(begin, end) {
		if err != nil {
			return sum, err
		}
		sum.Add(&x.ID)
	}
	return sum, nil
}

// Range is the part of an index between two bounds, as an index. It copies
// nothing and costs what the index costs.
type Range struct {
	ix         Index
	begin, end int
}

// NewRange returns the items of ix that are not below lower and below upper.
// The zero Bound and Bound{Time: Infinity} leave a side open. ix must not
// change while the Range is used; take a Clone of a Tree.
func NewRange(ix Index, lower, upper Bound) (*Range, error) {
	begin, err := ix.LowerBound(lower)
	if err != nil {
		return nil, err
	}
	end := ix.Len()
	if upper.Time != Infinity {
		if end, err = ix.LowerBound(upper); err != nil {
			return nil, err
		}
	}
	return &Range{ix, begin, max(begin, end)}, nil
}

// Len is the number of items.
func (r *Range) Len() int { return r.end - r.begin }

// At is the item at position i.
func (r *Range) At(i int) (Item, error) { return r.ix.At(r.begin + i) }

// LowerBound is the first position not below b.
func (r *Range) LowerBound(b Bound) (int, error) {
	at, err := r.ix.LowerBound(b)
	return min(max(at, r.begin), r.end) - r.begin, err
}

// Fingerprint digests the items at [begin, end).
func (r *Range) Fingerprint(begin, end int) (Fingerprint, error) {
	return r.ix.Fingerprint(r.begin+begin, r.begin+end)
}

// Sum adds up the IDs of the items at [begin, end).
func (r *Range) Sum(begin, end int) (Sum, error) {
	return sumOver(r.ix, r.begin+begin, r.begin+end)
}

// Items yields the items at [begin, end).
func (r *Range) Items(begin, end int) iter.Seq2[Item, error] {
	return r.ix.Items(r.begin+begin, r.begin+end)
}

// Filter returns the items of ix for which keep is true, as an index. It
// reads all items once; then it keeps what is there (a Vector) or what is
// missing (a view of ix), whichever is less: at most 50 bytes for every
// second item. ix must not change while the view is used.
func Filter(ix Index, keep func(Item) bool) (Index, error) {
	n := ix.Len()
	var kept []Item
	var gone []int
	for x, err := range ix.Items(0, n) {
		if err != nil {
			return nil, err
		}
		i := len(kept) + len(gone)
		if keep(x) {
			kept = append(kept, x)
		} else {
			gone = append(gone, i)
		}
	}
	if len(kept) <= n/2 {
		return sealed(append(make([]Item, 0, len(kept)), kept...)), nil
	}
	return newExcept(ix, gone)
}

// except is an index without the items at some positions.
type except struct {
	ix   Index
	gone []int // their positions in ix, ascending
	sums []Sum // sums[k] is of the first k of them
}

func newExcept(ix Index, gone []int) (*except, error) {
	e := &except{ix: ix, gone: gone, sums: make([]Sum, len(gone)+1)}
	for k, i := range gone {
		x, err := ix.At(i)
		if err != nil {
			return nil, err
		}
		e.sums[k+1] = e.sums[k]
		e.sums[k+1].Add(&x.ID)
	}
	return e, nil
}

// below counts the missing items at positions of ix below i.
func (e *except) below(i int) int { return sort.SearchInts(e.gone, i) }

// under is the position in ix of item i; for Len, that of the end.
func (e *except) under(i int) int {
	// The k-th missing item lies below item i iff gone[k]-k <= i.
	return i + sort.Search(len(e.gone), func(k int) bool { return e.gone[k]-k > i })
}

func (e *except) Len() int { return e.ix.Len() - len(e.gone) }

func (e *except) At(i int) (Item, error) { return e.ix.At(e.under(i)) }

func (e *except) LowerBound(b Bound) (int, error) {
	i, err := e.ix.LowerBound(b)
	return i - e.below(i), err
}

func (e *except) Fingerprint(begin, end int) (Fingerprint, error) {
	sum, err := e.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

func (e *except) Sum(begin, end int) (Sum, error) {
	i, j := e.under(begin), e.under(end)
	sum, err := sumOver(e.ix, i, j)
	sum.SubSum(e.sums[e.below(j)])
	sum.AddSum(e.sums[e.below(i)])
	return sum, err
}

func (e *except) Items(begin, end int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		if begin == end {
			return
		}
		i, left := e.under(begin), end-begin
		gone := e.gone[e.below(i):]
		for x, err := range e.ix.Items(i, e.under(end-1)+1) {
			if err == nil && len(gone) > 0 && gone[0] == i {
				gone = gone[1:]
				i++
				continue
			}
			if !yield(x, err) || err != nil {
				return
			}
			i++
			if left--; left == 0 {
				return
			}
		}
	}
}
