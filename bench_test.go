package anabranch

import (
	"context"
	"testing"
	"time"
)

func TestBench(t *testing.T) {
	got := make(map[string]float64)
	o := BenchOptions{Records: 1000, PutTime: 10 * time.Millisecond, SyncRecords: 500}
	if err := Bench(context.Background(), t.TempDir(), o, func(f Figure) { got[f.Name] = f.Value }); err != nil {
		t.Fatal(err)
	}
	if got["W2, 100 scattered overwrites"] <= 0 || got["ingest"] <= 0 {
		t.Fatal(got)
	}
}
