package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"anabranch"
)

// app is what every subcommand shares: the streams and the flags that all of
// them have.
type app struct {
	stdin            io.Reader
	stdout, stderr   io.Writer
	asking, terminal bool // stdin and stdout are a terminal
	shown, colour    bool // stderr is one, and may be coloured

	out *bufio.Writer // to stdout; made on first use, flushed by run

	home  string
	space string

	passphraseFile string
	json           bool
	verbose        bool
	quiet          bool
	started        bool // flags and arguments were in order
	endless        bool // the command runs until it is interrupted

	args   []string           // the command line, for a running up
	shared *anabranch.Replica // inside a running up: its replica; else nil
	served string             // inside a running up: its --home
	caller string             // inside a running up: the version of the caller; empty: not known
	dir    string             // what relative file names start from; empty: this process's folder
}

const (
	groupStart   = "start"
	groupRecords = "records"
	groupMembers = "members"
	groupReplica = "replica"
)

// command is the whole tree of subcommands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "anabranch",
		Short: "Keep a shared body of records in step on every device that holds it",
		Long: `Anabranch keeps a shared body of signed records in step on every device that
holds it, with no server in charge. Devices write offline, drift apart, and
rejoin by sending only what each is missing; afterwards they compare roots,
so that "in sync" is something proven and never assumed.

  anabranch demo                       see it work, on this machine alone

  anabranch space create notes         make a space
  anabranch put /greeting hello        write into it
  anabranch invite                     make a ticket for another device
  anabranch up                         keep in step until Ctrl-C

  anabranch join                       on the other device: paste the ticket`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			a.started = true
			return a.forward(cmd)
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.home, "home", os.Getenv("ANABRANCH_HOME"), "keep everything below this `folder` (ANABRANCH_HOME)")
	flags.Lookup("home").DefValue = ""
	flags.StringVar(&a.passphraseFile, "passphrase-file", os.Getenv("ANABRANCH_PASSPHRASE_FILE"), "read the passphrase of the keys from the first line of this `file` (ANABRANCH_PASSPHRASE_FILE)")
	flags.Lookup("passphrase-file").DefValue = ""
	flags.BoolVar(&a.json, "json", false, "print JSON: one object, or one per line")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say on standard error only what went wrong, and secrets that are shown once")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log what the replica does on standard error")
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Start here:"},
		&cobra.Group{ID: groupRecords, Title: "Records:"},
		&cobra.Group{ID: groupMembers, Title: "Members:"},
		&cobra.Group{ID: groupReplica, Title: "This replica:"},
	)
	group := func(id string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group(groupStart, runsHere(newDemo(a)), newSpace(a), newJoin(a), newLeave(a), runsHere(newUp(a)))
	group(groupRecords, newPut(a), newAppend(a), newGet(a), newList(a), newRm(a), newConflicts(a), newHistory(a), newText(a), newWhy(a), newWatch(a))
	group(groupRecords, newMap(a), newSet(a), newCounter(a), newFlag(a), newLog(a), newRegister(a))
	group(groupMembers, newInvite(a), newMembers(a), newRevoke(a), newDevice(a), newForget(a))
	group(groupRecords, newBlob(a), newImport(a), newExport(a), newDump(a), newLoad(a))
	group(groupReplica, newSync(a), newDiff(a), newWait(a), newStatus(a), newDoctor(a), newVerify(a), newProve(a), runsHere(newPaths(a)), newPassphrase(a))
	group(groupReplica, newBackup(a), runsHere(newRestore(a)))
	root.AddCommand(runsHere(newBench(a)), runsHere(newBenchPeer(a)), runsHere(newVersion(a)), runsHere(newCheck(a)), runsHere(newMan(a)))
	root.AddCommand(runsHere(newSim(a)))
	return root
}

// inSpace gives a command the flag that chooses its space.
func (a *app) inSpace(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&a.space, "space", a.defaultSpace(), "the space's `name`, or eight characters of its ID (ANABRANCH_SPACE); not needed while there is only one")
	cmd.Flags().Lookup("space").DefValue = ""
	cmd.RegisterFlagCompletionFunc("space", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.spaceNames(cmd), cobra.ShellCompDirectiveNoFileComp
	})
	return cmd
}

