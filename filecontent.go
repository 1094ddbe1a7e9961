package anabranch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"anabranch/blob"
	"anabranch/record"
)

// Files above what a record carries. For the ledger they are known by the
// name of their content, with a prefix that tells it from content itself.
const contentPrefix = "\x00blob "

func nameContent(n BlobName) []byte { return n.Append([]byte(contentPrefix)) }

// documentContent is what the ledger knows a document by.
func documentContent(v *Record) []byte {
	if ref, ok := BlobOf(v); ok {
		return nameContent(ref.Name)
	}
	return v.Payload
}

// fileContent is what the ledger knows a file by: its content, or for a large
// one the name of that. Errors are a *skipError or the context's.
func fileContent(ctx context.Context, dir *os.Root, rel string) ([]byte, error) {
	content, err := readWhole(ctx, dir, rel, record.MaxPayload)
	var why *skipError
	if !errors.As(err, &why) || why.reason != SkipTooLarge {
		return content, err
	}
	name, err := hashFile(ctx, dir, rel)
	return nameContent(name), err
}

func hashFile(ctx context.Context, dir *os.Root, rel string) (name BlobName, err error) {
	_, err = readSteady(ctx, dir, rel, func(f *os.File, _ int64) error {
		name, err = hashContent(reading{ctx, f})
		return err
	})
	return name, err
}

// hashContent names what a reader gives, on two cores.
func hashContent(r io.Reader) (BlobName, error) {
	var b blob.Builder
	buf := make([]byte, 2<<20)
	for {
		n, err := io.ReadFull(r, buf)
		half := min(n, len(buf)/2)
		var right []blob.Value
		var other sync.WaitGroup
		if n > half {
			other.Go(func() { right = blob.Values(nil, buf[half:n], b.Next()+uint64(half/blob.GroupBytes)) })
		}
		left := blob.Values(nil, buf[:half], b.Next())
		other.Wait()
		b.Add(buf[:n], append(left, right...))
		b.Take()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			name, _ := b.Sum()
			return name, nil
		}
		if err != nil {
			return BlobName{}, err
		}
	}
}

// takeLarge imports a file that no record carries.
func (im *importing) takeLarge(rel, path string, size int64) error {
	im.report.Files++
	im.files[path] = true
	reading, err := im.view.Resolve(path, im.now)
	if err != nil {
		return fmt.Errorf("anabranch: import %s: %w", rel, named(err))
	}
	met, known := im.ledger.file(rel)
	known = known && met.path == shortHash(path)
	var current BlobRef
	if !reading.Absent {
		current, _ = BlobOf(reading.Doc)
	}
	if known || current.Size == uint64(size) {
		// It may be what is there: nothing is written to find that out.
		name, err := hashFile(im.ctx, im.root, rel)
		if err != nil {
			return im.unread(rel, path, err)
		}
		has, err := im.space.rows.HasBlob(name)
		if err != nil {
			return named(err)
		}
		switch {
		case !reading.Absent && name == current.Name && has:
			im.report.Unchanged++
			im.ledger.agree(rel, path, nameContent(name))
			im.bytes += size
			return nil
		case known && name != current.Name && met.has(nameContent(name)) && !im.options.Overwrite:
			im.report.Older++
			return nil
		}
	}
	w := im.space.replica.store.NewBlob()
	defer func() { w.Abort() }()
	before := im.bytes
	info, err := readSteady(im.ctx, im.root, rel, func(f *os.File, _ int64) error {
		w.Abort()
		w = im.space.replica.store.NewBlob()
		im.bytes = before // of the attempt before
		_, err := w.ReadFrom(&counting{ctx: im.ctx, r: f, count: func(n int) { im.bytes += int64(n); im.progress() }})
		return err
	})
	if err != nil {
		im.bytes = before
		return im.unread(rel, path, err)
	}
	name, release, err := w.Commit(im.ctx, im.space.rows)
	if err != nil {
		return fmt.Errorf("anabranch: import %s: %w", rel, named(err))
	}
	if !reading.Absent && name == current.Name { // the content was missing, and is here now
		release()
		im.report.Unchanged++
		im.ledger.agree(rel, path, nameContent(name))
		return nil
	}
	ref := BlobRef{Name: name, Mode: uint16(info.Mode().Perm())}
	write := waitingWrite{file: rel, count: &im.report.Added, release: release, size: int64(name.Size)}
	write.draft.Kind, write.draft.Path, write.draft.Blob, write.draft.Payload = record.Doc, path, true, ref.Encode()
	if !reading.Absent {
		write.count = &im.report.Changed
		write.both = known && !met.has(documentContent(reading.Doc))
	}
	return im.write(write)
}

// unread skips a file that could not be read as it is; other errors stay.
func (im *importing) unread(rel, path string, err error) error {
	var why *skipError
	if !errors.As(err, &why) {
		return fmt.Errorf("anabranch: import %s: %w", rel, named(err))
	}
	im.report.Files--
	delete(im.files, path)
	im.skip(rel, why.reason, why.detail)
	im.hidden[path] = true
	return nil
}

func (im *importing) progress() {
	if im.options.Progress != nil {
		im.options.Progress(FileProgress{Done: im.done, Total: len(im.found), Bytes: im.bytes})
	}
}

// counting tells how much passes.
type counting struct {
	ctx   context.Context
	r     io.Reader
	count func(n int)
}

func (c *counting) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.count(n)
	return n, err
}

// replaceLarge is replaceFile for content that is read as it is written. A
// new file gets the permission bits that the reference carries, as far as the
// process's mask lets it.
func (ex *exporting) replaceLarge(dir *os.Root, f *newFile) error {
	from, err := ex.space.rows.Blob(f.ref.Name)
	if err != nil {
		return err
	}
	defer from.Close()
	var random [8]byte
	rand.Read(random[:])
	tmp := temporary + hex.EncodeToString(random[:])
	perm := fs.FileMode(0o666)
	if f.ref.Mode != 0 {
		perm = fs.FileMode(f.ref.Mode)&fs.ModePerm | 0o600
	}
	out, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	in := &counting{ctx: ex.ctx, r: io.NewSectionReader(from, 0, int64(f.ref.Size)), count: func(n int) { ex.bytes += int64(n); ex.advance(0) }}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, in, make([]byte, 1<<20))
	if err == nil && f.mode != 0 {
		err = out.Chmod(f.mode)
	}
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = dir.Rename(tmp, f.doc.name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(tmp))
	}
	return nil
}
