package gossip_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anabranch/gossip"
)

var plotDir = flag.String("plot", "", "write the pictures of docs/gossip.md to this folder")

// TestPlot draws the pictures of docs/gossip.md.
func TestPlot(t *testing.T) {
	if *plotDir == "" {
		t.Skip("draws pictures only when -plot names a folder")
	}
	write := func(name, svg string) {
		if err := os.WriteFile(filepath.Join(*plotDir, name), []byte(svg), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	rounds := chart{title: "Rounds until everyone has a rumor (mean)", x: "replicas", y: "rounds", logX: true}
	law := line{name: "0.85 log2 n + 0.6", dashed: true}
	for _, mode := range []gossip.Mode{gossip.Push, gossip.Pull, gossip.PushPull} {
		l := line{name: mode.String()}
		for _, n := range []int{10, 30, 100, 300, 1000, 3000, 10_000} {
			worlds := 10
			if n > 1000 {
				worlds = 2
			}
			sum := 0
			for seed := range worlds {
				r, _ := roundsOf(t, mode, n, uint64(seed))
				sum += r
			}
			l.at(float64(n), float64(sum)/float64(worlds))
			if mode == gossip.PushPull {
				law.at(float64(n), 0.85*math.Log2(float64(n))+0.6)
			}
		}
		rounds.lines = append(rounds.lines, l)
	}
	rounds.lines = append(rounds.lines, law)
	write("gossip-rounds.svg", rounds.svg())

	delays := chart{title: "Replicas reached over the tree, links of 10 to 50 ms", x: "ms after publishing", y: "% reached"}
	copies := chart{title: "Payload copies per delivery, first updates of a new overlay", x: "updates so far", y: "copies"}
	for _, n := range []int{10, 100, 1000} {
		w := settled(t, n, 1, gossip.Options{})
		c := line{name: fmt.Sprintf("%d replicas", n)}
		for k := range 20 {
			one := spread(w, 0, 1, 2, 256)
			c.at(float64(k+1), one.copies)
		}
		copies.lines = append(copies.lines, c)
		s := spread(w, 0, 50, 2, 256)
		l := line{name: c.name}
		l.at(0, 0)
		for p := 1; p <= 200; p++ {
			i := p * (len(s.delays) - 1) / 200
			l.at(float64(s.delays[i].Milliseconds()), float64(p)/2)
		}
		delays.lines = append(delays.lines, l)
	}
	write("gossip-delays.svg", delays.svg())
	write("gossip-copies.svg", copies.svg())
}

// chart is a picture of lines.
type chart struct {
	title, x, y string
	logX        bool
	lines       []line
}

type line struct {
	name   string
	dashed bool
	points [][2]float64
}

func (l *line) at(x, y float64) { l.points = append(l.points, [2]float64{x, y}) }

const (
	chartW, chartH         = 720.0, 400.0
	left, right, top, foot = 60.0, 150.0, 40.0, 50.0
)

func (c chart) svg() string {
	minX, maxX, maxY := math.Inf(1), math.Inf(-1), 0.0
	scale := func(x float64) float64 {
		if c.logX {
			return math.Log10(x)
		}
		return x
	}
	for _, l := range c.lines {
		for _, p := range l.points {
			minX, maxX, maxY = min(minX, scale(p[0])), max(maxX, scale(p[0])), max(maxY, p[1])
		}
	}
	stepY := niceStep(maxY / 6)
	maxY = math.Ceil(maxY/stepY) * stepY
	px := func(x float64) float64 { return left + (x-minX)/(maxX-minX)*(chartW-left-right) }
	py := func(y float64) float64 { return chartH - foot - y/maxY*(chartH-top-foot) }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", chartW, chartH)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", chartW, chartH)
	fmt.Fprintf(&b, `<text x="%g" y="22" font-size="15">%s</text>`+"\n", left, c.title)
	for y := 0.0; y <= maxY+stepY/2; y += stepY {
		fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%g</text>`+"\n", left, py(y), chartW-right, left-6, py(y)+4, math.Round(y*100)/100)
	}
	for _, x := range c.ticks(minX, maxX) {
		label := x
		if c.logX {
			label = math.Pow(10, x)
		}
		fmt.Fprintf(&b, `<path d="M%.1f %gV%g" stroke="#ddd"/><text x="%.1f" y="%g" text-anchor="middle">%.0f</text>`+"\n", px(x), top, chartH-foot, px(x), chartH-foot+18, label)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">%s</text>`+"\n", (left+chartW-right)/2, chartH-10, c.x)
	fmt.Fprintf(&b, `<text transform="translate(16 %g) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+chartH-foot)/2, c.y)
	colours := []string{"#1b6ca8", "#c8553d", "#3a7d44", "#777777"}
	for i, l := range c.lines {
		dash := ""
		if l.dashed {
			dash = ` stroke-dasharray="5 4"`
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke-width="2" stroke="%s"%s points="`, colours[i], dash)
		for _, p := range l.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(scale(p[0])), py(p[1]))
		}
		y := top + 20*float64(i+1)
		fmt.Fprintf(&b, `"/><path d="M%g %gh20" stroke-width="2" stroke="%s"%s/><text x="%g" y="%g">%s</text>`+"\n", chartW-right+10, y-4, colours[i], dash, chartW-right+35, y, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c chart) ticks(from, to float64) (at []float64) {
	step := 1.0
	if !c.logX {
		step = niceStep((to - from) / 8)
	}
	for x := math.Ceil(from/step) * step; x <= to; x += step {
		at = append(at, x)
	}
	return at
}

// niceStep is the least of 1, 2, 5 times a power of ten that is not below x.
func niceStep(x float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(x)))
	for _, k := range []float64{1, 2, 5} {
		if k*p >= x {
			return k * p
		}
	}
	return 10 * p
}
