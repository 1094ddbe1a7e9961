// Command planner runs sessions over a million records at every size of
// difference, the same differences with Negentropy V1, and writes the table
// of docs/planner.md and its chart. From the folder of the module above:
//
//	go run ./planner -out ../docs
//
// It takes some ten minutes; -sessions says how many of each.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"anabranch/reconcile"
)

// riblt is what github.com/yangl1996/riblt at commit 297bf35 takes for
// 32-byte symbols, 41 bytes a cell, and differences of 1, 10 … 100 000:
// medians of 1000, 1000, 1000, 200, 20 and 2, measured beside this module,
// which cannot depend on it (docs/planner.md says how).
var riblt = []float64{41, 656, 5945, 56416, 558789, 5564684}

type row struct {
	shape                 string
	d, bytes, p99         int
	fetched, agree, spent string
}

var (
	named = regexp.MustCompile(`=== RUN\s+TestCostFollowsTheDifference/(\w+)/(\d+)`)
	told  = regexp.MustCompile(`bytes (\d+) \(p99 (\d+)\), to have all (\S+), to agree (\S+) round trips, finding ([^,]+),`)
)

func main() {
	records := flag.Int("records", 1_000_000, "records in common")
	sessions := flag.Int("sessions", 20, "sessions for each difference")
	from := flag.String("from", "", "read what the test has printed from these files, comma-separated, and do not run it")
	out := flag.String("out", "", "folder of planner.md and the chart; none: print the table")
	flag.Parse()
	if err := run(*records, *sessions, *from, *out); err != nil {
		fmt.Fprintln(os.Stderr, "planner: error:", err)
		os.Exit(1)
	}
}

func run(records, sessions int, from, out string) error {
	var text []byte
	if from == "" {
		cmd := exec.Command("go", "test", "./internal/session", "-run", "CostFollows", "-v", "-timeout", "0",
			"-records", fmt.Sprint(records), "-sessions", fmt.Sprint(sessions), "-largest", "100000")
		cmd.Dir = ".."
		cmd.Stderr = os.Stderr
		var err error
		if text, err = cmd.Output(); err != nil {
			return err
		}
	} else {
		for _, name := range strings.Split(from, ",") {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			text = append(append(text, b...), '\n')
		}
	}
	rows := parse(text)
	var v1 []int
	for d := 1; d <= 100_000; d *= 10 {
		n, err := negentropy(records, d)
		if err != nil {
			return err
		}
		v1 = append(v1, n)
	}
	table := tableOf(rows, v1)
	if out == "" {
		fmt.Print(table)
		return nil
	}
	name := filepath.Join(out, "planner.md")
	doc, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	begin, end := []byte("<!-- table -->\n"), []byte("<!-- end of table -->\n")
	i := bytes.Index(doc, begin)
	if i < 0 {
		return fmt.Errorf("%s has no place for the table", name)
	}
	rest := doc[i+len(begin):]
	if j := bytes.Index(rest, end); j >= 0 {
		rest = rest[j+len(end):]
	}
	doc = append(append(append(append([]byte{}, doc[:i+len(begin)]...), table...), end...), rest...)
	if err := os.WriteFile(name, doc, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "planner.svg"), []byte(chart(rows, v1)), 0o644)
}

func parse(text []byte) (rows []row) {
	var now row
	for line := range strings.Lines(string(text)) {
		if m := named.FindStringSubmatch(line); m != nil {
			now = row{shape: m[1]}
			fmt.Sscan(m[2], &now.d)
		}
		if m := told.FindStringSubmatch(line); m != nil {
			r := now
			fmt.Sscan(m[1], &r.bytes)
			fmt.Sscan(m[2], &r.p99)
			r.fetched, r.agree, r.spent = m[3], m[4], m[5]
			rows = append(rows, r)
		}
	}
	return rows
}

