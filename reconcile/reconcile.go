// Package reconcile finds the difference between two sets of (time, ID)
// items with range-based set reconciliation: the Negentropy protocol,
// version 1, byte for byte. See docs/reconcile.md and arXiv:2212.13567.
//
// One side is the initiator, the other the responder. They exchange
// messages in strict alternation, and at the end the initiator knows which
// IDs only it has (have) and which only the responder has (need):
//
//	in, err := reconcile.NewInitiator(mine, reconcile.Options{})
//	msg, err := in.Start()
//	for msg != nil {
//		answer := exchange(msg) // theirs: reconcile.Respond(ix, msg, o)
//		msg, have, need, err = in.Step(answer)
//	}
//
// Moving the records is the caller's work. A conversation that leads nowhere
// ends with a *LimitError; see Options.
//
// An Index is what a side holds: a Vector is sealed, a Tree is written while
// others read its Clones, NewRange, NewUnion and Filter make parts and
// wholes of them, and five methods make an index of anything that is sorted.
// Fingerprints of any range take O(1) in a Vector and O(log n) in a Tree, so
// that the cost of a conversation is that of its difference.
//
// Nothing here starts a goroutine, takes a lock or reads a clock. What a
// peer sends is parsed strictly, and whole, before anything is done: bytes
// that no honest implementation writes are refused with a *MessageError.
package reconcile

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
)

// ID names one item: 32 bytes that behave like the output of a hash.
type ID = [32]byte

// Infinity is the time above every item. No item may carry it.
const Infinity = math.MaxUint64

// Item is a member of a set as reconciliation sees it.
type Item struct {
	Time uint64 // any unit, but the same on both sides; below Infinity
	ID   ID
}

// Compare orders items by time, then by the bytes of the ID. It returns
// -1, 0 or +1.
func (x Item) Compare(y Item) int {
	if x.Time != y.Time {
		return cmp.Compare(x.Time, y.Time)
	}
	return compareIDs(&x.ID, &y.ID)
}

// compareIDs is bytes.Compare on 32 bytes, decided by the first eight
// except where someone has ground them to be equal.
func compareIDs(x, y *ID) int {
	for i := 0; i < len(x); i += 8 {
		a, b := binary.BigEndian.Uint64(x[i:]), binary.BigEndian.Uint64(y[i:])
		if a != b {
			return cmp.Compare(a, b)
		}
	}
	return 0
}

// Bound is a position between items: an item is below it, or not. Its place
// is that of the item (Time, Prefix), Prefix being padded with zeros.
// The zero Bound is below every item; Bound{Time: Infinity} above.
type Bound struct {
	Time   uint64
	Prefix ID  // zero after Len bytes
	Len    int // bytes of Prefix that are sent, 0..32
}

// Item is the bound's own place in the order: x is below b iff
// x.Compare(b.Item()) < 0. It may lie in no set, and at Infinity.
func (b Bound) Item() Item { return Item{b.Time, b.Prefix} }

// BoundAt is the bound just below x, with all of its ID.
func BoundAt(x Item) Bound { return Bound{x.Time, x.ID, len(x.ID)} }

// below says whether x is below b.
func (x *Item) below(b *Bound) bool {
	if x.Time != b.Time {
		return x.Time < b.Time
	}
	return compareIDs(&x.ID, &b.Prefix) < 0
}

// above says whether x is above the place of b.
func (x *Item) above(b *Bound) bool {
	if x.Time != b.Time {
		return x.Time > b.Time
	}
	return compareIDs(&x.ID, &b.Prefix) > 0
}

// boundBetween is the shortest bound that separates neighbours p < q: p is
// below it and q is not.
func boundBetween(p, q *Item) Bound {
	b := Bound{Time: q.Time}
	if p.Time == q.Time {
		for p.ID[b.Len] == q.ID[b.Len] {
			b.Len++
		}
		b.Len++
		copy(b.Prefix[:b.Len], q.ID[:])
	}
	return b
}

// Index is a sorted, unchanging set of items with distinct IDs, read by
// position. Vector and Tree are indexes in memory. Every error is the
// index's own (its disk); it ends the call that met it and is returned as it
// is.
//
// An index must not change during one call of Respond or during a
// conversation of an Initiator. Between two Responds it may: the responder
// keeps no state.
type Index interface {
	// Len is the number of items.
	Len() int

	// At is the item at position i, 0 <= i < Len.
	At(i int) (Item, error)

	// LowerBound is the first position whose item is not below b, or Len.
	LowerBound(b Bound) (int, error)

	// Fingerprint digests the items at positions [begin, end); see
	// Sum.Fingerprint. It is called for sixteen ranges per mismatch, so
	// it should not cost time proportional to end-begin.
	Fingerprint(begin, end int) (Fingerprint, error)

	// Items yields the items at positions [begin, end) in order, and
	// stops after the first error.
	Items(begin, end int) iter.Seq2[Item, error]
}
