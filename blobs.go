package anabranch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"anabranch/blob"
	"anabranch/internal/store"
	"anabranch/record"
)

// BlobName names content of any size: its hash and its length.
type BlobName = blob.Name

// BlobRef is what a document whose content is not in its record says of it.
type BlobRef = blob.Ref

// ErrContentMissing says that content is not here, and cannot be had now.
var ErrContentMissing = errors.New("anabranch: the content is not here yet")

// BlobOf is the content that a record names; false if it carries its own.
func BlobOf(r *Record) (BlobRef, bool) { return store.BlobOf(&r.Record) }

// PutOptions says what a document's content is.
type PutOptions struct {
	Mode      uint16    // permission bits of the file it comes from; 0: of none
	MediaType string    // "type/subtype" in lower case; empty: nobody said
	Expires   time.Time // zero: never; reading hides what has expired
}

// PutFile writes a new version of the document at a path, with content of any
// size. What fits into a record is in it; the rest is kept beside the
// records, and is durable before the record is. Nothing is written if reading
// fails.
//
// Errors worth matching: those of Put, ErrFull, ErrQuota, blob.ErrRef.
func (s *Space) PutFile(ctx context.Context, path string, content io.Reader, o PutOptions) (*Record, error) {
	if err := record.CheckPath(path); err != nil {
		return nil, err
	}
	if err := (BlobRef{Mode: o.Mode, MediaType: o.MediaType}).Check(); err != nil {
		return nil, err
	}
	head := make([]byte, record.MaxPayload+1)
	n, err := io.ReadFull(content, head)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return s.one(ctx, Write{Op: OpPut, Path: path, Payload: head[:n], Expires: o.Expires})
	case err != nil:
		return nil, fmt.Errorf("anabranch: read what is to be put at %q: %w", path, err)
	}
	draft, release, err := s.keepContent(ctx, path, head, content, o)
	if err != nil {
		return nil, err
	}
	defer release()
	key := s.author()
	if key == nil {
		return nil, fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, s.Name())
	}
	if !o.Expires.IsZero() {
		draft.Expires = uint64(max(1, o.Expires.UnixMicro()))
	}
	records, err := s.rows.Write(ctx, key, s.replica.now(), draft)
	if err != nil {
		return nil, fmt.Errorf("anabranch: write to %q: %w", s.Name(), named(err))
	}
	return records[0], nil
}

// keepContent makes content durable here and returns the draft that names it.
// release is to be called when that is committed, or will not be.
func (s *Space) keepContent(ctx context.Context, path string, head []byte, rest io.Reader, o PutOptions) (store.Draft, func(), error) {
	w := s.replica.store.NewBlob()
	defer w.Abort()
	_, err := w.Write(head)
	if err == nil && rest != nil {
		_, err = w.ReadFrom(reading{ctx, rest})
	}
	if err != nil {
		return store.Draft{}, nil, fmt.Errorf("anabranch: keep the content of %q: %w", path, named(err))
	}
	name, release, err := w.Commit(ctx, s.rows)
	if err != nil {
		return store.Draft{}, nil, fmt.Errorf("anabranch: keep the content of %q: %w", path, named(err))
	}
	ref := BlobRef{Name: name, Mode: o.Mode, MediaType: o.MediaType}
	return store.Draft{Kind: record.Doc, Path: path, Blob: true, Payload: ref.Encode()}, release, nil
}

// reading ends with its context.
type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// File is a document's content, open for reading, for one goroutine. While it
// is open, what is missing of the content is fetched, first what is read.
// Close it.
type File struct {
	ctx   context.Context
	space *Space
	doc   Document
	ref   BlobRef
	small []byte // the content, if the record carries it
	blob  *store.Blob
	at    int64
	urged atomic.Bool // it had to wait for content
}

// OpenFile opens the content of the document at a path, wherever it is: what
// is not here is fetched from other devices as it is read, before everything
// else. The context bounds that reading too. ErrNotFound if there is no
// document.
func (s *Space) OpenFile(ctx context.Context, path string) (*File, error) {
	doc, err := s.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	return s.OpenContent(ctx, doc)
}

// OpenContent is OpenFile for a document that was read before.
func (s *Space) OpenContent(ctx context.Context, doc Document) (*File, error) {
	f := &File{ctx: ctx, space: s, doc: doc, small: doc.Payload}
	if !doc.Blob {
		return f, nil
	}
	var err error
	if f.ref, err = blob.DecodeRef(doc.Payload); err != nil {
		return nil, fmt.Errorf("anabranch: open %q: %w", doc.Path, err)
	}
	f.small = nil
	return f, nil
}

// Document is what is read.
func (f *File) Document() Document { return f.doc }

// Size is the length of the content in bytes.
func (f *File) Size() int64 {
	if f.small != nil || !f.doc.Blob {
		return int64(len(f.small))
	}
	return int64(f.ref.Size)
}

// Ref names the content if it is not in the record.
func (f *File) Ref() (BlobRef, bool) { return f.ref, f.doc.Blob }

// Read reads on from where Seek left it. ErrContentMissing if the content is
// not here and no network is there to fetch it from.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek moves where Read goes on.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.at
	case io.SeekEnd:
		offset += f.Size()
	default:
		return 0, fmt.Errorf("anabranch: seek: no such whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("anabranch: seek: before the beginning")
	}
	f.at = offset
	return offset, nil
}

