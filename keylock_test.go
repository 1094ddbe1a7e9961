package anabranch

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// says is a source of a passphrase that counts how often it is asked.
func says(passphrase string, asked *int) func() ([]byte, error) {
	return func() ([]byte, error) {
		*asked++
		return []byte(passphrase), nil
	}
}

func TestKeysUnderAPassphraseOpenWithItAlone(t *testing.T) {
	dir := t.TempDir()
	home, lease := filepath.Join(dir, "home"), filepath.Join(dir, "lease")
	asked := 0
	open := func(ask func() ([]byte, error)) (*Replica, error) {
		return Open(t.Context(), home, Options{NoNetwork: true, LeaseDir: lease, Passphrase: ask})
	}
	reopen := func(ask func() ([]byte, error)) *Replica {
		t.Helper()
		r, err := open(ask)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := reopen(says("not wanted", &asked))
	device := r.Device()
	s, _, err := r.CreateSpace(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Invite(t.Context(), InviteOptions{Addrs: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	secrets := func() (clear, locked int) {
		t.Helper()
		err := filepath.Walk(filepath.Join(home, "state"), func(name string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
			if bytes.HasPrefix(b, []byte(ageMagic)) {
				locked++
			} else {
				clear++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return clear, locked
	}
	if clear, locked := secrets(); clear != 3 || locked != 0 || r.Locked() {
		t.Errorf("%d files in the clear, %d locked", clear, locked)
	}

	if err := r.SetPassphrase([]byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	if clear, locked := secrets(); clear != 0 || locked != 4 || !r.Locked() {
		t.Errorf("%d files in the clear, %d locked", clear, locked)
	}
	// What is made while it is locked is locked from the beginning.
	if _, _, err := r.CreateSpace(t.Context(), "more"); err != nil {
		t.Fatal(err)
	}
	if clear, locked := secrets(); clear != 0 || locked != 5 {
		t.Errorf("%d files in the clear, %d locked", clear, locked)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if asked != 0 {
		t.Errorf("asked %d times for keys in the clear", asked)
	}

	if _, err := open(nil); !errors.Is(err, ErrPassphraseNeeded) {
		t.Errorf("without: %v", err)
	}
	for _, wrong := range []string{"correct horsf", "", strings.Repeat("x", maxPassphrase+1), "two\nlines"} {
		if _, err := open(says(wrong, &asked)); !errors.Is(err, ErrPassphrase) {
			t.Errorf("with %q: %v", wrong, err)
		}
	}
	own := errors.New("nobody at the terminal")
	if _, err := open(func() ([]byte, error) { return nil, own }); !errors.Is(err, own) {
		t.Errorf("%v", err)
	}

	// A change that was interrupted, and a key from a backup before it.
	if err := os.WriteFile(filepath.Join(home, "state", "joining-0011223344556677.key"), []byte(strings.Repeat("ab", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked = 0
	r = reopen(says("correct horse", &asked))
	if asked != 1 || r.Device() != device || len(r.Spaces()) != 2 {
		t.Errorf("asked %d times, device %v, %d spaces", asked, r.Device(), len(r.Spaces()))
	}
	if _, ok := r.tickets.get(ticket.id()); !ok {
		t.Error("the ticket is gone")
	}
	if clear, _ := secrets(); clear != 0 {
		t.Errorf("%d files in the clear", clear)
	}
	if s, err = r.Space("notes"); err == nil {
		_, err = s.Put(t.Context(), "/a", nil)
	}
	if err != nil {
		t.Error(err)
	}

	// Another one, and none.
	if err := r.SetPassphrase([]byte("second")); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := open(says("correct horse", &asked)); !errors.Is(err, ErrPassphrase) {
		t.Errorf("the former one: %v", err)
	}
	r = reopen(says("second", &asked))
	if err := r.SetPassphrase(nil); err != nil {
		t.Fatal(err)
	}
	if clear, locked := secrets(); clear != 5 || locked != 0 || r.Locked() {
		t.Errorf("%d files in the clear, %d locked", clear, locked)
	}
	r.Close()
	if r = reopen(nil); r.Device() != device {
		t.Error("another device")
	}
	r.Close()
}

func TestDamagedLocksAreNamed(t *testing.T) {
	dir := t.TempDir()
	k, err := openKeyring(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.device(); err != nil {
		t.Fatal(err)
	}
	if err := k.setPassphrase([]byte("p")); err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for what, content := range map[string][]byte{
		"cut":        lock[:len(lock)-20],
		"empty":      nil,
		"no age":     []byte("hello"),
		"work of 30": bytes.Replace(lock, []byte(" 17\n"), []byte(" 30\n"), 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, lockName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if again, _ := openKeyring(dir); !errors.Is(again.unlock(says("p", &asked)), ErrDamaged) {
			t.Errorf("%s: %v", what, again.unlock(says("p", &asked)))
		}
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	again, err := openKeyring(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.unlock(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := again.device(); !errors.Is(err, ErrPassphraseNeeded) || !strings.Contains(err.Error(), lockName) {
		t.Errorf("without the lock: %v", err)
	}
}
