package store

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"anabranch/record"
)

// rawRecords are the bytes of records of n authors, as a peer sends them.
func rawRecords(t testing.TB, sp *Space, authors, records int) [][]byte {
	out := make([][]byte, records)
	for i := range out {
		n := i % authors
		seq := uint32(i/authors) + 1
		out[i] = sign(t, sp, n, record.Record{
			Kind: record.Doc, Time: 1_700_000_000_000_000 + uint64(i)*1000, Lane: 1, Seq: seq,
			Path: fmt.Sprintf("/notes/%02d/%06x", n, seq), Payload: make([]byte, 58),
		}).Bytes
	}
	return out
}

func sequence(raw [][]byte, end error) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range raw {
			if !yield(b, nil) {
				return
			}
		}
		if end != nil {
			yield(nil, end)
		}
	}
}

func TestLoad(t *testing.T) {
	engines(t, func(t *testing.T, s *Store) {
		sp := createSpace(t, s)
		for n := range 3 {
			grant(t, sp, n, record.Writer, "/")
		}
		raw := rawRecords(t, sp, 3, 2*loadBatch+100)
		bad := map[int]bool{5: true, loadBatch: true, len(raw) - 1: true}
		for i := range bad {
			raw[i] = append([]byte{}, raw[i]...)
			raw[i][len(raw[i])-1] ^= 1
		}
		found := make(map[int]bool)
		note := func(i int, err error) error {
			if !errors.Is(err, record.ErrSignature) {
				t.Errorf("record %d: %v", i, err)
			}
			found[i] = true
			return nil
		}
		commits := 0
		got, err := sp.Load(ctx, sequence(raw, nil), note, func(Loaded) { commits++ })
		if err != nil {
			t.Fatal(err)
		}
		want := Loaded{Read: len(raw), Refused: 3, Added: len(raw) - 3}
		if got != want || commits != 3 || fmt.Sprint(found) != fmt.Sprint(bad) {
			t.Fatalf("%+v in %d commits, wrong ones %v", got, commits, found)
		}
		verifyClean(t, sp)
		// Again, and cut short by the source, and by the one who is told.
		end := errors.New("the link broke")
		got, err = sp.Load(ctx, sequence(raw[:loadBatch+5], end), nil, nil)
		if !errors.Is(err, end) || got.Known != loadBatch+5-2 || got.Added != 0 {
			t.Fatalf("%+v %v", got, err)
		}
		_, err = sp.Load(ctx, sequence(raw, nil), func(int, error) error { return end }, nil)
		if !errors.Is(err, end) {
			t.Fatal(err)
		}
	})
}

// BenchmarkLoad is 20 000 records of 200 B by 20 authors, from raw bytes to
// durable.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s, err := Open(b.TempDir(), Options{})
		if err != nil {
			b.Fatal(err)
		}
		sp := createSpace(b, s)
		for n := range 20 {
			grant(b, sp, n, record.Writer, "/")
		}
		raw := rawRecords(b, sp, 20, 20_000)
		b.StartTimer()
		cpu := processTime()
		got, err := sp.Load(ctx, sequence(raw, nil), nil, nil)
		if err != nil || got.Added != len(raw) {
			b.Fatal(got, err)
		}
		b.ReportMetric(float64((processTime()-cpu).Microseconds())/float64(len(raw)), "cpu-µs/record")
		b.StopTimer()
		s.Close()
		b.StartTimer()
	}
	b.ReportMetric(20_000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
