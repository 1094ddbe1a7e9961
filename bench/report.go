package main

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// elsewhere are published figures at one million items, in milliseconds, by
// work. They were taken on another machine of two cores, with the same items
// and the same way of counting.
var elsewhere = []struct {
	name  string
	times [6]float64
}{
	{"C++ vector", [6]float64{29.6, 74.5, 32.0, 230, 3814, 34.2}},
	{"C++ B-tree", [6]float64{0.13, 21.3, 0.38, 401, 1249, 4.25}},
	{"C++ B-tree in LMDB", [6]float64{1.92, 295, 5.38, 6112, 18640, 48.7}},
	{"Rust", [6]float64{21.1, 55.7, 22.8, 195, 3016, 24.1}},
	{"JS", [6]float64{3788, 6028, 0, 14226, 0, 5005}},
}

func report(n int, columns []column, o ops, note string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# Reconciliation, measured\n\n")
	p("Written by `go run . -out ../docs` in `bench`; do not edit.\n\n")
	p("%s items of 32 bytes, %s/%s, %s, %s. CPU of both sides\ntogether in milliseconds, garbage collection included; medians. Every result was\nequal to the definition, and all that split like the reference sent as many bytes.\n\n",
		number(float64(n)), runtime.GOOS, runtime.GOARCH, runtime.Version(), time.Now().Format("January 2006"))
	if note != "" {
		p("%s\n\n", note)
	}
	p("![CPU by implementation](reconcile-bench.svg)\n\n")
	p("| work |")
	for _, c := range columns {
		p(" %s |", c.name)
	}
	p("\n|---|%s\n", strings.Repeat("---:|", len(columns)))
	for i, w := range works {
		p("| %s |", w.name)
		for _, c := range columns {
			p(" %s |", number(ms(c.times[i])))
		}
		p("\n")
	}
	p("| build in random order |")
	for _, c := range columns {
		p(" %s |", number(ms(c.build)))
	}
	p("\n| memory, bytes per item |")
	for _, c := range columns {
		p(" %.1f |", c.memory)
	}
	p("\n\n*sealed* is a Vector, *live* a Tree, which is also what a store keeps; both split\nlike the reference where nothing else is said. go-nostr keeps strings of the\ncaller, 80 bytes per item more. A dash: not run.\n\n")
	p("In a Tree of as many items one insert takes %s µs, one delete %s µs, and one\ninsert at the end, from empty on, %s µs.\n\n",
		number(us(o.insert)), number(us(o.remove)), number(us(o.ordered)))
	ratios(&b, n, columns)
	p("On the wire, bytes in both directions and rounds:\n\n| work |")
	var wires []int
	for k, c := range columns {
		if strings.HasPrefix(c.name, "sealed") {
			wires = append(wires, k)
			name := "reference"
			if _, split, ok := strings.Cut(c.name, ", "); ok {
				name = split
			}
			p(" %s |", name)
		}
	}
	p("\n|---|%s\n", strings.Repeat("---:|", len(wires)))
	for i, w := range works {
		p("| %s |", w.name)
		for _, k := range wires {
			p(" %s · %d |", count(columns[k].wire[i]), columns[k].rounds[i])
		}
		p("\n")
	}
	if n == 1_000_000 {
		p("\nMeasured elsewhere, on a machine of two cores, with the same items:\n\n| work |")
		for _, e := range elsewhere {
			p(" %s |", e.name)
		}
		p("\n|---|%s\n", strings.Repeat("---:|", len(elsewhere)))
		for i, w := range works {
			p("| %s |", w.name)
			for _, e := range elsewhere {
				p(" %s |", number(e.times[i]))
			}
			p("\n")
		}
	}
	return b.String()
}

// aims are what this package set out to take at one million items, in
// milliseconds, on the machine on which yardstick took what stands beside it.
var aims = []struct {
	work                    string
	sealed, live, yardstick float64
}{
	{"nothing differs", 0.05, 0.1, 78.8},
	{"100 scattered", 2.5, 5, 186},
	{"100 newest", 0.1, 0.2, 89.6},
	{"10 000 scattered", 50, 90, 425},
	{"10 000 scattered, 64 KiB frames", 90, 200, 9709},
}

