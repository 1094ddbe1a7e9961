package anabranch

import (
	"crypto/ed25519"
	"crypto/rand"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anabranch/internal/mesh"
)

var throughputBytes = flag.Int64("blob-throughput", 0, "bytes of TestThroughputOfContent; 0 skips it")

// TestThroughputOfContent measures, in one run: putting a file, a bare stream
// of the mesh over loopback, and the same bytes as content between two
// replicas, hashed, checked and durable.
func TestThroughputOfContent(t *testing.T) {
	size := *throughputBytes
	if size == 0 {
		t.Skip("-blob-throughput 1073741824 runs it, alone on the machine")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	f, err := os.Create(file)
	if err == nil {
		_, err = io.CopyN(f, rand.Reader, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	rate := func(what string, began time.Time) float64 {
		r := float64(size) / time.Since(began).Seconds() / 1e6
		t.Logf("%-40s %7.0f MB/s", what, r)
		return r
	}
	open := func(name string) *Replica {
		r, err := Open(t.Context(), filepath.Join(dir, name), Options{LeaseDir: filepath.Join(dir, "lease"), Listen: []string{"127.0.0.1:0"}, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	ra, rb := open("a"), open("b")
	a, _, err := ra.CreateSpace(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := a.Invite(t.Context(), InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := rb.Join(t.Context(), ticket, "notes")
	if err != nil {
		t.Fatal(err)
	}
	f, err = os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	v, err := a.PutFile(t.Context(), "/x", f, PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rate("put: read, hashed, written, fsync", began)
	ref, _ := BlobOf(v)

	best := 0.0
	for range 2 {
		began = time.Now()
		bareStream(t, size)
		best = max(best, rate("a bare stream", began))
	}
	began = time.Now()
	if _, err := b.Sync(t.Context(), ra.Device()); err != nil {
		t.Fatal(err)
	}
	for {
		if has, err := b.rows.HasBlob(ref.Name); err != nil {
			t.Fatal(err)
		} else if has {
			break
		}
		time.Sleep(time.Millisecond)
	}
	got := rate("content: sent, checked, written, fsync", began)
	t.Logf("%.0f %% of the bare stream", 100*got/best)
}

// bareStream moves bytes over one stream between two hosts on loopback.
func bareStream(t *testing.T, size int64) {
	t.Helper()
	const protocol = "/anabranch/bare/1"
	hosts := make([]mesh.Host, 2)
	for i := range hosts {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		hosts[i], err = mesh.New(mesh.Options{Key: key, Listen: []string{"127.0.0.1:0"}, Transports: []string{mesh.QUIC}, Gate: func(mesh.Key, string) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		defer hosts[i].Close()
	}
	done := make(chan error, 1)
	hosts[0].Handle(protocol, func(s mesh.Stream) {
		defer s.Close()
		left := size
		for left > 0 {
			b, err := s.ReadFrame()
			if err != nil {
				done <- err
				return
			}
			left -= int64(len(b))
		}
		done <- nil
	})
	if _, _, err := net.SplitHostPort(hosts[0].Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	s, err := hosts[1].Open(t.Context(), hosts[0].Self(), hosts[0].Addrs(), protocol)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, 128<<10)
	for left := size; left > 0; left -= int64(len(frame)) {
		if err := s.WriteFrame(frame[:min(left, int64(len(frame)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
