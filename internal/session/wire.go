package session

import (
	"encoding/binary"
	"fmt"

	"anabranch/record"
)

// FrameType is the first byte of a frame.
type FrameType uint8

// The frames. The rest of a frame is its body.
const (
	HelloFrame     FrameType = 1  // initiator: who speaks of which space, and its state
	WelcomeFrame   FrameType = 2  // responder's answer to it
	RefusedFrame   FrameType = 3  // responder: no; the body is empty
	StateFrame     FrameType = 4  // ends an exchange: what this side holds now
	ReconcileFrame FrameType = 5  // one Negentropy message
	WantFrame      FrameType = 6  // initiator: IDs to be sent
	GoneFrame      FrameType = 7  // IDs that were to be sent and died meanwhile
	DataFrame      FrameType = 8  // a piece of the stream of records
	BulkFrame      FrameType = 9  // initiator: send all data; the body is empty
	EndFrame       FrameType = 10 // responder: that was all data; the body is empty

	// In a planned exchange of data, see hunt.
	AskFrame    FrameType = 11 // initiator: what it holds, in outline
	PlanFrame   FrameType = 12 // responder: how the difference is found
	CellsFrame  FrameType = 13 // sketch cells
	TailFrame   FrameType = 14 // the tail of a sketch
	MoreFrame   FrameType = 15 // up to where cells are wanted, and whether the tail
	NamesFrame  FrameType = 16 // names of wanted records
	ListFrame   FrameType = 17 // codes of records held
	TotalFrame  FrameType = 18 // root and count in the end
	AgreedFrame FrameType = 19 // initiator: the roots are equal; the body is empty

	// On a stream of its own, see Look.
	ForecastFrame FrameType = 20 // responder: what a session would do
)

// String is the frame's name in docs/session.md.
func (t FrameType) String() string {
	names := [...]string{"", "hello", "welcome", "refused", "state", "reconcile", "want", "gone", "data", "bulk", "end",
		"ask", "plan", "cells", "tail", "more", "names", "list", "total", "agreed", "forecast"}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("type %d", uint8(t))
	}
	return names[t]
}

// state is what a side says that it holds:
//
//	root 32 | count varint | control digest 16 | sweeps digest 16
type state struct {
	root    [32]byte
	count   uint64
	control [16]byte
	sweeps  [16]byte
}

// agrees reports whether both hold the same set. Digests need no look: the
// root covers control and sweeps.
func (a state) agrees(b state) bool { return a.root == b.root && a.count == b.count }

func (a state) append(dst []byte) []byte {
	dst = append(dst, a.root[:]...)
	dst = binary.AppendUvarint(dst, a.count)
	dst = append(dst, a.control[:]...)
	return append(dst, a.sweeps[:]...)
}

func (r *reader) state() (a state) {
	r.copy(a.root[:])
	a.count = r.uvarint(1<<63 - 1)
	r.copy(a.control[:])
	r.copy(a.sweeps[:])
	return a
}

// reader takes a frame's body apart. Its first error stays.
type reader struct {
	frame FrameType
	b     []byte
	err   error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &FrameError{Frame: r.frame, Reason: fmt.Sprintf(format, args...)}
		r.b = nil
	}
}

func (r *reader) copy(dst []byte) {
	if len(r.b) < len(dst) {
		r.fail("cut off")
		return
	}
	copy(dst, r.b)
	r.b = r.b[len(dst):]
}

func (r *reader) byte() byte {
	var b [1]byte
	r.copy(b[:])
	return b[0]
}

// uvarint reads a little-endian base-128 number in its shortest form.
func (r *reader) uvarint(max uint64) uint64 {
	v, n := uvarint(r.b)
	switch {
	case n == 0:
		r.fail("cut off")
	case n < 0:
		r.fail("number too long or not in its shortest form")
	case v > max:
		r.fail("number %d is above %d", v, max)
	default:
		r.b = r.b[n:]
		return v
	}
	return 0
}

// end is called when everything was read.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes too many", len(r.b))
	}
	return r.err
}

// uvarint is binary.Uvarint that refuses (n < 0) what is not the shortest
// form. n = 0 means that b ends too early.
func uvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n > 1 && b[n-1] == 0 {
		return 0, -n
	}
	return v, n
}

// idsBody is the body of want and gone: IDs of 32 bytes, at least one,
// counted by the frame's length.
func idsBody(frame FrameType, b []byte) ([]record.ID, error) {
	if len(b) == 0 || len(b)%32 != 0 {
		return nil, &FrameError{Frame: frame, Reason: fmt.Sprintf("%d bytes are no list of IDs", len(b))}
	}
	ids := make([]record.ID, len(b)/32)
	for i := range ids {
		ids[i] = record.ID(b[32*i:])
	}
	return ids, nil
}

func idsFrame(frame FrameType, ids []record.ID) []byte {
	b := append(make([]byte, 0, 1+32*len(ids)), byte(frame))
	for _, id := range ids {
		b = append(b, id[:]...)
	}
	return b
}
