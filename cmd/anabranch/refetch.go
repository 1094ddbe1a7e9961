package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

func newBlobRefetch(a *app) *cobra.Command {
	var timeout span
	var listen []string
	cmd := &cobra.Command{
		Use:   "refetch NAME",
		Short: "Check content, and fetch again what of it is damaged or missing",
		Long: `Reads the content called NAME, or the one whose hash begins so, and hashes it.
What does not match the name, as after a fault of the disk, is fetched again
from whichever device has it; what does is kept. Exits 4 when --timeout is
over; what was fetched by then is kept, and a running up goes on with it.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkedAddrs("listen", listen); err != nil {
				return err
			}
			return a.with(cmd.Context(), false, anabranch.Options{Listen: listen, Manual: true}, func(r *anabranch.Replica) error {
				s, err := r.Space(a.space)
				if err != nil {
					return err
				}
				found, err := findContent(cmd.Context(), s, args[0])
				if err != nil {
					return err
				}
				wrong := ""
				if found.Here {
					if wrong, err = s.FetchAgain(cmd.Context(), found.BlobName); err != nil {
						return err
					}
				}
				switch {
				case wrong != "":
					a.say("note: %s", plainText(wrong))
				case found.Here:
					a.say("note: all of it is here and matches its name: nothing is fetched")
				}
				if wrong != "" || !found.Here {
					ctx := cmd.Context()
					if timeout > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout))
						defer cancel()
					}
					if err := a.refetch(ctx, s, found); err != nil {
						return err
					}
				}
				if found, err = findContent(cmd.Context(), s, found.BlobName.String()); err != nil {
					return err
				}
				if a.json {
					return a.emit(viewBlob(found))
				}
				return a.print("%s  %s", found.BlobName, blobState(found))
			})
		},
	}
	cmd.Flags().Var(&timeout, "timeout", "give up after this time")
	listenFlag(cmd, &listen)
	return a.inSpace(cmd)
}

// refetch waits until all of a content is here, by reading it.
func (a *app) refetch(ctx context.Context, s *anabranch.Space, b anabranch.BlobInfo) error {
	defer a.meeting(ctx, s, nil)()
	f, err := openContent(ctx, s, b)
	if err != nil {
		return err
	}
	defer f.Close()
	line, began := a.progress(""), time.Now()
	buf := make([]byte, 1<<20)
	for done := int64(0); done < f.Size() && err == nil; {
		var n int
		n, err = f.ReadAt(buf[:min(int64(len(buf)), f.Size()-done)], done)
		if done += int64(n); err == io.EOF {
			err = nil
		}
		line.showBytes(done, f.Size(), time.Since(began))
	}
	for err == nil { // the last group is here a moment before all of it is kept
		now, e := findContent(ctx, s, b.BlobName.String())
		if err = e; now.Here {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	line.end()
	if errors.Is(err, context.DeadlineExceeded) {
		a.say("error: not all of it is here after %s", spanText(time.Since(began)))
		a.say(`hint: "anabranch blob ls --missing" says who has it; "anabranch status" who is connected`)
		return &saidError{exitDiffer}
	}
	return err
}
