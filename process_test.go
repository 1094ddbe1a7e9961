package anabranch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anabranch/attest"
	"anabranch/record"
	"anabranch/space"
)

// Real processes: the test binary runs again as a replica that takes one
// command a line and answers with one line.

const (
	childEnv = "ANABRANCH_TEST_CHILD"
	lieEnv   = "ANABRANCH_TEST_LIE"    // one of lies
	byHand   = "ANABRANCH_TEST_MANUAL" // not empty: sessions only when told to
)

// runChild serves commands when this process was started as a child.
func runChild() bool {
	home := os.Getenv(childEnv)
	if home == "" {
		return false
	}
	c := &child{ctx: context.Background()}
	var err error
	c.replica, err = Open(c.ctx, home, Options{
		Listen:       []string{"127.0.0.1:0"},
		LeaseDir:     filepath.Join(filepath.Dir(home), "lease"),
		answers:      lies[os.Getenv(lieEnv)].answers,
		SyncInterval: childInterval(),
		Manual:       os.Getenv(byHand) != "",
		Clock:        c.clock(),
	})
	if err != nil {
		fmt.Println("error", err)
		return true
	}
	if s, err := c.replica.Space(""); err == nil {
		c.space = s
	}
	fmt.Println("ok", c.replica.Device(), c.replica.Addrs()[0])
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		answer, err := c.do(strings.Fields(in.Text()))
		if err != nil {
			fmt.Printf("error %q\n", err.Error())
			continue
		}
		fmt.Println("ok", answer)
	}
	c.quiet()
	if err := c.replica.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

// childInterval is a second, unless the test wants another.
func childInterval() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("ANABRANCH_TEST_SYNC")); err == nil {
		return d
	}
	return time.Second
}

type child struct {
	ctx     context.Context
	replica *Replica
	space   *Space

	chatter sync.WaitGroup
	stop    context.CancelFunc
	said    int
	day     atomic.Int64  // since the process began, by its clock
	seen    chan []string // when what is watched for was readable
}

func (c *child) do(words []string) (string, error) {
	switch words[0] {
	case "create":
		var err error
		c.space, _, err = c.replica.CreateSpace(c.ctx, "notes")
		return "", err
	case "invite":
		t, err := c.space.Invite(c.ctx, InviteOptions{})
		return t.String(), err
	case "join":
		t, err := ParseTicket(words[1])
		if err != nil {
			return "", err
		}
		c.space, err = c.replica.Join(c.ctx, t, "notes")
		return "", err
	case "write": // write PREFIX N: documents that only this replica writes
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		for i := 0; i < n; i += 100 {
			var writes []Write
			for k := i; k < min(n, i+100); k++ {
				writes = append(writes, Write{Path: fmt.Sprintf("%s/%05d", words[1], k), Payload: fmt.Appendf(nil, "%s number %d", words[1], k)})
			}
			if _, err := c.space.Batch(c.ctx, writes...); err != nil {
				return "", err
			}
		}
		return "", nil
	case "stream": // stream PREFIX: documents one by one, each told when it is durable
		for i := 0; ; i++ {
			if _, err := c.space.Put(c.ctx, fmt.Sprintf("%s/%05d", words[1], i), fmt.Append(nil, i)); err != nil {
				return "", err
			}
			fmt.Println("ok", i)
		}
	case "has": // has PREFIX N: documents 0 to N-1 are there
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		for i := range n {
			if _, err := c.space.Get(c.ctx, fmt.Sprintf("%s/%05d", words[1], i)); err != nil {
				return "", err
			}
		}
		return "", nil
	case "put":
		_, err := c.space.Put(c.ctx, words[1], []byte(words[2]))
		return "", err
	case "days", "change", "says":
		return c.age(words)
	case "online":
		c.replica.SetOnline(true)
		return "", nil
	case "offline":
		c.replica.SetOnline(false)
		return "", nil
	case "chatter":
		ctx, stop := context.WithCancel(c.ctx)
		c.stop = stop
		c.chatter.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.space.Append(c.ctx, "/chatter/"+words[1], fmt.Append(nil, c.said)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				c.said++
				time.Sleep(2 * time.Millisecond)
			}
		})
		return "", nil
	case "pen": // pen PREFIX GAPms: documents one by one, each told when it is durable
		gap, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		c.pen(words[1], time.Duration(gap)*time.Millisecond)
		return "", nil
	case "neighbors":
		return strconv.Itoa(c.replica.Spread().Neighbors), nil
	case "spread":
		st := c.replica.Spread()
		return fmt.Sprint(st.Published, st.Accepted, st.Copies), nil
	case "usage":
		return usage(), nil
	case "heap": // heap FILE
		return heap(words[1])
	case "timed": // timed PATH: writes there, and tells when it was called
		called := time.Now().UnixNano()
		_, err := c.space.Put(c.ctx, words[1], []byte("x"))
		return strconv.FormatInt(called, 10), err
	case "watchfor": // watchfor PREFIX N, and later: seen
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return "", err
		}
		c.watchFor(words[1], n)
		return "", nil
	case "seen":
		return strings.Join(<-c.seen, " "), nil
	case "quiet":
		c.quiet()
		return strconv.Itoa(c.said), nil
	case "root":
		root, count, err := c.space.Root(c.ctx)
		return fmt.Sprint(root, " ", count), err
	case "conflicts":
		n := 0
		for _, err := range c.space.Conflicts(c.ctx, "") {
			if err != nil {
				return "", err
			}
			n++
		}
		return strconv.Itoa(n), nil
	case "sync":
		device, err := record.ParseKey(words[1])
		if err != nil {
			return "", err
		}
		report, err := c.space.Sync(c.ctx, device)
		if err != nil {
			return "", err
		}
		b, err := json.Marshal(report)
		return string(b), err
	case "caught": // caught DEVICE: asks it, and says what it is caught at
		device, err := record.ParseKey(words[1])
		if err != nil {
			return "", err
		}
		if _, err := c.space.Ask(c.ctx, device, space.Query{Prefix: "/notes"}); !errors.Is(err, ErrCaught) {
			return "", fmt.Errorf("not caught: %v", err)
		}
		proof, err := c.space.ProveAgainst(device)
		if err != nil {
			return "", err
		}
		found, err := attest.Check(proof, c.space.ID())
		if err != nil || found.Device != device {
			return "", fmt.Errorf("no evidence: %v", err)
		}
		return found.Reason.String(), nil
	case "verify":
		report, err := c.space.Verify(c.ctx, nil)
		if err != nil {
			return "", err
		}
		return strconv.Itoa(len(report.Findings)), nil
	}
	return "", fmt.Errorf("no such command %q", words[0])
}

