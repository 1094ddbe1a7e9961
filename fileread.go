package anabranch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"anabranch/record"
)

// readWhole reads a file of at most so many bytes as it was at one moment.
// Errors are a *skipError or the context's.
func readWhole(ctx context.Context, dir *os.Root, rel string, most int64) (b []byte, err error) {
	_, err = readSteady(ctx, dir, rel, func(f *os.File, size int64) error {
		if size > most {
			return tooLarge(size)
		}
		b = make([]byte, size)
		if _, err := io.ReadFull(f, b); err != nil {
			return cutShort(err)
		}
		if n, err := f.Read(make([]byte, 1)); n > 0 {
			return errUnsteady
		} else if err != io.EOF {
			return cutShort(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// cutShort tells a file that has become shorter from one that cannot be read.
func cutShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errUnsteady
	}
	return err
}

// errUnsteady is returned by a reader that saw the file change.
var errUnsteady = errors.New("anabranch: the file changed while it was read")

// readSteady has a file read as it was at one moment: a regular one, the one
// that stood there before it was opened, and of one size and time before the
// first byte and after the last. read is given that size, and is called again
// if the file changed meanwhile. Errors are a *skipError, read's or the
// context's.
func readSteady(ctx context.Context, dir *os.Root, rel string, read func(f *os.File, size int64) error) (fs.FileInfo, error) {
	const attempts = 3
	for range attempts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		info, err := readSteadyOnce(dir, rel, read)
		if !errors.Is(err, errUnsteady) {
			return info, err
		}
	}
	return nil, &skipError{reason: SkipChanging, detail: "it changed each time it was read"}
}

func readSteadyOnce(dir *os.Root, rel string, read func(*os.File, int64) error) (fs.FileInfo, error) {
	before, err := dir.Lstat(filepath.FromSlash(rel))
	if err != nil {
		return nil, unreadable(err)
	}
	if !before.Mode().IsRegular() {
		return nil, errUnsteady
	}
	flags := os.O_RDONLY
	if runtime.GOOS != "windows" {
		flags |= syscall.O_NONBLOCK // a pipe that took its place does not stop us
	}
	f, err := dir.OpenFile(filepath.FromSlash(rel), flags, 0)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	if !os.SameFile(before, opened) {
		return nil, errUnsteady
	}
	if err := read(f, opened.Size()); err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			return nil, unreadable(err)
		}
		return nil, err
	}
	after, err := f.Stat()
	if err != nil {
		return nil, unreadable(err)
	}
	if after.Size() != opened.Size() || !after.ModTime().Equal(opened.ModTime()) {
		return nil, errUnsteady
	}
	return opened, nil
}

type skipError struct {
	reason SkipReason
	detail string
	size   int64 // of SkipTooLarge
}

func (e *skipError) Error() string { return e.detail }

func tooLarge(size int64) error {
	return &skipError{reason: SkipTooLarge, detail: fmt.Sprintf("%d bytes, at most %d fit into one record", size, record.MaxPayload), size: size}
}

func unreadable(err error) error {
	return &skipError{reason: SkipUnreadable, detail: plainOS(err)}
}

// plainOS is what the system said, without the operation and the path.
func plainOS(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err.Error()
	}
	return err.Error()
}
