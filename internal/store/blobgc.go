package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"anabranch/blob"
)

// Collected says what CollectBlobs did.
type Collected struct {
	Kept      int // named by a record
	KeptBytes int64
	Waiting   int // named by none, for less than the trash window
	Removed   int
	Bytes     int64 // of those removed
	Partial   int   // removed that were not whole
}

const collectStep = 256 // names looked at, or removed, in one commit

// CollectBlobs removes content that no member of any space has named for the
// trash window, or with atOnce, names now; what was begun to be fetched and
// is named no more; and rows of spaces that are gone. Content that is being
// read or put stays. The window begins when a call first finds it unnamed.
func (s *Store) CollectBlobs(ctx context.Context, atOnce bool) (Collected, error) {
	var out Collected
	spaces, err := s.spaceNumbers()
	if err == nil {
		err = s.dropOrphanRows(ctx, spaces)
	}
	lo := []byte{tableBlob}
	for lo != nil && err == nil {
		v := s.now()
		var rows []row
		rows, lo, err = v.chunk(lo, successor([]byte{tableBlob}), collectStep)
		v.release()
		if err == nil && len(rows) > 0 {
			err = s.collect(ctx, spaces, rows, atOnce, &out)
		}
	}
	if err == nil {
		err = s.collectParts(spaces, &out)
	}
	return out, err
}

// spaceNumbers are the spaces in the store, also those that cannot be used.
func (s *Store) spaceNumbers() (map[uint32]bool, error) {
	v := s.now()
	defer v.release()
	out := map[uint32]bool{}
	err := each(v, []byte{tableSpace}, successor([]byte{tableSpace}), func(x row) error {
		if len(x.key) != 5 {
			return damagedRow(x.key, "%d bytes", len(x.key))
		}
		out[beU32(x.key[1:])] = true
		return nil
	})
	return out, err
}

// collect looks at some contents. Who names them is asked in the commit that
// forgets them, so that no record can come in between.
func (s *Store) collect(ctx context.Context, spaces map[uint32]bool, rows []row, atOnce bool, out *Collected) error {
	b := s.blobs
	b.collecting.Lock()
	var step Collected
	var files []blob.Name
	err := s.do(ctx, 0, func(c *commit) error {
		step, files = Collected{}, nil
		now := uint64(max(1, c.now.UnixMicro()))
		for _, x := range rows {
			value, err := c.tx.get(x.key)
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			name, r, err := decodeBlobRow(x.key, value)
			if err != nil {
				return err
			}
			named, err := c.namedAnywhere(spaces, name)
			if err != nil {
				return err
			}
			b.mu.Lock()
			used := b.uses[name] > 0
			b.mu.Unlock()
			since := r.since
			switch {
			case named:
				step.Kept++
				step.KeptBytes += int64(name.Size)
				since = 0
			case used:
				step.Waiting++
			case atOnce, s.options.TrashAge < 0, since != 0 && since+uint64(s.options.TrashAge/time.Microsecond) <= now:
				c.tx.delete(x.key)
				c.tx.delete(blobKey(tableBlobValue, name))
				for n := range spaces {
					c.tx.delete(blobSpaceKey(tableBlobHere, n, name))
				}
				step.Removed++
				step.Bytes += int64(name.Size)
				if r.place == placeFile {
					files = append(files, name)
				}
				continue
			case since == 0:
				since = now
				fallthrough
			default:
				step.Waiting++
			}
			if since != r.since {
				c.tx.set(x.key, blobRow{r.place, since}.encode())
			}
		}
		return nil
	})
	if err == nil {
		for _, name := range files {
			b.removeFiles(name.String()) // no row knows them: were they to stay, opening would remove them
		}
		b.mu.Lock()
		b.whole -= step.Bytes
		b.mu.Unlock()
		out.Kept, out.KeptBytes = out.Kept+step.Kept, out.KeptBytes+step.KeptBytes
		out.Waiting, out.Removed, out.Bytes = out.Waiting+step.Waiting, out.Removed+step.Removed, out.Bytes+step.Bytes
	}
	b.collecting.Unlock()
	return err
}

func (c *commit) namedAnywhere(spaces map[uint32]bool, name blob.Name) (bool, error) {
	for n := range spaces { // any order gives the same answer
		if named, err := blobNamed(c.tx, n, name); named || err != nil {
			return named, err
		}
	}
	return false, nil
}

