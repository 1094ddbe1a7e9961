package anabranch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"anabranch/record"
)

func TestATreeComesOutAsItWentIn(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	files := map[string]string{
		"empty":                 "",
		"one.txt":               "one",
		"dir/two.txt":           "two",
		"dir/deep/er/three":     "three",
		"dir-b/between":         "path order puts this between dir and dir/",
		"caf\u00e9":             "composed",
		"cafe\u0301":            "decomposed",
		"Case":                  "upper",
		"case":                  "lower",
		"full":                  strings.Repeat("x", record.MaxPayload),
		"bytes":                 "\x00\xff\x1b[31m",
		" spaces and 'quotes\"": "odd",
		"back\\slash":           "odd",
		".hidden/.file":         "hidden",
		"a~doc":                 "a name like those of an export",
		"~doc~doc":              "another",
		"日本/ファイル":               "wide",
	}
	delete(files, "~doc~doc") // at the top it is the document /~doc
	dir := w.tree("in", files)
	report := w.importing(s, dir, ImportOptions{})
	if report.Added != len(files) || report.Files != len(files) || len(report.Skipped) > 0 {
		t.Fatalf("%+v", report)
	}
	if got := w.text(s, "/cafe\u0301"); got != "decomposed" {
		t.Errorf("a decomposed name reads %q", got)
	}
	_, before, _ := s.Root(w.ctx)
	if again := w.importing(s, dir, ImportOptions{Delete: true}); again.Unchanged != len(files) || again.Added+again.Changed+again.Deleted > 0 {
		t.Errorf("an unchanged tree: %+v", again)
	}
	if _, after, _ := s.Root(w.ctx); after != before {
		t.Errorf("%d records, then %d", before, after)
	}
	out := filepath.Join(w.dir, "out")
	exported := w.exporting(s, out, ExportOptions{})
	if exported.Written != len(files) || len(exported.Skipped)+len(exported.Renamed) > 0 {
		t.Errorf("%+v", exported)
	}
	w.wantFiles(out, files)
	// A second export touches nothing, and what was exported is no news.
	info, err := os.Stat(filepath.Join(out, "one.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if again := w.exporting(s, out, ExportOptions{Delete: true}); again.Unchanged != len(files) || again.Written+again.Removed > 0 {
		t.Errorf("%+v", again)
	}
	if now, err := os.Stat(filepath.Join(out, "one.txt")); err != nil || !os.SameFile(info, now) || !now.ModTime().Equal(info.ModTime()) {
		t.Error("an unchanged file was written again")
	}
	if back := w.importing(s, out, ImportOptions{Delete: true}); back.Unchanged != len(files) || back.Added+back.Changed+back.Deleted > 0 {
		t.Errorf("the import of an export: %+v", back)
	}
}

func TestAPrefixStandsForTheFolder(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	w.put(s, "/other", "not below")
	w.put(s, "/docs", "the prefix itself")
	w.put(s, "/docs-b", "beside")
	dir := w.tree("in", map[string]string{"x": "1", "y/z": "2"})
	if report := w.importing(s, dir, ImportOptions{Below: "/docs"}); report.Added != 2 {
		t.Fatalf("%+v", report)
	}
	if w.text(s, "/docs/y/z") != "2" {
		t.Error("/docs/y/z is not there")
	}
	out := filepath.Join(w.dir, "out")
	report := w.exporting(s, out, ExportOptions{Below: "/docs"})
	if want := []Renamed{{"/docs", "~doc"}}; !slices.Equal(report.Renamed, want) {
		t.Errorf("renamed %v", report.Renamed)
	}
	w.wantFiles(out, map[string]string{"x": "1", "y/z": "2", "~doc": "the prefix itself"})
	if back := w.importing(s, out, ImportOptions{Below: "/docs", Delete: true}); back.Unchanged != 3 || back.Deleted+back.Added > 0 {
		t.Errorf("%+v", back)
	}
	if _, err := s.Import(w.ctx, dir, ImportOptions{Below: "no/slash"}); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("a prefix that is no path: %v", err)
	}
}

