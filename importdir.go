package anabranch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"anabranch/blob"
	"anabranch/internal/store"
	"anabranch/record"
)

// Limits of one commit of an import: what it holds is written with one fsync.
const (
	importDrafts = 1024
	importBytes  = 2 << 20
)

// ImportOptions configures Import.
type ImportOptions struct {
	// Below is the path that stands for the folder itself. Default "/".
	Below string
	// Delete deletes the documents below that path which have no file. If the
	// folder was imported or exported before, only those that it had then:
	// what came into the space since was never there to be removed.
	Delete bool
	// Overwrite takes every file as it is, also those that are older than
	// their documents, and with Delete deletes every document without a file.
	Overwrite bool
	// Text makes texts of the files that can be: valid UTF-8 without NUL, not
	// empty, up to 16 MiB. Without it only paths that read as texts already are
	// merged into; see Text.
	Text bool
	// Progress may be nil. It is called from the importing goroutine.
	Progress func(FileProgress)
}

// ImportReport says what an import did. Everything it counts as written or
// deleted is durable.
type ImportReport struct {
	Files     int // found, skipped ones not among them
	Added     int // documents that did not exist
	Changed   int
	Unchanged int
	Texts     int // of those added or changed, the ones that are texts
	// Older counts files that nobody touched since the folder and the space
	// last met, while the document was changed or deleted: the space is
	// ahead, and nothing is written. An export brings the folder up.
	Older   int
	Deleted int
	Spared  int   // documents without a file that Delete left alone, since they came or changed after both last met
	Bytes   int64 // written
	// Both are the paths of documents that were changed in the space as well
	// since both last met. The file is the newest version now, and the other
	// one stays in the history.
	Both    []string
	Skipped []Skipped // in order of their names
}

// Import writes the files below a folder as documents: the file a/b is the
// document /a/b, or Below/a/b. A file with the content of its document writes
// nothing. Where a path reads as a text, what was edited in the file since both
// last met is merged into it. What cannot be a document is skipped and reported. The folder is
// only read, and nothing outside it is.
//
// Files are read one at a time, each as it was at one moment, and written in
// commits of up to 1024 documents; an error leaves the commits before it in
// place, and the report says how many.
//
// Errors worth matching: ErrNotAuthorised, ErrFolder.
func (s *Space) Import(ctx context.Context, dir string, o ImportOptions) (ImportReport, error) {
	var err error
	if o.Below, err = checkPrefix(o.Below); err != nil {
		return ImportReport{}, err
	}
	root, name, err := s.replica.openTree(dir)
	if err != nil {
		return ImportReport{}, err
	}
	defer root.Close()
	if s.author() == nil {
		return ImportReport{}, fmt.Errorf("%w: this device has no author key in %q", ErrNotAuthorised, s.Name())
	}
	view, err := s.snapshot(ctx)
	if err != nil {
		return ImportReport{}, err
	}
	defer view.Close()
	im := &importing{
		ctx: ctx, space: s, options: o, root: root, view: view, now: s.replica.now(),
		folders: map[string]folderNames{"": {"": {0}}},
		files:   map[string]bool{}, hidden: map[string]bool{},
	}
	if im.ledger, err = s.ledger(name, o.Below); err != nil {
		return ImportReport{}, err
	}
	err = im.run()
	for _, w := range im.waiting {
		if w.release != nil {
			w.release()
		}
	}
	slices.SortFunc(im.report.Skipped, func(a, b Skipped) int { return cmp.Compare(a.Name, b.Name) })
	return im.report, errors.Join(err, im.ledger.save(ctx, s))
}

type importing struct {
	ctx     context.Context
	space   *Space
	options ImportOptions
	root    *os.Root
	view    *store.Snapshot
	now     uint64
	ledger  *ledger
	report  ImportReport

	found   []string               // files, in the order of the walk
	folders map[string]folderNames // those with files in them, by the folder that holds them
	files   map[string]bool        // documents that have a file
	hidden  map[string]bool        // paths that were skipped: what is there, or below, is not known

	done  int   // files
	bytes int64 // looked at

	waiting []waitingWrite // for the next commit
	size    int
}

// waitingWrite is a change that is not durable yet, and what to count then.
type waitingWrite struct {
	draft store.Draft
	file  string // empty: a deletion
	count *int
	both  bool

	size    int64  // of content that is not in the draft
	release func() // nil, or to be called when it is durable, or will not be
}

