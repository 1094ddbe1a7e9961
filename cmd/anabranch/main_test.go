package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	// The scripts wait for disks and timeouts more than they work.
	flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	testscript.Main(m, map[string]func(){"anabranch": func() { os.Exit(startValidated()) }})
}

// TestScripts runs the program in real processes. Beside what testscript
// knows, a script can say:
//
//	exits N PROGRAM ARGS...   run it, and want this exit code
//	up NAME ARGS...           start "anabranch ARGS... --json" and wait until it
//	                          listens: sets NAME_ADDR and NAME_DEVICE
//	saw NAME PATTERN          wait until a line of its output matches
//	down NAME                 interrupt it, and want exit code 0
//	freeport VAR              set VAR to a loopback address that is free
//	field VAR KEY             set VAR to a field of the last line of JSON on stdout
//	flip PATTERN              invert a byte in the middle of every such file
//	mask FROM TO              copy a file with IDs, times and the like masked
func TestScripts(t *testing.T) { testscript.Run(t, scripts()) }

func scripts() testscript.Params {
	return testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			for _, v := range []string{"HOME", "XDG_RUNTIME_DIR"} {
				dir := env.WorkDir + "/." + strings.ToLower(v)
				if err := os.Mkdir(dir, 0o700); err != nil {
					return err
				}
				env.Setenv(v, dir)
			}
			env.Setenv("ANABRANCH_LISTEN", "127.0.0.1:0")
			env.Setenv("ANABRANCH_DEVICE_NAME", "attic")
			env.Values["running"] = map[string]*running{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    cmdExits,
			"up":       cmdUp,
			"saw":      cmdSaw,
			"down":     cmdDown,
			"freeport": cmdFreeport,
			"field":    cmdField,
			"flip":     cmdFlip,
			"misname":  cmdMisname,
			"mask":     cmdMask,
		},
	}
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// running is an "up" in the background.
type running struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{} // closed when stdout is at its end

	mu    sync.Mutex // guards lines
	lines []string   // of stdout
}

func cmdUp(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	up := &running{
		cmd:   exec.Command("anabranch", append(args[1:], "--json")...),
		ended: make(chan struct{}),
	}
	up.cmd.Dir = ts.MkAbs(".")
	for _, v := range []string{"PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "ANABRANCH_LISTEN", "ANABRANCH_HOME", "ANABRANCH_DEVICE_NAME", "ANABRANCH_PASSPHRASE_FILE"} {
		up.cmd.Env = append(up.cmd.Env, v+"="+ts.Getenv(v))
	}
	var err error
	if up.cmd.Path, err = lookIn(ts.Getenv("PATH"), "anabranch"); err != nil {
		ts.Fatalf("%v", err)
	}
	up.cmd.Err = nil
	up.cmd.Stderr = &up.stderr
	out, err := up.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(up.cmd.Start())
	ts.Defer(func() { up.cmd.Process.Kill() })
	go func() {
		defer close(up.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			up.mu.Lock()
			up.lines = append(up.lines, lines.Text())
			up.mu.Unlock()
		}
	}()
	ts.Value("running").(map[string]*running)[name] = up
	var e event
	ts.Check(json.Unmarshal([]byte(up.await(ts, `"event":"listening"`)), &e))
	ts.Setenv(name+"_ADDR", e.Addrs[0])
	ts.Setenv(name+"_DEVICE", e.Device)
}

func lookIn(path, program string) (string, error) {
	for _, dir := range strings.Split(path, string(os.PathListSeparator)) {
		if info, err := os.Stat(dir + "/" + program); err == nil && !info.IsDir() {
			return dir + "/" + program, nil
		}
	}
	return "", fmt.Errorf("no %s in %s", program, path)
}

