package anabranch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"anabranch/internal/store"
	"anabranch/record"
)

// Limits of what an export writes side by side.
const (
	exportFiles = 32
	exportBytes = 1 << 20
)

// ExportOptions configures Export.
type ExportOptions struct {
	// Below is the path that stands for the folder itself. Default "/".
	Below string
	// Delete removes the files whose documents are gone: those that an
	// earlier export or import knew there, and that have not been changed
	// since. It removes nothing else, ever.
	Delete bool
	// Overwrite replaces files that were changed since the folder and the
	// space last met, or that no export has written.
	Overwrite bool
	// Progress may be nil. It is called from the exporting goroutine.
	Progress func(FileProgress)
}

// ExportReport says what an export did.
type ExportReport struct {
	Documents int // that read as present
	Written   int
	Unchanged int
	Removed   int
	Bytes     int64 // written
	Conflicts int   // documents of which other versions stand: the one that reading shows was written
	Renamed   []Renamed
	Skipped   []Skipped // in order of their names
}

// Renamed is a document that has another name as a file, because a folder has
// its own. An import finds the way back.
type Renamed struct{ Path, File string }

// Export writes the current documents as files below a folder, which is made
// if need be: the document /a/b is the file a/b. A file that has the content
// already is not touched; one that has not is replaced at once, never half.
//
// Nothing outside the folder is touched, whatever the documents are called
// and whatever links lie in it: a link is never followed nor replaced.
//
// Errors worth matching: ErrFolder.
func (s *Space) Export(ctx context.Context, dir string, o ExportOptions) (ExportReport, error) {
	var err error
	if o.Below, err = checkPrefix(o.Below); err != nil {
		return ExportReport{}, err
	}
	if err := s.replica.outside(dir); err != nil {
		return ExportReport{}, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return ExportReport{}, fmt.Errorf("anabranch: export: %w", err)
	}
	root, name, err := s.replica.openTree(dir)
	if err != nil {
		return ExportReport{}, err
	}
	defer root.Close()
	view, err := s.snapshot(ctx)
	if err != nil {
		return ExportReport{}, err
	}
	defer view.Close()
	ex := &exporting{
		ctx: ctx, space: s, options: o, root: root, view: view, now: s.replica.now(),
		avoid:  s.replica.private(),
		byDir:  map[string][]exportDoc{},
		wanted: map[string]bool{},
	}
	if ex.ledger, err = s.ledger(name, o.Below); err != nil {
		return ExportReport{}, err
	}
	err = ex.run()
	slices.SortFunc(ex.report.Skipped, func(a, b Skipped) int { return cmp.Compare(a.Name, b.Name) })
	return ex.report, errors.Join(err, ex.ledger.save(ctx, s))
}

// current yields each document that reads as present at or below a path, in
// path order.
func (s *Space) current(ctx context.Context, view *store.Snapshot, below string, now uint64) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		last := ""
		texts, err := s.textPaths(view, below)
		if err != nil {
			yield(Document{}, err)
			return
		}
		for v, err := range view.List(store.Query{Prefix: below, Kinds: []record.Kind{record.Doc}}) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Document{}, named(err))
				return
			}
			if v.Path == last || texts[v.Path] {
				continue
			}
			last = v.Path
			reading, err := view.Resolve(v.Path, now)
			if err != nil {
				yield(Document{}, named(err))
				return
			}
			if !reading.Absent && !yield(Document{reading.Doc, disagreeing(reading.Doc, reading.Conflicts)}, nil) {
				return
			}
		}
	}
}

type exportDoc struct {
	id   record.ID
	path string
	name string // of the file, in its folder
	text bool
	ref  *BlobRef
}

type exporting struct {
	ctx     context.Context
	space   *Space
	options ExportOptions
	root    *os.Root
	view    *store.Snapshot
	now     uint64
	ledger  *ledger
	report  ExportReport

	avoid  []fs.FileInfo
	byDir  map[string][]exportDoc
	wanted map[string]bool // files
	done   int
	bytes  int64 // written of large files
	small  int64 // … and of the others
}

