package reconcile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// differ compares two lists of IDs, 32 bytes each. Its memory is reused.
type differ struct {
	mine, theirs []keyed
}

// keyed is an ID in a list, by its first eight bytes and its offset.
type keyed struct {
	key uint64
	at  int
}

// compare appends to have what is only in mine and to need what is only in
// theirs. No ID comes twice in theirs. Both lists are as a rule in the order
// of (time, ID) and differ little: what is equal at both ends costs one
// comparison per ID, and only what lies between is sorted.
func (d *differ) compare(mine, theirs []byte, have, need []ID) ([]ID, []ID) {
	n := min(len(mine), len(theirs))
	same := 0
	for same < n && [idBytes]byte(mine[same:]) == [idBytes]byte(theirs[same:]) {
		same += idBytes
	}
	mine, theirs = mine[same:], theirs[same:]
	for {
		i, j := len(mine)-idBytes, len(theirs)-idBytes
		if i < 0 || j < 0 {
			return appendIDs(have, mine), appendIDs(need, theirs)
		}
		if [idBytes]byte(mine[i:]) != [idBytes]byte(theirs[j:]) {
			return d.unordered(mine, theirs, have, need)
		}
		mine, theirs = mine[:i], theirs[:j]
	}
}

func appendIDs(dst []ID, ids []byte) []ID {
	for i := 0; i < len(ids); i += idBytes {
		dst = append(dst, ID(ids[i:]))
	}
	return dst
}

// unordered sorts both lists and merges them.
func (d *differ) unordered(mine, theirs []byte, have, need []ID) ([]ID, []ID) {
	d.mine, d.theirs = sortKeys(d.mine[:0], mine), sortKeys(d.theirs[:0], theirs)
	i, j := 0, 0
	for i < len(d.mine) || j < len(d.theirs) {
		order := 0
		switch {
		case i == len(d.mine):
			order = +1
		case j == len(d.theirs):
			order = -1
		default:
			x, y := d.mine[i], d.theirs[j]
			if order = cmp.Compare(x.key, y.key); order == 0 {
				order = bytes.Compare(mine[x.at:x.at+idBytes], theirs[y.at:y.at+idBytes])
			}
		}
		if order < 0 {
			have = append(have, ID(mine[d.mine[i].at:]))
		}
		if order > 0 {
			need = append(need, ID(theirs[d.theirs[j].at:]))
		}
		if order <= 0 {
			i++
		}
		if order >= 0 {
			j++
		}
	}
	return have, need
}

func sortKeys(dst []keyed, ids []byte) []keyed {
	dst = slices.Grow(dst, len(ids)/idBytes)
	for at := 0; at < len(ids); at += idBytes {
		dst = append(dst, keyed{binary.BigEndian.Uint64(ids[at:]), at})
	}
	slices.SortFunc(dst, func(x, y keyed) int {
		if x.key != y.key {
			return cmp.Compare(x.key, y.key)
		}
		return bytes.Compare(ids[x.at:x.at+idBytes], ids[y.at:y.at+idBytes])
	})
	return dst
}
