package anabranch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"anabranch/internal/store"
)

// A backup is a folder:
//
//	manifest.json   what is inside, with sizes and SHA-256
//	store/          the records, facts and orders, as a store of their own
//	state/          the keys: whoever has them is this device
//
// It is complete iff the manifest is there, which is written last. The lane
// lease is not in it, and the copy of the store has a name of its own: what
// is restored from it writes in fresh lanes.

// Manifest is what a backup holds.
type Manifest struct {
	Schema string        `json:"schema"` // anabranch.manifest/1
	Made   string        `json:"made"`
	Device string        `json:"device"`
	Spaces []BackupSpace `json:"spaces"`
	Files  []BackupFile  `json:"files"` // by name
}

// BackupSpace is one space in a backup.
type BackupSpace struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Records uint64 `json:"records"`
	Root    string `json:"root"`
}

// BackupFile is one file in a backup.
type BackupFile struct {
	Name   string `json:"name"` // store/… or state/…
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	manifestSchema = "anabranch.manifest/1"
	manifestName   = "manifest.json"
	maxManifest    = 16 << 20
)

// ErrBackup says that a folder is no complete backup, or cannot become one.
var ErrBackup = errors.New("anabranch: backup refused")

// Backup copies the replica, as it is at one moment, into a folder that does
// not exist or is empty, for its owner only. Everything else goes on
// meanwhile. The copy has been opened and read, and is durable, when Backup
// returns. progress, which may be nil, is told the rows copied.
//
// Cost: the whole store is read and written once, and each ID read once more.
func (r *Replica) Backup(ctx context.Context, dir string, progress func(rows uint64)) (m Manifest, err error) {
	if err := r.outside(dir); err != nil {
		return Manifest{}, err
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return Manifest{}, fmt.Errorf("%w: %s is not empty", ErrBackup, dir)
	}
	if err := makePrivate(dir); err != nil {
		return Manifest{}, fmt.Errorf("anabranch: backup: %w", err)
	}
	defer func() {
		if err != nil { // nothing half is left, save an empty folder
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, "store")), os.RemoveAll(filepath.Join(dir, "state")))
		}
	}()
	m = Manifest{Schema: manifestSchema, Made: stampNow(), Device: r.Device().String()}
	copied := filepath.Join(dir, "store")
	if err := r.store.Backup(ctx, copied, progress); err != nil {
		return m, fmt.Errorf("anabranch: %w", named(err))
	}
	if m.Spaces, err = readBackup(copied); err != nil {
		return m, fmt.Errorf("anabranch: backup: the copy does not open: %w", err)
	}
	// The keys come after the store: a key is on disk before the first record
	// that needs it.
	if err := copyKeys(r.options.StateDir, filepath.Join(dir, "state")); err != nil {
		return m, fmt.Errorf("anabranch: backup: %w", err)
	}
	if m.Files, err = seal(dir); err != nil {
		return m, fmt.Errorf("anabranch: backup: %w", err)
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := writeDurably(filepath.Join(dir, manifestName), append(text, '\n')); err != nil {
		return m, fmt.Errorf("anabranch: backup: %w", err)
	}
	return m, nil
}

func stampNow() string { return time.Now().UTC().Format(time.RFC3339) }

// readBackup opens a copied store, which rebuilds every count and root from
// its rows, and says what is in it.
func readBackup(dir string) ([]BackupSpace, error) {
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil, err
	}
	out := []BackupSpace{}
	for _, sp := range st.Spaces() {
		view, err := sp.Snapshot()
		if err != nil {
			return nil, errors.Join(err, st.Close())
		}
		root, err := view.Root()
		n := view.Count()
		view.Close()
		var name []byte
		if err == nil {
			name, _, err = st.Fact(nameFact(sp.ID()))
		}
		if err != nil {
			return nil, errors.Join(err, st.Close())
		}
		out = append(out, BackupSpace{sp.ID().String(), string(name), n, Root(root).String()})
	}
	return out, st.Close()
}

// copyKeys copies the files of the state folder, save those being written.
func copyKeys(from, to string) error {
	if err := makePrivate(to); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // of a join that ended meanwhile
		}
		if err != nil {
			return err
		}
		if err := writeDurably(filepath.Join(to, e.Name()), b); err != nil {
			return err
		}
	}
	return nil
}

// contentPart is where a backup has the content that lies beside the records.
const contentPart = "store/blobs"

