package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"anabranch/reconcile"
	"anabranch/record"
)

// kinds counts the frames of a conversation by type.
func (p *pair) kinds() map[FrameType]int {
	n := map[FrameType]int{}
	p.carry = func(_ int, _ *side, frame []byte) []byte {
		n[FrameType(frame[0])]++
		return frame
	}
	return n
}

// Whoever offers keyed lists syncs with whoever does not, in either role.
func TestPeersThatOfferNoKeyedListsSync(t *testing.T) {
	w := newWorld()
	common, onlyA, onlyB := w.entries(w.root, 1, 60), w.entries(w.root, 2, 9), w.entries(w.root, 3, 14)
	var bytesOf [4]int64
	for k := range 4 {
		a, b := w.store(slices.Concat(common, onlyA)...), w.store(slices.Concat(common, onlyB)...)
		p := newPair(t, w, a, b, 0)
		p.a.s.o.Plain, p.b.s.o.Plain = k&1 > 0, k&2 > 0
		n := p.kinds()
		p.synced()
		r := p.a.done.Report
		if a.root() != b.root() || r.RecordsIn != 14 || r.RecordsOut != 9 || r.DueIn != 14 || r.DueOut != 9 || r.Unwanted > 0 {
			t.Errorf("plain %b: %s", k, describe(r))
		}
		if keyed := k == 0; keyed != (p.a.s.key != nil) || keyed != (p.b.s.key != nil) || keyed != (n[WantFrame] == 0) {
			t.Errorf("plain %b: keys %v and %v, %d wants", k, p.a.s.key, p.b.s.key, n[WantFrame])
		}
		bytesOf[k] = r.BytesIn + r.BytesOut
	}
	t.Logf("keyed %d bytes, plain %d", bytesOf[0], bytesOf[3])
	if bytesOf[0] >= bytesOf[3] {
		t.Error("keyed lists save nothing")
	}
}

// Nonces of both sides make the key.
func TestBothSidesMakeTheKey(t *testing.T) {
	w := newWorld()
	key := func(first, second uint64) reconcile.Key {
		p := newPair(t, w, w.store(w.entries(w.root, 1, 3)...), w.store(w.entries(w.root, 2, 3)...), 0)
		p.a.s.o.Nonce, p.b.s.o.Nonce = seed(first), seed(second)
		p.synced()
		if *p.a.s.key != *p.b.s.key {
			t.Fatal("two keys")
		}
		return *p.a.s.key
	}
	if k := key(1, 2); k == key(1, 3) || k == key(2, 2) || k != key(1, 2) {
		t.Error("the key does not follow the nonces")
	}
}

// Two records of one name hide each other, which the roots tell; whole IDs
// find them. Names are made equal on the link, as no two records are known
// that share one.
func TestRecordsOfOneNameAreFoundByTheRoot(t *testing.T) {
	w := newWorld()
	common, x, y := w.entries(w.root, 1, 20), w.entry(w.root, 2, 5, []byte("x")), w.entry(w.root, 3, 5, []byte("y"))
	more := w.entry(w.root, 4, 9, []byte("more"))
	a, b := w.store(append(common, x, more)...), w.store(append(common[:20:20], y)...)
	p := newPair(t, w, a, b, 0)
	changed := 0
	p.carry = func(_ int, from *side, frame []byte) []byte {
		if FrameType(frame[0]) == ReconcileFrame {
			was := binary.LittleEndian.AppendUint64(nil, p.a.s.key.Name(x.ID))
			is := binary.LittleEndian.AppendUint64(nil, p.a.s.key.Name(y.ID))
			changed += bytes.Count(frame, was)
			return bytes.ReplaceAll(frame, was, is)
		}
		return frame
	}
	p.run()
	for _, d := range []*side{p.a, p.b} {
		var differ *RootsDifferError
		if d.fail == nil || !errors.As(d.fail.Err, &differ) || d.fail.Charge {
			t.Fatalf("%s: %+v", d.name, d.fail)
		}
	}
	if _, moved := b.data[more.ID]; changed != 1 || !moved {
		t.Fatalf("%d names changed, moved %v", changed, moved)
	}
	p = newPair(t, w, a, b, 0)
	p.a.s.o.Plain = true
	p.synced()
	if r := p.a.done.Report; r.RecordsIn != 1 || r.RecordsOut != 1 || a.root() != b.root() {
		t.Errorf("%s", describe(r))
	}
}

