package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
)

// Content that records name lies beside the rows: up to smallBlob in a row,
// else in a file of the folder "blobs", with its parents in a second one. The
// files of a name are there once, whoever named it and in whatever space:
//
//	HASH-SIZE            content, whole
//	HASH-SIZE.tree       its parents, if it has more than one group
//	SPACE-HASH-SIZE.part content that is being fetched for one space; .part.tree
//	put-NUMBER.tmp       content that is being put; .tmp.tree
//
// A file name is made of numbers and hexadecimal digits alone: nothing that a
// peer sends gets into it otherwise. What is whole has a row of tableBlob;
// files without one are removed when the store is opened, except what was
// being fetched, which is checked group by group and gone on with.
//
// A row of tableBlobHere says that a space may give the content out: it was
// put or fetched there. What is on the disk because of another space does not
// count: its being here is nobody's business.

const (
	defaultSmallBlob = 256 << 10
	blobFolder       = "blobs"
	treeSuffix       = ".tree"
	partSuffix       = ".part"
	putSuffix        = ".tmp"
)

var (
	// ErrQuota says that content would take more than Options.BlobBytes.
	ErrQuota = errors.New("store: no room for more blobs: the quota is used up")
	// ErrNotHere says that a space has no such content.
	ErrNotHere = errors.New("store: the content is not here")
)

// blobs is the store's content. Its lock is taken before the store's.
type blobs struct {
	store *Store
	fs    vfs.FS
	dir   string

	// collecting is held for reading from the moment that content is known to
	// be whole until its rows are durable, and for writing while some is
	// removed.
	collecting sync.RWMutex

	mu    sync.Mutex // guards what follows
	uses  map[blob.Name]int
	parts map[partKey]*Partial
	puts  uint64
	whole int64 // bytes of content that is whole
	begun int64 // bytes of content that is being put or fetched, as they will be
}

type partKey struct {
	space uint32
	name  blob.Name
}

