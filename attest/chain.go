package attest

import (
	"fmt"
	"slices"

	"anabranch/record"
	"anabranch/space"
)

// maxChain bounds the grants in a file: two authors, each some way down the
// tree of grants.
const maxChain = 128

// Chain returns the grants from a root key down to each of the authors, in
// the order of their IDs: for an author with several grants the oldest
// unsealed one, or the oldest. Root keys need none. An author without any
// standing grant is an error.
func Chain(s *space.State, authors ...record.Key) ([]*record.Verified, error) {
	grants := make(map[record.ID]space.GrantInfo)
	for _, g := range s.Members() {
		grants[g.ID] = g
	}
	var out []*record.Verified
	for _, author := range authors {
		if s.IsRoot(author) {
			continue
		}
		of := s.GrantsOf(author)
		if len(of) == 0 {
			return nil, fmt.Errorf("attest: no standing grant names author %v", author)
		}
		best := of[0]
		if i := slices.IndexFunc(of, func(g space.GrantInfo) bool { return !g.Sealed }); i >= 0 {
			best = of[i]
		}
		for g, ok := best, true; ok; g, ok = grants[g.Under] {
			out = append(out, g.Record)
		}
	}
	slices.SortFunc(out, func(x, y *record.Verified) int { return x.ID.Compare(y.ID) })
	return slices.CompactFunc(out, func(x, y *record.Verified) bool { return x.ID == y.ID }), nil
}

// openChain verifies the grants of a file. It returns a state that knows
// them and nothing else.
func openChain(name record.SpaceID, roots []record.Key, blocks [][]byte) (*space.State, error) {
	if len(blocks) > maxChain {
		return nil, fmt.Errorf("%w file: %d grants", ErrEncoding, len(blocks))
	}
	grants, errs := record.VerifyBatch(name, blocks)
	state := space.NewState(roots)
	for i, g := range grants {
		if errs[i] != nil {
			return nil, fmt.Errorf("%w: grant %d: %w", ErrFalse, i, errs[i])
		}
		if i > 0 && grants[i-1].ID.Compare(g.ID) >= 0 {
			return nil, fmt.Errorf("%w file: grants not ascending", ErrEncoding)
		}
	}
	state.Insert(grants...)
	if n := len(state.Members()); n != len(grants) {
		return nil, fmt.Errorf("%w: of %d grants %d lead to a root key", ErrFalse, len(grants), n)
	}
	return state, nil
}

// authorised checks that a key is a root key or was granted, and returns the
// device that the grant names; a root key is nobody's device.
func authorised(s *space.State, author record.Key) (device record.Key, err error) {
	if s.IsRoot(author) {
		return record.Key{}, nil
	}
	of := s.GrantsOf(author)
	if len(of) == 0 {
		return record.Key{}, fmt.Errorf("%w: no grant leads to author %v", ErrFalse, author)
	}
	return of[0].Device, nil
}
