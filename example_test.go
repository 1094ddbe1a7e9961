package anabranch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"anabranch"
)

// Two devices keep one space. They write while they cannot reach each other,
// and are equal again afterwards, which both have computed.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "anabranch-example-")
	check(err)
	defer os.RemoveAll(dir)

	// Each device has a home. Manual leaves it to us when to sync.
	open := func(name string) *anabranch.Replica {
		r, err := anabranch.Open(ctx, filepath.Join(dir, name), anabranch.Options{
			Listen:   []string{"127.0.0.1:0"},
			LeaseDir: filepath.Join(dir, "lease"),
			Manual:   true,
		})
		check(err)
		return r
	}
	laptop, phone := open("laptop"), open("phone")
	defer laptop.Close()
	defer phone.Close()

	// The laptop makes a space. The recovery key would be written down now.
	notes, recovery, err := laptop.CreateSpace(ctx, "field-notes")
	check(err)
	_ = recovery
	_, err = notes.Put(ctx, "/plan", []byte("Walk the east bank in May."))
	check(err)

	// A single-use ticket brings the phone in.
	ticket, err := notes.Invite(ctx, anabranch.InviteOptions{})
	check(err)
	onPhone, err := phone.Join(ctx, ticket, "notes")
	check(err)
	_, err = onPhone.Sync(ctx, laptop.Device())
	check(err)
	doc, err := onPhone.Get(ctx, "/plan")
	check(err)
	fmt.Printf("the phone reads: %s\n", doc.Payload)

	// Apart: both write, and both rewrite the plan.
	phone.SetOnline(false)
	_, err = onPhone.Append(ctx, "/log", []byte("heron at the weir"))
	check(err)
	_, err = onPhone.Put(ctx, "/plan", []byte("Stay at home and read."))
	check(err)
	_, err = notes.Put(ctx, "/plan", []byte("Walk the west bank in June."))
	check(err)
	_, err = onPhone.Sync(ctx, laptop.Device())
	fmt.Println("offline:", errors.Is(err, anabranch.ErrOffline))

	// Together again. Sync returns only when both hold the same root.
	phone.SetOnline(true)
	report, err := onPhone.Sync(ctx, laptop.Device())
	check(err)
	fmt.Printf("sent %d records, received %d\n", report.RecordsOut, report.RecordsIn)
	here, _, err := onPhone.Root(ctx)
	check(err)
	there, _, err := notes.Root(ctx)
	check(err)
	fmt.Println("same root:", here == there)

	// Neither had seen the other's plan: that is shown, not hidden.
	for conflict, err := range notes.Conflicts(ctx, "") {
		check(err)
		fmt.Printf("conflict at %s: %d versions\n", conflict.Path, 1+len(conflict.Others))
	}

	// Output:
	// the phone reads: Walk the east bank in May.
	// offline: true
	// sent 2 records, received 1
	// same root: true
	// conflict at /plan: 2 versions
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
