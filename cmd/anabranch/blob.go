package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/blob"
	"anabranch/record"
)

// blobJSON is one content of blob ls --json.
type blobJSON struct {
	Schema  string   `json:"schema"` // anabranch.blob/1
	Name    string   `json:"name"`
	Size    uint64   `json:"size"`
	Paths   []string `json:"paths"`
	Here    bool     `json:"here"`
	Present uint64   `json:"present"` // bytes
	Wanted  bool     `json:"wanted"`
	From    []string `json:"from"` // devices that have some of it, as far as they were asked
}

// blobRuleJSON is what blob pin, unpin and policy --json print.
type blobRuleJSON struct {
	Schema string `json:"schema"` // anabranch.blob-rule/1
	Space  string `json:"space"`
	Prefix string `json:"prefix"`
	Mode   string `json:"mode"` // everything, up-to, on-demand, pinned; empty: the rule above counts
	Max    uint64 `json:"max"`  // bytes, of up-to
}

// blobGCJSON is what blob gc --json prints.
type blobGCJSON struct {
	Schema    string `json:"schema"` // anabranch.blob-gc/1
	Kept      int    `json:"kept"`
	KeptBytes int64  `json:"kept_bytes"`
	Waiting   int    `json:"waiting"` // named by no record, for less than the trash window
	Removed   int    `json:"removed"`
	Bytes     int64  `json:"bytes"`
	Partial   int    `json:"partial"` // removed that were never whole
}

func newBlob(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "blob",
		Short: "Content that is larger than a record: where it is, what is fetched",
		Long: `Content above 64 KiB lies beside the records that name it. It is fetched from
whichever device has it, checked piece by piece, and kept once.`,
	}
	cmd.AddCommand(newBlobLs(a), newBlobGet(a), newBlobRefetch(a), newBlobPin(a), newBlobUnpin(a), newBlobPolicy(a), newBlobGC(a))
	return cmd
}

func newBlobLs(a *app) *cobra.Command {
	var missing bool
	cmd := &cobra.Command{
		Use:   "ls [PATH]",
		Short: "List the content that records name, and what of it is here",
		Args:  takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix, err := checkedPrefix(args)
			if err != nil {
				return err
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				rows := [][]string{}
				for b, err := range s.Blobs(cmd.Context(), prefix) {
					if err != nil {
						return err
					}
					if missing && b.Here {
						continue
					}
					if a.json {
						if err := a.emit(viewBlob(b)); err != nil {
							return err
						}
						continue
					}
					rows = append(rows, []string{b.Hash.String()[:16], bytesText(int64(min(b.Size, math.MaxInt64))), blobState(b), strings.Join(b.Paths, " ")})
				}
				return a.rows(rows)
			})
		},
	}
	cmd.Flags().BoolVar(&missing, "missing", false, "only what is not whole here")
	return a.inSpace(cmd)
}

func viewBlob(b anabranch.BlobInfo) blobJSON {
	out := blobJSON{Schema: "anabranch.blob/1", Name: b.BlobName.String(), Size: b.Size, Paths: b.Paths, Here: b.Here, Present: b.Present, Wanted: b.Wanted, From: []string{}}
	for _, k := range b.From {
		out.From = append(out.From, k.String())
	}
	return out
}

func blobState(b anabranch.BlobInfo) string {
	switch {
	case b.Here:
		return "here"
	case b.Present > 0:
		return fmt.Sprintf("%d%% here%s", b.Present*100/b.Size, fromText(b))
	case b.Wanted:
		return "wanted" + fromText(b)
	}
	return "on demand"
}

func fromText(b anabranch.BlobInfo) string {
	if len(b.From) == 0 {
		return ""
	}
	names := make([]string, len(b.From))
	for i, k := range b.From {
		names[i] = short(k)
	}
	return ", at " + strings.Join(names, " ")
}

