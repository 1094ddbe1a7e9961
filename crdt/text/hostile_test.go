package text

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"anabranch/crdt"
)

// one is the delta of a single run, built by hand as an attacker would.
func one(lane uint64, number uint32, parent crdt.Dot, left bool, text string) Delta {
	b := []byte{deltaVersion | hasRuns}
	foreign := !parent.IsZero() && parent.Lane != lane
	if foreign {
		b[0] |= hasLanes
		b = binary.BigEndian.AppendUint64(append(b, 1), parent.Lane)
	}
	b = append(crdt.AppendUvarint(b, uint64(number)), 1)
	v := uint64(len([]rune(text))) << 1
	if left {
		v |= 1
	}
	b = crdt.AppendUvarint(b, v)
	switch {
	case parent.IsZero():
		b = append(b, 0)
	case foreign:
		b = crdt.AppendUvarint(append(b, 1), uint64(parent.Number))
	default:
		b = crdt.AppendUvarint(b, uint64(number-parent.Number)<<1)
	}
	return Delta{lane, append(b, text...)}
}

// attack is a list of characters, one a delta, each after its parent.
type attack []twinOp

func (a attack) deltas() []Delta {
	var out []Delta
	for _, op := range a {
		out = append(out, one(op.dot.Lane, op.dot.Number, op.parent, op.onLeft, string(op.r)))
	}
	return out
}

// attacks makes every attack with n characters; lane names are in no order.
func attacks(n int) map[string]attack {
	rng := rand.New(rand.NewPCG(20, uint64(n)))
	seed := crdt.Dot{Lane: 1 << 40, Number: 1}
	start := twinOp{dot: seed, r: 's', clen: 1}
	all := make(map[string]attack)
	add := func(name string, op twinOp) { all[name] = append(all[name], op) }
	for _, name := range []string{"lanes after one character", "lanes before one character"} {
		add(name, start)
		for i, lane := range rng.Perm(n) {
			add(name, twinOp{dot: crdt.Dot{Lane: uint64(lane + 1), Number: 1}, parent: seed, onLeft: name == "lanes before one character", r: rune('a' + i%26), clen: 1})
		}
	}
	// Each next character of a lane that goes to one place is a sibling.
	for i := range n {
		op := twinOp{dot: crdt.Dot{Lane: 5, Number: uint32(i + 1)}, r: 'x', clen: 1}
		add("one lane of siblings", op)
		if i > 0 {
			op.parent, op.onLeft = crdt.Dot{Lane: 5, Number: 1}, true
		}
		add("one lane of left siblings", op)
	}
	// Chains, and then siblings at every level of them.
	for _, left := range []bool{false, true} {
		name := map[bool]string{false: "a chain and its siblings", true: "a backward chain and its siblings"}[left]
		var parent crdt.Dot
		for i := range n / 2 {
			dot := crdt.Dot{Lane: uint64(2 + i%2), Number: uint32(i/2 + 1)}
			add(name, twinOp{dot: dot, parent: parent, onLeft: left && i > 0, r: 'c', clen: 1})
			parent = dot
		}
		for i, k := range rng.Perm(n / 2) {
			at := all[name][k]
			add(name, twinOp{dot: crdt.Dot{Lane: 1, Number: uint32(i + 1)}, parent: at.parent, onLeft: at.onLeft, r: 's', clen: 1})
		}
	}
	name := "a random tree"
	number := make(map[uint64]uint32)
	for i := range n {
		lane := 1 + rng.Uint64N(50)
		number[lane]++
		op := twinOp{dot: crdt.Dot{Lane: lane, Number: number[lane]}, r: 't', clen: 1}
		if i > 0 {
			op.parent, op.onLeft = all[name][rng.IntN(i)].dot, rng.IntN(2) == 0
		}
		add(name, op)
	}
	return all
}

