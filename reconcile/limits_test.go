package reconcile

import (
	"errors"
	"strings"
	"testing"
)

// against runs an initiator of n items against a responder that says what
// answer returns, and gives the error and the number of rounds.
func against(t *testing.T, n int, o Options, answer func(round int, msg []byte) []byte) (int, error) {
	t.Helper()
	var items []Item
	for i := range n {
		items = append(items, numbered(i))
	}
	v, err := NewVector(items)
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewInitiator(v, o)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := in.Start()
	for round := 1; err == nil; round++ {
		if msg == nil {
			t.Fatalf("it ended after %d rounds", round-1)
		}
		if round > 1_000_000 {
			t.Fatal("it does not end")
		}
		if msg, _, _, err = in.Step(answer(round, msg)); err != nil {
			return round, err
		}
	}
	return 0, err
}

func TestAResponderThatNeverSettlesIsLeft(t *testing.T) {
	mismatch := append([]byte{version, 0, 0, modeFingerprint}, make([]byte, 16)...)
	for _, split := range []Split{Reference, Balanced, Latency, Bandwidth} {
		var limit *LimitError
		rounds, err := against(t, 5000, Options{Split: split}, func(int, []byte) []byte { return mismatch })
		if !errors.As(err, &limit) || !strings.Contains(err.Error(), "settle nothing") || rounds > maxStalled+2 {
			t.Errorf("%v: %v after %d rounds", split, err, rounds)
		}
	}
}

// The responder settles a hair's breadth every round, so that it is never
// stalled.
func creep(round int, _ []byte) []byte {
	var w writer
	w.begin()
	w.header(&Bound{Time: uint64(round)}, modeSkip)
	w.header(&Bound{Time: Infinity}, modeFingerprint)
	w.buf = append(w.buf, make([]byte, 16)...)
	return w.buf
}

func TestAResponderThatCreepsIsLeft(t *testing.T) {
	var limit *LimitError
	rounds, err := against(t, 5000, Options{}, creep)
	if !errors.As(err, &limit) || limit.What != "rounds" || rounds != graceRounds+5000/itemsPerRound {
		t.Errorf("%v after %d rounds", err, rounds)
	}
	if rounds, err = against(t, 5000, Options{MaxRounds: 10}, creep); !errors.As(err, &limit) || rounds != 10 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
}

func TestNeedIsBounded(t *testing.T) {
	invent := func(round int, _ []byte) []byte {
		var w writer
		w.begin()
		w.header(&Bound{Time: uint64(round)}, modeList)
		w.buf = append(w.buf, 5)
		for i := range 5 {
			id := numbered(1000*round + i).ID
			w.buf = append(w.buf, id[:]...)
		}
		w.header(&Bound{Time: Infinity}, modeFingerprint)
		w.buf = append(w.buf, make([]byte, 16)...)
		return w.buf
	}
	var limit *LimitError
	rounds, err := against(t, 50, Options{MaxNeed: 99}, invent)
	if !errors.As(err, &limit) || limit.Limit != 99 || rounds != 20 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
	// Without a bound the rounds are bounded still: five IDs pay for less
	// than one.
	if _, err = against(t, 50, Options{}, invent); !errors.As(err, &limit) || limit.What != "rounds" {
		t.Errorf("%v", err)
	}
}

func TestAResponderBoundsItsRounds(t *testing.T) {
	v, _ := NewVector([]Item{numbered(1)})
	r, err := NewResponder(v, Options{MaxRounds: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for range 3 {
			if _, err := r.Respond([]byte{version, 0, 0, modeList, 0}); err != nil {
				t.Fatal(err)
			}
		}
		var limit *LimitError
		if _, err := r.Respond([]byte{version}); !errors.As(err, &limit) {
			t.Error(err)
		}
		r.Reset(v, 0)
	}
}

func TestOptionsReportAllMistakes(t *testing.T) {
	err := Options{FrameBytes: 1, Split: 99, MaxRounds: -1, MaxNeed: -1}.validate()
	for _, what := range []string{"FrameBytes is 1", "Split(99)", "MaxRounds is -1", "MaxNeed is -1"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v lacks %s", err, what)
		}
	}
}

// The conversation is about the tree as it was.
func TestAnInitiatorKeepsToTheTreeItBeganWith(t *testing.T) {
	tree, other := new(Tree), new(Tree)
	for i := range 5000 {
		tree.Insert(numbered(i))
		if i%7 > 0 {
			other.Insert(numbered(i))
		}
	}
	before := tree.Clone()
	i := 0
	k, err := converse(tree, other, 4096, 4096, func() {
		i++
		tree.Delete(numbered(i))
		tree.Insert(numbered(10_000 + i))
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range setOf(k.have) {
		found := false
		for n := 0; n < 5000; n += 7 {
			found = found || numbered(n).ID == id
		}
		if !found {
			t.Fatalf("have %x", id)
		}
	}
	if want := before.Len() - other.Len(); len(setOf(k.have)) != want || len(k.need) != 0 {
		t.Errorf("%d have, want %d; %d need", len(setOf(k.have)), want, len(k.need))
	}
}

// No memory is allocated once the buffers have grown, and as little as the
// message before that.
func TestConversationsReuseTheirMemory(t *testing.T) {
	mine, theirs := workload(10_000, 1000, false)
	for name, build := range map[string]func([]Item) Index{
		"vector": func(items []Item) Index { v, _ := NewVector(items); return v },
		"tree":   func(items []Item) Index { t := new(Tree); t.Insert(items...); return t },
	} {
		a, b := build(mine), build(theirs)
		for split := range plans {
			for _, frame := range []int{0, 4096} {
				o := Options{Split: Split(split), FrameBytes: frame}
				in, _ := NewInitiator(a, o)
				out, _ := NewResponder(b, o)
				talk := func() {
					in.Reset(a, 1)
					out.Reset(b, 2)
					msg, err := in.Start()
					for msg != nil && err == nil {
						if msg, err = out.Respond(msg); err == nil {
							msg, _, _, err = in.Step(msg)
						}
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				talk()
				if n := testing.AllocsPerRun(3, talk); n != 0 {
					t.Errorf("%s, %v, frame %d: %v allocations", name, Split(split), frame, n)
				}
			}
		}
	}
}
