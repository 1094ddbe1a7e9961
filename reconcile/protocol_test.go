package reconcile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// talk is one conversation and what it cost.
type talk struct {
	messages   [][]byte
	have, need []ID
}

func (k talk) rounds() int { return len(k.messages) / 2 }

func (k talk) bytes() (up, down int) {
	for i, m := range k.messages {
		if i%2 == 0 {
			up += len(m)
		} else {
			down += len(m)
		}
	}
	return up, down
}

// converse runs a conversation; between is called before each answer.
func converse(mine, theirs Index, mineBytes, theirBytes int, between func()) (k talk, err error) {
	return converseWith(mine, theirs, Options{FrameBytes: mineBytes}, Options{FrameBytes: theirBytes}, between)
}

func converseWith(mine, theirs Index, m, o Options, between func()) (k talk, err error) {
	mineBytes, theirBytes := m.FrameBytes, o.FrameBytes
	in := initiate(mine, m)
	msg, err := in.Start()
	if err != nil {
		return k, err
	}
	for msg != nil {
		if between != nil {
			between()
		}
		answer, err := respondWith(theirs, msg, o)
		if err != nil {
			return k, fmt.Errorf("respond: %w", err)
		}
		if theirBytes > 0 && len(answer) > theirBytes {
			return k, fmt.Errorf("an answer of %d bytes exceeds %d", len(answer), theirBytes)
		}
		k.messages = append(k.messages, bytes.Clone(msg), answer)
		if len(k.messages) > 2000 {
			return k, errors.New("no end in sight")
		}
		var have, need []ID
		if msg, have, need, err = in.Step(answer); err != nil {
			return k, fmt.Errorf("step: %w", err)
		}
		if mineBytes > 0 && len(msg) > mineBytes {
			return k, fmt.Errorf("a message of %d bytes exceeds %d", len(msg), mineBytes)
		}
		k.have, k.need = append(k.have, have...), append(k.need, need...)
	}
	return k, nil
}

// initiate and respond allow frames below the limit of Options.
func initiate(ix Index, o Options) *Initiator {
	in := &Initiator{engine: newEngine(o, true), options: o}
	in.engine.over(ix, true)
	return in
}

func respond(ix Index, msg []byte, frameBytes int) ([]byte, error) {
	return respondWith(ix, msg, Options{FrameBytes: frameBytes})
}

func respondWith(ix Index, msg []byte, o Options) ([]byte, error) {
	r := &Responder{engine: newEngine(o, false), options: o, ix: ix}
	return r.Respond(msg)
}

