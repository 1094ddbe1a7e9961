//go:build linux || darwin

package main

import (
	"path/filepath"
	"syscall"
)

// freeBytes is what a user may still write to the file system of a folder,
// or of the nearest one above it that exists; -1 not known.
func freeBytes(dir string) int64 {
	for {
		var fs syscall.Statfs_t
		if syscall.Statfs(dir, &fs) == nil {
			return int64(fs.Bavail) * int64(fs.Bsize)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return -1
		}
		dir = parent
	}
}
