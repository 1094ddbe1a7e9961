package store

import (
	"encoding/binary"
	"fmt"

	"anabranch/record"
)

// never is the expiry of a dead record that a standing seal lists: it may not
// be destroyed.
const never = 1<<64 - 1

func damagedRow(key []byte, format string, args ...any) error {
	name := tableNames[key[0]]
	return fmt.Errorf("%w: %s row %x: %s", ErrDamaged, name, key[1:], fmt.Sprintf(format, args...))
}

// departure is a record that left the set:
//
//	verdict 1 | time 8 | ID 32 | its old arrival number 8
type departure struct {
	verdict Verdict
	time    uint64
	id      record.ID
	old     uint64
}

func (d departure) encode() []byte {
	b := u64([]byte{byte(d.verdict)}, d.time)
	return u64(append(b, d.id[:]...), d.old)
}

func decodeDeparture(key, b []byte) (departure, error) {
	if len(key) != 13 || len(b) != 49 {
		return departure{}, damagedRow(key, "layout")
	}
	return departure{
		verdict: Verdict(b[0]), time: binary.BigEndian.Uint64(b[1:]),
		id: record.ID(b[9:41]), old: binary.BigEndian.Uint64(b[41:]),
	}, nil
}

func number(key, value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, damagedRow(key, "%d bytes instead of 8", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// laneRow is what is known of a lane: the highest number ever entered here,
// and the first one known to be forked, 0 if none.
type laneRow struct{ high, fork uint32 }

func (l laneRow) encode() []byte { return u32(u32(make([]byte, 0, 8), l.high), l.fork) }

func decodeLane(key, value []byte) (laneRow, error) {
	if value == nil {
		return laneRow{}, nil
	}
	if len(value) != 8 {
		return laneRow{}, damagedRow(key, "%d bytes instead of 8", len(value))
	}
	return laneRow{binary.BigEndian.Uint32(value), binary.BigEndian.Uint32(value[4:])}, nil
}

// stamped is a value of the tables held (stamp: serial) and trash (stamp:
// expiry in microseconds): stamp 8 | record.
func stamped(stamp uint64, record []byte) []byte {
	return append(u64(make([]byte, 0, 8+len(record)), stamp), record...)
}

func (sp *Space) decodeStamped(key, value []byte) (uint64, *record.Verified, error) {
	if len(key) != 37 || len(value) < 8 {
		return 0, nil, damagedRow(key, "%d bytes", len(value))
	}
	r, err := record.Restore(sp.id, value[8:])
	if err != nil {
		return 0, nil, damagedRow(key, "%v", err)
	}
	if id := record.ID(key[5:]); r.ID != id {
		return 0, nil, damagedRow(key, "holds the record %v", r.ID)
	}
	return binary.BigEndian.Uint64(value), r, nil
}

// seen is an entry of a path's vector: the docs of a lane up to a number were
// live here. time is that of the newest doc that says so.
type seen struct {
	tag    record.Tag
	number uint32
	time   uint64
}

func decodeVector(key, value []byte) ([]seen, error) {
	if len(value)%20 != 0 {
		return nil, damagedRow(key, "%d bytes", len(value))
	}
	out := make([]seen, len(value)/20)
	for i := range out {
		b := value[20*i:]
		out[i] = seen{record.Tag(b[:8]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint64(b[12:])}
	}
	return out, nil
}

func encodeVector(v []seen) []byte {
	b := make([]byte, 0, 20*len(v))
	for _, e := range v {
		b = u64(u32(append(b, e.tag[:]...), e.number), e.time)
	}
	return b
}

// readArrival reads the record that entered at n.
func (sp *Space) readArrival(r reader, n uint64) (*record.Verified, error) {
	key := numberKey(tableArrival, sp.number, n)
	b, err := r.get(key)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, damagedRow(key, "absent, but another row points here")
	}
	v, err := record.Restore(sp.id, b)
	if err != nil {
		return nil, damagedRow(key, "%v", err)
	}
	return v, nil
}

// readMember reads a member by ID; nil when it is none.
func (sp *Space) readMember(r reader, id record.ID) (*record.Verified, uint64, error) {
	key := idKey(tableID, sp.number, id)
	b, err := r.get(key)
	if err != nil || b == nil {
		return nil, 0, err
	}
	n, err := number(key, b)
	if err != nil {
		return nil, 0, err
	}
	v, err := sp.readArrival(r, n)
	if err != nil {
		return nil, 0, err
	}
	if v.ID != id {
		return nil, 0, damagedRow(key, "arrival %d holds the record %v", n, v.ID)
	}
	return v, n, nil
}

// pathEntry is one row of the path order.
type pathEntry struct {
	path   string
	kind   record.Kind
	time   uint64
	n      uint64
	author uint32
}

func decodePath(key, value []byte) (pathEntry, error) {
	if len(key) < 5+1+18 || len(value) != 4 || key[len(key)-18] != 0 {
		return pathEntry{}, damagedRow(key, "layout")
	}
	tail := key[len(key)-17:]
	return pathEntry{
		path:   string(key[5 : len(key)-18]),
		kind:   record.Kind(tail[0]),
		time:   binary.BigEndian.Uint64(tail[1:]),
		n:      binary.BigEndian.Uint64(tail[9:]),
		author: binary.BigEndian.Uint32(value),
	}, nil
}

// dotEntry is one row of the dot order.
type dotEntry struct {
	author uint32
	lane   uint64
	number uint32
	n      uint64
}

func decodeDot(key []byte) (dotEntry, error) {
	if len(key) != 29 {
		return dotEntry{}, damagedRow(key, "%d bytes", len(key))
	}
	return dotEntry{
		binary.BigEndian.Uint32(key[5:]), binary.BigEndian.Uint64(key[9:]),
		binary.BigEndian.Uint32(key[17:]), binary.BigEndian.Uint64(key[21:]),
	}, nil
}

// States of a pending kill.
const (
	killWaits  = 1 // for the next sweep
	killSpared = 2 // a delete that still hides what others may write; looked at again when authority has changed
)

// killEntry is one row of the table of pending kills: an own doc that is
// superfluous here, and its dot.
//
//	lane 8 | number 4 | state 1
type killEntry struct {
	key    []byte
	path   string
	n      uint64
	lane   uint64
	number uint32
	state  byte
}

func (k killEntry) value() []byte {
	return append(u32(u64(make([]byte, 0, 13), k.lane), k.number), k.state)
}

func decodeKill(x row) (killEntry, error) {
	if len(x.key) < 9+1+17 || len(x.value) != 13 || x.key[len(x.key)-17] != 0 {
		return killEntry{}, damagedRow(x.key, "layout")
	}
	return killEntry{
		key:    x.key,
		path:   string(x.key[9 : len(x.key)-17]),
		n:      binary.BigEndian.Uint64(x.key[len(x.key)-8:]),
		lane:   binary.BigEndian.Uint64(x.value),
		number: binary.BigEndian.Uint32(x.value[8:]),
		state:  x.value[12],
	}, nil
}