// openBlobs makes the folder and clears away what no row knows.
func openBlobs(s *Store) (*blobs, error) {
	b := &blobs{store: s, fs: s.options.FS, dir: s.dir, uses: make(map[blob.Name]int), parts: make(map[partKey]*Partial)}
	if b.dir == "" {
		b.fs, b.dir = vfs.NewMem(), "memory"
	}
	b.dir = filepath.Join(b.dir, blobFolder)
	err := each(s.engine, []byte{tableBlob}, successor([]byte{tableBlob}), func(x row) error {
		name, _, err := decodeBlobRow(x.key, x.value)
		b.whole += int64(name.Size)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := b.fs.List(b.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil // made when it is needed
	}
	if err != nil {
		return nil, fmt.Errorf("store: blobs: %w", err)
	}
	for _, file := range names {
		if known, err := b.known(file); err != nil {
			return nil, err
		} else if !known {
			if err := b.fs.Remove(b.path(file)); err != nil {
				s.log.Warn("a file that belongs to no blob is in the way", "file", file, "err", err)
			}
		}
	}
	return b, nil
}

// known reports whether a file belongs to a blob, whole or being fetched.
func (b *blobs) known(file string) (bool, error) {
	base := strings.TrimSuffix(file, treeSuffix)
	if part, ok := strings.CutSuffix(base, partSuffix); ok {
		_, err := parsePart(part)
		return err == nil, nil
	}
	name, err := blob.ParseName(base)
	if err != nil {
		return false, nil
	}
	x, err := b.store.engine.get(blobKey(tableBlob, name))
	return len(x) > 0 && x[0] == placeFile, err
}

func (k partKey) file() string { return fmt.Sprintf("%08x-%s%s", k.space, k.name, partSuffix) }

func parsePart(text string) (partKey, error) {
	number, rest, _ := strings.Cut(text, "-")
	s, err := strconv.ParseUint(number, 16, 32)
	if err != nil {
		return partKey{}, fmt.Errorf("%w: %.20q", blob.ErrName, number)
	}
	name, err := blob.ParseName(rest)
	k := partKey{uint32(s), name}
	if err == nil && k.file() != text+partSuffix {
		err = fmt.Errorf("%w: %.20q", blob.ErrName, number)
	}
	return k, err
}

func (b *blobs) path(file string) string { return filepath.Join(b.dir, file) }

// create makes a file for reading and writing, and the folder if need be.
func (b *blobs) create(file string) (vfs.File, error) {
	if err := b.makeFolder(); err != nil {
		return nil, err
	}
	f, err := b.fs.OpenReadWrite(b.path(file), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, blobError(err)
	}
	return f, nil
}

func (b *blobs) makeFolder() error {
	if _, err := b.fs.Stat(b.dir); err == nil {
		return nil
	}
	if err := b.fs.MkdirAll(b.dir, 0o700); err != nil {
		return blobError(err)
	}
	return b.syncFolder(filepath.Dir(b.dir))
}

func (b *blobs) syncFolder(dir string) error {
	d, err := b.fs.OpenDir(dir)
	if err != nil {
		return blobError(err)
	}
	return blobError(errors.Join(d.Sync(), d.Close()))
}

// blobError names a full disk. Unlike the rows, content can wait: the caller
// gets the error and tries again later.
func blobError(err error) error {
	switch {
	case err == nil:
		return nil
	case noSpace(err):
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("store: blobs: %w", err)
}

// room takes bytes off the quota before they are written, or refuses. Nothing
// is written either while the disk has less than its reserve.
func (b *blobs) room(bytes int64) error {
	if err := b.store.refusal(); err != nil {
		return err
	}
	if err := b.store.belowReserve(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if quota := b.store.options.BlobBytes; quota > 0 && b.whole+b.begun+bytes > quota {
		return fmt.Errorf("%w: %d bytes of %d, and %d more", ErrQuota, b.whole+b.begun, quota, bytes)
	}
	b.begun += bytes
	return nil
}

func (b *blobs) give(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun -= bytes
}

// use keeps content from being removed until the function that is returned is
// called, which may happen more than once.
func (b *blobs) use(name blob.Name) (release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uses[name]++
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.uses[name]--; b.uses[name] == 0 {
			delete(b.uses, name)
		}
	})
}

// row is what is known of whole content; the zero value if there is none.
func (b *blobs) row(name blob.Name) (blobRow, error) {
	v := b.store.now()
	defer v.release()
	key := blobKey(tableBlob, name)
	x, err := v.get(key)
	if err != nil || x == nil {
		return blobRow{}, err
	}
	_, r, err := decodeBlobRow(key, x)
	return r, err
}

// arrive makes whole content a space's, durably: value is its bytes if it is
// small, else the two files are put in place. The caller holds collecting for
// reading, and uses the name.
func (b *blobs) arrive(ctx context.Context, sp *Space, name blob.Name, value []byte, files func() error) error {
	had, err := b.row(name)
	if err != nil {
		return err
	}
	fresh := had.place == 0
	place := byte(placeRows)
	if fresh && files != nil {
		place = placeFile
		if err := files(); err != nil {
			return err
		}
	}
	err = b.store.add(ctx, len(value), func(c *commit) error {
		if there, err := c.tx.get(blobKey(tableBlob, name)); err != nil {
			return err
		} else if there == nil {
			c.tx.set(blobKey(tableBlob, name), blobRow{place: place}.encode())
			if files == nil {
				c.tx.set(blobKey(tableBlobValue, name), value)
			}
		} else {
			fresh = false
		}
		c.tx.set(blobSpaceKey(tableBlobHere, sp.number, name), []byte{1}) // not empty: looked up by value
		return nil
	})
	if err == nil && fresh {
		b.mu.Lock()
		b.whole += int64(name.Size)
		b.mu.Unlock()
	}
	return err
}

// settle gives two files their last names, whose bytes are durable, and makes
// the names durable. The parents come first: content that stands there has
// them.
func (b *blobs) settle(name blob.Name, from string) error {
	if name.Parents() > 0 {
		if err := b.fs.Rename(b.path(from+treeSuffix), b.path(name.String()+treeSuffix)); err != nil {
			return blobError(err)
		}
	}
	if err := b.fs.Rename(b.path(from), b.path(name.String())); err != nil {
		return blobError(err)
	}
	return b.syncFolder(b.dir)
}

func (b *blobs) removeFiles(base string) {
	for _, file := range []string{base, base + treeSuffix} {
		if err := b.fs.Remove(b.path(file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.store.log.Warn("content not removed", "file", file, "err", err)
		}
	}
}

// BlobBytes is how much content is kept, and how much room the quota leaves,
// negative if there is none.
func (s *Store) BlobBytes() (kept, room int64) {
	s.blobs.mu.Lock()
	defer s.blobs.mu.Unlock()
	kept = s.blobs.whole + s.blobs.begun
	if s.options.BlobBytes == 0 {
		return kept, -1
	}
	return kept, max(0, s.options.BlobBytes-kept)
}
