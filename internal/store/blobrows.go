package store

import (
	"encoding/binary"
	"fmt"
	"iter"

	"anabranch/blob"
	"anabranch/record"
)

// Rows of blobs; name is hash 32 and size 8. docs/store.md has them too.
const (
	tableBlob      = 'B' // name -> place 1, since 8: content that is whole on this disk
	tableBlobHere  = 'H' // S name -> 1: ... and that this space may give out
	tableBlobNamed = 'N' // S name n -> nothing: the members that name it
	tableBlobValue = 'V' // name -> content that is small
)

// Where content is.
const (
	placeRows = 1 // in tableBlobValue
	placeFile = 2 // in a file of its own
)

func init() {
	for table, name := range map[byte]string{
		tableBlob: "blob", tableBlobHere: "blob here", tableBlobNamed: "blob named", tableBlobValue: "blob content",
	} {
		tableNames[table] = name
	}
}

func blobKey(table byte, name blob.Name) []byte { return name.Append([]byte{table}) }

func blobSpaceKey(table byte, s uint32, name blob.Name) []byte {
	return name.Append(tableKey(table, s, blob.NameBytes+8))
}

// blobRow is what is known of content that is whole.
type blobRow struct {
	place byte
	since uint64 // microseconds: when it was first seen without a record that names it; 0: one did at the last look
}

func (b blobRow) encode() []byte { return u64([]byte{b.place}, b.since) }

func decodeBlobRow(key, value []byte) (blob.Name, blobRow, error) {
	if len(key) != 1+blob.NameBytes || len(value) != 9 || value[0] != placeRows && value[0] != placeFile {
		return blob.Name{}, blobRow{}, damagedRow(key, "layout")
	}
	name, err := blob.DecodeName(key[1:])
	if err != nil {
		return blob.Name{}, blobRow{}, damagedRow(key, "%v", err)
	}
	return name, blobRow{value[0], beU64(value[1:])}, nil
}

// BlobOf is the blob that a record names; false if it names none.
func BlobOf(r *record.Record) (blob.Ref, bool) {
	if !r.Blob || r.Deleted || !r.Data() {
		return blob.Ref{}, false
	}
	ref, err := blob.DecodeRef(r.Payload)
	return ref, err == nil
}

// nameBlob notes that member n names a blob, if it does; unnameBlob that it
// does no more.
func (w *work) nameBlob(r *record.Verified, n uint64) {
	if ref, ok := BlobOf(&r.Record); ok {
		w.c.tx.set(u64(blobSpaceKey(tableBlobNamed, w.s, ref.Name), n), nil)
	}
}

func (w *work) unnameBlob(r *record.Verified, n uint64) {
	if ref, ok := BlobOf(&r.Record); ok {
		w.c.tx.delete(u64(blobSpaceKey(tableBlobNamed, w.s, ref.Name), n))
	}
}

// NamedBlob is a blob that members name.
type NamedBlob struct {
	blob.Name
	By []uint64 // their arrival numbers, ascending
}

// BlobsNamed yields every blob that members name, by name. It ends after the
// first error.
func (v *Snapshot) BlobsNamed() iter.Seq2[NamedBlob, error] {
	return func(yield func(NamedBlob, error) bool) {
		rows, err := v.reader()
		if err != nil {
			yield(NamedBlob{}, err)
			return
		}
		var at NamedBlob
		stopped := false
		lo := tableKey(tableBlobNamed, v.space.number, 0)
		err = each(rows, lo, successor(lo), func(x row) error {
			name, n, err := decodeNamed(x.key)
			if err != nil || stopped {
				return err
			}
			if _, gone := v.gone[n]; gone {
				return nil
			}
			if len(at.By) > 0 && at.Name != name {
				stopped = !yield(at, nil)
				at.By = nil
				if stopped {
					return errStopped
				}
			}
			at.Name, at.By = name, append(at.By, n)
			return nil
		})
		switch {
		case stopped:
		case err != nil:
			yield(NamedBlob{}, err)
		case len(at.By) > 0:
			yield(at, nil)
		}
	}
}

var errStopped = fmt.Errorf("store: the caller has enough")

func decodeNamed(key []byte) (blob.Name, uint64, error) {
	if len(key) != 5+blob.NameBytes+8 {
		return blob.Name{}, 0, damagedRow(key, "%d bytes", len(key))
	}
	name, err := blob.DecodeName(key[5 : 5+blob.NameBytes])
	if err != nil {
		return blob.Name{}, 0, damagedRow(key, "%v", err)
	}
	return name, binary.BigEndian.Uint64(key[5+blob.NameBytes:]), nil
}

// NamesBlob reports whether a member names a blob. Cost: a seek.
func (v *Snapshot) NamesBlob(name blob.Name) (bool, error) {
	rows, err := v.reader()
	if err != nil {
		return false, err
	}
	return blobNamed(rows, v.space.number, name)
}

func blobNamed(rows reader, s uint32, name blob.Name) (bool, error) {
	lo := blobSpaceKey(tableBlobNamed, s, name)
	found, _, err := rows.chunk(lo, successor(lo), 1)
	return len(found) > 0, err
}

// Arrived is the member that arrived as number n. ErrNotFound if it has left.
func (v *Snapshot) Arrived(n uint64) (*record.Verified, error) {
	rows, err := v.reader()
	if err != nil {
		return nil, err
	}
	b, err := rows.get(numberKey(tableArrival, v.space.number, n))
	if err != nil {
		return nil, err
	}
	if _, gone := v.gone[n]; b == nil || gone {
		return nil, fmt.Errorf("%w: arrival %d", ErrNotFound, n)
	}
	return v.space.readArrival(rows, n)
}

// BlobsSince yields the members that came after a version and name a blob,
// with its name, in order. It computes no IDs.
func (v *Snapshot) BlobsSince(version uint64) iter.Seq2[NamedBlob, error] {
	return func(yield func(NamedBlob, error) bool) {
		for in := v.log(tableArrival, version); ; in.next() {
			x, err := in.peek()
			if err != nil {
				yield(NamedBlob{}, err)
				return
			}
			if x == nil {
				return
			}
			n := beU64(x.key[5:])
			if _, gone := v.gone[n]; gone {
				continue
			}
			r, err := record.Decode(x.value)
			if err != nil {
				yield(NamedBlob{}, damagedRow(x.key, "%v", err))
				return
			}
			if ref, ok := BlobOf(&r); ok && !yield(NamedBlob{Name: ref.Name, By: []uint64{n}}, nil) {
				return
			}
		}
	}
}

// LeftSince reports whether a member has left after a version.
func (v *Snapshot) LeftSince(version uint64) (bool, error) {
	x, err := v.log(tableDeparture, version).peek()
	return x != nil, err
}
