package anabranch

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

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
