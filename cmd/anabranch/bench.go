package main

import (
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"anabranch"
)

// figureJSON is one measurement of bench --json.
type figureJSON struct {
	Schema string  `json:"schema"` // anabranch.figure/1
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
}

func newBench(a *app) *cobra.Command {
	var o anabranch.BenchOptions
	var dir string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: store, roots, proofs, puts and a sync",
		Long: `Makes a store of its own in a temporary folder, measures it, and removes it:
ingest of signed records, opening, fingerprint, root, proof, puts by 1, 16 and
256 callers, removal, bytes on disk and in memory for each record. Then it
syncs two replicas over encrypted links on loopback. Signing the records comes
first and is in no figure; ten million take some minutes and 5 GB.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Log = func(step string) { a.say("%s", step) }
			rows := [][]string{{
				fmt.Sprintf("%d records, %d cores, %s %s/%s", o.Records, runtime.GOMAXPROCS(0), runtime.Version(), runtime.GOOS, runtime.GOARCH),
			}}
			var failed error
			err := anabranch.Bench(cmd.Context(), dir, o, func(f anabranch.Figure) {
				if !a.json {
					rows = append(rows, []string{f.Name, figure(f.Value), f.Unit})
				} else if err := a.emit(figureJSON{"anabranch.figure/1", f.Name, f.Value, f.Unit}); err != nil {
					failed = err
				}
			})
			if err == nil {
				err = failed
			}
			if err != nil || a.json {
				return err
			}
			if err := a.print("%s", rows[0][0]); err != nil {
				return err
			}
			return a.rows(rows[1:])
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Records, "records", 100_000, "size of the store")
	flags.IntVar(&o.Authors, "authors", 20, "authors that share the records")
	flags.IntVar(&o.SyncRecords, "sync-records", 100_000, "records of the sync; negative: no sync")
	flags.DurationVar(&o.PutTime, "put-time", 2*time.Second, "how long each number of callers writes")
	flags.StringVar(&dir, "dir", "", "make the temporary `folder` below this one: on the disk to be measured")
	return cmd
}

// figure is a number with four digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
