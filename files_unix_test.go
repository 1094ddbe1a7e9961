//go:build unix

package anabranch

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestLinksDevicesAndTheUnreadableAreNamed(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	outside := w.tree("outside", map[string]string{"secret": "not yours"})
	dir := w.tree("in", map[string]string{"good": "1", "locked": "2", "closed/x": "3"})
	for name, to := range map[string]string{"out": outside, "file": filepath.Join(outside, "secret"), "loop": ".", "inside": "good", "broken": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"out symlink", "file symlink", "loop symlink", "inside symlink", "broken symlink", "pipe special"}
	short, err := os.MkdirTemp("", "s") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	l, err := net.Listen("unix", filepath.Join(short, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if os.Rename(filepath.Join(short, "s"), filepath.Join(dir, "socket")) == nil {
		want = append(want, "socket special")
	}
	if os.Getuid() != 0 { // root reads everything
		for _, name := range []string{"locked", "closed"} {
			if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(filepath.Join(dir, name), 0o700)
			want = append(want, name+" unreadable")
		}
	}
	done := make(chan ImportReport, 1)
	go func() {
		report, err := s.Import(w.ctx, dir, ImportOptions{})
		if err != nil {
			t.Error(err)
		}
		done <- report
	}()
	select {
	case report := <-done:
		w.wantSkipped(report.Skipped, want...)
	case <-time.After(20 * time.Second):
		t.Fatal("the import hangs")
	}
}

func TestExportNeverFollowsALink(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	outside := w.tree("outside", map[string]string{"victim": "untouched", "gone": "untouched"})
	before := w.files(outside)
	for path, text := range map[string]string{"/dir/victim": "1", "/victim": "2", "/up/gone": "3", "/self/x": "4", "/pipe": "5", "/fine": "6"} {
		w.put(s, path, text)
	}
	out := w.tree("out", nil)
	for name, to := range map[string]string{"dir": outside, "victim": filepath.Join(outside, "victim"), "up": "../outside", "self": "."} {
		if err := os.Symlink(to, filepath.Join(out, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(out, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	report := w.exporting(s, out, ExportOptions{Overwrite: true, Delete: true})
	w.wantSkipped(report.Skipped, "dir/victim symlink", "victim symlink", "up/gone symlink", "self/x symlink", "pipe in_the_way")
	w.wantFiles(out, map[string]string{"fine": "6"})
	w.wantFiles(outside, before)
	for _, name := range []string{"dir", "victim", "up", "self"} {
		if info, err := os.Lstat(filepath.Join(out, name)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link %s was replaced", name)
		}
	}
	// A folder that an export made and somebody replaced by a link is not
	// entered to delete either.
	clean := filepath.Join(w.dir, "clean")
	w.exporting(s, clean, ExportOptions{})
	if err := os.RemoveAll(filepath.Join(clean, "up")); err != nil {
		t.Fatal(err)
	}
	w.file(outside, "gone", "3") // as the export wrote it
	if err := os.Symlink(outside, filepath.Join(clean, "up")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(w.ctx, "/up/gone"); err != nil {
		t.Fatal(err)
	}
	w.exporting(s, clean, ExportOptions{Delete: true})
	if w.files(outside)["gone"] != "3" {
		t.Error("a file outside was removed")
	}
}

func TestAnExportKeepsTheModeOfAFile(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.put(s, "/run.sh", "1")
	out := filepath.Join(w.dir, "out")
	w.exporting(s, out, ExportOptions{})
	if err := os.Chmod(filepath.Join(out, "run.sh"), 0o750); err != nil {
		t.Fatal(err)
	}
	w.put(s, "/run.sh", "2")
	w.exporting(s, out, ExportOptions{})
	if info, err := os.Stat(filepath.Join(out, "run.sh")); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