// dropOrphanRows forgets what spaces that are gone named and held.
func (s *Store) dropOrphanRows(ctx context.Context, spaces map[uint32]bool) error {
	for _, table := range []byte{tableBlobNamed, tableBlobHere} {
		lo, hi := []byte{table}, successor([]byte{table})
		for lo != nil {
			v := s.now()
			rows, next, err := v.chunk(lo, hi, chunkRows)
			v.release()
			if err != nil {
				return err
			}
			lo = next
			var gone [][]byte
			for _, x := range rows {
				if len(x.key) < 5 {
					return damagedRow(x.key, "%d bytes", len(x.key))
				}
				if n := beU32(x.key[1:]); spaces[n] {
					lo = tableKey(table, n+1, 0) // on to the next space
					if n == ^uint32(0) {
						lo = nil
					}
					break
				}
				gone = append(gone, x.key)
			}
			if len(gone) == 0 {
				continue
			}
			err = s.do(ctx, 0, func(c *commit) error {
				for _, key := range gone {
					c.tx.delete(key)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// collectParts removes what was begun for a space in which no record names it
// now, or that has it whole, and that nobody fetches.
func (s *Store) collectParts(spaces map[uint32]bool, out *Collected) error {
	b := s.blobs
	names, err := b.fs.List(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	v := s.now()
	defer v.release()
	for _, file := range names {
		base, ok := strings.CutSuffix(strings.TrimSuffix(file, treeSuffix), partSuffix)
		if !ok {
			continue
		}
		key, err := parsePart(base)
		if err != nil {
			continue
		}
		named := spaces[key.space]
		if named {
			here, err := v.get(blobSpaceKey(tableBlobHere, key.space, key.name))
			if err == nil && here == nil {
				named, err = blobNamed(v, key.space, key.name)
			} else {
				named = false // it is whole
			}
			if err != nil {
				return err
			}
		}
		b.mu.Lock()
		if !named && b.parts[key] == nil && b.fs.Remove(b.path(file)) == nil && !strings.HasSuffix(file, treeSuffix) {
			out.Partial++
		}
		b.mu.Unlock()
	}
	return err
}

// VerifyBlobs reads all content that this space holds, hashes it, and
// compares it with its name, and compares the rows of blobs with the records
// that name them. progress may be nil; it counts bytes.
func (sp *Space) VerifyBlobs(ctx context.Context, progress func(done, total uint64)) ([]Finding, error) {
	var out []Finding
	find := func(table byte, name blob.Name, format string, args ...any) {
		out = append(out, Finding{tableNames[table], name.String(), fmt.Sprintf(format, args...)})
	}
	v, err := sp.Snapshot()
	if err != nil {
		return nil, err
	}
	defer v.Close()
	type naming struct {
		name blob.Name
		n    uint64
	}
	records := map[naming]bool{}
	for a, err := range v.Since(0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return out, err
		}
		if a.Record == nil {
			continue
		}
		if ref, ok := BlobOf(&a.Record.Record); ok {
			records[naming{ref.Name, a.Number}] = true
		}
	}
	for b, err := range v.BlobsNamed() {
		if err != nil {
			return out, err
		}
		for _, n := range b.By {
			if !records[naming{b.Name, n}] {
				find(tableBlobNamed, b.Name, "arrival %d does not name it", n)
			}
			delete(records, naming{b.Name, n})
		}
	}
	for x := range records {
		find(tableBlobNamed, x.name, "missing for arrival %d", x.n)
	}
	rows, err := v.reader()
	if err != nil {
		return out, err
	}
	var held []blob.Name
	var done, total uint64
	lo := tableKey(tableBlobHere, sp.number, 0)
	err = each(rows, lo, successor(lo), func(x row) error {
		if len(x.key) != 5+blob.NameBytes {
			out = append(out, Finding{tableNames[tableBlobHere], fmt.Sprintf("%x", x.key[5:]), "layout"})
			return nil
		}
		name, err := blob.DecodeName(x.key[5:])
		if err == nil {
			held = append(held, name)
			total += name.Size
		}
		return err
	})
	if err != nil {
		return out, err
	}
	for _, name := range held {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		wrong, err := sp.VerifyBlob(ctx, name)
		if errors.Is(err, ErrNotHere) {
			continue // removed meanwhile
		}
		if err != nil {
			return out, err
		}
		if wrong != "" {
			find(tableBlob, name, "%s", wrong)
		}
		if done += name.Size; progress != nil {
			progress(done, total)
		}
	}
	return out, nil
}

// VerifyBlob reads and hashes one content and says what is wrong with it, ""
// if nothing is. ErrNotHere if nothing of it is here.
func (sp *Space) VerifyBlob(ctx context.Context, name blob.Name) (wrong string, err error) {
	wrong, err = sp.verifyContent(ctx, name)
	if errors.Is(err, ErrDamaged) {
		wrong, err = err.Error(), nil
	}
	return wrong, err
}

func (sp *Space) verifyContent(ctx context.Context, name blob.Name) (string, error) {
	f, err := sp.Blob(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	set, err := blob.Recover(name, stoppable{ctx, f.content}, f.tree, nil)
	if err != nil {
		return "", err
	}
	if at, missing := set.NextMissing(0); missing {
		return fmt.Sprintf("%d of %d groups do not match the name, group %d first", name.Groups()-set.Len(), name.Groups(), at), nil
	}
	return "", nil
}

// stoppable ends a long read with its context.
type stoppable struct {
	ctx context.Context
	io.ReaderAt
}

func (r stoppable) ReadAt(p []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReaderAt.ReadAt(p, off)
}
