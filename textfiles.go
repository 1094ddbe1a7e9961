package anabranch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"anabranch/crdt/text"
	"anabranch/internal/store"
	"anabranch/record"
)

// textFileBytes bounds a file that becomes, or is merged into, a text.
const textFileBytes = 16 << 20

// textPaths are the paths at and below one that read as texts.
func (s *Space) textPaths(view *store.Snapshot, below string) (map[string]bool, error) {
	out := map[string]bool{}
	err := view.Paths(below, record.Delta, func(path string) error {
		is, err := readsAsText(view, path)
		if is {
			out[path] = true
		}
		return err
	})
	return out, named(err)
}

// fileKnown is what a ledger knows a content by.
func fileKnown(content []byte) ([]byte, error) {
	if len(content) <= record.MaxPayload {
		return content, nil
	}
	name, err := hashContent(bytes.NewReader(content))
	return nameContent(name), err
}

// isPlainText reports whether a file can be a text: valid UTF-8 without NUL.
func isPlainText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

// A folder's ledger remembers, beside the content that a file and a text had in
// common, the version of the text that reads so: an edited file is merged as an
// edit of that version.

func (l *ledger) baseKey(file string) string {
	h := shortHash(file)
	return l.key + "/" + hex.EncodeToString(h[:])
}

// met is the version of a text with which a file met it last, and what the file
// said then, if that is not what the version says.
func (l *ledger) met(s *Space, file string) (v TextVersion, content []byte, ok bool) {
	b, ok, err := s.replica.store.Fact(l.baseKey(file))
	if err != nil || !ok {
		return v, nil, false
	}
	name, content, _ := bytes.Cut(b, []byte("\n"))
	v, err = ParseTextVersion(string(name))
	return v, content, err == nil
}

// agreeText notes that a file was taken into a text, or written from it.
// content is nil when the version reads as the file does.
func (l *ledger) agreeText(file, path string, known []byte, v TextVersion, content []byte) {
	l.agree(file, path, known)
	value := []byte(v.String())
	if content != nil {
		value = append(append(value, '\n'), content...)
	}
	l.bases = append(l.bases, store.FactOp{Key: l.baseKey(file), Value: value})
}

// takeText writes what was edited in a file into the text at its path. It
// reports false for a file that is to be written as a document.
func (im *importing) takeText(rel, path string, isText bool) (bool, error) {
	content, err := readWhole(im.ctx, im.root, rel, textFileBytes)
	if why := (*skipError)(nil); errors.As(err, &why) {
		return false, nil // the document's way says it
	}
	if err != nil {
		return false, err
	}
	if !isPlainText(content) || len(content) == 0 && !isText {
		return false, nil // what is no text any more is a document again
	}
	known, err := fileKnown(content)
	if err != nil {
		return false, err
	}
	im.bytes += int64(len(content))
	im.report.Files++
	im.files[path] = true
	met, meeting := im.ledger.file(rel)
	meeting = meeting && met.path == shortHash(path)
	before := im.report
	if isText {
		err = im.mergeText(rel, path, string(content), known, met, meeting)
	} else {
		err = im.beginText(rel, path, string(content), known, met, meeting)
	}
	if err != nil {
		return false, fmt.Errorf("anabranch: import %s: %w", rel, named(err))
	}
	if im.report.Added+im.report.Changed > before.Added+before.Changed {
		im.report.Texts++
		im.report.Bytes += int64(len(content))
	}
	return true, nil
}

