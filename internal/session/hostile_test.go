package session

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"anabranch/record"
)

// hand plays a machine against frames written by hand. Its shell verifies
// and commits at once.
type hand struct {
	t     *testing.T
	w     *world
	s     *Session
	store *testStore
	sent  [][]byte
	done  *Done
	fail  *Fail
	dry   bool // no Drained
	enc   encoder
}

var handA, handB = record.Key{0xA}, record.Key{0xB}

// responder is a machine that accepts, past a hello that claims them.
func responder(t *testing.T, w *world, store *testStore, them state) *hand {
	t.Helper()
	s, err := Accept(Options{Space: w.id, Self: handB, Peer: handA, View: store.view(), FrameBytes: MinFrameBytes})
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, w: w, s: s, store: store}
	hello := Hello{FrameBytes: MinFrameBytes, Nonce: seed(1), Tag: Tag(w.id, handA, handB, seed(1)), state: them}
	h.give(Start{})
	h.frame(hello.append(nil, HelloFrame))
	return h
}

// initiator is a machine that initiates, past a welcome that claims them.
func initiator(t *testing.T, w *world, store *testStore, them state) *hand {
	t.Helper()
	s, err := Initiate(Options{Space: w.id, Self: handA, Peer: handB, View: store.view(), FrameBytes: MinFrameBytes, Nonce: seed(1)})
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, w: w, s: s, store: store}
	welcome := Hello{FrameBytes: MinFrameBytes, Tag: tag(welcomeLabel, w.id, handA, handB, seed(1)), state: them}
	h.give(Start{})
	h.frame(welcome.append(nil, WelcomeFrame))
	return h
}

func (h *hand) give(in Input) {
	h.t.Helper()
	todo := []Input{in}
	for len(todo) > 0 {
		in, todo = todo[0], todo[1:]
		sent := false
		for _, out := range h.s.Step(epoch, in) {
			switch out := out.(type) {
			case Send:
				h.sent = append(h.sent, out.Frame)
				sent = true
			case Verify:
				records, errs := record.VerifyBatch(h.w.id, out.Batch)
				todo = append(todo, Verified{records, errs})
			case Commit:
				h.store.commit(out.Records)
				todo = append(todo, Committed{View: h.store.view()})
			case Done:
				h.done = &out
			case Fail:
				h.fail = &out
			}
		}
		if sent && !h.dry {
			todo = append(todo, Drained{})
		}
	}
}

func (h *hand) frame(b []byte) { h.t.Helper(); h.give(Frame{Bytes: b}) }

// records sends records as data frames.
func (h *hand) records(rs ...*record.Verified) {
	h.t.Helper()
	h.stream(h.coded(rs))
}

func (h *hand) stream(b []byte) {
	h.t.Helper()
	for len(b) > 0 {
		n := min(len(b), MinFrameBytes-1)
		h.frame(append([]byte{byte(DataFrame)}, b[:n]...))
		b = b[n:]
	}
}

func (h *hand) state(a state) { h.t.Helper(); h.frame(a.append([]byte{byte(StateFrame)})) }

// refused demands an end that charges the peer and says so.
func (h *hand) refused(says string) {
	h.t.Helper()
	h.failed(says, true)
}

func (h *hand) failed(says string, charge bool) {
	h.t.Helper()
	switch {
	case h.fail == nil:
		h.t.Fatalf("not over; done %v, step %v", h.done, h.s.step)
	case h.fail.Charge != charge || !strings.Contains(h.fail.Err.Error(), says):
		h.t.Errorf("charge %v: %v, want %q", h.fail.Charge, h.fail.Err, says)
	}
	if outs := h.s.Step(epoch, Frame{Bytes: []byte{1}}); outs != nil {
		h.t.Errorf("after the end: %v", outs)
	}
}

// claims is the state of a store, with another root and more records: data
// will be compared.
func claims(s *testStore, more uint64) state {
	a, err := stateOf(s.view())
	if err != nil {
		panic(err)
	}
	a.root[0] ^= 1
	a.count += more
	return a
}

