package anabranch

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

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