func setOf(ids []ID) map[ID]bool {
	set := map[ID]bool{}
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// twoSets draws sets that share some, most, all or none of their items.
func twoSets(t *rapid.T) (mine, theirs []Item) {
	onlyMine := rapid.IntRange(0, 256).Draw(t, "only mine")
	onlyTheirs := rapid.IntRange(0, 256-onlyMine).Draw(t, "only theirs")
	if rapid.Bool().Draw(t, "nearly equal") {
		onlyMine, onlyTheirs = onlyMine%4, onlyTheirs%4
	}
	for _, x := range someItems(t, "items", rapid.SampledFrom([]int{0, 30, 300, 3000}).Draw(t, "most")) {
		h := sha256.Sum256(x.ID[:])
		if int(h[0]) >= onlyMine {
			theirs = append(theirs, x)
		}
		if int(h[0]) < 256-onlyTheirs {
			mine = append(mine, x)
		}
	}
	return mine, theirs
}

// frameSizes are limits below what Options allows, but above the largest
// piece that must fit: fifteen bounds with full prefixes.
var frameSizes = rapid.SampledFrom([]int{0, 0, 1300, 1500, 1700, 2500, 4096})

func someOptions(t *rapid.T, whose string) Options {
	return Options{
		FrameBytes: frameSizes.Draw(t, whose+" frame"),
		Split:      Split(rapid.IntRange(0, len(plans)-1).Draw(t, whose+" split")),
		Seed:       rapid.Uint64().Draw(t, whose+" seed"),
	}
}

// differenceIsFound is the property that everything here is for.
func differenceIsFound(t *rapid.T) {
	mine, theirs := twoSets(t)
	m, o := someOptions(t, "my"), someOptions(t, "their")
	k, err := converseWith(someIndex(t, "mine", mine), someIndex(t, "theirs", theirs), m, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	have, need := difference(mine, theirs)
	if got := setOf(k.have); !maps.Equal(got, have) {
		t.Fatalf("have: %d IDs, want %d", len(got), len(have))
	}
	if got := setOf(k.need); !maps.Equal(got, need) {
		t.Fatalf("need: %d IDs, want %d", len(got), len(need))
	}
	if m.FrameBytes == 0 && o.FrameBytes == 0 {
		if len(k.have) != len(have) || len(k.need) != len(need) {
			t.Fatal("an ID came twice without a frame limit")
		}
		if most := map[Split]int{Bandwidth: 7}; k.rounds() > max(3, most[m.Split], most[o.Split]) {
			t.Fatalf("%d rounds for %d items", k.rounds(), len(mine)+len(theirs))
		}
	}
}

func TestTheDifferenceIsFound(t *testing.T) { rapid.Check(t, differenceIsFound) }

func FuzzConversation(f *testing.F) { f.Fuzz(rapid.MakeFuzz(differenceIsFound)) }

// backendsAgree compares what two backends say with what the plain indexes
// say about the same sets.
func backendsAgree(t *rapid.T) {
	mine, theirs := twoSets(t)
	if len(mine)+len(theirs) > 600 {
		t.Skip("the plain twin is slow on large sets")
	}
	m, o := someOptions(t, "my"), someOptions(t, "their")
	one, err := converseWith(someIndex(t, "mine", mine), someIndex(t, "theirs", theirs), m, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := converseWith(plain(sorted(mine)), plain(sorted(theirs)), m, o, nil)
	if err != nil || !slices.EqualFunc(one.messages, two.messages, slices.Equal) {
		t.Fatalf("plain indexes say something else: %v", err)
	}
}

func TestBackendsSpeakTheSameBytes(t *testing.T) { rapid.Check(t, backendsAgree) }

func FuzzBackends(f *testing.F) { f.Fuzz(rapid.MakeFuzz(backendsAgree)) }

func TestItemsMayArriveBetweenRounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mine, theirs := twoSets(t)
		late := slices.DeleteFunc(someItems(t, "late", 100), func(x Item) bool {
			return slices.ContainsFunc(theirs, func(y Item) bool { return x.ID == y.ID }) ||
				slices.ContainsFunc(mine, func(y Item) bool { return x.ID == y.ID && x.Time != y.Time })
		})
		a, _ := NewVector(mine)
		b := tiny()
		b.Insert(theirs...)
		waiting := late
		k, err := converse(a, b, frameSizes.Draw(t, "my frame"), frameSizes.Draw(t, "their frame"), func() {
			n := rapid.IntRange(0, len(waiting)).Draw(t, "arrive")
			b.Insert(waiting[:n]...)
			waiting = waiting[n:]
		})
		if err != nil {
			t.Fatal(err)
		}
		// What never changed is found, and what is found was true at
		// some time.
		arrived := append(slices.Clone(theirs), late[:len(late)-len(waiting)]...)
		haveBefore, needBefore := difference(mine, theirs)
		haveAfter, needAfter := difference(mine, arrived)
		have, need := setOf(k.have), setOf(k.need)
		for id := range haveAfter {
			if !have[id] {
				t.Fatalf("have lacks %x", id)
			}
		}
		for id := range needBefore {
			if !need[id] {
				t.Fatalf("need lacks %x", id)
			}
		}
		for id := range have {
			if !haveBefore[id] {
				t.Fatalf("have of %x was never true", id)
			}
		}
		for id := range need {
			if !needAfter[id] {
				t.Fatalf("need of %x was never true", id)
			}
		}
	})
}

// The reference closes a full frame with the fingerprint of the items
// above the dropped range. A peer that says it has none in that range could
// find it equal, and the dropped items would be lost.
func TestADroppedRangeIsNotMistakenForAnEmptyOne(t *testing.T) {
	var items []Item
	for i := range 40 {
		items = append(items, numbered(i))
	}
	items = sorted(items)
	v, _ := NewVector(items)
	var w writer
	w.begin()
	for _, at := range []int{10, 20} { // two ranges to fill the frame with
		b := BoundAt(items[at])
		w.header(&b, modeList)
		w.buf = append(w.buf, 0)
	}
	w.header(&Bound{Time: Infinity}, modeFingerprint)
	w.buf = append(w.buf, emptyFingerprint[:]...)
	answer, err := respond(v, w.buf, 200+800) // room for the two, not for the third
	if err != nil {
		t.Fatal(err)
	}
	want := slowFingerprint(items[20:])
	if got := Fingerprint(answer[len(answer)-16:]); got != want {
		t.Errorf("the closing fingerprint is %x, that of the rest is %x, of nothing %x", got, want, emptyFingerprint)
	}
}

