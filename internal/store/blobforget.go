package store

import (
	"context"

	"anabranch/blob"
)

// ForgetBlob makes no space hold content any more, so that it can be put or
// fetched again: what Verify found damaged. The bytes go with it.
func (s *Store) ForgetBlob(ctx context.Context, name blob.Name) error {
	return s.disown(ctx, name, func() { s.blobs.removeFiles(name.String()) })
}

// DoubtBlob is ForgetBlob that keeps what may be right of content in files: it
// becomes what this space has begun to fetch, which is checked group by group
// before it counts.
func (sp *Space) DoubtBlob(ctx context.Context, name blob.Name) error {
	b := sp.store.blobs
	return sp.store.disown(ctx, name, func() {
		key := partKey{sp.number, name}
		b.mu.Lock()
		begun := b.parts[key] != nil
		b.mu.Unlock()
		if !begun {
			// The parents may be missing, or the content: both are made anew then.
			for _, suffix := range []string{treeSuffix, ""} {
				if err := b.fs.Rename(b.path(name.String()+suffix), b.path(key.file()+suffix)); err != nil {
					sp.store.log.Warn("content not kept to be mended", "blob", name, "err", err)
				}
			}
		}
		b.removeFiles(name.String())
	})
}

// disown takes the rows of content away, durably, and then does what is to
// become of its files. Were that to be cut short, opening would remove them.
func (s *Store) disown(ctx context.Context, name blob.Name, files func()) error {
	spaces, err := s.spaceNumbers()
	if err != nil {
		return err
	}
	b := s.blobs
	b.collecting.Lock()
	defer b.collecting.Unlock()
	place, had := byte(0), false
	err = s.do(ctx, 0, func(c *commit) error {
		value, err := c.tx.get(blobKey(tableBlob, name))
		if had = value != nil; len(value) > 0 {
			place = value[0]
		}
		c.tx.delete(blobKey(tableBlob, name))
		c.tx.delete(blobKey(tableBlobValue, name))
		for n := range spaces {
			c.tx.delete(blobSpaceKey(tableBlobHere, n, name))
		}
		return err
	})
	if err == nil && had {
		if place == placeFile {
			files()
		}
		b.mu.Lock()
		b.whole -= int64(name.Size)
		b.mu.Unlock()
	}
	return err
}
