package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// file is one file of an archive, or an archive.
type file struct {
	name    string // slashes between folders
	content []byte
	program bool // mode 0755, else 0644
}

func (f file) mode() int64 {
	if f.program {
		return 0o755
	}
	return 0o644
}

// epoch is when every file in an archive was made: the first moment that a
// zip can name.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// tarGz packs files in the given order; nobody owns them.
func tarGz(files []file) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		err := t.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode(), Size: int64(len(f.content)), ModTime: epoch, Format: tar.FormatUSTAR})
		if err != nil {
			return nil, err
		}
		if _, err := t.Write(f.content); err != nil {
			return nil, err
		}
	}
	err = errors.Join(t.Close(), z.Close())
	return out.Bytes(), err
}

// zipped packs files in the given order.
func zipped(files []file) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, f := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: epoch})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

// checksums has a line each file, by name, as sha256sum --check reads it.
func checksums(files []file) []byte {
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(f.content), f.name)
	}
	return b.Bytes()
}
