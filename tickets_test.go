package anabranch

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"anabranch/internal/mesh"
	"anabranch/record"
)

func TestATicketIsNotInABackupAndWorthNothingAfterARestore(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	used, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	unused, err := s.Invite(w.ctx, InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "backup")
	if _, err := a.Backup(w.ctx, dir, nil); err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{used.secret[:], unused.secret[:]}
	for _, secret := range slices.Clone(secrets) {
		secrets = append(secrets, []byte(hex.EncodeToString(secret)))
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(content, secret) {
				t.Errorf("%s holds the secret of a ticket", path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := w.open("b").Join(w.ctx, used, "notes"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(w.ctx, dir, filepath.Join(w.dir, "restored"), RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	restored := w.open("restored")
	// Some other ticket is open, so that the door is, and the ticket itself decides.
	if _, err := restored.Spaces()[0].Invite(w.ctx, InviteOptions{}); err != nil {
		t.Fatal(err)
	}
	c := w.open("c")
	for _, ticket := range []Ticket{used, unused} {
		if _, err := c.Join(w.ctx, ticket, "notes"); !errors.Is(err, ErrTicket) {
			t.Errorf("a ticket from before the restore: %v, want ErrTicket", err)
		}
	}
}

func TestTheDoorToStrangersIsOpenWhileATicketIs(t *testing.T) {
	w := newWorld(t)
	now := time.Now()
	clock := func(o *Options) { o.Clock = func() time.Time { return now } }
	a := w.open("a", clock)
	s, _ := w.create(a)
	stranger := mesh.Key{9}
	open := func(want bool, when string) {
		t.Helper()
		if got := a.admits(stranger, joinProtocol); got != want {
			t.Errorf("%s: open to strangers %v, want %v", when, got, want)
		}
		if a.admits(stranger, syncProtocol) {
			t.Errorf("%s: a stranger may sync", when)
		}
	}
	invite := func() Ticket {
		t.Helper()
		ticket, err := s.Invite(w.ctx, InviteOptions{TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return ticket
	}
	open(false, "before any ticket")

	ticket := invite()
	open(true, "with a ticket")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = w.open("a", clock)
	s = a.Spaces()[0]
	open(true, "reopened with a ticket")
	rb := w.open("b")
	if _, err := rb.Join(w.ctx, ticket, "notes"); err != nil {
		t.Fatal(err)
	}
	open(false, "when the only ticket is used")
	if !a.admits(mesh.Key(rb.Device()), joinProtocol) {
		t.Error("who used the ticket cannot ask again, though its answer may be lost")
	}
	if _, err := w.open("c").Join(w.ctx, ticket, "notes"); !errors.Is(err, ErrTicket) {
		t.Errorf("a used ticket at a closed door: %v, want ErrTicket", err)
	}

	ticket = invite()
	open(true, "with another ticket")
	if err := a.Withdraw(ticket); err != nil {
		t.Fatal(err)
	}
	open(false, "when it is withdrawn")

	invite()
	now = now.Add(time.Hour)
	open(false, "when the last has expired")
}

func TestAnInvitationWithAnAddressThatIsNoneIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.open("a")
	s, _ := w.create(a)
	for _, addr := range []string{"host.example:4471", "192.0.2.1", "", "192.0.2.1:port"} {
		ticket, err := s.Invite(w.ctx, InviteOptions{Addrs: []string{"192.0.2.1:4471", addr}})
		if err == nil {
			t.Errorf("%q was put into a ticket, which reads %q", addr, ticket.Addrs)
		}
	}
	if a.admits(mesh.Key{9}, joinProtocol) {
		t.Error("a refused invitation opened the door")
	}
	want := []string{"192.0.2.1:4471", "[2001:db8::1]:4471"}
	ticket, err := s.Invite(w.ctx, InviteOptions{Addrs: want})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseTicket(ticket.String())
	if err != nil || !slices.Equal(parsed.Addrs, want) {
		t.Errorf("the ticket's text carries %q, %v", parsed.Addrs, err)
	}
}

func TestTheAdminOfACornerNamesNobodyOutsideIt(t *testing.T) {
	w := newWorld(t)
	a := w.open("a", func(o *Options) { o.DeviceName = "attic" })
	s, _ := w.create(a)
	admin := w.join(s, w.open("b"), InviteOptions{Role: record.Admin, Area: "/guest"})
	rc := w.open("c", func(o *Options) { o.DeviceName = "cellar" })
	w.join(admin, rc, InviteOptions{Area: "/guest"})
	label := func(by *Space, area string, device record.Key, name string) {
		t.Helper()
		g, err := by.issuer(area)
		if err != nil {
			t.Fatal(err)
		}
		const far = 1 << 52 // µs: later than every clock
		if _, err := by.rows.Issue(w.ctx, by.author(), far, area, newLabel(g.ID, device, name)); err != nil {
			t.Fatal(err)
		}
		w.sync(by, s)
	}
	called := func(device record.Key) string {
		t.Helper()
		members, err := s.Members(w.ctx)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(members, func(m Member) bool { return m.Device == device })
		return members[i].Label
	}
	label(admin, "/guest", a.Device(), "thief")
	label(admin, "/guest", rc.Device(), "guest room")
	if got := called(a.Device()); got != "attic" {
		t.Errorf("the admin of /guest calls the first device %q", got)
	}
	if got := called(rc.Device()); got != "guest room" {
		t.Errorf("the admin of /guest names its guest, which is still called %q", got)
	}

	whole := w.join(s, w.open("d"), InviteOptions{Role: record.Admin})
	label(whole, "/", a.Device(), "renamed")
	if got := called(a.Device()); got != "renamed" {
		t.Errorf("an admin of everything names the first device, which is called %q", got)
	}
	if err := s.Label(w.ctx, a.Device(), "attic"); err != nil {
		t.Fatal(err)
	}
	if got := called(a.Device()); got != "attic" {
		t.Errorf("a name dated ahead outlives a correction: %q", got)
	}
}
