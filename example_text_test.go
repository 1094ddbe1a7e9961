package anabranch_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"anabranch"
	"anabranch/crdt/text"
)

// Two people in one text: who is there, and what is being typed, is seen before
// any of it is signed.
func ExampleText_Preview() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir, err := os.MkdirTemp("", "anabranch-example-")
	check(err)
	defer os.RemoveAll(dir)
	open := func(name string) *anabranch.Replica {
		r, err := anabranch.Open(ctx, filepath.Join(dir, name), anabranch.Options{
			Listen: []string{"127.0.0.1:0"}, LeaseDir: filepath.Join(dir, "lease"), NoDiscovery: true,
		})
		check(err)
		return r
	}
	laptop, phone := open("laptop"), open("phone")
	defer laptop.Close()
	defer phone.Close()
	notes, _, err := laptop.CreateSpace(ctx, "notes")
	check(err)
	poem := notes.Text("/poem")
	check(poem.Update(ctx, func(e *anabranch.TextEdit) error { return e.Insert(0, "The heron ") }))
	check(poem.Commit(ctx))
	ticket, err := notes.Invite(ctx, anabranch.InviteOptions{})
	check(err)
	onPhone, err := phone.Join(ctx, ticket, "notes")
	check(err)
	_, err = onPhone.Sync(ctx, laptop.Device())
	check(err)

	// Ada says where she is.
	caret, err := poem.Anchor(ctx, 10, text.After)
	check(err)
	check(poem.SetPresence(&anabranch.TextPresence{Name: "Ada", Placed: true, Caret: caret, Mark: caret}))
	for people, err := range onPhone.Text("/poem").Presence(ctx) {
		check(err)
		if len(people) == 1 {
			at, _, err := onPhone.Text("/poem").Resolve(ctx, people[0].Caret)
			check(err)
			fmt.Printf("%s is at %d\n", people[0].Name, at)
			break
		}
	}

	// She types, and the phone shows it as she does. A moment later it is a
	// record, which changes nothing of what is shown.
	var shown []rune
	for change, err := range onPhone.Text("/poem").Preview(ctx) {
		check(err)
		if change.Origin == anabranch.TextWhole {
			check(poem.Update(ctx, func(e *anabranch.TextEdit) error { return e.Insert(10, "waits.") }))
		}
		for _, p := range change.Patches {
			shown = append(shown[:p.Pos:p.Pos], append([]rune(p.Text), shown[p.Pos+p.Delete:]...)...)
		}
		if string(shown) == "The heron waits." {
			break
		}
	}
	fmt.Println(string(shown))
	check(poem.SetPresence(nil))

	// Output:
	// Ada is at 10
	// The heron waits.
}
