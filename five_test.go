package anabranch

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Five real processes on loopback: each a child as in process_test.go that
// also tells, unasked, which of its writes are durable.

var (
	soakFor  = flag.Duration("soak", 3*time.Second, "how long TestFiveProcesses writes and kills")
	soakIdle = flag.Duration("idle", 0, "how long TestFiveProcesses then measures an idle mesh")
	soakSeed = flag.Uint64("soakseed", 1, "which processes TestFiveProcesses kills, and when")
	soakHeap = flag.String("heap", "", "a file for the heap profile of the process that TestFiveProcesses never kills, taken at the end")
	spreads  = flag.Int("spreads", 20, "how many writes TestAWriteSpreads times")
)

// pen writes documents one by one, and tells of each once it is durable.
func (c *child) pen(prefix string, gap time.Duration) {
	ctx, stop := context.WithCancel(c.ctx)
	c.stop = stop
	c.chatter.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if _, err := c.space.Put(c.ctx, fmt.Sprintf("%s/%05d", prefix, i), fmt.Append(nil, i)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			fmt.Printf("ack %s %d\n", prefix, i+1)
			time.Sleep(gap)
		}
	})
}

// watchFor notes when each of n documents is first readable here.
func (c *child) watchFor(prefix string, n int) {
	c.seen = make(chan []string, 1)
	go func() {
		var at []string
		for i := 0; i < n; {
			changed := c.space.rows.Changed()
			if _, err := c.space.Get(c.ctx, fmt.Sprintf("%s/%05d", prefix, i)); err == nil {
				at = append(at, strconv.FormatInt(time.Now().UnixNano(), 10))
				i++
				continue
			}
			<-changed
		}
		c.seen <- at
	}()
}

// usage is what the process uses: bytes of memory, goroutines, ms of CPU,
// bytes on the heap.
func usage() string {
	var mem, ticks int64
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, _ := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
		mem = pages * int64(os.Getpagesize())
	}
	if b, err := os.ReadFile("/proc/self/stat"); err == nil {
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		sys, _ := strconv.ParseInt(fields[12], 10, 64)
		ticks = user + sys
	}
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	return fmt.Sprint(mem, runtime.NumGoroutine(), ticks*10, heap.HeapAlloc) // a tick is 10 ms
}

// heap writes what is alive on the heap to a file, and says what is used once
// all that is not has been given back.
func heap(name string) (string, error) {
	debug.FreeOSMemory()
	var b bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&b, 0); err != nil {
		return "", err
	}
	return usage(), os.WriteFile(name, b.Bytes(), 0o600)
}

// fellow is one of the five, as the test drives it.
type fellow struct {
	*process
	home    string
	answers chan string // of commands
	lives   int

	mu    sync.Mutex // guards acked
	acked map[string]int
}

func startFellow(t *testing.T, home string) *fellow {
	f := &fellow{home: home, acked: map[string]int{}}
	f.run(t)
	return f
}

// run starts the process, again if it was killed.
func (f *fellow) run(t *testing.T) {
	f.process = start(t, f.home, "ANABRANCH_TEST_SYNC=30s")
	f.answers = make(chan string, 4)
	f.lives++
	go func(out *bufio.Reader, answers chan<- string) {
		defer close(answers)
		for {
			line, err := out.ReadString('\n')
			if err != nil {
				return // a line that was cut was not said
			}
			if rest, ok := strings.CutPrefix(line, "ack "); ok {
				words := strings.Fields(rest)
				n, _ := strconv.Atoi(words[1])
				f.mu.Lock()
				f.acked[words[0]] = n
				f.mu.Unlock()
				continue
			}
			answers <- strings.TrimSpace(line)
		}
	}(f.out, f.answers)
}

func (f *fellow) ask(format string, args ...any) string {
	f.t.Helper()
	fmt.Fprintf(f.in, format+"\n", args...)
	line, ok := <-f.answers
	rest, good := strings.CutPrefix(line, "ok")
	if !ok || !good {
		f.t.Fatalf("%s: to %q the child answers %q", filepath.Base(f.home), fmt.Sprintf(format, args...), line)
	}
	return strings.TrimSpace(rest)
}

// end kills the process; what it said until then counts.
func (f *fellow) end() {
	f.killed = true
	if err := f.cmd.Process.Kill(); err != nil {
		f.t.Fatal(err)
	}
	for range f.answers {
	}
	f.cmd.Wait()
}

func (f *fellow) write() {
	f.ask("pen /w/%s/%d 15", filepath.Base(f.home), f.lives)
}

// five starts five members of one space that have met.
func five(t *testing.T) []*fellow {
	dir, began := t.TempDir(), time.Now()
	var all []*fellow
	for i := range 5 {
		f := startFellow(t, filepath.Join(dir, fmt.Sprint("p", i)))
		if i == 0 {
			f.ask("create")
		} else {
			f.ask("join %s", all[0].ask("invite"))
		}
		all = append(all, f)
	}
	await(t, "gossip between all", func() bool {
		return !slices.ContainsFunc(all, func(f *fellow) bool { return f.ask("neighbors") != "4" })
	})
	t.Logf("five have met after %v", time.Since(began).Round(time.Millisecond))
	return all
}

