package session

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"anabranch/record"
)

// looked plays a look of a at b to its end.
func looked(t *testing.T, a, b View, oa, ob Options) (f Forecast, ours, theirs []record.ID) {
	t.Helper()
	space := newWorld().id
	alice, bob := record.Key{0xA}, record.Key{0xB}
	oa.Space, oa.Self, oa.Peer, oa.View, oa.Nonce = space, alice, bob, a, seed(7)
	ob.Space, ob.Self, ob.Peer, ob.View = space, bob, alice, b
	l, frame, err := NewLook(oa)
	if err != nil {
		t.Fatal(err)
	}
	w, frame, err := Show(ob, frame)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = l.Forecast(frame); err != nil {
		t.Fatal(err)
	}
	for frame, err = l.Compare(); err == nil && frame != nil; frame, err = l.Step(frame) {
		if frame, err = w.Answer(frame); err != nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = l.Found()
	return f, ours, theirs
}

// TestForecastsComeTrue looks, and then runs the session: it is by the method
// forecast, at no more than half again of the bytes, and what a look finds is
// exactly what each side lacks. A look changes nothing.
func TestForecastsComeTrue(t *testing.T) {
	c := newCrowd(20_000)
	for _, shape := range shapes {
		for _, d := range []int{0, 1, 8, 60, 700, 4000} {
			t.Run(fmt.Sprintf("%s/%d", shape, d), func(t *testing.T) {
				a, b := apartBy(c, rand.New(rand.NewPCG(uint64(d), 3)), shape, d)
				f, ours, theirs := looked(t, a.frozen(), b.frozen(), Options{}, Options{})
				if !same(ours, a.extra) || !same(theirs, b.extra) {
					t.Fatalf("found %d and %d, they are %d and %d", len(ours), len(theirs), len(a.extra), len(b.extra))
				}
				m := meet(a, b, Options{}, Options{})
				if m.err != nil || m.report.Method != f.Method {
					t.Fatalf("%+v was forecast, %v came, %v", f, m.report.Method, m.err)
				}
				t.Logf("%s, %d bytes, %d differ; %d bytes came", f.Method, f.Bytes, f.Differ, m.overhead)
				if low, high := int64(f.Bytes)*2/3-200, int64(f.Bytes)*3/2+300; m.overhead < low || m.overhead > high {
					t.Errorf("%d bytes were forecast, %d came", f.Bytes, m.overhead)
				}
				if f.Differ < d*3/4 || f.Differ > d*4/3 {
					t.Errorf("%d are said to differ", f.Differ)
				}
			})
		}
	}
}

func same(ids []record.ID, want map[record.ID]*record.Verified) bool {
	for _, id := range ids {
		if want[id] == nil {
			return false
		}
	}
	return len(ids) == len(want) && slices.IsSortedFunc(ids, func(a, b record.ID) int { return bytes.Compare(a[:], b[:]) })
}

// TestForecastsKnowTheLogAndEmptySides: what a session knows without
// comparing, a forecast knows too.
func TestForecastsKnowTheLogAndEmptySides(t *testing.T) {
	c := newCrowd(2000)
	a, b := c.replica(), c.replica()
	ob := Options{Log: &Log{Generation: 5, Secret: [16]byte{7}}}
	b.add(c.fresh(5))
	m := meet(a, b, Options{}, ob)
	b.add(c.fresh(7), c.fresh(8), c.fresh(9))
	met := &Met{Root: m.report.Root, Cursor: m.report.Cursor}
	if f, _, _ := looked(t, a, b, Options{Met: met}, ob); f.Method != MethodCursor || f.Differ != 3 {
		t.Errorf("%+v with a cursor", f)
	}
	if f, _, _ := looked(t, a, b, Options{Met: met, Without: []Method{MethodCursor}}, ob); f.Method != MethodPrefix {
		t.Errorf("%+v without the cursor", f)
	}
	empty := crowdOf(c.w, 0, 1<<17).replica()
	if f, ours, theirs := looked(t, empty, b, Options{}, ob); f.Method != Bulk || f.Differ != 2004 || len(ours) > 0 || len(theirs) != 2004 {
		t.Errorf("%+v of an empty side, %d and %d", f, len(ours), len(theirs))
	}
	f, ours, theirs := looked(t, unsketched{a}, b, Options{}, ob)
	if f.Method != Ranges || len(ours) != 0 || len(theirs) != 3 {
		t.Errorf("%+v without a sketch, %d and %d", f, len(ours), len(theirs))
	}
}

// unsketched is a view without a sketch.
type unsketched struct{ View }

// TestLooksRefuseWhatIsNoAnswer: other frames, a stranger's, a lie about
// equality.
func TestLooksRefuseWhatIsNoAnswer(t *testing.T) {
	c := newCrowd(100)
	a, b := c.replica(), c.replica()
	b.add(c.fresh(5))
	o := Options{Space: c.w.id, Self: record.Key{0xA}, Peer: record.Key{0xB}, View: a, Nonce: seed(7)}
	l, hello, err := NewLook(o)
	if err != nil {
		t.Fatal(err)
	}
	ob := Options{Space: c.w.id, Self: record.Key{0xB}, Peer: record.Key{0xA}, View: b}
	w, answer, err := Show(ob, hello)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Forecast(Refusal()); !errors.Is(err, ErrRefused) {
		t.Errorf("refused: %v", err)
	}
	tagged := slices.Clone(answer)
	tagged[5] ^= 1
	if _, err := l.Forecast(tagged); !errors.Is(err, ErrTag) {
		t.Errorf("a stranger's tag: %v", err)
	}
	ob.View = a
	_, equal, err := Show(ob, hello)
	if err != nil {
		t.Fatal(err)
	}
	equal[40] ^= 1 // in the root
	var wrong *FrameError
	if _, err := l.Forecast(equal); !errors.As(err, &wrong) {
		t.Errorf("equal with another root: %v", err)
	}
	for _, bad := range [][]byte{nil, {byte(DataFrame)}, answer[:len(answer)-1]} {
		if _, err := l.Forecast(bad); !errors.As(err, &wrong) {
			t.Errorf("%x: %v", bad, err)
		}
		if _, err := w.Answer(bad); !errors.As(err, &wrong) {
			t.Errorf("%x is answered: %v", bad, err)
		}
	}
}

// FuzzLook: both sides of a look take any bytes.
func FuzzLook(f *testing.F) {
	c := crowdOf(newWorld(), 300, 2048)
	a, b := c.replica(), c.replica()
	b.add(c.fresh(5), c.fresh(500))
	a.add(c.fresh(900))
	oa := Options{Space: c.w.id, Self: record.Key{0xA}, Peer: record.Key{0xB}, View: a, Nonce: seed(7)}
	ob := Options{Space: c.w.id, Self: record.Key{0xB}, Peer: record.Key{0xA}, View: b}
	_, hello, err := NewLook(oa)
	if err != nil {
		f.Fatal(err)
	}
	_, answer, err := Show(ob, hello)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello, answer, []byte{byte(ReconcileFrame), 0x61})
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		if w, answer, err := Show(ob, first); err == nil {
			if len(answer) > MaxFrameBytes {
				t.Fatalf("a forecast of %d bytes", len(answer))
			}
			w.Answer(third)
		}
		l, _, err := NewLook(oa)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Forecast(second); err != nil {
			return
		}
		if _, err := l.Compare(); err != nil {
			t.Fatal(err)
		}
		l.Step(third)
	})
}
