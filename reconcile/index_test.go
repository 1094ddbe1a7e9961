package reconcile

import (
	"crypto/sha256"
	"errors"
	"maps"
	"math/rand"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// tiny makes splits and joins happen all the time.
func tiny() *Tree { return &Tree{max: nodeSize{items: 4, kids: 4}} }

// backends builds one set in every way there is.
var backends = map[string]func(items []Item) (Index, error){
	"vector": func(items []Item) (Index, error) { return NewVector(items) },
	"tree": func(items []Item) (Index, error) {
		t := tiny()
		_, err := t.Insert(items...)
		return t, err
	},
	"plain": func(items []Item) (Index, error) { return plain(sorted(items)), nil },
	"range of a tree": func(items []Item) (Index, error) {
		order := sorted(items)
		t := tiny()
		lower, upper := Bound{}, Bound{Time: Infinity}
		if n := len(order); n > 0 {
			lower, upper = BoundAt(order[0]), BoundAt(order[n-1])
			upper.Prefix[31]++ // the next ID, if that is no carry
			if upper.Prefix[31] == 0 {
				upper = Bound{Time: upper.Time + 1}
			}
		}
		t.Insert(items...)
		for i := range 40 { // below and above
			x := Item{lower.Time, ID{}}
			if x.ID[30] = byte(i); x.Compare(lower.Item()) < 0 {
				t.Insert(x)
			}
			x = Item{upper.Time, upper.Prefix}
			if x.ID[0] = byte(i); x.Time != Infinity && x.Compare(upper.Item()) >= 0 {
				t.Insert(x)
			}
		}
		return NewRange(t, lower, upper)
	},
	"union that overlaps": func(items []Item) (Index, error) {
		var parts [3][]Item
		for i, x := range items {
			switch h := sha256.Sum256(x.ID[:]); {
			case h[0] < 30:
				parts[0], parts[1] = append(parts[0], x), append(parts[1], x)
			case h[0] < 50:
				for k := range parts {
					parts[k] = append(parts[k], x)
				}
			default:
				parts[i%3] = append(parts[i%3], x)
			}
		}
		t := tiny()
		t.Insert(parts[0]...)
		v, _ := NewVector(parts[1])
		return NewUnion(t, v, plain(sorted(parts[2])))
	},
	"union of neighbours": func(items []Item) (Index, error) {
		order := sorted(items)
		a, b := len(order)/3, len(order)*2/3
		one, _ := NewVector(order[:a])
		two, _ := NewVector(order[a:b])
		three := tiny()
		three.Insert(order[b:]...)
		return NewUnion(three, one, new(Tree), two)
	},
	"sums of prefixes":       func(items []Item) (Index, error) { return prefixed{plain(sorted(items))}, nil },
	"filter that keeps most": func(items []Item) (Index, error) { return filtered(items, 3) },
	"filter that keeps few":  func(items []Item) (Index, error) { return filtered(items, 0) },
}

// prefixed is a plain index that is a PrefixSummer.
type prefixed struct{ plain }

func (p prefixed) SumTo(i int) (sum Sum, err error) {
	sum.addItems(p.plain[:i])
	return sum, nil
}

// filtered puts items among others and filters them out again. With every
// 0 there are more others than items.
func filtered(items []Item, every int) (Index, error) {
	wanted := map[Item]bool{}
	t := tiny()
	for i, x := range items {
		wanted[x] = true
		t.Insert(x)
		if every > 0 && i%every != 0 {
			continue
		}
		for k := range 2 {
			y := x
			y.ID[3] ^= byte(k + 1)
			y.ID[8] ^= 0x55
			t.Insert(y)
		}
	}
	return Filter(t, func(x Item) bool { return wanted[x] })
}

// someIndex draws one of them.
func someIndex(t *rapid.T, name string, items []Item) Index {
	backend := rapid.SampledFrom(slices.Sorted(maps.Keys(backends))).Draw(t, name)
	if backend == "plain" && len(items) > 300 {
		backend = "tree" // plain is slow
	}
	ix, err := backends[backend](items)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// equalIndex compares all five methods with the plain index.
func equalIndex(t *rapid.T, ix Index, items []Item) {
	t.Helper()
	want := plain(sorted(items))
	if ix.Len() != len(want) {
		t.Fatalf("Len %d, want %d", ix.Len(), len(want))
	}
	for range 5 {
		begin := rapid.IntRange(0, len(want)).Draw(t, "begin")
		end := rapid.IntRange(begin, len(want)).Draw(t, "end")
		got, err := ix.Fingerprint(begin, end)
		if err != nil || got != slowFingerprint(want[begin:end]) {
			t.Fatalf("Fingerprint(%d, %d) = %x, %v", begin, end, got, err)
		}
		var list []Item
		for x, err := range ix.Items(begin, end) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, x)
		}
		if !slices.Equal(list, want[begin:end]) {
			t.Fatalf("Items(%d, %d) = %v", begin, end, list)
		}
		if begin < len(want) {
			if x, err := ix.At(begin); err != nil || x != want[begin] {
				t.Fatalf("At(%d) = %v, %v", begin, x, err)
			}
		}
		b := BoundAt(anItem().Draw(t, "item"))
		if begin < len(want) {
			b = BoundAt(want[begin])
		}
		b.Len = rapid.IntRange(0, 32).Draw(t, "len")
		clear(b.Prefix[b.Len:])
		at, err := ix.LowerBound(b)
		if slow, _ := want.LowerBound(b); err != nil || at != slow {
			t.Fatalf("LowerBound(%v) = %d, %v; want %d", b, at, err, slow)
		}
	}
	for x := range ix.Items(0, ix.Len()) { // stops when told
		if x != want[0] {
			t.Fatal("first item")
		}
		break
	}
}