func TestAResponderRefuses(t *testing.T) {
	w := newWorld()
	ada := keyOf("ada")
	rs := w.entries(w.root, 1, 40)
	var ids []record.ID
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	slices.SortFunc(ids, record.ID.Compare)
	opening := []byte{byte(ReconcileFrame), 0x61, 0, 0, 2, 0} // "I hold nothing"
	mismatch := append([]byte{byte(ReconcileFrame), 0x61, 0, 0, 1}, make([]byte, 16)...)
	elsewhere := &world{id: record.SpaceID{9}, root: w.root}

	for name, test := range map[string]struct {
		says string
		do   func(h *hand)
	}{
		"a welcome":                  {"welcome frame during data", func(h *hand) { h.frame([]byte{byte(WelcomeFrame)}) }},
		"a second hello":             {"hello frame during data", func(h *hand) { h.frame([]byte{byte(HelloFrame)}) }},
		"an end":                     {"end frame during data", func(h *hand) { h.frame([]byte{byte(EndFrame)}) }},
		"a refusal":                  {"refused frame during data", func(h *hand) { h.frame(Refusal()) }},
		"a type of tomorrow":         {"type 77 frame during data", func(h *hand) { h.frame([]byte{77}) }},
		"an empty frame":             {"empty", func(h *hand) { h.frame(nil) }},
		"a frame past the limit":     {"more than 4096 bytes in a frame", func(h *hand) { h.frame(make([]byte, MinFrameBytes+1)) }},
		"a message that is none":     {"reconcile:", func(h *hand) { h.frame([]byte{byte(ReconcileFrame), 0x61, 0xFF}) }},
		"half an ID":                 {"no list of IDs", func(h *hand) { h.frame(append([]byte{byte(WantFrame)}, make([]byte, 33)...)) }},
		"no IDs":                     {"no list of IDs", func(h *hand) { h.frame([]byte{byte(WantFrame)}) }},
		"more wants than records":    {"more than 40 wanted records", func(h *hand) { h.frame(idsFrame(WantFrame, ids)); h.frame(idsFrame(WantFrame, ids[:1])) }},
		"bulk with a body":           {"bulk frame during data", func(h *hand) { h.frame([]byte{byte(BulkFrame), 1}) }},
		"bulk after a message":       {"bulk frame during data", func(h *hand) { h.frame(opening); h.frame([]byte{byte(BulkFrame)}) }},
		"everything, for ever":       {"more than 261 rounds of reconciliation", func(h *hand) { repeat(400, func() { h.frame(opening) }) }},
		"mismatches, for ever":       {"more than 261 rounds of reconciliation", func(h *hand) { repeat(400, func() { h.frame(mismatch) }) }},
		"two messages at once":       {"with a message unanswered", func(h *hand) { h.dry = true; repeat(20, func() { h.frame(opening) }) }},
		"an empty piece":             {"malformed data frame: empty", func(h *hand) { h.frame([]byte{byte(DataFrame)}) }},
		"a record of 2^60 bytes":     {"malformed data frame: a record of", func(h *hand) { h.stream([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F}) }},
		"a state in mid-record":      {"in the middle of a record", func(h *hand) { h.stream([]byte{100, 1, 1}); h.state(claims(h.store, 0)) }},
		"control in the data step":   {"its kind has no place", func(h *hand) { h.records(w.grant(ada, record.Writer, 8)) }},
		"a sweep in the data step":   {"its kind has no place", func(h *hand) { h.records(w.sweep(w.root, 1, 8, 1)) }},
		"a record of another space":  {"signature does not hold", func(h *hand) { h.records(elsewhere.entry(w.root, 3, 1, nil)) }},
		"what is known, for ever":    {"more than 1024 records that were not wanted", func(h *hand) { repeat(30, func() { h.records(rs...) }) }},
		"gone, beyond its own count": {"more than 41 records of the peer", func(h *hand) { h.frame(idsFrame(GoneFrame, make([]record.ID, 42))) }},
		"state with a byte too many": {"1 bytes too many", func(h *hand) { h.frame(append(claims(h.store, 1).append([]byte{byte(StateFrame)}), 0)) }},
		"a long-winded count":        {"not in its shortest form", func(h *hand) { h.frame(longCount(claims(h.store, 1))) }},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			h := responder(t, w, store, claims(store, 1))
			test.do(h)
			h.refused(test.says)
		})
	}
}

func repeat(n int, f func()) {
	for range n {
		f()
	}
}

func longCount(a state) []byte {
	b := a.append([]byte{byte(StateFrame)})
	return slices.Concat(b[:33], []byte{b[33] | 0x80, 0}, b[34:])
}

