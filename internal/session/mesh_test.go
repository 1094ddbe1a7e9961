package session

import (
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"testing"
)

var meetings = flag.Int("meetings", 8, "meetings of each replica in TestAMeshWastesLittle")

// TestAMeshWastesLittle lets every replica of a mesh write and meet others at
// random, so that every record arrives in several ways, and counts records
// that came to who held them, beside what a log sent blindly from where the
// two last met would have wasted.
func TestAMeshWastesLittle(t *testing.T) {
	for _, n := range []int{8, 24} {
		c := crowdOf(newWorld(), 500, 4096)
		r := rand.New(rand.NewPCG(uint64(n), 5))
		replicas := make([]*replica, n)
		met := make([]map[int]*Met, n)
		seen := make([]map[int]uint64, n) // log lengths at the last meeting
		logs := make([]*Log, n)
		for i := range replicas {
			replicas[i], met[i], seen[i] = c.replica(), map[int]*Met{}, map[int]uint64{}
			logs[i] = &Log{Generation: uint64(i + 1), Secret: [16]byte{byte(i)}}
		}
		useful, wasted, blind, overhead := 0, 0, 0, int64(0)
		methods := map[Method]int{}
		for range *meetings * n {
			for range 1 + r.IntN(12) {
				replicas[r.IntN(n)].add(c.fresh(uint64(len(c.place)+useful+1) * apart))
			}
			i := r.IntN(n)
			j := (i + 1 + r.IntN(n-1)) % n
			a, b := replicas[i], replicas[j]
			for _, id := range b.log[seen[i][j]:] {
				if _, held := a.extra[id]; held {
					blind++
				}
			}
			for _, id := range a.log[seen[j][i]:] {
				if _, held := b.extra[id]; held {
					blind++
				}
			}
			var o Options
			binary.BigEndian.PutUint64(o.Nonce[:], r.Uint64())
			o.Met = met[i][j]
			m := meet(a, b, o, Options{Log: logs[j]})
			if m.err != nil {
				t.Fatal(m.err)
			}
			waste := m.report.Unwanted + m.answer.Unwanted
			wasted += waste
			useful += m.report.RecordsIn + m.report.RecordsOut - waste
			overhead += m.overhead
			methods[m.report.Method]++
			met[i][j] = &Met{Root: m.report.Root}
			if m.report.RecordsOut == 0 {
				met[i][j].Cursor = m.report.Cursor
			}
			met[j][i] = &Met{Root: m.report.Root}
			seen[i][j], seen[j][i] = uint64(len(b.log)), uint64(len(a.log))
		}
		t.Logf("%d replicas: %d useful records, %d wasted (%.2f %%); a log sent blindly wastes %d (%.0f %%); %d bytes of frames beside records for each; %v",
			n, useful, wasted, 100*float64(wasted)/float64(useful), blind, 100*float64(blind)/float64(useful), overhead/int64(useful), methods)
		if wasted*20 > useful {
			t.Errorf("%d of %d records were wasted", wasted, useful)
		}
	}
}
