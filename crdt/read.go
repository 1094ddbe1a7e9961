package crdt

import (
	"cmp"
	"slices"
	"strings"
)

// Value is what a document, or a place in it, reads as. Which fields are set
// follows from the kind. Bytes are the caller's.
type Value struct {
	Kind    Kind
	Values  [][]byte // Register: one; MultiValue, GrowSet, Set: ascending; Cell: the one that stands, then those written at the same time
	On      bool     // Flag, OffFlag
	Count   int64    // Counter
	Entries []Entry  // Log: by time, then lane and number
	Fields  []Field  // Map: ascending by key, then kind
	Parts   []Part   // Text: for crdt/text, ascending by lane and number
}

// Entry is one entry of a log.
type Entry struct {
	Dot   Dot
	Time  uint64
	Value []byte
}

// Field is one key of a map. A key has several fields if people have put
// values of different kinds there at the same time.
type Field struct {
	Key   string
	Value Value
}

// Part is one delta of a text, and the event that brought it.
type Part struct {
	Dot   Dot
	Delta []byte
}

// Kinds lists what stands at a place, ascending: no kind if it is empty, and
// several if people have put values of different kinds there.
func (s *State) Kinds(path ...string) []Kind {
	var out []Kind
	for k := Register; k <= Text; k++ {
		if n := s.find(k, path); n != nil && (n.present() || len(path) == 0 && !n.empty()) {
			out = append(out, k)
		}
	}
	return out
}

// Read is the value of a kind at a place; ok is false when there is none, and
// the value is then that of an empty one.
func (s *State) Read(kind Kind, path ...string) (v Value, ok bool) {
	n := s.find(kind, path)
	if n == nil {
		n = &node{kind: kind}
	}
	return n.read(), n.present()
}

// present reports whether a node shows in a map: some event stands in it. A
// counter or text of which only floors or deleted characters are left does not.
func (n *node) present() bool {
	if len(n.items) > 0 || n.last != nil || n.kind == GrowSet || n.kind == Set {
		return !n.empty()
	}
	for _, c := range n.kids {
		if c.present() {
			return true
		}
	}
	return false
}

func (n *node) read() Value {
	v := Value{Kind: n.kind}
	switch n.kind {
	case Register:
		if n.last != nil {
			v.Values = [][]byte{[]byte(n.last.value)}
		}
	case MultiValue:
		for _, x := range n.items {
			v.Values = append(v.Values, []byte(x.value))
		}
		slices.SortFunc(v.Values, slices.Compare[[]byte])
		v.Values = slices.CompactFunc(v.Values, slices.Equal[[]byte])
	case Cell:
		items := slices.Clone(n.items)
		slices.SortFunc(items, func(x, y item) int {
			return cmp.Or(cmp.Compare(y.time, x.time), y.dot.Compare(x.dot))
		})
		for _, x := range items {
			v.Values = append(v.Values, []byte(x.value))
		}
	case Flag:
		v.On = len(n.items) > 0
	case OffFlag:
		v.On = len(n.items) == 0
	case Counter:
		v.Count = n.count()
	case GrowSet, Set:
		for _, at := range n.slots() {
			v.Values = append(v.Values, []byte(at.key))
		}
	case Log:
		for _, x := range n.items {
			v.Entries = append(v.Entries, Entry{x.dot, x.time, []byte(x.value)})
		}
		slices.SortStableFunc(v.Entries, func(x, y Entry) int { return cmp.Compare(x.Time, y.Time) })
	case Map:
		for _, at := range n.slots() {
			if c := n.kids[at]; c.present() {
				v.Fields = append(v.Fields, Field{strings.Clone(at.key), c.read()})
			}
		}
	case Text:
		for _, x := range n.parts {
			v.Parts = append(v.Parts, Part{x.dot, []byte(x.value)})
		}
	}
	return v
}

// count is the value of a counter. Sums beyond MaxTotal stay there, in
// whatever order lanes are added.
func (n *node) count() int64 {
	var up, down uint64
	for _, t := range n.totals {
		up = min(up+max(t.up, t.floorUp)-t.floorUp, MaxTotal)
		down = min(down+max(t.down, t.floorDown)-t.floorDown, MaxTotal)
	}
	return int64(up) - int64(down)
}
