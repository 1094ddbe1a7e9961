package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"anabranch"
	"anabranch/attest"
	"anabranch/space"
)

// Exit codes; docs/cli.md is their reference. Unknown means failed.
const (
	exitOK           = 0
	exitFailed       = 1
	exitUsage        = 2
	exitPartial      = 3
	exitDiffer       = 4
	exitNoSpace      = 10
	exitLocked       = 11
	exitKeys         = 12
	exitUnreachable  = 14
	exitRefused      = 15
	exitIncompatible = 16
	exitDamaged      = 17
	exitFull         = 18
	exitInterrupted  = 130
)

// errSaid is wrapped by errors whose words have been said already.
var errSaid = errors.New("said")

// saidError ends a command with an exit code and without further words.
type saidError struct{ code int }

func (e *saidError) Error() string { return fmt.Sprintf("exit %d", e.code) }
func (e *saidError) Unwrap() error { return errSaid }

// usageError is a command line that cannot be meant.
type usageError struct {
	err     error
	command string   // the command as far as it was understood
	similar []string // what may have been meant
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage is a usage error that a running command found.
func usage(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// similar are the commands like the one that was not found.
func similar(cmd *cobra.Command, args []string) []string {
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") && cmd.HasSubCommands() {
			return cmd.SuggestionsFor(arg)
		}
	}
	return nil
}

// takes bounds the number of a command's arguments.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("an argument is missing: %s", cmd.UseLine())
		case len(args) > most:
			return fmt.Errorf("%q is one argument too many: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// interruptedError is whatever came of a command after Ctrl-C.
type interruptedError struct{ err error }

func (e *interruptedError) Error() string { return "interrupted" }
func (e *interruptedError) Unwrap() error { return e.err }

// diskFull are the ways in which a file system takes no more.
var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS}

// remedy is a kind of error, the exit code it ends with and what to do.
type remedy struct {
	is   func(error) bool
	code int
	hint string
}

func sentinel(targets ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(targets, func(t error) bool { return errors.Is(err, t) })
	}
}

