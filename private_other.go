//go:build !unix

package anabranch

import (
	"io/fs"
	"os"
)

// makePrivate makes a folder; who may enter it is up to its parent.
func makePrivate(dir string) error { return os.MkdirAll(dir, 0o700) }

// openToOthers cannot be told by mode bits here: a folder below the user's
// profile is closed to other users by the list that it inherits.
func openToOthers(fs.FileInfo) bool { return false }

// syncFolder does nothing: folders cannot be synced here, and the file
// system keeps a journal of names.
func syncFolder(string) error { return nil }
