package anabranch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

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
