package reconcile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// From the paper on SipHash, appendix A.
func TestShortIsSipHash(t *testing.T) {
	var k Key
	var data [15]byte
	for i := range k {
		k[i] = byte(i)
	}
	for i := range data {
		data[i] = byte(i)
	}
	if got := k.short(data[:]); got != 0xa129ca6149be45e5 {
		t.Errorf("%x", got)
	}
}

// mutual is a conversation in the dialect: what each side learns.
type mutual struct {
	messages                 [][]byte
	mine, theirs             map[ID]bool
	toldMine, toldTheirs     int // items, those told twice counted twice
	comingMine, comingTheirs int
}

func converseMutually(mine, theirs Index, m, o Options) (k mutual, err error) {
	in := initiate(mine, m)
	out := &Responder{engine: newEngine(o, false), options: o, ix: theirs}
	k.mine, k.theirs = map[ID]bool{}, map[ID]bool{}
	msg, err := in.Start()
	for err == nil && msg != nil {
		k.messages = append(k.messages, bytes.Clone(msg))
		if m.FrameBytes > 0 && len(msg) > m.FrameBytes {
			return k, errors.New("a message exceeds its frame")
		}
		var answer []byte
		if answer, err = out.Respond(msg); err != nil {
			return k, err
		}
		if o.FrameBytes > 0 && len(answer) > o.FrameBytes {
			return k, errors.New("an answer exceeds its frame")
		}
		k.messages = append(k.messages, bytes.Clone(answer))
		for _, id := range out.Have() {
			k.theirs[id] = true
		}
		k.toldTheirs += len(out.Have())
		k.comingTheirs += out.Coming()
		var have, need []ID
		if msg, have, need, err = in.Step(answer); len(need) > 0 {
			return k, errors.New("IDs of the other side")
		}
		for _, id := range have {
			k.mine[id] = true
		}
		k.toldMine += len(have)
		k.comingMine += in.Coming()
	}
	return k, err
}

func bothSidesLearn(t *rapid.T) {
	mine, theirs := twoSets(t)
	m, o := someOptions(t, "my"), someOptions(t, "their")
	key := Key{rapid.Byte().Draw(t, "key")}
	m.Dialect, o.Dialect = &key, &key
	k, err := converseMutually(someIndex(t, "mine", mine), someIndex(t, "theirs", theirs), m, o)
	if err != nil {
		t.Fatal(err)
	}
	have, need := difference(mine, theirs)
	if !maps.Equal(k.mine, have) || !maps.Equal(k.theirs, need) {
		t.Fatalf("the initiator knows %d of its %d, the responder %d of its %d", len(k.mine), len(have), len(k.theirs), len(need))
	}
	// A full frame may leave aside what has been settled, which is then told
	// and announced again.
	if k.comingMine != k.toldTheirs || k.comingTheirs != k.toldMine {
		t.Fatalf("%d announced of %d, %d of %d", k.comingMine, k.toldTheirs, k.comingTheirs, k.toldMine)
	}
	if m.FrameBytes+o.FrameBytes == 0 && (k.toldMine != len(have) || k.toldTheirs != len(need)) {
		t.Fatalf("%d told of %d, %d of %d", k.toldMine, len(have), k.toldTheirs, len(need))
	}
}

func TestInTheDialectBothSidesLearn(t *testing.T) { rapid.Check(t, bothSidesLearn) }

func FuzzDialect(f *testing.F) { f.Fuzz(rapid.MakeFuzz(bothSidesLearn)) }

// TestWhatAFullFrameLeavesAsideIsTakenAllTheSame has one side lack most of
// what the other holds, and messages that are full: where lists have been
// answered behind the place at which a frame ends, both sides count.
func TestWhatAFullFrameLeavesAsideIsTakenAllTheSame(t *testing.T) {
	twice := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var mine, theirs []Item
		few, many := 3+rng.IntN(12), 80+rng.IntN(20)
		for n := range 2000 + rng.IntN(8000) {
			if rng.IntN(100) < few {
				mine = append(mine, numbered(n))
			}
			if rng.IntN(100) < many {
				theirs = append(theirs, numbered(n))
			}
		}
		if seed%2 == 1 {
			mine, theirs = theirs, mine
		}
		a, _ := NewVector(mine)
		b, _ := NewVector(theirs)
		o := Options{Dialect: &Key{byte(seed)}, FrameBytes: 4096, Split: Balanced, Seed: seed}
		k, err := converseMutually(a, b, o, o)
		if err != nil {
			t.Fatal(err)
		}
		have, need := difference(mine, theirs)
		if !maps.Equal(k.mine, have) || !maps.Equal(k.theirs, need) {
			t.Fatalf("seed %d: the initiator knows %d of its %d, the responder %d of its %d", seed, len(k.mine), len(have), len(k.theirs), len(need))
		}
		if k.comingMine != k.toldTheirs || k.comingTheirs != k.toldMine {
			t.Errorf("seed %d: %d announced of %d, %d of %d", seed, k.comingMine, k.toldTheirs, k.comingTheirs, k.toldMine)
		}
		if k.toldMine+k.toldTheirs > len(have)+len(need) {
			twice++
		}
	}
	if twice == 0 {
		t.Error("no frame left aside anything that was settled")
	}
	t.Logf("%d of 60 conversations told something twice", twice)
}

