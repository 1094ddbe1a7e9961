package space

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"anabranch/record"
)

// control is a known control record with its payload read.
type control struct {
	*record.Verified
	body record.ControlBody
}

// grant is a standing grant and the seals that are effective on it.
type grant struct {
	GrantInfo
	parent *grant     // nil when a root key issued it
	parts  []*control // the standing parts of every effective seal on it, by (time, ID)
}

// open reports whether the grant still admits a record, as far as seals go.
// Cost: O(parts of its seals), most of them passed over in two comparisons.
func (g *grant) open(id record.ID) bool {
	return !g.Sealed || listed(g.parts, id)
}

// sealKey is what the parts of one seal agree in, beside the target.
type sealKey struct {
	author record.Key
	under  record.ID
	id     [16]byte
	parts  uint16
}

// authority is what all known control records amount to: which of them
// stand, the standing grants, and what seals leave open. It is immutable, and
// built anew whenever control changes: O(control), never O(data).
type authority struct {
	roots    []record.Key
	known    []*control              // every known control record, by (time, ID)
	byID     map[record.ID]*control  // the same
	standing []*record.Verified      // by (time, ID)
	members  []*grant                // standing grants by (time, ID)
	grants   map[record.ID]*grant    // the same
	writers  map[record.Key][]*grant // those that let an author write, by ID
	lists    []*control              // standing seal parts that list anything
}

// newAuthority judges control records, which are distinct and in (time, ID)
// order.
func newAuthority(roots []record.Key, known []*control) *authority {
	a := &authority{
		roots:   roots,
		known:   known,
		byID:    make(map[record.ID]*control, len(known)),
		grants:  make(map[record.ID]*grant),
		writers: make(map[record.Key][]*grant),
	}
	children := make(map[record.ID][]*control)
	seals := make(map[record.ID][]*control)
	for _, c := range known {
		a.byID[c.ID] = c
		switch {
		case c.body.Grant != nil:
			children[c.body.Under] = append(children[c.body.Under], c)
		case c.body.Seal != nil:
			seals[c.body.Seal.Target] = append(seals[c.body.Seal.Target], c)
		}
	}
	// Down the tree: when a grant is reached, every proper ancestor is
	// settled, seals included, and those are all that its own seals need.
	queue := children[record.ID{}]
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		if !a.stands(c) {
			continue
		}
		g := &grant{GrantInfo: grantInfo(c), parent: a.grants[c.body.Under]}
		g.parts, g.Sealed = a.effective(g, seals[c.ID])
		a.grants[c.ID] = g
		queue = append(queue, children[c.ID]...)
	}
	for _, c := range known {
		if !a.stands(c) {
			continue
		}
		a.standing = append(a.standing, c.Verified)
		if g := a.grants[c.ID]; g != nil {
			a.members = append(a.members, g)
			if g.Role >= record.Writer {
				a.writers[g.Author] = append(a.writers[g.Author], g)
			}
		}
		if c.body.Seal != nil && len(c.body.Seal.List) > 0 {
			a.lists = append(a.lists, c)
		}
	}
	for _, gs := range a.writers {
		slices.SortFunc(gs, func(x, y *grant) int { return x.ID.Compare(y.ID) })
	}
	return a
}

// stands is rule 1: a root key's word, or the word of a standing admin grant
// whose area covers the path and whose seals leave the record open. It does
// not depend on the record itself being known.
func (a *authority) stands(c *control) bool {
	if c.body.Under == (record.ID{}) {
		return a.isRoot(c.Author)
	}
	u := a.grants[c.body.Under]
	return u != nil && u.Author == c.Author && u.Role == record.Admin &&
		record.Covers(u.Area, c.Path) && u.open(c.ID)
}