func (ex *exporting) run() error {
	if err := ex.plan(); err != nil {
		return err
	}
	if ex.options.Delete {
		if err := ex.removeGone(); err != nil {
			return err
		}
	}
	dirs := make([]string, 0, len(ex.byDir))
	for dir := range ex.byDir {
		dirs = append(dirs, dir)
	}
	// A folder comes after the one that holds it, and its own come next.
	slices.SortFunc(dirs, func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
	var open []*exportFolder // from the top to the last one
	defer func() {
		for _, f := range open[min(1, len(open)):] {
			f.root.Close()
		}
	}()
	top, err := newExportFolder(ex.root, "")
	if err != nil {
		return fmt.Errorf("anabranch: export: %w", err)
	}
	open = append(open, top)
	for _, dir := range dirs {
		for !open[len(open)-1].holds(dir) {
			open[len(open)-1].root.Close()
			open = open[:len(open)-1]
		}
		if err := ex.descend(&open, dir); err != nil {
			var why *skipError
			if !errors.As(err, &why) {
				return err
			}
			for _, d := range ex.byDir[dir] {
				ex.skip(joinRel(dir, d.name), why.reason, why.detail)
			}
			ex.advance(len(ex.byDir[dir]))
			continue
		}
		if err := ex.fill(open[len(open)-1], ex.byDir[dir]); err != nil {
			return err
		}
	}
	return nil
}

func (ex *exporting) skip(name string, why SkipReason, detail string) {
	ex.report.Skipped = append(ex.report.Skipped, Skipped{name, why, detail})
}

func (ex *exporting) advance(n int) {
	ex.done += n
	if ex.options.Progress != nil {
		ex.options.Progress(FileProgress{Done: ex.done, Total: ex.report.Documents, Bytes: ex.bytes + ex.small})
	}
}

// plan gives every document its file.
func (ex *exporting) plan() error {
	folders := map[string]folderNames{"": {"": {0}}}
	type doc struct {
		exportDoc
		rel string
	}
	var docs []doc
	add := func(d exportDoc) {
		rel := strings.TrimPrefix(strings.TrimPrefix(d.path, strings.TrimSuffix(ex.options.Below, "/")), "/")
		if err := checkFileNames(rel); err != nil {
			ex.skip(d.path, SkipName, err.Error())
			return
		}
		docs = append(docs, doc{d, rel})
		for dir, _ := splitRel(rel); dir != ""; {
			above, name := splitRel(dir)
			if folders[above] == nil {
				folders[above] = folderNames{}
			}
			folders[above].add(name)
			dir = above
		}
	}
	for d, err := range ex.space.current(ex.ctx, ex.view, ex.options.Below, ex.now) {
		if err != nil {
			return err
		}
		ex.report.Documents++
		if len(d.Conflicts) > 0 {
			ex.report.Conflicts++
		}
		var ref *BlobRef
		if d.Blob {
			r, ok := BlobOf(d.Record)
			if !ok {
				ex.skip(d.Path, SkipBlob, "its record names no content")
				continue
			}
			ref = &r
		}
		add(exportDoc{id: d.ID, path: d.Path, ref: ref})
	}
	texts, err := ex.space.textPaths(ex.view, ex.options.Below)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		ex.report.Documents++
		add(exportDoc{path: path, text: true})
	}
	for _, d := range docs {
		dir, name := splitRel(d.rel)
		d.name = folders[dir].file(name)
		file := joinRel(dir, d.name)
		if file != d.rel {
			ex.report.Renamed = append(ex.report.Renamed, Renamed{d.path, file})
		}
		ex.wanted[file] = true
		ex.byDir[dir] = append(ex.byDir[dir], d.exportDoc)
	}
	ex.done = ex.report.Documents - len(docs)
	return nil
}

func checkFileNames(rel string) error {
	if rel == "" {
		return nil // the document that has the folder's own path
	}
	for name := range strings.SplitSeq(rel, "/") {
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkPlatformName(name); err != nil {
			return err
		}
	}
	return nil
}

// exportFolder is an open folder and the names in it.
type exportFolder struct {
	rel   string
	root  *os.Root
	names map[string]bool
}

