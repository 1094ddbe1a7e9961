package store

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

// Format is the number of the layout that this version reads and writes.
const Format = 1

// Our own limits. None of them decides membership.
const (
	groupRequests   = 1024    // requests answered by one fsync
	removeSlice     = 10_000  // records moved in one batch by a change of the law
	groupBytes      = 8 << 20 // after which a group is closed: a batch above half a memtable is flushed as its own table, and a few of those make a compaction due
	recordRows      = 1400    // bytes that Pebble reserves in a memtable for the rows of a record, beside its payload
	chunkRows       = 512     // rows read in one step of a scan
	keptVector      = record.MaxReplaces + 1
	reserveEvery    = 250 * time.Millisecond // between looks at the space on the disk
	trashStep       = 1024                   // expired trash rows destroyed in one commit
	departureRows   = 64 << 10               // departures kept in the log of a space
	checkpointEvery = 16 << 10               // changes after which derived state is written: less is read back in some milliseconds
	tidyInterval    = time.Hour              // between looks at the trash of spaces where nothing happens
)

// sweepArea is the area of every sweep written here: a full replica's reach
// is everything, and one area keeps the sweeps of a lane to one per block.
const sweepArea = "/"

const (
	defaultHeldBytes  = 64 << 20
	defaultTrashAge   = 7 * 24 * time.Hour
	defaultTrashBytes = 256 << 20
)

// Errors that a caller branches on.
var (
	ErrLocked        = errors.New("store: in use by another process")
	ErrNewer         = errors.New("store: written by a newer version")
	ErrDamaged       = errors.New("store: damaged")
	ErrClosed        = errors.New("store: closed")
	ErrNotFound      = errors.New("store: not found")
	ErrFailed        = errors.New("store: the disk refused a write; the store must be opened again")
	ErrFull          = errors.New("store: the disk is full; writing goes on when there is space")
	ErrNotAuthorised = errors.New("store: the author may not write this here")
	ErrNotRemovable  = errors.New("store: only the author's own entries and deltas can be removed")
	ErrFactChanged   = errors.New("store: the fact is not what was expected")
)

// TimeExhaustedError says that a path can be written no more: a live record
// there carries the last possible time. A seal on its author is the cure.
type TimeExhaustedError struct {
	Path   string
	Record record.ID
	Author record.Key
}

func (e *TimeExhaustedError) Error() string {
	return fmt.Sprintf("store: time is exhausted at %s: record %v by %v stands at the end of time", e.Path, e.Record, e.Author)
}

// Options configures Open. The zero value is ready to use.
type Options struct {
	// FS is the file system below the store. Default vfs.Default.
	FS vfs.FS
	// HeldBytes bounds, for each space, what is kept of records by others that
	// nothing here authorises: the oldest go first. Default 64 MiB.
	HeldBytes int64
	// TrashAge is how long a dead record stays in the trash, out of every
	// root, to be brought back if its author's authority changes. Default
	// seven days; negative keeps no trash.
	TrashAge time.Duration
	// TrashBytes bounds, for each space, the trash that no standing seal lists:
	// what was to be destroyed first goes early. Default 256 MiB.
	TrashBytes int64
	// Now is the clock of the trash. Default time.Now.
	Now func() time.Time
	// LeaseDir is a directory that backups and clones of the store do not
	// carry, and that is empty after a reboot (a runtime directory). Empty
	// means no lease: every opening writes in fresh lanes.
	LeaseDir string
	// OwnAuthors are keys whose records are never evicted while held.
	// KeepAuthor adds to them, and so does every Write, Issue and Sweep.
	OwnAuthors []record.Key
	// BlobBytes bounds the content of blobs on this disk, whole or begun, all
	// spaces together; 0: no bound. See ErrQuota.
	BlobBytes int64
	// ReserveBytes is the space on the disk that writes leave free, since
	// compactions need it: below, whatever adds records is refused with
	// ErrFull. Default 64 MiB; negative asks for none.
	ReserveBytes int64
	// MemTableBytes is the size of one write buffer. Default 32 MiB; at most four are in use.
	MemTableBytes int
	// CacheBytes is the size of the block cache, write buffers included: with
	// fewer than five of those, lookups go to the disk. Beside it, items of the
	// index take three eighths of it while they are read, one otherwise.
	// Default 128 MiB.
	CacheBytes int64
	// Random names stores and lanes: numbers that nobody else may choose too.
	// Default the system's randomness; a simulation gives a seeded source.
	Random func() uint64
	// Logger defaults to discarding.
	Logger *slog.Logger

	smallBlob  int           // bytes of content that is still kept in a row; default defaultSmallBlob
	noSync     bool          // the control of the power-cut test: it must lose
	slice      int           // records moved in one batch; default removeSlice
	departures int           // kept in the log; default departureRows
	lookEvery  time.Duration // between looks at the space on the disk; default reserveEvery, negative: always
	checkpoint int           // changes after which derived state is written; default checkpointEvery
	blocks     blockSize     // of the index; default defaultBlocks
	cut        int           // IDs of a cut; default defaultCut
	spaceRetry time.Duration // between attempts to write on a full disk; default 500 ms, negative: that is a failure
}

func (o Options) validate() (Options, error) {
	var wrong []error
	if o.HeldBytes < 0 {
		wrong = append(wrong, fmt.Errorf("store: HeldBytes is %d", o.HeldBytes))
	}
	if o.MemTableBytes < 0 || o.MemTableBytes > 0 && o.MemTableBytes < 16<<10 {
		wrong = append(wrong, fmt.Errorf("store: MemTableBytes is %d, at least 16384", o.MemTableBytes))
	}
	if o.TrashBytes < 0 {
		wrong = append(wrong, fmt.Errorf("store: TrashBytes is %d", o.TrashBytes))
	}
	if o.BlobBytes < 0 {
		wrong = append(wrong, fmt.Errorf("store: BlobBytes is %d", o.BlobBytes))
	}
	if o.smallBlob == 0 {
		o.smallBlob = defaultSmallBlob
	}
	if o.CacheBytes < 0 {
		wrong = append(wrong, fmt.Errorf("store: CacheBytes is %d", o.CacheBytes))
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.HeldBytes == 0 {
		o.HeldBytes = defaultHeldBytes
	}
	if o.TrashAge == 0 {
		o.TrashAge = defaultTrashAge
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 32 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 128 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 64 << 20
	}
	if o.spaceRetry == 0 {
		o.spaceRetry = 500 * time.Millisecond
	}
	if o.lookEvery == 0 {
		o.lookEvery = reserveEvery
	}
	if o.Random == nil {
		o.Random = systemRandom
	}
	if o.checkpoint == 0 {
		o.checkpoint = checkpointEvery
	}
	if o.blocks == (blockSize{}) {
		o.blocks = defaultBlocks
	}
	if o.cut == 0 {
		o.cut = defaultCut
	}
	if o.slice == 0 {
		o.slice = removeSlice
	}
	if o.TrashBytes == 0 {
		o.TrashBytes = defaultTrashBytes
	}
	if o.departures == 0 {
		o.departures = departureRows
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(wrong...)
}
