package anabranch

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"

	"anabranch/record"
)

// keyring holds this device's private keys as files below the state folder,
// readable by their owner only: device.key, and for each space
// author-<space>.key with one seed a line, the last one in use. A device
// that is invited again writes under a fresh author key and keeps the old
// ones, because it keeps the records they signed.
//
// They may be locked with a passphrase; see keylock.go.
type keyring struct {
	dir string

	mu       sync.Mutex          // guards the files and identity
	identity *age.X25519Identity // opens the files; nil if there is no passphrase
}

func openKeyring(dir string) (*keyring, error) {
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	return &keyring{dir: dir}, nil
}

// device is the network key, made on first use.
func (k *keyring) device() (ed25519.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := filepath.Join(k.dir, "device.key")
	keys, err := k.readSeeds(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key := newKey()
		return key, k.writeSeeds(name, key)
	case err != nil:
		return nil, err
	}
	return keys[len(keys)-1], nil
}

func (k *keyring) authorFile(id record.SpaceID) string {
	return filepath.Join(k.dir, "author-"+id.String()+".key")
}

// authors are this device's keys in a space, oldest first; none if it has
// never been a member.
func (k *keyring) authors(id record.SpaceID) ([]ed25519.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, err := k.readSeeds(k.authorFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return keys, err
}

// addAuthor makes a key the one in use in a space.
func (k *keyring) addAuthor(id record.SpaceID, key ed25519.PrivateKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys, err := k.readSeeds(k.authorFile(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, old := range keys {
		if old.Equal(key) {
			return nil
		}
	}
	return k.writeSeeds(k.authorFile(id), append(keys, key)...)
}

// dropAuthors forgets the keys of a space that never came to be.
func (k *keyring) dropAuthors(id record.SpaceID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return os.Remove(k.authorFile(id))
}

// joining is the author key of a join that is not finished: kept, so that a
// reply lost on the way can be asked for again with the same key.
func (k *keyring) joining(ticket []byte) (ed25519.PrivateKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := sha256.Sum256(ticket)
	name := filepath.Join(k.dir, "joining-"+hex.EncodeToString(h[:8])+".key")
	keys, err := k.readSeeds(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key := newKey()
		return key, k.writeSeeds(name, key)
	case err != nil:
		return nil, err
	}
	return keys[0], nil
}

func (k *keyring) joined(ticket []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := sha256.Sum256(ticket)
	err := os.Remove(filepath.Join(k.dir, "joining-"+hex.EncodeToString(h[:8])+".key"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func newKey() ed25519.PrivateKey {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:])
	return ed25519.NewKeyFromSeed(seed[:])
}

func (k *keyring) readSeeds(name string) ([]ed25519.PrivateKey, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if openToOthers(info) {
		return nil, fmt.Errorf("anabranch: key file %s can be read by others (mode %v); make it 0600", name, info.Mode().Perm())
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if b, err = k.opened(b); err != nil {
		return nil, fmt.Errorf("anabranch: key file %s: %w", name, err)
	}
	var keys []ed25519.PrivateKey
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		seed, err := hex.DecodeString(line)
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("anabranch: key file %s: line %d is no seed of 32 bytes in hexadecimal", name, len(keys)+1)
		}
		keys = append(keys, ed25519.NewKeyFromSeed(seed))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("anabranch: key file %s is empty", name)
	}
	return keys, nil
}

// writeSeeds replaces a key file so that a crash leaves the old or the new
// one: a temporary file, fsync, rename, fsync of the folder.
func (k *keyring) writeSeeds(name string, keys ...ed25519.PrivateKey) error {
	var b strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&b, "%x\n", key.Seed())
	}
	content, err := k.sealed([]byte(b.String()))
	if err != nil {
		return err
	}
	return writeDurably(name, content)
}

func writeDurably(name string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err := tmp.Write(content); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Sync(); err != nil {
		tmp.Close()
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

// RecoveryKey is the private half of a space's root key 1. It is shown once,
// when the space is made, and kept nowhere below the home: with it any
// device can be revoked, the first one included.
type RecoveryKey struct{ key ed25519.PrivateKey }

const recoveryPrefix = "anabranch-root-"

var base32Text = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String is the key as text to write down: prefix, base32 of the seed and of
// four bytes of checksum.
func (k RecoveryKey) String() string {
	return recoveryPrefix + base32Text.EncodeToString(withChecksum(k.key.Seed()))
}

// Public is the root key itself, as the genesis names it.
func (k RecoveryKey) Public() record.Key { return record.Public(k.key) }

// ParseRecoveryKey reads the text form, spaces and line ends ignored.
func ParseRecoveryKey(text string) (RecoveryKey, error) {
	text = strings.ToLower(strings.Join(strings.Fields(text), ""))
	rest, ok := strings.CutPrefix(text, recoveryPrefix)
	if !ok {
		return RecoveryKey{}, fmt.Errorf("anabranch: a recovery key begins with %q", recoveryPrefix)
	}
	b, err := base32Text.DecodeString(rest)
	if err != nil {
		return RecoveryKey{}, errors.New("anabranch: recovery key has a character that does not belong in one")
	}
	seed, ok := cutChecksum(b)
	if !ok || len(seed) != ed25519.SeedSize {
		return RecoveryKey{}, errors.New("anabranch: recovery key is incomplete or mistyped: its checksum does not match")
	}
	return RecoveryKey{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// withChecksum appends the first four bytes of SHA-256.
func withChecksum(b []byte) []byte {
	h := sha256.Sum256(b)
	return append(b[:len(b):len(b)], h[:4]...)
}

func cutChecksum(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return nil, false
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	h := sha256.Sum256(body)
	return body, string(h[:4]) == string(sum)
}