// mergeText brings a file's edits into a text.
func (im *importing) mergeText(rel, path, content string, known []byte, met ledgerEntry, meeting bool) error {
	t := im.space.Text(path)
	now, version, err := t.GetVersion(im.ctx)
	if err != nil {
		return err
	}
	switch {
	case now == content:
		im.report.Unchanged++
		im.ledger.agreeText(rel, path, known, version, nil)
		return nil
	case meeting && met.has(known) && !im.options.Overwrite:
		im.report.Older++
		return nil
	}
	base, said, merged := im.ledger.met(im.space, rel)
	target := content
	if merged = merged && meeting; merged {
		old, err := t.At(im.ctx, base)
		switch {
		case errors.Is(err, ErrTextVersion), errors.Is(err, ErrFolded):
			merged = false
		case err != nil:
			return err
		case len(said) > 0: // the text had more than the file: what was edited in the file, in the text
			target = text.MergeEdits(string(said), content, old)
		default:
			said = []byte(old)
		}
		if merged {
			k, err := fileKnown(said)
			if err != nil {
				return err
			}
			merged = met.has(k)
		}
	}
	if merged {
		err = t.Merge(im.ctx, base, target)
	} else {
		err = t.Update(im.ctx, func(e *TextEdit) error { return e.Set(content) })
		if k, _ := fileKnown([]byte(now)); meeting && !met.has(k) {
			im.report.Both = append(im.report.Both, path)
		}
	}
	if err != nil {
		return err
	}
	after, version, err := t.GetVersion(im.ctx)
	if err != nil {
		return err
	}
	im.report.Changed++
	if after == content {
		im.ledger.agreeText(rel, path, known, version, nil)
	} else {
		im.ledger.agreeText(rel, path, known, version, []byte(content))
	}
	return nil
}

// beginText makes a text of a file.
func (im *importing) beginText(rel, path, content string, known []byte, met ledgerEntry, meeting bool) error {
	t := im.space.Text(path)
	reading, err := im.view.Resolve(path, im.now)
	if err != nil {
		return err
	}
	if reading.Absent && meeting && met.has(known) && !im.options.Overwrite {
		im.report.Older++
		return nil
	}
	count := &im.report.Added
	if !reading.Absent {
		count = &im.report.Changed
		if meeting && met.has(known) && !met.has(documentContent(reading.Doc)) && !im.options.Overwrite {
			im.report.Older++
			return nil
		}
	}
	err = ErrTextExists
	if reading.Absent {
		err = t.Seed(im.ctx, content)
	}
	if errors.Is(err, ErrTextExists) {
		err = t.Update(im.ctx, func(e *TextEdit) error { return e.Set(content) })
	}
	if errors.Is(err, ErrNotText) { // the document is none, and the file replaces it
		return im.write(waitingWrite{draft: store.Draft{Kind: record.Doc, Path: path, Payload: []byte(content)}, file: rel, count: count})
	}
	if err != nil {
		return err
	}
	version, err := t.Version(im.ctx)
	if err != nil {
		return err
	}
	*count++
	im.ledger.agreeText(rel, path, known, version, nil)
	return nil
}

// textsGone are the deletions of texts that have no file.
func (im *importing) textsGone() ([]waitingWrite, error) {
	texts, err := im.space.textPaths(im.view, im.options.Below)
	if err != nil {
		return nil, err
	}
	var gone []waitingWrite
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		if im.files[path] || im.covered(path) {
			continue
		}
		content, err := im.space.Text(path).Get(im.ctx)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		known, err := fileKnown([]byte(content))
		if err != nil {
			return nil, err
		}
		met, meeting := im.ledger.document(path)
		if im.ledger.found && !im.options.Overwrite && !(meeting && met.has(known)) {
			im.report.Spared++
			continue
		}
		gone = append(gone, waitingWrite{draft: store.Draft{Kind: record.Doc, Path: path, Deleted: true}, count: &im.report.Deleted})
	}
	return gone, nil
}

// prepareText is the content of a text for its file.
func (ex *exporting) prepareText(ctx context.Context, d exportDoc) (*newFile, error) {
	content, version, err := ex.space.Text(d.path).GetVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("anabranch: export %s: %w", d.path, named(err))
	}
	f := &newFile{doc: d, content: []byte(content), version: version}
	f.known, err = fileKnown(f.content)
	return f, err
}

// agreed notes that a file has its document's content.
func (ex *exporting) agreed(rel string, f *newFile) {
	if f.doc.text {
		ex.ledger.agreeText(rel, f.doc.path, f.known, f.version, nil)
	} else {
		ex.ledger.agree(rel, f.doc.path, f.known)
	}
}
