package anabranch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"anabranch/record"
)

// Files and documents are two views of the same bytes: the file DIR/a/b is
// the document /a/b, below a prefix if one is given. Only the content is
// kept: no mode bits, times, owners, links or empty folders. docs/files.md
// is the reference.

// SkipReason says why a file or a document was left out.
type SkipReason string

const (
	SkipSymlink    SkipReason = "symlink"     // symbolic links are neither followed nor kept
	SkipSpecial    SkipReason = "special"     // a device, a socket, a pipe
	SkipName       SkipReason = "name"        // a name that no document, or no file here, can have
	SkipTooLarge   SkipReason = "too_large"   // above the 64 KiB of one record
	SkipUnreadable SkipReason = "unreadable"  // the system refuses to read it
	SkipUnwritable SkipReason = "unwritable"  // the system refuses to write it
	SkipChanging   SkipReason = "changing"    // it changed each time it was read
	SkipHome       SkipReason = "home"        // this replica's own home, keys or lease
	SkipLeftover   SkipReason = "leftover"    // a temporary file of an export that was interrupted
	SkipInTheWay   SkipReason = "in_the_way"  // a file stands where a folder is needed, or the reverse
	SkipCollision  SkipReason = "collision"   // two names that are one here
	SkipEdited     SkipReason = "edited"      // the file was changed since it was last imported or exported
	SkipBlob       SkipReason = "blob"        // the content is not in the record
	SkipTime       SkipReason = "end_of_time" // nothing can be dated after what stands there
)

// Skipped is a file or a document that was left out, and why.
type Skipped struct {
	Name   string // slash path below DIR, or the document's path if it has no file
	Reason SkipReason
	Detail string // for people
}

// FileProgress is how far an import or an export is.
type FileProgress struct {
	Done, Total int   // files, or documents
	Bytes       int64 // of content that was looked at, or written
}

// ErrFolder says that a folder cannot be imported from or exported to: it is
// the replica's own, or --delete would empty the other side because of it.
var ErrFolder = errors.New("anabranch: folder refused")

// docSuffix is put after the name of a file that would otherwise have the
// name of a folder. See folderNames.
const docSuffix = "~doc"

// temporary is what the name of a file begins with that an export is about
// to put in place.
const temporary = ".anabranch-new-"

// bidirectional are the characters that reorder text: a name with them does
// not read as what it is.
const bidirectional = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

// checkName accepts one component of a path as a file's name.
func checkName(name string) error {
	switch {
	case !utf8.ValidString(name):
		return errors.New("not valid UTF-8")
	case strings.ContainsAny(name, bidirectional):
		return errors.New("a character that changes the direction of text")
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7F {
			return fmt.Errorf("control byte 0x%02x", name[i])
		}
	}
	return nil
}