// negentropy counts the messages of one conversation in V1.
func negentropy(n, d int) (int, error) {
	r := rand.New(rand.NewPCG(uint64(d), 1))
	var a, b []reconcile.Item
	for i := range n + d {
		x := reconcile.Item{Time: uint64(i+1) * 1000}
		if i >= n {
			x.Time = 1 + r.Uint64N(uint64(n)*1000)
		}
		x.ID = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		if i < n || i%2 == 0 {
			a = append(a, x)
		}
		if i < n || i%2 == 1 {
			b = append(b, x)
		}
	}
	va, err := reconcile.NewVector(a)
	if err != nil {
		return 0, err
	}
	vb, err := reconcile.NewVector(b)
	if err != nil {
		return 0, err
	}
	in, err := reconcile.NewInitiator(va, reconcile.Options{})
	if err != nil {
		return 0, err
	}
	msg, err := in.Start()
	total, found := 0, 0
	for err == nil && msg != nil {
		total += len(msg)
		var answer []byte
		if answer, err = reconcile.Respond(vb, msg, reconcile.Options{}); err != nil {
			break
		}
		total += len(answer)
		var have, need []reconcile.ID
		msg, have, need, err = in.Step(answer)
		found += len(have) + len(need)
	}
	if err == nil && found != d {
		err = fmt.Errorf("found %d of %d", found, d)
	}
	return total, err
}

func tableOf(rows []row, v1 []int) string {
	var b strings.Builder
	b.WriteString("\n| differences | they lie | bytes, median | 99 % | round trips to have all | … to agree | finding, both machines | Negentropy V1 | riblt |\n|---:|---|---:|---:|---|---|---:|---:|---:|\n")
	for _, r := range rows {
		other := "| |"
		if k := int(math.Round(math.Log10(float64(max(r.d, 1))))); r.shape == "scattered" && r.d > 0 && k < len(v1) {
			other = fmt.Sprintf("| %s | %s |", spaced(v1[k]), spaced(int(riblt[k])))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s %s\n", spaced(r.d), r.shape, spaced(r.bytes), spaced(r.p99), r.fetched, r.agree, r.spent, other)
	}
	b.WriteString("\n")
	return b.String()
}

func spaced(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// chart draws bytes against the difference, both in powers of ten, with the
// round trips of our sessions below.
func chart(rows []row, v1 []int) string {
	const w, h, left, top = 720, 420, 70, 30
	x := func(d float64) float64 { return left + math.Log10(d)/5*(w-left-150) }
	y := func(n float64) float64 { return top + (8-math.Log10(n))/7*(h-top-90) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", w, h)
	for k := 1; k <= 8; k++ {
		n := math.Pow10(k)
		fmt.Fprintf(&b, `<path d="M%d %.0fH%d" stroke="#ddd"/><text x="%d" y="%.0f" text-anchor="end">%s</text>`+"\n", left, y(n), w-150, left-6, y(n)+4,
			[]string{"", "10 B", "100 B", "1 kB", "10 kB", "100 kB", "1 MB", "10 MB", "100 MB"}[k])
	}
	var trips []string
	line := func(name, colour string, ds []float64, ns []float64) {
		var path strings.Builder
		for i := range ds {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], x(ds[i]), y(ns[i]))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path.String(), colour)
		if n := len(ds); n > 0 {
			fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" fill="%s">%s</text>`+"\n", x(ds[n-1])+6, y(ns[n-1])+4, colour, name)
		}
	}
	powers := []float64{1, 10, 100, 1000, 10_000, 100_000}
	var others []float64
	for _, n := range v1 {
		others = append(others, float64(n))
	}
	line("Negentropy V1", "#b33", powers[:len(others)], others)
	line("riblt", "#b80", powers, riblt)
	for _, s := range []struct{ shape, colour string }{{"scattered", "#06a"}, {"newest", "#293"}, {"subset", "#74a"}} {
		var ds, ns []float64
		for _, r := range rows {
			if r.shape == s.shape && r.d > 0 {
				ds, ns = append(ds, float64(r.d)), append(ns, float64(r.bytes))
				if s.shape == "scattered" {
					trips = append(trips, fmt.Sprintf(`<text x="%.0f" y="%d" text-anchor="middle">%s</text>`, x(float64(r.d)), h-28, r.fetched))
				}
			}
		}
		line("ours, "+s.shape, s.colour, ds, ns)
	}
	for _, d := range powers {
		fmt.Fprintf(&b, `<text x="%.0f" y="%d" text-anchor="middle">%s</text>`+"\n", x(d), h-52, spaced(int(d)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">records that differ, of a million; below: our round trips to have all, scattered, median / 99 %%</text>`+"\n", left, h-8)
	b.WriteString(strings.Join(trips, "\n"))
	b.WriteString("\n</svg>\n")
	return b.String()
}
