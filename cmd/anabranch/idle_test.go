//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anabranch"
)

var (
	idleFor     = flag.Duration("idle", 0, "for TestIdleUp: how long three idle replicas are watched, as 3m")
	idleRecords = flag.Int("idle-records", 100_000, "for TestIdleUp: records in the space")
)

// What an idle up may take: it shares a laptop with its owner.
const (
	idleRSS     = 60e6  // bytes resident
	idleCore    = 0.005 // of one core
	idlePerPeer = 1000  // bytes a second on a link, both ways
)

const idleEnv = "ANABRANCH_TEST_IDLE"

// TestIdleUp measures three real processes that hold the same records and
// have nothing to do, in a network namespace of their own so that no other
// traffic is counted: /proc says what they take.
func TestIdleUp(t *testing.T) {
	if *idleFor == 0 {
		t.Skip("watches three processes for minutes: run it with -idle 3m")
	}
	if program := os.Getenv(idleEnv); program != "" {
		measureIdle(t, program)
		return
	}
	alone := exec.Command(os.Args[0], "-test.run=^TestIdleUp$", "-test.v", "-test.timeout=30m", "-idle="+idleFor.String(), fmt.Sprintf("-idle-records=%d", *idleRecords))
	alone.Env = append(os.Environ(), idleEnv+"="+buildProgram(t))
	alone.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
	}
	out, err := alone.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

func measureIdle(t *testing.T, program string) {
	loopbackUp(t)
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	homes := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}
	fill(t, homes[0], *idleRecords)

	// Nothing tells b and c of each other here: no multicast on a loopback.
	at := []string{"127.0.0.1:4471", "127.0.0.1:4472", "127.0.0.1:4473"}
	var ups []*background
	ups = append(ups, startUp(t, program, homes[0], "--listen", at[0]))
	for i, home := range homes[1:] {
		ticket := strings.TrimSpace(runProgram(t, program, "--home", homes[0], "--quiet", "invite"))
		runProgram(t, program, "--home", home, "join", ticket)
		ups = append(ups, startUp(t, program, home, "--listen", at[i+1], "--peer", at[1], "--peer", at[2]))
	}
	wait := []string{"wait", "--converged", "--timeout", "2m"}
	for _, home := range homes {
		runProgram(t, program, append([]string{"--home", home}, wait...)...)
	}
	var root string
	for i, home := range homes {
		var s statusJSON
		if err := json.Unmarshal([]byte(runProgram(t, program, "--home", home, "--json", "status")), &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Peers) != 2 || i > 0 && s.Root != root || int(s.Records) < *idleRecords {
			t.Fatalf("%d peers, %d records, root %s", len(s.Peers), s.Records, s.Root)
		}
		root = s.Root
	}
	settle := 3 * time.Minute // what first loads left behind is given back by and by
	t.Logf("%d records, equal roots; %v to come to rest", *idleRecords, settle)
	time.Sleep(settle)

	begin := time.Now()
	sent := loopbackBytes(t)
	used := make([]time.Duration, len(ups))
	most := make([]int64, len(ups))
	for i, up := range ups {
		used[i] = processTime(t, up.cmd.Process.Pid)
	}
	for time.Since(begin) < *idleFor {
		for i, up := range ups {
			most[i] = max(most[i], resident(t, up.cmd.Process.Pid))
		}
		time.Sleep(time.Second)
	}
	window := time.Since(begin)
	links := len(ups) * (len(ups) - 1) / 2
	perPeer := float64(loopbackBytes(t)-sent) / window.Seconds() / float64(links)
	t.Logf("%d links: %.0f B/s on each, headers included", links, perPeer)
	if perPeer > idlePerPeer {
		t.Errorf("more than %d B/s", idlePerPeer)
	}
	for i, up := range ups {
		core := (processTime(t, up.cmd.Process.Pid) - used[i]).Seconds() / window.Seconds()
		t.Logf("replica %d: at most %.1f MB resident, %.2f %% of a core", i, float64(most[i])/1e6, 100*core)
		if core > idleCore || most[i] > idleRSS {
			t.Errorf("more than %.0f MB or %.1f %%", idleRSS/1e6, 100*idleCore)
		}
	}
}

// fill makes a home with a space of n small documents.
func fill(t *testing.T, home string, n int) {
	t.Helper()
	r, err := anabranch.Open(t.Context(), home, anabranch.Options{NoNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := r.CreateSpace(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		var writes []anabranch.Write
		for ; i < n && len(writes) < 1000; i++ {
			writes = append(writes, anabranch.Write{Path: fmt.Sprintf("/notes/%03d/%05d", i/1000, i), Payload: fmt.Appendf(nil, "%0100d", i)})
		}
		if _, err := s.Batch(t.Context(), writes...); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func loopbackUp(t *testing.T) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

// loopbackBytes is what has been sent over the loopback of this namespace.
func loopbackBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "lo:" {
			n, err := strconv.ParseInt(f[9], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no loopback")
	return 0
}

// processTime is what a process has used of all cores.
func processTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	// After the name, which may hold spaces: fields 3 on; 14 and 15 are
	// ticks of 10 ms in user and kernel.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks int64
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is the memory of a process that is in RAM, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * int64(os.Getpagesize())
}
