package merkle_test

import (
	"crypto/sha256"
	"fmt"
	"log"

	"anabranch/merkle"
)

func id(note string) merkle.ID { return sha256.Sum256([]byte(note)) }

// Two replicas hold the same notes iff their digests are equal, whatever
// the order in which the notes came.
func Example() {
	var a, b merkle.Tree
	a.Insert(id("heron"), id("otter"))
	b.Insert(id("otter"))
	fmt.Println(a.Hash() == b.Hash())

	// Before it commits what it received, b knows what it will have.
	after, err := merkle.Overlay(&b, []merkle.ID{id("heron")}, nil)
	if err != nil {
		log.Fatal(err)
	}
	count, digest, err := merkle.Hash(after)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(count, digest == a.Hash())
	// Output:
	// false
	// 2 true
}

// Somebody who has only the digest checks that a note is in the set, and
// that another is not.
func ExampleProof_Verify() {
	var notes merkle.Tree
	for i := range 1000 {
		notes.Insert(id(fmt.Sprint("note ", i)))
	}
	digest := notes.Hash()

	for _, note := range []string{"note 7", "note 1000"} {
		proof, err := merkle.Prove(&notes, id(note))
		if err != nil {
			log.Fatal(err)
		}
		sent := proof.Encode()

		received, err := merkle.DecodeProof(sent)
		if err != nil {
			log.Fatal(err)
		}
		present, err := received.Verify(digest, id(note))
		fmt.Println(note, present, err)
	}
	// Output:
	// note 7 true <nil>
	// note 1000 false <nil>
}
