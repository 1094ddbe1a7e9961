package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"anabranch"
)

// passphraseJSON is what passphrase set and remove print.
type passphraseJSON struct {
	Schema string `json:"schema"` // anabranch.passphrase/1
	Keys   string `json:"keys"`   // their folder
	Locked bool   `json:"locked"`
}

func newPassphrase(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "passphrase",
		Short: "Lock the keys on the disk with a passphrase",
		Long: `Locks this device's private keys with a passphrase. Whoever steals the disk then
has the records, which stay in the clear, but cannot be this device. Every
command that opens the store asks for it, on the terminal and without showing
it, or reads it from the first line of a file that --passphrase-file names; it
never stands on the command line. While "up" runs, commands run inside it and
nobody is asked.

A forgotten passphrase cannot be recovered: join again as a new device, and
revoke this one.`,
		Args: func(_ *cobra.Command, args []string) error {
			return usage(`what about the passphrase? "set" or "remove"`)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(runsHere(newPassphraseSet(a)), runsHere(newPassphraseRemove(a)))
	return cmd
}

func newPassphraseSet(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Set the passphrase of the keys, or change it",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				next, err := a.newPassphrase(cmd.Context(), file)
				if err != nil {
					return err
				}
				defer clear(next)
				if len(next) == 0 {
					return usage(`the passphrase is empty; "anabranch passphrase remove" takes it away`)
				}
				if err := r.SetPassphrase(next); err != nil {
					return err
				}
				return a.locked(r, "the keys in %s are locked with the passphrase; backups made before are as they were")
			})
		},
	}
	cmd.Flags().StringVar(&file, "new-passphrase-file", "", "read the new passphrase from the first line of this `file`")
	return cmd
}

func newPassphraseRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "remove",
		Short: "Keep the keys without a passphrase",
		Args:  takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				if err := r.SetPassphrase(nil); err != nil {
					return err
				}
				return a.locked(r, "the keys in %s have no passphrase")
			})
		},
	}
}

func (a *app) locked(r *anabranch.Replica, words string) error {
	_, keys, err := a.directories()
	if err != nil {
		return err
	}
	if a.json {
		return a.emit(passphraseJSON{Schema: "anabranch.passphrase/1", Keys: keys, Locked: r.Locked()})
	}
	a.say(words, keys)
	return nil
}

// passphrase is what Open asks for, when keys are locked.
func (a *app) passphrase(ctx context.Context) func() ([]byte, error) {
	return func() ([]byte, error) {
		switch {
		case a.passphraseFile != "":
			return readPassphrase(a.path(a.passphraseFile))
		case a.asking || a.shown:
			return a.secretLine(ctx, "passphrase: ")
		}
		return nil, anabranch.ErrPassphraseNeeded
	}
}

// newPassphrase comes from a file, or twice from the terminal.
func (a *app) newPassphrase(ctx context.Context, file string) ([]byte, error) {
	if file != "" {
		return readPassphrase(a.path(file))
	}
	if !a.asking && !a.shown {
		return nil, usage("there is no terminal to ask for the new passphrase: give it with --new-passphrase-file FILE")
	}
	first, err := a.secretLine(ctx, "new passphrase: ")
	if err != nil {
		return nil, err
	}
	again, err := a.secretLine(ctx, "once more: ")
	if err != nil {
		return nil, err
	}
	defer clear(again)
	if !bytes.Equal(first, again) {
		return nil, errors.New("the two are not the same; nothing was changed")
	}
	return first, nil
}

// readPassphrase reads the first line of a file, which nobody else may read.
// A pipe will do, as /dev/fd/3.
func readPassphrase(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("passphrase: %s can be read by others (mode %v); make it 0600", name, info.Mode().Perm())
	}
	line, err := bufio.NewReader(io.LimitReader(f, 4<<10)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// secretLine reads a line from the terminal itself, without showing it: standard
// input may be a value.
func (a *app) secretLine(ctx context.Context, prompt string) ([]byte, error) {
	in, out := "/dev/tty", "/dev/tty"
	if runtime.GOOS == "windows" {
		in, out = "CONIN$", "CONOUT$"
	}
	tty, err := os.OpenFile(in, os.O_RDWR, 0)
	if err != nil {
		return nil, anabranch.ErrPassphraseNeeded
	}
	defer tty.Close()
	show := tty
	if out != in {
		if show, err = os.OpenFile(out, os.O_WRONLY, 0); err != nil {
			return nil, anabranch.ErrPassphraseNeeded
		}
		defer show.Close()
	}
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, anabranch.ErrPassphraseNeeded
	}
	io.WriteString(show, "anabranch: "+prompt)
	line, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	if ctx.Err() != nil {
		term.Restore(fd, before) // the reader still waits, with the echo off
	}
	io.WriteString(show, "\n")
	return line, err
}
