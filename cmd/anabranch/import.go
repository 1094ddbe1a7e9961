package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// importJSON is what import --json prints.
type importJSON struct {
	Schema    string        `json:"schema"` // anabranch.import/1
	Space     string        `json:"space"`
	Dir       string        `json:"dir"`
	Below     string        `json:"below"`
	Files     int           `json:"files"`
	Added     int           `json:"added"`
	Changed   int           `json:"changed"`
	Unchanged int           `json:"unchanged"`
	Texts     int           `json:"texts"`
	Older     int           `json:"older"`
	Deleted   int           `json:"deleted"`
	Spared    int           `json:"spared"`
	Bytes     int64         `json:"bytes"`
	Both      []string      `json:"both"`
	Skipped   []skippedJSON `json:"skipped"`
}

// skippedJSON is one file or document that was left out.
type skippedJSON struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func viewSkipped(all []anabranch.Skipped) []skippedJSON {
	out := make([]skippedJSON, len(all))
	for i, s := range all {
		out[i] = skippedJSON{s.Name, string(s.Reason), s.Detail}
	}
	return out
}

func newImport(a *app) *cobra.Command {
	var o anabranch.ImportOptions
	cmd := &cobra.Command{
		Use:   "import DIR",
		Short: "Write the files of a folder as documents",
		Long: `Writes the files of a folder as documents: the file DIR/a/b is the document
/a/b. A file with the content of its document writes nothing, and one that is
older than its document, as far as this replica knows the folder, neither.

Only contents are kept, no modes, times, links or empty folders. Symbolic
links, devices and names that no document can have are named and skipped, and
the exit code is 3 then. The folder is only read.

Where the path of a file is a text, what was edited in the file is merged into
it, so that what several people change in one file stands in it afterwards.
--text makes texts of the files that can be: plain text in UTF-8. Once a path is
a text, it stays one, on every device, until its file is no plain text any more.

--delete deletes the documents that have no file. In a folder that was
imported or exported before, only those that it had then: what came into the
space since was never there to be removed.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := checkedPath(o.Below); err != nil {
				return err
			}
			dir := a.path(args[0])
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				line := a.progress("files imported")
				began := time.Now()
				o.Progress = func(p anabranch.FileProgress) { line.showFiles(p, time.Since(began)) }
				report, err := s.Import(cmd.Context(), dir, o)
				line.end()
				return a.imported(s, args[0], o, report, err)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Below, "below", "/", "the `path` that stands for the folder itself")
	flags.BoolVar(&o.Delete, "delete", false, "delete the documents whose files are gone")
	flags.BoolVar(&o.Text, "text", false, "make texts of the files that can be, so that what several people edit merges")
	flags.BoolVar(&o.Overwrite, "overwrite", false, "take every file as it is, also where the document is newer")
	return a.inSpace(cmd)
}

func (a *app) imported(s *anabranch.Space, dir string, o anabranch.ImportOptions, r anabranch.ImportReport, failed error) error {
	if failed != nil {
		if n := r.Added + r.Changed + r.Deleted; n > 0 {
			a.say("%s written before this went wrong; run it again to go on", count(n, "change was", "changes were"))
		}
		return failed
	}
	if a.json {
		err := a.emit(importJSON{
			Schema: "anabranch.import/1", Space: s.ID().String(), Dir: dir, Below: o.Below,
			Files: r.Files, Added: r.Added, Changed: r.Changed, Unchanged: r.Unchanged, Texts: r.Texts, Older: r.Older,
			Deleted: r.Deleted, Spared: r.Spared, Bytes: r.Bytes,
			Both: append([]string{}, r.Both...), Skipped: viewSkipped(r.Skipped),
		})
		if err != nil {
			return err
		}
		return partial(r.Skipped)
	}
	text := fmt.Sprintf("%s: %d added, %d changed, %d unchanged", files(r.Files), r.Added, r.Changed, r.Unchanged)
	if o.Delete {
		text += fmt.Sprintf(", %d deleted", r.Deleted)
	}
	if err := a.print("%s; %s written", text, bytesText(r.Bytes)); err != nil {
		return err
	}
	for _, path := range r.Both {
		a.say("note: %s was changed in the space too: the file is the newest version now, see \"anabranch history %s\"", path, path)
	}
	if r.Older > 0 {
		a.say("note: %s nobody has touched here, while the space has gone on: \"anabranch export\" brings the folder up, --overwrite goes back", files(r.Older))
	}
	if r.Spared > 0 {
		a.say("note: %s without a file stayed: they came, or were changed, after this folder was last in step", documents(r.Spared))
	}
	return a.skipped(r.Skipped)
}

// skipped names what was left out; that makes the outcome partial.
func (a *app) skipped(all []anabranch.Skipped) error {
	for _, s := range all {
		a.say("skipped: %s: %s", s.Name, s.Detail)
	}
	if len(all) > 0 {
		a.say("%d skipped", len(all))
	}
	return partial(all)
}

func partial(all []anabranch.Skipped) error {
	if len(all) > 0 {
		return &saidError{exitPartial}
	}
	return nil
}

func files[N int | uint64](n N) string     { return count(n, "file", "files") }
func documents[N int | uint64](n N) string { return count(n, "document", "documents") }