func newBlobGet(a *app) *cobra.Command {
	var to string
	var from int64
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Write content to standard output, or to a file, by its name",
		Long: `Writes the content called NAME, or the one whose hash begins so, as "blob ls"
shows it. Inside a running up, what is not here is fetched as it is read.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				found, err := findContent(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				f, err := openContent(cmd.Context(), s, found)
				if err != nil {
					return err
				}
				defer f.Close()
				return a.streamFrom(f, min(from, f.Size()), to)
			})
		},
	}
	cmd.Flags().StringVarP(&to, "output", "o", "", "write to this `file`, which must not exist")
	cmd.Flags().Int64Var(&from, "from-byte", 0, "begin at this `offset`")
	return a.inSpace(cmd)
}

// findContent is the content whose name begins so.
func findContent(ctx context.Context, s *anabranch.Space, text string) (anabranch.BlobInfo, error) {
	var found []anabranch.BlobInfo
	for b, err := range s.Blobs(ctx, "") {
		if err != nil {
			return anabranch.BlobInfo{}, err
		}
		if strings.HasPrefix(b.BlobName.String(), text) {
			found = append(found, b)
		}
	}
	switch {
	case len(text) < 4:
		return anabranch.BlobInfo{}, usage("a name is given by at least 4 characters")
	case len(found) == 0:
		return anabranch.BlobInfo{}, fmt.Errorf("%w: no record names content %s", anabranch.ErrNotFound, text)
	case len(found) > 1:
		return anabranch.BlobInfo{}, fmt.Errorf("%w: %d contents begin with %s", anabranch.ErrAmbiguous, len(found), text)
	}
	return found[0], nil
}

func openContent(ctx context.Context, s *anabranch.Space, b anabranch.BlobInfo) (*anabranch.File, error) {
	return s.OpenContent(ctx, anabranch.Document{Record: &anabranch.Record{Record: record.Record{
		Kind: record.Doc, Path: b.Paths[0], Blob: true, Payload: blob.Ref{Name: b.BlobName}.Encode()}}})
}

// stream writes content to standard output or to a new file, with progress.
func (a *app) stream(f *anabranch.File, to string) error { return a.streamFrom(f, 0, to) }

func (a *app) streamFrom(f *anabranch.File, done int64, to string) error {
	if done < 0 {
		return usage("--from-byte is %d", done)
	}
	line := a.progress("")
	began, size := time.Now(), f.Size()
	out := io.Writer(a.output())
	var file *os.File
	if to != "" {
		var err error
		if file, err = os.OpenFile(a.path(to), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
			return err
		}
		out = file
	}
	buf := make([]byte, 1<<20)
	err := func() error {
		for done < size {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), size-done)], done)
			if err != nil && err != io.EOF {
				return err
			}
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
			done += int64(n)
			line.showBytes(done, size, time.Since(began))
		}
		return nil
	}()
	line.end()
	if file != nil {
		if err == nil {
			err = file.Sync()
		}
		if e := file.Close(); err == nil {
			err = e
		}
		if err != nil {
			os.Remove(file.Name())
		}
	}
	return err
}

// showBytes is show for content: bytes, and how many a second.
func (p *progress) showBytes(done, total int64, took time.Duration) {
	p.draw(func() string {
		return fmt.Sprintf("%s of %s%s", bytesText(done), bytesText(total), rateText(done, took))
	})
}

// showFiles is show with bytes, and how many a second.
func (p *progress) showFiles(f anabranch.FileProgress, took time.Duration) {
	p.draw(func() string {
		return fmt.Sprintf("%d of %d %s, %s%s", f.Done, f.Total, p.what, bytesText(f.Bytes), rateText(f.Bytes, took))
	})
}

func rateText(done int64, took time.Duration) string {
	if took < 100*time.Millisecond {
		return ""
	}
	return ", " + bytesText(int64(float64(done)/took.Seconds())) + "/s"
}

func newBlobPin(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pin PATH",
		Short: "Keep all content at and below a path on this device",
		Args:  takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.setRule(cmd, args[0], anabranch.BlobRule{Mode: anabranch.BlobsPinned})
		},
	}
	return a.inSpace(cmd)
}

func newBlobUnpin(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unpin PATH",
		Short: "Take the rule of a path back: the one above it counts again",
		Long: `Takes the rule of a path back, a pin or any other: the one above it counts
again. What is here stays here as long as a record names it.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.setRule(cmd, args[0], anabranch.BlobRule{})
		},
	}
	return a.inSpace(cmd)
}

