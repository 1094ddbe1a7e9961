package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
)

// backup copies the files of all content that a backup's rows know into the
// backup, durably. What no row knows there stays behind.
func (b *blobs) backup(ctx context.Context, from reader, dir string) error {
	to := &blobs{store: b.store, fs: b.store.options.FS, dir: b.store.options.FS.PathJoin(dir, blobFolder)}
	made := false
	err := each(from, []byte{tableBlob}, successor([]byte{tableBlob}), func(x row) error {
		name, r, err := decodeBlobRow(x.key, x.value)
		if err != nil || r.place != placeFile {
			return err
		}
		files := []string{name.String()}
		if name.Parents() > 0 {
			files = append(files, name.String()+treeSuffix)
		}
		made = true
		for _, file := range files {
			if err := b.copyFile(ctx, file, to); err != nil {
				return fmt.Errorf("blob %s: %w", name, err)
			}
		}
		return nil
	})
	if err == nil && made {
		err = to.syncFolder(to.dir)
	}
	return err
}

func (b *blobs) copyFile(ctx context.Context, file string, to *blobs) error {
	in, err := b.fs.Open(b.path(file), vfs.SequentialReadsOption)
	if err != nil {
		return blobError(err)
	}
	defer in.Close()
	out, err := to.create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{stoppableReader{ctx, in}}, make([]byte, 1<<20))
	return errors.Join(blobError(err), blobError(out.Sync()), out.Close())
}

type stoppableReader struct {
	ctx context.Context
	io.Reader
}

func (r stoppableReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// holdAll keeps everything from being removed until release is called.
func (b *blobs) holdAll(from reader) (release func(), err error) {
	b.collecting.RLock()
	defer b.collecting.RUnlock()
	var all []func()
	release = func() {
		for _, r := range all {
			r()
		}
	}
	err = each(from, []byte{tableBlob}, successor([]byte{tableBlob}), func(x row) error {
		name, _, err := decodeBlobRow(x.key, x.value)
		if err == nil {
			all = append(all, b.use(blob.Name(name)))
		}
		return err
	})
	return release, err
}
