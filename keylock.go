package anabranch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
)

// The keys can be locked with a passphrase. Then passphrase.key holds, as an
// age file encrypted with it by scrypt, an X25519 identity made for this
// purpose, and every other file of keys or tickets is an age file encrypted
// to that identity: so a key can be added without asking again, and another
// passphrase means writing one file. Whoever has the passphrase can read
// them with the age program too.
//
// Where passphrase.key is, a file in the clear is one that an interrupted
// change has left, and is encrypted at the next opening.

const lockName = "passphrase.key"

// ageMagic begins every age file, and no key file in the clear.
const ageMagic = "age-encryption.org/v1\n"

// scryptWork is log2 of scrypt's cost: 128 MiB and about half a second at
// each opening, and at each guess.
const scryptWork = 17

// Limits of what is read back. A passphrase is typed, or a line of a file.
const (
	maxScryptWork    = 22
	maxPassphrase    = 1 << 10 // bytes
	maxUnlockedBytes = 1 << 20
)

// Errors of Open and SetPassphrase.
var (
	// ErrPassphraseNeeded says that the keys are locked with a passphrase
	// and that nothing supplied one.
	ErrPassphraseNeeded = errors.New("anabranch: the keys are locked with a passphrase")
	// ErrPassphrase says that the passphrase is not the one of the keys, or
	// cannot be one.
	ErrPassphrase = errors.New("anabranch: wrong passphrase")
)

// unlock makes locked keys readable. ask is called only if they are locked;
// what it returns is not kept.
func (k *keyring) unlock(ask func() ([]byte, error)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	sealed, err := os.ReadFile(filepath.Join(k.dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if ask == nil {
		return ErrPassphraseNeeded
	}
	passphrase, err := ask()
	if err != nil {
		return err
	}
	defer clear(passphrase)
	if err := checkPassphrase(passphrase); err != nil {
		return err
	}
	guess, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return err
	}
	guess.SetMaxWorkFactor(maxScryptWork)
	text, err := decrypt(sealed, guess)
	if noMatch := new(age.NoIdentityMatchError); errors.As(err, &noMatch) {
		return ErrPassphrase
	}
	if err == nil {
		k.identity, err = age.ParseX25519Identity(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, filepath.Join(k.dir, lockName), err)
	}
	return k.rewrite(k.sealed)
}

// setPassphrase locks the keys with a passphrase, or with another one; an
// empty one unlocks them for good. Interrupted, it leaves keys that the
// passphrase in use before or the new one opens.
func (k *keyring) setPassphrase(passphrase []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := filepath.Join(k.dir, lockName)
	if len(passphrase) == 0 {
		if k.identity == nil {
			return nil
		}
		if err := k.rewrite(k.opened); err != nil {
			return err
		}
		k.identity = nil
		return errors.Join(os.Remove(name), syncFolder(k.dir))
	}
	if err := checkPassphrase(passphrase); err != nil {
		return err
	}
	identity := k.identity
	if identity == nil {
		var err error
		if identity, err = age.GenerateX25519Identity(); err != nil {
			return err
		}
	}
	lock, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return err
	}
	lock.SetWorkFactor(scryptWork)
	sealed, err := encrypt([]byte(identity.String()+"\n"), lock)
	if err != nil {
		return err
	}
	if err := writeDurably(name, sealed); err != nil {
		return err
	}
	k.identity = identity
	return k.rewrite(k.sealed)
}

func checkPassphrase(passphrase []byte) error {
	if len(passphrase) == 0 || len(passphrase) > maxPassphrase || bytes.ContainsAny(passphrase, "\x00\r\n") {
		return fmt.Errorf("%w: a passphrase is one line of 1 to %d bytes", ErrPassphrase, maxPassphrase)
	}
	return nil
}

func (k *keyring) locked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.identity != nil
}

// readSecret and writeSecret are for the files of others that hold secrets
// and lie below the state folder.
func (k *keyring) readSecret(name string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return k.opened(b)
}

func (k *keyring) writeSecret(name string, content []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	b, err := k.sealed(content)
	if err != nil {
		return err
	}
	return writeDurably(name, b)
}

// rewrite brings the files of keys and tickets into the form that to gives
// them, each durably and only if it is not in that form.
func (k *keyring) rewrite(to func([]byte) ([]byte, error)) error {
	var names []string
	for _, pattern := range []string{"*.key", filepath.Join(ticketsFolder, "*.json")} {
		found, err := filepath.Glob(filepath.Join(k.dir, pattern))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	for _, name := range slices.DeleteFunc(names, func(n string) bool { return filepath.Base(n) == lockName }) {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		next, err := to(b)
		if err != nil {
			return fmt.Errorf("anabranch: key file %s: %w", name, err)
		}
		if !bytes.Equal(b, next) {
			if err := writeDurably(name, next); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealed is how the content of a file of secrets stands on the disk.
func (k *keyring) sealed(content []byte) ([]byte, error) {
	if k.identity == nil || bytes.HasPrefix(content, []byte(ageMagic)) {
		return content, nil
	}
	return encrypt(content, k.identity.Recipient())
}

// opened is the reverse of sealed.
func (k *keyring) opened(content []byte) ([]byte, error) {
	if !bytes.HasPrefix(content, []byte(ageMagic)) {
		return content, nil
	}
	if k.identity == nil {
		return nil, fmt.Errorf("%w, and %s is missing", ErrPassphraseNeeded, lockName)
	}
	b, err := decrypt(content, k.identity)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, nil
}

func encrypt(content []byte, to age.Recipient) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

func decrypt(content []byte, with age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(content), with)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, maxUnlockedBytes))
}

// SetPassphrase locks this device's private keys and open tickets with a
// passphrase, of one line and at most 1 024 bytes, or changes it; an empty
// one takes the lock away. From then on Open needs Options.Passphrase. The
// records themselves stay in the clear, and copies of the keys that were
// made before stay as they were: with the former passphrase, or none.
//
// Errors worth matching: ErrPassphrase if it cannot be one.
func (r *Replica) SetPassphrase(passphrase []byte) error {
	r.making.Lock()
	defer r.making.Unlock()
	if err := r.keys.setPassphrase(passphrase); err != nil {
		return fmt.Errorf("anabranch: set passphrase: %w", err)
	}
	return nil
}

// Locked reports whether the keys on the disk are locked with a passphrase.
func (r *Replica) Locked() bool { return r.keys.locked() }
