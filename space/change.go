package space

import (
	"cmp"
	"slices"

	"anabranch/record"
)

// Change is what an Insert or Forget did to the set.
type Change struct {
	// Entered and Left are the control records and sweeps that became or
	// ceased to be members, control before sweeps, each by (time, ID). A
	// record inserted that is not in Entered is held or dead.
	Entered, Left []*record.Verified
	// Selectors cover every data record whose verdict may have changed: these
	// rows must be judged again, and no others. By author, lane, area.
	Selectors []Selector
}

// Selector names data records by author, lane, number and area.
type Selector struct {
	Author  record.Key
	Lane    uint64 // 0 means every lane
	Numbers []Span // ascending and disjoint; nil means all
	Area    string // path prefix
}

// Span is a range of numbers, both ends included.
type Span struct{ First, Last uint32 }

// Covers reports whether a data record is among those selected.
func (s *Selector) Covers(r *record.Record) bool {
	if r.Author != s.Author || s.Lane != 0 && r.Lane != s.Lane || !record.Covers(s.Area, r.Path) {
		return false
	}
	return s.Numbers == nil || slices.ContainsFunc(s.Numbers, func(n Span) bool {
		return n.First <= r.Seq && r.Seq <= n.Last
	})
}

// change gathers a Change while a State is rebuilt.
type change struct {
	Change
	before map[record.ID]touched // sweeps whose membership may have changed
}

type touched struct {
	*record.Verified
	member bool // before
}

func newChange() *change { return &change{before: make(map[record.ID]touched)} }

// touch remembers whether a sweep was a member before anything happened.
func (c *change) touch(r *record.Verified, member bool) {
	if _, again := c.before[r.ID]; !again {
		c.before[r.ID] = touched{r, member}
	}
}

// control notes which control records came to stand and which ceased to.
// Both lists are in (time, ID) order.
func (c *change) control(old, now []*record.Verified) {
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && compareRecords(old[0], now[0]) < 0:
			c.Left = append(c.Left, old[0])
			old = old[1:]
		case len(old) == 0 || compareRecords(now[0], old[0]) < 0:
			c.Entered = append(c.Entered, now[0])
			now = now[1:]
		default:
			old, now = old[1:], now[1:]
		}
	}
}

// finish settles the touched sweeps against the set as it is now, and orders
// everything.
func (c *change) finish(members tree[timeID, *record.Verified]) Change {
	var entered, left []*record.Verified
	for id, t := range c.before {
		switch now := members.has(timeID{t.Time, id}); {
		case now && !t.member:
			entered = append(entered, t.Verified)
		case !now && t.member:
			left = append(left, t.Verified)
		}
	}
	slices.SortFunc(entered, compareRecords)
	slices.SortFunc(left, compareRecords)
	c.Entered = append(c.Entered, entered...)
	c.Left = append(c.Left, left...)
	c.Selectors = outermostSelectors(c.Selectors)
	return c.Change
}

// outermostSelectors orders selectors and drops those of a sweep where all of
// the author's records in its area are selected anyway.
func outermostSelectors(in []Selector) []Selector {
	slices.SortStableFunc(in, func(a, b Selector) int {
		if c := a.Author.Compare(b.Author); c != 0 {
			return c
		}
		if c := cmp.Compare(a.Lane, b.Lane); c != 0 {
			return c
		}
		return cmp.Compare(a.Area, b.Area)
	})
	var out []Selector
	for _, s := range in {
		wider := func(o Selector) bool {
			return o.Lane == 0 && o.Author == s.Author && record.Covers(o.Area, s.Area)
		}
		if s.Lane == 0 || !slices.ContainsFunc(out, wider) {
			out = append(out, s)
		}
	}
	return out
}