// await waits for a line of output that matches, and forgets the lines up to
// it.
func (up *running) await(ts *testscript.TestScript, pattern string) string {
	re := regexp.MustCompile(pattern)
	over := false
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		up.mu.Lock()
		for i, line := range up.lines {
			if re.MatchString(line) {
				up.lines = up.lines[i+1:]
				up.mu.Unlock()
				return line
			}
		}
		seen := strings.Join(up.lines, "\n")
		up.mu.Unlock()
		if over || time.Now().After(deadline) {
			ts.Fatalf("no line matches %q in\n%s", pattern, seen)
		}
		select {
		case <-up.ended:
			over = true // one more look
		default:
		}
	}
}

func cmdSaw(ts *testscript.TestScript, _ bool, args []string) {
	fmt.Fprintln(ts.Stdout(), ts.Value("running").(map[string]*running)[args[0]].await(ts, args[1]))
}

func cmdDown(ts *testscript.TestScript, _ bool, args []string) {
	up := ts.Value("running").(map[string]*running)[args[0]]
	ts.Check(up.cmd.Process.Signal(os.Interrupt))
	<-up.ended
	if err := up.cmd.Wait(); err != nil {
		ts.Fatalf("%v: %s", err, up.stderr.String())
	}
}

func cmdFreeport(ts *testscript.TestScript, _ bool, args []string) {
	for {
		udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
		ts.Check(err)
		tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
		udp.Close()
		if err == nil {
			tcp.Close()
			ts.Setenv(args[0], udp.LocalAddr().String())
			return
		}
	}
}

func cmdField(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	var fields map[string]any
	ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &fields))
	value, ok := fields[args[1]]
	if !ok {
		ts.Fatalf("no field %q in %v", args[1], fields)
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no file is %s", args[0])
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		ts.Check(err)
		b[len(b)/3] ^= 0xff
		ts.Check(os.WriteFile(file, b, 0o600))
	}
}

// cmdMisname gives one record in the store of a home that is not used another
// name in the order of IDs, from which the root is made: what a disk or a fault
// of ours could do. Every record is there, and the root is that of another set.
func cmdMisname(ts *testscript.TestScript, _ bool, args []string) {
	db, err := pebble.Open(filepath.Join(ts.MkAbs(args[0]), "store"), &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6, Logger: quiet{}})
	ts.Check(err)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte("i"), UpperBound: []byte("j")})
	ts.Check(err)
	if !it.Last() {
		ts.Fatalf("there is no record")
	}
	key, value := bytes.Clone(it.Key()), bytes.Clone(it.Value())
	ts.Check(it.Close())
	ts.Check(db.Delete(key, pebble.Sync))
	key[len(key)-1]++
	ts.Check(db.Set(key, value, pebble.Sync))
	ts.Check(db.Close())
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// masks are what differs from run to run.
var masks = []struct{ pattern, with string }{
	{`anabranch-(ticket|root)-[a-z2-7]+`, `anabranch-$1-…`},
	{`[0-9a-f]{64}`, `<id>`},
	{`\d+ (ms|s|min) ago`, `<ago>`},
	{`lane \d+`, `lane <n>`},
	{`(stands between: ).*`, `$1…`},
	{`[0-9a-f]{16}\.sock`, `<sock>`},
	{`"[^"]*/script-[^/]+/`, `"<work>/`},
	{`\b([0-9a-f]{12}|[0-9a-f]{8})\b`, `<short>`},
	{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?`, `<time>`},
	{`127\.0\.0\.1:\d+`, `<addr>`},
	{`(cannot reach <short>): [^"]*`, `$1: …`},
	{`"lane":"\d+"`, `"lane":"<n>"`},
	{`"(duration_ms|version|overhead_bytes|payload_bytes|wire_bytes)":\d+`, `"$1":<n>`},
	{`"(version|go|platform|commit)":"[^"]+"`, `"$1":"…"`},
}

func cmdMask(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	for _, m := range masks {
		text = regexp.MustCompile(m.pattern).ReplaceAllString(text, m.with)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}