func TestAttacksCostLogarithms(t *testing.T) {
	const n = 20000
	for name, a := range attacks(n) {
		d := New(0)
		for _, delta := range a.deltas() {
			mustApply(t, d, delta)
		}
		if d.Len() != len(a) {
			t.Errorf("%s: %d characters of %d", name, d.Len(), len(a))
		}
		// A few levels of 32 kids, a few descents of each.
		if each := d.work / len(a); each > 600 {
			t.Errorf("%s: %d spans and nodes read for each character", name, each)
		} else {
			t.Logf("%s: %d spans and nodes read for each character", name, each)
		}
	}
}

func TestAttacksEndLikeTheTree(t *testing.T) {
	for name, a := range attacks(400) {
		twin := newTwin()
		for _, op := range a {
			twin.apply(op)
		}
		want := twin.order()
		for try := range 4 {
			deltas := a.deltas()
			rng := rand.New(rand.NewPCG(1, uint64(try)))
			if try > 0 {
				rng.Shuffle(len(deltas), func(i, j int) { deltas[i], deltas[j] = deltas[j], deltas[i] })
			}
			d := tiny(0, []int{scanSpans, 0, 3, 1 << 30}[try])
			for _, delta := range deltas {
				if _, err := d.Apply(delta.Lane, delta.Body); err != nil {
					t.Fatal(err)
				}
			}
			check(t, d)
			for i, n := range want {
				a, err := d.Anchor(i, Before)
				if err != nil || a.Dot != n.dot {
					t.Fatalf("%s, try %d: character %d is %v (%v), want %v", name, try, i, a.Dot, err, n.dot)
				}
			}
		}
	}
}

// absurd is deltas of lane 1 that everybody must refuse.
func absurd() map[string][]byte {
	huge := func(b ...byte) []byte { return crdt.AppendUvarint(b, 1<<60) }
	return map[string][]byte{
		"empty":                        {},
		"of nothing":                   {deltaVersion},
		"another version":              {0x22, 1, 1, 2, 0, 'a'},
		"a run of 2^60":                append(huge(deltaVersion|hasRuns, 1, 1), 0, 'a'),
		"2^60 runs":                    huge(deltaVersion|hasRuns, 1),
		"a number of 2^60":             append(huge(deltaVersion|hasRuns), 1, 2, 0, 'a'),
		"a claim of 2^60":              huge(deltaVersion|hasClaims, 1, 0, 1, 0),
		"2^60 claims":                  huge(deltaVersion|hasClaims, 1, 0),
		"2^60 lanes":                   huge(deltaVersion | hasRuns | hasLanes),
		"2^60 bytes deflated":          append(huge(deltaVersion|hasRuns|deflated), 1, 2, 3),
		"less text than the run":       {deltaVersion | hasRuns, 1, 1, 4, 0, 'a'},
		"more text than the run":       {deltaVersion | hasRuns, 1, 1, 2, 0, 'a', 'b'},
		"text that is not UTF-8":       {deltaVersion | hasRuns, 1, 1, 2, 0, 0xff},
		"left of the start":            {deltaVersion | hasRuns, 1, 1, 3, 0, 'a'},
		"a forward origin":             {deltaVersion | hasRuns, 1, 1, 2, 2, 'a'},
		"an unknown place":             {deltaVersion | hasRuns, 1, 1, 2, 1, 1, 'a'},
		"a run split in two":           {deltaVersion | hasRuns, 1, 2, 2, 2, 0, 2, 'a', 'b'},
		"a claim split in two":         {deltaVersion | hasClaims, 1, 0, 2, 0, 2, 0, 2},
		"a causal length of 2, long":   {deltaVersion | hasClaims, 1, 0, 1, 0, 3, 2},
		"a number in too many bytes":   {deltaVersion | hasRuns, 0x81, 0, 1, 2, 0, 'a'},
		"a lane that nobody speaks of": {deltaVersion | hasRuns | hasLanes, 1, 0, 0, 0, 0, 0, 0, 0, 9, 1, 1, 2, 0, 'a'},
		"the own lane among others":    {deltaVersion | hasRuns | hasLanes, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 1, 1, 'a'},
		"lane 0":                       {deltaVersion | hasRuns | hasLanes, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 1, 1, 'a'},
	}
}

