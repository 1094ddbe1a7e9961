package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// directories says where a replica lives: records and keys apart, so that
// what is backed up or moved with the records is never an identity. A home
// that is named holds both; the lane lease is in the runtime directory
// always, since neither a backup nor a clone may carry it.
func directories(named string) (home, state string, err error) {
	if named != "" {
		home, err := filepath.Abs(named)
		return home, filepath.Join(home, "state"), err
	}
	home, err = baseDirectory("XDG_DATA_HOME", ".local", "share")
	if err != nil {
		return "", "", err
	}
	state, err = baseDirectory("XDG_STATE_HOME", ".local", "state")
	return home, state, err
}

// baseDirectory follows the XDG base directory specification: a relative
// path in the variable counts as unset.
func baseDirectory(variable string, below ...string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "anabranch"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("no home directory is known: set HOME, or name a folder with --home")
	}
	return filepath.Join(append(append([]string{user}, below...), "anabranch")...), nil
}

// below reports whether a file would lie in a directory, symbolic links
// followed as far as the parts of either exist.
func below(file, dir string) bool {
	rel, err := filepath.Rel(resolve(dir), resolve(file))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func resolve(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest)
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = parent
	}
}
