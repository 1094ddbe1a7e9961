//go:build linux

package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var ownMounts = flag.Bool("mounts", false, "run the tests that fill a disk and make one read-only, in a mount namespace")

const listenEnv = "ANABRANCH_TEST_LISTEN"

// TestASocketOfAnotherUserIsRefused: somebody else listens where an up of
// ours would; no command is told to them.
func TestASocketOfAnotherUserIsRefused(t *testing.T) {
	if name := os.Getenv(listenEnv); name != "" {
		l, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(name, 0o777)
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}
	if os.Getuid() != 0 {
		t.Skip("only root can be another user too")
	}
	dir := home(t)
	runtime := filepath.Dir(socketName(dir))
	for d := runtime; d != "/"; d = filepath.Dir(d) { // the other one has to get there
		if err := os.Chmod(d, 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if d == os.TempDir() {
			break
		}
	}
	program := filepath.Join(runtime, "listener")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(program, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(program, "-test.run=^TestASocketOfAnotherUserIsRefused$")
	other.Env = append(os.Environ(), listenEnv+"="+socketName(dir))
	other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Process.Kill(); other.Wait() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(socketName(dir)); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the other user does not listen")
		}
	}
	code, out, words := inProcess(t.Context(), &app{}, "--home", dir, "put", "/a", "secret")
	if code != exitFailed || out != "" || !strings.Contains(words, "belongs to another user (uid 65534)") {
		t.Errorf("exit %d: %s%s", code, out, words)
	}
}

// TestAnOrderWithAnUnknownKeyIsRefused: an up never does half of what a newer
// program asks it for.
func TestAnOrderWithAnUnknownKeyIsRefused(t *testing.T) {
	for line, want := range map[string]string{
		`{"schema":"` + orderSchema + `","args":["status"],"surprise":1}`: `unknown field "surprise"`,
		`{"schema":"another/99","args":["status"]}`:                       "another/99",
		`{"schema":`: "unexpected",
	} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			if o, err := readOrder(theirs); err != nil {
				refuse(theirs, err)
			} else {
				t.Errorf("%s is understood as %+v", line, o)
			}
		}()
		fmt.Fprintf(ours, "%s\n", line)
		var words bytes.Buffer
		a := &app{stdout: new(bytes.Buffer), stderr: &words}
		code, err := a.receive(ours, &packets{w: ours})
		ours.Close()
		if err != nil || code != exitIncompatible || !strings.Contains(words.String(), want) {
			t.Errorf("%s: exit %d, %v: %s", line, code, err, words.String())
		}
	}
}

// inOwnMounts runs a shell script with the program in $1 in a mount namespace
// of its own.
func inOwnMounts(t *testing.T, script string) (code int, output string) {
	t.Helper()
	dir := t.TempDir()
	c := exec.Command("sh", "-c", script, "sh", buildProgram(t))
	c.Dir = dir
	c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir(), "TMPDIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil || c.ProcessState.ExitCode() == 77 {
		t.Skipf("no mounts of its own here: %v: %s", err, out)
	}
	return c.ProcessState.ExitCode(), string(out)
}

// TestAFullDiskIsNamedAndLosesNothing fills a real file system with records.
func TestAFullDiskIsNamedAndLosesNothing(t *testing.T) {
	if !*ownMounts {
		t.Skip("builds the program and mounts file systems: run it with -mounts")
	}
	code, out := inOwnMounts(t, `
		mkdir home && mount -t tmpfs -o size=110m none home || exit 77
		"$1" --home home space create notes || exit
		head -c 60000 /dev/urandom > value
		mkdir many
		for i in $(seq 300); do head -c 60000 /dev/urandom > many/$i; done
		n=0
		while "$1" --home home put /n/$n < value > id; do n=$((n+1)); done
		"$1" --home home import many; echo "exit $?"
		echo "acknowledged $n, listed $("$1" --home home list /n | wc -l)"
		"$1" --home home get /n/0 | cmp - value && "$1" --home home verify
		mount -o remount,size=190m home
		"$1" --home home put /more < value`)
	var acked, listed int
	for line := range strings.Lines(out) {
		fmt.Sscanf(line, "acknowledged %d, listed %d", &acked, &listed)
	}
	if code != exitOK || acked == 0 || acked != listed || !strings.Contains(out, "exit 18\n") || !strings.Contains(out, "free some space") || !strings.Contains(out, "notes: nothing wrong") {
		t.Errorf("exit %d, %d acknowledged, %d listed:\n%s", code, acked, listed, out)
	}
	t.Logf("%d values of 60 000 bytes until it was full, all there", acked)
}

// TestAReadOnlyHomeIsNamed: what can be read is another matter than what
// cannot be written.
func TestAReadOnlyHomeIsNamed(t *testing.T) {
	if !*ownMounts {
		t.Skip("builds the program and mounts file systems: run it with -mounts")
	}
	code, out := inOwnMounts(t, `
		"$1" --home home space create notes && "$1" --home home put /a kept || exit
		mount --bind home home && mount -o remount,ro,bind home || exit 77
		"$1" --home home put /a lost; echo "exit $?"
		umount home
		"$1" --home home get /a && "$1" --home home verify`)
	if code != exitOK || !strings.Contains(out, "exit 18\n") || !strings.Contains(out, "make the disk writable") || !strings.Contains(out, "kept") || !strings.Contains(out, "notes: nothing wrong") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}
