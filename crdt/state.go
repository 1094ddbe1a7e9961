package crdt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind is the type of a document, or of a value nested in a map.
type Kind byte

const (
	Register   Kind = 1  // one value; the latest write stands
	MultiValue Kind = 2  // a register that keeps all values written at once
	Flag       Kind = 3  // on or off; whoever switches it on at the same time wins
	OffFlag    Kind = 4  // on or off; whoever switches it off at the same time wins
	Counter    Kind = 5  // adds and subtracts, and can be reset
	GrowSet    Kind = 6  // values that are never removed
	Set        Kind = 7  // values; an add survives a removal that had not seen it
	Log        Kind = 8  // entries in order of time
	Map        Kind = 9  // keys with nested values
	Cell       Kind = 10 // a value in a map: the latest of those written at once
	Text       Kind = 11 // deltas of a text; what they say is for crdt/text
)

var kindNames = [...]string{"", "register", "multi-value", "flag", "off-flag", "counter", "grow-set", "set", "log", "map", "cell", "text"}

// String is the name of a kind for people.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", byte(k))
	}
	return kindNames[k]
}

// nests reports whether a value of this kind may lie in a map: those that an
// observed remove can empty.
func (k Kind) nests() bool { return k != Register && k != GrowSet && k >= 1 && k <= Text }

// Limits of a document. All but the last are part of the format: a decoder
// refuses what is beyond them.
const (
	MaxDepth   = 32      // keys on the way to a value: no recursion goes deeper
	MaxKey     = 1 << 10 // bytes of one key
	MaxPath    = 4 << 10 // bytes of all keys on the way to a value
	MaxValue   = 48 << 10
	MaxTime    = 1<<53 - 1
	MaxTotal   = 1 << 62 // of one lane in a counter
	MaxPayload = 64 << 10
)

// ErrRange is wrapped by mutators that were asked for what no document can
// hold: a key, value, depth or total beyond its limit.
var ErrRange = errors.New("crdt: out of range")

// ErrExhausted says that a lane has used up its numbers in a document: go on
// in a fresh lane.
var ErrExhausted = errors.New("crdt: lane exhausted")

// State is a document, or a part of one: deltas and folds are states, too. A
// document's value is the Join of all its parts, in any order, any number of
// times. The zero State is empty and ready to use. It has one caller at a
// time while it is changed.
//
// It is a product of lattices under one context. Each event that is kept
// stands at a place (a kind and the keys on the way to it), and at each place
// an event is unseen, then present, then removed: removed means that the
// context has its dot and the place does not. So a removed event never
// returns, and costs no more than its dot in an interval.
type State struct {
	seen  Context
	roots map[Kind]*node
	index *index // nil: Join goes over everything to remove something
	wide  int    // joins that went over everything for little
}

// item is an event that is present at a place.
type item struct {
	dot   Dot
	time  uint64 // Cell, Log
	value string // MultiValue, Cell, Log; a text's delta
}

// slot is a place in a map; in sets the key is the value, and the kind Flag
// in Set and 0 in GrowSet.
type slot struct {
	key  string
	kind Kind
}

func (s slot) compare(o slot) int {
	if c := strings.Compare(s.key, o.key); c != 0 {
		return c
	}
	return int(s.kind) - int(o.kind)
}

// total is what one lane did to a counter, and how much of it resets have
// seen. Each of the four only grows.
type total struct{ up, down, floorUp, floorDown uint64 }

// node is what a state holds at one place.
type node struct {
	kind   Kind
	items  []item // ascending by dot; of Counter and Text: events that say "it is here"
	kids   map[slot]*node
	totals map[uint64]total // Counter, by lane; never all zero
	parts  []item           // Text, ascending by dot: what no context removes
	last   *written         // Register

	up  *node // in an indexed state: where it hangs
	key string
}

// written is the content of a Register.
type written struct {
	time  uint64
	lane  uint64
	value string
}

func (n *node) empty() bool {
	return len(n.items) == 0 && len(n.kids) == 0 && len(n.totals) == 0 && len(n.parts) == 0 && n.last == nil
}

// IsEmpty reports whether the state says nothing at all.
func (s *State) IsEmpty() bool { return len(s.roots) == 0 && len(s.seen.lanes) == 0 }

// Seen is the events that the state knows of, present or removed. The caller
// may change its copy.
func (s *State) Seen() Context { return s.seen.Clone() }

// Clone is a copy that shares nothing that changes.
func (s *State) Clone() *State {
	c := new(State)
	c.Join(s)
	return c
}

// find is the node at a place, or nil.
func (s *State) find(kind Kind, path []string) *node {
	if len(path) == 0 {
		return s.roots[kind]
	}
	n := s.roots[Map]
	for i, key := range path {
		if n == nil {
			return nil
		}
		k := Map
		if i == len(path)-1 {
			k = kind
		}
		n = n.kids[slot{key, k}]
	}
	return n
}

// place is the node at a place, made with all on the way to it.
func (s *State) place(kind Kind, path []string) *node {
	if s.roots == nil {
		s.roots = make(map[Kind]*node)
	}
	top := kind
	if len(path) > 0 {
		top = Map
	}
	n := s.roots[top]
	if n == nil {
		n = &node{kind: top}
		s.roots[top] = n
	}
	for i, key := range path {
		k := Map
		if i == len(path)-1 {
			k = kind
		}
		n = n.kid(slot{key, k})
	}
	return n
}

// kid is the node in a slot, made if it is not there.
func (n *node) kid(at slot) *node {
	if c := n.kids[at]; c != nil {
		return c
	}
	if n.kids == nil {
		n.kids = make(map[slot]*node)
	}
	c := &node{kind: at.kind}
	n.kids[at] = c
	return c
}

// slots are the slots of a map or set in order.
func (n *node) slots() []slot {
	out := make([]slot, 0, len(n.kids))
	for at := range n.kids {
		out = append(out, at)
	}
	slices.SortFunc(out, slot.compare)
	return out
}

// dots adds the dots of every event that is present at or below a node.
func (n *node) dots(into *Context) {
	for _, x := range n.items {
		into.Add(x.dot.Lane, x.dot.Number, x.dot.Number)
	}
	for _, x := range n.parts {
		into.Add(x.dot.Lane, x.dot.Number, x.dot.Number)
	}
	for _, c := range n.kids {
		c.dots(into)
	}
}
