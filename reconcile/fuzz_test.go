package reconcile

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// rewrite takes a message apart and puts it together again. Lists keep the
// order they came in, which the reader does not.
func rewrite(msg []byte) ([]byte, error) {
	r := reader{msg: msg}
	if _, err := r.versionByte(); err != nil {
		return nil, err
	}
	var w writer
	w.begin()
	for {
		ok, err := r.next()
		g := &r.g
		if err != nil || !ok {
			return w.buf, err
		}
		w.header(&g.upper, g.mode)
		switch g.mode {
		case modeFingerprint:
			w.buf = append(w.buf, g.fingerprint[:]...)
		case modeList:
			w.buf = appendVarint(w.buf, uint64(len(g.ids)/idBytes))
			w.buf = append(w.buf, g.ids...)
		}
	}
}

// fuzzSets are two indexes of the same 200 items, many at one time, and two
// of others that overlap.
func fuzzSets() (v *Vector, tree *Tree, other *Vector) {
	var items, others []Item
	for i := range 240 {
		x := Item{Time: uint64(i / 50), ID: numbered(i).ID}
		if i < 200 {
			items = append(items, x)
		}
		if i%20 != 0 {
			others = append(others, x)
		}
	}
	v, _ = NewVector(items)
	other, _ = NewVector(others)
	tree = tiny()
	tree.Insert(items...)
	return v, tree, other
}

func seed(f *testing.F) {
	v, _, other := fuzzSets()
	for _, limit := range []int{0, 1300} {
		k, err := converse(other, v, limit, limit, nil)
		if err != nil {
			f.Fatal(err)
		}
		for _, m := range k.messages {
			f.Add(m)
		}
	}
	f.Add([]byte{version, 0, 0, modeList, 0})
	f.Add([]byte{0x62, 0, 0})
	f.Add([]byte("\x61\x02\x01\xab\x00\x01\x01\xac\x01" + string(emptyFingerprint[:])))
}

// accepted checks what must hold for any message: accepted bytes have one
// reading, and refusals say what and where.
func accepted(t *testing.T, msg []byte, err error) bool {
	again, parseErr := rewrite(msg)
	if err == nil {
		if parseErr != nil || !bytes.Equal(again, msg) {
			t.Fatalf("accepted bytes are rewritten as %x (%v)", again, parseErr)
		}
		return true
	}
	var wrong *MessageError
	if !errors.As(err, &wrong) || wrong.Offset < 0 || wrong.Offset > len(msg) {
		t.Fatalf("refused with %v", err)
	}
	return false
}

func FuzzRespond(f *testing.F) {
	seed(f)
	v, tree, _ := fuzzSets()
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, limit := range []int{0, 1300} {
			answer, err := respond(v, msg, limit)
			if len(msg) > 0 && msg[0] != version && err == nil {
				if !bytes.Equal(answer, []byte{version}) {
					t.Fatalf("another version is answered with %x", answer)
				}
				return
			}
			if !accepted(t, msg, err) {
				return
			}
			if limit > 0 && len(answer) > limit {
				t.Fatalf("%d bytes in a frame of %d", len(answer), limit)
			}
			if again, err := rewrite(answer); err != nil || !bytes.Equal(again, answer) {
				t.Fatalf("the answer is not a message: %x, %v", answer, err)
			}
			if other, err := respond(tree, msg, limit); err != nil || !bytes.Equal(other, answer) {
				t.Fatalf("the tree answers %x (%v), the vector %x", other, err, answer)
			}
		}
	})
}

func FuzzInitiatorStep(f *testing.F) {
	seed(f)
	_, _, other := fuzzSets()
	holds := map[ID]bool{}
	for x := range other.Items(0, other.Len()) {
		holds[x.ID] = true
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		for _, limit := range []int{0, 1300} {
			in := initiate(other, Options{FrameBytes: limit})
			if _, err := in.Start(); err != nil {
				t.Fatal(err)
			}
			reply, have, need, err := in.Step(msg)
			if !accepted(t, msg, err) {
				if reply != nil || have != nil || need != nil {
					t.Fatal("a refused message yields results")
				}
				return
			}
			if limit > 0 && len(reply) > limit {
				t.Fatalf("%d bytes in a frame of %d", len(reply), limit)
			}
			for _, id := range have {
				if !holds[id] {
					t.Fatalf("have %x is not held", id)
				}
			}
			if len(have) > len(holds) || len(need)*32 > len(msg) {
				t.Fatal("more results than there can be")
			}
			if again, err := rewrite(reply); reply != nil && (err != nil || !bytes.Equal(again, reply)) {
				t.Fatalf("the reply is not a message: %x, %v", reply, err)
			}
		}
	})
}

// FuzzMutatedConversation lets the engine speak with itself while somebody
// changes messages on the way: a byte, a cut, a piece repeated, or a message
// of an earlier round. It may end with an error of a known type or with
// wrong results, as nothing is authenticated here, but it ends.
func FuzzMutatedConversation(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add([]byte{3, 0, 40, 0x55}, uint8(1))
	f.Add([]byte{9, 2, 100, 1, 9, 3, 50, 2}, uint8(6))
	f.Add([]byte{6, 1, 20, 1, 6, 0, 90, 2, 0, 0, 7, 3}, uint8(64))
	v, tree, other := fuzzSets()
	f.Fuzz(func(t *testing.T, script []byte, how uint8) {
		limit := []int{0, 1300}[how&1]
		var key *Key
		if how>>6&1 == 1 {
			key = &Key{how}
		}
		in := initiate(other, Options{FrameBytes: limit, Split: Split(how >> 1 & 3), Dialect: key})
		var theirs Index = v
		if how>>5&1 == 1 {
			theirs = tree
		}
		msg, err := in.Start()
		var old [][]byte
		mutate := func(msg []byte) []byte {
			msg = bytes.Clone(msg)
			old = append(old, msg)
			if len(script) < 4 {
				return msg
			}
			op, at, n, x := script[0], int(script[1])<<8|int(script[2]), int(script[2]), script[3]
			script = script[4:]
			at %= len(msg)
			switch op % 6 {
			case 0:
				msg[at] ^= x
			case 1:
				msg = msg[:at]
			case 2:
				msg = append(msg[:at:at], bytes.Repeat(msg[at:], 1+n%3)...)
			case 3:
				msg = old[int(x)%len(old)]
			case 4:
				msg = slices.Insert(msg, at, x)
			}
			return msg
		}
		o := Options{FrameBytes: limit, Split: Split(how >> 3 & 3), Dialect: key}
		out := &Responder{engine: newEngine(o, false), options: o, ix: theirs}
		rounds := 0
		for err == nil && msg != nil {
			if rounds++; rounds > graceRounds+50 {
				t.Fatal("it does not end")
			}
			var answer []byte
			if answer, err = out.Respond(mutate(msg)); err == nil {
				msg, _, _, err = in.Step(mutate(answer))
			}
		}
		var wrong *MessageError
		var beyond *LimitError
		if err != nil && !errors.As(err, &wrong) && !errors.As(err, &beyond) {
			t.Fatalf("an error of no known type: %v", err)
		}
	})
}
