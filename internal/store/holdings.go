package store

import (
	"context"
	"fmt"
	"time"
)

// Holding is what one part of a store takes on disk.
type Holding struct {
	Part  Part
	Bytes uint64 // compressed; about: rows are told apart to a block of 16 KiB
}

// Part is one use that a store makes of its disk.
type Part string

// The parts of a store, in the order in which Holdings lists them.
const (
	PartRecords Part = "records"     // bytes of members
	PartOrders  Part = "orders"      // members by time, ID, path, dot and kind; lanes; what docs replace
	PartGone    Part = "departures"  // which records left the set, and own ones that are to be swept
	PartTrash   Part = "trash"       // dead records, for TrashAge
	PartHeld    Part = "held"        // records that nothing known here authorises
	PartDerived Part = "checkpoints" // of index, trie and sketch: opening reads them instead of every row
	PartFacts   Part = "facts"       // of the layers above, saved states of texts among them
	PartContent Part = "content"     // small blobs, and rows about all of them; not the files of large ones
	PartOther   Part = "other"       // spaces, authors, format
	PartLog     Part = "log"         // what was written last: up to some MiB, until it is in tables
)

var partTables = map[byte]Part{
	tableArrival: PartRecords,
	tableControl: PartOrders, tableDot: PartOrders, tableID: PartOrders, tableLane: PartOrders, tablePath: PartOrders, tableTime: PartOrders, tableVector: PartOrders,
	tableDeparture: PartGone, tableKill: PartGone, tableQueue: PartGone,
	tableTrash: PartTrash, tableTrashBy: PartTrash, tableExpiry: PartTrash,
	tableHeld: PartHeld, tableHeldBy: PartHeld, tableHeldOrder: PartHeld, tableHeldPath: PartHeld,
	tableCheckpoint: PartDerived, tableFact: PartFacts,
	tableBlob: PartContent, tableBlobHere: PartContent, tableBlobNamed: PartContent, tableBlobValue: PartContent,
}

// Holdings is what each part of the store takes on disk, all spaces together,
// without the parts that take nothing; a store in memory has none. It reads
// indexes of tables and no rows: some milliseconds.
func (s *Store) Holdings() ([]Holding, error) {
	d, ok := s.engine.(*disk)
	if !ok {
		return nil, nil
	}
	sums := make(map[Part]uint64)
	before := uint64(0)
	for table := 0; table < 0xFF; table++ {
		// What lies up to the end of a table, so that a block which two tables
		// share is counted once.
		n, err := d.db.EstimateDiskUsage([]byte{0}, []byte{byte(table) + 1})
		if err != nil {
			return nil, fmt.Errorf("store: measure: %w", readError(err))
		}
		if n > before {
			part := partTables[byte(table)]
			if part == "" {
				part = PartOther
			}
			sums[part] += n - before
			before = n
		}
	}
	sums[PartLog] = d.db.Metrics().WAL.Size
	var out []Holding
	for _, p := range []Part{PartRecords, PartOrders, PartGone, PartTrash, PartHeld, PartDerived, PartFacts, PartContent, PartOther, PartLog} {
		if sums[p] > 0 {
			out = append(out, Holding{p, sums[p]})
		}
	}
	return out, nil
}

// Compact does all background work of the tables at once, and tells how many
// bytes of disk they take before and after it; 0 for a store in memory. What
// was deleted is away then, unless an open snapshot can see it.
func (s *Store) Compact(ctx context.Context) (before, after uint64, err error) {
	d, ok := s.engine.(*disk)
	if !ok {
		return 0, 0, nil
	}
	lo, hi := []byte{0}, []byte{0xFF}
	if err = d.db.Flush(); err == nil {
		before, err = d.db.EstimateDiskUsage(lo, hi)
	}
	if err == nil {
		err = d.compact(ctx, lo, hi)
	}
	// A table may have been moved down as it is. Pebble then counts what is
	// deleted in it, and rewrites it if that is much.
	for quiet := 0; err == nil && quiet < 3; {
		m := d.db.Metrics()
		if m.Compact.NumInProgress == 0 && m.Table.InitialStatsCollectionComplete && m.Table.PendingStatsCollectionCount == 0 {
			quiet++
		} else {
			quiet = 0
		}
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	if err == nil {
		after, err = d.db.EstimateDiskUsage(lo, hi)
	}
	return before, after, err
}
