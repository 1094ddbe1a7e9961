package main

import (
	"strings"
	"testing"

	"rsc.io/qr"

	"anabranch"
)

// TestADrawnCodeIsTheCode reads the drawing back, module by module.
func TestADrawnCodeIsTheCode(t *testing.T) {
	ticket := "ANABRANCH-TICKET-" + strings.Repeat("AB2345", 24)
	code, err := qr.Encode(ticket, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for _, colour := range []bool{true, false} {
		drawing, err := drawQR(ticket, colour)
		if err != nil {
			t.Fatal(err)
		}
		halves := map[rune][2]bool{' ': {}, '▀': {true, false}, '▄': {false, true}, '█': {true, true}}
		var rows [][]bool
		for line := range strings.Lines(drawing) {
			line = strings.TrimSuffix(line, "\n")
			line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[30;107m"), "\x1b[0m")
			var upper, lower []bool
			for _, c := range line {
				upper, lower = append(upper, halves[c][0] == colour), append(lower, halves[c][1] == colour)
			}
			rows = append(rows, upper, lower)
		}
		if want := (code.Size + 2*quietZone + 1) / 2 * 2; len(rows) != want {
			t.Fatalf("%d rows of modules, want %d", len(rows), want)
		}
		if wide := len(rows[0]); wide > 60 {
			t.Errorf("%d columns: too wide for a terminal", wide)
		}
		for y, row := range rows {
			for x, black := range row {
				if want := code.Black(x-quietZone, y-quietZone); black != want {
					t.Fatalf("colour %v: module %d,%d is %v", colour, x, y, black)
				}
			}
		}
	}
}

func TestATicketFromACodeIsTheTicket(t *testing.T) {
	dir := home(t)
	code, out, words := inProcess(t.Context(), &app{shown: true}, "--home", dir, "invite", "--addr", "192.0.2.7:4471")
	if code != exitOK || !strings.Contains(words, "█") || strings.Contains(words, "\x1b") {
		t.Fatalf("exit %d: %s", code, words)
	}
	lower, err := anabranch.ParseTicket(out)
	if err != nil {
		t.Fatal(err)
	}
	if upper, err := anabranch.ParseTicket(strings.ToUpper(out)); err != nil || upper.String() != lower.String() {
		t.Errorf("%v", err)
	}
	if _, _, words := inProcess(t.Context(), &app{}, "--home", dir, "invite", "--addr", "192.0.2.7:4471"); strings.Contains(words, "█") {
		t.Error("a code is drawn into a pipe")
	}
	if _, _, words := inProcess(t.Context(), &app{colour: true}, "--home", dir, "invite", "--qr", "--addr", "192.0.2.7:4471"); !strings.Contains(words, "\x1b[30;107m") {
		t.Error("no code is drawn with --qr")
	}
}