// check walks the tree and compares what nodes say of their subtrees.
func (t *Tree) check(f *rapid.T) {
	depth := -1
	var walk func(n *node, at int) (count int, sum Sum)
	walk = func(n *node, at int) (count int, sum Sum) {
		if n.kids == nil {
			if depth >= 0 && at != depth || len(n.items) == 0 || len(n.items) > t.max.items {
				f.Fatalf("leaf of %d items at depth %d, others at %d", len(n.items), at, depth)
			}
			depth = at
			for i := range n.items {
				sum.Add(&n.items[i].ID)
			}
			return len(n.items), sum
		}
		if len(n.kids) == 0 || len(n.kids) > t.max.kids {
			f.Fatalf("node with %d kids", len(n.kids))
		}
		for _, k := range n.kids {
			c, s := walk(k.node, at+1)
			if c != k.count || s != k.sum {
				f.Fatalf("kid says %d, %v; it has %d, %v", k.count, k.sum, c, s)
			}
			count += c
			sum.AddSum(s)
		}
		return count, sum
	}
	if t.root != nil {
		if n, _ := walk(t.root, 0); n != t.n {
			f.Fatalf("tree says %d, it has %d", t.n, n)
		}
	}
}

func TestEveryBackendIsThePlainIndex(t *testing.T) {
	for name, build := range backends {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				items := someItems(t, "items", 150)
				ix, err := build(items)
				if err != nil {
					t.Fatal(err)
				}
				equalIndex(t, ix, items)
			})
		})
	}
}

// Sorting takes other ways for clustered times, one time and outliers.
func TestVectorsSortWhatIsUnevenlySpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewSource(rapid.Int64().Draw(t, "seed")))
		var items []Item
		for range rapid.IntRange(1, 5).Draw(t, "clusters") {
			at := rng.Uint64() >> rng.Intn(64) / 2
			width := rng.Intn(40)
			for range rng.Intn(400) {
				x := Item{Time: at + rng.Uint64()&(1<<width-1)}
				rng.Read(x.ID[rng.Intn(28):])
				items = append(items, x)
			}
		}
		want := sorted(items)
		want = slices.Compact(want)
		v, err := NewVector(items)
		if len(want) < len(items) {
			if wrong := (*DuplicateError)(nil); !errors.As(err, &wrong) {
				t.Fatalf("a duplicate: %v", err)
			}
			return
		}
		if err != nil || !slices.Equal(v.items, want) {
			t.Fatalf("%d items are not sorted: %v", len(items), err)
		}
	})
}

