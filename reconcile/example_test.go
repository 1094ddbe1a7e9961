package reconcile_test

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"log"
	"slices"
	"sort"

	"anabranch/reconcile"
)

func item(minute uint64, note string) reconcile.Item {
	return reconcile.Item{Time: minute, ID: sha256.Sum256([]byte(note))}
}

// A laptop and a phone hold notes. The laptop learns what differs in one
// exchange, for a few notes; for a million, in three.
func Example() {
	heron, clear := item(600, "heron at the weir"), item(605, "water clear")
	laptop, _ := reconcile.NewVector([]reconcile.Item{heron, clear, item(610, "otter tracks")})
	phone, _ := reconcile.NewVector([]reconcile.Item{heron, clear, item(620, "rain begins")})

	initiator, _ := reconcile.NewInitiator(laptop, reconcile.Options{})
	msg, err := initiator.Start()
	for msg != nil && err == nil {
		// Carry msg to the phone, which remembers nothing between messages,
		// and its answer back.
		var have, need []reconcile.ID
		if msg, err = reconcile.Respond(phone, msg, reconcile.Options{}); err == nil {
			msg, have, need, err = initiator.Step(msg)
		}
		for _, id := range have {
			fmt.Println("send", id == item(610, "otter tracks").ID)
		}
		for _, id := range need {
			fmt.Println("fetch", id == item(620, "rain begins").ID)
		}
	}
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// send true
	// fetch true
}

// learn returns how many items each side lacks.
func learn(mine, theirs reconcile.Index) (have, need int) {
	initiator, err := reconcile.NewInitiator(mine, reconcile.Options{Split: reconcile.Balanced})
	if err != nil {
		log.Fatal(err)
	}
	responder, err := reconcile.NewResponder(theirs, reconcile.Options{Split: reconcile.Balanced})
	if err != nil {
		log.Fatal(err)
	}
	msg, err := initiator.Start()
	for msg != nil && err == nil {
		var h, n []reconcile.ID
		if msg, err = responder.Respond(msg); err == nil {
			msg, h, n, err = initiator.Step(msg)
		}
		have, need = have+len(h), need+len(n)
	}
	if err != nil {
		log.Fatal(err)
	}
	return have, need
}

// Clone is a snapshot for readers, while the tree takes more items.
func ExampleTree_Clone() {
	var live reconcile.Tree
	live.Insert(item(600, "heron at the weir"))
	snapshot := live.Clone()
	live.Insert(item(605, "water clear"))
	fmt.Println(snapshot.Len(), live.Len())
	// Output: 1 2
}

// Only what was written from ten o'clock on is compared: both sides take the
// same part of their sets.
func ExampleNewRange() {
	var mine, theirs reconcile.Tree
	mine.Insert(item(550, "fog"), item(600, "heron at the weir"), item(605, "water clear"))
	theirs.Insert(item(560, "frost"), item(600, "heron at the weir"))

	ten, end := reconcile.Bound{Time: 600}, reconcile.Bound{Time: reconcile.Infinity}
	a, err := reconcile.NewRange(mine.Clone(), ten, end)
	if err != nil {
		log.Fatal(err)
	}
	b, err := reconcile.NewRange(theirs.Clone(), ten, end)
	if err != nil {
		log.Fatal(err)
	}
	have, need := learn(a, b)
	fmt.Println("send", have, "fetch", need)
	// Output: send 1 fetch 0
}

// An archive that is sealed and a day that is still written are one set. A
// note that is in both counts once.
func ExampleNewUnion() {
	archive, err := reconcile.NewVector([]reconcile.Item{item(500, "dawn"), item(550, "fog")})
	if err != nil {
		log.Fatal(err)
	}
	var today reconcile.Tree
	today.Insert(item(550, "fog"), item(600, "heron at the weir"))
	mine, err := reconcile.NewUnion(archive, today.Clone())
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := reconcile.NewVector([]reconcile.Item{item(500, "dawn"), item(620, "rain begins")})
	if err != nil {
		log.Fatal(err)
	}
	have, need := learn(mine, theirs)
	fmt.Println(mine.Len(), "notes: send", have, "fetch", need)
	// Output: 3 notes: send 2 fetch 1
}

// A peer may see only some items: its view is a set of its own, so that what
// is hidden neither leaks nor keeps the two from agreeing.
func ExampleFilter() {
	var all reconcile.Tree
	secret := item(605, "the nest")
	all.Insert(item(600, "heron at the weir"), secret)
	shown, err := reconcile.Filter(all.Clone(), func(x reconcile.Item) bool { return x != secret })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(learn(new(reconcile.Tree), shown))
	// Output: 0 1
}

// table is an index of one's own: five methods over a sorted slice. It sums
// up ranges item by item, which will do for a few thousand; a database keeps
// sums in the inner nodes of its index, and adds those up.
type table []reconcile.Item

func (t table) Len() int                         { return len(t) }
func (t table) At(i int) (reconcile.Item, error) { return t[i], nil }

func (t table) LowerBound(b reconcile.Bound) (int, error) {
	return sort.Search(len(t), func(i int) bool { return t[i].Compare(b.Item()) >= 0 }), nil
}

func (t table) Fingerprint(begin, end int) (reconcile.Fingerprint, error) {
	var sum reconcile.Sum
	for i := range t[begin:end] {
		sum.Add(&t[begin+i].ID)
	}
	return sum.Fingerprint(end - begin), nil
}

func (t table) Items(begin, end int) iter.Seq2[reconcile.Item, error] {
	return func(yield func(reconcile.Item, error) bool) {
		for _, x := range t[begin:end] {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func ExampleIndex() {
	mine := table{item(600, "heron at the weir"), item(605, "water clear")}
	slices.SortFunc(mine, reconcile.Item.Compare)
	theirs, err := reconcile.NewVector([]reconcile.Item{item(600, "heron at the weir")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(learn(mine, theirs))
	// Output: 1 0
}