// ReadAt reads at an offset, as io.ReaderAt says.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("anabranch: read: before the beginning")
	}
	if off >= f.Size() {
		return 0, io.EOF
	}
	if !f.doc.Blob {
		n := copy(p, f.small[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	for {
		if f.blob == nil {
			b, err := f.space.rows.Blob(f.ref.Name)
			if err != nil && !errors.Is(err, store.ErrNotHere) {
				return 0, fmt.Errorf("anabranch: read %q: %w", f.doc.Path, named(err))
			}
			f.blob = b
		}
		if f.blob != nil {
			n, err := f.blob.ReadAt(p, off)
			if !errors.Is(err, store.ErrNotHere) {
				if err != nil && err != io.EOF {
					err = fmt.Errorf("anabranch: read %q: %w", f.doc.Path, named(err))
				}
				return n, err
			}
		}
		span := f.ref.Covering(uint64(off), uint64(off)+uint64(len(p)))
		if err := f.space.blobs.demand(f.ctx, f.ref.Name, span, !f.urged.Swap(true)); err != nil {
			return 0, fmt.Errorf("anabranch: read %q: %w", f.doc.Path, named(err))
		}
		if f.blob != nil {
			f.blob.Close()
			f.blob = nil
		}
	}
}

// Close ends reading.
func (f *File) Close() error {
	if f.urged.Load() {
		f.space.blobs.ease(f.ref.Name)
	}
	if f.blob == nil {
		return nil
	}
	err := f.blob.Close()
	f.blob = nil
	return err
}

// BlobMode says what of the content that records name is fetched unasked.
type BlobMode string

const (
	BlobsAll      BlobMode = "everything" // all of it; the default
	BlobsUpTo     BlobMode = "up-to"      // what is no larger than Max; the rest on demand
	BlobsOnDemand BlobMode = "on-demand"  // what is read
	BlobsPinned   BlobMode = "pinned"     // all of it, whatever the rules above say
)

// BlobRule is the policy for documents at and below a path on this device.
// The rule with the longest path that covers a document counts.
type BlobRule struct {
	Prefix string   `json:"prefix"`
	Mode   BlobMode `json:"mode"`
	Max    uint64   `json:"max,omitempty"` // bytes, of BlobsUpTo
}

func (s *Space) blobFact() string { return "blobs/" + s.ID().String() }

// BlobPolicy are the rules of this space on this device, by path.
func (s *Space) BlobPolicy() ([]BlobRule, error) {
	b, ok, err := s.replica.store.Fact(s.blobFact())
	if err != nil || !ok {
		return nil, err
	}
	var rules []BlobRule
	return rules, json.Unmarshal(b, &rules)
}

// SetBlobRule sets the rule of a path, or removes it if Mode is empty.
func (s *Space) SetBlobRule(ctx context.Context, rule BlobRule) error {
	if err := record.CheckPath(rule.Prefix); err != nil {
		return err
	}
	switch rule.Mode {
	case "", BlobsAll, BlobsUpTo, BlobsOnDemand, BlobsPinned:
	default:
		return fmt.Errorf("anabranch: no such policy %q", rule.Mode)
	}
	if rule.Mode != BlobsUpTo {
		rule.Max = 0
	}
	s.blobs.ruling.Lock()
	defer s.blobs.ruling.Unlock()
	rules, err := s.BlobPolicy()
	if err != nil {
		return err
	}
	rules = slices.DeleteFunc(rules, func(r BlobRule) bool { return r.Prefix == rule.Prefix })
	if rule.Mode != "" {
		rules = append(rules, rule)
	}
	slices.SortFunc(rules, func(a, b BlobRule) int { return strings.Compare(a.Prefix, b.Prefix) })
	b, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	if err := s.replica.store.SetFact(ctx, s.blobFact(), b); err != nil {
		return named(err)
	}
	s.blobs.lookAgain()
	return nil
}

// ruleFor is the rule that counts for a path.
func ruleFor(rules []BlobRule, path string) BlobRule {
	best := BlobRule{Prefix: "/", Mode: BlobsAll}
	for _, r := range rules {
		if record.Covers(r.Prefix, path) && len(r.Prefix) >= len(best.Prefix) {
			best = r
		}
	}
	return best
}

// fetches reports whether content of a size is fetched unasked.
func (r BlobRule) fetches(size uint64) bool {
	switch r.Mode {
	case BlobsUpTo:
		return size <= r.Max
	case BlobsOnDemand:
		return false
	}
	return true
}

// BlobCollection says what CollectBlobs did.
type BlobCollection = store.Collected

// tendBlobs collects what is named no more, now and then.
func (r *Replica) tendBlobs() {
	for wait := blobCollect / 60; ; wait = blobCollect {
		select {
		case <-time.After(wait):
			if _, err := r.CollectBlobs(r.ctx, false); err != nil && r.ctx.Err() == nil {
				r.log.Warn("content not collected", "err", err)
			}
		case <-r.ctx.Done():
			return
		}
	}
}

// CollectBlobs removes content that no record has named for the trash
// window, or with now, names at present. It runs by itself every hour.
func (r *Replica) CollectBlobs(ctx context.Context, now bool) (BlobCollection, error) {
	out, err := r.store.CollectBlobs(ctx, now)
	return out, named(err)
}
