package session

import (
	"errors"

	"anabranch/merkle"
	"anabranch/reconcile"
	"anabranch/record"
	"anabranch/space"
)

// ErrGone is wrapped by View.Get when the view does not hold the record's
// bytes: it died since the view was taken, or was never there.
var ErrGone = errors.New("session: record is gone")

// Many is what a View may offer for sending quickly: the members with some
// IDs, nil where there is none or its bytes are gone. Held records are none.
type Many interface {
	Members(ids []record.ID) ([]*record.Verified, error)
	// MembersAt are those at positions [begin, end) of Index.
	MembersAt(begin, end int) ([]*record.Verified, error)
}

// View is one immutable state of a space. A session reads the views that it
// was given until it outputs Done or Fail; whoever made them closes them
// after that, those that Filter returned included.
type View interface {
	// Version is the store's commit counter. It is never sent.
	Version() uint64
	// Count is the number of members.
	Count() uint64
	// Root is the root of the whole space at this view.
	Root() ([32]byte, error)
	// Trie holds the IDs of all members: data, standing control and
	// non-redundant sweeps.
	Trie() merkle.Source
	// Index holds the same members by (time, ID).
	Index() reconcile.Index
	// State judges records as this view does. It is only read.
	State() *space.State
	// Get returns a member. The error wraps ErrGone when its bytes are not
	// there; every other error ends the session.
	Get(id record.ID) (*record.Verified, error)
	// Filter is the view as it will be once these sweeps are committed: they
	// are members of it as far as the law makes them so, what they make
	// redundant and what they kill is not. Trie, Index, Count, Root and State
	// all follow.
	Filter(sweeps []*record.Verified) (View, error)
}