func (im *importing) run() error {
	w := &walker{ctx: im.ctx, avoid: im.space.replica.private(), file: im.find, skip: func(rel string, _ bool, why SkipReason, detail string) {
		im.skip(rel, why, detail)
	}}
	if err := w.walk(im.root, ""); err != nil {
		return err
	}
	for i, rel := range im.found {
		if err := im.take(rel); err != nil {
			return err
		}
		im.done = i + 1
		im.progress()
	}
	if im.options.Delete {
		if err := im.deleteGone(); err != nil {
			return err
		}
	}
	if err := im.commit(); err != nil {
		return err
	}
	return im.forget()
}

// find notes a file, and that the folders above it are folders.
func (im *importing) find(rel string, _ fs.FileInfo) error {
	im.found = append(im.found, rel)
	for dir, _ := splitRel(rel); dir != ""; {
		above, name := splitRel(dir)
		names := im.folders[above]
		if names == nil {
			names = folderNames{}
			im.folders[above] = names
		}
		names.add(name)
		dir = above
	}
	return nil
}

func (im *importing) skip(rel string, why SkipReason, detail string) {
	im.report.Skipped = append(im.report.Skipped, Skipped{rel, why, detail})
	im.hidden[underPrefix(im.options.Below, rel)] = true
}

// document is the path of a file's document: the one it was exported from if
// the ledger knows that it keeps its name.
func (im *importing) document(rel string) string {
	dir, name := splitRel(rel)
	plain := underPrefix(im.options.Below, rel)
	if e, ok := im.ledger.file(rel); ok && e.path == shortHash(plain) {
		return plain
	}
	return underPrefix(im.options.Below, trimSlash(joinRel(dir, im.folders[dir].document(name))))
}

// trimSlash is for the document that has the folder's own path: its name is
// empty.
func trimSlash(rel string) string {
	if n := len(rel); n > 0 && rel[n-1] == '/' {
		return rel[:n-1]
	}
	return rel
}

// take compares one file with its document.
func (im *importing) take(rel string) error {
	path := im.document(rel)
	if err := record.CheckPath(path); err != nil {
		var field *record.FieldError
		if errors.As(err, &field) {
			im.skip(rel, SkipName, field.Reason)
			return nil
		}
		return err
	}
	if im.files[path] {
		im.skip(rel, SkipCollision, "another file is the document "+path)
		return nil
	}
	isText, err := readsAsText(im.view, path)
	if err != nil {
		return fmt.Errorf("anabranch: import %s: %w", rel, err)
	}
	if isText || im.options.Text {
		if taken, err := im.takeText(rel, path, isText); taken || err != nil {
			return err
		}
	}
	content, err := readWhole(im.ctx, im.root, rel, record.MaxPayload)
	var why *skipError
	if errors.As(err, &why) && why.reason == SkipTooLarge {
		return im.takeLarge(rel, path, why.size)
	}
	if errors.As(err, &why) {
		im.skip(rel, why.reason, why.detail)
		im.hidden[path] = true
		return nil
	}
	if err != nil {
		return err
	}
	im.bytes += int64(len(content))
	im.report.Files++
	im.files[path] = true
	reading, err := im.view.Resolve(path, im.now)
	if err != nil {
		return fmt.Errorf("anabranch: import %s: %w", rel, named(err))
	}
	met, known := im.ledger.file(rel)
	known = known && met.path == shortHash(path)
	write := waitingWrite{draft: store.Draft{Kind: record.Doc, Path: path, Payload: content}, file: rel, count: &im.report.Added}
	switch {
	case isText: // it was one: the file is a document again
		write.count = &im.report.Changed
	case !reading.Absent && !reading.Doc.Blob && bytes.Equal(reading.Doc.Payload, content):
		im.report.Unchanged++
		im.ledger.agree(rel, path, content)
		return nil
	case known && met.has(content) && !im.options.Overwrite:
		im.report.Older++
		return nil
	case !reading.Absent:
		write.count = &im.report.Changed
		write.both = known && !met.has(documentContent(reading.Doc))
	}
	return im.write(write)
}

func (im *importing) write(w waitingWrite) error {
	im.waiting = append(im.waiting, w)
	im.size += len(w.draft.Payload)
	if len(im.waiting) < importDrafts && im.size < importBytes {
		return nil
	}
	return im.commit()
}