func typed[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// remedies is searched in order: the first that fits decides.
var remedies = []remedy{
	{typed[*interruptedError], exitInterrupted, ""},
	{typed[*usageError], exitUsage, ""}, // its hint names the command
	{sentinel(append(diskFull, anabranch.ErrFull)...), exitFull, "free some space, or make the disk writable, and run it again; whatever was reported as written is safe"},
	{sentinel(anabranch.ErrLocked), exitLocked, `another anabranch is working in this home: wait until it is done, or stop it, or choose another home with --home`},
	{sentinel(anabranch.ErrPassphraseNeeded), exitKeys, `give it on a terminal, or in a file that --passphrase-file or ANABRANCH_PASSPHRASE_FILE names`},
	{sentinel(anabranch.ErrPassphrase), exitKeys, `try again; if it is lost, join again as a new device and revoke this one`},
	{sentinel(anabranch.ErrIncompatible), exitIncompatible, "run the same version of anabranch on both devices"},
	{sentinel(anabranch.ErrNewer), exitIncompatible, "run the newer anabranch that wrote this home"},
	{typed[*anabranch.UnknownRuleError], exitIncompatible, "a newer anabranch may know the rule"},
	{sentinel(anabranch.ErrCaught), exitRefused, `"anabranch prove --against DEVICE --out FILE" writes the evidence, for anybody to check`},
	{sentinel(anabranch.ErrTooLong), exitFailed, "ask for a longer path: its answer is shorter"},
	{sentinel(attest.ErrEncoding, attest.ErrSignature, attest.ErrFalse, space.ErrGenesis), exitDiffer, "the file proves nothing; ask whoever made it for another one"},
	{sentinel(anabranch.ErrDamaged), exitDamaged, `keep a copy of the home before changing anything; "anabranch verify" says what is wrong if the store opens at all; what other devices hold comes back by joining again with a new home`},
	{sentinel(anabranch.ErrFailed), exitDamaged, `check the disk, then run the command again; whatever was reported as written is safe`},
	{sentinel(anabranch.ErrNoSpace), exitNoSpace, `"anabranch space create NAME" makes one, "anabranch join" comes into one with a ticket, "anabranch space list" shows those here`},
	{sentinel(anabranch.ErrTicket), exitRefused, `"anabranch invite" on the other device makes a new ticket`},
	{typed[*anabranch.LossError], exitRefused, `"anabranch sync" with another device first, or "anabranch dump" into a file; --force leaves whatever is lost`},
	{typed[*anabranch.NotAncestorError], exitRefused, `run it on a device that stands above, or give the space's recovery key with --root-key FILE`},
	{typed[*anabranch.TimeExhaustedError], exitFailed, `nobody can date a version after it; "anabranch revoke" of the device that wrote it, with --nothing, frees the path`},
	{typed[*anabranch.RootsDifferError], exitDiffer, `run it again; if the roots still differ, run "anabranch verify" on both devices`},
	{sentinel(anabranch.ErrMoved), exitDiffer, "run it again"},
	{sentinel(anabranch.ErrRefused, anabranch.ErrNotMember), exitRefused, `see "anabranch members" on both devices: each must know the other as a member that is not revoked`},
	{sentinel(anabranch.ErrNotRemovable), exitRefused, `a document is deleted by its path: "anabranch rm PATH"; an entry only by the device that wrote it`},
	{sentinel(anabranch.ErrNotAuthorised), exitRefused, `see "anabranch members" for what this device may do here; an admin's "anabranch invite" can let it do more`},
	{sentinel(anabranch.ErrUnreachable), exitUnreachable, `is "anabranch up" running there, and can this device reach that address? Another one can be given with --peer`},
	{sentinel(anabranch.ErrCut), exitUnreachable, "run it again: what had arrived is kept, and only the rest is sent"},
	{sentinel(anabranch.ErrNameTaken), exitFailed, `choose another name; "anabranch space list" shows those in use`},
	{sentinel(anabranch.ErrDump), exitFailed, `make it again with "anabranch dump" where the space is held; what was read before that place shows is kept`},
	{sentinel(anabranch.ErrWrongSpace), exitFailed, `leave --space out, or name the space that the dump is of; "anabranch space list" shows those here`},
	{sentinel(anabranch.ErrBackup), exitFailed, `a backup is made into an empty folder, and restored from a complete one into an empty home`},
	{sentinel(anabranch.ErrFolder), exitFailed, `choose another folder, apart from the home and the keys: "anabranch paths" shows where those are`},
	{sentinel(anabranch.ErrAmbiguous), exitFailed, "give more of it"},
	{sentinel(anabranch.ErrName), exitFailed, "choose a shorter name, of printable characters and without /"},
	{sentinel(anabranch.ErrCursor), exitFailed, "begin again with --from 0, which shows everything that is held"},
	{sentinel(anabranch.ErrContentMissing), exitUnreachable, `run "anabranch up" here and on a device that has it: "anabranch blob ls" says who that is`},
	{sentinel(anabranch.ErrQuota), exitFull, `"anabranch blob gc --now" removes what no record names; up --blob-quota sets another quota`},
	{sentinel(anabranch.ErrNotFound), exitFailed, ""},
}

func exitCode(err error) int {
	var said *saidError
	if errors.As(err, &said) {
		return said.code
	}
	for _, r := range remedies {
		if r.is(err) {
			return r.code
		}
	}
	return exitFailed
}

// hint is what to do about an error; empty if nothing can be said.
func hint(err error) string {
	var wrong *usageError
	if errors.As(err, &wrong) {
		switch {
		case len(wrong.similar) > 0:
			return fmt.Sprintf("did you mean %s?", strings.Join(wrong.similar, " or "))
		case wrong.command != "":
			return fmt.Sprintf("run %q", wrong.command+" --help")
		}
		return ""
	}
	var above *anabranch.NotAncestorError
	if errors.As(err, &above) && len(above.Above) > 0 {
		names := make([]string, len(above.Above))
		for i, k := range above.Above {
			names[i] = short(k)
		}
		return fmt.Sprintf("run it on device %s, or give the space's recovery key with --root-key FILE", strings.Join(names, " or "))
	}
	for _, r := range remedies {
		if r.is(err) {
			return r.hint
		}
	}
	return ""
}

// rooms are the names that errors begin with, for programmers.
var rooms = []string{"anabranch: ", "store: ", "session: ", "mesh: ", "record: ", "space: "}

// plain is an error in words, without the names of packages.
func plain(err error) string { return plainText(err.Error()) }

func plainText(s string) string {
	s, _, _ = strings.Cut(s, "\n\nDid you mean") // the hint says it
	s = strings.ReplaceAll(s, "\n", "; ")        // of errors that were joined
	for _, room := range rooms {
		s = strings.ReplaceAll(s, ": "+room, ": ")
	}
	for trimmed := true; trimmed; {
		trimmed = false
		for _, room := range rooms {
			if rest, ok := strings.CutPrefix(s, room); ok {
				s, trimmed = rest, true
			}
		}
	}
	return s
}
