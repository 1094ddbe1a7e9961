package reconcile

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
)

// ErrTimeInfinity refuses an item whose time is Infinity.
var ErrTimeInfinity = errors.New("reconcile: item at infinity")

// DuplicateError refuses a set in which an item comes twice.
type DuplicateError struct{ Item Item }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("reconcile: duplicate item %x at time %d", e.Item.ID, e.Item.Time)
}

// sumEvery is the distance between the prefix sums a Vector keeps: 2 bytes
// per item, and at most 15 additions to reach any position.
const sumEvery = 16

// Vector is a sealed Index: 42 bytes per item, and any fingerprint in
// constant time. It is safe for concurrent use.
type Vector struct {
	items []Item
	sums  []Sum // sums[k] is of items[:k*sumEvery]
}

// NewVector seals a set. The items may come in any order; the slice is
// copied. A *DuplicateError names an item that comes twice, ErrTimeInfinity
// one that cannot be.
func NewVector(items []Item) (*Vector, error) {
	v := &Vector{items: slices.Clip(slices.Clone(items))}
	if err := sortItems(v.items); err != nil {
		return nil, err
	}
	v.sums = make([]Sum, len(items)/sumEvery+1)
	var sum Sum
	for i := range v.items {
		if i%sumEvery == 0 {
			v.sums[i/sumEvery] = sum
		}
		sum.Add(&v.items[i].ID)
	}
	if len(items)%sumEvery == 0 {
		v.sums[len(items)/sumEvery] = sum
	}
	return v, nil
}

// sortItems sorts in place and refuses what no index may hold.
func sortItems(items []Item) error {
	if !slices.IsSortedFunc(items, Item.Compare) {
		slices.SortFunc(items, Item.Compare)
	}
	for i := 1; i < len(items); i++ {
		if items[i] == items[i-1] {
			return &DuplicateError{items[i]}
		}
	}
	if n := len(items); n > 0 && items[n-1].Time == Infinity {
		return ErrTimeInfinity
	}
	return nil
}

// Len is the number of items.
func (v *Vector) Len() int { return len(v.items) }

// At is the item at position i.
func (v *Vector) At(i int) (Item, error) { return v.items[i], nil }

// LowerBound is the first position not below b.
func (v *Vector) LowerBound(b Bound) (int, error) {
	return lowerBound(v.items, b.Item()), nil
}

// lowerBound is the first position in items not below x.
func lowerBound(items []Item, x Item) int {
	return sort.Search(len(items), func(i int) bool {
		y := &items[i]
		if y.Time != x.Time {
			return y.Time > x.Time
		}
		return compareIDs(&y.ID, &x.ID) >= 0
	})
}

// Fingerprint digests the items at [begin, end).
func (v *Vector) Fingerprint(begin, end int) (Fingerprint, error) {
	sum := v.sumTo(end)
	sum.SubSum(v.sumTo(begin))
	return sum.Fingerprint(end - begin), nil
}

func (v *Vector) sumTo(end int) Sum {
	sum := v.sums[end/sumEvery]
	for i := end - end%sumEvery; i < end; i++ {
		sum.Add(&v.items[i].ID)
	}
	return sum
}

// Items yields the items at [begin, end).
func (v *Vector) Items(begin, end int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, x := range v.items[begin:end] {
			if !yield(x, nil) {
				return
			}
		}
	}
}
