package space

import "iter"

// tree is an ordered map of which every version stays valid: set and delete
// return a new tree that shares all but O(log n) nodes with the old one. So
// a State is cloned by copying a few words, and clones may be read while the
// original goes on. It is weight-balanced (Adams 1993, with the parameters
// 3 and 2 proven by Hirai and Yamamoto 2011), so its shape does not depend on
// luck that an author of records could spoil.
type tree[K, V any] struct {
	compare func(a, b K) int
	root    *node[K, V]
}

type node[K, V any] struct {
	key         K
	value       V
	size        int
	left, right *node[K, V]
}

func (t tree[K, V]) len() int { return t.root.len() }

func (t tree[K, V]) get(key K) (V, bool) {
	for n := t.root; n != nil; {
		switch c := t.compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	var none V
	return none, false
}

func (t tree[K, V]) has(key K) bool {
	_, ok := t.get(key)
	return ok
}

func (t tree[K, V]) set(key K, value V) tree[K, V] {
	t.root = t.root.set(t.compare, key, value)
	return t
}

func (t tree[K, V]) delete(key K) tree[K, V] {
	if t.has(key) {
		t.root = t.root.delete(t.compare, key)
	}
	return t
}

// all yields every pair in order.
func (t tree[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.root.all(yield) }
}

// from yields the pairs whose key is not below first, in order.
func (t tree[K, V]) from(first K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.root.from(t.compare, first, yield) }
}

// mapped returns a tree of the same keys with other values. Cost: O(n).
func (t tree[K, V]) mapped(f func(V) V) tree[K, V] {
	t.root = t.root.mapped(f)
	return t
}

func (n *node[K, V]) mapped(f func(V) V) *node[K, V] {
	if n == nil {
		return nil
	}
	return &node[K, V]{key: n.key, value: f(n.value), size: n.size, left: n.left.mapped(f), right: n.right.mapped(f)}
}

func (n *node[K, V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (n *node[K, V]) all(yield func(K, V) bool) bool {
	return n == nil || n.left.all(yield) && yield(n.key, n.value) && n.right.all(yield)
}

func (n *node[K, V]) from(compare func(a, b K) int, first K, yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	if compare(n.key, first) < 0 {
		return n.right.from(compare, first, yield)
	}
	return n.left.from(compare, first, yield) && yield(n.key, n.value) && n.right.all(yield)
}

func (n *node[K, V]) set(compare func(a, b K) int, key K, value V) *node[K, V] {
	if n == nil {
		return join(key, value, nil, nil)
	}
	switch c := compare(key, n.key); {
	case c < 0:
		return balance(n.key, n.value, n.left.set(compare, key, value), n.right)
	case c > 0:
		return balance(n.key, n.value, n.left, n.right.set(compare, key, value))
	}
	return join(key, value, n.left, n.right)
}

// delete removes a key that is present.
func (n *node[K, V]) delete(compare func(a, b K) int, key K) *node[K, V] {
	switch c := compare(key, n.key); {
	case c < 0:
		return balance(n.key, n.value, n.left.delete(compare, key), n.right)
	case c > 0:
		return balance(n.key, n.value, n.left, n.right.delete(compare, key))
	}
	switch {
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	}
	next := n.right
	for next.left != nil {
		next = next.left
	}
	return balance(next.key, next.value, n.left, n.right.delete(compare, next.key))
}

func join[K, V any](key K, value V, left, right *node[K, V]) *node[K, V] {
	return &node[K, V]{key: key, value: value, size: left.len() + right.len() + 1, left: left, right: right}
}

// balance joins two subtrees of which one may have grown or shrunk by one.
func balance[K, V any](key K, value V, left, right *node[K, V]) *node[K, V] {
	l, r := left.len(), right.len()
	switch {
	case l+r <= 1:
	case r > 3*l:
		if a := right.left; a.len() >= 2*right.right.len() {
			return join(a.key, a.value, join(key, value, left, a.left), join(right.key, right.value, a.right, right.right))
		}
		return join(right.key, right.value, join(key, value, left, right.left), right.right)
	case l > 3*r:
		if a := left.right; a.len() >= 2*left.left.len() {
			return join(a.key, a.value, join(left.key, left.value, left.left, a.left), join(key, value, a.right, right))
		}
		return join(left.key, left.value, left.left, join(key, value, left.right, right))
	}
	return join(key, value, left, right)
}
