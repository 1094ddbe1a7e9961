package session

// Version is the protocol version that hello announces.
const Version = 1

// Limits of the protocol. A peer that is past one of them is in error, so
// another implementation has to keep them too.
const (
	DefaultFrameBytes = 128 << 10
	MinFrameBytes     = 4 << 10 // reconciliation needs room for a few ranges
	MaxFrameBytes     = 1 << 20 // what a hello may announce

	// MaxOutstanding is how many wanted records an initiator may be owed at
	// a time: half a mebibyte of IDs that the responder has to remember.
	MaxOutstanding = 16 << 10

	// maxControlRounds bounds the fixpoint over control records. Each round
	// brings both unions together; a second one is needed only when the
	// union changes what stands.
	maxControlRounds = 8

	// maxIdleRounds is how many reconciliation rounds in a row may find
	// nothing. Sixteen-way splits reach single items of 2^63 in 16.
	maxIdleRounds = 64

	// maxUnwanted is how many records may arrive that are held here already
	// or were not asked for. An honest peer sends none.
	maxUnwanted = 1024

	// maxHeld is how many records of unknown authority one session takes.
	// After the fixpoint an honest peer sends none.
	maxHeld = 4096

	// maxSetBytes bounds the control records, and the sweeps, that one
	// exchange may bring: they are held in memory.
	maxSetBytes = 64 << 20
)

// Our own bounds, of no concern to the peer.
const (
	batchRecords = 1024      // records in one Verify
	batchBytes   = 512 << 10 // and their bytes, exceeded by one record at most
	intakeBytes  = 2 << 20   // received and not yet committed, before Accepts says no
	sendAhead    = 4         // frames that may wait on the link before Drained
	backlogIDs   = 16 << 10  // IDs found and not yet moved, before the next round waits
	bulkChunk    = 256       // IDs read from the index at a time
)