func TestAbsurdDeltasAreRefusedWithoutTrace(t *testing.T) {
	for name, body := range absurd() {
		d := New(7)
		mustInsert(t, d, 0, "hello")
		d.Flush(0)
		before, _ := d.Save()
		var wrong *FormatError
		if _, err := d.Apply(1, body); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := d.Save(); string(after) != string(before) {
			t.Errorf("%s: it left a trace", name)
		}
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	d := New(0)
	mustApply(t, d, one(1, 1, crdt.Dot{}, false, "a"))
	full := 0
	for i := range MaxParked + 100 {
		res, err := d.Apply(uint64(10+i), one(uint64(10+i), 1, crdt.Dot{Lane: 5, Number: uint32(i%7 + 1)}, false, "x").Body)
		switch {
		case errors.Is(err, ErrParkFull):
			full++
		case err != nil || res.Status != Parked:
			t.Fatalf("%v %+v", err, res)
		}
	}
	if d.Parked() != MaxParked || full != 100 || d.String() != "a" {
		t.Fatalf("%d wait, %d were sent away", d.Parked(), full)
	}
	if m := d.Missing(); len(m) != 1 || m[0] != (crdt.Dot{Lane: 5, Number: 1}) {
		t.Fatalf("missing: %v", m)
	}
	res, err := d.Apply(5, one(5, 1, crdt.Dot{}, false, "1234567").Body)
	if err != nil || res.Released != MaxParked || d.Parked() != 0 || d.Len() != 1+7+MaxParked {
		t.Fatalf("%v: released %d, %d characters", err, res.Released, d.Len())
	}
	check(t, d)
	// Two large ones that wait: the bytes are bounded, too.
	big := string(make([]byte, MaxDelta-100))
	for i := range MaxParkedBytes/MaxDelta + 2 {
		_, err = d.Apply(uint64(1<<20+i), one(uint64(1<<20+i), 1, crdt.Dot{Lane: 6, Number: 1}, false, big).Body)
	}
	if !errors.Is(err, ErrParkFull) || d.park.bytes > MaxParkedBytes {
		t.Fatalf("%d bytes wait (%v)", d.park.bytes, err)
	}
}

func TestCyclesWaitForEver(t *testing.T) {
	a, b := crdt.Dot{Lane: 1, Number: 1}, crdt.Dot{Lane: 2, Number: 1}
	d := New(0)
	for _, delta := range []Delta{one(1, 1, b, false, "x"), one(2, 1, a, false, "y"), one(1, 2, a, false, "z")} {
		if res, err := d.Apply(delta.Lane, delta.Body); err != nil || res.Status != Parked {
			t.Fatalf("%v %+v", err, res)
		}
	}
	if d.Len() != 0 || d.Parked() != 3 {
		t.Fatalf("%q, %d wait", d.String(), d.Parked())
	}
	roundTrip(t, d)
}

func TestTwoFoldsThatLeanOnEachOtherMeet(t *testing.T) {
	// What two wrote in turns, each as one delta: neither comes first.
	a, b := New(1), New(2)
	for i := range 20 {
		d := []*Doc{a, b}[i%2]
		mustInsert(t, d, d.Len()/2, "ab")
		share(t, a, b)
	}
	deltas := a.Since(crdt.Context{})
	if len(deltas) != 2 {
		t.Fatalf("%d deltas", len(deltas))
	}
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		d := New(0)
		for _, i := range order {
			if _, err := d.Apply(deltas[i].Lane, deltas[i].Body); err != nil {
				t.Fatal(err)
			}
		}
		if d.String() != a.String() || d.Parked() != 0 {
			t.Fatalf("%q with %d waiting, want %q", d.String(), d.Parked(), a.String())
		}
	}
}

func TestAPastedBookStaysWhereItIs(t *testing.T) {
	d := New(1)
	book := make([]byte, 1<<20)
	for i := range book {
		book[i] = 'b'
	}
	mustInsert(t, d, 0, string(book))
	for i := range 20000 {
		mustInsert(t, d, 2*i+1, "x")
	}
	check(t, d)
}
