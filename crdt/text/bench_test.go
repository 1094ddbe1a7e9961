//go:build unix

package text

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu is the time that this process has spent on a processor.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs fn under the benchmark and reports the median CPU time of one
// run, which another's load on the machine changes less than wall time.
func measure(b *testing.B, fn func()) {
	var all []time.Duration
	for b.Loop() {
		runtime.GC() // what the run before left behind is not this one's cost
		begin := cpu()
		fn()
		all = append(all, cpu()-begin)
	}
	b.ReportMetric(float64(median(all).Microseconds())/1000, "cpu-ms")
	b.ReportMetric(float64(slices.Min(all).Microseconds())/1000, "least-ms")
}

func BenchmarkTraces(b *testing.B) {
	for _, name := range traceNames {
		b.Run(name, func(b *testing.B) {
			tr := loadTrace(b, name)
			deltas, d := tr.log(b)
			if tr.Kind != "concurrent" {
				// All patches side by side, so that reading them costs little.
				var patches []patch
				var said strings.Builder
				for i := range tr.Txns {
					patches = append(patches, tr.Txns[i].Patches...)
					for _, p := range tr.Txns[i].Patches {
						said.WriteString(p.text)
					}
				}
				all := said.String()
				for i := range patches {
					n := len(patches[i].text)
					patches[i].text, all = all[:n], all[n:]
				}
				b.Run("local", func(b *testing.B) {
					measure(b, func() {
						d := New(1)
						edit(b, d, patches)
						if d.Len() == 0 {
							b.Fatal("empty")
						}
					})
				})
			}
			tr.Txns = nil // garbage is not to be marked again and again
			var bodies []byte
			for _, delta := range deltas {
				bodies = append(bodies, delta.Body...)
			}
			for i := range deltas {
				n := len(deltas[i].Body)
				deltas[i].Body, bodies = bodies[:n:n], bodies[n:]
			}
			b.Run("remote", func(b *testing.B) {
				measure(b, func() {
					d := New(0)
					for i := range deltas {
						if _, err := d.Apply(deltas[i].Lane, deltas[i].Body); err != nil {
							b.Fatal(err)
						}
					}
				})
			})
			saved, err := d.Save()
			if err != nil {
				b.Fatal(err)
			}
			b.Run("load", func(b *testing.B) {
				measure(b, func() {
					if _, err := Load(0, saved); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(float64(len(saved))/1000, "KB")
			})
			b.Run("loadall", func(b *testing.B) {
				measure(b, func() {
					d, err := Load(0, saved)
					if err != nil {
						b.Fatal(err)
					}
					d.inflateDead()
				})
			})
			b.Run("save", func(b *testing.B) {
				measure(b, func() {
					if _, err := d.Save(); err != nil {
						b.Fatal(err)
					}
				})
			})
			b.Run("string", func(b *testing.B) {
				measure(b, func() { _ = d.String() })
			})
		})
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

func BenchmarkAttacks(b *testing.B) {
	for name, a := range attacks(20000) {
		b.Run(name, func(b *testing.B) {
			deltas := a.deltas()
			measure(b, func() {
				d := New(0)
				for i := range deltas {
					if _, err := d.Apply(deltas[i].Lane, deltas[i].Body); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkMegabyte opens a text of 1 MB that had a long life, and types in it.
func BenchmarkMegabyte(b *testing.B) {
	tr := loadTrace(b, "sveltecomponent")
	d := New(1)
	for d.Len() < 1<<20 {
		pos := d.Len() / 3
		for i := range tr.Txns {
			for _, p := range tr.Txns[i].Patches {
				at := min(pos+p.pos, d.Len())
				if err := errors.Join(d.Delete(at, min(p.del, d.Len()-at)), d.Insert(at, p.text)); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	d.Flush(0)
	saved, err := d.Save()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("load", func(b *testing.B) {
		measure(b, func() {
			if _, err := Load(1, saved); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("keystroke", func(b *testing.B) {
		at := 0
		for b.Loop() {
			at = (at + 7919) % d.Len()
			if err := d.Insert(at, "x"); err != nil {
				b.Fatal(err)
			}
			d.Flush(0)
		}
	})
}