// ratios says how many times as long another implementation took in this run:
// unlike milliseconds, that does not depend on the machine.
func ratios(b *strings.Builder, n int, columns []column) {
	at := map[string]*column{}
	for i := range columns {
		at[columns[i].name] = &columns[i]
	}
	sealed, live, yardstick := at["sealed"], at["live"], at[nostrlib.name]
	if n != 1_000_000 || live == nil || yardstick == nil {
		return
	}
	fmt.Fprintf(b, "How many times as long %s took in this run, and would take if both took what\nwas aimed at and measured for it on another machine:\n\n", nostrlib.name)
	fmt.Fprintf(b, "| work | as sealed | aim | as live | aim |\n|---|---:|---:|---:|---:|\n")
	for i, w := range works {
		for _, a := range aims {
			if t := ms(yardstick.times[i]); a.work == w.name && t > 0 {
				fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", w.name, number(t/ms(sealed.times[i])), number(a.yardstick/a.sealed), number(t/ms(live.times[i])), number(a.yardstick/a.live))
			}
		}
	}
	fmt.Fprintf(b, "\n")
}

// count writes a whole number.
func count(n int) string {
	if n < 10_000 {
		return fmt.Sprint(n)
	}
	return number(float64(n))
}

func us(t time.Duration) float64 { return float64(t) / float64(time.Microsecond) }

// chart draws a bar per work and implementation, on a logarithmic scale.
func chart(n int, columns []column) string {
	type series struct {
		name, colour string
		times        []float64
	}
	var all []series
	colours := map[string]string{"sealed": "#0b6e4f", "live": "#3aa17e", "fiatjaf.com/nostr": "#b5651d", "nbd-wtf/go-nostr": "#d9a066"}
	for _, c := range columns {
		if colours[c.name] == "" {
			continue
		}
		s := series{c.name, colours[c.name], nil}
		for _, t := range c.times {
			s.times = append(s.times, ms(t))
		}
		all = append(all, s)
	}
	if n == 1_000_000 {
		for i, e := range elsewhere[:4] {
			all = append(all, series{e.name + " *", []string{"#4a5a78", "#6d7f9f", "#93a3bf", "#b9c4d6"}[i], e.times[:]})
		}
	}
	const left, width, bar, gap, top = 210, 560, 11, 16, 60
	const least, most = 0.005, 100_000.0
	x := func(v float64) float64 {
		return left + width*(math.Log10(max(v, least))-math.Log10(least))/(math.Log10(most)-math.Log10(least))
	}
	group := bar*len(all) + gap
	height := top + group*len(works) + 20*((len(all)+3)/4) + 30
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`, left+width+70, height)
	p(`<rect width="100%%" height="100%%" fill="white"/>`)
	p(`<text x="12" y="22" font-size="15">Reconciling %s items: CPU of both sides, milliseconds, logarithmic</text>`, number(float64(n)))
	for v := 0.01; v <= most; v *= 10 {
		p(`<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle" fill="#666">%s</text>`,
			x(v), x(v), top-10, top+group*len(works)-gap, x(v), top-14, strconv.FormatFloat(v, 'g', 6, 64))
	}
	for i, w := range works {
		y := top + i*group
		p(`<text x="%d" y="%d" text-anchor="end">%s</text>`, left-8, y+group/2, w.name)
		for k, s := range all {
			if v := s.times[i]; v > 0 {
				p(`<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d" font-size="9" fill="#444">%s</text>`,
					left, y+k*bar, x(v)-left, bar-1, s.colour, x(v)+3, y+k*bar+bar-2, number(v))
			}
		}
	}
	for k, s := range all {
		lx, ly := 12+k%4*200, top+group*len(works)+10+20*(k/4)
		p(`<rect x="%d" y="%d" width="11" height="11" fill="%s"/><text x="%d" y="%d">%s</text>`, lx, ly, s.colour, lx+16, ly+10, s.name)
	}
	p(`<text x="12" y="%d" fill="#666">* measured elsewhere, on a machine of two cores</text>`, height-8)
	p(`</svg>`)
	return b.String()
}
