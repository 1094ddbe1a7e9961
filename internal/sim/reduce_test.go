package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var reduceFlag = flag.Bool("reduce", false, "reduce the world of -seed, if it is broken, and keep it in testdata/seeds")

// TestReduceKeepsWhatMatters: of a world in which a backup is restored,
// nothing is left but the backup and its restoring.
func TestReduceKeepsWhatMatters(t *testing.T) {
	fails := func(p Plan) bool { return Run(p, nil).Points["a restored backup"] > 0 }
	for seed := uint64(1); seed < 50; seed++ {
		p := Generate(seed, 3)
		if len(p.Actions) > 30 || !fails(p) {
			continue
		}
		q := Reduce(p, fails)
		t.Logf("seed %d: %d actions, then %d", seed, len(p.Actions), len(q.Actions))
		if len(q.Actions) != 2 || q.Actions[0].Do != Backup || q.Actions[1].Do != Restore || len(q.Roles) > 0 {
			t.Errorf("what is left: %v", q)
		}
		return
	}
	t.Fatal("no small world with a restored backup")
}

// TestReduceASeed is how a world that failed becomes a file of testdata/seeds.
func TestReduceASeed(t *testing.T) {
	if !*reduceFlag {
		t.Skip("reduces the world of -seed and -size when -reduce is given")
	}
	p := Generate(*seedFlag, *sizeFlag)
	first := Run(p, nil).Broken
	if first == nil {
		t.Fatal("it is not broken")
	}
	q := Reduce(p, func(p Plan) bool {
		b := Run(p, nil).Broken
		return b != nil && b.Check == first.Check
	})
	name := filepath.Join("testdata", "seeds", fmt.Sprintf("%s-%d-of-%d.json", first.Check, *seedFlag, *sizeFlag))
	if err := os.WriteFile(name, []byte(q.String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d actions, then %d: %s\n%v", len(p.Actions), len(q.Actions), name, Run(q, nil).Broken)
}

// TestKeptSeeds: worlds that were broken once, reduced, are whole.
func TestKeptSeeds(t *testing.T) {
	names, err := filepath.Glob("testdata/seeds/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d kept, %v", len(names), err)
	}
	for _, name := range names {
		var p Plan
		b, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if out := Run(p, nil); out.Broken != nil {
			t.Errorf("%s: %v", name, out.Broken)
		}
	}
}
