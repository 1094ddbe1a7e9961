package anabranch

import (
	"sync/atomic"

	"anabranch/internal/engine"
)

// Traffic is what went to and fro between this replica and a peer, in all
// spaces, since this replica was opened. Links add their own headers to the
// bytes.
type Traffic struct {
	BytesIn, BytesOut   uint64 // of sessions and of rumors
	Sessions            uint64 // that ended well
	RumorsIn, RumorsOut uint64 // fresh records that came and went whole, not in a session
	Duplicates          uint64 // of those that came: were here already, or came from others too
	Dropped             uint64 // frames to the peer that found its queue full; sessions made that good
}

// Any reports whether there was any.
func (t Traffic) Any() bool { return t != Traffic{} }

// traffic counts it.
type traffic struct {
	bytesIn, bytesOut, sessions, rumorsIn, rumorsOut, judged, dropped atomic.Uint64
}

// frame counts one frame of the stream beside the sessions.
func (t *traffic) frame(bytes, rumors *atomic.Uint64, b []byte) {
	bytes.Add(uint64(len(b)))
	if engine.IsRumor(b) {
		rumors.Add(1)
	}
}

func (t *traffic) session(report Report, err error) {
	t.bytesIn.Add(uint64(report.BytesIn))
	t.bytesOut.Add(uint64(report.BytesOut))
	if err == nil {
		t.sessions.Add(1)
	}
}

func (t *traffic) total() Traffic {
	judged := t.judged.Load() // before what came: one that is under way is no duplicate for long
	out := Traffic{
		BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(), Sessions: t.sessions.Load(),
		RumorsIn: t.rumorsIn.Load(), RumorsOut: t.rumorsOut.Load(), Dropped: t.dropped.Load(),
	}
	out.Duplicates = out.RumorsIn - min(out.RumorsIn, judged) // one that was undecided is judged more than once
	return out
}
