package session

import (
	"encoding/binary"

	"anabranch/record"
)

// Records cross as one stream per direction, cut into data frames anywhere.
// Each is
//
//	length varint | shape 1 | kind 1? | flags 1? | lane ref varint | author 32, lane 8?
//	| number zigzag | time zigzag | expires varint? | replaces 1+12n?
//	| shared varint | rest varint | rest of path | payload | signature 64
//
// length counts what follows it and so implies the payload's. Shape bit 0:
// a kind byte follows, as it is not the kind of the record before; bit 1: a
// flags byte follows (that of the record's own layout), as it is not 0. A
// lane ref above 0 is a slot of the table of lanes, plus one; 0 announces a
// lane that is not in it, which takes the next slot, round robin. The number
// is coded as the distance from the successor of the lane's last one, the
// time as the distance from the record before, expires as that from the
// time. Shared counts the bytes of the path before that begin this one too.
// A stream starts after a record of zeros. There is one encoding per stream.

const (
	shapeKind  = 1 << 0
	shapeFlags = 1 << 1

	flagDeleted  = 1 << 0
	flagExpires  = 1 << 1
	flagBlob     = 1 << 2
	flagReplaces = 1 << 3
	flagsKnown   = flagDeleted | flagExpires | flagBlob | flagReplaces

	laneSlots = 1024

	// maxCoded is the most that length may say: shape, kind, flags, lane,
	// numbers, expires, replaces, path, payload, signature.
	maxCoded = 3 + 2 + 40 + 5 + 8 + 8 + 1 + 12*record.MaxReplaces + 2 + 2 + record.MaxPath + record.MaxPayload + 64
	minCoded = 1 + 1 + 1 + 1 + 1 + 1 + 64
)

type laneKey struct {
	author record.Key
	lane   uint64
}

// lanes is the table both ends of a stream keep.
type lanes struct {
	slots map[laneKey]int
	keys  []laneKey
	last  []uint32 // the last number of each slot
	next  int
}

func (t *lanes) add(k laneKey) int {
	if t.slots == nil {
		t.slots = make(map[laneKey]int)
	}
	slot := t.next
	t.next = (t.next + 1) % laneSlots
	if slot == len(t.keys) {
		t.keys = append(t.keys, k)
		t.last = append(t.last, 0)
	} else {
		delete(t.slots, t.keys[slot])
		t.keys[slot], t.last[slot] = k, 0
	}
	t.slots[k] = slot
	return slot
}

// before is what the next record is coded against.
type before struct {
	kind  record.Kind
	time  uint64
	path  string
	lanes lanes
}

func zigzag(d int64) uint64   { return uint64(d<<1) ^ uint64(d>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// encoder is the sending end of a stream. The zero value is ready.
type encoder struct {
	before
	scratch []byte
}

// append adds one well-formed record to dst.
func (e *encoder) append(dst []byte, r *record.Record) []byte {
	b := e.scratch[:0]
	var shape, flags byte
	if r.Kind != e.kind {
		shape |= shapeKind
	}
	if r.Deleted {
		flags |= flagDeleted
	}
	if r.Expires != 0 {
		flags |= flagExpires
	}
	if r.Blob {
		flags |= flagBlob
	}
	if len(r.Replaces) > 0 {
		flags |= flagReplaces
	}
	if flags != 0 {
		shape |= shapeFlags
	}
	b = append(b, shape)
	if shape&shapeKind != 0 {
		b = append(b, byte(r.Kind))
	}
	if flags != 0 {
		b = append(b, flags)
	}
	key := laneKey{r.Author, r.Lane}
	slot, known := e.lanes.slots[key]
	if known {
		b = binary.AppendUvarint(b, uint64(slot)+1)
	} else {
		slot = e.lanes.add(key)
		b = append(b, 0)
		b = append(b, r.Author[:]...)
		b = binary.BigEndian.AppendUint64(b, r.Lane)
	}
	b = binary.AppendUvarint(b, zigzag(int64(r.Seq)-int64(e.lanes.last[slot])-1))
	b = binary.AppendUvarint(b, zigzag(int64(r.Time)-int64(e.time)))
	if r.Expires != 0 {
		b = binary.AppendUvarint(b, r.Expires-r.Time)
	}
	if len(r.Replaces) > 0 {
		b = append(b, byte(len(r.Replaces)))
		for _, p := range r.Replaces {
			b = append(b, p.Lane[:]...)
			b = binary.BigEndian.AppendUint32(b, p.Number)
		}
	}
	shared := sharedBytes(e.path, r.Path)
	b = binary.AppendUvarint(b, uint64(shared))
	b = binary.AppendUvarint(b, uint64(len(r.Path)-shared))
	b = append(b, r.Path[shared:]...)
	b = append(b, r.Payload...)
	b = append(b, r.Signature[:]...)
	e.kind, e.time, e.path = r.Kind, r.Time, r.Path
	e.lanes.last[slot] = r.Seq
	e.scratch = b
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func sharedBytes(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
