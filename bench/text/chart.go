//go:build unix

package main

import (
	"fmt"
	"math"
	"strings"
)

var colours = []string{"#0b6e4f", "#c8553d", "#3d5a80", "#e0a458", "#8d6a9f"}

// chart draws the CPU time of joining each transaction as it comes from
// others, on a logarithmic scale from 1 ms to 100 s.
func chart(names []string, all map[string][]figures) string {
	const left, top, bar, wide = 150, 50, 16, 560
	groups := len(all[names[0]])
	height := top + len(names)*(groups*bar+24) + 40
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 %d" font-family="sans-serif" font-size="12">`+"\n", height)
	fmt.Fprintf(&b, `<rect width="800" height="%d" fill="#fff"/><text x="10" y="22" font-size="15">Joining recorded editing, a transaction at a time: CPU ms, less is better</text>`+"\n", height)
	x := func(ms float64) float64 { return left + wide*math.Log10(math.Max(ms, 1))/5 }
	for e := range 6 {
		at := x(math.Pow10(e))
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="#ddd"/><text x="%.0f" y="%d" text-anchor="middle" fill="#666">%d</text>`+"\n", at, top-8, at, height-30, at, height-14, int(math.Pow10(e)))
	}
	y := top
	for _, n := range names {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" font-weight="bold">%s</text>`+"\n", left-10, y+11, n)
		for i, f := range all[n] {
			at, label := x(1), f.Engine+": no figure"
			if f.Remote != nil {
				at, label = x(*f.Remote), f.Engine+" "+shown(f.Remote)
			}
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, left, y, math.Max(at-left, 2), bar-3, colours[i%len(colours)])
			fmt.Fprintf(&b, `<text x="%.0f" y="%d">%s</text>`+"\n", at+5, y+11, label)
			y += bar
		}
		y += 24
	}
	b.WriteString("</svg>\n")
	return b.String()
}
