package crdt

import (
	"encoding/binary"
	"maps"
	"slices"
)

// stateVersion begins every encoded state; deltas of texts begin otherwise.
const stateVersion = 0x40

// AppendTo appends the one encoding of the state: two states are equal if and
// only if their encodings are. Numbers are those of AppendUvarint, byte
// strings have their length before them, and lanes are named by their place in
// a table.
//
//	1 byte    0x40
//	lanes     count, names (8 bytes, big-endian), ascending: those of the rest, each mentioned
//	context   per lane of the table: spans, and per span, ascending:
//	            first - (last of the span before + 2; 1 for the first span), last - first
//	roots     count, and per root, ascending by kind: kind (1 byte), node
//
//	node of Register            time >= 1, lane, value
//	node of MultiValue          events, each with its value
//	node of Flag, OffFlag       events
//	node of Counter             events; lanes, and per lane, ascending: lane, up, down, floor of up, floor of down
//	node of GrowSet             count >= 1, values ascending
//	node of Set                 count >= 1, and per value, ascending: value, events >= 1
//	node of Log, Cell           events, each with its time >= 1 and value
//	node of Map                 count >= 1, and per field, ascending by key and kind: key, kind (1 byte), node
//	node of Text                events; parts, each with its delta
//	events, parts               count, and per event, ascending: lane, number; the context has it
//
// No node is empty, no lane of a counter has four zeros.
func (s *State) AppendTo(b []byte) []byte {
	named := make(map[uint64]int)
	for lane := range s.seen.lanes {
		named[lane] = 0
	}
	for _, n := range s.roots {
		n.name(named)
	}
	e := encoder{lanes: named}
	names := slices.Sorted(maps.Keys(named))
	b = AppendUvarint(append(b, stateVersion), uint64(len(names)))
	for i, lane := range names {
		named[lane] = i
		b = binary.BigEndian.AppendUint64(b, lane)
	}
	for _, lane := range names {
		spans := s.seen.lanes[lane]
		b = AppendUvarint(b, uint64(len(spans)))
		b = appendSpans(b, spans)
	}
	b = AppendUvarint(b, uint64(len(s.roots)))
	e.b = b
	for _, kind := range slices.Sorted(maps.Keys(s.roots)) {
		e.b = append(e.b, byte(kind))
		e.node(s.roots[kind])
	}
	return e.b
}

// name collects the lanes that counters and registers mention; all others are
// in the context.
func (n *node) name(into map[uint64]int) {
	for lane := range n.totals {
		into[lane] = 0
	}
	if n.last != nil {
		into[n.last.lane] = 0
	}
	for _, c := range n.kids {
		if c != nil {
			c.name(into)
		}
	}
}

type encoder struct {
	b     []byte
	lanes map[uint64]int // places in the table
}

func (e *encoder) number(v uint64) { e.b = AppendUvarint(e.b, v) }

func (e *encoder) bytes(v string) {
	e.number(uint64(len(v)))
	e.b = append(e.b, v...)
}

func (e *encoder) events(items []item, timed, valued bool) {
	e.number(uint64(len(items)))
	for _, x := range items {
		e.number(uint64(e.lanes[x.dot.Lane]))
		e.number(uint64(x.dot.Number))
		if timed {
			e.number(x.time)
		}
		if valued {
			e.bytes(x.value)
		}
	}
}

func (e *encoder) node(n *node) {
	switch n.kind {
	case Register:
		e.number(n.last.time)
		e.number(uint64(e.lanes[n.last.lane]))
		e.bytes(n.last.value)
	case MultiValue:
		e.events(n.items, false, true)
	case Flag, OffFlag:
		e.events(n.items, false, false)
	case Log, Cell:
		e.events(n.items, true, true)
	case Counter:
		e.events(n.items, false, false)
		e.number(uint64(len(n.totals)))
		for _, lane := range slices.Sorted(maps.Keys(n.totals)) {
			t := n.totals[lane]
			e.number(uint64(e.lanes[lane]))
			for _, v := range [4]uint64{t.up, t.down, t.floorUp, t.floorDown} {
				e.number(v)
			}
		}
	case GrowSet, Set, Map:
		e.number(uint64(len(n.kids)))
		for _, at := range n.slots() {
			e.bytes(at.key)
			if n.kind == Map {
				e.b = append(e.b, byte(at.kind))
			}
			if n.kind != GrowSet {
				e.node(n.kids[at])
			}
		}
	case Text:
		e.events(n.items, false, false)
		e.events(n.parts, false, true)
	}
}
