package model

import (
	"flag"
	"testing"
	"time"
)

var (
	worlds = flag.Int("worlds", 800, "worlds of each kind to search, ten times as many of the cheap ones")
	seed   = flag.Uint64("seed", 1, "the first seed")
)

// The law holds in every world searched. For a long search:
//
//	go test ./internal/model -run Search -v -worlds 1000000 -seed 7 -timeout 0
func TestSearch(t *testing.T) {
	for _, s := range Searches() {
		n := *worlds
		if s.Cheap && n > 1 {
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
		t.Logf("%-38s %8d worlds %3d violations; residues %d lost, %d returned; %.1f s", s.Name, n, violations, residues.Lost, residues.Returned, time.Since(begin).Seconds())
	}
}

// Each rule is needed: with it broken, the search finds a violation within
// the stated number of seeds from 1.
func TestSearchFindsBrokenRules(t *testing.T) {
	byName := make(map[string]Search)
	for _, s := range Searches() {
		byName[s.Name] = s
	}
	for _, c := range []struct {
		broken Break
		search string
		within uint64 // seeds
	}{
		{NewestWins, "join, nothing sealed", 1000},
		{HeldDestroyed, "join, nothing sealed", 100},
		{HeldDestroyed, "sessions, honest, overwriting only", 100},
		{SweepsFirst, "sessions, honest, overwriting only", 500},
		{RevokeByTime, "sessions, seals, vandals and forks", 500},
		{AnyAdminRevokes, "sessions, seals, vandals and forks", 1500},
		{AcrossGrants, "sessions, seals", 2000},
		{HeldPartsList, "sessions, seals, vandals and forks", 4000},
		{RedundantByDots, "join, seals, both know all control", 4000},
	} {
		s, ok := byName[c.search]
		if !ok {
			t.Fatalf("no search %q", c.search)
		}
		found := ""
		seed := uint64(0)
		for found == "" && seed < c.within {
			seed++
			found = s.One(seed, c.broken, new(Residues))
		}
		if found == "" {
			t.Errorf("%v: %s found nothing wrong within %d seeds", c.broken, c.search, c.within)
			continue
		}
		t.Logf("%-42v %-38s seed %5d of %5d: %s", c.broken, c.search, seed, c.within, found)
	}
}
