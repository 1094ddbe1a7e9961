package main

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// quietZone is how many light modules a code has around it: the standard
// asks for four, and readers find it with two.
const quietZone = 2

// drawQR spells a text as a QR code, two modules to a character cell. With
// colour it is black on white whatever the terminal's own colours are;
// without, light modules are drawn and dark ones left out, which is right on
// a dark terminal.
//
// Upper-case letters, digits and a few marks take fewer modules than other
// text, so a ticket is given in upper case.
func drawQR(text string, colour bool) (string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return "", fmt.Errorf("QR code: %w", err)
	}
	// Which of the upper and the lower module is drawn.
	cells := map[[2]bool]string{{false, false}: " ", {true, false}: "▀", {false, true}: "▄", {true, true}: "█"}
	inside := func(x, y int) bool { return x >= 0 && y >= 0 && x < code.Size && y < code.Size }
	drawn := func(x, y int) bool { return (inside(x, y) && code.Black(x, y)) == colour }
	var b strings.Builder
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		if colour {
			b.WriteString("\x1b[30;107m")
		}
		for x := -quietZone; x < code.Size+quietZone; x++ {
			b.WriteString(cells[[2]bool{drawn(x, y), drawn(x, y+1)}])
		}
		if colour {
			b.WriteString("\x1b[0m")
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
