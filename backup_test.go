package anabranch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestARestoredHomeUsesNoNumberTwiceAndGetsItsLaterRecordsBack(t *testing.T) {
	w := newWorld(t)
	rb := w.open("b")
	b, _ := w.create(rb)
	ra := w.open("a")
	a := w.join(b, ra, InviteOptions{})
	for i := range 50 {
		w.put(a, fmt.Sprintf("/n/%d", i), "before")
	}
	w.sync(a, b)
	dir := filepath.Join(w.dir, "backup")
	m, err := ra.Backup(w.ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if root := w.root(a); len(m.Spaces) != 1 || m.Spaces[0].Root != root.String() || m.Spaces[0].Name != "notes" {
		t.Errorf("%+v", m.Spaces)
	}
	var later []*Record
	for i := range 40 {
		later = append(later, w.put(a, fmt.Sprintf("/n/%d", i), "after"))
	}
	w.sync(a, b)
	lost := w.put(a, "/never/sent", "lost with the device")
	if err := ra.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "a")); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(w.dir, "a")
	if _, err := Restore(w.ctx, dir, home, RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	r := w.open("a")
	if r.Device() != ra.Device() {
		t.Error("another device came out")
	}
	s := r.Spaces()[0]
	if got := w.text(s, "/n/0"); got != "before" {
		t.Errorf("/n/0 reads %q", got)
	}
	fresh := w.put(s, "/n/1", "written before the sync")
	if fresh.Lane == lost.Lane || fresh.Seq != 1 {
		t.Errorf("number %d in lane %x; before it was lane %x", fresh.Seq, fresh.Lane, lost.Lane)
	}
	w.sync(s, b)
	w.equal(s, b)
	for _, v := range later {
		if _, err := s.Record(w.ctx, v.ID); err != nil {
			t.Fatalf("%s did not come back: %v", v.Path, err)
		}
	}
	status, err := s.Status(w.ctx)
	if err != nil || len(status.Forks) > 0 {
		t.Errorf("forks %v, %v", status.Forks, err)
	}
	if got := w.text(s, "/n/0"); got != "after" {
		t.Errorf("/n/0 reads %q", got)
	}
}

func TestABackupIsItsOwnersAloneAndNamesWhatIsInIt(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	s, _ := w.create(r)
	w.put(s, "/x", "text")
	dir := w.tree("backup", nil)
	m, err := r.Backup(w.ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]int64{}
	for _, f := range m.Files {
		listed[f.Name] = f.Size
	}
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		rel, _ := filepath.Rel(dir, p)
		if rel = filepath.ToSlash(rel); d.Type().IsRegular() && rel != manifestName {
			if size, ok := listed[rel]; !ok || size != info.Size() {
				t.Errorf("%s has %d bytes, listed %d", rel, info.Size(), size)
			}
			delete(listed, rel)
		}
		return nil
	})
	if err != nil || len(listed) > 0 {
		t.Errorf("%v, listed and not there: %v", err, listed)
	}
	if _, err := r.Backup(w.ctx, dir, nil); !errors.Is(err, ErrBackup) {
		t.Errorf("into a folder that is not empty: %v", err)
	}
	if _, err := r.Backup(w.ctx, filepath.Join(w.dir, "a", "state", "new"), nil); !errors.Is(err, ErrFolder) {
		t.Errorf("into its own home: %v", err)
	}
}

func TestABackupThatIsNotWholeIsNotRestored(t *testing.T) {
	w := newWorld(t)
	r := w.open("a")
	s, _ := w.create(r)
	w.put(s, "/x", "text")
	good := filepath.Join(w.dir, "good")
	m, err := r.Backup(w.ctx, good, nil)
	if err != nil {
		t.Fatal(err)
	}
	rename := func(dir, to string) {
		m := m
		m.Files = append([]BackupFile{}, m.Files...)
		m.Files[0].Name = to
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		w.file(dir, manifestName, string(b))
	}
	for name, c := range map[string]struct {
		harm func(dir string)
		want error
	}{
		"no manifest":     {func(dir string) { os.Remove(filepath.Join(dir, manifestName)) }, ErrBackup},
		"no text":         {func(dir string) { w.file(dir, manifestName, "{") }, ErrDamaged},
		"a newer one":     {func(dir string) { w.file(dir, manifestName, `{"schema":"anabranch.manifest/2"}`) }, ErrIncompatible},
		"a missing file":  {func(dir string) { os.Remove(filepath.Join(dir, m.Files[len(m.Files)-1].Name)) }, ErrDamaged},
		"a changed file":  {func(dir string) { w.file(dir, "state/device.key", strings.Repeat("0", 64)+"\n") }, ErrDamaged},
		"a way out":       {func(dir string) { rename(dir, "store/../../evil") }, ErrDamaged},
		"an absolute way": {func(dir string) { rename(dir, "/etc/evil") }, ErrDamaged},
		"a hidden file":   {func(dir string) { rename(dir, "state/.evil") }, ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			c.harm(dir)
			home := filepath.Join(t.TempDir(), "home")
			if _, err := Restore(w.ctx, dir, home, RestoreOptions{}); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if left := w.files(filepath.Dir(home)); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	if _, err := Restore(w.ctx, good, filepath.Join(w.dir, "a"), RestoreOptions{}); !errors.Is(err, ErrBackup) {
		t.Errorf("into a home that holds a replica: %v", err)
	}
	if _, err := Restore(w.ctx, good, filepath.Join(w.dir, "new"), RestoreOptions{StateDir: filepath.Join(w.dir, "a", "state")}); !errors.Is(err, ErrBackup) {
		t.Errorf("over the keys of another replica: %v", err)
	}
}
