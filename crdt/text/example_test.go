package text_test

import (
	"fmt"

	"anabranch/crdt/text"
)

// Two people write into one text, apart from each other, and meet again.
func Example() {
	// Each replica writes in a lane of its own. What Flush returns is to be
	// carried to the others in any way, in any order, any number of times.
	ana, ben := text.New(1), text.New(2)
	must(ana.Insert(0, "A river divides."))
	for _, delta := range ana.Flush(0) {
		apply(ben, ana.Lane(), delta)
	}

	// Both go offline and type, at the same place.
	must(ana.Insert(16, " It rejoins."))
	must(ben.Insert(16, " Nobody minds."))
	must(ben.Delete(2, 5))
	must(ben.Insert(2, "stream"))
	caret, err := ana.Anchor(16, text.After)
	must(err)

	fromAna, fromBen := ana.Flush(0), ben.Flush(0)
	for _, delta := range fromBen {
		apply(ana, ben.Lane(), delta)
	}
	for _, delta := range fromAna {
		apply(ben, ana.Lane(), delta)
		apply(ben, ana.Lane(), delta) // twice does no harm
	}
	fmt.Println(ana)
	fmt.Println(ana.String() == ben.String())

	// A caret stays with the character that it stood behind.
	pos, _ := ana.Resolve(caret)
	fmt.Println(pos)

	// Ben takes back what he did in that step, and nothing of Ana's.
	ben.Undo()
	fmt.Println(ben)

	// Output:
	// A stream divides. It rejoins. Nobody minds.
	// true
	// 17
	// A river divides. It rejoins.
}

// What one replica saved, it loads again; strangers are told what they lack.
func ExampleDoc_Since() {
	d := text.New(1)
	must(d.Insert(0, "saved and loaded"))
	d.Flush(0)
	state, err := d.Save()
	must(err)
	d, err = text.Load(1, state)
	must(err)

	stranger := text.New(0)
	for _, delta := range d.Since(stranger.Version()) {
		apply(stranger, delta.Lane, delta.Body)
	}
	fmt.Println(stranger)
	// Output: saved and loaded
}

// Diff gives the patches from one state of a text to another.
func ExampleDiff() {
	before, after := text.New(0), text.New(1)
	must(after.Insert(0, "one three"))
	for _, delta := range after.Flush(0) {
		apply(before, 1, delta)
	}
	must(after.Insert(4, "two "))
	must(after.Delete(8, 5))
	for _, p := range text.Diff(before, after) {
		fmt.Printf("at %d: delete %d, insert %q\n", p.Pos, p.Delete, p.Text)
	}
	// Output: at 4: delete 5, insert "two "
}

func apply(d *text.Doc, lane uint64, delta []byte) {
	_, err := d.Apply(lane, delta)
	must(err)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
