package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// exportJSON is what export --json prints.
type exportJSON struct {
	Schema    string        `json:"schema"` // anabranch.export/1
	Space     string        `json:"space"`
	Dir       string        `json:"dir"`
	Below     string        `json:"below"`
	Documents int           `json:"documents"`
	Written   int           `json:"written"`
	Unchanged int           `json:"unchanged"`
	Removed   int           `json:"removed"`
	Bytes     int64         `json:"bytes"`
	Conflicts int           `json:"conflicts"`
	Renamed   []renamedJSON `json:"renamed"`
	Skipped   []skippedJSON `json:"skipped"`
}

// renamedJSON is a document whose file has another name.
type renamedJSON struct {
	Path string `json:"path"`
	File string `json:"file"`
}

func newExport(a *app) *cobra.Command {
	var o anabranch.ExportOptions
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write the documents as files into a folder",
		Long: `Writes the current documents as files into a folder, which is made if need
be: the document /a/b is the file DIR/a/b. A file that has the content already
is not touched, any other is replaced whole. Where both /a and /a/b exist, /a
becomes the file a~doc; import finds the way back.

A file that was changed in the folder since it was last imported or exported
is named and skipped, and so is what no file here can be called; the exit code
is 3 then. Nothing outside the folder is touched, and no link is followed.

--delete removes the files whose documents are gone: those that an earlier
import or export knew and nobody has changed since. It removes nothing else.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := checkedPath(o.Below); err != nil {
				return err
			}
			dir := a.path(args[0])
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				line := a.progress("documents exported")
				began := time.Now()
				o.Progress = func(p anabranch.FileProgress) { line.showFiles(p, time.Since(began)) }
				report, err := s.Export(cmd.Context(), dir, o)
				line.end()
				return a.exported(s, args[0], o, report, err)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Below, "below", "/", "the `path` that stands for the folder itself")
	flags.BoolVar(&o.Delete, "delete", false, "remove the files whose documents are gone")
	flags.BoolVar(&o.Overwrite, "overwrite", false, "replace files that were changed in the folder, too")
	return a.inSpace(cmd)
}

func (a *app) exported(s *anabranch.Space, dir string, o anabranch.ExportOptions, r anabranch.ExportReport, failed error) error {
	if failed != nil {
		if r.Written > 0 {
			a.say("%s written before this went wrong; run it again to go on", count(r.Written, "file was", "files were"))
		}
		return failed
	}
	if a.json {
		renamed := []renamedJSON{}
		for _, x := range r.Renamed {
			renamed = append(renamed, renamedJSON{x.Path, x.File})
		}
		err := a.emit(exportJSON{
			Schema: "anabranch.export/1", Space: s.ID().String(), Dir: dir, Below: o.Below,
			Documents: r.Documents, Written: r.Written, Unchanged: r.Unchanged, Removed: r.Removed,
			Bytes: r.Bytes, Conflicts: r.Conflicts, Renamed: renamed, Skipped: viewSkipped(r.Skipped),
		})
		if err != nil {
			return err
		}
		return partial(r.Skipped)
	}
	text := fmt.Sprintf("%s: %d written, %d unchanged", documents(r.Documents), r.Written, r.Unchanged)
	if o.Delete {
		text += fmt.Sprintf(", %s removed", files(r.Removed))
	}
	if err := a.print("%s; %s", text, bytesText(r.Bytes)); err != nil {
		return err
	}
	for _, x := range r.Renamed {
		a.say("note: %s is the file %s, since a folder has its name", x.Path, x.File)
	}
	if r.Conflicts > 0 {
		a.say("note: of %s other versions stand, and the newest was written: see \"anabranch conflicts\"", documents(r.Conflicts))
	}
	return a.skipped(r.Skipped)
}
