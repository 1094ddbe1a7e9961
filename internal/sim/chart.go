package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Picture names what Plot draws of simulations.
type Picture string

// The pictures.
const (
	RoundsPicture  Picture = "rounds"  // of mongering, against the number of replicas
	CopiesPicture  Picture = "copies"  // per delivery, against the number of replicas
	DelaysPicture  Picture = "delays"  // share of deliveries made, against time
	HealingPicture Picture = "healing" // replicas that hold everything, against time
)

// Plot draws simulations as SVG: those of one mode, or of one size, are a
// line. An empty picture is the one that says most about them.
func Plot(what Picture, rs []Result) (string, error) {
	if len(rs) == 0 {
		return "", fmt.Errorf("plot: nothing was simulated")
	}
	sizes := map[int]bool{}
	for _, r := range rs {
		sizes[r.Replicas] = true
	}
	if what == "" {
		switch {
		case rs[0].Rounds > 0 && len(sizes) > 1:
			what = RoundsPicture
		case len(sizes) > 1:
			what = CopiesPicture
		case rs[0].Healing > 0 || rs[0].Recovered > 0 || rs[0].Rounds > 0:
			what = HealingPicture
		default:
			what = DelaysPicture
		}
	}
	switch what {
	case RoundsPicture:
		return plotRounds(rs).svg(), nil
	case CopiesPicture:
		return plotCopies(rs).svg(), nil
	case DelaysPicture:
		return plotDelays(rs).svg(), nil
	case HealingPicture:
		return plotHealing(rs).svg(), nil
	}
	return "", fmt.Errorf("plot: the picture %q is none of rounds, copies, delays, healing", what)
}

func plotRounds(rs []Result) chart {
	c := chart{title: "Rounds until everyone has a rumor (mean)", x: "replicas", y: "rounds", logX: true}
	law := line{name: "0.85 log2 n + 0.6", dashed: true}
	for _, mode := range distinct(rs, func(r Result) string { return r.Mode }) {
		l := line{name: mode}
		for _, n := range distinct(rs, func(r Result) int { return r.Replicas }) {
			sum, k := 0.0, 0.0
			for _, r := range rs {
				if r.Mode == mode && r.Replicas == n {
					sum, k = sum+r.MeanRounds, k+1
				}
			}
			if k > 0 {
				l.at(float64(n), sum/k)
			}
		}
		c.lines = append(c.lines, l)
	}
	for _, n := range distinct(rs, func(r Result) int { return r.Replicas }) {
		law.at(float64(n), 0.85*math.Log2(float64(n))+0.6)
	}
	c.lines = append(c.lines, law)
	return c
}

func plotCopies(rs []Result) chart {
	c := chart{title: "Payload copies per delivery", x: "replicas", y: "copies", logX: true}
	for _, mode := range distinct(rs, func(r Result) string { return r.Mode }) {
		l := line{name: mode}
		for _, r := range rs {
			if r.Mode == mode {
				l.at(float64(r.Replicas), r.Copies)
			}
		}
		c.lines = append(c.lines, l)
	}
	least := line{name: "least possible", dashed: true}
	for _, p := range c.lines[0].points {
		least.at(p[0], 1)
	}
	c.lines = append(c.lines, least)
	return c
}

func plotDelays(rs []Result) chart {
	c := chart{title: fmt.Sprintf("Deliveries made, in mode %s", rs[0].Mode), x: "ms after writing", y: "% made"}
	for _, n := range distinct(rs, func(r Result) int { return r.Replicas }) {
		l := line{name: fmt.Sprintf("%d replicas", n)}
		sum, total := 0, 0
		var all [mostDelay + 1]int
		for _, r := range rs {
			for ms, k := range r.Delays {
				if r.Replicas == n {
					all[ms] += k
					total += k
				}
			}
		}
		l.at(0, 0)
		for ms, k := range all {
			if sum += k; k > 0 && total > 0 {
				l.at(float64(ms+1), 100*float64(sum)/float64(total))
			}
		}
		c.lines = append(c.lines, l.thin(200))
	}
	return c
}

func plotHealing(rs []Result) chart {
	c := chart{title: "Replicas that hold everything", x: "virtual seconds", y: "% of replicas"}
	for _, r := range rs {
		l := line{name: fmt.Sprintf("%d, seed %d", r.Replicas, r.Seed)}
		for _, p := range r.Curve {
			l.at(float64(p[0])/1000, 100*float64(p[1])/float64(r.Replicas))
		}
		c.lines = append(c.lines, l.thin(600))
	}
	return c
}

// distinct are the values that occur, in order of their first.
func distinct[T comparable](rs []Result, of func(Result) T) (out []T) {
	for _, r := range rs {
		if v := of(r); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
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

// thin keeps about n points, the first and the last among them.
func (l line) thin(n int) line {
	if len(l.points) <= n {
		return l
	}
	out := line{name: l.name, dashed: l.dashed}
	for i := range n {
		out.points = append(out.points, l.points[i*(len(l.points)-1)/(n-1)])
	}
	return out
}

const (
	chartW, chartH         = 720.0, 400.0
	left, right, top, foot = 60.0, 150.0, 40.0, 50.0
)

var colours = []string{"#1b6ca8", "#c8553d", "#3a7d44", "#8a5aa8", "#b08800", "#555555"}

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
	if !(maxX > minX) {
		minX, maxX = maxX-1, maxX+1
	}
	if maxY == 0 {
		maxY = 1
	}
	stepY := niceStep(maxY / 6)
	maxY = math.Ceil(maxY/stepY-1e-9) * stepY
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
		fmt.Fprintf(&b, `<path d="M%.1f %gV%g" stroke="#ddd"/><text x="%.1f" y="%g" text-anchor="middle">%g</text>`+"\n", px(x), top, chartH-foot, px(x), chartH-foot+18, math.Round(label*100)/100)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">%s</text>`+"\n", (left+chartW-right)/2, chartH-10, c.x)
	fmt.Fprintf(&b, `<text transform="translate(16 %g) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+chartH-foot)/2, c.y)
	for i, l := range c.lines {
		dash, colour := "", colours[i%len(colours)]
		if l.dashed {
			dash, colour = ` stroke-dasharray="5 4"`, "#777777"
		}
		fmt.Fprintf(&b, `<polyline fill="none" stroke-width="2" stroke="%s"%s points="`, colour, dash)
		for _, p := range l.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(scale(p[0])), py(p[1]))
		}
		y := top + 20*float64(i+1)
		fmt.Fprintf(&b, `"/><path d="M%g %gh20" stroke-width="2" stroke="%s"%s/><text x="%g" y="%g">%s</text>`+"\n", chartW-right+10, y-4, colour, dash, chartW-right+35, y, l.name)
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
