package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"anabranch"
)

// spaceJSON is a space as create and list print it.
type spaceJSON struct {
	Schema      string `json:"schema"` // anabranch.space/1
	Name        string `json:"name"`
	ID          string `json:"id"`
	Root        string `json:"root"`
	Records     uint64 `json:"records"`
	RecoveryKey string `json:"recovery_key,omitempty"` // create, without --root-key
}

func newSpace(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "space",
		Short: "Make a space, or list those held here",
		Args: func(_ *cobra.Command, args []string) error {
			return usage(`what about the space? "create NAME" or "list"`)
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newSpaceCreate(a), newSpaceList(a))
	return cmd
}

func newSpaceCreate(a *app) *cobra.Command {
	var keyFile string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a space whose first member is this device",
		Long: `Makes a space whose first member is this device, as an admin of everything,
and prints the space's ID. NAME is this device's own name for it; no other
device ever sees it.

The recovery key is shown once, on standard error, or written to the file
given with --root-key, and kept nowhere else. It is the only means to revoke
the first device, should that be lost or stolen.`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := a.keyFile(keyFile)
			if err != nil {
				return err
			}
			made := false
			err = a.with(cmd.Context(), true, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				s, key, err := r.CreateSpace(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				made = true
				kept := file.write(key.String() + "\n")
				root, n, err := s.Root(cmd.Context())
				return errors.Join(kept, err, a.created(s, root, n, key, file, kept != nil))
			})
			if !made {
				return errors.Join(err, file.discard())
			}
			return err
		},
	}
	cmd.Flags().StringVar(&keyFile, "root-key", "", "write the recovery key to this new `file`, outside the home, instead of showing it")
	return cmd
}

// created prints the new space. The recovery key is shown when no file was
// asked for, and also when the file could not be written: nothing else has it.
func (a *app) created(s *anabranch.Space, root anabranch.Root, n uint64, key anabranch.RecoveryKey, file *newFile, show bool) error {
	show = show || file == nil
	out := spaceJSON{Schema: "anabranch.space/1", Name: s.Name(), ID: s.ID().String(), Root: root.String(), Records: n}
	if a.json {
		if show {
			out.RecoveryKey = key.String()
		}
		return a.emit(out)
	}
	if err := a.print("%s", out.ID); err != nil {
		return err
	}
	a.say("space %q is made; this device is its first member", s.Name())
	if !show {
		a.say("the recovery key is in %s: move it away from this device", file.name)
		return nil
	}
	a.tell(
		"",
		"  "+key.String(),
		"",
		"This is the recovery key of the space, and it is not shown again. Write it",
		"down and keep it away from this device: whoever has it can revoke any device",
		"of the space, and nothing else can revoke this one.",
	)
	return nil
}

func newSpaceList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the spaces held here",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), false, anabranch.Options{NoNetwork: true}, func(r *anabranch.Replica) error {
				if len(r.Spaces()) == 0 {
					return fmt.Errorf("%w: there are none yet", anabranch.ErrNoSpace)
				}
				table := [][]string{{"NAME", "RECORDS", "ID"}}
				for _, s := range r.Spaces() {
					root, n, err := s.Root(cmd.Context())
					if err != nil {
						return err
					}
					if a.json {
						if err := a.emit(spaceJSON{Schema: "anabranch.space/1", Name: s.Name(), ID: s.ID().String(), Root: root.String(), Records: n}); err != nil {
							return err
						}
						continue
					}
					table = append(table, []string{s.Name(), fmt.Sprint(n), s.ID().String()})
				}
				if a.json {
					return nil
				}
				return a.rows(table)
			})
		},
	}
}

// newFile is a file for a recovery key, made before the key is, so that the
// key is never without a place.
type newFile struct {
	name string
	file *os.File
}

// keyFile makes the file; nil if none is named.
func (a *app) keyFile(name string) (*newFile, error) {
	if name == "" {
		return nil, nil
	}
	name, err := filepath.Abs(a.path(name))
	if err != nil {
		return nil, err
	}
	home, state, err := a.directories()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{home, state} {
		if below(name, dir) {
			return nil, usage("--root-key %s is below %s: a thief of this device would have it; choose a file elsewhere, best on another medium", name, dir)
		}
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usage("--root-key %s exists already, and is not overwritten", name)
	}
	if err != nil {
		return nil, fmt.Errorf("recovery key: %w", err)
	}
	return &newFile{name: name, file: f}, nil
}

func (f *newFile) write(text string) error {
	if f == nil {
		return nil
	}
	_, err := f.file.WriteString(text)
	if err = errors.Join(err, f.file.Sync(), f.file.Close()); err != nil {
		return fmt.Errorf("recovery key not written, so it is shown instead: %w", err)
	}
	return nil
}

// discard removes the file of a space that was not made.
func (f *newFile) discard() error {
	if f == nil {
		return nil
	}
	return errors.Join(f.file.Close(), os.Remove(f.name))
}