func TestAResponderRefusesDuringControl(t *testing.T) {
	w := newWorld()
	grant := w.grant(keyOf("ada"), record.Writer, 3)
	rs := append(w.entries(w.root, 1, 5), grant)
	different := func(store *testStore) state {
		a := claims(store, 1)
		a.control[0] ^= 1
		return a
	}
	for name, test := range map[string]struct {
		says   string
		charge bool
		do     func(h *hand)
	}{
		"a want for data":        {"not offered", true, func(h *hand) { h.frame(idsFrame(WantFrame, []record.ID{rs[0].ID})) }},
		"data":                   {"its kind has no place", true, func(h *hand) { h.records(w.entry(w.root, 2, 1, nil)) }},
		"gone":                   {"gone frame during control", true, func(h *hand) { h.frame(idsFrame(GoneFrame, []record.ID{rs[0].ID})) }},
		"bulk":                   {"bulk frame during control", true, func(h *hand) { h.frame([]byte{byte(BulkFrame)}) }},
		"digests that never fit": {"control records still differ after 8 rounds", false, func(h *hand) { repeat(8, func() { h.state(different(h.store)) }) }},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			h := responder(t, w, store, different(store))
			test.do(h)
			h.failed(test.says, test.charge)
		})
	}
}

func TestSweepsThatDoNotSettleEndTheSession(t *testing.T) {
	w := newWorld()
	store := w.store(w.entries(w.root, 1, 5)...)
	them := claims(store, 1)
	them.sweeps[0] ^= 1
	h := responder(t, w, store, them)
	h.state(them)
	h.failed("sweeps still differ after 1 rounds", false)

	h = responder(t, w, store, them)
	them.control[0] ^= 1
	h.state(them)
	h.failed("control records still differ", true)
}

func TestAnInitiatorRefuses(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 40)
	other := w.entries(w.root, 2, 1030)
	lists := func(ids ...record.ID) []byte {
		b := append([]byte{byte(ReconcileFrame), 0x61, 0, 0, 2}, byte(len(ids)))
		for _, id := range ids {
			b = append(b, id[:]...)
		}
		return b
	}
	wants := func(h *hand) { h.frame(lists(other[0].ID)) }
	for name, test := range map[string]struct {
		says string
		do   func(h *hand)
	}{
		"a state before ours":       {"state frame during data", func(h *hand) { h.state(claims(h.store, 1)) }},
		"data that nobody wants":    {"data frame during data", func(h *hand) { h.records(other[0]) }},
		"an end that nobody awaits": {"end frame during data", func(h *hand) { h.frame([]byte{byte(EndFrame)}) }},
		"a want":                    {"want frame during data", func(h *hand) { h.frame(idsFrame(WantFrame, []record.ID{rs[0].ID})) }},
		"bulk":                      {"bulk frame during data", func(h *hand) { h.frame([]byte{byte(BulkFrame)}) }},
		"a refusal, late":           {"refused frame during data", func(h *hand) { h.frame(Refusal()) }},
		"gone before anything":      {"gone frame during data", func(h *hand) { h.frame(idsFrame(GoneFrame, []record.ID{rs[0].ID})) }},
		"gone and not wanted":       {"an ID that was not wanted", func(h *hand) { wants(h); h.frame(idsFrame(GoneFrame, []record.ID{rs[0].ID})) }},
		"more IDs than it holds":    {"more than 41 records of the peer", func(h *hand) { h.frame(lists(invented(60)...)) }},
		"another version":           {"reconcile:", func(h *hand) { h.frame([]byte{byte(ReconcileFrame), 0x62}) }},
		"answers without progress": {"no progress", func(h *hand) {
			repeat(100, func() {
				h.frame(append([]byte{byte(ReconcileFrame), 0x61, 0, 0, 1}, make([]byte, 16)...))
			})
		}},
		"other records than wanted": {"more than 1024 records that were not wanted", func(h *hand) { wants(h); h.records(other[1:]...) }},
		"a forged record": {"signature does not hold", func(h *hand) {
			wants(h)
			forged := *other[0]
			forged.Signature[3] ^= 1
			h.records(&forged)
		}},
		"a malformed record": {"malformed", func(h *hand) {
			wants(h)
			bad := *other[0]
			bad.Path = "/a//b"
			h.records(&bad)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			h := initiator(t, w, store, claims(store, 1))
			test.do(h)
			h.refused(test.says)
		})
	}
}

func invented(n int) []record.ID {
	ids := make([]record.ID, n)
	for i := range ids {
		ids[i] = record.ID{byte(i), 1}
	}
	return ids
}

