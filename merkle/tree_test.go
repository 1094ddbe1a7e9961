package merkle

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// equalToTwin compares everything a Source says with the definition.
func equalToTwin(t *rapid.T, src Source, s set) {
	t.Helper()
	ids := s.ids()
	n, d, err := Hash(src)
	if err != nil || n != uint64(len(ids)) || d != twin(ids, 0) {
		t.Fatalf("count %d, hash %x, error %v; the definition: %d, %x", n, d, err, len(ids), twin(ids, 0))
	}
	for range 4 {
		prefix := anID().Draw(t, "prefix")
		if len(ids) > 0 && rapid.Bool().Draw(t, "of a member") {
			prefix = rapid.SampledFrom(ids).Draw(t, "member")
		}
		depth := rapid.IntRange(0, 256).Draw(t, "depth")
		want := s.under(prefix, depth)
		n, d, err := src.Subtree(prefix, depth)
		if err != nil || n != len(want) || d != twin(want, depth) {
			t.Fatalf("Subtree(%x, %d): count %d, hash %x, error %v; the definition: %d, %x", prefix, depth, n, d, err, len(want), twin(want, depth))
		}
		got, err := src.IDs(prefix, depth)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("IDs(%x, %d): %x, error %v; want %x", prefix, depth, got, err, want)
		}
	}
}

func TestAnyHistoryGivesTheHashOfTheSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			tree *Tree
			ids  []ID
		}
		tree, s, old := new(Tree), set{}, []version(nil)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				ids := someIDs(t, "insert")
				added := 0
				for _, id := range ids {
					if !s[id] {
						s[id] = true
						added++
					}
				}
				if got := tree.Insert(ids...); got != added {
					t.Fatalf("Insert added %d, want %d", got, added)
				}
			case 2:
				var ids []ID
				for _, id := range s.ids() {
					if rapid.IntRange(0, 3).Draw(t, "out") > 0 {
						ids = append(ids, id)
					}
				}
				ids = append(ids, rapid.SliceOfN(anID(), 0, 3).Draw(t, "perhaps absent")...)
				deleted := 0
				for _, id := range ids {
					if s[id] {
						delete(s, id)
						deleted++
					}
				}
				if got := tree.Delete(ids...); got != deleted {
					t.Fatalf("Delete took %d, want %d", got, deleted)
				}
			case 3: // one of the two goes on, the other must stay
				clone := tree.Clone()
				if rapid.Bool().Draw(t, "keep the clone") {
					clone, tree = tree, clone
				}
				old = append(old, version{clone, s.ids()})
			}
			if rapid.Bool().Draw(t, "look") {
				equalToTwin(t, tree, s)
			}
			if id := anID().Draw(t, "id"); tree.Has(id) != s[id] {
				t.Fatalf("Has(%x) = %v", id, !s[id])
			}
		}
		equalToTwin(t, tree, s)
		for _, v := range old {
			was := set{}
			for _, id := range v.ids {
				was[id] = true
			}
			equalToTwin(t, v.tree, was)
		}
	})
}

func TestSingleInsertsAndDeletes(t *testing.T) {
	ids := numberedUpTo(700)
	for i := range 60 { // a crowd that shares 240 bits
		ids = append(ids, ID{29: 9, 30: byte(i), 31: byte(i * i)})
	}
	var tree Tree
	for i, id := range ids {
		if tree.Insert(id) != 1 || tree.Insert(id) != 0 {
			t.Fatal("an insert must count once")
		}
		if i%37 == 0 && tree.Hash() != twin(ids[:i+1], 0) {
			t.Fatalf("after %d inserts", i+1)
		}
	}
	for i, id := range ids {
		if tree.Delete(id) != 1 || tree.Delete(id) != 0 {
			t.Fatal("a delete must count once")
		}
		if i%37 == 0 && tree.Hash() != twin(ids[i+1:], 0) {
			t.Fatalf("after %d deletes", i+1)
		}
	}
	if tree.Count() != 0 || tree.Hash() != (Digest{}) {
		t.Fatal("the empty tree must hash to zero")
	}
}

// Meant for the race detector: clones are hashed, proved and cloned by
// many goroutines while the writer goes on.
func TestClonesAreReadWhileTheTreeIsWritten(t *testing.T) {
	var tree Tree
	tree.Insert(numberedUpTo(2000)...)
	var wg sync.WaitGroup
	for round := range 20 {
		clone, n := tree.Clone(), tree.Count()
		for range 4 {
			wg.Go(func() {
				again := clone.Clone()
				want := twin(numberedUpTo(n), 0)
				if clone.Hash() != want || again.Hash() != want || clone.Count() != n {
					t.Error("a clone changed")
				}
			})
		}
		for i := range 10 {
			tree.Insert(numbered(2000 + 10*round + i))
		}
		tree.Hash()
	}
	wg.Wait()
}

func TestSubtreeOfASliceIsThatOfATree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree Tree
		for range rapid.IntRange(0, 90).Draw(t, "n") {
			tree.Insert(anID().Draw(t, "id"))
		}
		prefix, depth := anID().Draw(t, "prefix"), rapid.IntRange(0, 20).Draw(t, "depth")
		all, _ := tree.IDs(ID{}, 0)
		ids := Below(all, prefix, depth)
		n, d, _ := tree.Subtree(prefix, depth)
		if len(ids) != n || Subtree(ids, depth) != d {
			t.Fatalf("%d IDs, digest %x; the tree has %d, %x", len(ids), Subtree(ids, depth), n, d)
		}
		if l, r := Halves(prefix, depth); n > LeafIDs {
			_, dl, _ := tree.Subtree(l, depth+1)
			_, dr, _ := tree.Subtree(r, depth+1)
			if Join(dl, dr) != d {
				t.Fatal("joined halves are not the whole")
			}
		}
	})
}
