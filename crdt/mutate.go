package crdt

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Writer is in whose name a change is made. Nobody else may ever write in its
// lane, and the state it changes must hold all that the lane wrote to the
// document before: its next event would otherwise have a number that is in use.
type Writer struct {
	Lane uint64 // not 0
	Time uint64 // of the change, 1 to MaxTime; orders values, decides nothing else
}

// Mutators return a delta: a small state that, joined into s and everywhere
// else, makes the change. They leave s as it is. path is the keys that lead to
// the value, through maps; without keys it is the document itself. Their
// errors wrap ErrRange, or are ErrExhausted.

// edit is a delta in the making.
type edit struct {
	s     *State
	w     Writer
	delta *State
	next  uint32
}

func (s *State) edit(w Writer, path []string, values ...[]byte) (*edit, error) {
	size := 0
	for _, key := range path {
		size += len(key)
		if len(key) == 0 || len(key) > MaxKey || !utf8.ValidString(key) {
			return nil, fmt.Errorf("%w: a key is UTF-8 and has 1 to %d bytes, not %d", ErrRange, MaxKey, len(key))
		}
	}
	if len(path) > MaxDepth || size > MaxPath {
		return nil, fmt.Errorf("%w: a value lies below at most %d keys of %d bytes together", ErrRange, MaxDepth, MaxPath)
	}
	for _, v := range values {
		if len(v) > MaxValue {
			return nil, fmt.Errorf("%w: a value has at most %d bytes, not %d", ErrRange, MaxValue, len(v))
		}
	}
	if w.Lane == 0 || w.Time == 0 || w.Time > MaxTime {
		return nil, fmt.Errorf("%w: no writer has lane %d and time %d", ErrRange, w.Lane, w.Time)
	}
	return &edit{s: s, w: w, delta: new(State), next: s.seen.Last(w.Lane) + 1}, nil
}

// event issues the next dot of the writer.
func (e *edit) event() (Dot, error) {
	if e.next > MaxNumber {
		return Dot{}, fmt.Errorf("%w: %x", ErrExhausted, e.w.Lane)
	}
	d := Dot{e.w.Lane, e.next}
	e.next++
	e.delta.seen.Add(d.Lane, d.Number, d.Number)
	return d, nil
}

// replace says that the events present at a place are removed.
func (e *edit) replace(n *node) {
	if n != nil {
		for _, x := range n.items {
			e.delta.seen.Add(x.dot.Lane, x.dot.Number, x.dot.Number)
		}
	}
}

// one is a delta that puts one event at a place instead of those present.
func (s *State) one(w Writer, kind Kind, x item, replace bool, path []string) (*State, error) {
	e, err := s.edit(w, path, []byte(x.value))
	if err != nil {
		return nil, err
	}
	if replace {
		e.replace(s.find(kind, path))
	}
	if x.dot, err = e.event(); err != nil {
		return nil, err
	}
	n := e.delta.place(kind, path)
	n.items = []item{x}
	return e.delta, nil
}

// Write sets the Register that the document is.
func (s *State) Write(w Writer, value []byte) (*State, error) {
	e, err := s.edit(w, nil, value)
	if err != nil {
		return nil, err
	}
	at := w.Time
	if n := s.roots[Register]; n != nil {
		at = min(max(at, n.last.time+1), MaxTime)
	}
	e.delta.place(Register, nil).last = &written{at, w.Lane, string(value)}
	return e.delta, nil
}

// Assign sets a MultiValue: what the state shows there is replaced, what
// others write at the same time stands beside it.
func (s *State) Assign(w Writer, value []byte, path ...string) (*State, error) {
	return s.one(w, MultiValue, item{value: string(value)}, true, path)
}

// Put sets a Cell of a map.
func (s *State) Put(w Writer, value []byte, path ...string) (*State, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("%w: a cell lies in a map", ErrRange)
	}
	at := w.Time
	if n := s.find(Cell, path); n != nil {
		for _, x := range n.items {
			at = min(max(at, x.time+1), MaxTime)
		}
	}
	return s.one(w, Cell, item{time: at, value: string(value)}, true, path)
}

// Switch turns a Flag or OffFlag, which kind says, on or off.
func (s *State) Switch(w Writer, kind Kind, on bool, path ...string) (*State, error) {
	switch {
	case kind != Flag && kind != OffFlag:
		return nil, fmt.Errorf("%w: a %v is not switched", ErrRange, kind)
	case on == (kind == Flag):
		return s.one(w, kind, item{}, true, path)
	}
	e, err := s.edit(w, path)
	if err != nil {
		return nil, err
	}
	e.replace(s.find(kind, path))
	return e.delta, nil
}

// Increment adds to a Counter; by may be negative.
func (s *State) Increment(w Writer, by int64, path ...string) (*State, error) {
	delta, err := s.one(w, Counter, item{}, true, path)
	if err != nil {
		return nil, err
	}
	var t total
	if n := s.find(Counter, path); n != nil {
		t = n.totals[w.Lane]
	}
	t = total{up: t.up, down: t.down} // floors are in s already
	if by >= 0 {
		t.up += uint64(by)
	} else {
		t.down += uint64(-(by + 1)) + 1
	}
	if t.up > MaxTotal || t.down > MaxTotal {
		return nil, fmt.Errorf("%w: a lane adds up to at most 2^62", ErrRange)
	}
	if t != (total{}) {
		delta.place(Counter, path).totals = map[uint64]total{w.Lane: t}
	}
	return delta, nil
}

