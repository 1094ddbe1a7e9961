package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
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
syncs two replicas in two processes over encrypted links on loopback. Signing
the records comes first and is in no figure. Ten million take some minutes and
4 GB; with --keep and --only they are signed and ingested once:

  anabranch bench --records 10000000 --keep big --only sign
  anabranch bench --records 10000000 --keep big --only ingest,compact
  anabranch bench --records 10000000 --keep big --only open,read,sessions,puts,more

The steps are ` + strings.Join(anabranch.BenchSteps, ", ") + `.`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Peer = a.benchPeer
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
	flags.Int64Var(&o.CacheBytes, "cache", 0, "bytes of the block cache of the store; 0: as a replica has it")
	flags.StringVar(&o.Keep, "keep", "", "leave signatures and store in this `folder`, and use what is there")
	flags.StringSliceVar(&o.Only, "only", nil, "the `steps` to do, with commas between; default all")
	flags.IntVar(&o.SyncTimes, "sync-times", 1, "measure the sync so often and tell the medians")
	flags.IntVar(&o.SyncRecords, "sync-records", 100_000, "records of the sync; negative: no sync")
	flags.DurationVar(&o.PutTime, "put-time", 2*time.Second, "how long each number of callers writes")
	flags.StringVar(&dir, "dir", "", "make the temporary `folder` below this one: on the disk to be measured")
	return cmd
}

// newBenchPeer is the other process of bench: it speaks on its standard input
// and output, to bench and to nobody else.
func newBenchPeer(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "bench-peer", Hidden: true, Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			go giveBackMemory(cmd.Context()) // as an up does
			return anabranch.BenchPeer(cmd.Context(), struct {
				io.Reader
				io.Writer
			}{os.Stdin, a.stdout})
		},
	}
}

// benchPeer starts this program again, as the other side of the sync.
func (a *app) benchPeer(ctx context.Context) (io.ReadWriteCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, self, "bench-peer")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	return &process{out, in, c}, nil
}

// process is another program, by its standard input and output.
type process struct {
	io.Reader
	io.WriteCloser
	command *exec.Cmd
}

// Close ends its input, and waits until it has ended.
func (p *process) Close() error {
	return errors.Join(p.WriteCloser.Close(), p.command.Wait())
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
