package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"anabranch/record"
)

// TestHoldings writes documents over and over: every part that has rows is
// listed, all of them together are what the tables take, and what was deleted
// takes nothing any more.
func TestHoldings(t *testing.T) {
	s, err := Open("store", Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sp := full(t, s, 1)
	rng := rand.NewChaCha8([32]byte{1})
	const documents, times, size = 100, 3, 4000
	for i := range documents * times {
		payload := make([]byte, size)
		rng.Read(payload) // nothing that could be compressed
		if _, err := sp.Write(ctx, key(6), uint64(10+i), Draft{Kind: record.Doc, Path: fmt.Sprintf("/doc/%d", i%documents), Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	weigh := func() (sums map[Part]uint64, all uint64) {
		t.Helper()
		before, after, err := s.Compact(ctx)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := s.Holdings()
		if err != nil {
			t.Fatal(err)
		}
		sums = make(map[Part]uint64)
		for _, p := range parts {
			if sums[p.Part] != 0 {
				t.Errorf("%s is listed twice", p.Part)
			}
			if sums[p.Part] = p.Bytes; p.Part != PartLog {
				all += p.Bytes
			}
		}
		if all != after || after > before {
			t.Errorf("the parts take %d bytes, the tables %d and before it was compacted %d", all, after, before)
		}
		return sums, all
	}
	sums, _ := weigh()
	if n := sums[PartRecords]; n < documents*times*size || n > documents*times*size*5/4 {
		t.Errorf("records of %d bytes take %d", documents*times*size, n)
	}
	if _, err := sp.Sweep(ctx, key(6), 1000); err != nil {
		t.Fatal(err)
	}
	swept, _ := weigh()
	if n := swept[PartRecords]; n < documents*size || n > documents*size*5/4 {
		t.Errorf("records of %d bytes take %d after the sweep", documents*size, n)
	}
	if n := swept[PartTrash]; n < documents*(times-1)*size {
		t.Errorf("%d bytes of dead records take %d", documents*(times-1)*size, n)
	}
}

func TestHoldingsOfAStoreInMemory(t *testing.T) {
	s, err := OpenMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if parts, err := s.Holdings(); err != nil || parts != nil {
		t.Fatalf("%v, %v", parts, err)
	}
}
