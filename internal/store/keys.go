package store

import (
	"encoding/binary"

	"anabranch/record"
)

// The first byte of a key is its table. Integers are big-endian; S is the
// store's 4-byte number of a space, A its 4-byte number of an author key, n an
// arrival number of 8 bytes. docs/store.md has the table of tables.
const (
	tableArrival    = 'a' // S n -> the record that entered
	tableDeparture  = 'b' // S n -> the record that left
	tableControl    = 'c' // S ID -> n: the members that are control or sweeps
	tableDot        = 'd' // S A lane number n -> nothing
	tableExpiry     = 'e' // S time ID -> nothing: when trash is destroyed
	tableFact       = 'f' // key -> value
	tableHeldPath   = 'g' // S path 00 A ID -> nothing: held docs
	tableHeld       = 'h' // S ID -> serial, record
	tableID         = 'i' // S ID -> n
	tableHeldOrder  = 'j' // S serial -> ID: held records of others, oldest first
	tableKill       = 'k' // S A path 00 time n -> lane, number, state: own superfluous docs
	tableLane       = 'l' // S A lane -> highest, first forked number
	tableMeta       = 'm' // name -> value
	tableHeldBy     = 'o' // S A ID -> nothing: held records by author
	tablePath       = 'p' // S path 00 kind time n -> A
	tableQueue      = 'q' // S -> removals that go on
	tableTrash      = 'r' // S ID -> expiry, record
	tableSpace      = 's' // S -> genesis
	tableTime       = 't' // S time ID -> n
	tableAuthor     = 'u' // A -> key
	tableVector     = 'w' // S path -> what a doc written here replaces
	tableCheckpoint = 'y' // S 00 -> head; S slot kind index -> piece: derived values
	tableTrashBy    = 'x' // S A ID -> nothing: trash by author
)

// tableNames is how findings of Verify name a table.
var tableNames = map[byte]string{
	tableArrival: "arrival", tableDeparture: "departure", tableControl: "control", tableDot: "dot", tableExpiry: "trash expiry",
	tableFact: "fact", tableHeldPath: "held path", tableHeld: "held", tableID: "id",
	tableHeldOrder: "held order", tableKill: "pending kill", tableLane: "lane", tableMeta: "meta",
	tableHeldBy: "held author", tableQueue: "removal", tablePath: "path", tableTrash: "trash", tableSpace: "space",
	tableCheckpoint: "checkpoint", tableTime: "time", tableAuthor: "author", tableVector: "replaces", tableTrashBy: "trash author",
}

var (
	metaFormat = []byte{tableMeta, 'f'}
	metaStore  = []byte{tableMeta, 's'}
)

// metaGeneration is the name of a space's generation: random, and new
// whenever a fresh lane is opened here.
func metaGeneration(s uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{tableMeta, 'g'}, s)
}

// metaTrimmed is the arrival number up to which departures were forgotten.
func metaTrimmed(s uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{tableMeta, 't'}, s)
}

func tableKey(table byte, s uint32, room int) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 5+room), table), s)
}

func u32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func u64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func idKey(table byte, s uint32, id record.ID) []byte {
	return append(tableKey(table, s, 32), id[:]...)
}

func numberKey(table byte, s uint32, n uint64) []byte { return u64(tableKey(table, s, 8), n) }

func timeKey(table byte, s uint32, t uint64, id record.ID) []byte {
	return append(u64(tableKey(table, s, 40), t), id[:]...)
}

func authorKey(table byte, s, a uint32, id record.ID) []byte {
	return append(u32(tableKey(table, s, 36), a), id[:]...)
}

func laneKey(s, a uint32, lane uint64) []byte {
	return u64(u32(tableKey(tableLane, s, 12), a), lane)
}

func dotKey(s, a uint32, lane uint64, number uint32, n uint64) []byte {
	return u64(u32(u64(u32(tableKey(tableDot, s, 24), a), lane), number), n)
}

func dotPrefix(s, a uint32, lane uint64, number uint32) []byte {
	return u32(u64(u32(tableKey(tableDot, s, 16), a), lane), number)
}

// A path holds no 00, so the separator after it orders paths as bytes.

func killPrefix(s, a uint32, path string) []byte {
	return append(append(u32(tableKey(tableKill, s, len(path)+21), a), path...), 0)
}

func killKey(s, a uint32, path string, t, n uint64) []byte {
	return u64(u64(killPrefix(s, a, path), t), n)
}

func pathPrefix(s uint32, path string) []byte {
	return append(append(tableKey(tablePath, s, len(path)+18), path...), 0)
}

func kindPrefix(s uint32, path string, k record.Kind) []byte {
	return append(pathPrefix(s, path), byte(k))
}

func pathKey(s uint32, path string, k record.Kind, t, n uint64) []byte {
	return u64(u64(kindPrefix(s, path, k), t), n)
}

func vectorKey(s uint32, path string) []byte {
	return append(tableKey(tableVector, s, len(path)), path...)
}

func heldPathPrefix(s uint32, path string) []byte {
	return append(append(tableKey(tableHeldPath, s, len(path)+37), path...), 0)
}

func heldPathKey(s uint32, path string, a uint32, id record.ID) []byte {
	return append(u32(heldPathPrefix(s, path), a), id[:]...)
}

func authorRow(a uint32) []byte { return u32([]byte{tableAuthor}, a) }

func spaceRow(s uint32) []byte { return u32([]byte{tableSpace}, s) }

func factKey(key string) []byte { return append([]byte{tableFact}, key...) }
