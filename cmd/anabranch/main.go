// Command anabranch keeps spaces of signed records in step between devices
// and answers questions about what is held here. It only wires the front
// door (package anabranch) to flags, files and a terminal; docs/cli.md lists
// its exit codes, its JSON and where it keeps things.
//
// Standard output carries data and nothing else, standard error words for
// people. Every string that came from elsewhere is escaped on its way to
// either, so that no peer can speak to the terminal.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"anabranch"
)

func main() { os.Exit(start()) }

// start runs the command line of this process and returns its exit code.
func start() int {
	// A closed pipe is an error of a write, not a death: the store is closed
	// in order then too.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal kills
	a := &app{
		stdin:    os.Stdin,
		stdout:   os.Stdout,
		stderr:   os.Stderr,
		asking:   term.IsTerminal(int(os.Stdin.Fd())),
		terminal: term.IsTerminal(int(os.Stdout.Fd())),
		shown:    term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
	}
	a.colour = a.shown && os.Getenv("NO_COLOR") == ""
	return a.run(ctx, os.Args[1:])
}

// run executes one command line and returns its exit code, having said on
// stderr what went wrong and what to do about it.
func (a *app) run(ctx context.Context, args []string) int {
	a.args = args
	root := a.command()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if flushed := a.flush(); err == nil {
		err = flushed
	}
	if err == nil || errors.Is(err, errDone) {
		return exitOK
	}
	if !a.started { // flags and arguments are checked before a command starts
		err = &usageError{err: err, command: cmd.CommandPath(), similar: similar(cmd, args)}
	}
	var wrong *usageError
	if errors.As(err, &wrong) && wrong.command == "" {
		wrong.command = cmd.CommandPath()
	}
	if ctx.Err() != nil && !a.endless && !errors.Is(err, errSaid) {
		err = &interruptedError{err}
	}
	a.complain(err)
	return exitCode(err)
}

// complain says what went wrong, and what to do where there is something.
func (a *app) complain(err error) {
	if errors.Is(err, errSaid) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return
	}
	words := plain(err)
	if errors.Is(err, anabranch.ErrLocked) {
		if who := a.holder(); who != "" {
			words += "; " + who
		}
	}
	a.say("error: %s", words)
	if h := hint(err); h != "" {
		a.say("hint: %s", h)
	}
}
