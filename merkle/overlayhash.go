package merkle

// OverlayHash is Hash of Overlay, without keeping nodes: for a large add it
// takes a fraction of the time and memory.
func OverlayHash(base Source, add, remove []ID) (count uint64, d Digest, err error) {
	add = ascending(add)
	n, d, _, err := fold(base, ID{}, 0, add, difference(ascending(remove), add))
	return uint64(n), d, err
}

// fold is the subtree at a depth. add and remove are ascending, disjoint, and
// have its prefix. Of at most LeafIDs it returns the IDs too.
func fold(base Source, prefix ID, depth int, add, remove []ID) (count int, d Digest, ids []ID, err error) {
	count, d, err = base.Subtree(prefix, depth)
	if err != nil {
		return 0, Digest{}, nil, err
	}
	if count <= 2*LeafIDs {
		if count > 0 && (count <= LeafIDs || len(add)+len(remove) > 0) {
			if ids, err = base.IDs(prefix, depth); err != nil {
				return 0, Digest{}, nil, err
			}
		}
		switch {
		case len(add)+len(remove) == 0:
			return count, d, ids, nil
		case len(ids) == 0:
			ids = add
		default:
			ids = union(difference(ids, remove), add)
		}
		return len(ids), Subtree(ids, depth), ids[:min(len(ids), LeafIDs+1)], nil
	}
	if len(add)+len(remove) == 0 {
		return count, d, nil, nil
	}
	atAdd, atRemove := cut(add, depth), cut(remove, depth)
	left, right := below(prefix, depth)
	l, dl, idsL, err := fold(base, left, depth+1, add[:atAdd], remove[:atRemove])
	if err != nil {
		return 0, Digest{}, nil, err
	}
	r, dr, idsR, err := fold(base, right, depth+1, add[atAdd:], remove[atRemove:])
	if err != nil {
		return 0, Digest{}, nil, err
	}
	if l+r > LeafIDs {
		return l + r, innerHash(&dl, &dr), nil, nil
	}
	ids = append(append(make([]ID, 0, l+r), idsL...), idsR...)
	return l + r, leafHash(ids), ids, nil
}
