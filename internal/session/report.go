package session

import "time"

// Method names how the difference in data was found.
type Method string

const (
	Equal  Method = "equal"  // roots agreed before any data was compared
	Ranges Method = "ranges" // range-based reconciliation
	Bulk   Method = "bulk"   // one side held no data: everything, uncompared
)

// Report is what one session did, as this side saw it. In a Fail it holds
// what was done so far.
type Report struct {
	Method        Method
	Rounds        int // times the initiator waited for an answer
	ControlRounds int // of the fixpoint over control records
	Queries       int // reconciliation messages of the initiator

	FramesIn, FramesOut int
	BytesIn, BytesOut   int64 // frames with their length prefixes

	DueIn, DueOut         int   // records found to be missing so far, here and there
	RecordsIn, RecordsOut int   // records that crossed, control and sweeps included
	RecordBytesIn         int64 // of those, in canonical form
	RecordBytesOut        int64
	DataBytesIn           int64 // as they crossed: framing of records and records
	DataBytesOut          int64

	// Compared says that the two sets of data are known to differ by nothing
	// but Missing, what the peer has and has not arrived, and Surplus, what is
	// here and the peer lacks. While the session runs, what was sent counts as
	// there; in a Fail it does not, because nobody knows how much of it came.
	Compared         bool
	Missing, Surplus int

	Held     int // received, and not authorised by what is known here
	Unwanted int // received, and held here already or not asked for
	Gone     int // wanted, and dead at the peer meanwhile: run the session again
	GoneOut  int // wanted by the peer, and dead here meanwhile

	Root      [32]byte // agreed by both sides, or ours in a Fail
	Count     uint64   // records under Root
	Version   uint64   // the store's version that the session spoke of; Root is that plus what was exchanged
	Completed bool     // every wanted record arrived; the sweeps received are applied
	Duration  time.Duration
}

// OverheadIn is what arrived beside records: bytes of frames that are not
// records in transfer.
func (r *Report) OverheadIn() int64 { return r.BytesIn - r.DataBytesIn }

// OverheadOut is what was sent beside records.
func (r *Report) OverheadOut() int64 { return r.BytesOut - r.DataBytesOut }
