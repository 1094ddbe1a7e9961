package session

import "time"

// Method names how the difference in data was found.
type Method string

const (
	Equal  Method = "equal"  // roots agreed before any data was compared
	Ranges Method = "ranges" // range-based reconciliation
	Bulk   Method = "bulk"   // one side held no data: everything, uncompared

	MethodCursor Method = "cursor" // the responder's log from where the initiator knows it
	MethodPrefix Method = "prefix" // the sketch cells in the initiator's ask were enough
	MethodSketch Method = "sketch" // sketch cells
	MethodThin   Method = "thin"   // thin cells: one side seemed to hold all of the other
	MethodList   Method = "list"   // codes of what one side holds from some time on
)

// optional are the methods that a session may do without, in the order of
// the bits by which an ask says so.
var optional = []Method{MethodCursor, MethodPrefix, MethodSketch, MethodThin, MethodList}

// Report is what one session did, as this side saw it. In a Fail it holds
// what was done so far.
type Report struct {
	Method        Method
	Why           string // the planner's reason, at the responder
	Estimate      int    // records that the planner took to differ, at the responder
	Rounds        int    // times the initiator waited for an answer
	Fetched       int    // of those, until it knew the difference and had what it lacked
	ControlRounds int    // of the fixpoint over control records
	Queries       int    // reconciliation messages of the initiator

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
	Cursor    Cursor   // the peer's, for the next session with it; zero if it gave none
	Version   uint64   // the store's version that the session spoke of; Root is that plus what was exchanged
	Completed bool     // every wanted record arrived; the sweeps received are applied
	Duration  time.Duration
}

// OverheadIn is what arrived beside records: bytes of frames that are not
// records in transfer.
func (r *Report) OverheadIn() int64 { return r.BytesIn - r.DataBytesIn }

// OverheadOut is what was sent beside records.
func (r *Report) OverheadOut() int64 { return r.BytesOut - r.DataBytesOut }
