package blob_test

import (
	"bytes"
	"fmt"
	"log"

	"anabranch/blob"
)

// Somebody who knows only a name checks a range of a large file.
func Example() {
	film := bytes.Repeat([]byte("frames and frames "), 100_000)

	// Who has the film keeps its parents beside it.
	var b blob.Builder
	b.Write(film)
	name, parents := b.Sum()
	fmt.Println(name.Size, "bytes,", name.Groups(), "groups")

	// And sends what was asked for, with the parents above it.
	span := name.Covering(1_000_000, 1_000_500)
	var sent []byte
	blob.Walk(name, span, func(p blob.Part) bool {
		from := parents
		if p.Group {
			from = film
		}
		sent = append(sent, from[p.Offset:][:p.Bytes]...)
		return true
	})

	// Who asked believes no byte that does not match the name.
	begin, end := span.Bytes(name)
	got := make([]byte, end-begin)
	d, err := blob.NewDecoder(name, span, got, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Feed(sent); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(got), "bytes, checked:", d.Done(), bytes.Equal(got, film[begin:end]))
	// Output:
	// 1800000 bytes, 110 groups
	// 16384 bytes, checked: true true
}