func TestADocumentAboveOthersHasAnotherName(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	docs := map[string]string{"/a": "1", "/a/b": "2", "/a~doc": "3", "/a~doc/c": "4", "/plain": "5"}
	for path, text := range docs {
		w.put(s, path, text)
	}
	out := filepath.Join(w.dir, "out")
	report := w.exporting(s, out, ExportOptions{})
	want := []Renamed{{"/a", "a~doc~doc"}, {"/a~doc", "a~doc~doc~doc"}}
	if !slices.Equal(report.Renamed, want) {
		t.Errorf("renamed %v, want %v", report.Renamed, want)
	}
	w.wantFiles(out, map[string]string{"a~doc~doc": "1", "a/b": "2", "a~doc~doc~doc": "3", "a~doc/c": "4", "plain": "5"})
	if back := w.importing(s, out, ImportOptions{Delete: true}); back.Unchanged != len(docs) || back.Added+back.Deleted > 0 {
		t.Errorf("%+v", back)
	}
	// Another replica reads the folder without having written it.
	other, _ := w.create(w.open("b"))
	w.importing(other, out, ImportOptions{})
	for path, text := range docs {
		if got := w.text(other, path); got != text {
			t.Errorf("%s reads %q, want %q", path, got, text)
		}
	}
	// A file of an earlier export gives way to a folder, an edited one does not.
	w.put(s, "/plain/x", "6")
	if report := w.exporting(s, out, ExportOptions{}); len(report.Skipped) > 0 {
		t.Errorf("%+v", report)
	}
	if got := w.files(out); got["plain/x"] != "6" || got["plain~doc"] != "5" {
		t.Errorf("%q", got)
	}
	w.file(out, "q", "mine")
	w.put(s, "/q/r", "theirs")
	w.wantSkipped(w.exporting(s, out, ExportOptions{}).Skipped, "q/r in_the_way")
	if w.files(out)["q"] != "mine" {
		t.Error("a file that no export wrote was removed")
	}
}

func TestDeleteRemovesWhatIsGoneAndNothingElse(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	dir := w.tree("in", map[string]string{"a": "1", "b": "2", "c/d": "3", "big": "4"})
	w.importing(s, dir, ImportOptions{})
	w.put(s, "/later", "from somebody else")
	w.put(s, "/c/d", "changed by somebody else")
	for _, name := range []string{"b", "c/d"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "big")), os.Symlink("a", filepath.Join(dir, "big"))); err != nil {
		t.Fatal(err)
	}
	if report := w.importing(s, dir, ImportOptions{}); report.Deleted > 0 {
		t.Errorf("deleted without being told to: %+v", report)
	}
	report := w.importing(s, dir, ImportOptions{Delete: true})
	if report.Deleted != 1 || report.Spared != 2 {
		t.Errorf("%+v", report)
	}
	w.wantSkipped(report.Skipped, "big symlink")
	want := map[string]string{"/a": "1", "/b": "", "/c/d": "changed by somebody else", "/later": "from somebody else", "/big": "4"}
	for path, text := range want {
		if got := w.text(s, path); got != text {
			t.Errorf("%s reads %q, want %q", path, got, text)
		}
	}
	// What a skipped folder holds is not known, so nothing of it is gone.
	w.put(s, "/e\u202ed/x", "behind a name that is skipped")
	if err := os.Mkdir(filepath.Join(dir, "e\u202ed"), 0o777); err != nil {
		t.Fatal(err)
	}
	if report := w.importing(s, dir, ImportOptions{Delete: true, Overwrite: true}); report.Deleted != 2 || w.text(s, "/e\u202ed/x") == "" {
		t.Errorf("%+v", report)
	}
	// A folder that never met the space: everything without a file is gone.
	mirror := w.tree("mirror", map[string]string{"a": "1"})
	if report := w.importing(s, mirror, ImportOptions{Delete: true}); report.Deleted != 2 || report.Unchanged != 1 {
		t.Errorf("%+v", report)
	}
	// An empty folder deletes nothing: it may be a disk that is not mounted.
	if _, err := s.Import(w.ctx, w.tree("empty", nil), ImportOptions{Delete: true}); !errors.Is(err, ErrFolder) {
		t.Errorf("an empty folder: %v", err)
	}
	if w.text(s, "/a") != "1" {
		t.Error("an empty folder deleted a document")
	}
}

func TestExportDeletesOnlyWhatItKnows(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	for _, path := range []string{"/keep", "/gone", "/edited", "/d/e/f"} {
		w.put(s, path, "text of "+path)
	}
	out := w.tree("out", map[string]string{"mine": "never exported", "d/mine": "nor this"})
	w.exporting(s, out, ExportOptions{})
	w.file(out, "edited", "my own words")
	for _, path := range []string{"/gone", "/edited", "/d/e/f"} {
		if _, err := s.Delete(w.ctx, path); err != nil {
			t.Fatal(err)
		}
	}
	if report := w.exporting(s, out, ExportOptions{}); report.Removed > 0 {
		t.Errorf("removed without being told to: %+v", report)
	}
	report := w.exporting(s, out, ExportOptions{Delete: true})
	if report.Removed != 2 {
		t.Errorf("%+v", report)
	}
	w.wantSkipped(report.Skipped, "edited edited")
	w.wantFiles(out, map[string]string{"keep": "text of /keep", "mine": "never exported", "d/mine": "nor this", "edited": "my own words"})
	if _, err := os.Stat(filepath.Join(out, "d", "e")); !errors.Is(err, os.ErrNotExist) {
		t.Error("an empty folder was left")
	}
}