func (c *child) quiet() {
	if c.stop != nil {
		c.stop()
		c.chatter.Wait()
		c.stop = nil
	}
}

// process is a child as the test drives it.
type process struct {
	t      *testing.T
	killed bool
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	device string
}

func start(t *testing.T, home string, env ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], "-test.run=^$")}
	p.cmd.Env = append(append(os.Environ(), childEnv+"="+home), env...)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.in.Close()
		if p.killed {
			return
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	p.device = strings.Fields(p.answer())[0]
	return p
}

// kill ends a process at once and returns what it had still said.
func (p *process) kill() []string {
	p.t.Helper()
	p.killed = true
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	rest, err := io.ReadAll(p.out)
	if err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Wait()
	lines := strings.Split(string(rest), "\n")
	return lines[:len(lines)-1] // a line that was cut was not said
}

func (p *process) answer() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "ok")
	if !ok {
		p.t.Fatalf("child answers %s", line)
	}
	return strings.TrimSpace(rest)
}

func (p *process) do(format string, args ...any) string {
	p.t.Helper()
	fmt.Fprintf(p.in, format+"\n", args...)
	return p.answer()
}

// report runs one session by hand.
func (p *process) report(device string) Report {
	p.t.Helper()
	var r Report
	if err := json.Unmarshal([]byte(p.do("sync %s", device)), &r); err != nil {
		p.t.Fatal(err)
	}
	return r
}

func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, filepath.Join(dir, "a")), start(t, filepath.Join(dir, "b"))
	a.do("create")
	b.do("join %s", a.do("invite"))

	// 10 000 records each, half of them common.
	a.do("write /common 5000")
	b.report(a.device)
	a.do("offline")
	b.do("offline")
	a.do("write /a 5000")
	b.do("write /b 5000")
	for i := range 7 { // true conflicts
		a.do("put /both/%d of-a", i)
		b.do("put /both/%d of-b", i)
	}
	b.do("put /common/00001 rewritten-by-b") // replaces what it has seen: no conflict

	// Writes go on while the two meet, and the link breaks in the middle.
	a.do("chatter a")
	b.do("chatter b")
	a.do("online")
	b.do("online")
	time.Sleep(300 * time.Millisecond)
	a.do("offline")
	time.Sleep(50 * time.Millisecond)
	a.do("online")
	time.Sleep(time.Second)
	said := a.do("quiet") + " " + b.do("quiet")
	var saidA, saidB int
	if _, err := fmt.Sscan(said, &saidA, &saidB); err != nil {
		t.Fatal(err)
	}

	var rootA, rootB string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		rootA, rootB = a.do("root"), b.do("root")
		if rootA == rootB {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("roots differ: %s and %s", rootA, rootB)
		}
	}
	// Two grants and two labels; what each wrote; the conflicting pairs; the rewritten
	// document twice, since the old version is a's and only a may sweep it.
	want := 4 + 15_000 + 14 + 1 + saidA + saidB
	if got := strings.Fields(rootA)[1]; got != strconv.Itoa(want) {
		t.Errorf("%s records, want %d: something is lost or doubled", got, want)
	}
	if got := a.do("conflicts") + " " + b.do("conflicts"); got != "7 7" {
		t.Errorf("conflicts %s, want 7 7", got)
	}
	if got := a.do("verify") + " " + b.do("verify"); got != "0 0" {
		t.Errorf("verify finds %s", got)
	}
	again := b.report(a.device)
	if again.Rounds != 1 || again.BytesIn+again.BytesOut > 200 {
		t.Errorf("equal again: %d rounds, %d bytes", again.Rounds, again.BytesIn+again.BytesOut)
	}
	t.Logf("%d records, %d written meanwhile; equal again: %d round trip, %d bytes of frames", want, saidA+saidB, again.Rounds, again.BytesIn+again.BytesOut)
}

