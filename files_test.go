package anabranch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// tree writes files below a new folder: a content by slash path.
func (w *world) tree(name string, files map[string]string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		w.t.Fatal(err)
	}
	for rel, content := range files {
		w.file(dir, rel, content)
	}
	return dir
}

func (w *world) file(dir, rel, content string) {
	w.t.Helper()
	p := filepath.Join(dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// files is what regular files lie below a folder.
func (w *world) files(dir string) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		out[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) wantFiles(dir string, want map[string]string) {
	w.t.Helper()
	if got := w.files(dir); !maps.Equal(got, want) {
		w.t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

// importing imports and wants no error.
func (w *world) importing(s *Space, dir string, o ImportOptions) ImportReport {
	w.t.Helper()
	report, err := s.Import(w.ctx, dir, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *world) exporting(s *Space, dir string, o ExportOptions) ExportReport {
	w.t.Helper()
	report, err := s.Export(w.ctx, dir, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

// reasons are what was skipped and why, as "name reason".
func reasons(skipped []Skipped) []string {
	var out []string
	for _, s := range skipped {
		out = append(out, s.Name+" "+string(s.Reason))
	}
	slices.Sort(out)
	return out
}

func (w *world) wantSkipped(skipped []Skipped, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := reasons(skipped); !slices.Equal(got, want) {
		w.t.Errorf("skipped:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestFileNamesNeverCollideAndFindTheirWayBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom([]string{"a", "b", "", "a~do"}).Draw(t, "base") + strings.Repeat(docSuffix, rapid.IntRange(0, 5).Draw(t, "n"))
		})
		folders := folderNames{}
		taken := map[string]string{}
		for _, f := range rapid.SliceOf(name).Draw(t, "folders") {
			folders.add(f)
			taken[f] = "a folder"
		}
		for _, d := range rapid.SliceOfDistinct(name, rapid.ID[string]).Draw(t, "documents") {
			file := folders.file(d)
			if other, ok := taken[file]; ok {
				t.Fatalf("%q is the file of %q and %s", file, d, other)
			}
			taken[file] = fmt.Sprintf("that of %q", d)
			if back := folders.document(file); back != d {
				t.Fatalf("%q is the file %q, which is the document %q", d, file, back)
			}
			base, _ := splitName(d)
			if len(folders[base]) == 0 && file != d {
				t.Fatalf("%q became %q for no reason", d, file)
			}
		}
	})
}