func TestHellosThatAreRefused(t *testing.T) {
	w := newWorld()
	store := w.store(w.entries(w.root, 1, 3)...)
	good := Hello{FrameBytes: MinFrameBytes, Nonce: seed(1), Tag: Tag(w.id, handA, handB, seed(1)), state: claims(store, 1)}
	frame := good.append(nil, HelloFrame)
	with := func(change func(h *Hello)) []byte {
		h := good
		change(&h)
		return h.append(nil, HelloFrame)
	}
	at := func(i int, v byte) []byte { b := bytes.Clone(frame); b[i] = v; return b }
	for name, test := range map[string]struct {
		frame []byte
		says  string
		is    error
	}{
		"another space":     {with(func(h *Hello) { h.Tag = Tag(record.SpaceID{1}, handA, handB, seed(1)) }), "tag", ErrTag},
		"the wrong way":     {with(func(h *Hello) { h.Tag = Tag(w.id, handB, handA, seed(1)) }), "tag", ErrTag},
		"a replay":          {with(func(h *Hello) { h.Tag = Tag(w.id, record.Key{0xC}, handB, seed(1)) }), "tag", ErrTag},
		"another nonce":     {with(func(h *Hello) { h.Nonce = seed(2) }), "tag", ErrTag},
		"small frames":      {with(func(h *Hello) { h.FrameBytes = 100 }), "frames of 100 bytes", nil},
		"huge frames":       {with(func(h *Hello) { h.FrameBytes = 1 << 30 }), "is above", nil},
		"a version to come": {at(1, 2), "version", ErrVersion},
		"no method":         {at(2, 0xFE), "no method in common", nil},
		"a bulk":            {[]byte{byte(BulkFrame)}, "bulk frame during hello", nil},
		"a welcome":         {good.append(nil, WelcomeFrame), "welcome frame during hello", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Accept(Options{Space: w.id, Self: handB, Peer: handA, View: store.view()})
			if err != nil {
				t.Fatal(err)
			}
			h := &hand{t: t, w: w, s: s, store: store}
			h.give(Start{})
			h.frame(test.frame)
			h.failed(test.says, !errors.Is(test.is, ErrVersion))
			if test.is != nil && !errors.Is(h.fail.Err, test.is) {
				t.Errorf("%v", h.fail.Err)
			}
			if len(h.sent) > 0 {
				t.Error("it was answered")
			}
			if _, err := ParseHello(test.frame); test.is == ErrTag && err != nil {
				t.Errorf("ParseHello: %v", err)
			}
		})
	}
	if _, err := ParseHello(nil); err == nil {
		t.Error("an empty hello")
	}
}

func TestARefusalSaysNothingAndIsNoOffence(t *testing.T) {
	w := newWorld()
	s, err := Initiate(Options{Space: w.id, Self: handA, Peer: handB, View: w.store().view()})
	if err != nil {
		t.Fatal(err)
	}
	h := &hand{t: t, w: w, s: s, store: w.store()}
	h.give(Start{})
	h.frame(Refusal())
	h.failed("refused", false)
	if !errors.Is(h.fail.Err, ErrRefused) || len(Refusal()) != 1 {
		t.Errorf("%v", h.fail.Err)
	}
}

// TestWhatIsGoodInABatchIsKept puts one forged record between good ones.
func TestWhatIsGoodInABatchIsKept(t *testing.T) {
	w := newWorld()
	store := w.store(w.entries(w.root, 1, 5)...)
	more := w.entries(w.root, 2, 9)
	forged := *more[4]
	forged.Payload = []byte("something else")
	h := responder(t, w, store, claims(store, 9))
	h.records(more[0], more[1], more[2], more[3], &forged, more[5], more[6])
	h.refused("record 4 of the peer: ")
	var e *RecordError
	if !errors.As(h.fail.Err, &e) || !errors.Is(e, record.ErrSignature) || e.Number != 4 {
		t.Errorf("%v", h.fail.Err)
	}
	for i, r := range more[:7] {
		if _, ok := store.data[r.ID]; ok != (i != 4) {
			t.Errorf("record %d kept: %v", i, ok)
		}
	}
}

// TestHeldRecordsAreKeptAndNotCounted receives a record whose author has no
// grant that is known here.
func TestHeldRecordsAreKeptAndNotCounted(t *testing.T) {
	w := newWorld()
	store := w.store(w.entries(w.root, 1, 5)...)
	mine, _ := stateOf(store.view())
	stranger := w.entry(keyOf("ben"), 4, 1, nil)
	h := responder(t, w, store, claims(store, 0))
	h.records(stranger)
	h.state(mine)
	if h.done == nil || h.done.Report.Held != 1 || h.done.Report.Count != 5 {
		t.Fatalf("%+v %+v", h.done, h.fail)
	}
	if _, kept := store.data[stranger.ID]; !kept {
		t.Error("it is lost")
	}
}

