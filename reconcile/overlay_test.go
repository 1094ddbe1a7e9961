package reconcile

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestOverlayIsTheChangedSet compares an Overlay, and one over it, with a
// Vector of what the set then is.
func TestOverlayIsTheChangedSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pick := rapid.Custom(func(t *rapid.T) Item {
			return Item{Time: rapid.Uint64Range(0, 5).Draw(t, "time"), ID: ID{rapid.Byte().Draw(t, "id")}}
		})
		set := make(map[ID]Item)
		for _, x := range rapid.SliceOf(pick).Draw(t, "base") {
			set[x.ID] = x
		}
		var ix Index = vectorOf(t, set)
		for range rapid.IntRange(1, 3).Draw(t, "overlays") {
			var add, remove []Item
			for _, x := range rapid.SliceOf(pick).Draw(t, "remove") {
				if y, ok := set[x.ID]; ok && rapid.Bool().Draw(t, "present") {
					x = y
				}
				remove = append(remove, x)
				if set[x.ID] == x {
					delete(set, x.ID)
				}
			}
			for _, x := range rapid.SliceOf(pick).Draw(t, "add") {
				if y, ok := set[x.ID]; ok {
					x = y
				}
				add = append(add, x)
				set[x.ID] = x
			}
			var err error
			if ix, err = Overlay(ix, add, remove); err != nil {
				t.Fatal(err)
			}
		}
		want := vectorOf(t, set)
		n := want.Len()
		if ix.Len() != n {
			t.Fatalf("%d items, want %d", ix.Len(), n)
		}
		begin := rapid.IntRange(0, n).Draw(t, "begin")
		end := rapid.IntRange(begin, n).Draw(t, "end")
		a, err := ix.Fingerprint(begin, end)
		if b, _ := want.Fingerprint(begin, end); err != nil || a != b {
			t.Fatalf("fingerprint [%d, %d): %x, %v; want %x", begin, end, a, err, b)
		}
		var items []Item
		for x, err := range ix.Items(begin, end) {
			if err != nil {
				t.Fatal(err)
			}
			items = append(items, x)
		}
		if !slices.Equal(items, want.items[begin:end]) {
			t.Fatalf("items [%d, %d): %v, want %v", begin, end, items, want.items[begin:end])
		}
		for i, x := range items {
			if y, err := ix.At(begin + i); err != nil || y != x {
				t.Fatalf("item %d: %v, %v; want %v", begin+i, y, err, x)
			}
		}
		b := BoundAt(pick.Draw(t, "bound"))
		at, err := ix.LowerBound(b)
		if wanted, _ := want.LowerBound(b); err != nil || at != wanted {
			t.Fatalf("bound %v: %d, %v; want %d", b, at, err, wanted)
		}
	})
}

func vectorOf(t *rapid.T, set map[ID]Item) *Vector {
	var items []Item
	for _, x := range set {
		items = append(items, x)
	}
	v, err := NewVector(items)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