// checkPlatformName accepts a name that this platform can hold.
func checkPlatformName(name string) error {
	if strings.HasPrefix(name, temporary) {
		return fmt.Errorf("names that begin with %s are for exports in progress", temporary)
	}
	if runtime.GOOS == "windows" && (strings.ContainsAny(name, `<>:"|?*\`) || strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ")) ||
		!filepath.IsLocal(name) || strings.ContainsRune(name, filepath.Separator) {
		return fmt.Errorf("no file can have this name on %s", runtime.GOOS)
	}
	return nil
}

// folderNames is one folder's names as far as they are those of folders, by
// the name without any "~doc" behind it: how many each has, ascending.
//
// A document may stand at /a while others stand below it; no file can. Where
// a is a folder, the document /a is the file a~doc, and a document /a~doc
// the file a~doc~doc: from the first name in the sequence a, a~doc,
// a~doc~doc, … that is a folder, the documents in it move up, in their
// order, to the next names that no folder has. What is a folder decides
// alone, so that the way back is known too.
type folderNames map[string][]int

func splitName(name string) (base string, n int) {
	for strings.HasSuffix(name, docSuffix) {
		name, n = name[:len(name)-len(docSuffix)], n+1
	}
	return name, n
}

func (f folderNames) add(name string) {
	base, n := splitName(name)
	i, found := slices.BinarySearch(f[base], n)
	if !found {
		f[base] = slices.Insert(f[base], i, n)
	}
}

// file is the name of a document's file.
func (f folderNames) file(name string) string {
	base, n := splitName(name)
	folders := f[base]
	if len(folders) == 0 || n < folders[0] {
		return name
	}
	place := n + 1 // one up, and one more for each folder on the way
	for _, folder := range folders[1:] {
		if folder > place {
			break
		}
		place++
	}
	return base + strings.Repeat(docSuffix, place)
}

// document is the reverse of file, for a name that is no folder's.
func (f folderNames) document(name string) string {
	base, n := splitName(name)
	folders := f[base]
	if len(folders) == 0 || n < folders[0] {
		return name
	}
	below, _ := slices.BinarySearch(folders, n)
	return base + strings.Repeat(docSuffix, n-below)
}

// joinRel joins slash paths below a folder; "" is the folder itself.
func joinRel(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func splitRel(rel string) (dir, name string) {
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		return rel[:i], rel[i+1:]
	}
	return "", rel
}

// underPrefix is the document path of a slash path below a folder that stands
// for a prefix.
func underPrefix(below, rel string) string {
	switch {
	case rel == "":
		return below
	case below == "/":
		return "/" + rel
	}
	return below + "/" + rel
}

// checkPrefix fills in the prefix of an import or export.
func checkPrefix(below string) (string, error) {
	if below == "" {
		return "/", nil
	}
	return below, record.CheckPath(below)
}

// walker goes through the files below a folder and never leaves it: no link
// is followed, and each folder is opened from the one that holds it.
type walker struct {
	ctx   context.Context
	avoid []fs.FileInfo // folders that are not entered
	file  func(rel string, info fs.FileInfo) error
	skip  func(rel string, folder bool, reason SkipReason, detail string)
}

func (w *walker) walk(dir *os.Root, rel string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	names, err := readNames(dir)
	if err != nil {
		w.skip(rel, true, SkipUnreadable, plainOS(err))
		return nil
	}
	for _, name := range names {
		at := joinRel(rel, name)
		info, err := dir.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // gone meanwhile
		case err != nil:
			w.skip(at, true, SkipUnreadable, plainOS(err))
			continue
		}
		mode := info.Mode()
		if err := checkName(name); err != nil {
			w.skip(at, true, SkipName, err.Error())
			continue
		}
		switch {
		case len(at)+1 > record.MaxPath:
			w.skip(at, true, SkipName, fmt.Sprintf("the path has more than %d bytes", record.MaxPath))
		case mode&fs.ModeSymlink != 0:
			w.skip(at, false, SkipSymlink, "a symbolic link")
		case mode.IsDir():
			if err := w.enter(dir, name, at, info); err != nil {
				return err
			}
		case !mode.IsRegular():
			w.skip(at, false, SkipSpecial, special(mode))
		case strings.HasPrefix(name, temporary):
			w.skip(at, false, SkipLeftover, "of an export that was interrupted")
		default:
			if err := w.file(at, info); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walker) enter(dir *os.Root, name, at string, info fs.FileInfo) error {
	if sameAsAny(info, w.avoid) {
		w.skip(at, true, SkipHome, "this replica keeps its own records or keys there")
		return nil
	}
	sub, err := openFolder(dir, name, info)
	if err != nil {
		w.skip(at, true, SkipUnreadable, plainOS(err))
		return nil
	}
	defer sub.Close()
	return w.walk(sub, at)
}

// openFolder opens the folder that info was seen to be, and nothing that has
// taken its place.
func openFolder(dir *os.Root, name string, info fs.FileInfo) (*os.Root, error) {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	now, err := sub.Stat(".")
	if err == nil && !os.SameFile(info, now) {
		err = errors.New("replaced while it was opened")
	}
	if err != nil {
		return nil, errors.Join(err, sub.Close())
	}
	return sub, nil
}

func readNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func special(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "not a regular file"
}

func sameAsAny(info fs.FileInfo, others []fs.FileInfo) bool {
	return slices.ContainsFunc(others, func(o fs.FileInfo) bool { return os.SameFile(info, o) })
}

// private are the folders whose content must never become documents, nor be
// overwritten by them: where the store, the keys and the leases are.
func (r *Replica) private() []fs.FileInfo {
	dirs := []string{r.options.StateDir, r.options.LeaseDir}
	if dir := r.store.Dir(); dir != "" {
		dirs = append(dirs, dir, filepath.Dir(dir))
	}
	var out []fs.FileInfo
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil {
			out = append(out, info)
		}
	}
	return out
}

// openTree opens DIR, unless it is one of the replica's own folders or lies
// in one. name is what DIR is called whatever way leads to it.
func (r *Replica) openTree(dir string) (root *os.Root, name string, err error) {
	if err := r.outside(dir); err != nil {
		return nil, "", err
	}
	if name, err = filepath.Abs(dir); err == nil {
		name, err = filepath.EvalSymlinks(name)
	}
	if err == nil {
		root, err = os.OpenRoot(name)
	}
	if err != nil {
		return nil, "", fmt.Errorf("anabranch: folder %s: %w", dir, err)
	}
	return root, name, nil
}

// outside refuses a folder in, or that is, one of the replica's own.
func (r *Replica) outside(dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			at = real
			break
		}
		if up := filepath.Dir(at); up != at {
			at = up
			continue
		}
		return err
	}
	private := r.private()
	for {
		if info, err := os.Stat(at); err == nil && sameAsAny(info, private) {
			return fmt.Errorf("%w: %s is where this replica keeps its own records or keys", ErrFolder, dir)
		}
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		at = up
	}
}
