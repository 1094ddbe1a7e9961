package model

import (
	"anabranch/record"
	"testing"
)

func TestStat(t *testing.T) {
	for _, o := range []Options{{}, {Deletes: true, Seals: true, Vandals: true, Forks: true}} {
		var recs, sweeps, seals, grants, data, dead, held, members, redundant int
		const N = 500
		for k := range N {
			rng := seeded(uint64(k))
			o := o
			o.Replicas, o.Authors, o.Steps = 2+rng.IntN(3), 3+rng.IntN(2), 15+rng.IntN(60)
			w := NewWorld(rng, o, Nothing)
			w.Run()
			j := w.Judge(w.written)
			for _, r := range w.In(w.written) {
				recs++
				switch {
				case r.Kind == record.Sweep:
					sweeps++
					if j.Dead.Has(r) {
						redundant++
					}
				case r.Control.Seal != nil:
					seals++
				case r.Control.Grant != nil:
					grants++
				case r.Data():
					data++
					if j.Dead.Has(r) {
						dead++
					}
					if j.Held.Has(r) {
						held++
					}
				}
				if j.Members.Has(r) {
					members++
				}
			}
		}
		t.Logf("%+v per world: recs %.1f sweeps %.2f (red %.2f) seals %.2f grants %.2f data %.2f dead %.2f held %.2f members %.2f", o, float64(recs)/N, float64(sweeps)/N, float64(redundant)/N, float64(seals)/N, float64(grants)/N, float64(data)/N, float64(dead)/N, float64(held)/N, float64(members)/N)
	}
}
