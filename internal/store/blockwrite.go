package store

import (
	"slices"

	"anabranch/reconcile"
)

// apply adds ascending, distinct items that are not in b, with sign +1, or
// takes out such as are, with -1. It reads nothing: a block becomes too large
// or too small, until settle.
func (b *blocks) apply(items []reconcile.Item, sign int) {
	if len(items) == 0 {
		return
	}
	if b.root == nil {
		content := b.warm.number()
		b.root = &blockNode{edit: b.edit, kids: []blockKid{{content: content}}}
		b.warm.put(content, []reconcile.Item{})
	}
	b.root = b.root.apply(b, items, sign)
}

func (n *blockNode) apply(b *blocks, items []reconcile.Item, sign int) *blockNode {
	if n.edit != b.edit {
		n = &blockNode{edit: b.edit, kids: slices.Clone(n.kids)}
	}
	for len(items) > 0 {
		i, part := n.route(items[0]), items
		if i+1 < len(n.kids) {
			part = items[:lowerBound(items, n.kids[i+1].first)]
		}
		items = items[len(part):]
		k := &n.kids[i]
		k.count += int32(sign * len(part))
		for j := range part {
			if sign > 0 {
				k.sum.Add(&part[j].ID)
			} else {
				k.sum.Sub(&part[j].ID)
			}
		}
		if k.node != nil {
			k.node = k.node.apply(b, part, sign)
			k.untidy = k.node.untidy()
			continue
		}
		k.untidy = int(k.count) > b.size.most || int(k.count) < b.size.few()
		old := b.warm.take(k.content)
		k.content = b.warm.number()
		if old != nil {
			b.warm.put(k.content, merged(old, part, sign))
		}
	}
	return n
}

func (n *blockNode) untidy() bool {
	return slices.ContainsFunc(n.kids, func(k blockKid) bool { return k.untidy })
}

// merged is ascending items with others added or taken out, as a new slice.
func merged(old, part []reconcile.Item, sign int) []reconcile.Item {
	if len(old) == 0 && sign > 0 {
		return slices.Clone(part)
	}
	out := make([]reconcile.Item, 0, max(0, len(old)+sign*len(part)))
	for _, x := range part {
		at := lowerBound(old, x)
		out, old = append(out, old[:at]...), old[at:]
		if sign > 0 {
			out = append(out, x)
		} else if len(old) > 0 && old[0] == x {
			old = old[1:]
		}
	}
	return append(out, old...)
}

// blockReader reads the rows of items in [lo, hi), or from lo on.
type blockReader func(p *spot) ([]reconcile.Item, error)

// settle divides the blocks that are too large and joins those that are too
// small. read reads rows that are those of b.
func (b *blocks) settle(read blockReader) error {
	if b.root == nil || !b.root.untidy() {
		return nil
	}
	kids, err := b.root.settle(b, spot{open: true}, reconcile.Item{}, read)
	if err != nil {
		return err
	}
	for len(kids) > b.size.kids {
		kids = b.group(kids, reconcile.Item{}, true)
	}
	b.root = nil
	if len(kids) > 0 {
		b.root = &blockNode{edit: b.edit, kids: kids}
	}
	for b.root != nil && len(b.root.kids) == 1 && b.root.kids[0].node != nil {
		b.root = b.root.kids[0].node
	}
	return nil
}

