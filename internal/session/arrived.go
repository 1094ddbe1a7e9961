package session

import (
	"encoding/binary"

	"anabranch/reconcile"
	"anabranch/record"
)

// arrived is the members that came in a session, of which there may be
// millions: about 65 bytes for each, and nothing is copied as they grow.
type arrived struct {
	parts  [][]reconcile.Item // each but the last has arrivedPart
	n      int
	places map[uint64]uint32      // of the first with such eight bytes
	clash  map[record.ID]struct{} // the others: somebody ground them to be alike
}

const arrivedPart = 4096

func (a *arrived) len() int { return a.n }

func (a *arrived) at(i uint32) *reconcile.Item { return &a.parts[i/arrivedPart][i%arrivedPart] }

// has says whether a record came.
func (a *arrived) has(id record.ID) bool {
	i, ok := a.places[binary.LittleEndian.Uint64(id[:])]
	if !ok || a.at(i).ID == id {
		return ok
	}
	_, ok = a.clash[id]
	return ok
}

// add takes a record that has not come before.
func (a *arrived) add(r *record.Verified) {
	if a.n%arrivedPart == 0 {
		a.parts = append(a.parts, make([]reconcile.Item, 0, arrivedPart))
	}
	last := &a.parts[len(a.parts)-1]
	*last = append(*last, reconcile.Item{Time: r.Time, ID: r.ID})
	if a.places == nil {
		a.places = make(map[uint64]uint32)
	}
	key := binary.LittleEndian.Uint64(r.ID[:])
	if _, taken := a.places[key]; !taken {
		a.places[key] = uint32(a.n)
	} else {
		if a.clash == nil {
			a.clash = make(map[record.ID]struct{})
		}
		a.clash[r.ID] = struct{}{}
	}
	a.n++
}

// items are all that came, in the order in which they did.
func (a *arrived) items() []reconcile.Item {
	out := make([]reconcile.Item, 0, a.n)
	for _, p := range a.parts {
		out = append(out, p...)
	}
	return out
}

// ids are theirs.
func (a *arrived) ids() [][32]byte {
	out := make([][32]byte, 0, a.n)
	for _, p := range a.parts {
		for i := range p {
			out = append(out, p[i].ID)
		}
	}
	return out
}