// keyedInitiator is a machine that initiates, past a welcome that claims
// them and takes keyed lists.
func keyedInitiator(t *testing.T, w *world, store *testStore, them state, plain bool) *hand {
	s, err := Initiate(Options{Space: w.id, Self: handA, Peer: handB, View: store.view(), FrameBytes: MinFrameBytes, Nonce: seed(1), Plain: plain})
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, w: w, s: s, store: store}
	welcome := Hello{FrameBytes: MinFrameBytes, Keyed: true, Tag: tag(welcomeLabel, w.id, handA, handB, seed(1)), state: them}
	h.give(Start{})
	h.frame(welcome.append(nil, WelcomeFrame))
	return h
}

func TestWithKeyedListsAnInitiatorRefuses(t *testing.T) {
	w := newWorld()
	rs, other := w.entries(w.root, 1, 40), w.entries(w.root, 2, 3)
	// alone says that the peer alone holds n records.
	alone := func(n byte) []byte { return []byte{byte(ReconcileFrame), 0x6f, 0, 0, 3, 0, n} }
	for name, test := range map[string]struct {
		says   string
		charge bool
		do     func(h *hand)
	}{
		"data before it is announced": {"data frame during data", true, func(h *hand) { h.records(other[0]) }},
		"more than it holds":          {"more than 86 records of the peer", true, func(h *hand) { h.frame(alone(87)) }},
		"gone more than announced": {"an ID that was not wanted", true, func(h *hand) {
			h.frame(alone(1))
			h.frame(idsFrame(GoneFrame, invented(2)))
		}},
		"V1":                      {"0x61", true, func(h *hand) { h.frame([]byte{byte(ReconcileFrame), 0x61}) }},
		"a run beyond the list":   {"run", true, func(h *hand) { h.frame([]byte{byte(ReconcileFrame), 0x6f, 0, 0, 3, 1, 39, 2, 0}) }},
		"a name twice":            {"repeated", false, func(h *hand) { h.frame(append([]byte{byte(ReconcileFrame), 0x6f, 0, 0, 2, 2}, make([]byte, 16)...)) }},
		"one record for another":  {"roots differ", false, func(h *hand) { h.frame(alone(1)); h.records(other[1]); h.state(claims(h.store, 0)) }},
		"a want":                  {"want frame during data", true, func(h *hand) { h.frame(idsFrame(WantFrame, invented(1))) }},
		"a state before the data": {"state frame during data", true, func(h *hand) { h.frame(alone(1)); h.state(claims(h.store, 1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			h := keyedInitiator(t, w, store, claims(store, 3), false)
			test.do(h)
			h.failed(test.says, test.charge)
		})
	}
	store := w.store(rs...)
	keyedInitiator(t, w, store, claims(store, 3), true).refused("not offered")
}

func TestWithKeyedListsAResponderRefuses(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 40)
	for name, test := range map[string]struct {
		says string
		do   func(h *hand)
	}{
		"a want":             {"want frame during data", func(h *hand) { h.frame(idsFrame(WantFrame, []record.ID{rs[0].ID})) }},
		"V1 for ever":        {"rounds of reconciliation", func(h *hand) { repeat(300, func() { h.frame([]byte{byte(ReconcileFrame), 0x61}) }) }},
		"more than it holds": {"more than 86 records of the peer", func(h *hand) { h.frame([]byte{byte(ReconcileFrame), 0x6f, 0, 0, 3, 0, 87}) }},
		"all of it, twice": {"which is all there are", func(h *hand) {
			repeat(3, func() { h.frame([]byte{byte(ReconcileFrame), 0x6f, 0, 0, 2, 0}) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			s, err := Accept(Options{Space: w.id, Self: handB, Peer: handA, View: store.view(), FrameBytes: MinFrameBytes, Nonce: seed(2)})
			if err != nil {
				t.Fatal(err)
			}
			h := &hand{t: t, w: w, s: s, store: store}
			hello := Hello{FrameBytes: MinFrameBytes, Keyed: true, Nonce: seed(1), Tag: Tag(w.id, handA, handB, seed(1)), state: claims(store, 3)}
			h.give(Start{})
			h.frame(hello.append(nil, HelloFrame))
			test.do(h)
			h.refused(test.says)
		})
	}
}
