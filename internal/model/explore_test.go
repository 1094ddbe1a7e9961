package model

import "testing"

func TestExplore(t *testing.T) {
	for b := Nothing; b <= ListedDestroyed; b++ {
		for _, s := range Searches() {
			var res Residues
			first, count := uint64(0), map[string]int{}
			for k := uint64(1); k <= 2000; k++ {
				if what := s.One(k, b, &res); what != "" {
					if first == 0 {
						first = k
					}
					count[what]++
				}
			}
			t.Logf("%d %-50s first %d %v %+v", b, s.Name, first, count, res)
		}
	}
}
