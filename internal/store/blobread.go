package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/blob"
)

// Blob is content as a space holds it, whole or in part, open for reading.
// Its methods may be called from any goroutine. Close it.
type Blob struct {
	name    blob.Name
	content io.ReaderAt
	tree    io.ReaderAt
	part    *Partial // nil: it is whole
	closers []io.Closer
	release func()
}

// Blob opens content that this space holds, whole or in part. ErrNotHere if
// it holds nothing of it, also if another space does.
func (sp *Space) Blob(name blob.Name) (*Blob, error) {
	b := sp.store.blobs
	v := sp.store.now()
	here, err := v.get(blobSpaceKey(tableBlobHere, sp.number, name))
	v.release()
	if err != nil {
		return nil, err
	}
	if here == nil {
		b.mu.Lock()
		p := b.parts[partKey{sp.number, name}]
		b.mu.Unlock()
		if p == nil {
			return nil, fmt.Errorf("%w: %s", ErrNotHere, name)
		}
		return &Blob{name: name, content: p.content, tree: p.tree, part: p, release: func() {}}, nil
	}
	return b.open(name)
}

// HasBlob reports whether this space holds content whole.
func (sp *Space) HasBlob(name blob.Name) (bool, error) {
	v := sp.store.now()
	defer v.release()
	here, err := v.get(blobSpaceKey(tableBlobHere, sp.number, name))
	return here != nil, err
}

// open opens content that is whole.
func (b *blobs) open(name blob.Name) (*Blob, error) {
	out := &Blob{name: name, release: b.use(name)}
	err := b.openWhole(out)
	if err != nil {
		out.Close()
		return nil, err
	}
	return out, nil
}

func (b *blobs) openWhole(out *Blob) error {
	name := out.name
	row, err := b.row(name)
	switch {
	case err != nil:
		return err
	case row.place == 0:
		return fmt.Errorf("%w: %s", ErrNotHere, name)
	case row.place == placeRows:
		v := b.store.now()
		defer v.release()
		value, err := v.get(blobKey(tableBlobValue, name))
		if err != nil {
			return err
		}
		if uint64(len(value)) != name.Size {
			return fmt.Errorf("%w: blob %s: %d bytes are there", ErrDamaged, name, len(value))
		}
		var build blob.Builder
		build.Write(value)
		parents := append([]byte{}, build.Take()...)
		_, rest := build.Sum()
		out.content, out.tree = bytes.NewReader(value), bytes.NewReader(append(parents, rest...))
		return nil
	}
	open := func(file string) (vfs.File, error) {
		f, err := b.fs.Open(b.path(file))
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: blob %s: its file %s is gone", ErrDamaged, name, file)
		}
		if err == nil {
			out.closers = append(out.closers, f)
		}
		return f, err
	}
	if out.content, err = open(name.String()); err != nil {
		return err
	}
	out.tree = bytes.NewReader(nil)
	if name.Parents() > 0 {
		out.tree, err = open(name.String() + treeSuffix)
	}
	return err
}

// Name is what the content is called.
func (f *Blob) Name() blob.Name { return f.name }

// Whole reports whether all of it is here.
func (f *Blob) Whole() bool { return f.part == nil || f.part.Full() }

// Has reports whether a span is here.
func (f *Blob) Has(span blob.Span) bool { return f.part == nil || f.part.Has(span) }

// over reports whether this was opened in part, and its fetch has ended.
func (f *Blob) over() bool { return f.part != nil && f.part.over() }

// Set is which groups are here; nil means all.
func (f *Blob) Set() *blob.Set {
	if f.part == nil {
		return nil
	}
	return f.part.Set()
}

// ReadAt reads content. What is not here yet is ErrNotHere: nothing of the
// group in question is read. So is what was opened in part when its fetch has
// ended meanwhile: whoever opens it again finds what became of it.
func (f *Blob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || uint64(off) >= f.name.Size {
		return 0, io.EOF
	}
	n := int(min(uint64(len(p)), f.name.Size-uint64(off)))
	if f.over() || !f.Has(f.name.Covering(uint64(off), uint64(off)+uint64(n))) {
		return 0, ErrNotHere
	}
	k, err := f.content.ReadAt(p[:n], off)
	switch {
	case k < n && f.over():
		return 0, ErrNotHere
	case k == n && n < len(p):
		return k, io.EOF
	case k == n:
		return k, nil
	case err == nil || err == io.EOF:
		err = fmt.Errorf("%w: blob %s ends early", ErrDamaged, f.name)
	}
	return k, err
}

// Close gives it up. A partial stays with whoever fetches it.
func (f *Blob) Close() error {
	f.release()
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	f.closers = nil
	return errors.Join(errs...)
}

// Slice writes the slice of a span piece by piece: emit gets at most so many
// bytes, and a whole part of it where one fits, which are its own until it
// returns. ErrNotHere if not all of the span is here, or as with ReadAt.
func (f *Blob) Slice(span blob.Span, most int, emit func([]byte) error) error {
	if !span.Within(f.name) {
		return fmt.Errorf("%w: groups %d to %d of %d", blob.ErrSpan, span.Begin, span.End, f.name.Groups())
	}
	if f.over() || !f.Has(span) {
		return ErrNotHere
	}
	tree := treeReader{from: f.tree}
	out := make([]byte, 0, most)
	var failed error
	send := func() {
		if len(out) > 0 && failed == nil {
			failed = emit(out)
			out = out[:0]
		}
	}
	err := blob.Walk(f.name, span, func(p blob.Part) bool {
		if len(out)+p.Bytes > most {
			send()
		}
		for done := 0; done < p.Bytes && failed == nil; {
			k := min(p.Bytes-done, most-len(out))
			at := len(out)
			out = out[:at+k]
			var n int
			if p.Group {
				n, failed = f.content.ReadAt(out[at:], int64(p.Offset)+int64(done))
			} else {
				n, failed = tree.ReadAt(out[at:], int64(p.Offset)+int64(done))
			}
			switch {
			case n == k:
				failed = nil
			case f.over():
				failed = ErrNotHere
			case failed == nil || failed == io.EOF:
				failed = fmt.Errorf("%w: blob %s ends early", ErrDamaged, f.name)
			}
			if done += k; len(out) == most {
				send()
			}
		}
		return failed == nil
	})
	if err == nil && failed == nil {
		send()
	}
	return errors.Join(err, failed)
}

// treeReader reads pages of parents ahead: those of neighbours lie together.
type treeReader struct {
	from io.ReaderAt
	page [2048]byte
	at   int64
	n    int
}

func (t *treeReader) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > len(t.page) {
		return t.from.ReadAt(p, off)
	}
	end := off + int64(len(p))
	if off < t.at || end > t.at+int64(t.n) {
		t.at = max(0, end-int64(len(t.page))) // a parent comes after what is below it
		n, err := t.from.ReadAt(t.page[:end-t.at], t.at)
		t.n = n
		if int64(n) < end-t.at {
			return 0, errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	return copy(p, t.page[off-t.at:]), nil
}