func newExportFolder(root *os.Root, rel string) (*exportFolder, error) {
	names, err := readNames(root)
	if err != nil {
		return nil, err
	}
	f := &exportFolder{rel: rel, root: root, names: make(map[string]bool, len(names))}
	for _, n := range names {
		f.names[n] = true
	}
	return f, nil
}

// holds reports whether a folder is this one or lies in it.
func (f *exportFolder) holds(dir string) bool {
	return f.rel == "" || dir == f.rel || strings.HasPrefix(dir, f.rel+"/")
}

// descend opens, and makes, the folders down to dir. A *skipError says that
// something is in the way.
func (ex *exporting) descend(open *[]*exportFolder, dir string) error {
	for {
		at := (*open)[len(*open)-1]
		if at.rel == dir {
			return nil
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(dir[len(at.rel):], "/"), "/")
		next, err := ex.folder(at, name)
		if err != nil {
			return err
		}
		*open = append(*open, next)
	}
}

func (ex *exporting) folder(at *exportFolder, name string) (*exportFolder, error) {
	rel := joinRel(at.rel, name)
	info, err := at.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		info, err = nil, nil
	case err != nil:
		return nil, ex.trouble(rel, err)
	case !at.names[name]:
		return nil, collision()
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &skipError{reason: SkipSymlink, detail: "below " + rel + ", a symbolic link, which is not followed"}
	case info.Mode().IsRegular():
		if !ex.ours(at.root, rel, name) {
			return nil, &skipError{reason: SkipInTheWay, detail: rel + " is a file, and a folder is needed there"}
		}
		// A document's file before others stood below it: it gets another name.
		if err := at.root.Remove(name); err != nil {
			return nil, ex.trouble(rel, err)
		}
		info = nil
	case !info.IsDir():
		return nil, &skipError{reason: SkipInTheWay, detail: rel + " is " + special(info.Mode()) + ", and a folder is needed there"}
	case sameAsAny(info, ex.avoid):
		return nil, &skipError{reason: SkipHome, detail: "this replica keeps its own records or keys there"}
	}
	if info == nil {
		if err := at.root.Mkdir(name, 0o777); err != nil {
			return nil, ex.trouble(rel, err)
		}
		at.names[name] = true
		if info, err = at.root.Lstat(name); err != nil {
			return nil, ex.trouble(rel, err)
		}
	}
	sub, err := openFolder(at.root, name, info)
	if err != nil {
		return nil, ex.trouble(rel, err)
	}
	next, err := newExportFolder(sub, rel)
	if err != nil {
		sub.Close()
		return nil, ex.trouble(rel, err)
	}
	return next, nil
}

// ours reports whether a file is as an earlier export or import left it.
func (ex *exporting) ours(dir *os.Root, rel, name string) bool {
	met, known := ex.ledger.file(rel)
	if !known {
		return false
	}
	content, err := fileContent(ex.ctx, dir, name)
	return err == nil && met.has(content)
}

// fill writes the files of one folder.
func (ex *exporting) fill(at *exportFolder, docs []exportDoc) error {
	slices.SortFunc(docs, func(a, b exportDoc) int { return strings.Compare(a.name, b.name) })
	before := ex.report.Written
	var batch []*newFile
	size := 0
	names := map[string]bool{} // of batch, in lower case: two that may be one here are not in one batch
	for _, d := range docs {
		if err := ex.ctx.Err(); err != nil {
			return err
		}
		key := strings.ToLower(d.name)
		odd := !ascii(key) || len(batch) > 0 && !ascii(batch[len(batch)-1].doc.name)
		if len(batch) == exportFiles || size > exportBytes || names[key] || odd {
			if err := ex.write(at, batch); err != nil {
				return err
			}
			batch, size = nil, 0
			clear(names)
		}
		f, err := ex.prepare(at, d)
		var why *skipError
		switch {
		case errors.As(err, &why):
			ex.skip(joinRel(at.rel, d.name), why.reason, why.detail)
		case err != nil:
			return err
		case f != nil:
			batch, names[key] = append(batch, f), true
			size += len(f.content)
			continue
		}
		ex.advance(1)
	}
	if err := ex.write(at, batch); err != nil {
		return err
	}
	if ex.report.Written > before && runtime.GOOS != "windows" {
		if f, err := at.root.Open("."); err == nil {
			err = errors.Join(f.Sync(), f.Close())
			if err != nil {
				return fmt.Errorf("anabranch: export %s: %w", at.rel, err)
			}
		}
	}
	return nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7F })
}

