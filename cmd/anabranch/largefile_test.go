package main

import (
	"bytes"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	largeFile  = flag.Int64("large-file", 0, "bytes of TestALargeFile; 0 skips it")
	killedFile = flag.Int64("killed-file", 0, "bytes of TestATransferKilledTwentyTimes; 0 skips it")
)

// randomFile makes a file of random bytes.
func randomFile(t *testing.T, name string, size int64) {
	t.Helper()
	f, err := os.Create(name)
	if err == nil {
		_, err = io.CopyN(f, rand.Reader, size)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// memory is the most that a process has had resident, in MB, and what it has
// now.
func (b *background) memory(t *testing.T) (most, now int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		t.Skip("reads the memory of a process in /proc, as on Linux:", err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 1 && f[0] == "VmHWM:" {
			most, _ = strconv.Atoi(f[1])
		}
		if len(f) > 1 && f[0] == "VmRSS:" {
			now, _ = strconv.Atoi(f[1])
		}
	}
	return most * 1024 / 1_000_000, now * 1024 / 1_000_000
}

// twoHomes are two homes of one space: a is up and has a document at /large, b has
// joined and is not up.
func twoHomes(t *testing.T, size int64) (a, b *device, file string) {
	t.Helper()
	program := buildProgram(t)
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	a = &device{t: t, program: program, home: filepath.Join(dir, "a")}
	b = &device{t: t, program: program, home: filepath.Join(dir, "b")}
	file = filepath.Join(dir, "file")
	randomFile(t, file, size)
	a.run("space", "create", "notes")
	a.start()
	var ticket inviteJSON
	a.json(&ticket, "invite", "--role", "admin")
	b.run("join", ticket.Ticket, "--name", "notes")
	began := time.Now()
	a.run("put", "/large", "--file", file)
	took := time.Since(began)
	t.Logf("put %d MB: %.0f MB/s", size/1e6, float64(size)/1e6/took.Seconds())
	return a, b, file
}

// TestALargeFile: the far end is read while the rest still loads, and neither
// process needs more than 150 MB.
func TestALargeFile(t *testing.T) {
	if *largeFile == 0 {
		t.Skip("-large-file 4294967296 runs it; three times as much room is needed")
	}
	a, b, file := twoHomes(t, *largeFile)
	began := time.Now()
	b.start(a)
	b.run("sync")
	// The far end, through the library's own way: get by stream would read all.
	name := blobOf(t, b)
	tail := filepath.Join(filepath.Dir(file), "tail")
	b.run("blob", "get", name, "--from-byte", strconv.FormatInt(*largeFile-1_000_000, 10), "--output", tail)
	first := time.Since(began)
	st := b.status().Blobs
	if st.Missing != 1 {
		t.Error("it was all here before its far end could be read")
	}
	t.Logf("the last megabyte could be read after %.1f s, with %d MB still missing", first.Seconds(), st.MissingBytes/1e6)
	want, err := exec.Command("tail", "-c", "1000000", file).Output()
	got, err2 := os.ReadFile(tail)
	if err != nil || err2 != nil || !bytes.Equal(got, want) {
		t.Fatalf("the far end reads otherwise: %v, %v", err, err2)
	}
	b.run("wait", "--blobs", "--timeout", "10m")
	took := time.Since(began)
	t.Logf("all of it after %.1f s: %.0f MB/s", took.Seconds(), float64(*largeFile)/1e6/took.Seconds())
	out := filepath.Join(filepath.Dir(file), "out")
	b.run("get", "/large", "--output", out)
	if err := exec.Command("cmp", file, out).Run(); err != nil {
		t.Errorf("it reads otherwise: %v", err)
	}
	for _, d := range []*device{a, b} {
		most, now := d.up.memory(t)
		t.Logf("%s: %d MB resident at most, %d now", filepath.Base(d.home), most, now)
		if most > 150 {
			t.Errorf("%s needed %d MB", filepath.Base(d.home), most)
		}
	}
}

func blobOf(t *testing.T, d *device) string {
	t.Helper()
	var b blobJSON
	d.json(&b, "blob", "ls")
	return b.Name
}

// TestATransferKilledTwentyTimes: kill -9 of the receiver at random moments;
// no more than a hundredth is sent twice.
func TestATransferKilledTwentyTimes(t *testing.T) {
	size := *killedFile
	if size == 0 {
		t.Skip("-killed-file 1073741824 runs it")
	}
	a, b, file := twoHomes(t, size)
	rng := mathrand.New(mathrand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills := 0
	for ; kills < 20; kills++ {
		before := a.status().Blobs.Sent
		b.start(a)
		enough := rng.Int64N(size / 20)
		for end := time.Now().Add(time.Minute); a.status().Blobs.Sent-before < enough; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nothing is sent")
			}
		}
		b.up.kill(t)
	}
	cut := a.status().Blobs.Sent
	b.start(a)
	b.run("wait", "--blobs", "--timeout", "5m")
	sent := a.status().Blobs.Sent
	out := filepath.Join(filepath.Dir(file), "out")
	b.run("get", "/large", "--output", out)
	if err := exec.Command("cmp", file, out).Run(); err != nil {
		t.Errorf("it reads otherwise: %v", err)
	}
	b.run("verify")
	twice := sent - size
	t.Logf("%d kills, the last at %d MB; %d bytes were sent twice, %.2f %%", kills, cut/1e6, twice, 100*float64(twice)/float64(size))
	if twice > size/100 {
		t.Errorf("%d bytes were sent twice", twice)
	}
}
