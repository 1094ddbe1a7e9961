package space

import (
	"slices"
	"strings"

	"anabranch/record"
)

// Judge says what a record is by what is known here. A control record or
// sweep that was not inserted is judged as if it were.
//
// Cost for data: O(the author's grants + log lanes + components of the path);
// for a sweep O(known sweeps of its lane, area and block).
func (s *State) Judge(r *record.Verified) Verdict {
	switch r.Kind {
	case record.Control:
		return s.judgeControl(r)
	case record.Sweep:
		return s.judgeSweep(r)
	}
	return s.judgeData(r)
}

func (s *State) judgeControl(r *record.Verified) Verdict {
	c := s.authority.byID[r.ID]
	if c == nil {
		body, err := record.ParseControl(r.Payload)
		if err != nil {
			return Held
		}
		c = &control{Verified: r, body: body}
	}
	if s.authority.stands(c) {
		return Member
	}
	return Held
}

func (s *State) judgeSweep(r *record.Verified) Verdict {
	sw := s.newSweep(r)
	switch {
	case !sw.counts():
		return Held
	case s.area(laneKey{r.Author, r.Lane}, r.Path).beaten(sw):
		return Dead
	}
	return Member
}

func (s *State) judgeData(r *record.Verified) Verdict {
	var admitting []*grant
	if !s.authority.isRoot(r.Author) {
		if admitting = s.authority.admits(r); len(admitting) == 0 {
			return Held
		}
	}
	as, ok := s.lanes.get(laneKey{r.Author, r.Lane})
	if !ok {
		return Member
	}
	kills := func(sw *sweep) bool { return sw.kills(admitting) }
	for path := r.Path; ; path = parent(path) {
		if a, ok := as.get(path); ok && a.has(r.Seq, kills) {
			return Dead
		}
		if path == "/" {
			return Member
		}
	}
}

// parent is the path without its last component; that of "/a" is "/".
func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// Listed reports whether a standing seal part lists an ID: then the record
// may not be destroyed, even if it is dead or redundant. Cost: O(standing
// seal parts), most of them passed over in two comparisons.
func (s *State) Listed(id record.ID) bool { return listed(s.authority.lists, id) }

// Has reports whether a control record or sweep is known here, whatever its
// verdict.
func (s *State) Has(id record.ID) bool {
	return s.authority.byID[id] != nil || s.sweeps.has(id)
}

// Control returns the control records in the set, by (time, ID). The caller
// owns the slice. Cost: O(control).
func (s *State) Control() []*record.Verified { return slices.Clone(s.authority.standing) }

// Sweeps returns the sweeps in the set, by (time, ID). Cost: O(sweeps).
func (s *State) Sweeps() []*record.Verified {
	out := make([]*record.Verified, 0, s.members.len())
	for _, r := range s.members.all() {
		out = append(out, r)
	}
	return out
}

// Swept reports whether some known sweep, whatever its verdict or area, has
// the dot: nothing may be written at it. Cost: O(areas swept in the lane).
func (s *State) Swept(author record.Key, lane uint64, seq uint32) bool {
	as, _ := s.lanes.get(laneKey{author, lane})
	for _, a := range as.all() {
		if a.has(seq, func(*sweep) bool { return true }) {
			return true
		}
	}
	return false
}

// SweptUnion returns the numbers of one block that known sweeps of a lane and
// area have, whatever their verdict: where a new sweep starts from. The bits
// are always the whole block's 512 bytes, zero where nothing is swept, and
// the caller's to change; a sweep's payload is their prefix up to the last
// byte that is not zero.
func (s *State) SweptUnion(author record.Key, lane uint64, area string, block uint32) record.Dots {
	bits := make([]byte, record.BlockNumbers/8)
	for _, list := range s.area(laneKey{author, lane}, area).near(block) {
		for _, sw := range list {
			if !sw.Dots().Whole() {
				for i, b := range sw.Payload {
					bits[i] |= b
				}
			} else if block <= sw.Seq {
				for i := range bits {
					bits[i] = 0xFF
				}
			}
		}
	}
	return record.Dots{Block: block, Bits: bits}
}
