package gossip_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"anabranch/gossip"
)

func machine(t testing.TB, p gossip.Peer, o gossip.Options) *gossip.Machine {
	t.Helper()
	o.Self, o.Rand = p, rand.New(rand.NewPCG(seedOf(p), 1))
	m, err := gossip.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pair is two neighbours, of keys 1 and 2.
func pair(t testing.TB) (a, b *gossip.Machine) {
	t.Helper()
	a, b = machine(t, key(1), gossip.Options{}), machine(t, key(2), gossip.Options{})
	join := sendOf(t, a.Step(0, gossip.PeerUp{Peer: key(2)}))
	b.Step(0, gossip.PeerUp{Peer: key(1)})
	for _, out := range b.Step(0, gossip.Frame{Peer: key(1), Bytes: join}) {
		if s, ok := out.(gossip.Send); ok {
			a.Step(0, gossip.Frame{Peer: key(2), Bytes: s.Frame})
		}
	}
	if len(a.Neighbors()) != 1 || len(b.Neighbors()) != 1 {
		t.Fatal("they are no neighbours")
	}
	return a, b
}

func sendOf(t testing.TB, outs []gossip.Output) []byte {
	t.Helper()
	for _, out := range outs {
		if s, ok := out.(gossip.Send); ok {
			return s.Frame
		}
	}
	t.Fatalf("nothing is sent: %v", outs)
	return nil
}

// befriend makes the machine a neighbour of key(k), which asks for it.
func befriend(m *gossip.Machine, now time.Duration, k byte) {
	m.Step(now, gossip.PeerUp{Peer: key(k)})
	m.Step(now, gossip.Frame{Peer: key(k), Bytes: []byte{byte(gossip.NeighborFrame), 1}})
}

func wire(r gossip.Rumor, hops byte) []byte {
	b := append([]byte{byte(gossip.RumorFrame), hops}, r.ID[:]...)
	return append(b, r.Payload...)
}

func charged(outs []gossip.Output) map[gossip.Peer]gossip.Reason {
	who := map[gossip.Peer]gossip.Reason{}
	for _, out := range outs {
		if c, ok := out.(gossip.Charge); ok {
			who[c.Peer] = c.Reason
		}
	}
	return who
}

func delivered(outs []gossip.Output) (ds []gossip.Deliver) {
	for _, out := range outs {
		if d, ok := out.(gossip.Deliver); ok {
			ds = append(ds, d)
		}
	}
	return ds
}

func TestOptionsSayEveryMistake(t *testing.T) {
	_, err := gossip.New(gossip.Options{ActivePeers: -1, Round: -1, Mode: 9})
	for _, want := range []string{"Rand", "ActivePeers", "Round", "mode"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

// TestNothingIsForwardedBeforeItsVerdict, and each verdict does what it says.
func TestNothingIsForwardedBeforeItsVerdict(t *testing.T) {
	for _, c := range []struct {
		verdict  gossip.Verdict
		forwards bool
		charges  bool
		again    bool // a second copy is delivered again
	}{
		{gossip.Accepted, true, false, false},
		{gossip.Known, false, false, false},
		{gossip.Rejected, false, true, true},
		{gossip.Undecided, false, false, false},
		{gossip.Lost, false, false, true},
	} {
		m := machine(t, key(9), gossip.Options{})
		for k := byte(1); k <= 3; k++ {
			befriend(m, 0, k)
		}
		r := rumor(1, 100)
		outs := m.Step(1, gossip.Frame{Peer: key(1), Bytes: wire(r, 1)})
		if ds := delivered(outs); len(ds) != 1 || len(outs) != 1 || ds[0].From != key(1) || !bytes.Equal(ds[0].Rumor.Payload, r.Payload) {
			t.Fatalf("before the verdict: %v", outs)
		}
		outs = m.Step(2, gossip.Judged{ID: r.ID, Verdict: c.verdict})
		to := map[gossip.Peer]bool{}
		for _, out := range outs {
			if s, ok := out.(gossip.Send); ok && s.Frame[0] == byte(gossip.RumorFrame) {
				to[s.Peer] = true
			}
		}
		if c.forwards != (to[key(2)] && to[key(3)]) || to[key(1)] {
			t.Errorf("%v: forwarded to %v", c.verdict, to)
		}
		if (charged(outs)[key(1)] == gossip.Invalid) != c.charges {
			t.Errorf("%v: charged %v", c.verdict, charged(outs))
		}
		outs = m.Step(3, gossip.Frame{Peer: key(2), Bytes: wire(r, 1)})
		if (len(delivered(outs)) == 1) != c.again {
			t.Errorf("%v: a second copy: %v", c.verdict, outs)
		}
	}
}

// TestAGoodRumorIsNotHiddenByAFalseOne: content under a rumor's ID that is
// none of it does not keep the rumor out, whoever comes first.
func TestAGoodRumorIsNotHiddenByAFalseOne(t *testing.T) {
	good := rumor(1, 100)
	false1 := gossip.Rumor{ID: good.ID, Payload: []byte("false")}
	for _, first := range []bool{true, false} {
		m := machine(t, key(9), gossip.Options{})
		befriend(m, 0, 1)
		befriend(m, 0, 2)
		befriend(m, 0, 3)
		one, two := false1, good
		if !first {
			one, two = good, false1
		}
		m.Step(1, gossip.Frame{Peer: key(1), Bytes: wire(one, 1)})
		m.Step(2, gossip.Frame{Peer: key(2), Bytes: wire(two, 1)})
		v := gossip.Accepted
		if first {
			v = gossip.Rejected
		}
		outs := m.Step(3, gossip.Judged{ID: good.ID, Verdict: v})
		if first {
			if charged(outs)[key(1)] != gossip.Invalid || len(delivered(outs)) != 1 {
				t.Fatalf("the false one first: %v", outs)
			}
			if outs = m.Step(4, gossip.Judged{ID: good.ID, Verdict: gossip.Accepted}); len(charged(outs)) > 0 {
				t.Errorf("then charged %v", charged(outs))
			}
		} else if charged(outs)[key(2)] != gossip.Conflict || len(charged(outs)) != 1 {
			t.Errorf("the false one second: %v", outs)
		}
		// And after it was accepted.
		if outs = m.Step(5, gossip.Frame{Peer: key(3), Bytes: wire(false1, 1)}); charged(outs)[key(3)] != gossip.Conflict {
			t.Errorf("after: %v", outs)
		}
	}
	// A false copy that was rejected: who announced the rumor is asked.
	m := machine(t, key(9), gossip.Options{})
	befriend(m, 0, 1)
	befriend(m, 0, 2)
	m.Step(1, gossip.Frame{Peer: key(2), Bytes: append([]byte{byte(gossip.IHaveFrame), 1}, good.ID[:]...)})
	m.Step(2, gossip.Frame{Peer: key(1), Bytes: wire(false1, 1)})
	outs := m.Step(3, gossip.Judged{ID: good.ID, Verdict: gossip.Rejected})
	if last, ok := outs[len(outs)-1].(gossip.Send); !ok || last.Peer != key(2) || last.Frame[0] != byte(gossip.GraftFrame) {
		t.Errorf("no graft from the announcer: %v", outs)
	}
}

// TestAllWhoSentTheInvalidAreCharged, though only one copy is judged.
func TestAllWhoSentTheInvalidAreCharged(t *testing.T) {
	m := machine(t, key(9), gossip.Options{})
	bad := rumor(1, 50)
	for k := byte(1); k <= 3; k++ {
		befriend(m, 0, k)
		m.Step(1, gossip.Frame{Peer: key(k), Bytes: wire(bad, 1)})
	}
	outs := m.Step(2, gossip.Judged{ID: bad.ID, Verdict: gossip.Rejected})
	if who := charged(outs); len(who) != 3 {
		t.Errorf("charged %v", who)
	}
	if len(m.Neighbors()) != 0 {
		t.Errorf("still neighbours: %v", m.Neighbors())
	}
	if outs := m.Step(3, gossip.Frame{Peer: key(1), Bytes: wire(rumor(2, 5), 1)}); len(outs) > 0 {
		t.Errorf("a shunned peer is listened to: %v", outs)
	}
	if outs := m.Step(4, gossip.Frame{Peer: key(1), Bytes: []byte{byte(gossip.JoinFrame)}}); len(outs) > 0 {
		t.Errorf("a shunned peer joins: %v", outs)
	}
}

// TestTheUndecidedIsHeldWithinBounds, and released by a later verdict.
func TestTheUndecidedIsHeldWithinBounds(t *testing.T) {
	m := machine(t, key(9), gossip.Options{})
	befriend(m, 0, 1)
	befriend(m, 0, 2)
	now := time.Second
	for k := range 400 {
		now += 10 * time.Millisecond
		r := rumor(k, 10)
		m.Step(now, gossip.Frame{Peer: key(1), Bytes: wire(r, 1)})
		m.Step(now, gossip.Judged{ID: r.ID, Verdict: gossip.Undecided})
	}
	if got := m.Stats().Dropped; got != 400-256 {
		t.Errorf("%d were dropped", got)
	}
	r := rumor(3, 10)
	outs := m.Step(now, gossip.Judged{ID: r.ID, Verdict: gossip.Accepted})
	if f := sendOf(t, outs); len(outs) != 1 || f[0] != byte(gossip.RumorFrame) {
		t.Errorf("released: %v", outs)
	}
	// Another peer's account is another.
	r = rumor(1000, 10)
	m.Step(now, gossip.Frame{Peer: key(2), Bytes: wire(r, 1)})
	m.Step(now, gossip.Judged{ID: r.ID, Verdict: gossip.Undecided})
	if got := m.Stats().Dropped; got != 400-256 {
		t.Errorf("%d were dropped", got)
	}
	// In time all are forgotten, and could be delivered again.
	for range 30 {
		now += 10 * time.Second
		m.Step(now, gossip.Tick{})
	}
	if outs := m.Step(now, gossip.Judged{ID: rumor(4, 10).ID, Verdict: gossip.Accepted}); len(outs) > 0 {
		t.Errorf("still held: %v", outs)
	}
	if outs := m.Step(now, gossip.Frame{Peer: key(1), Bytes: wire(rumor(4, 10), 1)}); len(delivered(outs)) != 1 {
		t.Errorf("not delivered again: %v", outs)
	}
}

func TestMalformedFramesAreCharged(t *testing.T) {
	for _, frame := range [][]byte{
		{}, {0}, {99}, {byte(gossip.PruneFrame), 0}, {byte(gossip.IHaveFrame)},
		{byte(gossip.RumorFrame), 1, 2, 3}, wire(rumor(1, gossip.MaxPayload+1), 1),
		{byte(gossip.NeighborFrame), 2}, {byte(gossip.OfferFrame), 0}, {byte(gossip.ReplyFrame), 0},
		{byte(gossip.ReplyFrame), 0x80, 0}, make([]byte, gossip.MaxFrame+1),
		append([]byte{byte(gossip.GraftFrame)}, make([]byte, 65*32)...),
	} {
		m := machine(t, key(9), gossip.Options{})
		befriend(m, 0, 1)
		outs := m.Step(1, gossip.Frame{Peer: key(1), Bytes: frame})
		if charged(outs)[key(1)] != gossip.Malformed || len(m.Neighbors()) > 0 {
			t.Errorf("%.10x: %v", frame, outs)
		}
	}
}

// TestFloodsAreCutOff: what is above a rate is dropped and charged, once a
// second, and the peer is kept.
func TestFloodsAreCutOff(t *testing.T) {
	id := func(k int) []byte { r := rumor(k, 32); return r.ID[:] }
	for _, c := range []struct {
		name  string
		frame func(k int) []byte
		most  int // let through at one moment
	}{
		{"ihave", func(k int) []byte { return append([]byte{byte(gossip.IHaveFrame), 1}, id(k)...) }, 100},
		{"graft", func(k int) []byte { return append([]byte{byte(gossip.GraftFrame)}, id(k)...) }, 640},
		{"neighbor", func(int) []byte { return []byte{byte(gossip.NeighborFrame), 0} }, 320},
	} {
		m := machine(t, key(9), gossip.Options{})
		befriend(m, 0, 1)
		charges, first := 0, 0
		for k := range 3000 {
			outs := m.Step(time.Second, gossip.Frame{Peer: key(1), Bytes: c.frame(k)})
			if charged(outs)[key(1)] == gossip.Flood {
				if charges++; charges == 1 {
					first = k
				}
			}
		}
		if charges != 1 || first > c.most || first < c.most*9/10 {
			t.Errorf("%s: %d charges, the first after %d", c.name, charges, first)
		}
		if len(m.Neighbors()) != 1 {
			t.Errorf("%s: the peer is gone", c.name)
		}
	}
}

// TestLargeContentIsAnnounced, and copies of the announcement are pruned as
// those of a payload.
func TestLargeContentIsAnnounced(t *testing.T) {
	a, b := pair(t)
	r := rumor(1, 5000)
	frame := sendOf(t, a.Step(1, gossip.Publish{Rumor: r}))
	if len(frame) > 40 {
		t.Fatalf("%d bytes", len(frame))
	}
	ds := delivered(b.Step(2, gossip.Frame{Peer: key(1), Bytes: frame}))
	if len(ds) != 1 || ds[0].Rumor.Size != 5000 || ds[0].Rumor.Payload != nil || ds[0].From != key(1) {
		t.Fatalf("%v", ds)
	}
	b.Step(3, gossip.Judged{ID: r.ID, Verdict: gossip.Accepted})
	if outs := b.Step(4, gossip.Frame{Peer: key(1), Bytes: frame}); len(delivered(outs)) > 0 {
		t.Errorf("twice: %v", outs)
	}
}

// TestWhatWasLearnedIsNotFetched: a record that a session brought.
func TestWhatWasLearnedIsNotFetched(t *testing.T) {
	m := machine(t, key(9), gossip.Options{})
	befriend(m, 0, 1)
	r := rumor(1, 10)
	ihave := append([]byte{byte(gossip.IHaveFrame), 1}, r.ID[:]...)
	m.Step(1, gossip.Frame{Peer: key(1), Bytes: ihave})
	m.Step(2, gossip.Learned{ID: r.ID})
	if outs := m.Step(time.Second, gossip.Tick{}); len(outs) > 0 {
		t.Errorf("after it was learned: %v", outs)
	}
	if outs := m.Step(20*time.Second, gossip.Frame{Peer: key(1), Bytes: wire(r, 1)}); len(delivered(outs)) > 0 {
		t.Errorf("delivered: %v", outs)
	}
}

// TestASessionInFrontOfARumorIsNoDeadEnd: what a session brought just before
// its rumor, or while that was being judged, is passed on to those behind
// this replica, once it is found to be what is here, and the link it came on
// stays in the tree.
func TestASessionInFrontOfARumorIsNoDeadEnd(t *testing.T) {
	for _, meanwhile := range []bool{false, true} {
		for _, v := range []gossip.Verdict{gossip.Known, gossip.Rejected, gossip.Lost} {
			m := machine(t, key(9), gossip.Options{})
			befriend(m, 0, 1)
			befriend(m, 0, 2)
			r := rumor(1, 100)
			if !meanwhile {
				m.Step(1, gossip.Learned{ID: r.ID})
			}
			if outs := m.Step(2, gossip.Frame{Peer: key(1), Bytes: wire(r, 1)}); len(outs) != 1 || len(delivered(outs)) != 1 {
				t.Fatalf("before the verdict: %v", outs)
			}
			if meanwhile {
				m.Step(3, gossip.Learned{ID: r.ID})
			}
			to := map[gossip.Peer]bool{}
			for _, out := range m.Step(4, gossip.Judged{ID: r.ID, Verdict: v}) {
				if s, ok := out.(gossip.Send); ok && s.Frame[0] == byte(gossip.RumorFrame) {
					to[s.Peer] = true
				}
			}
			if to[key(2)] != (v == gossip.Known) || to[key(1)] {
				t.Errorf("%v: forwarded to %v", v, to)
			}
			if eager := len(m.EagerPeers()); eager != 2 && v == gossip.Known {
				t.Errorf("%v: %d links are eager", v, eager)
			}
			if outs := m.Step(5, gossip.Frame{Peer: key(2), Bytes: wire(r, 1)}); v == gossip.Known && len(delivered(outs)) > 0 {
				t.Errorf("%v: twice: %v", v, outs)
			}
		}
	}
}

// TestWhatNobodyHasIsMissed: announcers are asked one after the other, and at
// last the caller is told.
func TestWhatNobodyHasIsMissed(t *testing.T) {
	m := machine(t, key(9), gossip.Options{})
	r := rumor(1, 10)
	ihave := append([]byte{byte(gossip.IHaveFrame), 1}, r.ID[:]...)
	for k := byte(1); k <= 3; k++ {
		befriend(m, 0, k)
		m.Step(0, gossip.Frame{Peer: key(k), Bytes: ihave})
	}
	var asked []time.Duration
	for now := time.Duration(0); now < 10*time.Second; now = m.Next() {
		for _, out := range m.Step(now, gossip.Tick{}) {
			switch out := out.(type) {
			case gossip.Send:
				if out.Frame[0] == byte(gossip.GraftFrame) {
					asked = append(asked, now/time.Millisecond)
				}
			case gossip.Missed:
				if len(asked) != 3 || asked[0] != 200 || asked[1] != 300 || asked[2] != 400 || now != 1400*time.Millisecond || out.Peer != key(3) {
					t.Errorf("asked at %v ms, missed at %v from %x", asked, now, out.Peer[:1])
				}
				return
			}
		}
	}
	t.Error("it is still awaited")
}

func says(outs []gossip.Output) (frames []string) {
	for _, out := range outs {
		if s, ok := out.(gossip.Send); ok {
			frames = append(frames, string(rune(48+s.Peer[0]))+" "+gossip.FrameType(s.Frame[0]).String())
		}
	}
	return frames
}

// TestARelayedLinkStartsLazy, and what it may graft expires.
func TestARelayedLinkStartsLazy(t *testing.T) {
	m := machine(t, key(9), gossip.Options{})
	m.Step(0, gossip.PeerUp{Peer: key(1), Class: gossip.Relay})
	m.Step(0, gossip.Frame{Peer: key(1), Bytes: []byte{byte(gossip.NeighborFrame), 1}})
	r := rumor(1, 10)
	if got := says(m.Step(time.Second, gossip.Publish{Rumor: r})); len(got) > 0 {
		t.Errorf("at once: %q", got)
	}
	if at := m.Next(); at != time.Second+5*time.Millisecond {
		t.Errorf("announced at %v", at)
	}
	if got := says(m.Step(m.Next(), gossip.Tick{})); len(got) != 1 || got[0] != "1 ihave" {
		t.Errorf("then: %q", got)
	}
	graft := append([]byte{byte(gossip.GraftFrame)}, r.ID[:]...)
	if got := says(m.Step(2*time.Second, gossip.Frame{Peer: key(1), Bytes: graft})); len(got) != 1 || got[0] != "1 rumor" {
		t.Errorf("grafted: %q", got)
	}
	if len(m.EagerPeers()) != 1 {
		t.Error("the graft did not make it eager")
	}
	for now := 3 * time.Second; now < 80*time.Second; now += time.Second {
		m.Step(now, gossip.Tick{})
	}
	if got := says(m.Step(80*time.Second, gossip.Frame{Peer: key(1), Bytes: graft})); len(got) > 0 {
		t.Errorf("after a minute: %q", got)
	}
}

// TestAMuchNearerAnnouncerBecomesTheParent: seven hops, no fewer.
func TestAMuchNearerAnnouncerBecomesTheParent(t *testing.T) {
	for _, hops := range []byte{8, 9} {
		m := machine(t, key(9), gossip.Options{})
		befriend(m, 0, 1)
		befriend(m, 0, 2)
		r := rumor(1, 10)
		m.Step(1, gossip.Frame{Peer: key(2), Bytes: append([]byte{byte(gossip.IHaveFrame), 2}, r.ID[:]...)})
		got := says(m.Step(2, gossip.Frame{Peer: key(1), Bytes: wire(r, hops)}))
		if moved := len(got) == 2 && got[0] == "2 graft" && got[1] == "1 prune"; moved != (hops == 9) {
			t.Errorf("at %d hops: %q", hops, got)
		}
	}
}

// TestViewsStayWithinTheirSizes: of forty who would be neighbours eight are
// taken, the others are remembered as far as there is room, and the urgent
// displace somebody.
func TestViewsStayWithinTheirSizes(t *testing.T) {
	m := machine(t, key(99), gossip.Options{})
	for k := byte(1); k <= 60; k++ {
		m.Step(0, gossip.PeerUp{Peer: key(k)})
		m.Step(0, gossip.Frame{Peer: key(k), Bytes: []byte{byte(gossip.NeighborFrame), 0}})
	}
	if n, passive := len(m.Neighbors()), len(m.Passive()); n != 8 || passive != 36 {
		t.Errorf("%d neighbours, %d passive", n, passive)
	}
	befriend(m, time.Second, 70)
	if n := m.Neighbors(); len(n) != 8 || n[7] != key(70) {
		t.Errorf("after an urgent one: %d neighbours", len(n))
	}
	m.Step(2*time.Second, gossip.Members{Peers: []gossip.Peer{key(70), key(99)}})
	if n := m.Neighbors(); len(n) != 1 || len(m.Passive()) != 0 {
		t.Errorf("when the others are no members any more: %d neighbours", len(n))
	}
}
