package session

import (
	"encoding/binary"
	"fmt"

	"anabranch/record"
)

// decoder is the receiving end of a stream. The zero value is ready. It
// keeps at most one record that is not complete.
type decoder struct {
	before
	buf []byte
}

// write takes a piece of the stream and returns the records that it
// completes, in canonical form and in memory of their own. They may still be
// malformed: verification decodes them. With an error the stream is over;
// the records before it are returned beside it.
func (d *decoder) write(piece []byte) ([][]byte, error) {
	d.buf = append(d.buf, piece...)
	b := d.buf
	var out [][]byte
	for len(b) > 0 {
		length, n := uvarint(b)
		if n == 0 {
			break
		}
		if n < 0 || length < minCoded || length > maxCoded {
			return out, streamError("a record of %d bytes, %d to %d are possible", length, minCoded, maxCoded)
		}
		if uint64(len(b)-n) < length {
			break
		}
		raw, err := d.record(b[n : n+int(length)])
		if err != nil {
			return out, err
		}
		out = append(out, raw)
		b = b[n+int(length):]
	}
	d.buf = append(d.buf[:0], b...)
	return out, nil
}

// pending reports whether a record is cut off so far.
func (d *decoder) pending() bool { return len(d.buf) > 0 }

func streamError(format string, args ...any) error {
	return &FrameError{Frame: DataFrame, Reason: fmt.Sprintf(format, args...)}
}

// record decodes what a length announced and rebuilds the canonical bytes.
func (d *decoder) record(b []byte) ([]byte, error) {
	r := reader{frame: DataFrame, b: b}
	var rec record.Record
	flags := d.head(&r, &rec)
	slot := d.lane(&r, &rec)
	d.numbers(&r, &rec, slot, flags)
	d.pathOf(&r, &rec)
	if r.err != nil {
		return nil, r.err
	}
	if len(r.b) < len(rec.Signature) || len(r.b)-len(rec.Signature) > record.MaxPayload {
		return nil, streamError("%d bytes of payload and signature", len(r.b))
	}
	cut := len(r.b) - len(rec.Signature)
	rec.Payload = r.b[:cut]
	copy(rec.Signature[:], r.b[cut:])
	d.kind, d.time, d.path = rec.Kind, rec.Time, rec.Path
	d.lanes.last[slot] = rec.Seq
	return rec.Append(make([]byte, 0, rec.Size())), nil
}

func (d *decoder) head(r *reader, rec *record.Record) (flags byte) {
	shape := r.byte()
	if shape&^(shapeKind|shapeFlags) != 0 {
		r.fail("unknown shape bits 0x%02x", shape)
	}
	rec.Kind = d.kind
	if shape&shapeKind != 0 {
		rec.Kind = record.Kind(r.byte())
		if r.err == nil && rec.Kind == d.kind {
			r.fail("kind spelled out and not new")
		}
	}
	if shape&shapeFlags != 0 {
		flags = r.byte()
		if r.err == nil && (flags == 0 || flags&^flagsKnown != 0) {
			r.fail("flags 0x%02x", flags)
		}
	}
	rec.Deleted = flags&flagDeleted != 0
	rec.Blob = flags&flagBlob != 0
	return flags
}

func (d *decoder) lane(r *reader, rec *record.Record) int {
	ref := r.uvarint(laneSlots)
	if r.err != nil {
		return 0
	}
	if ref > 0 {
		slot := int(ref - 1)
		if slot >= len(d.lanes.keys) {
			r.fail("lane %d of %d", slot, len(d.lanes.keys))
			return 0
		}
		rec.Author, rec.Lane = d.lanes.keys[slot].author, d.lanes.keys[slot].lane
		return slot
	}
	var lane [8]byte
	r.copy(rec.Author[:])
	r.copy(lane[:])
	rec.Lane = binary.BigEndian.Uint64(lane[:])
	if r.err != nil {
		return 0
	}
	key := laneKey{rec.Author, rec.Lane}
	if _, known := d.lanes.slots[key]; known {
		r.fail("lane spelled out and not new")
		return 0
	}
	return d.lanes.add(key)
}

func (d *decoder) numbers(r *reader, rec *record.Record, slot int, flags byte) {
	if r.err != nil {
		return
	}
	seq := int64(d.lanes.last[slot]) + 1 + unzigzag(r.uvarint(1<<33))
	if r.err == nil && (seq < 0 || seq > 1<<32-1) {
		r.fail("number %d", seq)
	}
	rec.Seq = uint32(seq)
	time := int64(d.time) + unzigzag(r.uvarint(1<<54))
	if r.err == nil && (time < 0 || time > record.MaxTime) {
		r.fail("time %d", time)
	}
	rec.Time = uint64(time)
	if flags&flagExpires != 0 {
		rec.Expires = rec.Time + r.uvarint(record.MaxTime)
		if r.err == nil && rec.Expires == 0 {
			r.fail("expires 0")
		}
	}
	if flags&flagReplaces != 0 {
		n := int(r.byte())
		if r.err == nil && (n < 1 || n > record.MaxReplaces || len(r.b) < 12*n) {
			r.fail("replaces of %d entries", n)
		}
		if r.err != nil {
			return
		}
		rec.Replaces = make([]record.Replaced, n)
		for i := range rec.Replaces {
			rec.Replaces[i] = record.Replaced{Lane: record.Tag(r.b), Number: binary.BigEndian.Uint32(r.b[8:])}
			r.b = r.b[12:]
		}
	}
}

func (d *decoder) pathOf(r *reader, rec *record.Record) {
	shared := int(r.uvarint(uint64(len(d.path))))
	rest := int(r.uvarint(record.MaxPath))
	switch {
	case r.err != nil:
		return
	case shared+rest > record.MaxPath || rest > len(r.b):
		r.fail("a path of %d bytes", shared+rest)
		return
	case rest > 0 && shared < len(d.path) && d.path[shared] == r.b[0]:
		r.fail("a path that shares more than it says")
		return
	}
	rec.Path = d.path[:shared] + string(r.b[:rest])
	r.b = r.b[rest:]
}