var kills = flag.Int("kills", 3, "how often TestKilledProcessesLoseNothing kills a process")

// A kill is no power cut (internal/store simulates those): it shows that
// what a process acknowledged is there when it starts again, that its store
// opens clean, and that sessions go on where they were cut.
func TestKilledProcessesLoseNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := t.TempDir()
	homes := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	p := []*process{start(t, homes[0]), start(t, homes[1])}
	p[0].do("create")
	p[1].do("join %s", p[0].do("invite"))
	p[1].report(p[0].device)
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for round := range *kills {
		victim := round % 2
		other := p[1-victim]
		other.do("write /bulk%d 2000", round) // a large sync is going on
		prefix := fmt.Sprintf("/kill%d", round)
		fmt.Fprintf(p[victim].in, "stream %s\n", prefix)
		acked := 0
		for range 1 + rng.IntN(200) {
			p[victim].answer()
			acked++
		}
		for _, line := range p[victim].kill() {
			if strings.HasPrefix(line, "ok ") {
				acked++
			}
		}
		p[victim] = start(t, homes[victim])
		p[victim].do("has %s %d", prefix, acked)
		if got := p[victim].do("verify"); got != "0" {
			t.Fatalf("round %d: verify finds %s after %d acknowledged writes", round, got, acked)
		}
		p[victim].report(other.device)
		other.do("has %s %d", prefix, acked)
		p[victim].do("has /bulk%d 2000", round)
	}
	for end := time.Now().Add(20 * time.Second); p[0].do("root") != p[1].do("root"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("roots differ")
		}
	}
}

// A session that a kill cuts, on either side, is taken up where it was: what
// had been committed is there, and the next session sends exactly the rest.
func TestAKilledSyncSendsOnlyWhatIsLeft(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	t.Setenv(byHand, "1")
	dir := t.TempDir()
	homes := []string{filepath.Join(dir, "from"), filepath.Join(dir, "to")}
	p := []*process{start(t, homes[0]), start(t, homes[1])}
	p[0].do("create")
	p[1].do("join %s", p[0].do("invite"))
	p[1].report(p[0].device)
	each, rounds := 2000, 1
	if *kills > 3 {
		each, rounds = 20000, *kills
	}
	p[0].do("write /first %d", each)
	began := time.Now()
	p[1].report(p[0].device)
	whole := time.Since(began) // so long a session takes that nobody kills
	rng := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	cut := 0
	for round := range rounds {
		p[0].do("write /bulk%d %d", round, each)
		all := held(t, p[0])
		victim := 1
		if *kills > 3 && round%2 == 0 {
			victim = 0 // the other side waits for it as long as for any peer that falls silent
		}
		fmt.Fprintf(p[1].in, "sync %s\n", p[0].device)
		time.Sleep(whole/5 + time.Duration(rng.Int64N(int64(whole))))
		p[victim].kill()
		if victim == 0 {
			p[1].out.ReadString('\n') // done, or cut: either is an answer
		}
		p[victim] = start(t, homes[victim])
		if got := p[victim].do("verify"); got != "0" {
			t.Fatalf("round %d: verify finds %s", round, got)
		}
		had := held(t, p[1])
		report := p[victim].report(p[1-victim].device) // whoever was killed has a new address
		came := max(report.RecordsIn, report.RecordsOut)
		if held(t, p[1]) != all || came != all-had || min(report.RecordsIn, report.RecordsOut) > 0 {
			t.Fatalf("round %d: %d of %d were there after the kill, and then %d came", round, had, all, came)
		}
		if had < all && had > all-each {
			cut++
		}
		t.Logf("round %d: %d of %d were there after the kill, %d came then, in %d bytes", round, had, all, came, report.BytesIn+report.BytesOut)
	}
	t.Logf("%d of %d kills cut a session in the middle", cut, rounds)
}

// held is how many records are under a process's root.
func held(t *testing.T, p *process) int {
	t.Helper()
	words := strings.Fields(p.do("root"))
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