// settle returns what the kids of n become, as many as there may be. The
// first of them begins where n begins.
func (n *blockNode) settle(b *blocks, p spot, first reconcile.Item, read blockReader) ([]blockKid, error) {
	out := make([]blockKid, 0, len(n.kids)+2)
	for i := range n.kids {
		k := n.kids[i]
		if i == 0 {
			k.first = first
		}
		if !k.untidy {
			out = b.join(out, k)
			continue
		}
		at := p
		at.down(n, i)
		switch {
		case k.count == 0:
			continue // its left neighbour has its place
		case k.node != nil:
			kids, err := k.node.settle(b, at, k.first, read)
			if err != nil {
				return nil, err
			}
			for _, g := range b.group(kids, k.first, at.open) {
				out = b.join(out, g)
			}
		case int(k.count) > b.size.most:
			items := b.warm.get(k.content)
			if items == nil {
				var err error
				if items, err = read(&at); err != nil {
					return nil, err
				}
			}
			out = append(out, b.divide(k.first, items, at.open)...)
		default:
			k.untidy = false
			out = b.join(out, k)
		}
	}
	if len(out) > 0 {
		out[0].first = first
	}
	return out, nil
}

// divide makes blocks of about two thirds of the most of items; of the last
// block of all, where most of what comes is added, full ones.
func (b *blocks) divide(first reconcile.Item, items []reconcile.Item, last bool) []blockKid {
	out := b.parts(items, last)
	for i, at := 0, 0; i < len(out); i++ {
		n := int(out[i].count)
		b.warm.put(out[i].content, slices.Clone(items[at:at+n]))
		at += n
	}
	out[0].first = first
	return out
}

// cut makes blocks of ascending items, as few as there may be.
func (b *blocks) cut(items []reconcile.Item) []blockKid { return b.parts(items, true) }

func (b *blocks) parts(items []reconcile.Item, last bool) []blockKid {
	size := max(1, b.size.most*3/4)
	parts := (len(items) + size - 1) / size
	if last {
		size = max(1, b.size.most*15/16)
		parts = (len(items) + size - 1) / size
	}
	out := make([]blockKid, 0, parts)
	for i := range parts {
		begin, end := len(items)*i/parts, len(items)*(i+1)/parts
		if last {
			begin, end = i*size, min((i+1)*size, len(items))
		}
		part := items[begin:end]
		k := blockKid{first: part[0], content: b.warm.number(), count: int32(len(part))}
		for j := range part {
			k.sum.Add(&part[j].ID)
		}
		out = append(out, k)
	}
	return out
}

// join appends a kid, or makes it and the one before it into one.
func (b *blocks) join(out []blockKid, k blockKid) []blockKid {
	if len(out) == 0 {
		return append(out, k)
	}
	before := &out[len(out)-1]
	if k.node != nil {
		if n, m := len(before.node.kids), len(k.node.kids); n+m > b.size.kids || min(n, m) > b.size.kids/4 {
			return append(out, k)
		}
		kids := append(slices.Clone(before.node.kids), k.node.kids...)
		kids[len(before.node.kids)].first = k.first
		before.node = &blockNode{edit: b.edit, kids: kids}
	} else {
		if n, m := int(before.count), int(k.count); n+m > b.size.joined() || min(n, m) >= b.size.few() {
			return append(out, k)
		}
		left, right := b.warm.take(before.content), b.warm.take(k.content)
		before.content = b.warm.number()
		if left != nil && right != nil {
			b.warm.put(before.content, append(slices.Clip(left), right...))
		}
	}
	before.count += k.count
	before.sum.AddSum(k.sum)
	return out
}

// group puts kids, any number of them, into nodes. The first begins at first;
// at the end of all, nodes are filled.
func (b *blocks) group(kids []blockKid, first reconcile.Item, last bool) []blockKid {
	size := b.size.kids
	if len(kids) > size && !last {
		size = (len(kids) + (len(kids)+size-1)/size - 1) / ((len(kids) + size - 1) / size)
	} else if len(kids) > size {
		size = max(2, size*15/16)
	}
	var out []blockKid
	for len(kids) > 0 {
		n := min(size, len(kids))
		node := &blockNode{edit: b.edit, kids: slices.Clone(kids[:n])}
		out = append(out, blockKid{first: kids[0].first, sum: node.sum(), count: int32(node.count()), node: node})
		kids = kids[n:]
	}
	if len(out) > 0 {
		out[0].first = first
	}
	return out
}
