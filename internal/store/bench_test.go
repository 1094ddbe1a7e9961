package store

import (
	"strings"
	"testing"
	"time"
)

func TestBench(t *testing.T) {
	got := make(map[string]float64)
	o := BenchOptions{Dir: t.TempDir(), Records: 3000, PutTime: 20 * time.Millisecond, Removals: 100}
	if err := Bench(ctx, o, func(f Figure) { got[f.Name] = f.Value }); err != nil {
		t.Fatal(err)
	}
	for name, v := range got {
		if v <= 0 && !strings.Contains(name, "processor") && !strings.Contains(name, "memory") {
			t.Errorf("%s is %v", name, v)
		}
	}
	if len(got) < 20 {
		t.Errorf("%d figures", len(got))
	}
}