// seal makes every file of a backup its owner's alone and durable, and lists
// them.
func seal(dir string) ([]BackupFile, error) {
	var out []BackupFile
	for _, part := range []string{"state", contentPart, "store"} {
		folder := filepath.Join(dir, filepath.FromSlash(part))
		if _, err := os.Lstat(folder); part == contentPart && errors.Is(err, fs.ErrNotExist) {
			continue // no content lies beside the records
		}
		if err := os.Remove(filepath.Join(folder, "LOCK")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := os.Chmod(folder, 0o700); err != nil {
			return nil, err
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if part == "store" && e.IsDir() {
				continue // store/blobs
			}
			f, err := sealFile(folder, e.Name())
			if err != nil {
				return nil, err
			}
			f.Name = part + "/" + f.Name
			out = append(out, f)
		}
		if err := syncFolder(folder); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func sealFile(folder, name string) (BackupFile, error) {
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_RDWR, 0)
	if err != nil {
		return BackupFile{}, err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Sync())
	}
	return BackupFile{name, size, hex.EncodeToString(h.Sum(nil))}, err
}

// RestoreOptions configures Restore.
type RestoreOptions struct {
	// StateDir is where the keys go. Default: "state" below the home.
	StateDir string
}

// Restore makes a home from a backup. Neither the home nor its state folder
// may hold a replica yet. Every file is compared with the manifest on its
// way; if one differs, nothing is left behind.
//
// The home is then the device that the backup was made of, as it was at that
// moment. It writes in fresh lanes, so no number is used twice, and its later
// records come back from its peers. The device must not go on elsewhere.
//
// Errors worth matching: ErrBackup, ErrDamaged, ErrIncompatible.
func Restore(ctx context.Context, from, home string, o RestoreOptions) (Manifest, error) {
	if o.StateDir == "" {
		o.StateDir = filepath.Join(home, "state")
	}
	source, err := os.OpenRoot(from)
	if err != nil {
		return Manifest{}, fmt.Errorf("anabranch: restore: %w", err)
	}
	defer source.Close()
	m, err := readManifest(source, from)
	if err != nil {
		return m, err
	}
	if err := vacant(home, o.StateDir); err != nil {
		return m, err
	}
	for _, dir := range []string{home, o.StateDir} {
		if err := makePrivate(dir); err != nil {
			return m, fmt.Errorf("anabranch: restore: %w", err)
		}
	}
	re := &restoring{ctx: ctx, source: source, half: filepath.Join(home, "store.restoring"), state: o.StateDir}
	if err := re.run(m.Files, filepath.Join(home, "store")); err != nil {
		return m, errors.Join(fmt.Errorf("anabranch: restore: %w", err), re.undo())
	}
	return m, nil
}

func readManifest(source *os.Root, from string) (Manifest, error) {
	var m Manifest
	f, err := source.Open(manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: %s has no %s: it is no backup, or one that was not finished", ErrBackup, from, manifestName)
	}
	if err != nil {
		return m, fmt.Errorf("anabranch: restore: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return m, fmt.Errorf("anabranch: restore: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrDamaged, manifestName, err)
	}
	if m.Schema != manifestSchema {
		return m, fmt.Errorf("%w: the backup's schema is %q, this version reads %q", ErrIncompatible, m.Schema, manifestSchema)
	}
	for _, f := range m.Files {
		part, name, ok := backupPart(f.Name)
		if !ok || part != "store" && part != "state" && part != contentPart || strings.ContainsAny(name, `/\`) || !filepath.IsLocal(name) || name[0] == '.' {
			return m, fmt.Errorf("%w: %s names a file %q, which no backup has", ErrDamaged, manifestName, f.Name)
		}
	}
	if !slices.ContainsFunc(m.Files, func(f BackupFile) bool { return f.Name == "state/device.key" }) {
		return m, fmt.Errorf("%w: %s names no device key", ErrDamaged, manifestName)
	}
	return m, nil
}

// vacant refuses a home that holds a replica, or the keys of one.
func vacant(home, state string) error {
	if _, err := os.Lstat(filepath.Join(home, "store")); err == nil {
		return fmt.Errorf("%w: %s holds a replica already; restore into an empty home", ErrBackup, home)
	}
	entries, err := os.ReadDir(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("anabranch: restore: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			return fmt.Errorf("%w: %s holds %s already; restore into an empty home", ErrBackup, state, e.Name())
		}
	}
	return nil
}

// backupPart splits a name of the manifest into the folder and the file.
func backupPart(name string) (part, file string, ok bool) {
	if file, ok = strings.CutPrefix(name, contentPart+"/"); ok {
		return contentPart, file, file != ""
	}
	return strings.Cut(name, "/")
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

type restoring struct {
	ctx    context.Context
	source *os.Root
	half   string   // the store until it is complete
	state  string   // the state folder
	keys   []string // files made there
}

func (re *restoring) run(files []BackupFile, to string) error {
	if err := os.RemoveAll(re.half); err != nil { // of a restore that was cut
		return err
	}
	if err := os.Mkdir(re.half, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		part, name, _ := backupPart(f.Name)
		folder := re.half
		if part == contentPart {
			folder = filepath.Join(re.half, "blobs")
			if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
		if part == "state" {
			folder = re.state
			re.keys = append(re.keys, filepath.Join(folder, name))
		}
		if err := re.copy(f, filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	folders := []string{re.half, re.state}
	if content := filepath.Join(re.half, "blobs"); exists(content) {
		folders = append(folders, content)
	}
	for _, folder := range folders {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	if err := os.Rename(re.half, to); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(to))
}

func (re *restoring) copy(want BackupFile, to string) error {
	if err := re.ctx.Err(); err != nil {
		return err
	}
	in, err := re.source.Open(want.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing from the backup", ErrDamaged, want.Name)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(out, h), io.LimitReader(in, want.Size+1))
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	if size != want.Size || hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%w: %s is not what was backed up", ErrDamaged, want.Name)
	}
	return nil
}

// undo removes what a failed restore has made.
func (re *restoring) undo() error {
	err := os.RemoveAll(re.half)
	for _, k := range re.keys {
		if e := os.Remove(k); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}
