package reconcile

import (
	"iter"
	"slices"
	"sort"
)

// Overlay is ix without remove and with add: what a set will be when a
// transfer has been committed. Removing an absent item or adding a present one
// changes nothing; an item in both is added. It copies nothing of ix, which
// must not change while the Overlay is used, and reads O(k) of its places for
// k items.
func Overlay(ix Index, add, remove []Item) (Index, error) {
	add, remove = ascending(add), ascending(remove)
	var gone []int
	for _, x := range remove {
		if _, both := slices.BinarySearchFunc(add, x, Item.Compare); both {
			continue
		}
		i, found, err := find(ix, x)
		if err != nil {
			return nil, err
		}
		if found {
			gone = append(gone, i)
		}
	}
	if len(gone) > 0 {
		e, err := newExcept(ix, gone)
		if err != nil {
			return nil, err
		}
		ix = e
	}
	p := &plus{ix: ix, sums: []Sum{{}}}
	for _, x := range add {
		i, found, err := find(ix, x)
		if err != nil {
			return nil, err
		}
		if found {
			continue
		}
		p.at, p.items = append(p.at, i+len(p.at)), append(p.items, x)
		sum := p.sums[len(p.sums)-1]
		sum.Add(&x.ID)
		p.sums = append(p.sums, sum)
	}
	if len(p.items) == 0 {
		return ix, nil
	}
	return p, nil
}

func ascending(items []Item) []Item {
	items = slices.Clone(items)
	slices.SortFunc(items, Item.Compare)
	return slices.Compact(items)
}

// find is the place of x in ix, and whether it is there.
func find(ix Index, x Item) (int, bool, error) {
	i, err := ix.LowerBound(BoundAt(x))
	if err != nil || i == ix.Len() {
		return i, false, err
	}
	y, err := ix.At(i)
	return i, x == y, err
}

// plus is an index with items between those of another.
type plus struct {
	ix    Index
	items []Item // not in ix, ascending
	at    []int  // their positions in the whole
	sums  []Sum  // sums[k] is of the first k of them
}

// below counts the items of p.items at positions below i.
func (p *plus) below(i int) int { return sort.SearchInts(p.at, i) }

func (p *plus) Len() int { return p.ix.Len() + len(p.items) }

func (p *plus) At(i int) (Item, error) {
	k := p.below(i)
	if k < len(p.at) && p.at[k] == i {
		return p.items[k], nil
	}
	return p.ix.At(i - k)
}

func (p *plus) LowerBound(b Bound) (int, error) {
	i, err := p.ix.LowerBound(b)
	k := sort.Search(len(p.items), func(k int) bool { return !p.items[k].below(&b) })
	return i + k, err
}

func (p *plus) Fingerprint(begin, end int) (Fingerprint, error) {
	sum, err := p.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

func (p *plus) Sum(begin, end int) (Sum, error) {
	i, j := p.below(begin), p.below(end)
	sum, err := sumOver(p.ix, begin-i, end-j)
	sum.AddSum(p.sums[j])
	sum.SubSum(p.sums[i])
	return sum, err
}

func (p *plus) Items(begin, end int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		k, i := p.below(begin), begin
		own := func() bool { // those of p that come next
			for ; k < len(p.at) && p.at[k] == i && i < end; k++ {
				if !yield(p.items[k], nil) {
					return false
				}
				i++
			}
			return true
		}
		if !own() || i == end {
			return
		}
		for x, err := range p.ix.Items(i-k, end-p.below(end)) {
			if !yield(x, err) || err != nil {
				return
			}
			i++
			if !own() {
				return
			}
		}
	}
}
