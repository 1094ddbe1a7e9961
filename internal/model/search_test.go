package model

import (
	"flag"
	"testing"
	"time"
)

var (
	worlds = flag.Int("worlds", 3000, "worlds to search, of each kind; the cheap ones get ten times as many")
	seed   = flag.Uint64("seed", 1, "the first seed")
)

func TestSearch(t *testing.T) {
	for i, s := range Searches() {
		n := *worlds
		if i < 2 {
			n *= 10
		}
		begin := time.Now()
		violations := 0
		var residues Residues
		for k := range n {
			if what := s.One(*seed+uint64(k), Nothing, &residues); what != "" {
				if violations++; violations <= 3 {
					t.Errorf("%s: %s\nagain: go test ./internal/model -run Search -worlds 1 -seed %d", s.Name, what, *seed+uint64(k))
				}
			}
		}
		t.Logf("%-38s %8d worlds %4d violations, residues: %d lost, %d returned  %.1f s", s.Name, n, violations, residues.Lost, residues.Returned, time.Since(begin).Seconds())
	}
}
