package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var twice = flag.String("twice", "", "for TestTwoFoldersGiveTheSameBytes: the platform to build, as linux/amd64; two builds of the program")

// TestTwoFoldersGiveTheSameBytes releases from this checkout and from a copy
// elsewhere, with another environment.
func TestTwoFoldersGiveTheSameBytes(t *testing.T) {
	if *twice == "" {
		t.Skip("builds the program twice: run it with -twice linux/amd64")
	}
	first := t.TempDir()
	second := filepath.Join(t.TempDir(), "another place", "of the same sources")
	sources, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	copySources(t, sources, second)
	release := func(checkout, out string, environment ...string) {
		t.Helper()
		c := exec.Command("go", "run", "./cmd/release", "-version", "1.2.3-test", "-platforms", *twice, "-out", out)
		c.Dir = checkout
		c.Env = append(os.Environ(), environment...)
		if b, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
	}
	release(sources, first)
	release(second, filepath.Join(second, "dist"), "TZ=Asia/Tokyo", "LC_ALL=C", "ANABRANCH_LISTEN=127.0.0.1:1", "GOAMD64=v3", "TMPDIR="+t.TempDir())
	names, err := filepath.Glob(filepath.Join(first, "*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("%q, %v", names, err)
	}
	for _, name := range names {
		a, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, "dist", filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs: %d and %d bytes", filepath.Base(name), len(a), len(b))
		}
		t.Logf("%s: %d bytes, %x", filepath.Base(name), len(a), sha256.Sum256(a))
	}
	if *twice != runtime.GOOS+"/"+runtime.GOARCH {
		return
	}
	program := filepath.Join(t.TempDir(), "anabranch")
	if err := os.WriteFile(program, unpack(t, first)["anabranch"], 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "anabranch 1.2.3-test, ") {
		t.Errorf("%v: %s", err, out)
	}
}

// copySources copies a checkout without what no build reads.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "dist") {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(name)
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unpack reads the one archive of a folder, whose checksum must be right:
// what each file holds, by the last part of its name.
func unpack(t *testing.T, dist string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dist, "anabranch-*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil || string(sums) != fmt.Sprintf("%x  %s\n", sha256.Sum256(b), filepath.Base(names[0])) {
		t.Errorf("checksums %q, %v", sums, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[filepath.Base(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchivesHoldNothingOfTheirMaker(t *testing.T) {
	files := []file{{"top/anabranch", []byte("program"), true}, {"top/README.md", []byte("read"), false}}
	packed, err := tarGz(files)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" || z.OS != 255 {
		t.Errorf("gzip header %+v", z.Header)
	}
	r := tar.NewReader(z)
	for _, f := range files {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(b, f.content) || h.Name != f.name || h.Mode != f.mode() || h.Uid != 0 || h.Uname != "" || !h.ModTime.Equal(epoch) {
			t.Errorf("%+v: %q, %v", h, b, err)
		}
	}
	packed, err = zipped(files)
	if err != nil {
		t.Fatal(err)
	}
	zr, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(zr.File) != len(files) {
		t.Fatal(err)
	}
	for i, f := range zr.File {
		if f.Name != files[i].name || !f.Modified.Equal(epoch) || f.UncompressedSize64 != uint64(len(files[i].content)) {
			t.Errorf("%+v", f.FileHeader)
		}
	}
}

func TestAReleaseThatCannotBeMeantIsRefused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"-version is missing": {},
		"digits first":        {"-version", "v1"},
		"version \"1 -X":      {"-version", "1 -X main.other=2"},
		"is not empty":        {"-version", "1", "-out", full},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