// effective is rule 2: of the seal parts that target g, those that belong to
// a complete standing seal from a proper ancestor of g or from a root key.
func (a *authority) effective(g *grant, targeting []*control) (parts []*control, sealed bool) {
	var keys []sealKey // in order of appearance, so that nothing hangs on map order
	groups := make(map[sealKey][]*control)
	for _, c := range targeting {
		k := sealKey{c.Author, c.body.Under, c.body.Seal.SealID, c.body.Seal.Parts}
		if !g.descendsFrom(k.under) || !a.stands(c) {
			continue
		}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	for _, k := range keys {
		there := make(map[uint16]bool)
		for _, c := range groups[k] {
			there[c.body.Seal.Part] = true
		}
		if len(there) == int(k.parts) {
			parts = append(parts, groups[k]...)
			sealed = true
		}
	}
	slices.SortFunc(parts, func(x, y *control) int { return compareRecords(x.Verified, y.Verified) })
	return parts, sealed
}

// descendsFrom reports whether an issuer's grant is a proper ancestor; the
// zero ID, a root key's, is everyone's.
func (g *grant) descendsFrom(under record.ID) bool {
	if under == (record.ID{}) {
		return true
	}
	for p := g.parent; p != nil; p = p.parent {
		if p.ID == under {
			return true
		}
	}
	return false
}

func (a *authority) isRoot(k record.Key) bool { return slices.Contains(a.roots, k) }

// admits returns the grants that authorise a data record, by ID (rule 3).
func (a *authority) admits(r *record.Verified) []*grant {
	var out []*grant
	for _, g := range a.writers[r.Author] {
		if record.Covers(g.Area, r.Path) && g.open(r.ID) {
			out = append(out, g)
		}
	}
	return out
}

// opens returns the grants under which a sweep counts, by ID (rule 4). Areas
// are not compared.
func (a *authority) opens(author record.Key, id record.ID) []*grant {
	var out []*grant
	for _, g := range a.writers[author] {
		if g.open(id) {
			out = append(out, g)
		}
	}
	return out
}

// changedAreas names the areas in which data of a key may be judged
// differently under b than under a: those of the grants that are in one only
// or whose seals differ. A root key's data hang on no grant.
func (a *authority) changedAreas(b *authority, author record.Key) []string {
	var areas []string
	old, now := a.writers[author], b.writers[author]
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].ID.Compare(now[0].ID) < 0:
			areas = append(areas, old[0].Area)
			old = old[1:]
		case len(old) == 0 || now[0].ID.Compare(old[0].ID) < 0:
			areas = append(areas, now[0].Area)
			now = now[1:]
		default:
			if !sameSeals(old[0], now[0]) {
				areas = append(areas, now[0].Area)
			}
			old, now = old[1:], now[1:]
		}
	}
	return outermost(areas)
}

func sameSeals(a, b *grant) bool {
	return a.Sealed == b.Sealed && slices.EqualFunc(a.parts, b.parts, func(x, y *control) bool { return x.ID == y.ID })
}

// changedAuthors are the keys that have a changed area, ascending.
func (a *authority) changedAuthors(b *authority) []record.Key {
	var keys []record.Key
	for k := range a.writers {
		keys = append(keys, k)
	}
	for k := range b.writers {
		if _, known := a.writers[k]; !known {
			keys = append(keys, k)
		}
	}
	keys = slices.DeleteFunc(keys, func(k record.Key) bool {
		return a.isRoot(k) || len(a.changedAreas(b, k)) == 0
	})
	slices.SortFunc(keys, record.Key.Compare)
	return keys
}

// outermost sorts areas and drops those that lie within another.
func outermost(areas []string) []string {
	slices.Sort(areas)
	var out []string
	for _, area := range areas {
		if !slices.ContainsFunc(out, func(o string) bool { return record.Covers(o, area) }) {
			out = append(out, area)
		}
	}
	return out
}

// listed reports whether any of the seal parts lists an ID.
func listed(parts []*control, id record.ID) bool {
	prefix := id.Prefix()
	for _, c := range parts {
		if lists(c.body.Seal.List, prefix) {
			return true
		}
	}
	return false
}

func lists(list []record.Prefix, prefix record.Prefix) bool {
	n := len(list)
	// A long list is usually cut into parts by order, so the ends decide.
	if n == 0 || comparePrefixes(prefix, list[0]) < 0 || comparePrefixes(prefix, list[n-1]) > 0 {
		return false
	}
	i := sort.Search(n, func(i int) bool { return comparePrefixes(list[i], prefix) >= 0 })
	return i < n && list[i] == prefix
}

func comparePrefixes(a, b record.Prefix) int { return bytes.Compare(a[:], b[:]) }

// compareRecords orders by (time, ID).
func compareRecords(a, b *record.Verified) int {
	if c := cmp.Compare(a.Time, b.Time); c != 0 {
		return c
	}
	return a.ID.Compare(b.ID)
}