// TestHeldRecordsAreNotOffered asks for a record that the view holds without
// its being a member.
func TestHeldRecordsAreNotOffered(t *testing.T) {
	w := newWorld()
	stranger := w.entry(keyOf("ben"), 4, 1, nil)
	store := w.store(append(w.entries(w.root, 1, 5), stranger)...)
	h := responder(t, w, store, claims(store, 0))
	h.frame(idsFrame(WantFrame, []record.ID{stranger.ID}))
	last := h.sent[len(h.sent)-1]
	if FrameType(last[0]) != GoneFrame {
		t.Errorf("answered by %s", sayFrame(last))
	}
}

func TestFaultsOfOurOwnChargeNobody(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 5)
	broken := errors.New("disk on fire")

	h := responder(t, w, w.store(rs...), claims(w.store(rs...), 1))
	h.s.x.set.(whole).view.(*testView).broken = broken
	h.frame(idsFrame(WantFrame, []record.ID{rs[0].ID}))
	h.failed("disk on fire", false)
	if !errors.Is(h.fail.Err, broken) {
		t.Error("not wrapped")
	}

	p := newPair(t, w, w.store(rs...), w.store(), 0)
	p.b.diskErr = broken
	p.run()
	if p.b.fail == nil || !errors.Is(p.b.fail.Err, broken) || p.b.fail.Charge {
		t.Errorf("%+v", p.b.fail)
	}

	if _, err := Initiate(Options{FrameBytes: 7}); err == nil || !strings.Contains(err.Error(), "no view") || !strings.Contains(err.Error(), "FrameBytes 7") {
		t.Errorf("options: %v", err)
	}
}

// TestSweepsOfNoAuthorityAreNoFilter receives a sweep by a stranger, and one
// twice, in the exchange of sweeps.
func TestSweepsOfNoAuthorityAreNoFilter(t *testing.T) {
	w := newWorld()
	store := w.store(w.entries(w.root, 1, 5)...)
	sweep := w.sweep(w.root, 1, 9, 2)
	after := w.store(append(w.entries(w.root, 1, 5), sweep)...)
	want, _ := stateOf(after.view())
	them := want
	h := responder(t, w, store, them)
	h.records(sweep, sweep, w.sweep(keyOf("ben"), 1, 9, 3))
	h.state(want)
	switch {
	case h.done == nil:
		t.Fatalf("%+v", h.fail)
	case h.done.Report.Held != 1 || h.done.Report.Unwanted != 1 || h.done.Report.Count != 5:
		t.Errorf("%+v", h.done.Report)
	case store.root() != after.root():
		t.Error("not applied")
	}
}

// TestAShellThatAnswersWrongEndsTheSession: wrong answers are our own fault,
// and are errors all the same, not crashes.
func TestAShellThatAnswersWrongEndsTheSession(t *testing.T) {
	w := newWorld()
	rs := w.entries(w.root, 1, 3)
	more := w.entries(w.root, 2, 2)
	for name, do := range map[string]func(h *hand){
		"verdicts that nobody asked for": func(h *hand) { h.give(Verified{Records: rs[:1], Errs: make([]error, 1)}) },
		"a commit that nobody asked for": func(h *hand) { h.give(Committed{}) },
		"verdicts for a part of the batch": func(h *hand) {
			for _, out := range h.s.Step(epoch, Frame{Bytes: append([]byte{byte(DataFrame)}, h.coded(more)...)}) {
				if v, ok := out.(Verify); !ok || len(v.Batch) != 2 {
					t.Fatalf("%T", out)
				}
			}
			h.give(Verified{Records: more[:1], Errs: make([]error, 1)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := w.store(rs...)
			h := responder(t, w, store, claims(store, 1))
			do(h)
			h.failed("session:", false)
			if h.s.in.bytes != 0 {
				t.Errorf("%d bytes left", h.s.in.bytes)
			}
		})
	}

	// Control records were committed, and no view came back.
	store := w.store(rs...)
	them := claims(store, 1)
	them.control[0] ^= 1
	h := responder(t, w, store, them)
	grant := w.grant(keyOf("ada"), record.Writer, 3)
	h.s.Step(epoch, Frame{Bytes: append([]byte{byte(DataFrame)}, h.coded([]*record.Verified{grant})...)})
	h.s.Step(epoch, Verified{Records: []*record.Verified{grant}, Errs: make([]error, 1)})
	h.give(Committed{})
	h.failed("no view", false)
}

func (h *hand) coded(rs []*record.Verified) []byte {
	var b []byte
	for _, r := range rs {
		b = h.enc.append(b, &r.Record)
	}
	return b
}