func newBlobPolicy(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy [PATH everything|on-demand|up-to=SIZE]",
		Short: "Say what content this device fetches unasked",
		Long: `Without arguments, lists the rules of this device for a space. With a path and
a rule, sets it for all documents at and below the path: everything (which is
what counts where no rule is), on-demand (what is read), or up-to=SIZE (what is
no larger; SIZE in bytes, or with k, M or G behind it). The rule with the
longest path counts. See also "blob pin".`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 0 && len(args) != 2 {
				return usage("no arguments, or a path and a rule")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				rule, err := parseRule(args[1])
				if err != nil {
					return err
				}
				return a.setRule(cmd, args[0], rule)
			}
			return a.offline(cmd.Context(), func(s *anabranch.Space) error {
				rules, err := s.BlobPolicy()
				for _, r := range rules {
					if err == nil {
						err = a.ruled(s, r)
					}
				}
				if len(rules) == 0 && err == nil {
					a.say("note: no rules: everything is fetched")
				}
				return err
			})
		},
	}
	return a.inSpace(cmd)
}

func parseRule(text string) (anabranch.BlobRule, error) {
	size, sized := strings.CutPrefix(text, "up-to=")
	switch {
	case text == "everything":
		return anabranch.BlobRule{Mode: anabranch.BlobsAll}, nil
	case text == "on-demand":
		return anabranch.BlobRule{Mode: anabranch.BlobsOnDemand}, nil
	case !sized:
		return anabranch.BlobRule{}, usage("%q is none of everything, on-demand and up-to=SIZE", text)
	}
	n, err := parseSize(size)
	return anabranch.BlobRule{Mode: anabranch.BlobsUpTo, Max: n}, err
}

// parseSize reads bytes, or a number with k, M or G behind it.
func parseSize(text string) (uint64, error) {
	number, unit := text, uint64(1)
	switch {
	case strings.HasSuffix(text, "k"):
		number, unit = text[:len(text)-1], 1<<10
	case strings.HasSuffix(text, "M"):
		number, unit = text[:len(text)-1], 1<<20
	case strings.HasSuffix(text, "G"):
		number, unit = text[:len(text)-1], 1<<30
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, usage("%q is no size: bytes, or a number with k, M or G behind it", text)
	}
	return n * unit, nil
}

func (a *app) setRule(cmd *cobra.Command, path string, rule anabranch.BlobRule) error {
	var err error
	if rule.Prefix, err = checkedPath(path); err != nil {
		return err
	}
	return a.offline(cmd.Context(), func(s *anabranch.Space) error {
		if err := s.SetBlobRule(cmd.Context(), rule); err != nil {
			return err
		}
		return a.ruled(s, rule)
	})
}

func (a *app) ruled(s *anabranch.Space, r anabranch.BlobRule) error {
	if a.json {
		return a.emit(blobRuleJSON{"anabranch.blob-rule/1", s.ID().String(), r.Prefix, string(r.Mode), r.Max})
	}
	mode := string(r.Mode)
	switch r.Mode {
	case "":
		mode = "as the path above"
	case anabranch.BlobsUpTo:
		mode += " " + bytesText(int64(r.Max))
	}
	return a.print("%s  %s", r.Prefix, mode)
}

func newBlobGC(a *app) *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove content that no record names any more",
		Long: `Removes content that no record of any space has named for the trash window,
seven days. A running up does so every hour. With --now, the window is not
waited for.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				c, err := r.CollectBlobs(cmd.Context(), now)
				if err != nil {
					return err
				}
				if a.json {
					return a.emit(blobGCJSON{"anabranch.blob-gc/1", c.Kept, c.KeptBytes, c.Waiting, c.Removed, c.Bytes, c.Partial})
				}
				return a.print("%d removed (%s), %d kept (%s), %d waiting", c.Removed, bytesText(c.Bytes), c.Kept, bytesText(c.KeptBytes), c.Waiting)
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "remove what no record names at present, without waiting")
	return cmd
}