func (a *app) defaultSpace() string {
	if a.shared != nil {
		return a.space // the caller's, which came with its order
	}
	return os.Getenv("ANABRANCH_SPACE")
}

// directories are where the replica lives: inside a running up, its own,
// however the caller has named them.
func (a *app) directories() (home, state string, err error) {
	if a.shared != nil {
		return directories(a.served)
	}
	return directories(a.home)
}

// path is where a file named on the command line is.
func (a *app) path(name string) string {
	if a.dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.dir, name)
}

// open opens the replica. With fresh, a home that does not exist is made;
// otherwise it is an error that there is no space, and nothing is left on
// the disk.
func (a *app) open(ctx context.Context, fresh bool, o anabranch.Options) (*anabranch.Replica, error) {
	home, state, err := a.directories()
	if err != nil {
		return nil, err
	}
	o.StateDir, o.DeviceName = state, os.Getenv("ANABRANCH_DEVICE_NAME")
	if !fresh {
		if _, err := os.Stat(filepath.Join(home, "store")); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: nothing is kept in %s yet", anabranch.ErrNoSpace, home)
		}
	}
	if a.verbose {
		o.Logger = slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	o.Passphrase = a.passphrase(ctx)
	return anabranch.Open(ctx, home, o)
}

// offline runs f on the chosen space of a replica that opens no connection.
func (a *app) offline(ctx context.Context, f func(*anabranch.Space) error) error {
	return a.with(ctx, false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
		s, err := r.Space(a.space)
		if err != nil {
			return err
		}
		return f(s)
	})
}

// chosen are the space that --space names, or all; none at all is an error.
func (a *app) chosen(r *anabranch.Replica) ([]*anabranch.Space, error) {
	if spaces := r.Spaces(); a.space == "" && len(spaces) > 0 {
		return spaces, nil
	}
	s, err := r.Space(a.space)
	return []*anabranch.Space{s}, err
}

// with runs f on an open replica and closes it; inside a running up, on the
// replica that is open there.
func (a *app) with(ctx context.Context, fresh bool, o anabranch.Options, f func(*anabranch.Replica) error) error {
	if a.shared != nil {
		return f(a.shared)
	}
	r, err := a.open(ctx, fresh, o)
	if err != nil {
		return err
	}
	err = f(r)
	return errors.Join(err, r.Close())
}

// say writes one line of words to stderr. Whatever would move a terminal is
// escaped, line breaks included.
//
// With --quiet only what went wrong is said: lines that begin with error:,
// hint: or warning:.
func (a *app) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	kind, _, _ := strings.Cut(line, " ")
	if a.quiet && kind != "error:" && kind != "hint:" && kind != "warning:" {
		return
	}
	a.sayRaw("anabranch: " + escape(line))
}

// tell writes lines of words to stderr, each escaped on its own.
func (a *app) tell(lines ...string) {
	for _, l := range lines {
		a.sayRaw(escape(l))
	}
}

func (a *app) sayRaw(line string) {
	a.flush() // keep the order of the two streams on a terminal
	io.WriteString(a.stderr, line+"\n")
}

// print writes one line of data to stdout, escaped.
func (a *app) print(format string, args ...any) error {
	_, err := a.output().WriteString(escape(fmt.Sprintf(format, args...)) + "\n")
	return err
}

// rows prints a table whose columns are as wide as their widest cell.
func (a *app) rows(rows [][]string) error {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], len([]rune(escape(cell))))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			cell = escape(cell)
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(cell))+2))
			}
		}
		if err := a.print("%s", strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) output() *bufio.Writer {
	if a.out == nil {
		a.out = bufio.NewWriterSize(a.stdout, 64<<10)
	}
	return a.out
}

func (a *app) flush() error {
	if a.out == nil {
		return nil
	}
	if err := a.out.Flush(); err != nil {
		return fmt.Errorf("write to standard output: %w", err)
	}
	return nil
}
