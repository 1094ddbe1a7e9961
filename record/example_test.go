package record_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"

	"anabranch/record"
)

// Ada writes a note on her laptop. Her phone receives the bytes from somebody
// it does not trust, and needs nothing but the name of the space to know that
// the note is Ada's and that not a bit of it was touched.
func Example() {
	ada := keyOf("ada")
	family := record.SpaceID(sha256.Sum256([]byte("the family's space")))

	// The laptop's lane is a random number drawn when its store was made;
	// this is the first record in it.
	note, err := record.Sign(family, ada, record.Record{
		Kind: record.Doc, Path: "/notes/plan", Payload: []byte("Rejoin downstream."),
		Time: 1_767_225_600_000_000, Lane: 0x5eed, Seq: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(note.Bytes), "bytes, ID", note.ID.String()[:16])

	got, err := record.Verify(family, note.Bytes)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v %s: %s\n", got.Kind, got.Path, got.Payload)

	// Equal bytes have equal IDs, and the ID covers the signature too.
	fmt.Println(got.ID == note.ID)

	// The same bytes mean nothing in another space.
	_, err = record.Verify(record.SpaceID{1}, note.Bytes)
	fmt.Println(errors.Is(err, record.ErrSignature))

	// Output:
	// 154 bytes, ID d0198e5ca7c42109
	// doc /notes/plan: Rejoin downstream.
	// true
	// true
}

// A later version says which lanes' versions it has seen. Whoever reads the
// path can then tell an old version from a true conflict.
func ExampleLaneTag() {
	ada, ben := keyOf("ada"), keyOf("ben")
	family := record.SpaceID(sha256.Sum256([]byte("the family's space")))
	reply, err := record.Sign(family, ben, record.Record{
		Kind: record.Doc, Path: "/notes/plan", Payload: []byte("Agreed."),
		Time: 1_767_225_700_000_000, Lane: 0xbe, Seq: 1,
		Replaces: []record.Replaced{{Lane: record.LaneTag(record.Public(ada), 0x5eed), Number: 1}},
	})
	fmt.Println(len(reply.Replaces), err)
	// Output: 1 <nil>
}

// A whole frame of records is verified at once, which is several times
// cheaper, and every bad one is named.
func ExampleVerifyBatch() {
	family := record.SpaceID(sha256.Sum256([]byte("the family's space")))
	var frame [][]byte
	for i := range 4 {
		v, err := record.Sign(family, keyOf("ada"), record.Record{
			Kind: record.Entry, Path: "/log", Payload: []byte{byte(i)}, Time: 1_767_225_600_000_000, Lane: 0x5eed, Seq: uint32(i + 1),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		frame = append(frame, v.Bytes)
	}
	frame[2][len(frame[2])-1] ^= 1 // somebody turns a bit of a signature
	frame[3] = frame[3][:40]       // and cuts a record off

	verified, errs := record.VerifyBatch(family, frame)
	for i := range frame {
		switch {
		case verified[i] != nil:
			fmt.Println(i, "number", verified[i].Seq)
		case errors.Is(errs[i], record.ErrSignature):
			fmt.Println(i, "forged")
		default:
			fmt.Println(i, errs[i])
		}
	}
	// Output:
	// 0 number 1
	// 1 number 2
	// 2 forged
	// 3 record: malformed length: 40 bytes, at least 126
}

// Ada no longer needs the numbers 1 and 3 of her lane under /log: she sweeps
// them with one bit each.
func ExampleRecord_Dots() {
	family := record.SpaceID(sha256.Sum256([]byte("the family's space")))
	sweep, err := record.Sign(family, keyOf("ada"), record.Record{
		Kind: record.Sweep, Path: "/log", Payload: []byte{0b101}, Time: 1_767_225_800_000_000, Lane: 0x5eed, Seq: 0,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	dots := sweep.Dots()
	fmt.Println(dots.Has(1), dots.Has(2), dots.Has(3))
	fmt.Println(record.Covers(sweep.Path, "/log/today"), record.Covers(sweep.Path, "/logbook"))
	// Output:
	// true false true
	// true false
}

// A grant gives another key a role in an area.
func ExampleControlBody() {
	family := record.SpaceID(sha256.Sum256([]byte("the family's space")))
	body := record.ControlBody{Grant: &record.Grant{
		Author: record.Public(keyOf("ben")), Device: record.Public(keyOf("ben's phone")), Role: record.Writer,
	}}
	grant, err := record.Sign(family, keyOf("root"), record.Record{
		Kind: record.Control, Path: "/notes", Payload: body.Payload(), Time: 1_767_225_500_000_000,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := record.ParseControl(grant.Payload)
	fmt.Println(read.Grant.Role, grant.Path, err)
	// Output: writer /notes <nil>
}

// keyOf makes the same key from the same name every time: for examples only.
func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}