// Reset makes a Counter 0 as far as the state has seen it: what others add at
// the same time counts.
func (s *State) Reset(w Writer, path ...string) (*State, error) {
	delta, err := s.one(w, Counter, item{}, true, path)
	if err == nil {
		delta.place(Counter, path).totals = floors(s.find(Counter, path))
	}
	return delta, err
}

// floors are resets of all that a counter has.
func floors(n *node) map[uint64]total {
	if n == nil {
		return nil
	}
	out := make(map[uint64]total, len(n.totals))
	for lane, t := range n.totals {
		f := total{floorUp: max(t.up, t.floorUp), floorDown: max(t.down, t.floorDown)}
		if f != (total{}) {
			out[lane] = f
		}
	}
	return out
}

// Grow adds values to the GrowSet that the document is.
func (s *State) Grow(w Writer, values ...[]byte) (*State, error) {
	e, err := s.edit(w, nil, values...)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		n := e.delta.place(GrowSet, nil)
		n.kid(slot{string(v), 0})
	}
	return e.delta, nil
}

// Add puts values into a Set; a value that is there already is added anew, and
// survives a removal at the same time.
func (s *State) Add(w Writer, values [][]byte, path ...string) (*State, error) {
	e, err := s.edit(w, path, values...)
	if err != nil || len(values) == 0 {
		return new(State), err
	}
	mine, n := s.find(Set, path), e.delta.place(Set, path)
	for _, v := range values {
		at := slot{string(v), Flag}
		c := n.kid(at)
		if len(c.items) > 0 {
			continue // twice in the list
		}
		if mine != nil {
			e.replace(mine.kids[at])
		}
		d, err := e.event()
		if err != nil {
			return nil, err
		}
		c.items = []item{{dot: d}}
	}
	return e.delta, nil
}

// Discard removes values from a Set, as far as the state has seen them.
func (s *State) Discard(w Writer, values [][]byte, path ...string) (*State, error) {
	e, err := s.edit(w, path, values...)
	if err != nil {
		return nil, err
	}
	if mine := s.find(Set, path); mine != nil {
		for _, v := range values {
			e.replace(mine.kids[slot{string(v), Flag}])
		}
	}
	return e.delta, nil
}

// Append adds an entry to a Log.
func (s *State) Append(w Writer, value []byte, path ...string) (*State, error) {
	return s.one(w, Log, item{time: w.Time, value: string(value)}, false, path)
}

// Type adds a delta of crdt/text, of the writer's lane, to a Text.
func (s *State) Type(w Writer, delta []byte, path ...string) (*State, error) {
	d, err := s.one(w, Text, item{}, true, path)
	if err != nil {
		return nil, err
	}
	if len(delta) == 0 || len(delta) > MaxValue {
		return nil, fmt.Errorf("%w: a part of a text has 1 to %d bytes, not %d", ErrRange, MaxValue, len(delta))
	}
	n := d.place(Text, path)
	n.parts = []item{{dot: n.items[0].dot, value: string(delta)}}
	return d, nil
}

// Wipe returns the delta, of the lane, that deletes all visible characters of
// a text given as parts; nil if there are none.
type Wipe func(lane uint64, parts []Part) ([]byte, error)

// Delete removes a key of a map with all that the state has seen below it, of
// whatever kind; what others do there at the same time survives. wipe is asked
// for each text below; it may be nil where there are none.
func (s *State) Delete(w Writer, wipe Wipe, path ...string) (*State, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("%w: only keys of a map are deleted", ErrRange)
	}
	e, err := s.edit(w, path)
	if err != nil {
		return nil, err
	}
	parent := s.find(Map, path[:len(path)-1])
	if parent == nil {
		return e.delta, nil
	}
	for kind := Kind(1); kind <= Text; kind++ {
		if n := parent.kids[slot{path[len(path)-1], kind}]; n != nil {
			if err := e.erase(n, path, wipe); err != nil {
				return nil, err
			}
		}
	}
	return e.delta, nil
}

// erase removes all at and below a node that is found at a path.
func (e *edit) erase(n *node, path []string, wipe Wipe) error {
	e.replace(n)
	switch n.kind {
	case Counter:
		if f := floors(n); len(f) > 0 {
			e.delta.place(Counter, path).totals = f
		}
	case Text:
		if wipe == nil || len(n.items) == 0 {
			return nil
		}
		b, err := wipe(e.w.Lane, n.read().Parts)
		if err != nil || b == nil {
			return err
		}
		d, err := e.event()
		if err != nil {
			return err
		}
		t := e.delta.place(Text, path)
		t.parts = append(t.parts, item{dot: d, value: string(b)})
	case Set:
		for _, c := range n.kids {
			e.replace(c)
		}
	case Map:
		for _, at := range n.slots() {
			below := append(path[:len(path):len(path)], strings.Clone(at.key))
			if err := e.erase(n.kids[at], below, wipe); err != nil {
				return err
			}
		}
	}
	return nil
}

// Clear removes all that the state shows, as Delete does for a key. A Register
// and a GrowSet stay: nothing removes what is in them.
func (s *State) Clear(w Writer, wipe Wipe) (*State, error) {
	e, err := s.edit(w, nil)
	if err != nil {
		return nil, err
	}
	for kind := Kind(1); kind <= Text; kind++ {
		if n := s.roots[kind]; n != nil {
			if err := e.erase(n, nil, wipe); err != nil {
				return nil, err
			}
		}
	}
	return e.delta, nil
}
