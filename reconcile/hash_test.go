package reconcile

import (
	"math/rand/v2"
	"testing"
)

// Fingerprints that are made together are those of the definition, in any
// number, with two blocks at a time and with one.
func TestFingerprintsInABatchAreTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	h := newHasher()
	if h.state == nil {
		t.Error("the state of crypto/sha256 has another layout than is known")
	}
	alone := &hasher{}
	for n := 1; n <= batch; n++ {
		for range 200 {
			sums, spans := make([]Sum, n), make([]span, n)
			for i := range sums {
				for k := range sums[i] {
					sums[i][k] = rng.Uint64()
				}
				begin := rng.IntN(1000)
				spans[i] = span{begin, begin + int(rng.Uint32()>>(1+rng.IntN(31)))}
			}
			got, other, slow := make([]Fingerprint, n), make([]Fingerprint, n), make([]Fingerprint, n)
			h.fingerprints(sums, spans, got)
			for i := range sums {
				want := sums[i].Fingerprint(spans[i].end - spans[i].begin)
				var b block
				if !b.fill(&sums[i], spans[i].end-spans[i].begin) || !h.single(&other[i], &b) || alone.single(&slow[i], &b) {
					t.Fatal("a hasher cannot, or can without a hash")
				}
				if got[i] != want || other[i] != want {
					t.Fatalf("%d of %d, %d items: %x and %x, not %x", i, n, spans[i].end-spans[i].begin, got[i], other[i], want)
				}
			}
		}
	}
}

func BenchmarkFingerprints(b *testing.B) {
	h := newHasher()
	sums, spans, out := make([]Sum, batch), make([]span, batch), make([]Fingerprint, batch)
	for i := range spans {
		spans[i].end = 15 * i
	}
	for b.Loop() {
		h.fingerprints(sums, spans, out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/fingerprint")
}

// What is read by the short way reads the same by the long one, which is taken
// where less than the longest range is left of a message.
func TestBothWaysOfReadingAreOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	short := 0
	for range 20_000 {
		var w writer
		w.begin()
		time := rng.Uint64() >> rng.IntN(64)
		for range rng.IntN(6) {
			time += min(rng.Uint64()>>rng.IntN(64), Infinity-1-time)
			b := Bound{Time: time}
			if rng.IntN(4) == 0 {
				b.Len = 1 + rng.IntN(3)
				b.Prefix[0] = byte(rng.Uint32())
			}
			if rng.IntN(2) == 0 {
				w.header(&b, modeSkip)
			} else {
				w.fingerprint(&b, &Fingerprint{byte(rng.Uint32())})
			}
		}
		if len(w.buf) > 1 && rng.IntN(2) == 0 {
			w.buf[1+rng.IntN(len(w.buf)-1)] = byte(rng.Uint32()) >> rng.IntN(8)
		}
		w.buf = append(w.buf, make([]byte, maxRange)...) // so that the short way is open
		fast, slow := reader{msg: w.buf, at: 1}, reader{msg: w.buf, at: 1}
		for fast.at < len(fast.msg) {
			if fast.g.upper.Time != Infinity && fast.usual() {
				short++
				end := fast.at
				slow.msg = w.buf[:end]
				ok, err := slow.next()
				if !ok || err != nil || slow.at != end || slow.g.upper != fast.g.upper || slow.g.mode != fast.g.mode || slow.g.fingerprint != fast.g.fingerprint {
					t.Fatalf("%x: %+v, by the long way %+v, %v", w.buf, fast.g, slow.g, err)
				}
				continue
			}
			ok, err := fast.next()
			slow.at, slow.g = fast.at, fast.g
			if !ok || err != nil {
				break
			}
		}
	}
	if short < 10_000 {
		t.Errorf("only %d ranges took the short way", short)
	}
}

// Whatever is guessed, a bound is found where it is.
func TestAGuessDoesNotMatter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 2_000 {
		items := make([]Item, rng.IntN(60))
		for i := range items {
			items[i].Time = uint64(rng.IntN(50))
			items[i].ID[0] = byte(rng.IntN(3))
		}
		items = sorted(items)
		b := Bound{Time: uint64(rng.IntN(52))}
		want := lowerBound(items, b.Item())
		for from := 0; from <= want; from++ {
			for guess := from; guess <= len(items); guess++ {
				if got := near(items, from, guess, &b); got != want {
					t.Fatalf("from %d, guess %d of %d: %d, not %d", from, guess, len(items), got, want)
				}
			}
		}
	}
}
