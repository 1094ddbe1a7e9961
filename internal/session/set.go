package session

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
)

// digest is the first 16 bytes of SHA-256 over the IDs of a set, ascending.
func digest(rs []*record.Verified) [16]byte {
	ids := make([]record.ID, len(rs))
	for i, r := range rs {
		ids[i] = r.ID
	}
	slices.SortFunc(ids, func(a, b record.ID) int { return bytes.Compare(a[:], b[:]) })
	h := sha256.New()
	for i := range ids {
		h.Write(ids[i][:])
	}
	return [16]byte(h.Sum(nil))
}

// set is what one exchange is about: the members of one side, by position
// and by ID.
type set interface {
	index() reconcile.Index
	// get returns a member of the set. The error wraps ErrGone when there
	// is none by this ID, or its bytes are no longer there.
	get(id record.ID) (*record.Verified, error)
	// many is get for the first of ids, at least one and as many as are
	// cheap together; nil stands for ErrGone.
	many(ids []record.ID) ([]*record.Verified, error)
}

// small is a set in memory: control records or sweeps.
type small struct {
	vector *reconcile.Vector
	byID   map[record.ID]*record.Verified
}

func newSmall(rs []*record.Verified) (*small, error) {
	items := make([]reconcile.Item, len(rs))
	byID := make(map[record.ID]*record.Verified, len(rs))
	for i, r := range rs {
		items[i] = reconcile.Item{Time: r.Time, ID: r.ID}
		byID[r.ID] = r
	}
	v, err := reconcile.NewVector(items)
	if err != nil {
		return nil, err
	}
	return &small{vector: v, byID: byID}, nil
}

func (s *small) index() reconcile.Index { return s.vector }

func (s *small) get(id record.ID) (*record.Verified, error) {
	if r, ok := s.byID[id]; ok {
		return r, nil
	}
	return nil, ErrGone
}

func (s *small) many(ids []record.ID) ([]*record.Verified, error) {
	return []*record.Verified{s.byID[ids[0]]}, nil
}

// whole is the set of all members of a view.
type whole struct{ view View }

func (w whole) index() reconcile.Index { return w.view.Index() }

// get does not give what the view may hold beside its members: held records
// are nobody's business.
func (w whole) get(id record.ID) (*record.Verified, error) {
	r, err := w.view.Get(id)
	if err != nil {
		return nil, err
	}
	member, err := contains(w.view.Index(), r)
	if err != nil {
		return nil, err
	}
	if !member {
		return nil, ErrGone
	}
	return r, nil
}

func (w whole) many(ids []record.ID) ([]*record.Verified, error) {
	if m, ok := w.view.(Many); ok {
		return m.Members(ids[:min(len(ids), bulkChunk)])
	}
	r, err := w.get(ids[0])
	if err != nil && !errors.Is(err, ErrGone) {
		return nil, err
	}
	return []*record.Verified{r}, nil
}

// contains reports whether a record is in an index, in O(log n).
func contains(ix reconcile.Index, r *record.Verified) (bool, error) {
	item := reconcile.Item{Time: r.Time, ID: r.ID}
	i, err := ix.LowerBound(reconcile.BoundAt(item))
	if err != nil || i == ix.Len() {
		return false, err
	}
	found, err := ix.At(i)
	return found == item, err
}

// overlaid is the state of a view with records laid over it and others taken
// out: what this side must hold after the exchange.
func overlaid(space record.SpaceID, before state, v View, add [][32]byte, remove []record.ID) (state, error) {
	count, trie, err := merkle.OverlayHash(v.Trie(), ascending(add), ascending(plain(remove)))
	if err != nil {
		return state{}, err
	}
	before.root = merkle.Root(space, nil, count, trie)
	before.count = count
	return before, nil
}

func plain(ids []record.ID) [][32]byte {
	out := make([][32]byte, len(ids))
	for i, id := range ids {
		out[i] = id
	}
	return out
}

// ascending sorts IDs in place: millions of them are not to be copied again.
func ascending(ids [][32]byte) [][32]byte {
	slices.SortFunc(ids, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// charged says whose fault an error of package reconcile is: only messages
// can be the peer's, one of them or all together. A name that comes twice in
// a keyed list may be chance, and another session has another key.
func (s *Session) charged(err error) bool {
	var m *reconcile.MessageError
	var l *reconcile.LimitError
	if s.key != nil && errors.Is(err, reconcile.ErrRepeatedID) {
		return false
	}
	return errors.As(err, &m) || errors.As(err, &l)
}
