package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Tests that take minutes run the program as its users have it: compiled
// alone, a process each command.

// buildProgram compiles the program as its users have it, without what tests
// bring along.
func buildProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "anabranch")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}

// background is the program left running.
type background struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	over bool
}

// startUp starts "up" on a home and waits until it takes commands.
func startUp(t *testing.T, program, home string, args ...string) *background {
	t.Helper()
	b := &background{cmd: exec.Command(program, append([]string{"--home", home, "up"}, args...)...)}
	b.cmd.Env = os.Environ()
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.down(t) })
	socket := socketName(home)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return b
		}
		if time.Now().After(end) {
			t.Fatalf("up of %s takes no commands", home)
		}
	}
}

// down ends it as a user would, and wants a good end.
func (b *background) down(t *testing.T) {
	t.Helper()
	if b.over {
		return
	}
	b.over = true
	b.cmd.Process.Signal(os.Interrupt)
	if err := b.cmd.Wait(); err != nil {
		t.Errorf("%q: %v: %s", b.cmd.Args, err, b.out.String())
	}
}

// kill ends it at once.
func (b *background) kill(t *testing.T) {
	t.Helper()
	b.over = true
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	b.cmd.Wait()
}

// runProgram runs one command to its good end and returns its output.
func runProgram(t *testing.T, program string, args ...string) string {
	t.Helper()
	return runCode(t, exitOK, program, args...)
}

// runCode runs one command, wants an exit code and returns its output.
func runCode(t *testing.T, want int, program string, args ...string) string {
	t.Helper()
	var out, words bytes.Buffer
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = &out, &words
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || c.ProcessState.ExitCode() != want {
		t.Fatalf("%q: %v, want exit code %d: %s%s", args, err, want, out.String(), words.String())
	}
	return out.String()
}
