package anabranch

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

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
