package anabranch

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anabranch/internal/mesh"
	"anabranch/record"
)

func FuzzParseTicket(f *testing.F) {
	ticket := Ticket{Inviter: record.Key{1, 2, 3}, Expires: time.Unix(1<<30, 0), Addrs: []string{"192.0.2.1:4471", "[2001:db8::1]:9"}}
	f.Add(ticket.String())
	f.Add(ticketPrefix)
	f.Add(strings.ToUpper(ticket.String()) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTicket(text)
		if err != nil {
			return
		}
		if want := strings.ToLower(strings.Join(strings.Fields(text), "")); got.String() != want {
			t.Errorf("%q reads back as %q", want, got.String())
		}
	})
}

func FuzzParseRecoveryKey(f *testing.F) {
	f.Add(RecoveryKey{key: newKey()}.String())
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := ParseRecoveryKey(text); err == nil && len(got.key) != 64 {
			t.Errorf("a key of %d bytes", len(got.key))
		}
	})
}

// FuzzJoin gives both sides of the join protocol whatever bytes there are.
func FuzzJoin(f *testing.F) {
	dir := f.TempDir()
	ctx := context.Background()
	network := mesh.NewNetwork()
	r, err := Open(ctx, filepath.Join(dir, "a"), Options{
		LeaseDir: filepath.Join(dir, "lease"),
		Manual:   true,
		host: func(key mesh.Key, gate func(mesh.Key, string) bool) (mesh.Host, error) {
			return network.Host(key, gate), nil
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { r.Close() })
	s, _, err := r.CreateSpace(ctx, "notes")
	if err != nil {
		f.Fatal(err)
	}
	ticket, err := s.Invite(ctx, InviteOptions{})
	if err != nil {
		f.Fatal(err)
	}
	device, author := record.Key{7}, record.Key{8}
	id, mac := ticket.id(), ticket.mac("anabranch join 1", device[:], ticket.Inviter[:], author[:])
	ask := append([]byte{joinVersion}, id[:]...)
	ask = append(append(ask, author[:]...), mac[:]...)
	f.Add(append(ask, 0, 0))
	f.Add(append(ask, 4, 'b', 'o', 'a', 't', 1, 4, 127, 0, 0, 1, 0, 9))
	status, welcome, err := r.answerJoin(ctx, device, "127.0.0.1:9", append(ask, 0, 0))
	if err != nil || status != joinOK {
		f.Fatal(status, err)
	}
	f.Add(welcome)
	f.Fuzz(func(t *testing.T, b []byte) {
		if status, _, _ := r.answerJoin(ctx, record.Key{9}, "127.0.0.1:9", b); status == joinOK {
			t.Error("a device without the secret was let in")
		}
		r.readWelcome(ticket, author, b)
	})
}

func FuzzWireHello(f *testing.F) {
	f.Add([]byte{1, 0, 2, 0, 0})
	f.Add([]byte{1, 0xFF, 0xFF, 0xFF, 0xFF})
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := parseWireHello(b); err == nil && (n < minFrameBytes || n > maxFrameBytes) {
			t.Errorf("%x gives frames of %d bytes", b, n)
		}
	})
}
