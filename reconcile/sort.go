package reconcile

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

const (
	fewItems  = 24 // as many are sorted by insertion
	sortDepth = 4  // times that buckets are cut up; then by comparison
)

// sortedCopy returns the items in order, in memory of their own, and refuses
// what no index may hold. Times that are spread out, and IDs under one time,
// cost about two passes over the items.
func sortedCopy(items []Item) ([]Item, error) {
	dst := make([]Item, len(items))
	if slices.IsSortedFunc(items, Item.Compare) {
		copy(dst, items)
	} else {
		distribute(dst, items, sortDepth)
	}
	for i := 1; i < len(dst); i++ {
		if dst[i].Time == dst[i-1].Time && dst[i].ID == dst[i-1].ID {
			return nil, &DuplicateError{dst[i]}
		}
	}
	if n := len(dst); n > 0 && dst[n-1].Time == Infinity {
		return nil, ErrTimeInfinity
	}
	return dst, nil
}

// distribute sorts src into dst, of the same length and elsewhere. It cuts
// the span of the items' times, or of their IDs' first bytes if there is one
// time only, into about as many buckets as there are items.
func distribute(dst, src []Item, depth int) {
	if len(src) <= fewItems || depth == 0 {
		copy(dst, src)
		sortFew(dst)
		return
	}
	least, most := src[0].Time, src[0].Time
	for i := range src {
		least, most = min(least, src[i].Time), max(most, src[i].Time)
	}
	byID := least == most
	if byID {
		least = 0
		most = 1<<64 - 1
	}
	shift := max(0, bits.Len64(most-least)-bits.Len(uint(len(src)-1)))
	ends := make([]uint32, (most-least)>>shift+1) // of buckets in dst
	if byID {
		for i := range src {
			ends[binary.BigEndian.Uint64(src[i].ID[:])>>shift]++
		}
	} else {
		for i := range src {
			ends[(src[i].Time-least)>>shift]++
		}
	}
	sum := uint32(0)
	for i, c := range ends {
		ends[i] = sum
		sum += c
	}
	if byID {
		for i := range src {
			e := &ends[binary.BigEndian.Uint64(src[i].ID[:])>>shift]
			dst[*e] = src[i]
			*e++
		}
	} else {
		for i := range src {
			e := &ends[(src[i].Time-least)>>shift]
			dst[*e] = src[i]
			*e++
		}
	}
	begin := uint32(0)
	for _, end := range ends {
		switch bucket := dst[begin:end]; {
		case len(bucket) > fewItems:
			distribute(bucket, slices.Clone(bucket), depth-1)
		case len(bucket) > 1:
			sortFew(bucket)
		}
		begin = end
	}
}

// sortFew sorts in place.
func sortFew(items []Item) {
	if len(items) > fewItems {
		slices.SortFunc(items, Item.Compare)
		return
	}
	for i := 1; i < len(items); i++ {
		x := &items[i]
		if p := &items[i-1]; p.Time < x.Time || p.Time == x.Time && compareIDs(&p.ID, &x.ID) <= 0 {
			continue
		}
		moved, j := *x, i
		for j > 0 && (items[j-1].Time > moved.Time || items[j-1].Time == moved.Time && compareIDs(&items[j-1].ID, &moved.ID) > 0) {
			items[j] = items[j-1]
			j--
		}
		items[j] = moved
	}
}
