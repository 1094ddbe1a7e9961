package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
)

const (
	putBuffer = 1 << 20  // bytes that are hashed and written at a time
	putSync   = 64 << 20 // bytes after which the disk is set to work
)

// BlobWriter takes content of a size that nobody has said, hashes it on every
// core, and makes it a space's. It is for one goroutine. End it with Commit
// or Abort.
type BlobWriter struct {
	blobs *blobs
	build blob.Builder
	buf   []byte
	spare []byte
	file  vfs.File // nil while everything fits into buf
	tree  vfs.File
	name  string // of the file
	at    int64  // written to file
	above int64  // written to tree
	taken int64  // off the quota
	work  chan error
	sync  chan error
	since int64 // bytes since the disk was set to work
	err   error
}

// NewBlob begins to take content.
func (s *Store) NewBlob() *BlobWriter { return &BlobWriter{blobs: s.blobs} }

// Write takes more content. The error is ErrFull, ErrQuota or the disk's.
func (w *BlobWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if err := w.space(); err != nil {
			return n, err
		}
		k := min(len(p)-n, cap(w.buf)-len(w.buf))
		w.buf = append(w.buf, p[n:n+k]...)
		n += k
	}
	return n, nil
}

// ReadFrom takes content until io.EOF, without a copy in between.
func (w *BlobWriter) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for {
		if err := w.space(); err != nil {
			return total, err
		}
		n, err := r.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// space makes room in buf.
func (w *BlobWriter) space() error {
	switch {
	case w.err != nil:
		return w.err
	case w.buf == nil:
		w.buf = make([]byte, 0, min(w.blobs.store.options.smallBlob+1, putBuffer))
	case len(w.buf) < cap(w.buf):
	case cap(w.buf) < putBuffer:
		w.buf = append(make([]byte, 0, putBuffer), w.buf...)
	default:
		w.err = w.flush()
	}
	return w.err
}

// flush hands buf over to be hashed and written, while the other buffer is
// filled.
func (w *BlobWriter) flush() error {
	if w.file == nil {
		w.blobs.mu.Lock()
		w.blobs.puts++
		w.name = fmt.Sprintf("put-%d%s", w.blobs.puts, putSuffix)
		w.blobs.mu.Unlock()
		var err error
		if w.file, err = w.blobs.create(w.name); err == nil {
			w.tree, err = w.blobs.create(w.name + treeSuffix)
		}
		if err != nil {
			return err
		}
	}
	if err := w.wait(); err != nil {
		return err
	}
	if err := w.blobs.room(int64(len(w.buf))); err != nil {
		return err
	}
	w.taken += int64(len(w.buf))
	full := w.buf
	if w.spare == nil {
		w.spare = make([]byte, 0, putBuffer)
	}
	w.buf, w.spare = w.spare[:0], full
	w.work = make(chan error, 1)
	go func() { w.work <- w.put(full) }()
	return nil
}

// wait ends the work on the buffer before.
func (w *BlobWriter) wait() error {
	if w.work == nil {
		return nil
	}
	err := <-w.work
	w.work = nil
	return err
}

// put hashes one buffer in two halves and writes it meanwhile.
func (w *BlobWriter) put(b []byte) error {
	first := w.build.Next()
	half := min(len(b), (len(b)/2+blob.GroupBytes-1)/blob.GroupBytes*blob.GroupBytes)
	var left, right []blob.Value
	var hashing sync.WaitGroup
	hashing.Go(func() { right = blob.Values(nil, b[half:], first+uint64(half/blob.GroupBytes)) })
	hashing.Go(func() { left = blob.Values(nil, b[:half], first) })
	_, err := w.file.WriteAt(b, w.at)
	hashing.Wait()
	if err != nil {
		return blobError(err)
	}
	w.at += int64(len(b))
	w.build.Add(b, append(left, right...))
	if err := w.writeTree(w.build.Take()); err != nil {
		return err
	}
	if w.since += int64(len(b)); w.since >= putSync {
		w.since = 0
		return w.setToWork()
	}
	return nil
}

func (w *BlobWriter) writeTree(parents []byte) error {
	if len(parents) == 0 {
		return nil
	}
	_, err := w.tree.WriteAt(parents, w.above)
	w.above += int64(len(parents))
	return blobError(err)
}

// setToWork lets the disk write what it has while more is hashed.
func (w *BlobWriter) setToWork() error {
	if w.sync != nil {
		if err := <-w.sync; err != nil {
			return blobError(err)
		}
	}
	w.sync = make(chan error, 1)
	go func(done chan<- error) { done <- w.file.SyncData() }(w.sync)
	return nil
}

// Commit makes the content a space's: it is durable when Commit returns, file
// and folder. release must be called when the record that names it was
// committed, or will not be; until then nothing removes the content.
func (w *BlobWriter) Commit(ctx context.Context, sp *Space) (name blob.Name, release func(), err error) {
	defer w.Abort() // what is in place by then stays
	if w.err != nil {
		return blob.Name{}, nil, w.err
	}
	b := w.blobs
	if w.file == nil && len(w.buf) <= b.store.options.smallBlob {
		name = blob.Sum(w.buf)
		if err := b.room(int64(name.Size)); err != nil {
			return blob.Name{}, nil, err
		}
		w.taken += int64(name.Size)
		release = b.use(name)
		err = w.arrive(ctx, sp, name, append([]byte{}, w.buf...), nil)
	} else if name, err = w.finish(); err == nil {
		release = b.use(name)
		err = w.arrive(ctx, sp, name, nil, func() error { return b.settle(name, w.name) })
	}
	if err != nil {
		if release != nil {
			release()
		}
		return blob.Name{}, nil, err
	}
	return name, release, nil
}

func (w *BlobWriter) arrive(ctx context.Context, sp *Space, name blob.Name, value []byte, files func() error) error {
	w.blobs.collecting.RLock()
	defer w.blobs.collecting.RUnlock()
	return w.blobs.arrive(ctx, sp, name, value, files)
}

// finish writes the rest and makes both files durable.
func (w *BlobWriter) finish() (blob.Name, error) {
	if len(w.buf) > 0 {
		if err := w.flush(); err != nil {
			return blob.Name{}, err
		}
	}
	if err := w.wait(); err != nil {
		return blob.Name{}, err
	}
	name, rest := w.build.Sum()
	err := w.writeTree(rest)
	if err == nil && w.sync != nil {
		err = blobError(<-w.sync)
		w.sync = nil
	}
	if err == nil {
		err = blobError(errors.Join(w.file.Sync(), w.tree.Sync()))
	}
	return name, err
}

// Abort gives up what was not committed. It may be called at any time, and
// more than once.
func (w *BlobWriter) Abort() {
	w.wait()
	if w.sync != nil {
		<-w.sync
		w.sync = nil
	}
	if w.file != nil {
		w.file.Close()
		if w.tree != nil {
			w.tree.Close()
		}
		w.blobs.removeFiles(w.name)
		w.file, w.tree = nil, nil
	}
	w.blobs.give(w.taken)
	w.taken, w.buf, w.spare = 0, nil, nil
	if w.err == nil {
		w.err = ErrClosed
	}
}
