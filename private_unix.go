//go:build unix

package anabranch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// makePrivate makes a folder for its owner alone, and refuses one that is
// there already and belongs to somebody else: a runtime folder below a shared
// one may have been put there to read what we write. A folder of ours that
// others may enter is closed to them.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Getuid() {
		return fmt.Errorf("%s belongs to another user (uid %d)", dir, owner.Uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}

// openToOthers reports whether others than the owner may use a file.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// syncFolder makes what was created, renamed or removed in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