func TestVectorRefusesWhatIsNoSet(t *testing.T) {
	x := numbered(1)
	var duplicate *DuplicateError
	if _, err := NewVector([]Item{x, numbered(2), x}); !errors.As(err, &duplicate) || duplicate.Item != x {
		t.Errorf("duplicate: %v", err)
	}
	if _, err := NewVector([]Item{{Time: Infinity}, x}); !errors.Is(err, ErrTimeInfinity) {
		t.Errorf("infinity: %v", err)
	}
	var tree Tree
	if n, err := tree.Insert(x, Item{Time: Infinity}); n != 0 || tree.Len() != 0 || !errors.Is(err, ErrTimeInfinity) {
		t.Errorf("tree: %d, %v", n, err)
	}
}

func TestTreeIsThePlainIndexThroughAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type version struct {
			tree  *Tree
			items []Item
		}
		tree, model, old := tiny(), map[Item]bool{}, []version(nil)
		all := func() (items []Item) {
			for x := range model {
				items = append(items, x)
			}
			return sorted(items)
		}
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				items := someItems(t, "insert", 80)
				if rapid.Bool().Draw(t, "in order") {
					items = sorted(items)
				}
				added := 0
				for _, x := range items {
					if !model[x] {
						model[x] = true
						added++
					}
				}
				got := 0
				if rapid.Bool().Draw(t, "one by one") {
					for _, x := range items {
						n, _ := tree.Insert(x)
						got += n
					}
				} else {
					got, _ = tree.Insert(items...)
				}
				if got != added {
					t.Fatalf("Insert added %d, want %d", got, added)
				}
			case 2, 3:
				keep := rapid.IntRange(0, 4).Draw(t, "keep fifths")
				from := rapid.IntRange(0, len(model)).Draw(t, "from")
				items := []Item{anItem().Draw(t, "perhaps absent")}
				for _, x := range all()[from:] {
					if rapid.IntRange(0, 4).Draw(t, "out") >= keep {
						items = append(items, x)
					}
				}
				deleted := 0
				for _, x := range items {
					if model[x] {
						delete(model, x)
						deleted++
					}
				}
				if got := tree.Delete(items...); got != deleted {
					t.Fatalf("Delete took %d, want %d", got, deleted)
				}
			case 4: // one of the two goes on, the other must stay
				clone := tree.Clone()
				if rapid.Bool().Draw(t, "keep the clone") {
					clone, tree = tree, clone
				}
				old = append(old, version{clone, all()})
			}
			tree.check(t)
			if x := anItem().Draw(t, "item"); tree.Has(x) != model[x] {
				t.Fatalf("Has(%v) = %v", x, !model[x])
			}
		}
		equalIndex(t, tree, all())
		for _, v := range old {
			v.tree.check(t)
			equalIndex(t, v.tree, v.items)
		}
	})
}

func TestTreeGrowsAndShrinks(t *testing.T) {
	var tree Tree
	items := make([]Item, 20_000)
	for i := range items {
		items[i] = numbered(i)
		tree.Insert(items[i])
	}
	order := sorted(items)
	v, _ := NewVector(items)
	for _, end := range []int{0, 1, 127, 128, 9999, 20_000} {
		a, _ := tree.Fingerprint(end/3, end)
		b, _ := v.Fingerprint(end/3, end)
		if a != b || b != slowFingerprint(order[end/3:end]) {
			t.Fatalf("fingerprints up to %d differ", end)
		}
	}
	for _, x := range items {
		if tree.Delete(x) != 1 {
			t.Fatal("an item is gone")
		}
	}
	if tree.Len() != 0 || tree.root != nil {
		t.Fatal("the tree should be empty")
	}
}

// Meant for the race detector: clones are read and cloned by many
// goroutines while the writer goes on.
func TestClonesAreReadWhileTheTreeIsWritten(t *testing.T) {
	var tree Tree
	for i := range 3000 {
		tree.Insert(numbered(i))
	}
	var wg sync.WaitGroup
	for round := range 20 {
		clone, n := tree.Clone(), tree.Len()
		want, _ := clone.Fingerprint(0, n)
		for range 3 {
			wg.Go(func() {
				again := clone.Clone()
				var items []Item
				for x := range again.Items(0, n) {
					items = append(items, x)
				}
				if clone.Len() != n || slowFingerprint(items) != want {
					t.Error("a clone changed")
				}
			})
		}
		for i := range 50 {
			tree.Insert(numbered(3000 + 50*round + i))
			tree.Delete(numbered(50*round + i))
		}
	}
	wg.Wait()
}
