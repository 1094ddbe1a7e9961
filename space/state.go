package space

import (
	"cmp"
	"fmt"
	"slices"

	"anabranch/record"
)

// Verdict is what a State says about a record.
type Verdict uint8

const (
	// Held: well formed, but not authorised by the control records known
	// here. In no root and never offered; judged again when control changes.
	Held Verdict = 1 + iota
	// Member: in the set.
	Member
	// Dead: a data record that its author removed, or a sweep whose work
	// another one does. It may be destroyed unless Listed.
	Dead
)

// String is the verdict's name.
func (v Verdict) String() string {
	switch v {
	case Held:
		return "held"
	case Member:
		return "member"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// State judges records by the control records and sweeps that one replica
// knows. The order in which it came to know them never matters.
//
// It has no locks: nothing may read it while Insert or Forget runs. Any
// number of goroutines may read a State that nobody mutates, and a Clone may
// be read while its original goes on.
type State struct {
	authority *authority // immutable, replaced as a whole
	lanes     tree[laneKey, areas]
	sweeps    tree[record.ID, *record.Verified] // every known sweep
	members   tree[timeID, *record.Verified]    // the sweeps in the set
}

// timeID is a record's place in the order of time.
type timeID struct {
	time uint64
	id   record.ID
}

func compareTimeIDs(a, b timeID) int {
	if c := cmp.Compare(a.time, b.time); c != 0 {
		return c
	}
	return a.id.Compare(b.id)
}

// NewState returns the state of a replica that knows nothing but the root
// keys of the genesis.
func NewState(roots []record.Key) *State {
	return &State{
		authority: newAuthority(slices.Clone(roots), nil),
		lanes:     tree[laneKey, areas]{compare: compareLanes},
		sweeps:    tree[record.ID, *record.Verified]{compare: record.ID.Compare},
		members:   tree[timeID, *record.Verified]{compare: compareTimeIDs},
	}
}

// Clone returns an independent copy. Cost: O(1), everything is shared until
// one of the two changes.
func (s *State) Clone() *State {
	c := *s
	return &c
}

// Insert makes control records and sweeps known, in any order and number.
// Known ones and data records are ignored; held ones are kept and judged
// again whenever control changes.
//
// Cost: if there is any control record among them, O(all known control) once
// plus O(known sweeps of the authors whose grants changed), so hand over many
// at a time; for each sweep O(log n + known sweeps of its lane, area and
// block), or of the lane and area when it removes whole blocks. Never O(data).
func (s *State) Insert(rs ...*record.Verified) Change {
	ch := newChange()
	var controls []*control
	seen := make(map[record.ID]bool)
	for _, r := range rs {
		if r.Kind != record.Control || seen[r.ID] || s.Has(r.ID) {
			continue
		}
		// Verified means well formed; a payload that does not parse says nothing.
		if body, err := record.ParseControl(r.Payload); err == nil {
			seen[r.ID] = true
			controls = append(controls, &control{Verified: r, body: body})
		}
	}
	if len(controls) > 0 {
		slices.SortFunc(controls, compareControls)
		s.setControl(mergeControls(s.authority.known, controls), ch)
	}
	for _, r := range rs {
		if r.Kind == record.Sweep && !s.Has(r.ID) {
			s.insertSweep(r, ch)
		}
	}
	return ch.finish(s.members)
}

// Forget drops control records and sweeps that the store has destroyed: held
// ones, or dead sweeps. Unknown ones are ignored. Forgetting a held control
// record or a redundant sweep changes no verdict; the Change is right for
// members too. Cost: as Insert.
func (s *State) Forget(ids ...record.ID) Change {
	ch := newChange()
	gone := make(map[record.ID]bool)
	for _, id := range ids {
		if s.authority.byID[id] != nil {
			gone[id] = true
		}
	}
	if len(gone) > 0 {
		s.setControl(slices.DeleteFunc(slices.Clone(s.authority.known), func(c *control) bool { return gone[c.ID] }), ch)
	}
	for _, id := range ids {
		if r, ok := s.sweeps.get(id); ok {
			s.forgetSweep(r, ch)
		}
	}
	return ch.finish(s.members)
}

// setControl replaces all known control records.
func (s *State) setControl(known []*control, ch *change) {
	old := s.authority
	s.authority = newAuthority(old.roots, known)
	ch.control(old.standing, s.authority.standing)
	for _, author := range old.changedAuthors(s.authority) {
		for _, area := range old.changedAreas(s.authority, author) {
			ch.Selectors = append(ch.Selectors, Selector{Author: author, Area: area})
		}
		for key, as := range s.lanes.from(laneKey{author: author}) {
			if key.author != author {
				break
			}
			for path, a := range as.all() {
				s.setArea(key, path, s.reopen(a), ch)
			}
		}
	}
}

// reopen judges an area's sweeps under the present authority.
func (s *State) reopen(a *area) *area {
	opened := a.mapped(func(sw *sweep) *sweep { return s.newSweep(sw.Verified) })
	return opened.mapped(func(sw *sweep) *sweep {
		if sw.counts() && opened.beaten(sw) {
			return sw.superseded()
		}
		return sw
	})
}

// newSweep says where a sweep counts; whether it is redundant is not settled.
func (s *State) newSweep(r *record.Verified) *sweep {
	sw := &sweep{Verified: r, root: s.authority.isRoot(r.Author)}
	if !sw.root {
		for _, g := range s.authority.opens(r.Author, r.ID) {
			sw.open = append(sw.open, g.ID)
		}
	}
	return sw
}

func (s *State) insertSweep(r *record.Verified, ch *change) {
	key := laneKey{r.Author, r.Lane}
	a := s.area(key, r.Path)
	sw := s.newSweep(r)
	sw.redundant = sw.counts() && a.beaten(sw)
	if sw.member() {
		if spans := a.uncovered(sw); spans != nil {
			ch.Selectors = append(ch.Selectors, Selector{Author: r.Author, Lane: r.Lane, Numbers: spans, Area: r.Path})
		}
	}
	next := a.with(sw)
	if sw.member() {
		for _, rival := range a.rivals(sw) {
			if rival.member() && sw.beats(rival) {
				next = next.with(rival.superseded())
				s.settle(rival.Verified, true, false, ch)
			}
		}
	}
	s.sweeps = s.sweeps.set(r.ID, r)
	s.lanes = s.lanes.set(key, s.areasOf(key).set(r.Path, next))
	s.settle(r, false, sw.member(), ch)
}

func (s *State) forgetSweep(r *record.Verified, ch *change) {
	key := laneKey{r.Author, r.Lane}
	a := s.area(key, r.Path)
	var gone *sweep
	a.each(func(sw *sweep) {
		if sw.ID == r.ID {
			gone = sw
		}
	})
	rest := a.without(gone)
	s.sweeps = s.sweeps.delete(r.ID)
	s.settle(r, gone.member(), false, ch)
	if !gone.member() { // nothing hung on it: what it beats, its own better beats too
		s.storeArea(key, r.Path, rest)
		return
	}
	if spans := rest.uncovered(gone); spans != nil {
		ch.Selectors = append(ch.Selectors, Selector{Author: r.Author, Lane: r.Lane, Numbers: spans, Area: r.Path})
	}
	s.setArea(key, r.Path, s.reopen(rest), ch)
}

// setArea stores an area and brings the members in line with it.
func (s *State) setArea(key laneKey, path string, a *area, ch *change) {
	s.storeArea(key, path, a)
	a.each(func(sw *sweep) {
		s.settle(sw.Verified, s.members.has(timeID{sw.Time, sw.ID}), sw.member(), ch)
	})
}

// settle takes a sweep into the set or out of it.
func (s *State) settle(r *record.Verified, was, is bool, ch *change) {
	ch.touch(r, was)
	switch {
	case is && !was:
		s.members = s.members.set(timeID{r.Time, r.ID}, r)
	case was && !is:
		s.members = s.members.delete(timeID{r.Time, r.ID})
	}
}

func (s *State) storeArea(key laneKey, path string, a *area) {
	as := s.areasOf(key)
	switch {
	case a.blocks.len() > 0 || len(a.whole) > 0:
		s.lanes = s.lanes.set(key, as.set(path, a))
	case as.len() == 1 && as.has(path):
		s.lanes = s.lanes.delete(key)
	default:
		s.lanes = s.lanes.set(key, as.delete(path))
	}
}

func (s *State) areasOf(key laneKey) areas {
	if as, ok := s.lanes.get(key); ok {
		return as
	}
	return noAreas()
}

func (s *State) area(key laneKey, path string) *area {
	if a, ok := s.areasOf(key).get(path); ok {
		return a
	}
	return noArea()
}

func compareControls(a, b *control) int { return compareRecords(a.Verified, b.Verified) }

// mergeControls joins two ordered, disjoint lists.
func mergeControls(a, b []*control) []*control {
	out := make([]*control, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareControls(a[0], b[0]) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
