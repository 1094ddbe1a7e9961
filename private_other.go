//go:build !unix

package anabranch

import "os"

// makePrivate makes a folder; who may enter it is up to its parent.
func makePrivate(dir string) error { return os.MkdirAll(dir, 0o700) }
