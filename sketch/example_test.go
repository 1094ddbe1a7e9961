package sketch_test

import (
	"crypto/sha256"
	"fmt"

	"anabranch/sketch"
)

// Two sets of ten thousand differ in four items. Eleven cells of 8 bytes are
// enough to say in which.
func Example() {
	ours, theirs := sketch.New(1024), sketch.New(1024)
	for i := range 10_000 {
		y := sketch.Of(sha256.Sum256(fmt.Append(nil, i)))
		if i >= 2 {
			ours.Add(y)
		}
		if i < 9998 {
			theirs.Add(y)
		}
	}
	sent := theirs.AppendCells(nil, 0, sketch.CellsFor(4)+2)

	cells, err := sketch.ParseCells(sent)
	if err != nil {
		panic(err)
	}
	d := sketch.NewDecoder(ours.Minus(cells, 0))
	fmt.Println("decoded:", d.Decode(), "from", len(sent), "bytes")
	only, missing := d.Found()
	fmt.Println("only here:", len(only), "only there:", len(missing))
	// Output:
	// decoded: true from 104 bytes
	// only here: 2 only there: 2
}
