package reconcile

import (
	"errors"
	"fmt"
	"iter"
	"sort"
)

// ErrTimeInfinity refuses an item whose time is Infinity.
var ErrTimeInfinity = errors.New("reconcile: item at infinity")

// DuplicateError refuses a set in which an item comes twice.
type DuplicateError struct{ Item Item }

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("reconcile: duplicate item %x at time %d", e.Item.ID, e.Item.Time)
}

// sumEvery is the distance between the prefix sums a Vector keeps: 4 bytes
// per item, and at most 4 additions to reach any position.
const sumEvery = 8

// Vector is a sealed Index: 44 bytes per item, and any fingerprint in
// constant time. It is safe for concurrent use.
type Vector struct {
	items []Item
	sums  []Sum // sums[k] is of items[:k*sumEvery]
}

// NewVector seals a set. The items may come in any order; the slice is
// copied. A *DuplicateError names an item that comes twice, ErrTimeInfinity
// one that cannot be.
func NewVector(items []Item) (*Vector, error) {
	items, err := sortedCopy(items)
	if err != nil {
		return nil, err
	}
	return sealed(items), nil
}

// sealed adds the sums to items in order.
func sealed(items []Item) *Vector {
	v := &Vector{items: items, sums: make([]Sum, len(items)/sumEvery+1)}
	var sum Sum
	for i := range v.sums {
		v.sums[i] = sum
		sum.addItems(items[i*sumEvery : min(len(items), (i+1)*sumEvery)])
	}
	return v
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
	sum, err := v.Sum(begin, end)
	return sum.Fingerprint(end - begin), err
}

// Sum adds up the IDs of the items at [begin, end).
func (v *Vector) Sum(begin, end int) (Sum, error) {
	sum := v.sumTo(end)
	sum.SubSum(v.sumTo(begin))
	return sum, nil
}

// sumTo is the sum of items[:end], from the nearest sum that is kept.
func (v *Vector) sumTo(end int) Sum {
	k := nearestSum(end, len(v.sums))
	sum := v.sums[k]
	if at := k * sumEvery; at <= end {
		sum.addItems(v.items[at:end])
	} else {
		sum.subItems(v.items[end:at])
	}
	return sum
}

// nearestSum is which of n sums is nearest to position i.
func nearestSum(i, n int) int { return min((i+sumEvery/2)/sumEvery, n-1) }

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