func TestNeitherSideTakesTheOthersChangesBack(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	dir := w.tree("dir", map[string]string{"same": "1", "space": "1", "file": "1", "both": "1", "rm": "1"})
	w.importing(s, dir, ImportOptions{})
	w.put(s, "/space", "2")
	w.put(s, "/both", "2 in the space")
	if _, err := s.Delete(w.ctx, "/rm"); err != nil {
		t.Fatal(err)
	}
	w.file(dir, "file", "2")
	w.file(dir, "both", "2 in the file")

	// The export does not overwrite what was written in the folder.
	copied := w.exporting(s, dir, ExportOptions{})
	w.wantSkipped(copied.Skipped, "both edited", "file edited")
	if got := w.files(dir); got["space"] != "2" || got["both"] != "2 in the file" || got["file"] != "2" {
		t.Fatalf("%q", got)
	}
	w.put(s, "/space", "3")
	report := w.importing(s, dir, ImportOptions{})
	if report.Older != 2 || report.Changed != 2 || report.Added != 0 || !slices.Equal(report.Both, []string{"/both"}) {
		t.Errorf("%+v", report)
	}
	for path, text := range map[string]string{"/space": "3", "/both": "2 in the file", "/file": "2", "/rm": "", "/same": "1"} {
		if got := w.text(s, path); got != text {
			t.Errorf("%s reads %q, want %q", path, got, text)
		}
	}
	if report := w.importing(s, dir, ImportOptions{Overwrite: true}); report.Added != 1 || report.Changed != 1 {
		t.Errorf("overwriting: %+v", report)
	}
	if w.text(s, "/space") != "2" || w.text(s, "/rm") != "1" {
		t.Error("the folder was not taken as it is")
	}
	w.file(dir, "new", "mine")
	w.put(s, "/new", "theirs")
	w.wantSkipped(w.exporting(s, dir, ExportOptions{}).Skipped, "new edited")
	w.exporting(s, dir, ExportOptions{Overwrite: true})
	if w.files(dir)["new"] != "theirs" {
		t.Error("not overwritten")
	}
}

func TestTwoFoldersEditedApartEndEqual(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprint("content ", i)
	}
	dirA, dirB := w.tree("A", files), filepath.Join(w.dir, "B")
	w.importing(a, dirA, ImportOptions{})
	b := w.join(a, w.open("b"), InviteOptions{})
	w.exporting(b, dirB, ExportOptions{})
	w.wantFiles(dirB, files)

	w.file(dirA, "d0/f0", "edited by a")
	w.file(dirB, "d1/f1", "edited by b")
	w.file(dirA, "d2/f2", "edited by both: a")
	w.file(dirB, "d2/f2", "edited by both: b")
	w.file(dirA, "new/a", "added by a")
	w.file(dirB, "new/b", "added by b")
	for dir, name := range map[string]string{dirA: "d3/f3", dirB: "d4/f4"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	w.importing(a, dirA, ImportOptions{Delete: true})
	w.importing(b, dirB, ImportOptions{Delete: true})
	w.sync(a, b)
	w.equal(a, b)
	var conflicts []string
	for c, err := range a.Conflicts(w.ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		conflicts = append(conflicts, c.Path)
	}
	if !slices.Equal(conflicts, []string{"/d2/f2"}) {
		t.Errorf("conflicts at %q", conflicts)
	}
	// Importing once more, before the other side's changes were exported,
	// takes nothing back.
	for _, s := range []struct {
		s   *Space
		dir string
	}{{a, dirA}, {b, dirB}} {
		before := w.root(s.s)
		report := w.importing(s.s, s.dir, ImportOptions{Delete: true})
		if report.Added+report.Changed+report.Deleted > 0 || w.root(s.s) != before {
			t.Errorf("%+v", report)
		}
		if report := w.exporting(s.s, s.dir, ExportOptions{Delete: true}); len(report.Skipped) > 0 || report.Conflicts != 1 {
			t.Errorf("%+v", report)
		}
	}
	maps.Copy(files, map[string]string{"d0/f0": "edited by a", "d1/f1": "edited by b", "new/a": "added by a", "new/b": "added by b"})
	delete(files, "d3/f3")
	delete(files, "d4/f4")
	files["d2/f2"] = w.text(a, "/d2/f2")
	w.wantFiles(dirA, files)
	w.wantFiles(dirB, files)
}