func await(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

func equalRoots(all []*fellow) bool {
	root := all[0].ask("root")
	return !slices.ContainsFunc(all[1:], func(f *fellow) bool { return f.ask("root") != root })
}

func TestFiveProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	all := five(t)
	for _, f := range all[:3] {
		f.write()
	}
	rng := rand.New(rand.NewPCG(*soakSeed, 5))
	kills := 0
	every := *soakFor / 10
	for end, look := time.Now().Add(*soakFor), time.Now().Add(every); time.Now().Before(end); {
		time.Sleep(min(*soakFor/4, time.Second+time.Duration(rng.Int64N(int64(4*time.Second)))))
		f := all[1+rng.IntN(4)] // the first one lives on, to show what it needs in time
		f.end()
		kills++
		time.Sleep(time.Duration(rng.Int64N(int64(min(*soakFor/10, 2*time.Second)))))
		f.run(t)
		if slices.Index(all, f) < 3 {
			f.write()
		}
		if time.Now().After(look) {
			look = time.Now().Add(every)
			t.Logf("the one that lives: %s", spelled(all[0].ask("usage")))
		}
	}
	for _, f := range all[:3] {
		f.ask("quiet")
	}
	t.Logf("equal roots %v after the last write; %d kills", await(t, "equal roots", func() bool { return equalRoots(all) }).Round(time.Millisecond), kills)
	acked := 0
	for _, writer := range all[:3] {
		writer.mu.Lock()
		for prefix, n := range writer.acked {
			acked += n
			for _, f := range all {
				f.ask("has %s %d", prefix, n)
			}
		}
		writer.mu.Unlock()
	}
	for _, f := range all {
		if got := f.ask("verify"); got != "0" {
			t.Errorf("%s: verify finds %s", filepath.Base(f.home), got)
		}
	}
	t.Logf("%d acknowledged writes are on all five; root and records %s", acked, all[0].ask("root"))
	if *soakIdle > 0 {
		idle(t, all)
	}
	if *soakHeap != "" {
		t.Logf("collected, the one that lived: %s", spelled(all[0].ask("heap %s", *soakHeap)))
	}
}

func spelled(usage string) string {
	words := strings.Fields(usage)
	mem, _ := strconv.ParseInt(words[0], 10, 64)
	heap, _ := strconv.ParseInt(words[3], 10, 64)
	return fmt.Sprintf("%.1f MB, of them %.1f on the heap; %s goroutines, %s ms of CPU", float64(mem)/1e6, float64(heap)/1e6, words[1], words[2])
}

// idle measures what five replicas cost that have nothing to do. Bytes are
// those of the loopback interface, with all headers: they say something only
// where nothing else uses it.
func idle(t *testing.T, all []*fellow) {
	time.Sleep(10 * time.Second) // confirming sessions, and what is left of a busy time
	var before []string
	for _, f := range all {
		before = append(before, f.ask("usage"))
	}
	bytes, packets := loopback()
	time.Sleep(*soakIdle)
	moreBytes, morePackets := loopback()
	for i, f := range all {
		after := f.ask("usage")
		was, _ := strconv.Atoi(strings.Fields(before[i])[2])
		is, _ := strconv.Atoi(strings.Fields(after)[2])
		t.Logf("%s idle: %s, %.2f %% of a core", filepath.Base(f.home), spelled(after),
			100*float64(is-was)/float64(soakIdle.Milliseconds()))
	}
	// Each of five sends to four peers.
	t.Logf("idle: %.0f bytes and %.1f packets a second from each replica to each peer, if loopback is ours alone",
		float64(moreBytes-bytes)/soakIdle.Seconds()/20, float64(morePackets-packets)/soakIdle.Seconds()/20)
}

// loopback is what the loopback interface has sent.
func loopback() (bytes, packets int64) {
	f, err := os.Open("/proc/self/net/dev")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	b, _ := io.ReadAll(f)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			fields := strings.Fields(rest)
			bytes, _ = strconv.ParseInt(fields[8], 10, 64)
			packets, _ = strconv.ParseInt(fields[9], 10, 64)
		}
	}
	return bytes, packets
}

// A write on one of five processes is readable on all of them soon: from the
// call of Put to the moment when the slowest of the others reads it.
func TestAWriteSpreads(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	all := five(t)
	for _, f := range all {
		f.ask("watchfor /spread %d", *spreads)
	}
	var at []int64
	for i := range *spreads {
		words := strings.Fields(all[i%5].ask("timed /spread/%05d", i))
		called, _ := strconv.ParseInt(words[0], 10, 64)
		at = append(at, called)
		time.Sleep(50 * time.Millisecond)
	}
	var durable, first, last []time.Duration
	seen := make([][]int64, 5)
	for k, f := range all {
		for _, word := range strings.Fields(f.ask("seen")) {
			n, _ := strconv.ParseInt(word, 10, 64)
			seen[k] = append(seen[k], n)
		}
	}
	for i, called := range at {
		var others []time.Duration
		for k := range all {
			d := time.Duration(seen[k][i] - called)
			if k == i%5 {
				durable = append(durable, d)
			} else {
				others = append(others, d)
			}
		}
		first, last = append(first, slices.Min(others)), append(last, slices.Max(others))
	}
	for _, row := range []struct {
		name string
		of   []time.Duration
	}{{"readable where it was written", durable}, {"on the first of the others", first}, {"on all five", last}} {
		slices.Sort(row.of)
		t.Logf("%-30s median %6.1f ms, p99 %6.1f ms, most %6.1f ms", row.name,
			ms(row.of[len(row.of)/2]), ms(row.of[len(row.of)*99/100]), ms(row.of[len(row.of)-1]))
	}
	var spread [3]float64
	for _, f := range all {
		for k, word := range strings.Fields(f.ask("spread")) {
			n, _ := strconv.ParseFloat(word, 64)
			spread[k] += n
		}
	}
	t.Logf("%.0f rumors published, %.0f accepted by others, %.2f copies of each", spread[0], spread[1], spread[2]/spread[1])
	if spread[1] < float64(*spreads)*4/2 {
		t.Errorf("%.0f of %d deliveries were by rumor", spread[1], *spreads*4)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
