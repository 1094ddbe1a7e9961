package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
)

// Partial is content that is being fetched for a space: the groups that are
// there, checked, in any order. Its methods may be called from any goroutine.
// It survives everything: after a crash each group is checked again.
type Partial struct {
	blobs   *blobs
	space   *Space
	name    blob.Name
	content partFile
	tree    partFile
	inRow   []byte // the content, if it is small; content then writes here
	release func()

	mu      sync.Mutex // guards what follows
	set     *blob.Set
	begun   int64 // bytes taken off the quota
	unsaved int64 // written since the disk was set to work
	syncing bool
	lost    error // of that
	ended   bool
}

type partFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	SyncData() error
}

// FetchBlob begins to fetch content for this space, or goes on where it
// ended. There is one Partial for a space and a name: a second call returns
// the same. Errors worth matching: ErrFull, ErrQuota.
//
// What is on the disk from before is read and hashed once.
func (sp *Space) FetchBlob(name blob.Name) (*Partial, error) {
	b := sp.store.blobs
	key := partKey{sp.number, name}
	b.mu.Lock()
	p := b.parts[key]
	b.mu.Unlock()
	if p != nil {
		return p, nil
	}
	// A size is a claim until all is there: nothing is made that the disk
	// could not hold.
	if free, ok := b.store.engine.free(); ok && name.Size > free {
		return nil, fmt.Errorf("%w: %d bytes are free, %s needs more: %w", ErrFull, free, name, syscall.ENOSPC)
	}
	if err := b.room(int64(name.Size)); err != nil {
		return nil, err
	}
	p, err := b.openPartial(sp, name)
	if err != nil {
		b.give(int64(name.Size))
		return nil, err
	}
	b.mu.Lock()
	if first := b.parts[key]; first != nil {
		b.mu.Unlock()
		p.end() // another caller was quicker
		return first, nil
	}
	b.parts[key] = p
	b.mu.Unlock()
	return p, nil
}

// Begun reports whether something of a content that is not whole is in files
// of this space.
func (sp *Space) Begun(name blob.Name) bool {
	b := sp.store.blobs
	_, err := b.fs.Stat(b.path(partKey{sp.number, name}.file()))
	return err == nil
}

// BegunBlobs are the names of what was begun to be fetched for this space and
// is in files.
func (sp *Space) BegunBlobs() []blob.Name {
	b := sp.store.blobs
	files, err := b.fs.List(b.dir)
	if err != nil {
		return nil
	}
	var out []blob.Name
	for _, file := range files {
		if base, ok := strings.CutSuffix(file, partSuffix); ok {
			if key, err := parsePart(base); err == nil && key.space == sp.number {
				out = append(out, key.name)
			}
		}
	}
	return out
}

func (b *blobs) openPartial(sp *Space, name blob.Name) (*Partial, error) {
	p := &Partial{blobs: b, space: sp, name: name, begun: int64(name.Size)}
	if name.Size <= uint64(b.store.options.smallBlob) {
		p.inRow = make([]byte, name.Size)
		p.content, p.tree = memoryFile(p.inRow), memoryFile(make([]byte, name.Parents()*blob.ParentBytes))
	} else {
		file := partKey{sp.number, name}.file()
		content, err := b.create(file)
		if err != nil {
			return nil, err
		}
		tree, err := b.create(file + treeSuffix)
		if err != nil {
			content.Close()
			return nil, err
		}
		p.content, p.tree = content, tree
	}
	var err error
	if p.set, err = blob.Recover(name, p.content, p.tree, nil); err != nil {
		p.content.Close()
		p.tree.Close()
		return nil, blobError(err)
	}
	p.release = b.use(name)
	return p, nil
}

// Name is what is being fetched.
func (p *Partial) Name() blob.Name { return p.name }

// Set is a copy of which groups are there.
func (p *Partial) Set() *blob.Set {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Clone()
}

// Len is how many groups are there.
func (p *Partial) Len() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Len()
}

// Full reports whether all of them are.
func (p *Partial) Full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Full()
}

// over reports whether the fetch has ended, so that its files are closed.
func (p *Partial) over() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// Has reports whether a span is there.
func (p *Partial) Has(span blob.Span) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.HasAll(span)
}