// commit writes what waits. A path at which time has ended is skipped.
func (im *importing) commit() error {
	for len(im.waiting) > 0 {
		drafts := make([]store.Draft, len(im.waiting))
		for i, w := range im.waiting {
			drafts[i] = w.draft
		}
		_, err := im.space.rows.Write(im.ctx, im.space.author(), im.space.replica.now(), drafts...)
		var ended *TimeExhaustedError
		if errors.As(err, &ended) {
			rest := im.waiting[:0]
			for _, w := range im.waiting {
				if w.draft.Path != ended.Path {
					rest = append(rest, w)
					continue
				}
				if w.release != nil {
					w.release()
				}
				name := w.file
				if name == "" {
					name = w.draft.Path
				}
				im.report.Skipped = append(im.report.Skipped, Skipped{name, SkipTime, "nothing can be dated after what stands there; revoking its author frees the path"})
			}
			if len(rest) < len(drafts) {
				im.waiting = rest
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("anabranch: import into %q: %w", im.space.Name(), named(err))
		}
		for _, w := range im.waiting {
			im.written(w)
		}
		im.waiting, im.size = im.waiting[:0], 0
	}
	im.size = 0
	return nil
}

func (im *importing) written(w waitingWrite) {
	if w.release != nil {
		w.release()
	}
	*w.count++
	if w.file == "" {
		if e, ok := im.ledger.document(w.draft.Path); ok {
			im.ledger.drop(e)
		}
		return
	}
	content := w.draft.Payload
	im.report.Bytes += int64(len(content))
	if w.draft.Blob {
		ref, _ := blob.DecodeRef(content)
		content = nameContent(ref.Name)
		im.report.Bytes += w.size - int64(len(w.draft.Payload))
	}
	if w.both {
		im.report.Both = append(im.report.Both, w.draft.Path)
	}
	im.ledger.agree(w.file, w.draft.Path, content)
}

// deleteGone deletes documents that have no file, save where the folder
// cannot tell: at and below what was skipped.
func (im *importing) deleteGone() error {
	var gone []waitingWrite
	for doc, err := range im.space.current(im.ctx, im.view, im.options.Below, im.now) {
		if err != nil {
			return err
		}
		if im.files[doc.Path] || im.covered(doc.Path) {
			continue
		}
		met, known := im.ledger.document(doc.Path)
		if im.ledger.found && !im.options.Overwrite && !(known && met.has(documentContent(doc.Record))) {
			im.report.Spared++
			continue
		}
		gone = append(gone, waitingWrite{draft: store.Draft{Kind: record.Doc, Path: doc.Path, Deleted: true}, count: &im.report.Deleted})
	}
	texts, err := im.textsGone()
	if err != nil {
		return err
	}
	gone = append(gone, texts...)
	if len(gone) > 0 && len(im.found) == 0 {
		return fmt.Errorf("%w: it has no files at all, and --delete would delete %d documents; if that is meant, delete them by path", ErrFolder, len(gone))
	}
	for _, w := range gone {
		if err := im.write(w); err != nil {
			return err
		}
	}
	return nil
}

// covered reports whether a path was skipped, or lies below one that was.
func (im *importing) covered(path string) bool {
	if len(im.hidden) == 0 {
		return false
	}
	for at := path; at != "" && at != "/"; at = parentPath(at) {
		if im.hidden[at] {
			return true
		}
	}
	return im.hidden["/"]
}

func parentPath(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}

// forget drops from the ledger what neither side has any more.
func (im *importing) forget() error {
	has := map[[8]byte]bool{}
	for _, rel := range im.found {
		has[shortHash(rel)] = true
	}
	var lost []ledgerEntry
	for _, e := range im.ledger.byFile {
		if !has[e.file] {
			lost = append(lost, e)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	present := map[[8]byte]bool{}
	for doc, err := range im.space.current(im.ctx, im.view, im.options.Below, im.now) {
		if err != nil {
			return err
		}
		present[shortHash(doc.Path)] = true
	}
	texts, err := im.space.textPaths(im.view, im.options.Below)
	if err != nil {
		return err
	}
	for path := range texts {
		present[shortHash(path)] = true
	}
	for _, e := range lost {
		if !present[e.path] && len(im.hidden) == 0 {
			im.ledger.drop(e)
		}
	}
	return nil
}