// newFile is a file that is to be written.
type newFile struct {
	doc     exportDoc
	content []byte
	ref     *BlobRef    // of content that is not in the record; then content is nil
	known   []byte      // what the ledger knows the content by
	version TextVersion // of a text
	mode    fs.FileMode // of the one that is replaced; 0: none
	err     error
}

// write writes files of one folder side by side: each waits for its own
// fsync, and a journal serves several at a time.
func (ex *exporting) write(at *exportFolder, batch []*newFile) error {
	var writers sync.WaitGroup
	for _, f := range batch {
		if f.ref == nil {
			writers.Go(func() { f.err = replaceFile(at.root, f.doc.name, f.content, f.mode) })
		}
	}
	for _, f := range batch {
		if f.ref != nil {
			f.err = ex.replaceLarge(at.root, f)
		}
	}
	writers.Wait()
	for _, f := range batch {
		rel := joinRel(at.rel, f.doc.name)
		if f.err != nil {
			err := ex.trouble(rel, f.err)
			var why *skipError
			if !errors.As(err, &why) {
				return err
			}
			ex.skip(rel, why.reason, why.detail)
		} else {
			at.names[f.doc.name] = true
			ex.report.Written++
			if f.ref != nil {
				ex.report.Bytes += int64(f.ref.Size)
			} else {
				ex.report.Bytes += int64(len(f.content))
				ex.small += int64(len(f.content))
			}
			ex.agreed(rel, f)
		}
		ex.advance(1)
	}
	return nil
}

// prepare looks at what is where a file belongs; nil if that is the file.
func (ex *exporting) prepare(at *exportFolder, d exportDoc) (*newFile, error) {
	f := &newFile{doc: d, ref: d.ref}
	if d.text {
		var err error
		if f, err = ex.prepareText(ex.ctx, d); err != nil {
			return nil, err
		}
	} else {
		v, err := ex.view.Get(d.id)
		if err != nil {
			return nil, fmt.Errorf("anabranch: export %s: %w", d.path, named(err))
		}
		f.content, f.known = v.Payload, v.Payload
	}
	if d.ref != nil {
		f.content, f.known = nil, nameContent(d.ref.Name)
		has, err := ex.space.rows.HasBlob(d.ref.Name)
		if err != nil {
			return nil, fmt.Errorf("anabranch: export %s: %w", d.path, named(err))
		}
		if !has {
			return nil, &skipError{reason: SkipBlob, detail: fmt.Sprintf("its content of %d bytes is not here yet", d.ref.Size)}
		}
	}
	rel := joinRel(at.rel, d.name)
	info, err := at.root.Lstat(d.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, nil
	case err != nil:
		return nil, ex.trouble(rel, err)
	case !at.names[d.name]:
		return nil, collision()
	case info.Mode()&fs.ModeSymlink != 0:
		return nil, &skipError{reason: SkipSymlink, detail: "a symbolic link is there, which is neither followed nor replaced"}
	case info.IsDir():
		return nil, &skipError{reason: SkipInTheWay, detail: "a folder is there"}
	case !info.Mode().IsRegular():
		return nil, &skipError{reason: SkipInTheWay, detail: special(info.Mode()) + " is there"}
	}
	same, err := ex.compare(at.root, rel, d.name, f.known)
	if err != nil {
		return nil, err
	}
	if same {
		ex.report.Unchanged++
		ex.agreed(rel, f)
		return nil, nil
	}
	f.mode = info.Mode().Perm()
	return f, nil
}

