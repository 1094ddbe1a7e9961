package space_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"anabranch/record"
	"anabranch/space"
)

// A space is born, Ada is admitted, writes, cleans up after herself, and is
// withdrawn again. What she wrote until then stands, because the seal lists
// it.
func Example() {
	root, ada := key(1), key(2)
	genesis, err := space.NewGenesis(root, nil, [16]byte{42})
	if err != nil {
		fmt.Println(err)
		return
	}
	sign := func(who ed25519.PrivateKey, r record.Record) *record.Verified {
		v, err := record.Sign(genesis.ID(), who, r)
		if err != nil {
			panic(err)
		}
		return v
	}
	state := space.NewState(genesis.Roots)

	first := sign(ada, record.Record{Kind: record.Doc, Time: 10, Lane: 7, Seq: 1, Path: "/notes/river", Payload: []byte("it splits")})
	fmt.Println("before she is admitted, her note is", state.Judge(first))

	// The root key lets Ada's key write under /notes.
	body := record.ControlBody{Type: record.GrantType, Grant: &record.Grant{Author: record.Public(ada), Role: record.Writer}}
	grant := sign(root, record.Record{Kind: record.Control, Time: 11, Path: "/notes", Payload: body.Payload()})
	change := state.Insert(grant)
	fmt.Println("admitted: look again at what she wrote below", change.Selectors[0].Area)
	fmt.Println("her note is", state.Judge(first))

	// She writes a second version and sweeps number 1 of her lane away.
	second := sign(ada, record.Record{Kind: record.Doc, Time: 12, Lane: 7, Seq: 2, Path: "/notes/river", Payload: []byte("it splits and rejoins")})
	state.Insert(sign(ada, record.Record{Kind: record.Sweep, Time: 13, Lane: 7, Seq: 0, Path: "/notes", Payload: []byte{1}}))
	fmt.Println("after her sweep the versions are", state.Judge(first), "and", state.Judge(second))

	// The root key withdraws the grant, listing what is to stand.
	body = record.ControlBody{Type: record.SealType, Seal: &record.Seal{Target: grant.ID, Part: 1, Parts: 1, List: []record.Prefix{second.ID.Prefix()}}}
	state.Insert(sign(root, record.Record{Kind: record.Control, Time: 14, Path: "/", Payload: body.Payload()}))
	backdated := sign(ada, record.Record{Kind: record.Doc, Time: 9, Lane: 7, Seq: 3, Path: "/notes/river", Payload: []byte("it dries up")})
	fmt.Println("sealed: what was listed is", state.Judge(second), "and what she dates back is", state.Judge(backdated))

	reading := space.Read([]*record.Verified{second}, 15, nil)
	fmt.Printf("the path reads %q\n", reading.Doc.Payload)

	// Output:
	// before she is admitted, her note is held
	// admitted: look again at what she wrote below /notes
	// her note is member
	// after her sweep the versions are dead and member
	// sealed: what was listed is member and what she dates back is held
	// the path reads "it splits and rejoins"
}

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}
