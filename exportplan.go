package anabranch

import (
	"maps"
	"slices"
	"strings"
)

// plan gives every document its file.
func (ex *exporting) plan() error {
	folders := map[string]folderNames{"": {"": {0}}}
	type doc struct {
		exportDoc
		rel string
	}
	var docs []doc
	add := func(d exportDoc) {
		rel := strings.TrimPrefix(strings.TrimPrefix(d.path, strings.TrimSuffix(ex.options.Below, "/")), "/")
		if err := checkFileNames(rel); err != nil {
			ex.skip(d.path, SkipName, err.Error())
			return
		}
		docs = append(docs, doc{d, rel})
		for dir, _ := splitRel(rel); dir != ""; {
			above, name := splitRel(dir)
			if folders[above] == nil {
				folders[above] = folderNames{}
			}
			folders[above].add(name)
			dir = above
		}
	}
	for d, err := range ex.space.current(ex.ctx, ex.view, ex.options.Below, ex.now) {
		if err != nil {
			return err
		}
		ex.report.Documents++
		if len(d.Conflicts) > 0 {
			ex.report.Conflicts++
		}
		var ref *BlobRef
		if d.Blob {
			r, ok := BlobOf(d.Record)
			if !ok {
				ex.skip(d.Path, SkipBlob, "its record names no content")
				continue
			}
			ref = &r
		}
		add(exportDoc{id: d.ID, path: d.Path, ref: ref})
	}
	texts, err := ex.space.textPaths(ex.view, ex.options.Below)
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		ex.report.Documents++
		add(exportDoc{path: path, text: true})
	}
	for _, d := range docs {
		dir, name := splitRel(d.rel)
		d.name = folders[dir].file(name)
		file := joinRel(dir, d.name)
		if file != d.rel {
			ex.report.Renamed = append(ex.report.Renamed, Renamed{d.path, file})
		}
		ex.wanted[file] = true
		ex.byDir[dir] = append(ex.byDir[dir], d.exportDoc)
	}
	ex.done = ex.report.Documents - len(docs)
	return nil
}

func checkFileNames(rel string) error {
	if rel == "" {
		return nil // the document that has the folder's own path
	}
	for name := range strings.SplitSeq(rel, "/") {
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkPlatformName(name); err != nil {
			return err
		}
	}
	return nil
}
