package space

import (
	"cmp"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// Every version of a tree stays what it was, ordered and shallow.
func TestTreeIsAMapThatRemembers(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type version struct {
		tree tree[int, int]
		want map[int]int
	}
	now := version{tree[int, int]{compare: cmp.Compare[int]}, map[int]int{}}
	versions := []version{now}
	for range 4000 {
		next := version{now.tree, maps.Clone(now.want)}
		if k := rng.IntN(600); rng.IntN(3) == 0 {
			next.tree = next.tree.delete(k)
			delete(next.want, k)
		} else {
			v := rng.Int()
			next.tree = next.tree.set(k, v)
			next.want[k] = v
		}
		now = next
		if rng.IntN(100) == 0 {
			versions = append(versions, now)
		}
	}
	for _, v := range append(versions, now) {
		keys := slices.Sorted(maps.Keys(v.want))
		var got []int
		for k, value := range v.tree.all() {
			if got = append(got, k); value != v.want[k] {
				t.Fatalf("key %d: %d instead of %d", k, value, v.want[k])
			}
		}
		first := rng.IntN(600)
		var after []int
		for k := range v.tree.from(first) {
			after = append(after, k)
		}
		i, _ := slices.BinarySearch(keys, first)
		if !slices.Equal(got, keys) || v.tree.len() != len(keys) || !slices.Equal(after, slices.Clone(keys[i:])) {
			t.Fatalf("keys %v instead of %v", got, keys)
		}
		if d := depth(v.tree.root); d > 3*bits.Len(uint(len(keys))) {
			t.Errorf("%d keys lie %d deep", len(keys), d)
		}
	}
	ascending := tree[int, int]{compare: cmp.Compare[int]}
	for k := range 1 << 12 {
		ascending = ascending.set(k, k)
	}
	if d := depth(ascending.root); d > 26 {
		t.Errorf("4096 ascending keys lie %d deep", d)
	}
}

func depth[K, V any](n *node[K, V]) int {
	if n == nil {
		return 0
	}
	return 1 + max(depth(n.left), depth(n.right))
}
