package crdt_test

import (
	"fmt"

	"anabranch/crdt"
)

// Two people keep a list, apart for a while. One buys the milk and strikes it
// off; the other, who does not know, writes it down once more. The bread is
// struck off by one and touched by nobody else.
func Example() {
	anna, bert := crdt.Writer{Lane: 1, Time: 100}, crdt.Writer{Lane: 2, Time: 101}
	var list crdt.State
	delta, err := list.Add(anna, [][]byte{[]byte("milk"), []byte("bread")})
	if err != nil {
		panic(err)
	}
	list.Join(delta)

	// Deltas travel as bytes, in any order.
	struck, err := list.Discard(anna, [][]byte{[]byte("milk"), []byte("bread")})
	if err != nil {
		panic(err)
	}
	again, err := list.Add(bert, [][]byte{[]byte("milk")})
	if err != nil {
		panic(err)
	}
	for _, b := range [][]byte{again.AppendTo(nil), struck.AppendTo(nil)} {
		delta, err := crdt.DecodeState(b)
		if err != nil {
			panic(err)
		}
		list.Join(delta)
	}
	v, _ := list.Read(crdt.Set)
	fmt.Printf("%s\n", v.Values)
	// Output: [milk]
}
