package reconcile_test

import (
	"crypto/sha256"
	"fmt"
	"log"

	"anabranch/reconcile"
)

func item(minute uint64, note string) reconcile.Item {
	return reconcile.Item{Time: minute, ID: sha256.Sum256([]byte(note))}
}

// A laptop and a phone hold notes. The laptop learns what differs in one
// exchange, for a few notes; for a million, in three.
func Example() {
	laptop, err := reconcile.NewVector([]reconcile.Item{
		item(600, "heron at the weir"),
		item(605, "water clear"),
		item(610, "otter tracks"),
	})
	if err != nil {
		log.Fatal(err)
	}
	phone := new(reconcile.Tree)
	phone.Insert(
		item(600, "heron at the weir"),
		item(605, "water clear"),
		item(620, "rain begins"),
	)

	initiator, err := reconcile.NewInitiator(laptop, reconcile.Options{})
	if err != nil {
		log.Fatal(err)
	}
	msg, err := initiator.Start()
	if err != nil {
		log.Fatal(err)
	}
	for msg != nil {
		// On the phone, which remembers nothing between messages:
		answer, err := reconcile.Respond(phone.Clone(), msg, reconcile.Options{})
		if err != nil {
			log.Fatal(err)
		}
		// And back on the laptop:
		var have, need []reconcile.ID
		msg, have, need, err = initiator.Step(answer)
		if err != nil {
			log.Fatal(err)
		}
		for _, id := range have {
			fmt.Println("send", id == item(610, "otter tracks").ID)
		}
		for _, id := range need {
			fmt.Println("fetch", id == item(620, "rain begins").ID)
		}
	}
	// Output:
	// send true
	// fetch true
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