// compare reports whether a file has a content already, and refuses if
// replacing it would lose what somebody wrote there.
func (ex *exporting) compare(dir *os.Root, rel, name string, content []byte) (same bool, err error) {
	met, known := ex.ledger.file(rel)
	have, err := fileContent(ex.ctx, dir, name)
	if err != nil {
		return false, err
	}
	if bytes.Equal(have, content) {
		return true, nil
	}
	switch {
	case ex.options.Overwrite, known && met.has(have):
		return false, nil
	case known:
		return false, &skipError{reason: SkipEdited, detail: "changed since it was last imported or exported: import it first, or let it be overwritten"}
	}
	return false, &skipError{reason: SkipEdited, detail: "another content is there, which no export wrote: import it first, or let it be overwritten"}
}

func collision() error {
	return &skipError{reason: SkipCollision, detail: "this file system takes another name that is there for the same one"}
}

// trouble sorts what the system says: what is wrong with one file is a
// *skipError, anything else ends the export.
func (ex *exporting) trouble(rel string, err error) error {
	var why *skipError
	switch {
	case errors.As(err, &why):
		return err
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EILSEQ):
		return &skipError{reason: SkipName, detail: "no file can have this name here: " + plainOS(err)}
	case errors.Is(err, fs.ErrPermission):
		return &skipError{reason: SkipUnwritable, detail: plainOS(err)}
	}
	return fmt.Errorf("anabranch: export %s: %w", rel, err)
}

// replaceFile puts a file in place whole: a temporary one beside it, fsync,
// rename. mode 0 is a new file's.
func replaceFile(dir *os.Root, name string, content []byte, mode fs.FileMode) error {
	var random [8]byte
	rand.Read(random[:])
	tmp := temporary + hex.EncodeToString(random[:])
	f, err := dir.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = dir.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, dir.Remove(tmp))
	}
	return nil
}

// removeGone removes the files whose documents are gone, and the folders that
// are empty then.
func (ex *exporting) removeGone() error {
	type gone struct{ dir, name string }
	var files []gone
	note := func(rel string) {
		dir, name := splitRel(rel)
		files = append(files, gone{dir, name})
	}
	w := &walker{
		ctx: ex.ctx, avoid: ex.avoid,
		file: func(rel string, _ fs.FileInfo) error {
			met, known := ex.ledger.file(rel)
			if !known || ex.wanted[rel] {
				return nil
			}
			content, err := fileContent(ex.ctx, ex.root, rel)
			var why *skipError
			if err != nil && !errors.As(err, &why) {
				return err
			}
			if err != nil || !met.has(content) {
				ex.skip(rel, SkipEdited, "its document is gone, but it was changed since: import it, or remove it by hand")
				return nil
			}
			note(rel)
			return nil
		},
		skip: func(rel string, _ bool, why SkipReason, _ string) {
			if why == SkipLeftover {
				note(rel)
			}
		},
	}
	if err := w.walk(ex.root, ""); err != nil {
		return err
	}
	for _, g := range files {
		rel := joinRel(g.dir, g.name)
		if err := ex.removeFile(rel); err != nil {
			return err
		}
	}
	// The deepest first: a folder is removed only if nothing is left in it.
	slices.SortFunc(files, func(a, b gone) int {
		return cmp.Or(cmp.Compare(strings.Count(b.dir, "/"), strings.Count(a.dir, "/")), cmp.Compare(a.dir, b.dir))
	})
	for _, g := range files {
		for dir := g.dir; dir != ""; dir, _ = splitRel(dir) {
			if removeFolder(ex.root, dir) != nil {
				break
			}
		}
	}
	return nil
}

// removeFile removes a file that was just seen to be one of ours. os.Root
// removes a link, not what it leads to, and never leaves the folder.
func (ex *exporting) removeFile(rel string) error {
	err := ex.root.Remove(rel)
	var why *skipError
	switch {
	case err == nil:
		if !strings.HasPrefix(rel[strings.LastIndexByte(rel, '/')+1:], temporary) {
			ex.report.Removed++
		}
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(ex.trouble(rel, err), &why):
		ex.skip(rel, why.reason, why.detail)
		return nil
	default:
		return ex.trouble(rel, err)
	}
	if e, ok := ex.ledger.file(rel); ok {
		ex.ledger.drop(e)
	}
	return nil
}

func removeFolder(root *os.Root, rel string) error {
	info, err := root.Lstat(rel)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fs.ErrInvalid
	}
	return root.Remove(rel)
}