func TestTheDialectTakesFewerBytes(t *testing.T) {
	for _, c := range []struct {
		d      int
		recent bool
	}{{100, false}, {100, true}, {1000, false}, {10_000, false}} {
		mine, theirs := workload(10_000, c.d, c.recent)
		a, _ := NewVector(mine)
		b, _ := NewVector(theirs)
		plain, err := converse(a, b, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Dialect: &Key{1}}
		k, err := converseMutually(a, b, o, o)
		if err != nil {
			t.Fatal(err)
		}
		wire := 0
		for _, m := range k.messages {
			wire += len(m)
		}
		up, down := plain.bytes()
		t.Logf("%d differ, recent %v: %d bytes instead of %d, %d rounds instead of %d", c.d, c.recent, wire, up+down, len(k.messages)/2, plain.rounds())
		if wire*5 > (up+down)*4 {
			t.Errorf("%d bytes of %d", wire, up+down)
		}
	}
}

func TestTheDialectAndV1KeepApart(t *testing.T) {
	v, _ := NewVector([]Item{numbered(1)})
	o := Options{Dialect: &Key{}}
	if answer, err := Respond(v, []byte{version, 0, 0, 2, 0}, o); err != nil || !bytes.Equal(answer, []byte{dialectVersion}) {
		t.Errorf("%x, %v", answer, err)
	}
	if answer, err := Respond(v, []byte{dialectVersion, 0, 0, 2, 0}, Options{}); err != nil || !bytes.Equal(answer, []byte{version}) {
		t.Errorf("%x, %v", answer, err)
	}
	in, _ := NewInitiator(v, o)
	in.Start()
	if _, _, _, err := in.Step([]byte{version}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

func TestGoldenDialect(t *testing.T) {
	type vector struct {
		Name                           string
		Key                            string
		Initiator, Responder           [][2]int // spans [begin, end), of items as in conversations.json with TimeStep 1
		InitiatorFrame, ResponderFrame int
		Messages                       []string
		InitiatorHave, ResponderHave   []string
	}
	vectors := []vector{
		{Name: "both empty"},
		{Name: "the initiator has nothing", Responder: [][2]int{{0, 3}}},
		{Name: "the responder has nothing", Initiator: [][2]int{{0, 3}}},
		{Name: "a list and its answer: one run, two alone", Initiator: [][2]int{{0, 20}}, Responder: [][2]int{{5, 22}}},
		{Name: "two runs", Initiator: [][2]int{{0, 20}}, Responder: [][2]int{{0, 4}, {6, 15}, {16, 20}}},
		{Name: "equal", Initiator: [][2]int{{0, 64}}, Responder: [][2]int{{0, 64}}},
		{Name: "fingerprints, then lists both ways", Initiator: [][2]int{{0, 90}, {95, 200}}, Responder: [][2]int{{0, 50}, {51, 210}}},
		{Name: "both frames are limited", Initiator: [][2]int{{0, 400}}, Responder: [][2]int{{390, 780}}, InitiatorFrame: 4096, ResponderFrame: 4096},
	}
	for i := range vectors {
		v := &vectors[i]
		key := Key{byte(i), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
		v.Key = hex.EncodeToString(key[:])
		index := func(spans [][2]int) Index {
			var items []Item
			for _, s := range spans {
				for n := s[0]; n < s[1]; n++ {
					items = append(items, Item{uint64(n), numbered(n).ID})
				}
			}
			ix, _ := NewVector(items)
			return ix
		}
		k, err := converseMutually(index(v.Initiator), index(v.Responder),
			Options{FrameBytes: v.InitiatorFrame, Dialect: &key}, Options{FrameBytes: v.ResponderFrame, Dialect: &key})
		if err != nil {
			t.Fatal(v.Name, err)
		}
		for _, m := range k.messages {
			v.Messages = append(v.Messages, hex.EncodeToString(m))
		}
		list := func(set map[ID]bool) (ids []ID) {
			for id := range set {
				ids = append(ids, id)
			}
			return ids
		}
		v.InitiatorHave, v.ResponderHave = hexes(list(k.mine)), hexes(list(k.theirs))
	}
	golden(t, "dialect.json", vectors)
}

func TestHostileDialect(t *testing.T) {
	v, _ := NewVector([]Item{numbered(1), numbered(2)})
	for _, c := range []struct {
		name string
		tail string
		err  error
	}{
		{"the same short ID twice", "000002" + "02" + "0102030405060708" + "0102030405060708", ErrRepeatedID},
		{"a list of 2^24 and none there", "000002" + "88808000", ErrCount},
		{"2^24 runs and none there", "000003" + "88808000", ErrCount},
		{"an empty run", "000003" + "01" + "00" + "00" + "00", ErrRun},
		{"a run that is split", "000003" + "02" + "0001" + "0001" + "00", ErrRun},
		{"beyond the list", "000003" + "01" + "0003" + "00", ErrRun},
		{"far beyond the list", "000003" + "01" + "00" + "c08080808080808000" + "00", ErrRun},
		{"no number of items", "000003" + "00", ErrTruncated},
		{"mode 4", "000004", ErrMode},
	} {
		msg, err := hex.DecodeString("6f" + c.tail)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Respond(v, msg, Options{Dialect: &Key{}}); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	msg := binary.AppendUvarint([]byte{version, 0, 0, modeWants, 0}, 0)
	if _, err := Respond(v, msg, Options{}); !errors.Is(err, ErrMode) {
		t.Errorf("mode 3 in V1: %v", err)
	}
}