func TestNamesThatDeceiveAreRefusedBothWays(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	dir := w.tree("in", map[string]string{
		"good":                   "1",
		"evil\u202egpj.exe":      "2",
		"line\nbreak":            "3",
		"esc\x1b[31m":            "4",
		"bad\xff":                "5",
		"iso\u2066late/inside":   "6",
		"arabic mark\u061c":      "7",
		temporary + "0123456789": "8",
	})
	deep := filepath.Join(strings.Repeat("d", 200), strings.Repeat("e", 200), strings.Repeat("f", 200), strings.Repeat("g", 200), strings.Repeat("h", 200))
	w.file(dir, filepath.ToSlash(deep)+"/"+strings.Repeat("i", 30), "9")
	report := w.importing(s, dir, ImportOptions{})
	if report.Added != 1 {
		t.Errorf("%+v", report)
	}
	w.wantSkipped(report.Skipped,
		"evil\u202egpj.exe name", "line\nbreak name", "esc\x1b[31m name", "bad\xff name", "iso\u2066late name", "arabic mark\u061c name",
		temporary+"0123456789 leftover", filepath.ToSlash(deep)+"/"+strings.Repeat("i", 30)+" name")
	w.put(s, "/evil\u202egpj.exe", "from a peer")
	w.put(s, "/x/\u200fy/z", "from a peer")
	w.put(s, "/"+strings.Repeat("n", 300), "longer than a file's name")
	w.put(s, "/"+temporary+"x", "reserved")
	out := filepath.Join(w.dir, "out")
	exported := w.exporting(s, out, ExportOptions{})
	w.wantSkipped(exported.Skipped, "/evil\u202egpj.exe name", "/x/\u200fy/z name", strings.Repeat("n", 300)+" name", "/"+temporary+"x name")
	w.wantFiles(out, map[string]string{"good": "1"})
}

func TestTheReplicasOwnFoldersAreNeitherReadNorWritten(t *testing.T) {
	w := newWorld(t)
	r := w.open("tree/home")
	s, _ := w.create(r)
	dir := w.tree("tree", map[string]string{"x": "1"})
	report := w.importing(s, dir, ImportOptions{})
	w.wantSkipped(report.Skipped, "home home")
	w.put(s, "/home/state/device.key", "0000")
	w.put(s, "/home/store/CURRENT", "0000")
	exported := w.exporting(s, dir, ExportOptions{})
	w.wantSkipped(exported.Skipped, "home/state/device.key home", "home/store/CURRENT home")
	for _, inside := range []string{"tree/home", "tree/home/state", "tree/home/new"} {
		_, errIn := s.Import(w.ctx, filepath.Join(w.dir, inside), ImportOptions{})
		_, errOut := s.Export(w.ctx, filepath.Join(w.dir, inside), ExportOptions{})
		if !errors.Is(errOut, ErrFolder) || !errors.Is(errIn, ErrFolder) {
			t.Errorf("%s: import %v, export %v", inside, errIn, errOut)
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "tree/home/new")); err == nil {
		t.Error("a refused export made a folder")
	}
}

func TestAnImportThatIsCutKeepsWhatItCounted(t *testing.T) {
	w := newWorld(t)
	s, _ := w.create(w.open("a"))
	files := map[string]string{}
	for i := range 1100 {
		files[fmt.Sprintf("f%04d", i)] = "content"
	}
	dir := w.tree("in", files)
	ctx, cancel := context.WithCancel(w.ctx)
	report, err := s.Import(ctx, dir, ImportOptions{Progress: func(p FileProgress) {
		if p.Done == 1060 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || report.Added != importDrafts {
		t.Fatalf("%v, %+v", err, report)
	}
	rest := w.importing(s, dir, ImportOptions{})
	if rest.Unchanged != importDrafts || rest.Added != len(files)-importDrafts {
		t.Errorf("%+v", rest)
	}
}

func TestAReaderImportsNothing(t *testing.T) {
	w := newWorld(t)
	a, _ := w.create(w.open("a"))
	b := w.join(a, w.open("b"), InviteOptions{Role: record.Reader})
	report, err := b.Import(w.ctx, w.tree("in", map[string]string{"x": "1"}), ImportOptions{})
	if !errors.Is(err, ErrNotAuthorised) || report.Added > 0 {
		t.Errorf("%v, %+v", err, report)
	}
}