func TestVersionsAreNegotiated(t *testing.T) {
	v, _ := NewVector([]Item{numbered(1)})
	for b := 0x60; b <= 0x6f; b++ {
		if b == version {
			continue
		}
		answer, err := Respond(v, []byte{byte(b), 0xaa, 0xbb}, Options{})
		if err != nil || !slices.Equal(answer, []byte{version}) {
			t.Errorf("%02x: %x, %v", b, answer, err)
		}
		in, _ := NewInitiator(v, Options{})
		in.Start()
		if _, _, _, err := in.Step([]byte{byte(b)}); !errors.Is(err, ErrVersion) {
			t.Errorf("initiator, %02x: %v", b, err)
		}
	}
}

func TestMisuseIsRefused(t *testing.T) {
	v, _ := NewVector(nil)
	for _, n := range []int{-1, 1, 4095} {
		if _, err := NewInitiator(v, Options{FrameBytes: n}); err == nil {
			t.Errorf("FrameBytes %d", n)
		}
		if _, err := Respond(v, []byte{version}, Options{FrameBytes: n}); err == nil {
			t.Errorf("FrameBytes %d", n)
		}
	}
	in, err := NewInitiator(v, Options{FrameBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := in.Step([]byte{version}); err == nil {
		t.Error("Step before Start")
	}
	if _, err := in.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Start(); err == nil {
		t.Error("Start twice")
	}
	if reply, _, _, err := in.Step([]byte{version}); reply != nil || err != nil {
		t.Error(reply, err)
	}
	if _, _, _, err := in.Step([]byte{version}); err == nil {
		t.Error("Step after the end")
	}
}

// failing is an index whose disk fails at the n-th read.
type failing struct {
	*Vector
	left *int
}

var errDisk = errors.New("disk")

func (f failing) read() error {
	if *f.left--; *f.left < 0 {
		return errDisk
	}
	return nil
}
func (f failing) At(i int) (Item, error) { x, _ := f.Vector.At(i); return x, f.read() }
func (f failing) LowerBound(b Bound) (int, error) {
	i, _ := f.Vector.LowerBound(b)
	return i, f.read()
}
func (f failing) Fingerprint(b, e int) (Fingerprint, error) {
	p, _ := f.Vector.Fingerprint(b, e)
	return p, f.read()
}
func (f failing) Items(b, e int) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for x := range f.Vector.Items(b, e) {
			if err := f.read(); !yield(x, err) || err != nil {
				return
			}
		}
	}
}

func TestIndexErrorsComeBack(t *testing.T) {
	var mine, theirs []Item
	for i := range 600 {
		if i%97 != 0 {
			mine = append(mine, numbered(i))
		}
		theirs = append(theirs, numbered(i))
	}
	a, _ := NewVector(mine)
	b, _ := NewVector(theirs)
	for n := 0; ; n++ {
		left := n
		_, err := converse(failing{a, &left}, failing{b, &left}, 0, 4096, nil)
		if err == nil {
			if n < 50 {
				t.Fatalf("only %d reads", n)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
}

func TestAFullListUpToInfinityIsClosedAllTheSame(t *testing.T) {
	var items []Item
	for i := range 122 {
		items = append(items, numbered(i))
	}
	v, _ := NewVector(items)
	ask := []byte{version, 0, 0, modeList, 0}
	answer, err := Respond(v, ask, Options{FrameBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if tail := answer[len(answer)-19:]; string(tail) != closedAtInfinity {
		t.Fatalf("the answer ends with %x", tail)
	}
	empty, _ := NewVector(nil)
	in, _ := NewInitiator(empty, Options{})
	in.Start()
	if reply, have, need, err := in.Step(answer); err != nil || reply != nil || len(have) != 0 || len(need) != 122 {
		t.Fatalf("%x, %d, %d, %v", reply, len(have), len(need), err)
	}
	if _, _, err := stepOf(t, append(answer, answer[len(answer)-19:]...)); !errors.Is(err, ErrInfinity) {
		t.Errorf("closed twice: %v", err)
	}
	answer[len(answer)-1] ^= 1
	if _, _, err := stepOf(t, answer); !errors.Is(err, ErrInfinity) {
		t.Errorf("another fingerprint: %v", err)
	}
}

// stepOf gives msg to an initiator without items.
func stepOf(t *testing.T, msg []byte) (reply []byte, need []ID, err error) {
	empty, _ := NewVector(nil)
	in, _ := NewInitiator(empty, Options{})
	if _, err := in.Start(); err != nil {
		t.Fatal(err)
	}
	reply, _, need, err = in.Step(msg)
	return reply, need, err
}