// Put writes groups that a decoder has checked, with the parents that came
// with them, and returns how many of them are new. content is that of the
// span. It can be read on return, and is durable after Finish.
func (p *Partial) Put(span blob.Span, content []byte, parents []blob.Parent) (fresh uint64, err error) {
	begin, end := span.Bytes(p.name)
	if span.Begin >= span.End || span.End > p.name.Groups() || uint64(len(content)) != end-begin {
		return 0, fmt.Errorf("%w: groups %d to %d of %s with %d bytes", blob.ErrSpan, span.Begin, span.End, p.name, len(content))
	}
	if err := p.blobs.store.refusal(); err != nil {
		return 0, err
	}
	if err := p.putParents(parents); err != nil {
		return 0, err
	}
	if _, err := p.content.WriteAt(content, int64(begin)); err != nil {
		return 0, blobError(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return 0, ErrClosed
	}
	if p.unsaved += int64(len(content)); p.unsaved >= putSync && !p.syncing && p.inRow == nil {
		p.unsaved, p.syncing = 0, true
		go p.setToWork()
	}
	return p.set.Add(span), p.lost
}

// putParents writes runs of them at once.
func (p *Partial) putParents(parents []blob.Parent) error {
	slices.SortFunc(parents, func(a, b blob.Parent) int { return cmp.Compare(a.Index, b.Index) })
	var run []byte
	for i := range parents {
		run = append(run, parents[i].Pair[:]...)
		if i+1 < len(parents) && parents[i+1].Index == parents[i].Index+1 {
			continue
		}
		first := parents[i].Index + 1 - uint64(len(run)/blob.ParentBytes)
		if _, err := p.tree.WriteAt(run, int64(first*blob.ParentBytes)); err != nil {
			return blobError(err)
		}
		run = run[:0]
	}
	return nil
}

// setToWork lets the disk write what it has, so that Finish waits for little.
func (p *Partial) setToWork() {
	err := p.content.SyncData()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncing = false
	if err != nil && p.lost == nil && !p.ended {
		p.lost = blobError(err)
	}
}

// Finish makes content whose groups are all there the space's, durably, and
// ends the partial.
func (p *Partial) Finish(ctx context.Context) error {
	if !p.Full() {
		return fmt.Errorf("%w: %s is not whole", ErrNotHere, p.name)
	}
	if err := blobError(errors.Join(p.content.Sync(), p.tree.Sync())); err != nil {
		return err
	}
	b := p.blobs
	file := partKey{p.space.number, p.name}.file()
	b.collecting.RLock()
	defer b.collecting.RUnlock()
	var err error
	if p.inRow != nil {
		err = b.arrive(ctx, p.space, p.name, p.inRow, nil)
	} else {
		err = b.arrive(ctx, p.space, p.name, nil, func() error { return b.settle(p.name, file) })
	}
	if err != nil {
		return err
	}
	p.end()
	if p.inRow == nil {
		b.removeFiles(file) // if another space had it first
	}
	return nil
}

// Close ends the partial and keeps what is there for the next FetchBlob.
func (p *Partial) Close() { p.end() }

// Drop ends the partial and removes what is there.
func (p *Partial) Drop() {
	if p.end() && p.inRow == nil {
		p.blobs.removeFiles(partKey{p.space.number, p.name}.file())
	}
}

func (p *Partial) end() bool {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return false
	}
	p.ended = true
	p.mu.Unlock()
	b := p.blobs
	b.mu.Lock()
	if key := (partKey{p.space.number, p.name}); b.parts[key] == p {
		delete(b.parts, key)
	}
	b.begun -= p.begun
	b.mu.Unlock()
	p.release()
	p.content.Close()
	p.tree.Close()
	return true
}

// closeAll ends what is being fetched.
func (b *blobs) closeAll() {
	b.mu.Lock()
	parts := make([]*Partial, 0, len(b.parts))
	for _, p := range b.parts {
		parts = append(parts, p)
	}
	b.mu.Unlock()
	for _, p := range parts {
		p.Close()
	}
}

// memoryFile is small content on its way to a row.
type memoryFile []byte

func (m memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m memoryFile) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }
func (m memoryFile) Close() error                             { return nil }
func (m memoryFile) Sync() error                              { return nil }
func (m memoryFile) SyncData() error                          { return nil }

var _ partFile = vfs.File(nil)
